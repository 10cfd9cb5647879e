"""What the classic codecs share: scale a picture, code it at a quality, send it as one section; and back."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import container, extras
from sempic.codecs import base
from sempic.codecs.base import Codec, Contents, Decoded, Part, Reading, Writer, check_choice
from sempic.container import Header, Section, Stream
from sempic.errors import InputError, StreamError
from sempic.provenance import Provenance, uniform

if TYPE_CHECKING:
    from sempic.runtime import Model

Pixels = TypeVar("Pixels")
"""A picture as a codec's coder takes it."""
Rgb = NDArray[np.uint8]
"""Pixels as uint8 H×W×3."""
Ladder = tuple[tuple[int, int], ...]
"""The steps of a codec from smallest to best: how many times the picture is scaled down, and the level of quality."""

SCALES = {"full": 1, "half": 2, "quarter": 4}
"""How many times a picture is scaled down, by the name of the setting; the number is also the section's type."""


@dataclass(frozen=True)
class Settings(base.Settings):
    """How to encode a picture with a classic codec.

    scale: the size at which the picture is coded, "full", "half" or "quarter"; "auto" goes from a quarter over half to
        full size with rising rate.
    """

    scale: str = "auto"

    def __post_init__(self) -> None:
        check_choice("The scale", self.scale, ("auto", *SCALES))


def ladder(quarter: Iterable[int], half: Iterable[int], full: Iterable[int]) -> Ladder:
    """Return the steps that take these levels at each size."""
    return tuple((scale, level) for scale, levels in ((4, quarter), (2, half), (1, full)) for level in levels)


class PictureCodec(Codec, Generic[Pixels]):
    """A coder of pictures as a codec.

        image ─ scale 1, ½, ¼ ─ coder at a level ─ less what follows from the size ─ section
        section ─ + what follows from the size ─ decoder ─ scale up ─ image

    The section's type is the scale.
    """

    Settings = Settings
    title: ClassVar[str]
    """The name of the format, for people."""
    levels: ClassVar[Sequence[int]]
    """What the coder calls quality, in its own numbers, from coarse to fine."""
    auto: ClassVar[Ladder]
    """The steps under `scale="auto"`; the docstring of the constant has the rates at which the scale changes."""

    @abstractmethod
    def shrink(self, image: Rgb, width: int, height: int) -> Pixels:
        """Return a picture in these columns and rows, as `compress` takes it."""

    @abstractmethod
    def compress(self, pixels: Pixels, level: int) -> bytes:
        """Return the payload of a picture at one of the `levels`: the same bytes each time."""

    @abstractmethod
    def expand(self, payload: bytes, width: int, height: int) -> Pixels:
        """Return what `compress` was given, as nearly as its level allows.

        `width` and `height` are those of `shrink`. Raises `StreamError` for a payload that is damaged, before
        memory is taken for any other size.
        """

    @abstractmethod
    def enlarge(self, pixels: Pixels, width: int, height: int) -> Rgb:
        """Return the picture at its original size."""

    def analyse(self, image: Rgb, settings: Any) -> Writer:
        """Prepare a picture; nothing is coded yet."""
        if settings.scale == "auto":
            return PictureWriter(self, image, self.auto)
        return PictureWriter(self, image, tuple((SCALES[settings.scale], level) for level in self.levels))

    def read(self, stream: Stream, model: Model | None = None) -> Reading:
        """Return what a stream contains; the picture is not decoded yet."""
        return PictureReading(self, stream)

    def damaged(self, why: str) -> StreamError:
        """Return the error for a payload that cannot be decoded."""
        return StreamError(f"The {self.title} picture in the stream is damaged: {why}.")


class PictureReading(Reading, Generic[Pixels]):
    """A picture as the bytes of its coder, and how many times it was scaled down."""

    layers = 0

    def __init__(self, codec: PictureCodec[Pixels], stream: Stream) -> None:
        self._codec, self._header, (first, *others) = codec, stream.header, stream.sections
        if first.type not in SCALES.values():
            raise StreamError(
                f"The stream starts with a section of type {first.type}, which the codec {codec.name} lacks."
            )
        self.scale, self._payload = first.type, first.payload
        parts = [Part("picture", len(first.payload), f"{codec.title} at 1/{self.scale} size")]
        parts += [Part("unknown", len(other.payload), f"section of type {other.type}") for other in others]
        ignored = f"{len(others)} section(s) after the picture are not known to this release and are ignored."
        self.contents = Contents(tuple(parts), stream.warnings + (ignored,) * bool(others), {"scale": self.scale})

    def draw(self, options: Any, layers: int | None = None) -> Decoded:
        """Decode the picture and scale it up."""
        width, height = self._header.width, self._header.height
        pixels = self._codec.expand(self._payload, *scaled(width, height, self.scale))
        picture = self._codec.enlarge(pixels, width, height)
        kinds = uniform(Provenance.SENT, picture)
        return Decoded(picture, warnings=self.contents.warnings, provenance=kinds)


class RgbCodec(PictureCodec[Rgb]):
    """A coder that takes RGB and converts colours itself."""

    def shrink(self, image: Rgb, width: int, height: int) -> Rgb:
        """Scale down by Lanczos."""
        return _resized(image, width, height, Image.Resampling.LANCZOS)

    def enlarge(self, pixels: Rgb, width: int, height: int) -> Rgb:
        """Scale up by bicubic interpolation."""
        return _resized(pixels, width, height, Image.Resampling.BICUBIC)

    def opened(self, file: bytes, kind: str, width: int, height: int) -> Rgb:
        """Return the picture in a file of a kind that PIL reads, which must have this size."""
        try:
            with Image.open(io.BytesIO(file), formats=(kind,)) as picture:
                fits = picture.size == (width, height) and picture.mode == "RGB"
                pixels = np.array(picture) if fits else None
        except Exception as error:  # of nearly any class, for a file that is damaged
            raise self.damaged(f"PIL reports '{error}'") from None
        if pixels is None:
            raise self.damaged("it is not of the stream's size, or not in colour")
        return pixels


class PictureWriter(Writer, Generic[Pixels]):
    """A picture to be written at any step of a ladder. Each size that the ladder asks for is scaled once."""

    def __init__(self, codec: PictureCodec[Pixels], image: Rgb, ladder: Ladder) -> None:
        self.height, self.width, _ = image.shape
        self.pixels = self.height * self.width
        self.steps = len(ladder)
        self._codec, self._image, self._ladder = codec, image, ladder
        self._shrunk: dict[int, Pixels] = {}

    def write(self, step: int) -> bytes:
        scale, level = self._ladder[step]
        if scale not in self._shrunk:
            self._shrunk[scale] = self._codec.shrink(self._image, *scaled(self.width, self.height, scale))
        payload = self._codec.compress(self._shrunk[scale], level)
        return container.write(Header(self._codec.id, self.width, self.height), [Section(scale, payload)])


def scaled(width: int, height: int, scale: int) -> tuple[int, int]:
    """Return a size scaled down, rounded up to whole pixels."""
    return -(-width // scale), -(-height // scale)


def extra(package: str, codec: str) -> Any:
    """Import a package that only some codecs need; raise `InputError` with how to get it."""
    try:
        return import_module(package)
    except (ImportError, OSError):  # the latter when a library that the package wraps is missing
        raise InputError(f"The codec {codec} needs the package {package}: {extras.install('bench')}.") from None


def _resized(image: Rgb, width: int, height: int, filter: Image.Resampling) -> Rgb:
    if image.shape[:2] == (height, width):
        return image
    return np.array(Image.fromarray(image).resize((width, height), filter))
