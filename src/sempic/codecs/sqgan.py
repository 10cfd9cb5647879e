"""SQ-GAN: a segmap and the most relevant tokens of the picture; a GAN draws the rest.

After Pezone, Barbarossa and Caire, "SQ-GAN: Semantic Image Communications Using Masked Vector Quantization" (2025).

    picture ─ segmenter ─ segmap ─ shrink ─┬─ segmap coder, mean colours ▷ section 1: palette and segmap
       └───────────────── encoder ◁────────┤
                             └─ relevance ─ top-k ─ nearest code ─ grid coder ▷ sections 2…: tokens in bands
    sections ─ segmap, palette, codes, mask ─ decoder network ─ picture

The segmap may also travel as masked tokens of its own (`map="tokens"`, as in the paper). Networks decide what is sent
and draw pictures; what the entropy coder sees are integers under integer models only, so every machine reads the same
tokens. `docs/format.md` has the sections byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sempic import container, runtime
from sempic.codecs import base, semantic
from sempic.codecs.base import Codec, Decoded, Part, Reading, Rgb, Segmap, Writer
from sempic.codecs.semantic import AUTO, MAP_FACTORS, MAP_TYPE, Head, SemanticReading, SentColours, SentMap, Weights
from sempic.codecs.tiles import CELL, as_planes, blend_tiled, grid_size, padded, run_tiled, to_pixels
from sempic.coding import grid
from sempic.coding import segmap as segmap_coder
from sempic.container import Header, Section, Stream
from sempic.errors import InputError, StreamError
from sempic.provenance import Kinds, Provenance
from sempic.segmap.resample import shrink
from sempic.segmap.simplify import simplify
from sempic.taxonomy import VOID, Taxonomy

WINDOW = 8
"""The decoder networks see grids whose sides are multiples of this."""
MAX_STEPS = 1024
TOKENS_A_BAND, MAX_BANDS = 256, 8
UNKNOWN_CLASS = 255

Array = NDArray[Any]


class SqGanSection(IntEnum):
    """The types of this codec's sections."""

    MAP = MAP_TYPE
    MAP_TOKENS = 2
    BAND = 3


PRIORITIES = {"sign": 0.6, "pedestrian": 0.6, "bicyclist": 0.6, "road": 0.4, "sky": 0.4}
"""Weights of classes (as `Settings.keep`) that are not named: what is small and rare goes first, what is plain last."""


@dataclass(frozen=True)
class Settings(base.Settings):
    """How to encode a picture with SQ-GAN.

    keep: weights of classes, as {"pedestrian": 1} or as "pedestrian=1,sky=0": towards 1 more bytes go to a class,
        towards 0 fewer.
    segmap: a segmap (uint8 H×W), or the file of one, that takes the place of the segmenter's.
    segmenter: an ONNX file that takes the place of the installed segmenter, or hf:NAME for a model of the Hugging Face
        Hub or a folder with one.
    classes: the classes that this segmenter finds: a taxonomy's name, or a file of names.
    map: the size at which the segmap travels: "full", "half", "quarter" or "eighth"; "auto" is a quarter, or an eighth
        for sizes of the stream for which a quarter is too much; or "tokens", as in the paper.
    map_kept: with "tokens", the share of its tokens that is sent, 0 to 1.
    simplify: how many cells of the segmap may change for each bit that this saves; 0 changes none.
    model: the model to encode with, by name, folder or address; empty for the one that comes with Sempic.
    """

    codec: ClassVar[str] = "sqgan"
    keep: str | Mapping[str, float] = ""
    segmap: Segmap | str | Path | None = None
    segmenter: str | Path | None = None
    classes: str | Path | None = None
    map: str = AUTO
    map_kept: float = 0.7
    simplify: float = 0.0
    model: str = ""

    def __post_init__(self) -> None:
        semantic.check_map(self.map, self.simplify, "tokens")
        if not 0 <= self.map_kept <= 1:
            raise InputError(f"The share of the segmap's tokens is {self.map_kept}; it must be from 0 to 1.")


