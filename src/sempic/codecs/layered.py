"""The layered codec: a base that a network draws from a map and a few numbers, and layers that bring the picture back.

After Huang, Tao, Gao and Lu, "Deep Learning-Based Image Semantic Coding for Semantic Communications" (GLOBECOM 2021):
coarse to fine, a generated base that keeps the meaning, enhancement by residual coding, perception against distortion
as a choice. Only the abstract of that paper was to be had, so all the rest is our reconstruction.

    picture ─ segmenter ─ segmap ─ shrink, denoise ─┬─ segmap coder, mean colours ▷ section 1: map, palette, rate
       ├──────────────── encoder ◁──────────────────┤
       │                    └─ gains of the rate ─ round ─ latents coder ▷ section 2: features
       └─ less the layers before ─ HEVC intra ▷ sections 3…: layers
    sections 1, 2 ─ network ─ base;  sections 3… ─ layers + what detail they lack and the base has ─ picture

The layers are not predicted from the base: on pictures that a GAN has drawn, the residual costs more than the picture
itself (`docs/decisions.md`). What the base is good for is what the layers are bad at: the detail that HEVC leaves out,
of which every layer says how much to take.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sempic import container, runtime
from sempic.codecs import enhance, generated
from sempic.codecs.base import Codec, Contents, Decoded, Part, Writer
from sempic.codecs.classic.picture import Ladder, ladder
from sempic.codecs.generated import MAP_FACTORS, SentMap, Weights, grid_size, match_colours, to_pixels
from sempic.coding import latents as latent_coder
from sempic.coding import palette
from sempic.coding import segmap as segmap_coder
from sempic.coding.denoise import denoise
from sempic.coding.resample import enlarge, shrink
from sempic.container import Header, Section, Stream
from sempic.errors import InputError, StreamError

MODEL = "layered-camvid11"
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


class SectionType(IntEnum):
    """The types of this codec's sections."""

    MAP = 1
    FEATURES = 2
    LAYER = 3


@dataclass(frozen=True)
class Settings:
    """How to encode a picture in layers.

    perception: from 0 to 1. Towards 1, more of the bytes go to the base and less to the layers, and these take more of
        the base's detail: so much that it costs perception² decibels of PSNR at QP 34, twice that at QP 39 and so on,
        and none from QP 30 down.
    layers: how many enhancement layers share the bytes, 1 to 8; more of them cut more finely and cost more.
    segmap: a segmap (uint8 H×W) that takes the place of the segmenter's.
    segmenter: an ONNX file that takes the place of the built-in segmenter.
    map: the size at which the map travels: "full", "half", "quarter" or "eighth".
    denoise: how many cells of the map may change for each bit that this saves; 0 changes none.
    model: the model to encode with, by name, folder or address.
    """

    perception: float = 0.45
    layers: int = 1
    segmap: Array | None = None
    segmenter: str | Path | None = None
    map: str = "quarter"
    denoise: float = 0.3
    model: str = MODEL

    def __post_init__(self) -> None:
        generated.check_map(self.map, self.denoise)
        if not 0 <= self.perception <= 1:
            raise InputError(f"The share of perception is {self.perception}; it must be from 0 to 1.")
        if not (isinstance(self.layers, int) and 1 <= self.layers <= MAX_LAYERS):
            raise InputError(f"There can be 1 to {MAX_LAYERS} enhancement layers, not {self.layers}.")


