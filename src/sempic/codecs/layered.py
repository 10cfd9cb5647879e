"""The layered codec: a base that a network draws from a segmap and a few numbers, and layers that refine it.

After Huang, Tao, Gao and Lu, "Deep Learning-Based Image Semantic Coding for Semantic Communications" (GLOBECOM 2021):
coarse to fine, a generated base that keeps the meaning, enhancement by residual coding, perception against distortion
as a choice. Only the abstract of that paper was to be had, so all the rest is our reconstruction.

    picture ─ segmenter ─ segmap ─ shrink, simplify ─┬─ segmap coder, mean colours ▷ section 1: rate, palette, segmap
       ├──────────────── encoder ◁───────────────────┤
       │                    └─ gains of the rate ─ round ─ latents coder ▷ section 2: features
       └─ less the layers before ─ HEVC intra ▷ sections 3…: layers
    sections 1, 2 ─ network ─ base;  sections 3… ─ layers + what detail they lack and the base has ─ picture

The layers are not predicted from the base: on pictures that a GAN has drawn, the residual costs more than the picture
itself (`docs/decisions.md`). What the base is good for is what the layers are bad at: the detail that HEVC leaves out,
of which every layer states how much to take.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sempic import container, runtime
from sempic.codecs import base, enhancement, semantic
from sempic.codecs.base import Codec, Decoded, Part, Reading, Rgb, Segmap, Writer
from sempic.codecs.classic.picture import Ladder, ladder
from sempic.codecs.colours import Colours
from sempic.codecs.semantic import MAP_FACTORS, MAP_TYPE, Head, SemanticReading, SentColours, SentMap, Weights
from sempic.codecs.tiles import Progress, as_planes, blend_tiled, grid_size, padded, run_tiled, to_pixels
from sempic.coding import latents as latent_coder
from sempic.coding import segmap as segmap_coder
from sempic.container import Header, Section, Stream
from sempic.errors import InputError, StreamError
from sempic.segmap.resample import shrink
from sempic.segmap.simplify import simplify

LIMIT = 3
"""Latents are rounded to -LIMIT..LIMIT."""
STEPS_BETWEEN = 8
"""Between two rates with gains of their own there are so many steps."""
LADDER: Ladder = ladder(quarter=(), half=range(50, 41, -1), full=range(47, 15, -1))
"""The steps of the last layer: scale and quantiser (QP). Half size is the better picture below 0.04 bpp."""
APART = 6
"""Layers are at least so many steps of the ladder apart."""
MAX_LAYERS = 8

Array = NDArray[Any]


class LayeredSection(IntEnum):
    """The types of this codec's sections."""

    MAP = MAP_TYPE
    FEATURES = 2
    LAYER = 3


@dataclass(frozen=True)
class Settings(base.Settings):
    """How to encode a picture in layers.

    perception: from 0 to 1. Towards 1, more of the bytes go to the base and less to the layers, and the layers take
        more of the base's detail: the picture looks sharper and is less close to the original.
    layers: how many enhancement layers share the bytes, 1 to 8; more of them cut more finely and cost more.
    segmap: a segmap (uint8 H×W), or the file of one, that takes the place of the segmenter's.
    segmenter: an ONNX file that takes the place of the installed segmenter, or hf:NAME for a model of the Hugging Face
        Hub or a folder with one.
    classes: the classes that this segmenter finds: a taxonomy's name, or a file of names.
    map: the size at which the segmap travels: "full", "half", "quarter" or "eighth".
    simplify: how many cells of the segmap may change for each bit that this saves; 0 changes none.
    model: the model to encode with, by name, folder or address; empty for the one that comes with Sempic.
    """

    codec: ClassVar[str] = "layered"
    perception: float = 0.45
    layers: int = 1
    segmap: Segmap | str | Path | None = None
    segmenter: str | Path | None = None
    classes: str | Path | None = None
    map: str = "quarter"
    simplify: float = 0.3
    model: str = ""

    def __post_init__(self) -> None:
        semantic.check_map(self.map, self.simplify)
        if not 0 <= self.perception <= 1:
            raise InputError(f"The share of perception is {self.perception}; it must be from 0 to 1.")
        if not (isinstance(self.layers, int) and 1 <= self.layers <= MAX_LAYERS):
            raise InputError(f"There can be 1 to {MAX_LAYERS} enhancement layers, not {self.layers}.")


