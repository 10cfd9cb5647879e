"""Pictures that a network draws from a map of the scene: what `sqgan`, `layered` and `spic` share.

All send the map first. The first two send the mean colour of every class with it, and hand the drawing network a
layout: what is known of each cell of 4×4 pixels. What else the network gets is each codec's own affair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import runtime
from sempic.coding import palette
from sempic.coding import segmap as segmap_coder
from sempic.coding.resample import shrink
from sempic.errors import InputError, ModelError
from sempic.segment import check_segmap, segment
from sempic.taxonomy import TAXONOMIES, Taxonomy

if TYPE_CHECKING:
    from typing_extensions import Self

CELL = 16
"""A place of the networks' grid stands for 16×16 pixels, a cell of their map for 4×4."""
TILE, OVERLAP = 48, 8
"""Larger grids are drawn in tiles of so many places a side; both are multiples of every network's own window."""
MAP_FACTORS = {"full": 1, "half": 2, "quarter": 4, "eighth": 8}
"""How much smaller than the picture a losslessly coded map is, by the name of the setting."""

Array = NDArray[Any]
_Tables = TypeVar("_Tables")


@dataclass(frozen=True)
class SentMap:
    """The map as both sides have it: `small` as it travelled (and its factor), and as the networks take it."""

    small: Array
    factor: int

    def quarter(self, rows: int, columns: int) -> Array:
        """Return the map of 4×4 cells for a grid of rows×columns places, edges repeated beyond the picture."""
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

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The classes that the model knows."""
        return TAXONOMIES[self.model.card.taxonomy]

    def map_tables(self, factor: int) -> segmap_coder.SegmapTables:
        """Return the coding tables for maps shrunk by a factor."""
        return self.built(f"segmap{factor}.", segmap_coder.SegmapTables.from_arrays)

    @cached_property
    def palette_tables(self) -> palette.PaletteTables:
        """The coding tables of mean colours."""
        return palette.PaletteTables.from_arrays(self.tables("palette."))

    def built(self, prefix: str, make: Callable[[dict[str, Array]], _Tables]) -> _Tables:
        """Return what `make` makes of the model's arrays under a prefix; it is called once."""
        if prefix not in self._built:
            self._built[prefix] = make(self.tables(prefix))
        tables: _Tables = self._built[prefix]
        return tables

    def tables(self, prefix: str) -> dict[str, Array]:
        """Return the model's arrays under a prefix, which they lose; raise `ModelError` where there are none."""
        found = {k.removeprefix(prefix): v for k, v in self.model.tables.items() if k.startswith(prefix)}
        if not found:
            raise ModelError(f"The model {self.model.card.name} has no tables '{prefix}'.")
        return found

    def layout(self, quarter: Array, levels: Array) -> Array:
        """Return what the network knows of each cell besides what the codec sends: class, its colour, noise."""
        one_hot = self.one_hot(quarter)
        colours = np.tensordot(palette.colours(levels).T - np.float32(0.5), one_hot[0], 1)
        return np.concatenate([one_hot, colours[None], noise(*quarter.shape)[None, None]], 1)

    def one_hot(self, ids: Array) -> Array:
        """Return h×w ids as 1×classes×h×w float32; void is all zeros."""
        return np.equal(ids, np.arange(len(self.taxonomy))[:, None, None])[None].astype(np.float32)


def check_map(name: str, strength: float, *others: str) -> None:
    """Raise `InputError` unless a map can travel so (or in one of a codec's other ways) and be denoised so much."""
    if name not in (*MAP_FACTORS, *others):
        *first, last = *MAP_FACTORS, *others
        raise InputError(f"The map can travel as {', '.join(first)} or {last}, not as '{name}'.")
    if not strength >= 0:
        raise InputError(f"The strength of denoising is {strength}; it must be 0 or more.")


def segmented(
    image: NDArray[np.uint8], taxonomy: Taxonomy, segmap: Array | None, segmenter: str | Path | None
) -> Array:
    """Return a picture's full-size map: the one that was handed in, or a segmenter's."""
    if segmap is not None:
        return check_segmap(segmap, image, taxonomy)
    return segment(image, taxonomy, Path(segmenter) if segmenter else None)


