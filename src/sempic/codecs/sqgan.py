"""SQ-GAN: a map of the scene and the most relevant tokens of the picture; a GAN draws the rest.

After Pezone, Barbarossa and Caire, "SQ-GAN: Semantic Image Communications Using Masked Vector Quantization" (2025).

    picture ─ segmenter ─ segmap ─ shrink ─┬─ segmap coder, mean colours ▷ section 1: map and palette
       └───────────────── encoder ◁────────┤
                             └─ relevance ─ top-k ─ nearest code ─ grid coder ▷ sections 2…: tokens in bands
    sections ─ map, palette, codes, mask ─ decoder network ─ picture

The map may also travel as masked tokens of its own (`map="tokens"`, as in the paper). Networks decide what is sent and
draw pictures; what the entropy coder sees are integers under integer models only, so every machine reads the same
tokens. `docs/format.md` has the sections byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sempic import container, protection, runtime
from sempic.codecs import generated
from sempic.codecs.base import Codec, Contents, Decoded, Part, Writer
from sempic.codecs.generated import CELL, MAP_FACTORS, SentMap, Weights, grid_size, match_colours, to_pixels
from sempic.coding import grid, palette
from sempic.coding import segmap as segmap_coder
from sempic.coding.denoise import denoise
from sempic.coding.resample import enlarge, shrink
from sempic.container import Header, Section, Stream
from sempic.errors import InputError, StreamError
from sempic.taxonomy import VOID, Taxonomy

MODEL = "sqgan-camvid11"
WINDOW = 8
"""The decoder networks see grids whose sides are multiples of this."""
MAX_STEPS = 1024
TOKENS_A_BAND, MAX_BANDS = 256, 8
UNKNOWN_CLASS = 255

Array = NDArray[Any]


class SectionType(IntEnum):
    """The types of this codec's sections."""

    MAP = 1
    MAP_TOKENS = 2
    BAND = 3


PRIORITIES = {"sign": 0.6, "pedestrian": 0.6, "bicyclist": 0.6, "road": 0.4, "sky": 0.4}
"""Weights of classes (as `Settings.keep`) that are not named: what is small and rare goes first, what is plain last."""


@dataclass(frozen=True)
class Settings:
    """How to encode a picture with SQ-GAN.

    keep: weights of classes from 0 to 1, as "pedestrian=1,sky=0" or a mapping; tokens on classes above 0.5 are sent
        earlier, those below later: 1 before and 0 after everything at 0.5. Unnamed ones have those of `PRIORITIES`, or
        0.5.
    segmap: a segmap (uint8 H×W) that takes the place of the segmenter's.
    segmenter: an ONNX file that takes the place of the built-in segmenter.
    map: how the map travels: "full", "half", "quarter" or "eighth" size, coded losslessly, or "tokens".
    map_kept: with map="tokens", the share of the map's tokens that are sent, 0 to 1.
    denoise: how many cells of the map may change for each bit that this saves; 0 changes none.
    model: the model to encode with, by name, folder or address.
    """

    keep: str | Mapping[str, float] = ""
    segmap: Array | None = None
    segmenter: str | Path | None = None
    map: str = "quarter"
    map_kept: float = 0.7
    denoise: float = 0.0
    model: str = MODEL

    def __post_init__(self) -> None:
        generated.check_map(self.map, self.denoise, "tokens")
        if not 0 <= self.map_kept <= 1:
            raise InputError(f"The kept share of the map's tokens is {self.map_kept}; it must be from 0 to 1.")