class SqGan(Codec):
    """Masked vector quantisation with a segmap-conditioned GAN decoder."""

    name = "sqgan"
    id = 1
    Settings = Settings
    learnt = True

    def analyse(self, image: Rgb, settings: Any) -> Writer:
        """Segment the picture, run the encoder and rank its tokens."""
        weights = SqGanWeights.of(runtime.model(settings.model, self.name))
        keep = _keep_bias(settings.keep, weights.taxonomy)
        found = semantic.segmap_of(image, weights.taxonomy, settings.segmap, settings.segmenter, settings.classes)

        def writer(map: str, strength: float) -> Writer:
            if map == "tokens":
                coded = _encode_map_tokens(weights, shrink(found.segmap, 4), settings.map_kept)
                return self._writer(image, weights, SqGanSection.MAP_TOKENS, *coded, keep)
            factor = MAP_FACTORS[map]
            tables = weights.map_tables(factor)
            sent_map = SentMap(simplify(shrink(found.segmap, factor), tables, strength), factor)
            coded_map = segmap_coder.encode(sent_map.small, tables)
            return self._writer(image, weights, SqGanSection.MAP, coded_map, sent_map, keep)

        return semantic.writer_of(found, settings, writer)

    def _writer(
        self,
        image: Rgb,
        weights: SqGanWeights,
        kind: SqGanSection,
        coded_map: bytes,
        sent_map: SentMap,
        keep: Array,
    ) -> _SqGanWriter:
        """Run the encoder under a segmap, and rank its tokens."""
        rows, columns = grid_size(*image.shape[:2])
        quarter, whole = sent_map.quarter(rows, columns), padded(image)
        colours = SentColours.measure(weights, whole, quarter)
        one_hot = weights.one_hot(quarter)
        vectors, relevance = run_tiled(
            weights.model.network("encoder"), rows, columns, image=as_planes(whole), segmap=one_hot
        )
        shares = one_hot[0].reshape(-1, rows, 4, columns, 4).mean((2, 4))
        ranked = relevance[0] + np.tensordot(keep, shares, 1)
        tokens = _nearest(vectors, weights.codebook("image"))
        # Where the segmap is sent as tokens, a network draws it, and nothing may be coded under what a network drew.
        classes = _unknown((rows, columns)) if kind == SqGanSection.MAP_TOKENS else shrink(quarter, 4)
        factor = sent_map.factor if kind == SqGanSection.MAP else 0
        head = Head(factor, 0, coded_map, palette=colours.palette)
        header, token_tables = weights.header(self.id, image), weights.grid_tables("image")
        return _SqGanWriter(header, kind, head, colours.objects, tokens, ranked, classes, token_tables)

    def read(self, stream: Stream, model: runtime.Model | None = None) -> Reading:
        """Return what a stream contains: its tokens, band by band."""
        return SqGanReading(stream, model)