class Layered(Codec):
    """A generated base with enhancement layers."""

    name = "layered"
    id = 2
    Settings = Settings
    learnt = True

    def analyse(self, image: Rgb, settings: Any) -> Writer:
        """Segment the picture and run the encoder."""
        weights = LayeredWeights.of(runtime.model(settings.model, self.name))
        found = semantic.segmap_of(image, weights.taxonomy, settings.segmap, settings.segmenter, settings.classes)
        full = found.segmap
        factor, grid = MAP_FACTORS[settings.map], grid_size(*image.shape[:2])
        sent_map = SentMap(simplify(shrink(full, factor), weights.map_tables(factor), settings.simplify), factor)
        quarter, whole = sent_map.quarter(*grid), padded(image)
        colours = SentColours.measure(weights, whole, quarter)
        network, one_hot = weights.model.network("encoder"), weights.one_hot(quarter)
        (latents,) = run_tiled(network, *grid, image=as_planes(whole), segmap=one_hot)
        writer = _LayeredWriter(weights.header(self.id, image), image, weights, sent_map, colours, latents, settings)
        writer.warnings, writer.outside = found.warnings, found.outside
        return writer

    def read(self, stream: Stream, model: runtime.Model | None = None) -> Reading:
        """Return what a stream contains: its latents, and its layers, whose pictures are not decoded yet."""
        return LayeredReading(stream, model)


