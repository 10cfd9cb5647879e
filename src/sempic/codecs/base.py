"""What every codec is: pictures in, streams out, and back.

    encode:  picture ─ Codec.analyse(image, settings) ─▷ Writer ─ write(step) ─▷ stream
    decode:  stream ─ Codec.read(stream) ─▷ Reading ─ draw(options, layers) ─▷ Decoded

Both sides have the same landing between networks and bits: a `Writer` holds what the networks made of a picture, a
`Reading` what a stream contains, and both hold integers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sempic.container import Stream
from sempic.errors import InputError
from sempic.taxonomy import Taxonomy

if TYPE_CHECKING:
    from sempic.runtime import Model

Rgb = NDArray[np.uint8]
"""A picture: uint8 H×W×3."""
Segmap = NDArray[np.uint8]
"""Class ids: uint8 H×W; 255 is void."""


@dataclass(frozen=True)
class Decoded:
    """A decoded picture.

    image: uint8 H×W×3 RGB.
    segmap: uint8 H×W class ids (255: void); None when the codec sends none.
    taxonomy: the classes that the ids of `segmap` stand for.
    warnings: a sentence for each part of the stream that could not be used.
    provenance: uint8 H×W, for each pixel a `sempic.Provenance`: whether it was sent, drawn from what was sent, or
        invented. None from a codec of one's own that does not say.
    """

    image: Rgb
    segmap: Segmap | None = None
    taxonomy: Taxonomy | None = None
    warnings: tuple[str, ...] = ()
    provenance: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Part:
    """What a number of bytes of a stream is used for. Codecs that share bytes between parts round as they see fit, as
    long as the parts of a stream sum to its size."""

    name: str
    bytes: int
    detail: str = ""


@dataclass(frozen=True)
class Contents:
    """What a stream holds.

    parts: what the payload bytes are used for; they sum to the lengths of all payloads.
    warnings: a sentence for each part of the stream that cannot be used, as far as reading shows it.
    detail: what else there is to know, such as the settings that the stream reveals; JSON-able values only.
    """

    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Info:
    """What is in a stream. `bpp` is 8 · bytes / (width · height); the parts sum to `bytes`; `taxonomy` is the name of
    the segmap's classes, empty for a codec without segmaps."""

    codec: str
    model: str
    taxonomy: str
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
class Settings:
    """How to encode a picture; each codec's own settings extend it by fields with defaults."""

    codec: ClassVar[str] = ""
    """The name of the codec that these settings are for."""


@dataclass(frozen=True)
class Options:
    """How to decode a picture; codecs with options of their own extend it by fields with defaults.

    progress: called again and again during a long decode with the number of steps done (tiles drawn, or passes of the
        network) and the number there are. Codecs that are quick do not call it.
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
    warnings: tuple[str, ...] = ()
    """A sentence for each thing about the picture that a user should know, such as classes that became void."""
    smaller: Callable[[], Writer] | None = None
    """Returns the writer of smaller streams of the same picture, always the same one, for sizes for which this one has
    none."""
    basic: int = 0
    """The first step whose streams have all that a picture is made of: where it is too large, a `smaller` writer serves
    better, if there is one."""
    outside: str = ""
    """What the picture does not look like although the model was trained for nothing else, such as "a street scene";
    empty where it looks like that, and where the segmenter cannot say."""

    def step_of(self, quality: float) -> int:
        """Return the step for a quality from 0 (smallest) to 100 (best)."""
        return round(quality / 100 * (self.steps - 1))

    @abstractmethod
    def write(self, step: int) -> bytes:
        """Return a complete stream; `step` is 0..steps - 1."""

    def within(self, limit: int | None) -> Writer:
        """Return the writer for streams of at most `limit` bytes (None for any number): this one or a smaller one.

        It is the first whose basic step fits, or else the first of which any step does, or else the last one.
        """
        if limit is None:
            return self
        fitting: Writer | None = None
        for writer in self.rungs():
            if len(writer.write(0)) <= limit:
                if len(writer.write(writer.basic)) <= limit:
                    return writer
                fitting = fitting or writer
        return fitting or writer

    def rungs(self) -> Iterator[Writer]:
        """Yield this writer, and those of smaller streams one after another."""
        yield self
        if self.smaller is not None:
            yield from self.smaller().rungs()

    def lacks(self, step: int) -> tuple[str, ...]:
        """Return a sentence for each thing that a user would expect and the stream of a step has no room for."""
        return ()


class Reading(ABC):
    """What a stream contains, as integers, parsed once: the decoder's counterpart of `Writer`.

    No network and no decoder of pictures runs before `draw` is called (or the `segmap` is asked for, where it is sent
    as tokens). What was read can be drawn again and again.
    """

    contents: Contents
    layers: int
    """The number of layers that can be used behind the base."""
    announced: int = 0
    """The number of layers that the first section announces; where there are fewer, some did not arrive."""
    model: str = ""
    """The name of the model that the stream needs; empty for a codec without models."""
    taxonomy: Taxonomy | None = None
    """The classes of the segmap."""

    @property
    def segmap(self) -> Segmap | None:
        """The segmap at the picture's size (uint8 H×W); None for a codec that sends none."""
        return None

    def misses(self, layers: int | None) -> bool:
        """Whether some of the first so many layers, or of all for None, did not arrive."""
        return self.layers < self.announced and (layers is None or layers > self.layers)

    @abstractmethod
    def draw(self, options: Any, layers: int | None = None) -> Decoded:
        """Return the picture at its original size.

        Args:
            options: an instance of the codec's `Options`.
            layers: the most layers to use, 0 for the base alone; None for all.
        """


class Codec(ABC):
    """A way to write pictures as streams. Codecs can be made without arguments and keep only what can be shared between
    pictures, such as loaded networks; `sempic.codecs.codec` makes one of each."""

    name: ClassVar[str]
    id: ClassVar[int]
    """The number in the header (0..255), declared by the class, for ever."""
    Settings: ClassVar[type[Settings]]
    """How to encode: a frozen dataclass whose fields all have defaults."""
    Options: ClassVar[type[Options]] = Options
    """How to decode: a frozen dataclass whose fields all have defaults."""
    learnt: ClassVar[bool] = False
    """Whether the codec needs a model."""

    @abstractmethod
    def analyse(self, image: Rgb, settings: Any) -> Writer:
        """Run the networks once.

        Args:
            image: a picture, as `sempic.pixels.to_rgb` returns it.
            settings: an instance of `Settings`.
        """

    @abstractmethod
    def read(self, stream: Stream, model: Model | None = None) -> Reading:
        """Return what a stream contains.

        Args:
            stream: its sections.
            model: a model that the stream may need besides those that are installed.

        Raises:
            StreamError: the first section makes no sense.
            ModelError: the stream's model is not here.
        """


def check_choice(what: str, given: Any, choices: tuple[Any, ...]) -> None:
    """Raise `InputError`, which lists the choices, for a setting that is none of them."""
    if given not in choices:
        *first, last = map(str, choices)
        raise InputError(f"{what} can be {', '.join(first)} or {last}, not '{given}'.")
