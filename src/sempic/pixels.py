"""The one door for pictures: paths, files in memory, PIL images of every mode, and arrays, all as uint8 RGB."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import BytesIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sempic import extras
from sempic.container import check_size
from sempic.errors import InputError, SempicError

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "str | os.PathLike[str] | bytes | Image | NDArray[Any]"
"""What people have: the path of a picture file, its bytes, a PIL image, or an array."""

_ORIENTATION = 0x0112
_BITS, _PHOTOMETRIC = 258, 262
"""Tags of EXIF and of TIFF."""
_HEIF_SUFFIXES = (".heic", ".heif", ".hif")
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
"""The words at byte 8 of a HEIF file."""
_STREAM = ".smp"
SPREAD = {"L;2": 0x55, "L;4": 0x11}
"""By which Pillow multiplies grey values that have less than 8 bits, by the `raw_mode` of their file."""


class PixelSize(NamedTuple):
    """A width and a height in pixels."""

    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> PixelSize:
        """Read "480x360", with an x, an X or a ×; raise `InputError` for anything else and for sides that are not from
        16 to 8192."""
        found = re.fullmatch(r"([0-9]{1,9})\s*[xX×]\s*([0-9]{1,9})", text.strip())
        if found is None:
            raise InputError(f"'{text}' is no width and height in pixels; write 480x360.")
        size = cls(int(found[1]), int(found[2]))
        check_size(*size)
        return size

    def shrink(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a picture (uint8 H×W×3) scaled down until it fits into this size; a smaller one as it is."""
        from PIL import Image

        height, width = pixels.shape[:2]
        scale = min(self.width / width, self.height / height)
        if scale >= 1:
            return pixels
        fitting = max(round(width * scale), 1), max(round(height * scale), 1)
        check_size(*fitting)
        return np.asarray(Image.fromarray(pixels).resize(fitting, Image.Resampling.LANCZOS))


def to_rgb(image: Picture) -> NDArray[np.uint8]:
    """Return any picture as uint8 H×W×3 RGB, C-contiguous.

    Args:
        image: the path of a picture file; the bytes of one; a PIL image of any mode (turned upright if its EXIF data
            says so, its colours converted to sRGB if it has a colour profile that can be read, its first frame if
            nobody sought another); or whatever `numpy.asarray` reads as H×W, H×W×1 (grey), H×W×2 (grey, alpha), H×W×3
            or H×W×4 (alpha) of uint8 or uint16. Transparency shows white. Files of 12 or 16 bits, and of floats from 0
            to 1, are scaled to 8 bits.

    Raises:
        InputError: anything else, values whose range nothing says, and sides outside 16..8192 pixels.
    """
    if isinstance(image, str | os.PathLike):
        return read_picture(contents(image), os.fspath(image))[0]
    if isinstance(image, bytes | bytearray | memoryview):
        return read_picture(bytes(image), "the picture handed in")[0]
    if "PIL.Image" in sys.modules:  # else it cannot be one, and PIL need not be imported to find out
        from PIL.Image import Image

        if isinstance(image, Image):
            with _pillow("the picture handed in"):
                return _upright_rgb(image)
    try:
        pixels = np.asarray(image)
    except (ValueError, TypeError) as error:
        raise InputError(f"The picture cannot be read as an array: {error}.") from None
    if pixels.dtype == np.object_ or pixels.ndim == 0:
        raise InputError(
            f"A picture is a path, the bytes of a picture file, a PIL image or an array, not {type(image).__name__}."
        )
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"The picture's values are {pixels.dtype}; hand in uint8 values from 0 to 255.")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4:
        raise InputError(f"The picture has the shape {pixels.shape}; hand in H×W, H×W×3 or H×W×4.")
    height, width, channels = pixels.shape
    check_size(width, height)
    if pixels.dtype == np.uint16:
        pixels = _to_8_bits(pixels, 0xFFFF)
    if channels in (2, 4):
        pixels = _on_white(pixels[..., :-1], pixels[..., -1])
    return np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3)))


# -- files ------------------------------------------------------------------------------------------------------------


