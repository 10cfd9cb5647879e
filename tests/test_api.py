"""encode, decode, inspect: what the public promises say, with the codec that needs no weights."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import sempic
from sempic import codecs, container
from sempic.codecs.base import to_rgb


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    y, x = np.mgrid[:72, :100]
    return np.stack([x * 2, y * 3, (x * y) % 200], axis=-1).astype(np.uint8)


def test_round_trip(image: NDArray[np.uint8]) -> None:
    data = sempic.encode(image, "hevc")
    decoded = sempic.decode(data)
    assert decoded.image.shape == image.shape
    assert decoded.segmap is None
    assert decoded.image.flags.writeable
    assert data == sempic.encode(Image.fromarray(image), "hevc", quality=50)


@pytest.mark.parametrize("limit", [60, 150, 700, 5000])
def test_bytes_are_never_exceeded(image: NDArray[np.uint8], limit: int) -> None:
    assert limit / 2 < len(sempic.encode(image, "hevc", bytes=limit)) <= limit


def test_bpp_counts_every_byte(image: NDArray[np.uint8]) -> None:
    data = sempic.encode(image, "hevc", bpp=0.5)
    assert 8 * len(data) / (100 * 72) <= 0.5
    assert data == sempic.encode(image, "hevc", bytes=450)


def test_too_small_a_size_names_the_floor(image: NDArray[np.uint8]) -> None:
    floor = len(sempic.encode(image, "hevc", quality=0))
    with pytest.raises(sempic.BudgetError, match=f"has {floor} bytes"):
        sempic.encode(image, "hevc", bytes=floor - 1)
    assert len(sempic.encode(image, "hevc", bytes=floor)) <= floor


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"quality": 50, "bpp": 1}, "only one"),
        ({"quality": 101}, "from 0 to 100"),
        ({"bpp": 0}, "above 0"),
        ({"bpp": float("nan")}, "above 0"),
        ({"bpp": float("inf")}, "above 0"),
        ({"qualty": 3}, "'qualty' is not a setting of the codec hevc; it knows scale"),
        ({"codec": "jpg"}, "known are sqgan, layered, spic, hevc"),
    ],
)
def test_wrong_options_are_sentences(image: NDArray[np.uint8], options: dict[str, object], sentence: str) -> None:
    with pytest.raises(sempic.InputError, match=sentence):
        sempic.encode(image, **{"codec": "hevc"} | options)  # type: ignore[arg-type]


def test_inspect_accounts_for_every_byte(image: NDArray[np.uint8]) -> None:
    data = sempic.encode(image, "hevc")
    for damaged in (data, data + b"garbage"):
        info = sempic.inspect(damaged)
        assert sum(part.bytes for part in info.parts) == info.bytes == len(damaged)
        assert info.bpp == 8 * len(damaged) / (100 * 72)
        assert bool(info.warnings) == (damaged != data)
        assert json.loads(json.dumps(info.to_json())) == info.to_json()


def test_warnings_of_the_stream_reach_the_user(image: NDArray[np.uint8]) -> None:
    assert "dropped" in sempic.decode(sempic.encode(image, "hevc") + b"garbage").warnings[0]


def test_streams_of_unknown_codecs_are_refused() -> None:
    data = container.write(container.Header(200, 64, 64), [container.Section(1, b"")])
    for verb in (sempic.decode, sempic.inspect):
        with pytest.raises(sempic.StreamError, match="codec 200"):
            verb(data)


def test_ids_are_unique() -> None:
    ids = [id for id, _, _ in codecs.CODECS.values()]
    assert len(set(ids)) == len(ids)


def test_import_is_light() -> None:
    heavy = "{'av', 'PIL', 'onnxruntime', 'torch', 'constriction'}"
    code = f"import sempic, sys; print({heavy} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_any_pil_mode_becomes_rgb(image: NDArray[np.uint8], mode: str) -> None:
    picture = Image.fromarray(image).convert("L" if mode in ("LA", "I;16") else "RGB").convert(mode)
    rgb = to_rgb(picture)
    assert (rgb.shape, rgb.dtype, rgb.flags.c_contiguous) == (image.shape, np.uint8, True)
    if mode in ("RGB", "RGBA", "CMYK"):
        assert np.array_equal(rgb, image)


def test_pictures_turn_upright(image: NDArray[np.uint8]) -> None:
    picture = Image.fromarray(image)
    picture.getexif()[0x0112] = 6
    assert np.array_equal(to_rgb(picture), np.rot90(image, -1))


def profile_with_red_and_blue_swapped() -> bytes:
    """A colour profile like sRGB's, but for what its first and its last channel stand for."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return plain.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colour_profiles_are_converted_to_srgb(image: NDArray[np.uint8], mode: str) -> None:
    picture = Image.fromarray(image).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(np.where(image[..., 0] > 100, 255, 0).astype(np.uint8)))
    expected = to_rgb(picture).astype(int)
    expected = expected[..., ::-1] if mode != "RGBA" else np.where(expected == 255, 255, expected[..., ::-1])
    picture.info["icc_profile"] = profile_with_red_and_blue_swapped()
    assert np.abs(to_rgb(picture) - expected).max() <= 2
    picture.getexif()[0x0112] = 6
    assert np.abs(to_rgb(picture) - np.rot90(expected, -1)).max() <= 2


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "1"])
def test_a_colour_profile_that_is_broken_or_of_other_pictures_is_ignored(image: NDArray[np.uint8], mode: str) -> None:
    picture = Image.fromarray(image).convert("L" if mode in ("LA", "I;16") else "RGB").convert(mode)
    expected = to_rgb(picture)
    whole = profile_with_red_and_blue_swapped()
    profiles = [b"nonsense", whole[:200]]
    if mode in ("L", "LA", "CMYK", "I;16"):
        profiles.append(whole)
    for profile in profiles:
        picture.info["icc_profile"] = profile
        assert np.array_equal(to_rgb(picture), expected)