class _SqGanWriter(Writer):
    """Steps are numbers of tokens: none at the first step, all at the last. The colours of objects, where there are
    any, come between the first step and the one after it."""

    def __init__(
        self,
        header: Header,
        kind: SqGanSection,
        head: Head,
        objects: tuple[Section, ...],
        tokens: Array,
        relevance: Array,
        classes: Array,
        tables: grid.GridTables,
    ) -> None:
        self.header, self.kind, self.head, self.objects = header, kind, head, objects
        self.tokens, self.classes, self.tables = tokens, classes, tables
        self.pixels = header.width * header.height
        self.token_steps = min(tokens.size, MAX_STEPS)
        self.steps = 1 + len(self.objects) + self.token_steps
        rank = np.empty(tokens.size, np.int64)
        rank[np.argsort(-relevance, axis=None, kind="stable")] = np.arange(tokens.size)
        self.rank = rank.reshape(tokens.shape)

    def write(self, step: int) -> bytes:
        """Return the stream that sends the step's share of the tokens, the most relevant ones."""
        count = max(step - len(self.objects), 0) * self.tokens.size // self.token_steps
        bands = min(MAX_BANDS, -(-count // TOKENS_A_BAND))
        sections = [replace(self.head, count=bands).section(self.kind), *(self.objects if step else ())]
        for band in range(bands):
            begin, end = count * band // bands, count * (band + 1) // bands
            sent, chosen = self.rank < begin, (self.rank >= begin) & (self.rank < end)
            payload = grid.encode_band(self.tokens, chosen, sent, self.classes, self.tables)
            sections.append(Section(SqGanSection.BAND, payload))
        return container.write(self.header, sections)


class SqGanReading(SemanticReading):
    """A stream's segmap, palette and tokens.

    tokens: the code (h×w) of each place of the grid whose token was sent, 0 elsewhere.
    bands: for each band which places (h×w) it sends; a layer is a band.
    """

    kind = "sqgan"
    has_palette = True
    weights: SqGanWeights

    def __init__(self, stream: Stream, model: runtime.Model | None = None) -> None:
        self.tokens: NDArray[np.int32] = np.zeros(grid_size(stream.header.height, stream.header.width), np.int32)
        self.bands: list[NDArray[np.bool_]] = []
        super().__init__(stream, model, SqGanWeights)
        self.layers, self.announced = len(self.bands), self.head.count

    def sent(self, layers: int | None = None) -> NDArray[np.bool_]:
        """Return the places (h×w) whose token was sent in the first so many bands, or in all."""
        sent: NDArray[np.bool_] = np.any([np.zeros(self.tokens.shape, np.bool_), *self.bands[:layers]], axis=0)
        return sent

    def read_segmap(self) -> None:
        """Read a lossless segmap, or the tokens of one."""
        if self.first.type != SqGanSection.MAP_TOKENS:
            super().read_segmap()
        else:
            nothing, tables = np.zeros(self.grid, np.int32), self.weights.grid_tables("map")
            self._map_tokens = grid.decode_band(self.head.segmap, nothing, nothing > 0, _unknown(self.grid), tables)

    @cached_property
    def sent_map(self) -> SentMap:  # type: ignore[override]
        """The segmap, which a network draws when it is first asked for: this is for those that are sent as tokens."""
        chosen, tokens = self._map_tokens
        return _draw_map(self.weights, tokens, chosen, -(-self.header.height // 4), -(-self.header.width // 4))

    @cached_property
    def _classes(self) -> Array:
        """The class under each place of the grid, as the coder of tokens sees it."""
        return _unknown(self.grid) if self.first.type == SqGanSection.MAP_TOKENS else shrink(self.quarter, 4)

    def read_layer(self, section: Section) -> Part:
        """Read a band of tokens."""
        if section.type != SqGanSection.BAND:
            raise StreamError(f"its type is {section.type}, which this release does not know")
        tables = self.weights.grid_tables("image")
        chosen, self.tokens = grid.decode_band(section.payload, self.tokens, self.sent(), self._classes, tables)
        self.bands.append(chosen)
        about = f"{chosen.sum()} of {chosen.size} positions"
        return Part(f"tokens, band {len(self.bands)}", len(section.payload), about)

    def about_segmap(self) -> str:
        """Return how the segmap travelled."""
        if self.first.type != SqGanSection.MAP_TOKENS:
            return super().about_segmap()
        return f"tokens, {-(-self.header.width // 4)}×{-(-self.header.height // 4)} cells of 4×4"

    def detail(self) -> dict[str, Any]:
        """Return how the segmap travelled, how many tokens were sent, and in how many bytes.

        `flat_bytes` is what mask and tokens would take at one bit a position and log2 of the codebook's size a token.
        """
        sent, positions = int(self.sent().sum()), self.tokens.size
        bits = int(np.log2(len(self.weights.codebook("image"))))
        return {
            "map": "tokens" if self.first.type == SqGanSection.MAP_TOKENS else self.map_setting,
            "tokens": sent,
            "positions": positions,
            "kept": round(sent / positions, 4),
            "token_bytes": sum(part.bytes for part in self._read if part.name.startswith("tokens")),
            "flat_bytes": -(-(bits * sent + positions) // 8),
        }

    def draw(self, options: Any, layers: int | None = None) -> Decoded:
        """Let the network draw the picture from the tokens of the first bands."""
        sent = self.sent(layers)
        codes = self.weights.codebook("image")[self.tokens].transpose(2, 0, 1) * sent
        padded_codes, padded_sent, padded_map = _whole_windows(codes, sent, self.quarter)
        colours = self.colours.padded(*np.subtract(padded_map.shape, self.quarter.shape))
        picture = blend_tiled(
            self.weights.model.network("decoder"),
            *padded_sent.shape[2:],
            progress=options.progress,
            codes=padded_codes,
            kept=padded_sent,
            layout=self.weights.layout(padded_map, colours),
        )
        rows, columns = self.grid
        picture = self.colours.match(picture[:, : rows * CELL, : columns * CELL])
        pixels = to_pixels(picture, self.header.height, self.header.width)
        del picture  # for a large one's memory
        return Decoded(pixels, self.segmap, self.taxonomy, self.contents.warnings, self._provenance(sent, layers))

    def _provenance(self, sent: NDArray[np.bool_], layers: int | None) -> Kinds:
        """Return the kind of each pixel; of bands that did not arrive, it is not known which places they are for."""
        others = Provenance.MISSING if self.misses(layers) else Provenance.INVENTED
        places = np.where(sent, np.uint8(Provenance.DRAWN), np.uint8(others))
        return places.repeat(CELL, 0).repeat(CELL, 1)[: self.header.height, : self.header.width]


class SqGanWeights(Weights):
    """Weights with the codebooks and coding tables of tokens."""

    def codebook(self, stream: str) -> Array:
        """Return the codes (n×D float32) of the "image" or "map" stream."""
        return self.model.tables[f"{stream}.codebook"].astype(np.float32)

    def grid_tables(self, stream: str) -> grid.GridTables:
        """Return the coding tables of the "image" or "map" stream."""
        return self.built(f"{stream}.grid.", grid.GridTables.from_arrays)


def _encode_map_tokens(weights: SqGanWeights, quarter: Array, kept: float) -> tuple[bytes, SentMap]:
    """Code the segmap as its own masked tokens (G_s); return the bytes, and the segmap that the decoder will have."""
    rows, columns = (-(-side // 4) for side in quarter.shape)
    missing = (0, 4 * rows - quarter.shape[0]), (0, 4 * columns - quarter.shape[1])
    one_hot = weights.one_hot(np.pad(quarter, missing, mode="edge"))
    vectors, relevance = run_tiled(weights.model.network("map_encoder"), rows, columns, segmap=one_hot)
    tokens = _nearest(vectors, weights.codebook("map"))
    order = np.argsort(-relevance[0], axis=None, kind="stable")
    chosen = np.zeros(tokens.shape, np.bool_)
    chosen.reshape(-1)[order[: int(kept * tokens.size)]] = True
    nothing, tables = np.zeros_like(chosen), weights.grid_tables("map")
    payload = grid.encode_band(tokens, chosen, nothing, _unknown(tokens.shape), tables)
    return payload, _draw_map(weights, tokens, chosen, *quarter.shape)


def _unknown(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a grid without classes."""
    return np.full(shape, UNKNOWN_CLASS, np.uint8)


def _draw_map(weights: SqGanWeights, tokens: Array, sent: Array, height: int, width: int) -> SentMap:
    """Run D_s: the segmap's tokens to ids of height×width cells."""
    codes = weights.codebook("map")[tokens].transpose(2, 0, 1) * sent
    padded_codes, padded_sent, _ = _whole_windows(codes, sent, np.zeros((1, 1)))
    network = weights.model.network("map_decoder")
    (logits,) = run_tiled(network, *padded_sent.shape[2:], codes=padded_codes, kept=padded_sent)
    ids = logits[:, :height, :width].argmax(0)
    return SentMap(np.where(ids == len(weights.taxonomy), VOID, ids).astype(np.uint8), 4)


def _whole_windows(codes: Array, sent: Array, quarter: Array) -> tuple[Array, Array, Array]:
    """Pad codes (D×h×w), mask (h×w) and segmap (4h×4w) to whole windows, as the decoder networks take them."""
    down, right = -sent.shape[0] % WINDOW, -sent.shape[1] % WINDOW
    return (
        np.pad(codes, ((0, 0), (0, down), (0, right)))[None].astype(np.float32),
        np.pad(sent, ((0, down), (0, right)))[None, None].astype(np.float32),
        np.pad(quarter, ((0, 4 * down), (0, 4 * right)), mode="edge"),
    )


def _nearest(vectors: Array, codebook: Array) -> NDArray[np.int32]:
    """Return the index of the nearest code for each of D×h×w vectors."""
    rows = vectors.reshape(len(vectors), -1).T
    halved = 0.5 * (codebook**2).sum(1)
    return np.concatenate(
        [(part @ codebook.T - halved).argmax(1) for part in _chunks(rows)], dtype=np.int32, casting="unsafe"
    ).reshape(vectors.shape[1:])


def _chunks(rows: Array, size: int = 4096) -> Iterator[Array]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _keep_bias(keep: str | Mapping[str, float], taxonomy: Taxonomy) -> NDArray[np.float64]:
    """Return what to add to the relevance (0 to 1) of each class: from -1 for weight 0 to +1 for weight 1."""
    pairs: Iterable[tuple[str, Any]]
    if isinstance(keep, str):
        pairs = ((name, value) for name, _, value in (item.partition("=") for item in keep.split(",") if item.strip()))
    else:
        pairs = keep.items()
    bias = np.zeros(len(taxonomy))
    for name, value in (*((n, w) for n, w in PRIORITIES.items() if n in taxonomy.classes), *pairs):
        weight = _number(value, name)
        if not 0 <= weight <= 1:
            raise InputError(f"The weight of '{name.strip()}' is {weight}; it must be from 0 to 1.")
        bias[taxonomy.id_of(name)] = 2 * weight - 1
    return bias


def _number(text: Any, name: str) -> float:
    try:
        return float(text)
    except (ValueError, TypeError):
        raise InputError(
            f"'{name.strip()}={text}' is no weight; write it as {name.strip()}=0.8, for example."
        ) from None