def read_picture(data: bytes, name: str) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return the picture in a file's bytes, as `to_rgb` does, and a sentence if the file has more frames.

    Raises `InputError`, which names the file, if there is no picture.
    """
    with opened(data, name) as picture:
        pixels = _upright_rgb(picture)
        frames = getattr(picture, "n_frames", 1)
    return pixels, (f"'{name}' has {frames} frames; the first one is taken.",) if frames > 1 else ()


@contextmanager
def opened(file: bytes | Path, name: str) -> Iterator[Image]:
    """Open a picture file whose size is allowed; all that Pillow raises in the block becomes an `InputError`.

    Nothing is decoded yet. The `name` is that of the file in messages.
    """
    with _pillow(name):
        picture = _identified(BytesIO(file) if isinstance(file, bytes) else file, name)
        with picture:
            check_size(*picture.size)
            yield picture


def contents(path: str | os.PathLike[str]) -> bytes:
    """Return what is in a file; raise `InputError` where it cannot be read."""
    try:
        return Path(path).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"'{os.fspath(path)}' cannot be read: {why}.") from None


def format_of(data: bytes) -> str | None:
    """Return the format of the picture in a file's bytes, as Pillow names it; None if there is none."""
    with suppress(Exception), _identified(BytesIO(data), "") as picture:
        return picture.format
    return None


def is_picture_name(name: str | PurePath) -> bool:
    """Whether a file's name is that of a picture: not hidden, and with the suffix of a format that can be read."""
    path = PurePath(name)
    return not path.name.startswith(".") and path.suffix.lower() in _suffixes()


@cache
def _suffixes() -> frozenset[str]:
    """The suffixes of all formats that Pillow reads, except our own, which it may have learnt, and of HEIF."""
    from PIL import Image

    read = {suffix for suffix, form in Image.registered_extensions().items() if form in Image.OPEN}
    return frozenset(read - {_STREAM}).union(_HEIF_SUFFIXES)