@pytest.mark.filterwarnings("ignore::UserWarning")  # PIL's, of broken EXIF data
def test_broken_files_are_errors_whatever_is_broken_in_them(image: NDArray[np.uint8]) -> None:
    file, exif, chance = io.BytesIO(), Image.Exif(), random.Random(2)
    exif[0x0112] = 6
    profile = profile_with_red_and_blue_swapped()
    Image.fromarray(image).save(file, "JPEG", exif=exif, icc_profile=profile)
    for trial in range(300):
        data = bytearray(file.getvalue())
        for _ in range(3):
            reach = len(data) if trial % 2 else 120  # where EXIF data is
            data[chance.randrange(2, reach)] = chance.randrange(256)
        try:
            opened = Image.open(io.BytesIO(data[: chance.choice((len(data), chance.randrange(len(data))))]))
        except (OSError, SyntaxError, ValueError):  # PIL knows already
            continue
        with suppress(sempic.InputError):
            assert to_rgb(opened).ndim == 3


def test_the_size_is_checked_before_a_file_is_read(tmp_path: Path) -> None:
    Image.new("1", (9000, 20)).save(tmp_path / "long.png")
    picture = Image.open(tmp_path / "long.png")
    (tmp_path / "long.png").write_bytes(b"")
    with pytest.raises(sempic.InputError, match="9000×20"):
        to_rgb(picture)


def test_arrays_become_rgb(image: NDArray[np.uint8]) -> None:
    grey = image[..., 0]
    assert np.array_equal(to_rgb(grey), np.stack([grey] * 3, axis=-1))
    assert np.array_equal(to_rgb(grey[..., None]), to_rgb(grey))
    assert np.array_equal(to_rgb(image.astype(np.uint16) * 257), image)
    clear = np.dstack([image, np.zeros_like(grey)])
    assert (to_rgb(clear) == 255).all()
    assert np.array_equal(to_rgb(np.dstack([image, np.full_like(grey, 255)])), image)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(None, id="none"),
        pytest.param("street.png", id="path"),
        pytest.param([[1, 2], [3]], id="ragged"),
        pytest.param(np.zeros((64, 64, 3)), id="float"),
        pytest.param(np.zeros((3, 64, 64), np.uint8), id="channels first"),
        pytest.param(np.zeros((15, 64), np.uint8), id="too small"),
    ],
)
def test_other_things_are_refused(wrong: object) -> None:
    with pytest.raises(sempic.InputError):
        sempic.encode(wrong, "hevc")