class Layered(Codec):
    """A generated base with enhancement layers."""

    name = "layered"
    id = 2
    Settings = Settings

    def analyse(self, image: NDArray[np.uint8], settings: Any) -> Writer:
        """Segment the picture and run the encoder."""
        weights = _Weights.of(runtime.model(settings.model, self.name))
        full = generated.segmented(image, weights.taxonomy, settings.segmap, settings.segmenter)
        factor = MAP_FACTORS[settings.map]
        tables = weights.map_tables(factor)
        sent_map = SentMap(denoise(shrink(full, factor), tables, settings.denoise), factor)
        quarter = sent_map.quarter(*grid_size(*image.shape[:2]))
        padded = generated.padded(image)
        levels = palette.measure(padded, quarter, len(weights.taxonomy))
        (latents,) = generated.run(
            weights.model.network("encoder"),
            *grid_size(*image.shape[:2]),
            image=generated.as_planes(padded),
            segmap=weights.one_hot(quarter),
        )
        scene = _Scene(weights, sent_map, levels, *image.shape[:2])
        return _LayeredWriter(self.id, image, scene, latents, settings)

    def decode(self, stream: Stream, options: Any) -> Decoded:
        """Let the network draw the base, and put the whole layers over it."""
        parsed = _Parsed(stream)
        del parsed.layers[:-1]  # nothing is shown of these any more, and each holds planes of the picture's size
        scene, picture = parsed.scene, parsed.scene.draw(parsed.rate, parsed.values)
        if parsed.layers:
            picture = parsed.layers[-1].shown(picture)
        segmap = enlarge(scene.map.small, scene.map.factor, scene.height, scene.width)
        return Decoded(picture, segmap, (*stream.warnings, *parsed.warnings))

    def describe(self, stream: Stream) -> Contents:
        """Name what each section holds, how the map travelled, the rate of the base and the number of layers."""
        parsed = _Parsed(stream)
        first, *others = stream.sections
        shape = "×".join(map(str, parsed.scene.map.small.shape[::-1]))
        factor = parsed.scene.map.factor
        for_colours = 1 + first.payload[2]
        coloured = (parsed.scene.palette[:, 0] != palette.ABSENT).sum()
        parts = [
            Part("map", len(first.payload) - for_colours, f"lossless, {shape} cells of {factor}×{factor}"),
            Part("palette", for_colours, f"mean colours of {coloured} classes"),
        ]
        if parsed.rate:
            rates = parsed.scene.weights.rates
            parts.append(Part("features", len(others.pop(0).payload), f"rate {parsed.rate} of {rates}"))
        for number, (section, layer) in enumerate(zip(others, parsed.layers, strict=False), 1):
            parts.append(Part(f"layer {number}", len(section.payload), f"HEVC at 1/{layer.scale} size"))
        if unused := sum(len(section.payload) for section in others[len(parsed.layers) :]):
            parts.append(Part("unused", unused, "sections that cannot be decoded"))
        how = next(name for name, known in MAP_FACTORS.items() if known == factor)
        detail = {"map": how, "rate": parsed.rate, "layers": len(parsed.layers)}
        return Contents(tuple(parts), tuple(parsed.warnings), detail)

    def base_sections(self, stream: Stream) -> int:
        """Return 2, or 1 where the base is drawn from the map alone."""
        return 1 + bool(_Parsed(stream).rate)

    def model(self, header: Header) -> str:
        """Return the name of the model that the stream needs."""
        return runtime.model_by_fingerprint("layered", header.fingerprint).card.name


@dataclass(frozen=True)
class _Scene:
    """What the first section says of a picture, and the network that draws it."""

    weights: _Weights
    map: SentMap
    palette: Array
    height: int
    width: int

    @cached_property
    def quarter(self) -> Array:
        """The map of 4×4 cells for the whole grid."""
        return self.map.quarter(*grid_size(self.height, self.width))

    @cached_property
    def classes(self) -> Array:
        """The class under each place of the grid."""
        return shrink(self.quarter, 4)

    def draw(self, rate: int, values: Array) -> NDArray[np.uint8]:
        """Return the base at a rate."""
        picture = generated.draw(
            self.weights.model.network("decoder"),
            *self.classes.shape,
            latents=(values * self.weights.at_rate("log_returns", rate))[None].astype(np.float32),
            strength=self.weights.strength(rate),
            layout=self.weights.layout(self.quarter, self.palette),
        )
        return to_pixels(match_colours(picture, self.quarter, self.palette), self.height, self.width)