class SqGan(Codec):
    """Masked vector quantisation with a map-conditioned GAN decoder."""

    name = "sqgan"
    id = 1
    Settings = Settings

    def analyse(self, image: NDArray[np.uint8], settings: Any) -> Writer:
        """Segment the picture, run the encoder and rank its tokens."""
        weights = _Weights.of(runtime.model(settings.model, self.name))
        keep = _keep_bias(settings.keep, weights.taxonomy)
        full = generated.segmented(image, weights.taxonomy, settings.segmap, settings.segmenter)
        rows, columns = grid_size(*image.shape[:2])
        if settings.map == "tokens":
            kind, factor = SectionType.MAP_TOKENS, 0
            coded_map, sent_map = _encode_map_tokens(weights, shrink(full, 4), rows, columns, settings.map_kept)
        else:
            kind, factor = SectionType.MAP, MAP_FACTORS[settings.map]
            tables = weights.map_tables(factor)
            sent_map = SentMap(denoise(shrink(full, factor), tables, settings.denoise), factor)
            coded_map = segmap_coder.encode(sent_map.small, tables)
        quarter = sent_map.quarter(rows, columns)
        padded = generated.padded(image)
        colours = palette.encode(palette.measure(padded, quarter, len(weights.taxonomy)), weights.palette_tables)
        first = Section(kind, bytes((factor, len(colours))) + colours + coded_map)
        one_hot = weights.one_hot(quarter)
        vectors, relevance = generated.run(
            weights.model.network("encoder"), rows, columns, image=generated.as_planes(padded), segmap=one_hot
        )
        shares = one_hot[0].reshape(-1, rows, 4, columns, 4).mean((2, 4))
        ranked = relevance[0] + np.tensordot(keep, shares, 1)
        header = Header(self.id, image.shape[1], image.shape[0], weights.model.card.fingerprint)
        tokens = _nearest(vectors, weights.codebook("image"))
        classes = shrink(quarter, 4)
        if kind == SectionType.MAP_TOKENS:  # a network drew that map, so nothing may be coded under it
            classes = np.full_like(classes, UNKNOWN_CLASS)
        return _SqGanWriter(header, first, tokens, ranked, classes, weights.grid_tables("image"))

    def decode(self, stream: Stream, options: Any) -> Decoded:
        """Read the map and all whole bands, and let the network draw the picture."""
        parsed = _Parsed(stream)
        weights, height, width = parsed.weights, stream.header.height, stream.header.width
        rows, columns = parsed.sent.shape
        codes = weights.codebook("image")[parsed.tokens].transpose(2, 0, 1) * parsed.sent
        quarter = parsed.map.quarter(rows, columns)
        padded_codes, padded_sent, padded_map = _whole_windows(codes, parsed.sent, quarter)
        picture = generated.draw(
            weights.model.network("decoder"),
            *padded_sent.shape[2:],
            codes=padded_codes,
            kept=padded_sent,
            layout=weights.layout(padded_map, parsed.palette),
        )
        picture = match_colours(picture[:, : rows * CELL, : columns * CELL], quarter, parsed.palette)
        pixels = to_pixels(picture, height, width)
        del picture  # for a large one's memory
        segmap = enlarge(parsed.map.small, parsed.map.factor, height, width)
        return Decoded(pixels, segmap, (*stream.warnings, *parsed.warnings))

    def describe(self, stream: Stream) -> Contents:
        """Name what each section holds, how the map travelled, how many tokens were sent, and in how many bytes.

        Among the details, `flat_bytes` is what mask and tokens would take at one bit a position and log2 of the
        codebook's size a token.
        """
        parsed = _Parsed(stream)
        first, *bands = stream.sections
        lossless = first.type == SectionType.MAP
        shape = "×".join(map(str, parsed.map.small.shape[::-1]))
        for_colours = 1 + first.payload[1]
        coloured = (parsed.palette[:, 0] != palette.ABSENT).sum()
        cells = f"{'lossless' if lossless else 'tokens'}, {shape} cells of {parsed.map.factor}×{parsed.map.factor}"
        parts = [
            Part("map", len(first.payload) - for_colours, cells),
            Part("palette", for_colours, f"mean colours of {coloured} classes"),
        ]
        for number, (band, count) in enumerate(zip(bands, parsed.band_counts, strict=False), 1):
            parts.append(Part(f"tokens, band {number}", len(band.payload), f"{count} of {parsed.sent.size} positions"))
        if unused := sum(len(band.payload) for band in bands[len(parsed.band_counts) :]):
            parts.append(Part("unused", unused, "sections that cannot be decoded"))
        sent, positions = int(parsed.sent.sum()), parsed.sent.size
        bits = int(np.log2(len(parsed.weights.codebook("image"))))
        detail = {
            "map": next(k for k, v in MAP_FACTORS.items() if v == parsed.map.factor) if lossless else "tokens",
            "tokens": sent,
            "positions": positions,
            "kept": round(sent / positions, 4),
            "token_bytes": sum(len(band.payload) for band in bands),
            "flat_bytes": -(-(bits * sent + positions) // 8),
        }
        return Contents(tuple(parts), tuple(parsed.warnings), detail)

    def model(self, header: Header) -> str:
        """Return the name of the model that the stream needs."""
        return runtime.model_by_fingerprint("sqgan", header.fingerprint).card.name


def sent_mask(data: bytes) -> NDArray[np.bool_]:
    """Return which tokens of a stream were sent, one bool for each 16×16 cell of the picture."""
    return _Parsed(protection.read(data)).sent


class _SqGanWriter(Writer):
    """Steps are numbers of tokens: none at the first step, all at the last."""

    def __init__(
        self, header: Header, first: Section, tokens: Array, relevance: Array, classes: Array, tables: grid.GridTables
    ) -> None:
        self.header, self.first, self.tokens, self.classes, self.tables = header, first, tokens, classes, tables
        self.pixels = header.width * header.height
        self.steps = min(tokens.size, MAX_STEPS) + 1
        rank = np.empty(tokens.size, np.int64)
        rank[np.argsort(-relevance, axis=None, kind="stable")] = np.arange(tokens.size)
        self.rank = rank.reshape(tokens.shape)

    def write(self, step: int) -> bytes:
        """Return the stream that sends the step's share of the tokens, the most relevant ones."""
        count = step * self.tokens.size // (self.steps - 1)
        bands = min(MAX_BANDS, -(-count // TOKENS_A_BAND))
        # The first byte of the first section also says how many bands follow, so that a cut stream is known as one.
        sections = [Section(self.first.type, bytes((self.first.payload[0] | bands << 4,)) + self.first.payload[1:])]
        for band in range(bands):
            begin, end = count * band // bands, count * (band + 1) // bands
            sent, chosen = self.rank < begin, (self.rank >= begin) & (self.rank < end)
            payload = grid.encode_band(self.tokens, chosen, sent, self.classes, self.tables)
            sections.append(Section(SectionType.BAND, payload))
        return container.write(self.header, sections)


class _Parsed:
    """A stream's sections as integers: the map, the palette, which tokens were sent, and the tokens."""

    def __init__(self, stream: Stream) -> None:
        header, (first, *bands) = stream.header, stream.sections
        self.weights = _Weights.of(runtime.model_by_fingerprint("sqgan", header.fingerprint))
        rows, columns = grid_size(header.height, header.width)
        if len(first.payload) < 2 or len(first.payload) < 2 + first.payload[1]:
            raise StreamError("The stream's map is too short.")
        promised, how, map_at = first.payload[0] >> 4, first.payload[0] & 15, 2 + first.payload[1]
        self.palette = palette.decode(first.payload[2:map_at], self.weights.palette_tables)
        coded_map = first.payload[map_at:]
        classes = np.full((rows, columns), UNKNOWN_CLASS, np.uint8)
        if first.type == SectionType.MAP and how in MAP_FACTORS.values():
            size = -(-header.height // how), -(-header.width // how)
            self.map = SentMap(segmap_coder.decode(coded_map, *size, self.weights.map_tables(how)), how)
            classes = shrink(self.map.quarter(rows, columns), 4)
        elif first.type == SectionType.MAP_TOKENS:
            self.map = _decode_map_tokens(self.weights, coded_map, header.height, header.width)
        else:
            raise StreamError(f"The stream does not start with a map, but with a section of type {first.type}.")
        self.sent = np.zeros((rows, columns), np.bool_)
        self.tokens = np.zeros((rows, columns), np.int32)
        self.band_counts: list[int] = []
        self.warnings: list[str] = []
        tables = self.weights.grid_tables("image")
        for band in bands[:promised]:
            try:
                if band.type != SectionType.BAND:
                    raise StreamError(f"its type is {band.type}, which this release does not know")
                chosen, self.tokens = grid.decode_band(band.payload, self.tokens, self.sent, classes, tables)
            except StreamError as error:
                self.warnings.append(f"Band {len(self.band_counts) + 1} and all after it cannot be used: {error}.")
                break
            self.sent = self.sent | chosen
            self.band_counts.append(int(chosen.sum()))
        if len(self.band_counts) < promised and not stream.warnings and not self.warnings:
            self.warnings.append(f"The stream ends after {len(self.band_counts)} of {promised} bands: it was cut.")
        if len(bands) > promised:
            self.warnings.append(f"The stream has {len(bands) - promised} sections more than its map announces.")


class _Weights(Weights):
    """Weights with the codebooks and coding tables of tokens."""

    def codebook(self, stream: str) -> Array:
        """Return the codes (n×D float32) of the "image" or "map" stream."""
        return self.model.tables[f"{stream}.codebook"].astype(np.float32)

    def grid_tables(self, stream: str) -> grid.GridTables:
        """Return the coding tables of the "image" or "map" stream."""
        return self.built(f"{stream}.grid.", grid.GridTables.from_arrays)


def _encode_map_tokens(
    weights: _Weights, quarter: Array, rows: int, columns: int, kept: float
) -> tuple[bytes, SentMap]:
    """Code the map as its own masked tokens (G_s); return the bytes, and the map that the decoder will see."""
    missing = (0, 4 * rows - quarter.shape[0]), (0, 4 * columns - quarter.shape[1])
    one_hot = weights.one_hot(np.pad(quarter, missing, mode="edge"))
    vectors, relevance = generated.run(weights.model.network("map_encoder"), rows, columns, segmap=one_hot)
    tokens = _nearest(vectors, weights.codebook("map"))
    order = np.argsort(-relevance[0], axis=None, kind="stable")
    chosen = np.zeros(tokens.shape, np.bool_)
    chosen.reshape(-1)[order[: int(kept * tokens.size)]] = True
    unknown = np.full(tokens.shape, UNKNOWN_CLASS, np.uint8)
    payload = grid.encode_band(tokens, chosen, np.zeros_like(chosen), unknown, weights.grid_tables("map"))
    return payload, _draw_map(weights, tokens, chosen, *quarter.shape)


def _decode_map_tokens(weights: _Weights, payload: bytes, height: int, width: int) -> SentMap:
    rows, columns = grid_size(height, width)
    nothing = np.zeros((rows, columns), np.int32)
    unknown = np.full((rows, columns), UNKNOWN_CLASS, np.uint8)
    sent, tokens = grid.decode_band(payload, nothing, nothing > 0, unknown, weights.grid_tables("map"))
    return _draw_map(weights, tokens, sent, -(-height // 4), -(-width // 4))


def _draw_map(weights: _Weights, tokens: Array, sent: Array, height: int, width: int) -> SentMap:
    """Run D_s: the map's tokens to ids of height×width cells."""
    codes = weights.codebook("map")[tokens].transpose(2, 0, 1) * sent
    padded_codes, padded_sent, _ = _whole_windows(codes, sent, np.zeros((1, 1)))
    network = weights.model.network("map_decoder")
    (logits,) = generated.run(network, *padded_sent.shape[2:], codes=padded_codes, kept=padded_sent)
    ids = logits[:, :height, :width].argmax(0)
    return SentMap(np.where(ids == len(weights.taxonomy), VOID, ids).astype(np.uint8), 4)


def _whole_windows(codes: Array, sent: Array, quarter: Array) -> tuple[Array, Array, Array]:
    """Pad codes (D×h×w), mask (h×w) and map (4h×4w) to whole windows, as the decoder networks take them."""
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
