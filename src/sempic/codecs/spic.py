"""SPIC: a lossless map of the scene and a tiny picture; a diffusion network makes a picture of both.

After Pezone, Musa, Caire and Barbarossa, "Semantic-Preserving Image Coding Based on Conditional Diffusion Models"
(ICASSP 2024).

    picture ─ segmenter ─ segmap ─ shrink ─ map coder ▷ section 1: map and seed
       └───── shrink ──────────────────── coarse coder ▷ section 2: coarse picture
    coarse picture ─ enlarge ─ + σ_max · noise of the seed ─ denoiser, a few times, under map and coarse picture
                         └── colours ──────────────────────────── + ─ picture

Segmenter, map coder, coarse coder and denoiser can each be replaced by an object of one's own (`codecs/parts.py`).
Nothing in a stream tells of that: whoever reads it needs the same objects. `docs/format.md` has the sections byte by
byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import container, runtime
from sempic.codecs import base, diffusion, generated
from sempic.codecs.base import Codec, Contents, Decoded, Part, Writer
from sempic.codecs.classic.picture import scaled
from sempic.codecs.generated import CELL, MAP_FACTORS, SentMap, Weights, grid_size, to_pixels
from sempic.codecs.parts import (
    ClassicCoarseCoder,
    CoarseCoder,
    Denoiser,
    LearntMapCoder,
    MapCoder,
    NetworkDenoiser,
    Segmenter,
)
from sempic.coding.denoise import denoise
from sempic.coding.resample import enlarge, shrink
from sempic.container import Header, Section, Stream
from sempic.errors import InputError, StreamError
from sempic.segment import segment

MODEL = "spic-camvid11"
SCALES = (3, 4, 6)
"""How many times the coarse picture may be smaller."""
STEPS, MAX_STEPS = 1, 50
"""Steps of the sampler, each of one network pass or, under guidance, two. The shipped network draws best in one."""
GUIDANCE, MAX_GUIDANCE = 1.0, 20.0
"""How far the map leads: 0 not at all, 1 as in training."""

Array = NDArray[Any]


class SectionType(IntEnum):
    """The types of this codec's sections."""

    MAP = 1
    COARSE = 2


@dataclass(frozen=True)
class Settings:
    """How to encode a picture with SPIC.

    segmap: a segmap (uint8 H×W) that takes the place of the segmenter's.
    segmenter: an ONNX file that takes the place of the built-in segmenter.
    map: the size at which the map travels: "full", "half", "quarter" or "eighth".
    denoise: how many cells of the map may change for each bit that this saves; 0 changes none.
    scale: how many times the coarse picture is smaller: 3, 4 or 6.
    seed: what the noise is made from, 0 to 255, unless the decoder chooses another.
    model: the model to encode with, by name, folder or address.
    """

    segmap: Array | None = None
    segmenter: str | Path | None = None
    map: str = "quarter"
    denoise: float = 0.0
    scale: int = 4
    seed: int = 0
    model: str = MODEL

    def __post_init__(self) -> None:
        generated.check_map(self.map, self.denoise)
        if self.scale not in SCALES:
            raise InputError(
                f"The coarse picture can be {', '.join(map(str, SCALES))} times smaller, not {self.scale}."
            )
        if self.seed not in range(256):
            raise InputError(f"The seed is {self.seed}; it must be a whole number from 0 to 255.")


@dataclass(frozen=True)
class Options(base.Options):
    """How to decode a picture of SPIC.

    steps: steps of the sampler, 1 to 50; 0 shows the coarse picture, enlarged.
    guidance: how far the map leads: 0 not at all, 1 as in training, and beyond. Other than 1, a step takes two passes.
    seed: what the noise is made from, 0 to 2³² - 1; the stream's own if left out.
    """

    steps: int = STEPS
    guidance: float = GUIDANCE
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.steps not in range(MAX_STEPS + 1):
            raise InputError(f"The number of steps is {self.steps}; it must be a whole number from 0 to {MAX_STEPS}.")
        if not 0 <= self.guidance <= MAX_GUIDANCE:
            raise InputError(f"The guidance is {self.guidance}; it must be from 0 to {MAX_GUIDANCE:.0f}.")
        if self.seed is not None and self.seed not in range(1 << 32):
            raise InputError(f"The seed is {self.seed}; it must be a whole number from 0 to {(1 << 32) - 1}.")


