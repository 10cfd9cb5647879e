"""Any picture as uint8 RGB: paths, files in memory, PIL images of every mode, and arrays. And segmaps as PNG files."""

from __future__ import annotations

import json
import os
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sempic.container import check_size
from sempic.errors import InputError
from sempic.files import read_picture
from sempic.taxonomy import Taxonomy

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "str | os.PathLike[str] | bytes | Image | NDArray[Any]"
"""What people have: the path of a picture file, its bytes, a PIL image, or an array."""
_TAXONOMY = "taxonomy"
"""The text chunk of a PNG that holds the taxonomy of its class ids, as JSON."""


def to_rgb(image: Picture) -> NDArray[np.uint8]:
    """Return any picture as uint8 H×W×3 RGB, C-contiguous.

    Args:
        image: the path of a picture file; the bytes of one; a PIL image of any mode (turned upright if its EXIF data
            says so, its colours converted to sRGB if it has a colour profile that can be read, its first frame if
            nobody sought another); or whatever `numpy.asarray` reads as H×W, H×W×1 (grey), H×W×2 (grey, alpha), H×W×3
            or H×W×4 (alpha) of uint8 or uint16. Transparency shows white.

    Raises:
        InputError: anything else, and sides outside 16..8192 pixels.
    """
    if isinstance(image, str | os.PathLike):
        image = read_picture(_contents(Path(image)), os.fspath(image))[0]
    elif isinstance(image, bytes | bytearray | memoryview):
        image = read_picture(bytes(image), "the picture handed in")[0]
    try:
        pixels = np.asarray(_from_pil(image))
    except (ValueError, TypeError, OSError, SyntaxError, EOFError) as error:  # most from a file that PIL reads now
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
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if channels in (2, 4):
        alpha = pixels[..., -1:].astype(np.uint16)
        pixels = ((pixels[..., :-1] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3)))


def _contents(path: Path) -> bytes:
    """Return what is in a file; raise `InputError` where it cannot be read."""
    try:
        return path.expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"'{path}' cannot be read: {why}.") from None


def _from_pil(image: Any) -> Any:
    """Return a PIL image upright as RGBA or 16-bit grey; anything else as it is."""
    if "PIL.Image" not in sys.modules:  # then it cannot be one, and PIL need not be imported to find out
        return image
    from PIL import ImageOps
    from PIL.Image import Image

    if not isinstance(image, Image):
        return image
    check_size(*image.size)  # before a file is read
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit grey, which PIL would clip instead of scale
        return np.clip(np.asarray(image), 0, 0xFFFF).astype(np.uint16)
    return _to_srgb(image).convert("RGBA")


def _to_srgb(image: Image) -> Image:
    """Return a PIL image with its colours converted to sRGB; as it is without a profile, or with one that fails."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    from PIL import ImageCms

    if image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
        image = image.convert("RGBA")
    has_alpha = image.mode in ("LA", "RGBA")
    opaque = image.convert(image.mode.removesuffix("A")) if has_alpha else image
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        converted = ImageCms.profileToProfile(opaque, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ImportError):  # broken, for other pictures, or a Pillow without LittleCMS
        return image
    assert converted is not None, "it was not asked for in place"
    if has_alpha:
        converted.putalpha(image.getchannel("A"))
    return converted


def read_labels(path: str | os.PathLike[str], taxonomy: Taxonomy | None = None) -> NDArray[np.uint8]:
    """Return the class ids in a label picture (uint8 H×W), as they are stored.

    Args:
        path: a palette or grey picture.
        taxonomy: the classes that the ids are taken for. A picture that `labels_png` wrote must have the same ones;
            others do not say which they have.

    Raises:
        InputError: there is no picture, none of ids, or one of other classes.
    """
    picture, _ = read_picture(_contents(Path(path)), os.fspath(path))
    if picture.mode not in ("L", "P"):
        raise InputError(f"'{path}' is not a palette or grey picture of class ids, but of mode {picture.mode}.")
    if taxonomy is not None and _TAXONOMY in picture.info:
        try:
            stated = Taxonomy.from_json(json.loads(picture.info[_TAXONOMY]))
        except (ValueError, TypeError) as error:
            raise InputError(f"The taxonomy in '{path}' cannot be used: {error}.") from None
        if stated.classes != taxonomy.classes:
            raise InputError(
                f"The class ids in '{path}' are those of {stated.name}, but the model knows {taxonomy.name}."
            )
    return np.array(picture, np.uint8)


def labels_png(segmap: NDArray[np.uint8], taxonomy: Taxonomy) -> bytes:
    """Return a segmap (uint8 H×W ids) as a palette PNG that shows the classes' colours and holds their taxonomy."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    picture, about, out = Image.fromarray(segmap, "L"), PngInfo(), BytesIO()
    picture.putpalette(taxonomy.colourise(np.arange(256, dtype=np.uint8)[None]).tobytes())
    about.add_text(_TAXONOMY, json.dumps(taxonomy.to_json()))
    picture.save(out, "PNG", pnginfo=about)
    return out.getvalue()
