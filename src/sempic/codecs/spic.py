"""SPIC: a lossless segmap and a tiny picture; a diffusion network makes a picture of both.

After Pezone, Musa, Caire and Barbarossa, "Semantic-Preserving Image Coding Based on Conditional Diffusion Models"
(ICASSP 2024).

    picture ─ segmenter ─ segmap ─ shrink ─ segmap coder ▷ section 1: seed and segmap
       └───── shrink ──────────────────── coarse coder ▷ section 2: coarse picture
    coarse picture ─ enlarge ─ + σ_max · noise of the seed ─ sampler(denoiser), under segmap and coarse picture
                         └── colours ──────────────────────────── + ─ picture

Segmenter, segmap coder, coarse coder, denoiser and sampler can each be replaced by an object of one's own
(`spic_parts.py`, `sampler.py`). Nothing in a stream says so: whoever reads it needs the same objects. `docs/format.md`
has the sections byte by byte.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import container, runtime
from sempic.codecs import base, sampler, semantic, tiles
from sempic.codecs.base import Codec, Decoded, Part, Reading, Rgb, Segmap, Writer, check_choice
from sempic.codecs.classic.picture import scaled
from sempic.codecs.sampler import Sampler
from sempic.codecs.semantic import AUTO, MAP_FACTORS, MAP_TYPE, RUNGS, Head, SemanticReading, Weights
from sempic.codecs.spic_parts import (
    ClassicCoarseCoder,
    CoarseCoder,
    Denoiser,
    LearntMapCoder,
    MapCoder,
    NetworkDenoiser,
    Segmenter,
)
from sempic.codecs.tiles import CELL, as_input, as_planes, grid_size, padded, to_pixels
from sempic.container import Header, Section, Stream
from sempic.errors import InputError, StreamError
from sempic.provenance import Provenance, uniform
from sempic.segmap.resample import shrink
from sempic.segmap.simplify import simplify

SCALES = (3, 4, 6)
"""How many times the coarse picture may be smaller."""
STEPS, MAX_STEPS = 1, 50
"""Steps of the sampler, each of one network pass or, under guidance, two. The shipped network draws best in one."""
GUIDANCE, MAX_GUIDANCE = 1.0, 20.0
"""The weight of the segmap: 0 for none, 1 as in training."""

Array = NDArray[Any]


class SpicSection(IntEnum):
    """The types of this codec's sections."""

    MAP = MAP_TYPE
    COARSE = 2


@dataclass(frozen=True)
class Settings(base.Settings):
    """How to encode a picture with SPIC.

    segmap: a segmap (uint8 H×W), or the file of one, that takes the place of the segmenter's.
    segmenter: an ONNX file that takes the place of the installed segmenter, or hf:NAME for a model of the Hugging Face
        Hub or a folder with one.
    classes: the classes that this segmenter finds: a taxonomy's name, or a file of names.
    map: the size at which the segmap travels: "full", "half", "quarter" or "eighth"; "auto" is a quarter, or an eighth
        for sizes of the stream for which a quarter is too much, in which case the coarse picture is 6 times smaller.
    simplify: how many cells of the segmap may change for each bit that this saves; 0 changes none.
    scale: how many times the coarse picture is smaller: 3, 4 or 6.
    seed: what the noise is made from, 0 to 255, unless the decoder chooses another.
    model: the model to encode with, by name, folder or address; empty for the one that comes with Sempic.
    """

    codec: ClassVar[str] = "spic"
    segmap: Segmap | str | Path | None = None
    segmenter: str | Path | None = None
    classes: str | Path | None = None
    map: str = AUTO
    simplify: float = 0.0
    scale: int = 4
    seed: int = 0
    model: str = ""

    def __post_init__(self) -> None:
        semantic.check_map(self.map, self.simplify)
        check_choice("The coarse picture's scale", self.scale, SCALES)
        if self.seed not in range(256):
            raise InputError(f"The seed is {self.seed}; it must be a whole number from 0 to 255.")