class Spic(Codec):
    """A map, a coarse picture, and diffusion; each of the four parts can be replaced."""

    name = "spic"
    id = 3
    Settings = Settings
    Options = Options

    def __init__(
        self,
        *,
        segmenter: Segmenter = segment,
        map: MapCoder | None = None,
        coarse: CoarseCoder | None = None,
        denoiser: Denoiser | None = None,
    ) -> None:
        self.segmenter, self.coarse = segmenter, coarse or ClassicCoarseCoder()
        self._map, self._denoiser = map, denoiser

    def map_coder(self, weights: Weights) -> MapCoder:
        """Return the coder of maps: the one that was given, or a model's own."""
        return self._map or LearntMapCoder(weights)

    def denoiser(self, weights: Weights) -> Denoiser:
        """Return what draws: what was given, or a model's own."""
        return self._denoiser or NetworkDenoiser(weights)

    def analyse(self, image: NDArray[np.uint8], settings: Any) -> Writer:
        """Segment the picture and scale it down."""
        weights = Weights.of(runtime.model(settings.model, self.name))
        segmap = settings.segmap
        if segmap is None and settings.segmenter is None:
            segmap = self.segmenter(image, weights.taxonomy)
        full = generated.segmented(image, weights.taxonomy, segmap, settings.segmenter)
        factor = MAP_FACTORS[settings.map]
        small = shrink(full, factor)
        if settings.denoise:
            small = denoise(small, weights.map_tables(factor), settings.denoise)
        header = Header(self.id, image.shape[1], image.shape[0], weights.model.card.fingerprint)
        coded_map = self.map_coder(weights).encode(small, factor)
        first = Section(SectionType.MAP, bytes((factor, int(settings.seed))) + coded_map)
        size = _coarse_size(header, settings.scale)
        coarse = Image.fromarray(generated.padded(image)).resize(size[::-1], Image.Resampling.LANCZOS)
        return _SpicWriter(header, first, self.coarse, np.array(coarse), int(settings.scale))

    def decode(self, stream: Stream, options: Any) -> Decoded:
        """Enlarge the coarse picture and let the network draw what it lacks."""
        parsed = _Parsed(self, stream)
        height, width = stream.header.height, stream.header.width
        coarse = _painted(parsed.weights, parsed.quarter) if parsed.coarse is None else parsed.coarse
        if options.steps:
            denoiser, segmap = self.denoiser(parsed.weights), parsed.weights.one_hot(parsed.quarter)
            seed = parsed.seed if options.seed is None else int(options.seed)
            picture = diffusion.keep_colours(_drawn(denoiser, coarse, segmap, seed, options), coarse)
        else:
            picture = generated.enlarged(coarse[0], 4 * coarse.shape[2], 4 * coarse.shape[3])[None]
        pixels = to_pixels(picture[0], height, width)
        del picture  # for a large one's memory
        segmap = enlarge(parsed.map.small, parsed.map.factor, height, width)
        return Decoded(pixels, segmap, (*stream.warnings, *parsed.warnings))

    def describe(self, stream: Stream) -> Contents:
        """Name what each section holds, how the map travelled, how many times the coarse picture is smaller (0: there
        is none), and the seed."""
        parsed = _Parsed(self, stream)
        first, *others = stream.sections
        shape, factor = "×".join(map(str, parsed.map.small.shape[::-1])), parsed.map.factor
        parts = [Part("map", len(first.payload), f"lossless, {shape} cells of {factor}×{factor}, and the seed")]
        if parsed.coarse is not None:
            parts.append(Part("coarse picture", len(others.pop(0).payload), f"at 1/{parsed.scale} size"))
        if unused := sum(len(section.payload) for section in others):
            parts.append(Part("unused", unused, "sections that cannot be decoded"))
        how = next(name for name, known in MAP_FACTORS.items() if known == factor)
        detail = {"map": how, "scale": parsed.scale, "seed": parsed.seed}
        return Contents(tuple(parts), tuple(parsed.warnings), detail)

    def model(self, header: Header) -> str:
        """Return the name of the model that the stream needs."""
        return runtime.model_by_fingerprint("spic", header.fingerprint).card.name


class _SpicWriter(Writer):
    """Steps are levels of the coarse picture, after a first one without it."""

    def __init__(
        self, header: Header, first: Section, coder: CoarseCoder, coarse: NDArray[np.uint8], scale: int
    ) -> None:
        self.header, self.first, self.coder, self.coarse, self.scale = header, first, coder, coarse, scale
        self.pixels = header.width * header.height
        self.steps = 1 + len(coder.levels)

    def write(self, step: int) -> bytes:
        """Return the map, and the coarse picture at the step's level."""
        if not step:
            return container.write(self.header, [self.first])
        # The first byte of the first section also says whether a second follows, so that a cut stream is known as one.
        first = bytes((self.first.payload[0] | 1 << 4,)) + self.first.payload[1:]
        coarse = bytes((self.scale,)) + self.coder.encode(self.coarse, self.coder.levels[step - 1])
        return container.write(self.header, [Section(self.first.type, first), Section(SectionType.COARSE, coarse)])