class _LayeredWriter(Writer):
    """Steps are rates of the base, from none to the one that `perception` asks for, and then steps of the ladder."""

    def __init__(self, codec: int, image: NDArray[np.uint8], scene: _Scene, latents: Array, settings: Settings) -> None:
        self.header = Header(codec, scene.width, scene.height, scene.weights.model.card.fingerprint)
        self.pixels = scene.width * scene.height
        self.image, self.scene, self.latents, self.settings = image, scene, latents, settings
        self.top_rate = round(settings.perception * scene.weights.rates)
        self.steps = self.top_rate + 1 + len(LADDER)
        weights, factor = scene.weights, scene.map.factor
        self.map = segmap_coder.encode(scene.map.small, weights.map_tables(factor))
        self.colours = palette.encode(scene.palette, weights.palette_tables)

    def write(self, step: int) -> bytes:
        """Return the base at the step's rate, or the best base with layers up to the step."""
        rate, layers = min(step, self.top_rate), self._layers(step - self.top_rate)
        first = bytes((self.scene.map.factor | len(layers) << 4, rate, len(self.colours))) + self.colours + self.map
        sections = [Section(SectionType.MAP, first)]
        if rate:
            weights = self.scene.weights
            payload = latent_coder.encode(self._values(rate), self.scene.classes, rate - 1, weights.latent_tables)
            sections.append(Section(SectionType.FEATURES, payload))
        return container.write(self.header, sections + [Section(SectionType.LAYER, layer) for layer in layers])

    def _layers(self, step: int) -> list[bytes]:
        """Return the payloads of the layers that end at a step of the ladder, counted from 1."""
        if step <= 0:
            return []
        count = min(self.settings.layers, -(-step // APART))
        steps = [LADDER[step * number // count - 1] for number in range(1, count + 1)]
        return enhance.encode(self.image, self._base, steps, self.settings.perception**2)

    def _values(self, rate: int) -> NDArray[np.int8]:
        """Return the latents as they are sent at a rate."""
        reach = np.float32(LIMIT + 0.49)
        bounded = reach * np.tanh(self.latents * self.scene.weights.at_rate("log_gains", rate) / reach)
        values: NDArray[np.int8] = np.rint(bounded).astype(np.int8)
        return values

    @cached_property
    def _base(self) -> NDArray[np.uint8]:
        """The base that layers stand on."""
        return self.scene.draw(self.top_rate, self._values(self.top_rate) * bool(self.top_rate))


class _Parsed:
    """A stream's sections as integers: the map, the palette, the latents (0 where none were sent), and the layers."""

    def __init__(self, stream: Stream) -> None:
        header, (first, *others) = stream.header, stream.sections
        weights = _Weights.of(runtime.model_by_fingerprint("layered", header.fingerprint))
        if first.type != SectionType.MAP:
            raise StreamError(f"The stream does not start with a map, but with a section of type {first.type}.")
        if len(first.payload) < 3 or len(first.payload) < 3 + first.payload[2]:
            raise StreamError("The stream's map is too short.")
        factor, promised, rate = first.payload[0] & 15, first.payload[0] >> 4, first.payload[1]
        if factor not in MAP_FACTORS.values() or rate > weights.rates:
            raise StreamError("The stream's map is of a size, or its base of a rate, that this release does not know.")
        end = 3 + first.payload[2]
        levels = palette.decode(first.payload[3:end], weights.palette_tables)
        size = -(-header.height // factor), -(-header.width // factor)
        small = segmap_coder.decode(first.payload[end:], *size, weights.map_tables(factor))
        self.scene = _Scene(weights, SentMap(small, factor), levels, header.height, header.width)
        self.rate = 0
        self.values = np.zeros((weights.latent_tables.n_channels, *self.scene.classes.shape), np.int8)
        self.layers: list[enhance.Layer] = []
        self.warnings: list[str] = []
        promised += bool(rate)
        for number, section in enumerate(others[:promised]):
            try:
                if section.type != (SectionType.FEATURES if rate and not number else SectionType.LAYER):
                    raise StreamError(f"its type is {section.type}, which is not expected there")
                self._take(section, rate)
            except StreamError as error:
                self.warnings.append(f"Section {number + 2} and all after it cannot be used: {error}.")
                break
        taken = bool(self.rate) + len(self.layers)
        if taken < promised and not stream.warnings and not self.warnings:
            self.warnings.append(f"The stream ends after {taken + 1} of {promised + 1} sections: it was cut.")
        if len(others) > promised:
            self.warnings.append(f"The stream has {len(others) - promised} sections more than its map announces.")

    def _take(self, section: Section, rate: int) -> None:
        """Read one more section."""
        if section.type == SectionType.FEATURES:
            tables = self.scene.weights.latent_tables
            self.values = latent_coder.decode(section.payload, self.scene.classes, rate - 1, tables)
            self.rate = rate
        else:
            before = self.layers[-1].planes if self.layers else enhance.nothing(self.scene.width, self.scene.height)
            self.layers.append(enhance.Layer.read(section.payload, before))


class _Weights(Weights):
    """Weights with the gains and coding tables of latents.

    Rates are counted in steps from 1; 0 stands for a base of the map and its colours alone.
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
        """Return a rate as the network is told it: from 0 where no latents were sent to 1 for the highest."""
        trained = len(self.model.tables["log_gains"])
        return np.array([((rate - 1) / STEPS_BETWEEN + 1) / trained if rate else 0], np.float32)
