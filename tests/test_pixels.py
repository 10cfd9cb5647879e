"""The one door for pictures: files of all formats, bits, modes and kinds of damage."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import picture_files as files
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from sempic.errors import InputError
from sempic.pixels import is_picture_name, read_picture, to_rgb

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"
PICTURE, GREY = files.colours(), files.grey()
PLAIN = Image.fromarray(PICTURE)


def shown(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return grey values as a grey picture."""
    return np.dstack([grey] * 3)


def error_of(data: bytes) -> str:
    """Return the sentence with which a file is refused."""
    with pytest.raises(InputError) as caught:
        read_picture(data, "a.tif")
    return str(caught.value)


# -- what a decoder may raise -----------------------------------------------------------------------------------------

RAISED = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError, ZeroDivisionError,
    OverflowError, RuntimeError, NotImplementedError, AssertionError, MemoryError, struct.error, zlib.error,
)  # fmt: skip


@pytest.mark.parametrize("kind", RAISED)
def test_whatever_a_decoder_raises_becomes_a_sentence(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    data = files.saved(PLAIN, "PNG")
    handed_in = Image.open(io.BytesIO(data))

    def fail(self: object) -> None:
        raise kind("of its own")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    with pytest.raises(InputError, match=r"'a.png' is not a picture that can be read\."):
        read_picture(data, "a.png")
    with pytest.raises(InputError, match="is not a picture that can be read"):
        to_rgb(handed_in)


def test_a_file_that_is_broken_behind_its_first_frame_is_refused() -> None:
    frames = [Image.fromarray(np.roll(PICTURE, 9 * i, 1)) for i in range(2)]
    data = files.saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    cut = data[: data.rindex(b"\x2c") - 20]
    assert read_picture(data, "a.gif")[1] == ("'a.gif' has 2 frames; the first one is taken.",)
    for end in (b"\x2c", b"\x21", b"\x21\xf9\x04", b"\x2c" + bytes(8)):
        try:
            assert read_picture(cut + end, "a.gif")[0].shape == PICTURE.shape
        except InputError as error:
            assert "'a.gif' is not a picture" in str(error)  # noqa: PT017


def test_warnings_of_pillow_are_not_shown_and_others_stay() -> None:
    flawed = files.saved(PLAIN, "JPEG", exif=files.exif(6, (5, 1, b"")))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert to_rgb(flawed).shape == (48, 32, 3)
        assert "9500×9500" in error_of(large(9500))
        warnings.warn("of the caller's", stacklevel=1)
    assert [str(one.message) for one in seen] == ["of the caller's"]


def large(side: int) -> bytes:
    """Return a file that declares a square of so many pixels of one bit, and has none."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + files.chunk(b"IHDR", header) + files.chunk(b"IDAT", b"") + files.chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9000, 20000, 1 << 30])
def test_the_declared_size_is_checked_before_memory_is_taken(side: int) -> None:
    assert "8192" in error_of(large(side))


# -- EXIF -------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, when the test itself opens them
@pytest.mark.parametrize("odd", files.ODD_RESOLUTIONS)
def test_the_orientation_alone_is_read_of_exif_data(odd: tuple[int, int, bytes]) -> None:
    upright = to_rgb(files.saved(PLAIN, "JPEG"))
    data = files.saved(PLAIN, "JPEG", exif=files.exif(6, odd))
    for picture in (data, Image.open(io.BytesIO(data))):
        assert np.array_equal(to_rgb(picture), np.rot90(upright, -1))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "tiff_lzw"])
def test_all_orientations_turn_pictures_upright(form: str) -> None:
    options = {"compression": form} if form == "tiff_lzw" else {}
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[files.ORIENTATION] = orientation
        data = files.saved(PLAIN, form.split("_")[0].upper(), exif=exif, **options)
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        assert np.array_equal(to_rgb(data), np.asarray(expected.convert("RGB"))), orientation


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, when the test itself opens them
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0MM\0*\0\0\0\x08\xff", files.exif(6)[:20], b"x" * 40]
)
def test_exif_data_that_cannot_be_read_means_upright(exif: bytes) -> None:
    data = files.saved(PLAIN, "JPEG", exif=exif)
    try:
        Image.open(io.BytesIO(data))
    except OSError:  # of Pillow 10.0
        assert "not a picture that can be read" in error_of(data)
    else:
        assert np.array_equal(to_rgb(data), to_rgb(files.saved(PLAIN, "JPEG")))


# -- bits and ranges --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("white", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_few_bits_are_scaled_and_white_may_be_zero(bits: int, white: int) -> None:
    values = GREY >> 8 - bits
    expected = values * (255 // (2**bits - 1))
    assert np.array_equal(to_rgb(files.tiff(values, white, bits)), shown(expected if white else 255 - expected))
    if white:
        assert np.array_equal(to_rgb(files.png(values, bits)), shown(expected))


@pytest.mark.parametrize(
    ("data", "inverted"),
    [
        (files.tiff(GREY.astype(np.uint16) * 257), False),
        (files.tiff(GREY.astype(np.uint16) * 257, 0), True),
        (files.tiff((GREY / 255).astype(np.float32)), False),
        (files.tiff((GREY / 255).astype(np.float32), 0), True),
        (files.tiff(np.rint(GREY * (4095 / 255)).astype(np.uint16), bits=12), False),
        (files.png(GREY.astype(np.uint16) * 257, 16), False),
        (b"P5 48 32 65535\n" + (GREY.astype(">u2") * 257).tobytes(), False),
        (b"P5 48 32 4095\n" + np.rint(GREY * (4095 / 255)).astype(">u2").tobytes(), False),
    ],
)
def test_many_bits_are_scaled_where_the_range_is_known(data: bytes, inverted: bool) -> None:
    expected = 255 - GREY if inverted else GREY
    for picture in (data, Image.open(io.BytesIO(data))):
        assert np.array_equal(to_rgb(picture), shown(expected))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (GREY.astype(np.int32), "whole numbers from 13 to 240"),
        (GREY.astype(np.uint32) << 16, "whole numbers from"),
        (GREY.astype(np.int16), "whole numbers from 13 to 240"),
        (GREY.astype(np.float32), "floats from 13 to 240"),
        ((GREY / 200).astype(np.float32), "floats from 0.065 to 1.2"),
        ((GREY / 255 - 0.5).astype(np.float32), "floats from -0.449"),
        (np.full((32, 48), np.nan, np.float32), "floats from nan"),
        (np.full((32, 48), np.inf, np.float32), "floats from inf"),
    ],
)
def test_values_whose_range_nothing_says_are_refused(values: NDArray[np.generic], says: str) -> None:
    for picture in (files.tiff(values), Image.open(io.BytesIO(files.tiff(values)))):
        with pytest.raises(InputError, match=says):
            to_rgb(picture)


# -- modes, profiles and transparency ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"]
)
def test_pictures_of_every_mode_look_as_pillow_shows_them(mode: str) -> None:
    picture = files.in_mode(mode)
    if mode == "LAB":
        expected = PICTURE
    else:
        steps = {"La": ["LA"], "HSV": ["RGB"], "YCbCr": ["RGB"]}.get(mode, [])
        clear = picture
        for step in (*steps, "RGBA"):
            clear = clear.convert(step)
        expected = np.asarray(Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB"))
    differences = np.abs(to_rgb(picture).astype(int) - expected)
    assert differences.mean() < 1.5 if mode == "LAB" else differences.max() <= 1


KEYED = {
    **{f"grey {n}": (files.png(GREY >> 8 - n, n, clear=b"\0\1"), (GREY >> 8 - n) == 1) for n in (1, 2, 4)},
    "grey 8": (files.png(GREY, 8, clear=b"\0\x50"), GREY == 0x50),
    "grey 16": (files.png(GREY.astype(np.uint16) * 257, 16, clear=b"\x50\x50"), GREY == 0x50),
    "grey 16, another low byte": (files.png(GREY.astype(np.uint16) * 257, 16, clear=b"\x50\x51"), GREY == 256),
    "RGB 8": (files.png(PICTURE, 8, 2, struct.pack(">3H", *PICTURE[3, 5])), (PICTURE[3, 5] == PICTURE).all(-1)),
    "RGB 16": (
        files.png(PICTURE.astype(np.uint16) * 257, 16, 2, struct.pack(">3H", *PICTURE[3, 5].astype(int) * 257)),
        (PICTURE[3, 5] == PICTURE).all(-1),
    ),
    "palette": (files.png(GREY >> 6, 2, 3, b"\xff\0", bytes(range(0, 120, 10))), (GREY >> 6) == 1),
    "GIF": (files.saved(Image.fromarray(GREY), "GIF", transparency=0x50), GREY == 0x50),
}  # fmt: skip


@pytest.mark.parametrize("with_profile", [False, True])
@pytest.mark.parametrize("kind", KEYED)
def test_the_transparent_colour_shows_white(kind: str, with_profile: bool) -> None:
    data, clear = KEYED[kind]
    if with_profile and data.startswith(b"\x89PNG"):
        profile = files.chunk(b"iCCP", b"name\0\0" + zlib.compress(files.red_and_blue_swapped()))
        data = data[:33] + profile + data[33:]
    at = data.find(b"tRNS")
    without = data[: at - 4] + data[at + 8 + int.from_bytes(data[at - 4 : at], "big") :] if at > 0 else data
    found = to_rgb(data)
    assert np.array_equal(found, np.where(clear[..., None], 255, to_rgb(without)))
    assert np.array_equal(found, to_rgb(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_shows_white_with_a_profile_as_without(mode: str) -> None:
    picture = files.in_mode(mode)
    plain = to_rgb(files.saved(picture, "PNG"))
    swapped = to_rgb(files.saved(picture, "PNG", icc_profile=files.red_and_blue_swapped()))
    expected = plain[..., ::-1] if mode == "RGBA" else plain  # a profile of colours is not one of grey
    assert np.abs(swapped.astype(int) - expected).max() <= 2


# -- HEIF -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"hevx"])
def test_heif_pictures_name_the_package_that_reads_them(brand: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = struct.pack(">I4s4sI4s", 20, b"ftyp", brand, 0, b"heic") + bytes(60)
    with pytest.raises(InputError, match=r"'a.heic' is a HEIF picture, which needs pillow-heif: pip"):
        read_picture(data, "a.heic")


def test_heif_pictures_are_read_where_the_package_is_installed(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[files.ORIENTATION] = 6
    for name, picture, options in (
        ("plain", PLAIN, {}), ("clear", files.in_mode("RGBA"), {}), ("turned", PLAIN, {"exif": exif.tobytes()})
    ):  # fmt: skip
        heif.from_pillow(picture).save(tmp_path / f"{name}.heic", quality=-1, **options)
    plain = to_rgb(tmp_path / "plain.heic")
    assert np.abs(plain.astype(int) - PICTURE).mean() < 3
    assert np.array_equal(to_rgb(tmp_path / "turned.heic"), np.rot90(plain, -1))
    assert np.abs(to_rgb(tmp_path / "clear.heic").astype(int) - to_rgb(files.in_mode("RGBA"))).mean() < 3
    for cut in (60, 200, 400):
        with pytest.raises(InputError, match="not a picture that can be read"):
            to_rgb((tmp_path / "plain.heic").read_bytes()[:cut])
    assert "HEIF" not in Image.OPEN, "nothing is registered for the whole process"


# -- names, and files from elsewhere ----------------------------------------------------------------------------------


def test_pictures_are_known_by_their_suffix() -> None:
    for name in ("a.png", "A.JPG", "a.b.TIFF", "a.heic", "a.HIF", "folder/a.webp"):
        assert is_picture_name(name), name
    for name in (".a.png", "._a.png", "folder/.DS_Store", "Thumbs.db", "a", "png", "a.txt", "a.smp", "a.png.part"):
        assert not is_picture_name(name), name


OUTCOMES = {
    "avif-RuntimeError-129.avif": "not a picture", "gif-IndexError-301.gif": "not a picture",
    "lab-TypeError-1504.tif": "not a picture", "jpg-error-796.jpg": (64, 48, 99.9), "exif_neg0.jpg": (64, 48, 99.8),
    "exif_asciires.jpg": (64, 48, 99.8), "f01.tif": (48, 64, 100.2), "grey12.tif": (48, 64, 100.2),
    "i32.tif": "from 13 to 245", "huge_1bit_20000x10000.png": "too large",
}  # fmt: skip
"""The sentence, or the height, width and mean value, of files that broke other programs."""


@pytest.mark.parametrize("name", OUTCOMES)
def test_files_that_broke_other_programs(name: str) -> None:
    if not (CASES / name).exists():
        pytest.skip(f"no {CASES / name}")
    expected = OUTCOMES[name]
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            to_rgb(CASES / name)
    else:
        found = to_rgb(CASES / name)
        assert (*found.shape[:2], round(float(found.mean()), 1)) == expected