def grid_size(height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns of the grid under a picture."""
    return -(-height // CELL), -(-width // CELL)


def padded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture (H×W×3) with its edges repeated up to the whole grid."""
    rows, columns = grid_size(*image.shape[:2])
    return np.pad(image, ((0, rows * CELL - image.shape[0]), (0, columns * CELL - image.shape[1]), (0, 0)), "edge")


def as_planes(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture as 1×3×H×W."""
    return image.transpose(2, 0, 1)[None]


def as_input(planes: Array) -> Array:
    """Return planes as networks take them: uint8 in [0,1], others as they are."""
    return planes.astype(np.float32) / np.float32(255) if planes.dtype == np.uint8 else planes


def noise(height: int, width: int) -> NDArray[np.float32]:
    """Return noise of variance 1, a hash of each cell's place, so that every decoder draws the same picture."""
    mixed = np.add.outer(np.arange(height) * 0x9E3779B1, np.arange(width) * 0x85EBCA6B).astype(np.uint32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    mixed ^= mixed >> np.uint32(16)
    return (mixed * (2.0**-31) - 1).astype(np.float32) * np.float32(3**0.5)


def draw(network: runtime.Network, rows: int, columns: int, **inputs: Array) -> Array:
    """Run a drawing network on a grid of rows×columns → 3×16·rows×16·columns float32.

    Planes among the inputs (1×C×k·rows×k·columns) are cut up where the grid is large: it is drawn in overlapping tiles,
    which bounds the memory.
    """
    total = np.zeros((3, CELL * rows, CELL * columns), np.float32)
    weight = np.zeros((0, total.shape[2]), np.float32)  # of the pixels that have some, but not yet all of it
    for down in _windows(rows):
        weight = np.pad(weight, ((0, CELL * (down.stop - down.start) - len(weight)), (0, 0)))
        for right in _windows(columns):
            cut = {name: _cut(x, down, right, x.shape[2] // rows) for name, x in inputs.items() if x.ndim == 4}
            (tile,) = network.run(**inputs | cut)
            share = np.minimum.outer(_ramp(tile.shape[2]), _ramp(tile.shape[3]))
            _cut(total, down, right, CELL)[...] += tile[0] * share
            weight[:, CELL * right.start : CELL * right.stop] += share
        done = len(weight) if down.stop == rows else CELL * (TILE - OVERLAP)
        total[:, CELL * down.start :][:, :done] /= weight[:done]
        weight = weight[done:]
    return total


def run(network: runtime.Network, rows: int, columns: int, **inputs: Array) -> list[NDArray[np.float32]]:
    """Run any other network on a grid of rows×columns → its outputs, each C×k·rows×k·columns.

    Inputs are planes (1×C×k·rows×k·columns), of which those in uint8 are a picture's. Where the grid is large, they are
    cut up as in `draw`, and each place is taken from the tile in which it lies further inside.
    """
    found: list[NDArray[np.float32]] = []
    for down in _windows(rows):
        for right in _windows(columns):
            tiles = network.run(
                **{name: as_input(_cut(x, down, right, x.shape[2] // rows)) for name, x in inputs.items()}
            )
            scales = [tile.shape[2] // (down.stop - down.start) for tile in tiles]
            if not found:
                found = [
                    np.empty((x.shape[1], k * rows, k * columns), np.float32)
                    for x, k in zip(tiles, scales, strict=True)
                ]
            top, left = (OVERLAP // 2 if axis.start else 0 for axis in (down, right))
            for whole, tile, k in zip(found, tiles, scales, strict=True):
                _cut(whole, down, right, k)[:, k * top :, k * left :] = tile[0, :, k * top :, k * left :]
    return found


def _windows(length: int) -> list[slice]:
    """Return the parts of one side of a grid that are handed to a network at a time."""
    return [slice(start, min(start + TILE, length)) for start in range(0, max(length - OVERLAP, 1), TILE - OVERLAP)]


def _cut(plane: Array, down: slice, right: slice, scale: int) -> Array:
    """Return the part of planes (…×k·rows×k·columns) under a window of the grid."""
    return plane[..., scale * down.start : scale * down.stop, scale * right.start : scale * right.stop]


def _ramp(length: int) -> NDArray[np.float32]:
    """Return weights that rise over the overlap of two tiles, from both ends."""
    rising = np.arange(1, length + 1, dtype=np.float32)
    return np.minimum(np.minimum(rising, rising[::-1]), CELL * OVERLAP)


def match_colours(picture: Array, quarter: Array, levels: Array) -> Array:
    """Shift each class of a drawn picture (3×H×W) to the mean colour sent, smoothly across borders; in place.

    What was drawn past white or black is clipped first: it was meant to be flat there, and is to stay so.
    """
    picture.clip(0, 1, out=picture)
    shifts = palette.colours(levels) - palette.means(picture.transpose(1, 2, 0), quarter, len(levels))
    shifts[np.isnan(shifts) | (levels[:, :1] == palette.ABSENT)] = 0
    planes = np.pad(shifts, ((0, 256 - len(shifts)), (0, 0)))[quarter].astype(np.float32)
    for plane, shift in zip(picture, planes.transpose(2, 0, 1), strict=True):  # one by one, for a large one's memory
        plane += enlarged(shift[None], *plane.shape)[0]
    return picture


def enlarged(planes: Array, height: int, width: int) -> NDArray[np.float32]:
    """Return float32 planes (C×h×w) as C×height×width by bilinear interpolation, extent to extent."""
    wide = np.empty((len(planes), height, width), np.float32)
    for plane, out in zip(planes, wide, strict=True):
        out[...] = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
    return wide


def to_pixels(picture: Array, height: int, width: int) -> NDArray[np.uint8]:
    """Return the top left of a drawn picture (3×H×W) as uint8 height×width×3."""
    pixels = np.empty((height, width, 3), np.uint8)
    for channel, plane in enumerate(picture[:, :height, :width]):
        pixels[..., channel] = plane.clip(0, 1) * 255 + 0.5
    return pixels
