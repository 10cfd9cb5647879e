"""encode, decode, inspect: what the public promises say, with the codec that needs no weights."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import sempic
from sempic import container, runtime
from sempic.codecs import CODECS, codec, layered, spic, sqgan
from sempic.codecs.classic.hevc import Hevc
from sempic.codecs.classic.picture import Settings
from sempic.pixels import to_rgb


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


def test_pictures_are_paths_files_in_memory_pil_images_and_arrays(image: NDArray[np.uint8], tmp_path: Path) -> None:
    expected = sempic.encode(image, "hevc")
    path = tmp_path / "street.png"
    Image.fromarray(image).save(path)
    contents = path.read_bytes()
    pictures = (path, str(path), contents, bytearray(contents), memoryview(contents), Image.open(path))
    assert [sempic.encode(picture, "hevc") for picture in pictures] == [expected] * 6  # type: ignore[arg-type]


def test_streams_are_bytes_paths_and_open_files(image: NDArray[np.uint8], tmp_path: Path) -> None:
    data = sempic.encode(image, "hevc")
    path = tmp_path / "street.smp"
    path.write_bytes(data)
    expected, about = sempic.decode(data), sempic.inspect(data)
    for given in (bytearray(data), memoryview(data), path, str(path), io.BytesIO(data)):
        assert np.array_equal(sempic.decode(given).image, expected.image)
    for given in (bytearray(data), memoryview(data), path, str(path), io.BytesIO(data)):
        assert sempic.inspect(given) == about
    with path.open("rb") as file:
        assert np.array_equal(sempic.decode(file).image, expected.image)


class Response:
    """What has a `read` that gives something else than bytes."""

    def read(self) -> list[int]:
        return [1, 2]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "not NoneType"),
        (5, "not int"),
        ([0xD5, 0x53], "not list"),
        (np.zeros(9, np.uint8), "not ndarray"),
        (io.StringIO("text"), "not str"),
        (Response(), "not list"),
        (Image.new("L", (16, 16)), "not Image"),
        ("absent.smp", "'absent.smp' cannot be read: No such file"),
        (Path("absent.smp"), "'absent.smp' cannot be read"),
        (Path(__file__).parent, "tests' cannot be read"),
        ("nul\0byte.smp", "cannot be read"),
        ("~nobody-of-that-name/a.smp", "cannot be read"),
    ],
)
def test_what_is_no_stream_is_named(given: Any, says: str) -> None:
    for verb in (sempic.decode, sempic.inspect):
        with pytest.raises(sempic.InputError, match=says):
            verb(given)


def test_a_file_that_is_closed_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.smp").write_bytes(b"")
    file = (tmp_path / "a.smp").open("rb")
    file.close()
    with pytest.raises(sempic.InputError, match="closed file"):
        sempic.inspect(file)


def test_options_of_another_codec_are_named(image: NDArray[np.uint8]) -> None:
    data = sempic.encode(image, "hevc")
    for options in (spic.Options(), {"steps": 3}):
        with pytest.raises(sempic.InputError, match=r"The codec hevc, which wrote the stream, takes .*\.Options, not "):
            sempic.decode(data, options=options)  # type: ignore[arg-type]


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
        ({"codec": "hevc:qualty=3"}, "'qualty' is not a setting of the codec hevc; it knows scale, protect"),
        ({"codec": "jpg"}, "known are sqgan, layered, spic, hevc"),
        ({"codec": 5}, "its name or a Codec, not int"),
        ({"codec": Hevc}, "its name or a Codec, not abc.ABCMeta"),
        ({"settings": {"scale": "half"}}, r"takes sempic\.codecs\.classic\.picture\.Settings, not dict"),
        ({"settings": spic.Options()}, r"picture\.Settings, not sempic\.codecs\.spic\.Options"),
        ({"settings": sqgan.Settings()}, r"hevc takes .*picture\.Settings, not sempic\.codecs\.sqgan\.Settings"),
        ({"codec": "spic", "settings": sqgan.Settings()}, "The codec spic takes"),
        (
            {"codec": None, "settings": {"map": "half"}},
            r"sqgan takes sempic\.codecs\.sqgan\.Settings, not dict",
        ),
    ],
)
def test_wrong_options_are_sentences(image: NDArray[np.uint8], options: dict[str, object], sentence: str) -> None:
    with pytest.raises(sempic.InputError, match=sentence):
        sempic.encode(image, **{"codec": "hevc"} | options)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"quality": 101}, {"bpp": -1}, {"bytes": 0}, {"bytes": 5, "quality": 5}])
def test_an_impossible_size_is_found_before_any_network_runs(
    image: NDArray[np.uint8], wrong: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise AssertionError("a network runs")

    monkeypatch.setattr(runtime.Network, "__init__", fail)
    monkeypatch.setattr(runtime.Network, "run", fail)
    for name in ("sqgan", "layered", "spic"):
        with pytest.raises(sempic.InputError):
            sempic.encode(image, name, **wrong)  # type: ignore[arg-type]
    with pytest.raises(sempic.InputError, match="share of protection"):
        sempic.encode(image, protect=2)


@pytest.mark.parametrize("chosen", [sqgan, layered, spic])
def test_settings_say_which_codec_they_are_for(
    image: NDArray[np.uint8], chosen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    made = codec(chosen.Settings.codec)
    monkeypatch.setattr(type(made), "analyse", lambda self, image, settings: seen.append((self, settings)) or 1 / 0)
    settings = chosen.Settings(map="half")
    with pytest.raises(ZeroDivisionError):
        sempic.encode(image, settings=settings)
    assert seen == [(made, settings)]


def test_a_codec_is_a_name_a_text_or_an_object(image: NDArray[np.uint8]) -> None:
    data = sempic.encode(image, "hevc:scale=half", quality=30)
    assert data == sempic.encode(image, "hevc", settings=Settings(scale="half"), quality=30)
    assert data == sempic.encode(image, Hevc(), settings=Settings(scale="half"), quality=30)
    assert data != sempic.encode(image, Hevc(), quality=30)
    assert sempic.encode(image, "hevc:protect=0.5", bytes=900) == sempic.encode(image, "hevc", bytes=900, protect=0.5)


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
    ids = [codec(name).id for name in CODECS]
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
    ("wrong", "says"),
    [
        (None, "not NoneType"),
        (5, "not int"),
        ({}, "not dict"),
        (io.BytesIO(b"picture"), "not BytesIO"),
        ("street.png", "'street.png' cannot be read: No such file"),
        (Path(__file__).parent, "tests' cannot be read"),
        (Path(__file__), "is not a picture that can be read"),
        ("nul\0byte.png", "cannot be read"),
        (b"", "is not a picture that can be read"),
        (b"not a picture", "is not a picture that can be read"),
        ([[1, 2], [3]], "cannot be read as an array"),
        ([["a"] * 64] * 64, "values are <U1"),
        (np.zeros((64, 64, 3)), "float64"),
        (np.zeros((3, 64, 64), np.uint8), r"\(3, 64, 64\)"),
        (np.zeros((15, 64), np.uint8), "64×15"),
    ],
)
def test_other_things_are_refused(wrong: Any, says: str) -> None:
    with pytest.raises(sempic.InputError, match=says):
        sempic.encode(wrong, "hevc")
