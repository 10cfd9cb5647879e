"""What every codec is: pictures in, streams out, and back."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sempic.container import Header, Stream, check_size
from sempic.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Decoded:
    """A decoded picture.

    `image` is uint8 H×W×3 RGB; `segmap` is uint8 H×W class ids (255: void), None when the codec sends none; `warnings`
    has a sentence for each part of the stream that could not be used.
    """

    image: NDArray[np.uint8]
    segmap: NDArray[np.uint8] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """What a number of bytes of a stream is spent on. Codecs that share bytes between parts round as they see fit, as
    long as the parts of a stream sum to its size."""

    name: str
    bytes: int
    detail: str = ""


@dataclass(frozen=True)
class Contents:
    """What a stream's sections hold.

    parts: what the payload bytes are spent on; they sum to the lengths of all payloads.
    warnings: a sentence for each part of the stream that the codec cannot use, beyond the stream's own warnings.
    detail: what else there is to know, such as the settings that the stream reveals; JSON-able values only.
    """

    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Info:
    """What is in a stream. `bpp` is 8 · bytes / (width · height); the parts sum to `bytes`."""

    codec: str
    model: str
    width: int
    height: int
    bytes: int
    bpp: float
    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain dicts, lists, strings and numbers, ready for `json.dumps`."""
        plain = asdict(self)
        return plain | {"parts": list(plain["parts"]), "warnings": list(self.warnings), "detail": dict(self.detail)}


@dataclass(frozen=True)
class NoSettings:
    """The settings of a codec that has none."""


@dataclass(frozen=True)
class Options:
    """How to decode a picture; codecs with options of their own extend it.

    progress: called again and again during a long decode with the number of network passes done and the number there
        are. Codecs that are quick do not call it.
    """

    progress: Callable[[int, int], None] | None = None


class Writer(ABC):
    """One picture, analysed and ready to be written at any of the codec's steps.

    The networks have run; `write` only chooses and entropy-codes, so that a search over steps is cheap. Sizes grow with
    the step, nearly monotonically.
    """

    steps: int
    """The number of steps; steps count from 0 (smallest) to `steps - 1` (best)."""
    pixels: int
    """Width times height of the original picture."""

    def step_of(self, quality: float) -> int:
        """Return the step for a quality from 0 (smallest) to 100 (best); raise `InputError` outside that range."""
        if not 0 <= quality <= 100:
            raise InputError(f"The quality is {quality}; it must be from 0 to 100.")
        return round(quality / 100 * (self.steps - 1))

    @abstractmethod
    def write(self, step: int) -> bytes:
        """Return a complete stream; `step` is 0..steps - 1."""


class Codec(ABC):
    """A way to write pictures as streams. Codecs can be made without arguments and keep only what can be shared between
    pictures, such as loaded networks; `sempic.codecs.codec` makes one of each."""

    name: ClassVar[str]
    id: ClassVar[int]
    """The number in the header (0..255), declared by the class, for ever."""
    Settings: ClassVar[type[Any]] = NoSettings
    """How to encode: a frozen dataclass whose fields all have defaults."""
    Options: ClassVar[type[Any]] = Options
    """How to decode: a frozen dataclass that extends `Options` by fields with defaults."""

    def settings(self, **given: Any) -> Any:
        """Return the codec's `Settings` with these set; raise `InputError` for one that it does not know."""
        self._check(given, self.Settings, "a setting of")
        return self.Settings(**given)

    def options(self, **given: Any) -> Any:
        """Return the codec's `Options` with these set; raise `InputError` for one that it does not know."""
        self._check(given, self.Options, "an option of decoding with")
        return self.Options(**given)

    def _check(self, given: Mapping[str, Any], kind: type[Any], what: str) -> None:
        known = [one.name for one in fields(kind)]
        if unknown := sorted(given.keys() - set(known)):
            knows = f"it knows {', '.join(known)}" if known else "it has none"
            raise InputError(f"'{unknown[0]}' is not {what} the codec {self.name}; {knows}.")

    @abstractmethod
    def analyse(self, image: NDArray[np.uint8], settings: Any) -> Writer:
        """Run the networks once on a picture (uint8 H×W×3, as `to_rgb` returns it) under an instance of `Settings`."""

    @abstractmethod
    def decode(self, stream: Stream, options: Any) -> Decoded:
        """Return the picture under an instance of `Options`, at its original size, with the stream's warnings and the
        codec's own.

        Raises `StreamError` when the first section makes no sense, `ModelError` when the stream's model is not here.
        """

    @abstractmethod
    def describe(self, stream: Stream) -> Contents:
        """Return what the sections hold; nothing is drawn. Raises what `decode` raises."""

    def base_sections(self, stream: Stream) -> int:
        """Return how many sections are the least that makes a picture; each one after them is a layer."""
        return 1

    def model(self, header: Header) -> str:
        """Return the name of the model that a stream was made with; empty for a codec without models."""
        return ""


def to_rgb(image: Any) -> NDArray[np.uint8]:
    """Return any picture as uint8 H×W×3 RGB, C-contiguous.

    Takes a PIL image of any mode (turned upright if its EXIF data says so, its colours converted to sRGB if it has a
    colour profile that can be read, its first frame if nobody sought another) or whatever `numpy.asarray` reads as H×W,
    H×W×1 (grey), H×W×2 (grey, alpha), H×W×3 or H×W×4 (alpha) of uint8 or uint16. Transparency shows white. Raises
    `InputError` for anything else, and for sides outside 16..8192 pixels.
    """
    try:
        pixels = np.asarray(_from_pil(image))
    except (ValueError, TypeError, OSError, SyntaxError, EOFError) as error:  # most from a file that PIL reads now
        raise InputError(f"The picture cannot be read as an array: {error}.") from None
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