@dataclass(frozen=True)
class Options(base.Options):
    """How to decode a picture of SPIC.

    steps: steps of the sampler, 1 to 50; 0 shows the coarse picture, enlarged.
    guidance: the weight of the segmap: 0 for none, 1 as in training, and beyond. Other than 1, a step takes two passes.
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
    """A segmap, a coarse picture, and diffusion; each of the five parts can be replaced.

    Args:
        segmenter: finds the classes; the installed one, or that of the settings, if left out.
        map: codes the segmap; a model's own coder if left out.
        coarse: codes the coarse picture; HEVC if left out.
        denoiser: draws; a model's own network if left out.
        sampler: goes along the noise levels; DPM-Solver++(2M) if left out.
    """

    name = "spic"
    id = 3
    Settings = Settings
    Options = Options
    learnt = True

    def __init__(
        self,
        *,
        segmenter: Segmenter | None = None,
        map: MapCoder | None = None,
        coarse: CoarseCoder | None = None,
        denoiser: Denoiser | None = None,
        sampler: Sampler = sampler.dpm_solver,
    ) -> None:
        self.segmenter, self.coarse, self.sampler = segmenter, coarse or ClassicCoarseCoder(), sampler
        self._map, self._denoiser = map, denoiser

    def map_coder(self, weights: Weights) -> MapCoder:
        """Return the coder of segmaps: the one that was given, or a model's own."""
        return self._map or LearntMapCoder(weights)

    def denoiser(self, weights: Weights) -> Denoiser:
        """Return what draws: what was given, or a model's own."""
        return self._denoiser or NetworkDenoiser(weights)

    def analyse(self, image: Rgb, settings: Any) -> Writer:
        """Segment the picture and scale it down."""
        weights = Weights.of(runtime.model(settings.model, self.name))
        segmap = settings.segmap
        if segmap is None and settings.segmenter is None and self.segmenter:
            segmap = self.segmenter(image, weights.taxonomy)
        found = semantic.segmap_of(image, weights.taxonomy, segmap, settings.segmenter, settings.classes)
        header = weights.header(self.id, image)

        def writer(map: str, strength: float) -> Writer:
            factor = MAP_FACTORS[map]
            small = shrink(found.segmap, factor)
            if strength:  # under a coder of one's own, a model need not have these tables
                small = simplify(small, weights.map_tables(factor), strength)
            head = Head(factor, 0, self.map_coder(weights).encode(small, factor), own=int(settings.seed))
            scale = max(SCALES) if settings.map == AUTO and map != RUNGS[0][0] else int(settings.scale)
            height, width = _coarse_size(header, scale)
            coarse = Image.fromarray(padded(image)).resize((width, height), Image.Resampling.LANCZOS)
            return _SpicWriter(header, head, self.coarse, np.array(coarse), scale)

        return semantic.writer_of(found, settings, writer)

    def read(self, stream: Stream, model: runtime.Model | None = None) -> Reading:
        """Return what a stream contains; the coarse picture is not decoded yet."""
        return SpicReading(stream, self, model)


class _SpicWriter(Writer):
    """Steps are levels of the coarse picture, after a first one without it."""

    basic = 1

    def __init__(self, header: Header, head: Head, coder: CoarseCoder, coarse: Rgb, scale: int) -> None:
        self.header, self.head, self.coder, self.coarse, self.scale = header, head, coder, coarse, scale
        self.pixels = header.width * header.height
        self.steps = 1 + len(coder.levels)

    def lacks(self, step: int) -> tuple[str, ...]:
        """Return a sentence where there is no coarse picture."""
        return () if step else ("So few bytes leave no room for the coarse picture: its colours will be typical ones.",)

    def write(self, step: int) -> bytes:
        """Return the segmap, and the coarse picture at the step's level."""
        if not step:
            return container.write(self.header, [self.head.section()])
        coarse = bytes((self.scale,)) + self.coder.encode(self.coarse, self.coder.levels[step - 1])
        return container.write(
            self.header, [replace(self.head, count=1).section(), Section(SpicSection.COARSE, coarse)]
        )


