"""The layered codec: a base that a network draws from a segmap and a few numbers, and layers that refine it.

After Huang, Tao, Gao and Lu, "Deep Learning-Based Image Semantic Coding for Semantic Communications" (GLOBECOM 2021):
coarse to fine, a generated base that keeps the meaning, enhancement by residual coding. Only the abstract of that paper
was to be had, so all the rest is our reconstruction.

    picture ─ segmenter ─ segmap ─ shrink, simplify ─┬─ segmap coder, mean colours ▷ section 1: rate, palette, segmap
       ├──────────────── encoder ◁───────────────────┤
       │                    ├─ base latents, one place for 16×16 pixels ─ gains, round ─ latents coder ▷ features
       │                    └─ fine latents, one place for 8×8 pixels ─── gains, round ─ latents coder ▷ fine features
       └─ HEVC intra, layer by layer ▷ layers
    segmap, features, fine features ─ network ─ picture;  layers + what detail they lack and that picture has ─ picture

The larger the stream, the more of this it has: first the base at rising rates, then fine latents at rising rates, which
the same network draws from. Where these end, HEVC layers take the place of fine latents. They are not predicted from
the base: on pictures that a GAN has drawn, the residual costs more than the picture itself (`docs/decisions.md`). What
the base is good for is what the layers are bad at: the detail that HEVC leaves out, of which every layer states how
much to take.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sempic import container, runtime
from sempic.codecs import base, enhancement, semantic
from sempic.codecs.base import Codec, Decoded, Part, Reading, Rgb, Segmap, Writer
from sempic.codecs.classic.picture import Ladder, ladder
from sempic.codecs.layered_latents import LayeredSection, LayeredWeights, SentLatents
from sempic.codecs.semantic import AUTO, MAP_FACTORS, Head, SemanticReading, SentColours, SentMap
from sempic.codecs.tiles import as_planes, grid_size, padded, run_tiled
from sempic.coding import segmap as segmap_coder
from sempic.container import Header, Section, Stream
from sempic.errors import InputError, StreamError
from sempic.provenance import Provenance, uniform
from sempic.segmap.resample import shrink
from sempic.segmap.simplify import simplify

LADDER: Ladder = ladder(quarter=(), half=(), full=range(40, 15, -1))
"""The steps of the last layer: scale and quantiser (QP)."""
DETAIL_COST = 1.2
"""The base's detail may cost a layer so many decibels of PSNR at the quantiser of `enhancement.QP`."""
APART = 6
"""Layers are at least so many steps of the ladder apart."""
MAX_LAYERS = 8

Array = NDArray[Any]


@dataclass(frozen=True)
class Settings(base.Settings):
    """How to encode a picture in layers.

    layers: how many enhancement layers share the bytes, 1 to 8; more of them cut more finely and cost more.
    segmap: a segmap (uint8 H×W), or the file of one, that takes the place of the segmenter's.
    segmenter: an ONNX file that takes the place of the installed segmenter, or hf:NAME for a model of the Hugging Face
        Hub or a folder with one.
    classes: the classes that this segmenter finds: a taxonomy's name, or a file of names.
    map: the size at which the segmap travels: "full", "half", "quarter" or "eighth"; "auto" is a quarter, or an eighth
        for sizes of the stream for which a quarter is too much.
    simplify: how many cells of the segmap may change for each bit that this saves; 0 changes none.
    model: the model to encode with, by name, folder or address; empty for the one that comes with Sempic.
    """

    codec: ClassVar[str] = "layered"
    layers: int = 1
    segmap: Segmap | str | Path | None = None
    segmenter: str | Path | None = None
    classes: str | Path | None = None
    map: str = AUTO
    simplify: float = 0.3
    model: str = ""

    def __post_init__(self) -> None:
        semantic.check_map(self.map, self.simplify)
        if not (isinstance(self.layers, int) and 1 <= self.layers <= MAX_LAYERS):
            raise InputError(f"There can be 1 to {MAX_LAYERS} enhancement layers, not {self.layers}.")


