"""What `sqgan`, `layered` and `spic` share: their first section, their models, and how a stream of them is read.

All three send the segmap first. The first two send the mean colour of every class with it, and hand the drawing network
a layout: what is known of each cell of 4×4 pixels. What else the networks get is each codec's own affair.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from sempic import runtime
from sempic.codecs.base import Contents, Part, Reading, Rgb, Segmap, Writer, check_choice
from sempic.codecs.colours import Colours, measure
from sempic.codecs.tiles import cell_means, grid_size
from sempic.coding import objects as object_coder
from sempic.coding import palette
from sempic.coding import segmap as segmap_coder
from sempic.container import Header, Section, Stream
from sempic.errors import InputError, ModelError, StreamError
from sempic.labels import read_labels
from sempic.segmap import objects as segmap_objects
from sempic.segmap.mapping import Segmented
from sempic.segmap.resample import enlarge, shrink
from sempic.segmap.segmenter import check_segmap, find_segmap
from sempic.taxonomy import Taxonomy

if TYPE_CHECKING:
    from typing_extensions import Self

MAP_FACTORS = {"full": 1, "half": 2, "quarter": 4, "eighth": 8}
"""How much smaller than the picture a losslessly coded segmap is, by the name of the setting."""
AUTO = "auto"
RUNGS = (("quarter", 0.0), ("quarter", 1.0), ("eighth", 0.3), ("eighth", 2.0))
"""What the setting `map="auto"` tries one after another, until the streams are small enough: sizes of the segmap, each
with the least strength of simplifying."""
MAP_TYPE = 1
"""The type of a first section with a losslessly coded segmap."""
OBJECTS_TYPE = 9
"""The type of a section with the colours of objects, which comes second where there is one."""

Array = NDArray[Any]
_Tables = TypeVar("_Tables")


# -- the first section ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    """The first section of every semantic codec.

        count 4 bits, factor 4 bits | own 1, if the codec has one | length 1, palette, if it has one | segmap

    factor: how many times smaller than the picture the segmap is; 0 where it is no lossless one.
    count: how many sections follow, so that a cut stream is known as one.
    segmap: the coded segmap.
    own: a number (0..255) of the codec's own.
    palette: the coded mean colours of the classes.
    """

    factor: int
    count: int
    segmap: bytes
    own: int | None = None
    palette: bytes | None = None

    def section(self, type: int = MAP_TYPE) -> Section:
        """Return the section."""
        out = bytes((self.factor | self.count << 4,))
        if self.own is not None:
            out += bytes((self.own,))
        if self.palette is not None:
            out += bytes((len(self.palette),)) + self.palette
        return Section(type, out + self.segmap)

    @classmethod
    def read(cls, payload: bytes, own: bool, palette: bool) -> Head:
        """Return what `section` wrote for a codec that has a number of its `own` and a `palette`, or has not.

        Raises `StreamError` where the payload ends too early.
        """
        at = 1 + own + palette
        if len(payload) < at or (palette and len(payload) < at + payload[at - 1]):
            raise StreamError("The stream's segmap is too short.")
        end = at + payload[at - 1] if palette else at
        return cls(
            payload[0] & 15, payload[0] >> 4, payload[end:], payload[1] if own else None,
            payload[at:end] if palette else None,
        )  # fmt: skip


class SemanticReading(Reading):
    """What a stream of a semantic codec contains: its first section, and the layers behind it.

    A subclass states what the first section has, reads the sections behind it one by one, and draws.
    """

    kind: ClassVar[str]
    """The kind of model that the codec needs."""
    has_own: ClassVar[bool] = False
    has_palette: ClassVar[bool] = False
    """Whether the first section has a number of the codec's own, and a palette."""

    weights: Weights
    palette: Array
    """The levels of mean colours of the classes, where the codec sends them."""
    objects: object_coder.ObjectColours | None = None
    """The colours of objects, where the stream has them."""

    def __init__(self, stream: Stream, model: runtime.Model | None, weights: type[Weights]) -> None:
        self.header, (first, *others) = stream.header, stream.sections
        self.weights = weights.of(runtime.model_of_stream(self.kind, self.header.fingerprint, model))
        self.model, self.taxonomy = self.weights.model.card.name, self.weights.taxonomy
        self.grid = grid_size(self.header.height, self.header.width)
        self.first, self.head = first, Head.read(first.payload, self.has_own, self.has_palette)
        if self.head.palette is not None:
            self.palette = palette.decode(self.head.palette, self.weights.palette_tables)
        self.read_segmap()
        warnings = self._read_layers(others, bool(stream.warnings))
        self.contents = Contents(
            (*self._parts_of_head(), *self._parts_of_layers(others)), (*stream.warnings, *warnings), self.detail()
        )

    # What a subclass fills in.

    @property
    def promised(self) -> int:
        """How many sections should follow the first one."""
        return self.head.count

    @abstractmethod
    def read_layer(self, section: Section) -> Part:
        """Read one more section and say what it is; raise `StreamError`, with half a sentence, for another."""

    @abstractmethod
    def detail(self) -> dict[str, Any]:
        """Return what else there is to know about the stream."""

    # The segmap.

    def read_segmap(self) -> None:
        """Read the segmap; raise `StreamError` where the first section has none that this release knows."""
        factor = self.head.factor
        if self.first.type != MAP_TYPE:
            raise StreamError(f"The stream does not start with a segmap, but with a section of type {self.first.type}.")
        if factor not in MAP_FACTORS.values():
            raise StreamError("The stream's segmap is of a size that this release does not know.")
        size = -(-self.header.height // factor), -(-self.header.width // factor)
        self.sent_map = SentMap(self.decode_segmap(self.head.segmap, *size, factor), factor)

    def decode_segmap(self, data: bytes, height: int, width: int, factor: int) -> Segmap:
        """Return a losslessly coded segmap."""
        return segmap_coder.decode(data, height, width, self.weights.map_tables(factor))

    @property
    def segmap(self) -> Segmap:
        """The segmap at the picture's size (uint8 H×W)."""
        sent = self.sent_map
        return enlarge(sent.small, sent.factor, self.header.height, self.header.width)

    @cached_property
    def quarter(self) -> Array:
        """The segmap of 4×4 cells for the whole grid."""
        return self.sent_map.quarter(*self.grid)

    @cached_property
    def colours(self) -> Colours:
        """The colour of each cell of `quarter`."""
        found = Colours.of_classes(self.quarter, self.palette)
        return found if self.objects is None else found.with_objects(self._found_objects, self.objects)

    @cached_property
    def _found_objects(self) -> segmap_objects.Objects:
        return segmap_objects.find(self.quarter, self.weights.object_classes)

    # Reading and describing.

    def _read_layers(self, others: list[Section], is_cut: bool) -> list[str]:
        """Read the sections behind the first one; return a sentence for each kind of loss."""
        self._read: list[Part] = []
        promised, warnings = self.promised, list[str]()
        if others and others[0].type == OBJECTS_TYPE and self.weights.object_classes:
            self._read.append(self._read_objects(others[0]))
            promised += 1
        for number, section in enumerate(others[len(self._read) : promised], 2 + len(self._read)):
            try:
                self._read.append(self.read_layer(section))
            except StreamError as error:
                why = str(error).rstrip(".")
                warnings.append(f"Section {number} and all after it cannot be used: {why}.")
                break
        if len(self._read) < promised and not is_cut and not warnings:
            have, wanted = len(self._read) + 1, promised + 1
            warnings.append(f"The stream ends after {have} of {wanted} sections: it was cut.")
        if len(others) > promised:
            warnings.append(f"The stream has {len(others) - promised} sections more than its first one announces.")
        return warnings

    def _read_objects(self, section: Section) -> Part:
        found, tables = self._found_objects, self.weights.object_tables
        self.objects = object_coder.decode(section.payload, found.classes, found.boxes, tables)
        own = int((self.objects.levels[:, 0] != palette.ABSENT).sum())
        about = f"{own} of {len(found)} objects in colours of their own, {len(self.objects.accents)} accents"
        return Part("object colours", len(section.payload), about)

    def _parts_of_head(self) -> list[Part]:
        colours = 0 if self.head.palette is None else 1 + len(self.head.palette)
        parts = [Part("segmap", len(self.first.payload) - colours, self.about_segmap())]
        if colours:
            coloured = (self.palette[:, 0] != palette.ABSENT).sum()
            parts.append(Part("palette", colours, f"mean colours of {coloured} classes"))
        return parts

    def about_segmap(self) -> str:
        """Return how the segmap travelled."""
        height, width = self.sent_map.small.shape
        return f"lossless, {width}×{height} cells of {self.head.factor}×{self.head.factor}"

    @property
    def map_setting(self) -> str:
        """The setting `map` that the segmap was sent under."""
        return next(name for name, factor in MAP_FACTORS.items() if factor == self.head.factor)

    def _parts_of_layers(self, others: list[Section]) -> list[Part]:
        unused = sum(len(section.payload) for section in others[len(self._read) :])
        return self._read + [Part("unused", unused, "sections that cannot be decoded")] * bool(unused)


# -- models and segmaps -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SentMap:
    """The segmap as both sides have it: `small` as it travelled (and its factor), and as the networks take it."""

    small: Array
    factor: int

    def quarter(self, rows: int, columns: int) -> Array:
        """Return the segmap of 4×4 cells for a grid of rows×columns places, edges repeated beyond the picture."""
        if self.factor <= 4:
            cells = shrink(self.small, 4 // self.factor)
        else:
            cells = self.small.repeat(self.factor // 4, 0).repeat(self.factor // 4, 1)
        cells = cells[: 4 * rows, : 4 * columns]
        missing = (0, 4 * rows - cells.shape[0]), (0, 4 * columns - cells.shape[1])
        return np.pad(cells, missing, mode="edge")


class Weights:
    """A model's networks and coding tables; `of` returns the same ones for each stream of a model."""

    def __init__(self, model: runtime.Model) -> None:
        self.model = model
        self._built: dict[str, Any] = {}

    @classmethod
    @cache
    def of(cls, model: runtime.Model) -> Self:
        """Return the weights of a model, whose tables are made once a process."""
        return cls(model)

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes that the model knows."""
        return self.model.taxonomy

    def header(self, codec: int, image: Rgb) -> Header:
        """Return the header of a stream that is made with this model."""
        return Header(codec, image.shape[1], image.shape[0], self.model.card.fingerprint)

    def map_tables(self, factor: int) -> segmap_coder.SegmapTables:
        """Return the coding tables for segmaps shrunk by a factor."""
        return self.built(f"segmap{factor}.", segmap_coder.SegmapTables.from_arrays)

    @cached_property
    def palette_tables(self) -> palette.PaletteTables:
        """The coding tables of mean colours."""
        return palette.PaletteTables.from_arrays(self.tables("palette."))

    @cached_property
    def object_classes(self) -> tuple[int, ...]:
        """The classes whose objects have colours of their own; none where the model has no tables for them."""
        known = any(name.startswith("objects.") for name in self.model.tables)
        return self.taxonomy.object_ids if known else ()

    @cached_property
    def object_tables(self) -> object_coder.ObjectTables:
        """The coding tables of the colours of objects."""
        return object_coder.ObjectTables.from_arrays(self.tables("objects."))

    def built(self, prefix: str, make: Callable[[dict[str, Array]], _Tables]) -> _Tables:
        """Return what `make` makes of the model's arrays under a prefix; it is called once."""
        if prefix not in self._built:
            self._built[prefix] = make(self.tables(prefix))
        tables: _Tables = self._built[prefix]
        return tables

    def tables(self, prefix: str) -> dict[str, Array]:
        """Return the model's arrays under a prefix, without it; raise `ModelError` where there are none."""
        found = {k.removeprefix(prefix): v for k, v in self.model.tables.items() if k.startswith(prefix)}
        if not found:
            raise ModelError(f"The model {self.model.card.name} has no tables '{prefix}'.")
        return found

    def layout(self, quarter: Array, colours: Colours) -> Array:
        """Return what the network has of each cell besides what the codec sends: class, colour, noise."""
        return np.concatenate([self.one_hot(quarter), colours.planes()[None], noise(*quarter.shape)[None, None]], 1)

    def one_hot(self, ids: Array) -> Array:
        """Return h×w ids as 1×classes×h×w float32; void is all zeros."""
        return np.equal(ids, np.arange(len(self.taxonomy))[:, None, None])[None].astype(np.float32)


@dataclass(frozen=True)
class SentColours:
    """The colours of a picture as they are sent: of classes, and a section for those of objects if there are any."""

    palette: bytes
    objects: tuple[Section, ...]
    cells: Colours

    @classmethod
    def measure(cls, weights: Weights, image: Rgb, quarter: Array) -> SentColours:
        """Measure them in a picture (uint8, padded to the grid) with its segmap of 4×4 cells."""
        cells = cell_means(image)
        levels = palette.measure(cells, quarter, len(weights.taxonomy))
        coded, colours = palette.encode(levels, weights.palette_tables), Colours.of_classes(quarter, levels)
        found = segmap_objects.find(quarter, weights.object_classes)
        if not len(found):
            return cls(coded, (), colours)
        own = measure(cells, found, levels)
        payload = object_coder.encode(own, found.classes, found.boxes, weights.object_tables)
        return cls(coded, (Section(OBJECTS_TYPE, payload),), colours.with_objects(found, own))


def check_map(name: str, simplify: float, *others: str) -> None:
    """Raise `InputError` unless a segmap can be sent so (or in one of a codec's other ways) and simplified so much."""
    check_choice("The segmap's size", name, (AUTO, *MAP_FACTORS, *others))
    if not simplify >= 0:
        raise InputError(f"The strength of simplifying is {simplify}; it must be 0 or more.")


def segmap_of(
    image: Rgb,
    taxonomy: Taxonomy,
    segmap: Segmap | str | Path | None,
    segmenter: str | Path | None,
    classes: str | Path | None,
) -> Segmented:
    """Return a picture's full-size segmap: the one that was handed in, as ids or as their file, or a segmenter's."""
    if segmap is None or (classes and not segmenter):
        return find_segmap(image, taxonomy, segmenter, classes)
    if isinstance(segmap, str | Path):
        segmap = read_labels(segmap, taxonomy)
    return Segmented(check_segmap(segmap, image, taxonomy))


def writer_of(found: Segmented, settings: Any, make: Callable[[str, float], Writer]) -> Writer:
    """Return the writer of a picture, whose `smaller` ones are those of the next rungs if the segmap's size is "auto".

    Args:
        found: the picture's segmap, of which the writer takes over what a user should know.
        settings: a codec's settings, of which `map` and `simplify` count.
        make: makes a writer that sends the segmap at a size, simplified by a strength.
    """
    rungs = RUNGS if settings.map == AUTO else ((settings.map, 0.0),)

    @cache
    def at(rung: int) -> Writer:
        size, least = rungs[rung]
        writer = make(size, max(settings.simplify, least))
        writer.warnings, writer.outside = found.warnings_of(settings.codec), found.outside
        if size != rungs[0][0]:
            writer.warnings += (f"So few bytes leave room for the segmap at one {size} of the size only.",)
        if rung + 1 < len(rungs):
            writer.smaller = lambda: at(rung + 1)
        return writer

    return at(0)


# -- drawing ----------------------------------------------------------------------------------------------------------


def noise(height: int, width: int) -> NDArray[np.float32]:
    """Return noise of variance 1, a hash of each cell's place, so that every decoder draws the same picture."""
    mixed = np.add.outer(np.arange(height) * 0x9E3779B1, np.arange(width) * 0x85EBCA6B).astype(np.uint32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    mixed ^= mixed >> np.uint32(16)
    return (mixed * (2.0**-31) - 1).astype(np.float32) * np.float32(3**0.5)