@contextmanager
def _pillow(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises of a file, which is nearly every class of exceptions, into an `InputError`."""
    from PIL.Image import DecompressionBombError

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of flaws that Pillow can live with
            yield
    except SempicError:
        raise
    except DecompressionBombError:
        raise InputError(f"The picture '{name}' is too large; 8192 × 8192 pixels are the limit.") from None
    except Exception as error:
        raise InputError(f"'{name}' is not a picture that can be read.") from error


def _identified(file: BytesIO | Path, name: str) -> Image:
    """Return a picture file opened by Pillow, or by pillow-heif if Pillow does not read it."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(file)
    except UnidentifiedImageError:
        if not _is_heif(file):
            raise
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise InputError(f"'{name}' is a HEIF picture, which needs pillow-heif: {extras.install('heif')}.") from None
    picture: Image.Image = HeifImageFile(file)
    return picture


def _is_heif(file: BytesIO | Path) -> bool:
    if isinstance(file, Path):
        with file.open("rb") as found:
            start = found.read(12)
    else:
        start = file.getvalue()[:12]
    return start[4:8] == b"ftyp" and start[8:] in _HEIF_BRANDS


# -- what is in a PIL image -------------------------------------------------------------------------------------------


def raw_mode(image: Image) -> str:
    """Return how a picture's values are stored in its file, as Pillow names it ("L;2", "RGB;16B"); "" once loaded."""
    if not getattr(image, "tile", None):
        return ""
    found = image.tile[0][3]  # type: ignore[attr-defined]
    mode = found[0] if isinstance(found, tuple) and found else found
    return mode if isinstance(mode, str) else ""


def upright(image: Image, pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the values of a picture (H×W or H×W×C) turned as its EXIF data says, if that can be read.

    The orientation alone is read: other entries are often wrong, and Pillow's own function writes them all anew.
    """
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # of EXIF data that makes no sense
        return pixels
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _upright_rgb(image: Image) -> NDArray[np.uint8]:
    """Return a PIL image as uint8 H×W×3."""
    check_size(*image.size)
    stored = raw_mode(image)
    image.load()
    check_size(*image.size)  # some formats find out only now
    if image.mode == "F" or image.mode.startswith("I"):
        pixels, alpha = _grey(image), None
    else:
        colours, alpha = _without_alpha(image)
        pixels = np.asarray(_to_srgb(colours))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if alpha is None:
        alpha = _key_alpha(image, stored)
    if alpha is not None:
        pixels = _on_white(pixels, alpha)
    pixels = upright(image, pixels)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _grey(image: Image) -> NDArray[np.uint8]:
    """Return a grey picture of more than 8 bits with 8; raise `InputError` where nothing says what white is."""
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    if image.mode == "F":
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 1):  # or one of them is NaN
            raise InputError(
                f"The picture has floats from {low:.4g} to {high:.4g}, and nothing says which is white; only 0 to 1 "
                "have a known meaning. Save it with 8 or 16 bits."
            )
        found = np.rint(values * np.float32(255)).astype(np.uint8)
    elif image.mode.startswith("I;16"):
        bits = tags.get(_BITS, (16,))[0]
        found = _to_8_bits(values, (1 << bits) - 1)
    elif image.format in ("PNG", "PPM"):  # 16 bits, which Pillow holds in 32
        found = _to_8_bits(values.clip(0, 0xFFFF), 0xFFFF)
    else:
        raise InputError(
            f"The picture has whole numbers from {values.min()} to {values.max()}, of 32 bits or with a sign, and "
            "nothing says which is white. Save it with 8 or 16 bits."
        )
    white_is_zero = tags and not tags.get(_PHOTOMETRIC, 0)  # Pillow inverts pictures of up to 8 bits only
    return 255 - found if white_is_zero else found


def _without_alpha(image: Image) -> tuple[Image, NDArray[np.uint8] | None]:
    """Return a picture as L, RGB, CMYK or LAB, and its alpha (uint8 H×W) if it has a channel or palette of that."""
    mode = image.mode
    if mode in ("P", "PA", "RGBa"):
        image = image.convert("RGBA")
    elif mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA"):
        return image.convert(image.mode[:-1]), np.asarray(image.getchannel("A"))
    if mode == "1":
        return image.convert("L"), None
    return (image if mode in ("L", "RGB", "CMYK", "LAB") else image.convert("RGB")), None


def _key_alpha(image: Image, stored: str) -> NDArray[np.uint8] | None:
    """Return 0 for the pixels of the one colour that a picture's file declares to be transparent, else 255.

    Args:
        image: as it was loaded.
        stored: its `raw_mode`, since the colour is in the file's own range and the pixels may not be.
    """
    key = image.info.get("transparency")
    if not isinstance(key, int | tuple):
        return None
    values = np.asarray(image)
    if stored.startswith("RGB;16"):  # Pillow keeps the high bytes alone
        key = tuple(value >> 8 for value in key)  # type: ignore[union-attr]
    elif stored in SPREAD:
        key *= SPREAD[stored]
    same = values == np.asarray(key)
    return np.where(same if same.ndim == 2 else same.all(-1), 0, 255).astype(np.uint8)


def _to_srgb(image: Image) -> Image:
    """Return a picture of mode L, RGB, CMYK or LAB as RGB or L, its colours converted to sRGB.

    They are as they were without a profile, or with one that fails.
    """
    from PIL import ImageCms

    stated, mode = image.info.get("icc_profile"), image.mode
    if stated or mode == "LAB":
        try:
            profile = (
                ImageCms.createProfile("LAB") if mode == "LAB" else ImageCms.getOpenProfile(BytesIO(stated or b""))
            )
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
            assert converted is not None, "it was not asked for in place"
            return converted
        except Exception:  # broken, for other pictures, or a Pillow without LittleCMS
            if mode == "LAB":
                raise
    return image.convert("RGB") if mode == "CMYK" else image


# -- values -----------------------------------------------------------------------------------------------------------


def _to_8_bits(values: NDArray[Any], white: int) -> NDArray[np.uint8]:
    """Scale whole numbers, of which `white` is the largest, to 0..255."""
    return ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def _on_white(colours: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return colours (uint8 H×W×C) before white, where alpha (uint8 H×W) is below 255."""
    opacity = alpha.astype(np.uint16)[..., None]
    return ((colours * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