class _Parsed:
    """A stream's sections: the map, the seed, and the coarse picture on the grid of the quarter-size map (1×3×4R×4C;
    None and scale 0 where there is none)."""

    def __init__(self, codec: Spic, stream: Stream) -> None:
        header, (first, *others) = stream.header, stream.sections
        self.weights = Weights.of(runtime.model_by_fingerprint("spic", header.fingerprint))
        if first.type != SectionType.MAP:
            raise StreamError(f"The stream does not start with a map, but with a section of type {first.type}.")
        if len(first.payload) < 2:
            raise StreamError("The stream's map is too short.")
        factor, promised, self.seed = first.payload[0] & 15, first.payload[0] >> 4, first.payload[1]
        if factor not in MAP_FACTORS.values() or promised > 1:
            raise StreamError("The stream's map is of a size or kind that this release does not know.")
        coder = codec.map_coder(self.weights)
        small = coder.decode(first.payload[2:], *scaled(header.height, header.width, factor), factor)
        self.map = SentMap(small, factor)
        self.quarter = self.map.quarter(*grid_size(header.height, header.width))
        self.scale = 0
        self.coarse: Array | None = None
        self.warnings: list[str] = []
        if promised and others:
            try:
                self._take(others[0], header, codec.coarse)
            except StreamError as error:
                self.warnings.append(str(error))
        elif promised and not stream.warnings:
            self.warnings.append("The stream ends before its coarse picture: it was cut.")
        if promised and self.coarse is None:
            self.warnings.append("The picture is drawn from the map alone.")
        if len(others) > promised:
            self.warnings.append(f"The stream has {len(others) - promised} sections more than its map announces.")

    def _take(self, section: Section, header: Header, coder: CoarseCoder) -> None:
        """Read the coarse picture."""
        if section.type != SectionType.COARSE or not section.payload or section.payload[0] not in SCALES:
            raise StreamError("The coarse picture has a type or a scale that this release does not know.")
        scale, (rows, columns) = section.payload[0], grid_size(header.height, header.width)
        coarse = Image.fromarray(coder.decode(section.payload[1:], *_coarse_size(header, scale)))
        cells = np.asarray(coarse.resize((4 * columns, 4 * rows), Image.Resampling.BICUBIC))
        self.coarse, self.scale = generated.as_input(generated.as_planes(cells)), scale


def _coarse_size(header: Header, scale: int) -> tuple[int, int]:
    """Return the height and width of the coarse picture, which shows the whole grid."""
    rows, columns = grid_size(header.height, header.width)
    return scaled(CELL * rows, CELL * columns, scale)


def _painted(weights: Weights, quarter: Array) -> NDArray[np.float32]:
    """Return a map as a coarse picture in the mean colours of its classes; void is of their mean."""
    colours = weights.model.tables["colours"].astype(np.float32)
    known = np.vstack([colours, colours.mean(0)])
    return known[np.minimum(quarter, len(colours))].transpose(2, 0, 1)[None]


def _drawn(denoiser: Denoiser, coarse: Array, segmap: Array, seed: int, options: Options) -> Array:
    """Return what diffusion makes of the coarse picture; of a large one, it holds two at a time in float32, three if
    there are several steps."""
    steps, w = int(options.steps), options.guidance
    sigma = diffusion.schedule(steps, *denoiser.sigmas)
    no_map = np.broadcast_to(np.zeros((), segmap.dtype), segmap.shape)
    D = diffusion.guided(
        lambda x, level: denoiser.denoise(x, coarse, segmap, level),
        lambda x, level: denoiser.denoise(x, coarse, no_map, level),
        w,
    )
    x = diffusion.noise(seed, 4 * coarse.shape[2], 4 * coarse.shape[3])
    x *= sigma[0]
    for plane, small in zip(x[0], coarse[0], strict=True):  # one by one, for a large one's memory
        plane += generated.enlarged(small[None], *plane.shape)[0]
    passes = 1 if w == 1 else 2
    tell = options.progress or (lambda done, total: None)
    return diffusion.sample(D, x, sigma, lambda done: tell(passes * done, passes * steps))