class Layered(Codec):
    """A generated picture with enhancement layers."""

    name = "layered"
    id = 2
    Settings = Settings
    learnt = True

    def analyse(self, image: Rgb, settings: Any) -> Writer:
        """Segment the picture."""
        weights = LayeredWeights.of(runtime.model(settings.model, self.name))
        header = weights.header(self.id, image)
        found = semantic.segmap_of(image, weights.taxonomy, settings.segmap, settings.segmenter, settings.classes)

        def writer(map: str, strength: float) -> Writer:
            factor = MAP_FACTORS[map]
            small = simplify(shrink(found.segmap, factor), weights.map_tables(factor), strength)
            return _LayeredWriter(header, image, weights, SentMap(small, factor), settings.layers)

        return semantic.writer_of(found, settings, writer)

    def read(self, stream: Stream, model: runtime.Model | None = None) -> Reading:
        """Return what a stream contains: its latents, and its layers, whose pictures are not decoded yet."""
        return LayeredReading(stream, model)


class _LayeredWriter(Writer):
    """Steps are rates of the base from none to the highest, rates of fine latents on top of it, and then steps of the
    ladder on top of the base. The colours of objects, where there are any, come between the first step and the one
    after it."""

    def __init__(self, header: Header, image: Rgb, weights: LayeredWeights, sent_map: SentMap, layers: int) -> None:
        self.header, self.image, self.weights, self.layers = header, image, weights, layers
        self.factor, self.pixels = sent_map.factor, header.width * header.height
        self.grid = grid_size(header.height, header.width)
        self.quarter = sent_map.quarter(*self.grid)
        self.colours = SentColours.measure(weights, padded(image), self.quarter)
        self.basic = 1 + len(self.colours.objects)
        self.steps = self.basic + 2 * weights.rates + len(LADDER)
        self.map = segmap_coder.encode(sent_map.small, weights.map_tables(sent_map.factor))
        self._coded: dict[tuple[int, ...], list[bytes]] = {}
        self._coded_features: dict[tuple[str, int], Section] = {}

    def write(self, step: int) -> bytes:
        """Return the stream of a step."""
        objects, rates = self.colours.objects if step else (), self.weights.rates
        step = max(step - len(self.colours.objects), 0)
        rate, fine_rate = min(step, rates), step - rates if rates < step <= 2 * rates else 0
        layers = self._layers(step - 2 * rates)
        head = Head(self.factor, len(layers), self.map, rate + fine_rate, self.colours.palette).section()
        features = [self._features(part, own) for part, own in (("base", rate), ("fine", fine_rate)) if own]
        return container.write(
            self.header, [head, *objects, *features, *(Section(LayeredSection.LAYER, layer) for layer in layers)]
        )

    def _features(self, part: str, rate: int) -> Section:
        """Return the section with one kind of latents at a rate; none is coded twice."""
        if (part, rate) not in self._coded_features:
            values = self.weights.quantise(part, self._latents[part], rate)
            self._coded_features[part, rate] = self.weights.encode_latents(part, values, self.quarter, rate)
        return self._coded_features[part, rate]

    @cached_property
    def _latents(self) -> dict[str, Array]:
        """The latents by their kind. The encoder runs when they are first needed: the smallest streams have none."""
        image, segmap = as_planes(padded(self.image)), self.weights.one_hot(self.quarter)
        base, fine = run_tiled(self.weights.model.network("encoder"), *self.grid, image=image, segmap=segmap)
        return {"base": base, "fine": fine}

    def _layers(self, step: int) -> list[bytes]:
        """Return the payloads of the layers that end at a step of the ladder, counted from 1."""
        if step <= 0:
            return []
        last = max(step - 1, self._first_layer)
        count = min(self.layers, -(-(last + 1) // APART))
        return self._layers_at(*((last + 1) * number // count - 1 for number in range(1, count + 1)))

    def _layers_at(self, *steps: int) -> list[bytes]:
        """Return the payloads of layers at these steps of the ladder, counted from 0; none is coded twice."""
        if steps not in self._coded:
            ladder = [LADDER[step] for step in steps]
            self._coded[steps] = enhancement.encode(self.image, self._drawn, ladder, DETAIL_COST)
        return self._coded[steps]

    @cached_property
    def _first_layer(self) -> int:
        """The first step of the ladder whose layer is larger than all fine latents, which it takes the place of."""
        fine = len(self._features("fine", self.weights.rates).payload)
        first = bisect_right(range(len(LADDER)), fine, key=lambda step: len(self._layers_at(step)[0]))
        return min(first, len(LADDER) - 1)

    @cached_property
    def _drawn(self) -> Rgb:
        """The base, whose detail layers take."""
        base = self.weights.quantise("base", self._latents["base"], self.weights.rates)
        sent = replace(self.weights.nothing(*self.grid), base=base, rate=self.weights.rates)
        return self.weights.draw(self.header, self.quarter, self.colours.cells, sent)


class LayeredReading(SemanticReading):
    """A stream's segmap, palette, latents, and enhancement layers as HEVC bytes.

    latents: base and fine latents.
    payloads: the enhancement layers.
    layers: fine latents are the first layer, where they were sent; enhancement layers follow.
    """

    kind = "layered"
    has_own = has_palette = True
    weights: LayeredWeights
    latents: SentLatents

    def __init__(self, stream: Stream, model: runtime.Model | None = None) -> None:
        self.payloads: list[bytes] = []
        super().__init__(stream, model, LayeredWeights)
        self.layers = bool(self.latents.fine_rate) + len(self.payloads)
        self.announced = bool(self._announced[1]) + self.head.count

    @property
    def _announced(self) -> tuple[int, int]:
        """The rates of base and of fine latents that the first section announces."""
        assert self.head.own is not None
        rate = min(self.head.own, self.weights.rates)
        return rate, self.head.own - rate

    @property
    def promised(self) -> int:
        """How many sections should follow: the features of each rate that is not 0, and the layers."""
        return self.head.count + sum(map(bool, self._announced))

    def read_segmap(self) -> None:
        """Read the segmap; refuse a rate that the model does not have."""
        if self._announced[1] > self.weights.rates:
            raise StreamError("The stream's latents are of a rate that its model does not have.")
        super().read_segmap()
        self.latents = self.weights.nothing(*self.grid)

    def read_layer(self, section: Section) -> Part:
        """Read features, or the scale of an enhancement layer."""
        (rate, fine_rate), sent, rates = self._announced, self.latents, self.weights.rates
        expected = LayeredSection.LAYER
        if rate and not sent.rate:
            expected = LayeredSection.FEATURES
        elif fine_rate and not sent.fine_rate:
            expected = LayeredSection.FINE_FEATURES
        if section.type != expected:
            raise StreamError(f"its type is {section.type}, which is not expected there")
        size = len(section.payload)
        if expected == LayeredSection.FEATURES:
            values = self.weights.decode_latents("base", section.payload, self.quarter, rate)
            self.latents = replace(sent, base=values, rate=rate)
            return Part("features", size, f"rate {rate} of {rates}")
        if expected == LayeredSection.FINE_FEATURES:
            values = self.weights.decode_latents("fine", section.payload, self.quarter, fine_rate)
            self.latents = replace(sent, fine=values, fine_rate=fine_rate)
            return Part("fine features", size, f"rate {fine_rate} of {rates}")
        scale = enhancement.scale_of(section.payload)
        self.payloads.append(section.payload)
        return Part(f"layer {len(self.payloads)}", size, f"HEVC at 1/{scale} size")

    def detail(self) -> dict[str, Any]:
        """Return how the segmap travelled, the rates of base and fine latents and the number of HEVC layers."""
        rates = {"rate": self.latents.rate, "fine_rate": self.latents.fine_rate}
        return {"map": self.map_setting, **rates, "layers": len(self.payloads)}

    def draw(self, options: Any, layers: int | None = None) -> Decoded:
        """Let the network draw from latents, and put the first layers over it."""
        fine = bool(self.latents.fine_rate)
        sent = self.latents.without_fine() if fine and layers == 0 else self.latents
        picture = self.weights.draw(self.header, self.quarter, self.colours, sent, options.progress)
        payloads = self.payloads if layers is None else self.payloads[: max(layers - fine, 0)]
        top, warnings = enhancement.decode(payloads, self.header.width, self.header.height)
        kinds = uniform(Provenance.DRAWN if sent.rate + sent.fine_rate else Provenance.INVENTED, picture)
        if top is not None:
            picture = top.shown(picture)
            kinds[top.is_own(picture)] = Provenance.SENT
        if warnings or self.misses(layers) or sent.rate < self._announced[0]:
            kinds = np.where(kinds == Provenance.INVENTED, np.uint8(Provenance.MISSING), np.uint8(Provenance.REDUCED))
        return Decoded(picture, self.segmap, self.taxonomy, (*self.contents.warnings, *warnings), kinds)