class SpicReading(SemanticReading):
    """A stream's segmap, seed, and coarse picture as the bytes of its coder (None where there is none, of scale 0)."""

    kind = "spic"
    has_own = True

    def __init__(self, stream: Stream, codec: Spic, model: runtime.Model | None = None) -> None:
        self.codec, self.scale, self._coarse = codec, 0, b""
        super().__init__(stream, model, Weights)
        assert self.head.own is not None
        self.seed = self.head.own
        self.layers, self.announced = int(self.scale > 0), self.head.count

    def decode_segmap(self, data: bytes, height: int, width: int, factor: int) -> Segmap:
        """Let the codec's coder decode the segmap."""
        return self.codec.map_coder(self.weights).decode(data, height, width, factor)

    def read_segmap(self) -> None:
        """Read the segmap; refuse a stream that announces more than a coarse picture."""
        if self.head.count > 1:
            raise StreamError("The stream's segmap is of a kind that this release does not know.")
        super().read_segmap()

    def read_layer(self, section: Section) -> Part:
        """Read the scale of the coarse picture."""
        if section.type != SpicSection.COARSE or not section.payload or section.payload[0] not in SCALES:
            raise StreamError("the coarse picture has a type or a scale that this release does not know")
        self.scale, self._coarse = section.payload[0], section.payload[1:]
        return Part("coarse picture", len(section.payload), f"at 1/{self.scale} size")

    def about_segmap(self) -> str:
        """Return how the segmap travelled."""
        return f"{super().about_segmap()}, and the seed"

    def detail(self) -> dict[str, Any]:
        """Return how the segmap travelled, how many times the coarse picture is smaller (0: there is none), and the
        seed."""
        return {"map": self.map_setting, "scale": self.scale, "seed": self.head.own}

    def coarse(self) -> NDArray[np.float32]:
        """Decode the coarse picture → 1×3×4h×4w on the grid (h×w); raise `StreamError` where it is damaged."""
        picture = Image.fromarray(self.codec.coarse.decode(self._coarse, *_coarse_size(self.header, self.scale)))
        rows, columns = self.grid
        cells = np.asarray(picture.resize((4 * columns, 4 * rows), Image.Resampling.BICUBIC))
        return as_input(as_planes(cells))

    def draw(self, options: Options, layers: int | None = None) -> Decoded:
        """Enlarge the coarse picture and let the network draw what it lacks."""
        coarse, kind, warnings = self._guide(layers)
        if options.steps:
            denoiser, segmap = self.codec.denoiser(self.weights), self.weights.one_hot(self.quarter)
            seed = self.seed if options.seed is None else int(options.seed)
            drawn = _drawn(denoiser, self.codec.sampler, coarse, segmap, seed, options)
            picture = sampler.keep_colours(drawn, coarse)[0]
        else:
            picture = tiles.enlarged(coarse[0], 4 * coarse.shape[2], 4 * coarse.shape[3])
            kind = Provenance.SENT if kind == Provenance.DRAWN else kind
        pixels = to_pixels(picture, self.header.height, self.header.width)
        del picture  # for a large one's memory
        warnings = (*self.contents.warnings, *warnings)
        return Decoded(pixels, self.segmap, self.taxonomy, warnings, uniform(kind, pixels))

    def _guide(self, layers: int | None) -> tuple[Array, Provenance, tuple[str, ...]]:
        """Return the coarse picture, or the segmap in the mean colours of its classes where there is none; the kind of
        what is drawn from it; and sentences about losses."""
        kind, warnings = Provenance.INVENTED, tuple[str, ...]()
        if self.scale and layers != 0:
            try:
                return self.coarse(), Provenance.DRAWN, ()
            except StreamError as error:
                warnings = (str(error),)
        if self.promised and layers != 0:
            kind = Provenance.MISSING
            warnings += ("The picture is drawn from the segmap alone.",)
        return _painted(self.weights, self.quarter), kind, warnings


def _coarse_size(header: Header, scale: int) -> tuple[int, int]:
    """Return the height and width of the coarse picture, which shows the whole grid."""
    rows, columns = grid_size(header.height, header.width)
    width, height = scaled(CELL * columns, CELL * rows, scale)
    return height, width


def _painted(weights: Weights, quarter: Array) -> NDArray[np.float32]:
    """Return a segmap as a coarse picture in the mean colours of its classes; void is of their mean."""
    colours = weights.model.tables["colours"].astype(np.float32)
    known = np.vstack([colours, colours.mean(0)])
    return known[np.minimum(quarter, len(colours))].transpose(2, 0, 1)[None]


def _drawn(denoiser: Denoiser, sample: Sampler, coarse: Array, segmap: Array, seed: int, options: Options) -> Array:
    """Return what diffusion makes of the coarse picture; of a large one, it holds two at a time in float32, three if
    there are several steps."""
    steps, w = int(options.steps), options.guidance
    sigma = sampler.schedule(steps, *denoiser.sigmas)
    no_map = np.broadcast_to(np.zeros((), segmap.dtype), segmap.shape)
    D = sampler.guided(
        lambda x, level: denoiser.denoise(x, coarse, segmap, level),
        lambda x, level: denoiser.denoise(x, coarse, no_map, level),
        w,
    )
    x = sampler.noise(seed, 4 * coarse.shape[2], 4 * coarse.shape[3])
    x *= sigma[0]
    for plane, small in zip(x[0], coarse[0], strict=True):  # one by one, for a large one's memory
        plane += tiles.enlarged(small[None], *plane.shape)[0]
    passes = 1 if w == 1 else 2
    progress = options.progress or (lambda done, total: None)
    return sample(D, x, sigma, lambda done: progress(passes * done, passes * steps))