class _LayeredWriter(Writer):
    """Steps are rates of the base, from none to the one that `perception` asks for, and then steps of the ladder. The
    colours of objects, where there are any, come between the first step and the one after it."""

    def __init__(
        self,
        header: Header,
        image: Rgb,
        weights: LayeredWeights,
        sent_map: SentMap,
        colours: SentColours,
        latents: Array,
        settings: Settings,
    ) -> None:
        self.header, self.image, self.weights, self.settings = header, image, weights, settings
        self.colours, self.latents, self.factor = colours, latents, sent_map.factor
        self.pixels = header.width * header.height
        self.top_rate = round(settings.perception * weights.rates)
        self.steps = 1 + len(colours.objects) + self.top_rate + len(LADDER)
        self.quarter = sent_map.quarter(*grid_size(header.height, header.width))
        self.classes = shrink(self.quarter, 4)
        self.map = segmap_coder.encode(sent_map.small, weights.map_tables(sent_map.factor))

    def write(self, step: int) -> bytes:
        """Return the base at the step's rate, or the best base with layers up to the step."""
        objects = self.colours.objects if step else ()
        step = max(step - len(self.colours.objects), 0)
        rate, layers = min(step, self.top_rate), self._layers(step - self.top_rate)
        sections = [Head(self.factor, len(layers), self.map, rate, self.colours.palette).section(), *objects]
        if rate:
            payload = latent_coder.encode(self._values(rate), self.classes, rate - 1, self.weights.latent_tables)
            sections.append(Section(LayeredSection.FEATURES, payload))
        return container.write(self.header, sections + [Section(LayeredSection.LAYER, layer) for layer in layers])

    def _layers(self, step: int) -> list[bytes]:
        """Return the payloads of the layers that end at a step of the ladder, counted from 1."""
        if step <= 0:
            return []
        count = min(self.settings.layers, -(-step // APART))
        steps = [LADDER[step * number // count - 1] for number in range(1, count + 1)]
        # The layers may cost perception² decibels of PSNR for the base's detail.
        return enhancement.encode(self.image, self._base, steps, self.settings.perception**2)

    def _values(self, rate: int) -> NDArray[np.int8]:
        """Return the latents as they are sent at a rate."""
        reach = np.float32(LIMIT + 0.49)
        bounded = reach * np.tanh(self.latents * self.weights.at_rate("log_gains", rate) / reach)
        values: NDArray[np.int8] = np.rint(bounded).astype(np.int8)
        return values

    @cached_property
    def _base(self) -> Rgb:
        """The base that layers stand on."""
        values = self._values(self.top_rate) * bool(self.top_rate)
        return self.weights.draw(self.header, self.quarter, self.colours.cells, self.top_rate, values)


class LayeredReading(SemanticReading):
    """A stream's segmap, palette, latents, and enhancement layers as HEVC bytes.

    rate: the rate of the base; 0 where it is drawn from segmap and palette alone.
    values: the latents (C×h×w), 0 where none were sent.
    payloads: the enhancement layers.
    """

    kind = "layered"
    has_own = has_palette = True
    weights: LayeredWeights

    def __init__(self, stream: Stream, model: runtime.Model | None = None) -> None:
        self.rate, self.values = 0, np.zeros(0, np.int8)
        self.payloads: list[bytes] = []
        super().__init__(stream, model, LayeredWeights)
        self.layers = len(self.payloads)

    @property
    def _sent_rate(self) -> int:
        """The rate that the first section announces."""
        assert self.head.own is not None
        return self.head.own

    @property
    def promised(self) -> int:
        """How many sections should follow: the features, unless the rate is 0, and the layers."""
        return self.head.count + bool(self._sent_rate)

    def read_segmap(self) -> None:
        """Read the segmap; refuse a rate that the model does not have."""
        if self._sent_rate > self.weights.rates:
            raise StreamError("The stream's base is of a rate that its model does not have.")
        super().read_segmap()
        self.values = np.zeros((self.weights.latent_tables.n_channels, *self.grid), np.int8)

    def read_layer(self, section: Section) -> Part:
        """Read the features, or the scale of an enhancement layer."""
        expected = LayeredSection.FEATURES if self._sent_rate and not self.rate else LayeredSection.LAYER
        if section.type != expected:
            raise StreamError(f"its type is {section.type}, which is not expected there")
        size, rates = len(section.payload), self.weights.rates
        if expected == LayeredSection.FEATURES:
            classes, tables = shrink(self.quarter, 4), self.weights.latent_tables
            self.values = latent_coder.decode(section.payload, classes, self._sent_rate - 1, tables)
            self.rate = self._sent_rate
            return Part("features", size, f"rate {self.rate} of {rates}")
        scale = enhancement.scale_of(section.payload)
        self.payloads.append(section.payload)
        return Part(f"layer {len(self.payloads)}", size, f"HEVC at 1/{scale} size")

    def detail(self) -> dict[str, Any]:
        """Return how the segmap travelled, the rate of the base and the number of layers."""
        return {"map": self.map_setting, "rate": self.rate, "layers": len(self.payloads)}

    def draw(self, options: Any, layers: int | None = None) -> Decoded:
        """Let the network draw the base, and put the first layers over it."""
        picture = self.weights.draw(self.header, self.quarter, self.colours, self.rate, self.values, options.progress)
        top, warnings = enhancement.decode(self.payloads[:layers], self.header.width, self.header.height)
        if top is not None:
            picture = top.shown(picture)
        return Decoded(picture, self.segmap, self.taxonomy, (*self.contents.warnings, *warnings))


class LayeredWeights(Weights):
    """Weights with the gains and coding tables of latents.

    Rates are counted in steps from 1; 0 stands for a base of segmap and palette alone.
    """

    @property
    def rates(self) -> int:
        """The highest rate."""
        return 1 + STEPS_BETWEEN * (len(self.model.tables["log_gains"]) - 1)

    @cached_property
    def latent_tables(self) -> latent_coder.LatentTables:
        """The coding tables of latents."""
        return latent_coder.LatentTables.from_arrays(self.tables("latents."))

    def at_rate(self, gains: str, rate: int) -> NDArray[np.float32]:
        """Return "log_gains" or "log_returns" as factors (C×1×1) at a rate, between those that are trained."""
        trained = self.model.tables[gains].astype(np.float32)
        low, step = divmod(max(rate - 1, 0), STEPS_BETWEEN)
        high = min(low + 1, len(trained) - 1)
        share = np.float32(step / STEPS_BETWEEN)
        factors: NDArray[np.float32] = np.exp(trained[low] * (1 - share) + trained[high] * share)
        return factors[:, None, None]

    def strength(self, rate: int) -> NDArray[np.float32]:
        """Return a rate as the network takes it: from 0 where no latents were sent to 1 for the highest."""
        trained = len(self.model.tables["log_gains"])
        return np.array([((rate - 1) / STEPS_BETWEEN + 1) / trained if rate else 0], np.float32)

    def draw(
        self,
        header: Header,
        quarter: Array,
        colours: Colours,
        rate: int,
        values: Array,
        progress: Progress | None = None,
    ) -> Rgb:
        """Return the base, from the segmap of 4×4 cells, its colours, and latents at a rate.

        `progress` is called with the number of tiles drawn and the number there are.
        """
        picture = blend_tiled(
            self.model.network("decoder"),
            *grid_size(header.height, header.width),
            progress=progress,
            latents=(values * self.at_rate("log_returns", rate))[None].astype(np.float32),
            strength=self.strength(rate),
            layout=self.layout(quarter, colours),
        )
        return to_pixels(colours.match(picture), header.height, header.width)
