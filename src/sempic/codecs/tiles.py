"""Networks on pictures of any size: the grid under a picture, and tiles where it is large."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import runtime

CELL = 16
"""A place of the networks' grid stands for 16×16 pixels, a cell of their segmap for 4×4."""
TILE, OVERLAP = 48, 8
"""Larger grids are drawn in tiles of so many places a side; both are multiples of every network's own window."""

Array = NDArray[Any]
Progress = Callable[[int, int], None]


def grid_size(height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns of the grid under a picture."""
    return -(-height // CELL), -(-width // CELL)


def padded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture (H×W×3) with its edges repeated up to the whole grid."""
    rows, columns = grid_size(*image.shape[:2])
    return np.pad(image, ((0, rows * CELL - image.shape[0]), (0, columns * CELL - image.shape[1]), (0, 0)), "edge")


def cell_means(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the mean colours (h×w×3) of the cells of 4×4 pixels of a picture (4h×4w×3)."""
    height, width, _ = image.shape
    rows = image.reshape(height // 4, 4, width, 3).sum(1, dtype=np.uint16)
    sums: NDArray[np.float32] = rows.reshape(height // 4, width // 4, 4, 3).sum(2, dtype=np.uint16).astype(np.float32)
    sums /= 16
    return sums


def as_planes(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture as 1×3×H×W."""
    return image.transpose(2, 0, 1)[None]


def as_input(planes: Array) -> Array:
    """Return planes as networks take them: uint8 in [0,1], others as they are."""
    return planes.astype(np.float32) / np.float32(255) if planes.dtype == np.uint8 else planes


def blend_tiled(
    network: runtime.Network, rows: int, columns: int, *, progress: Progress | None = None, **inputs: Array
) -> Array:
    """Run a drawing network on a grid of rows×columns → 3×16·rows×16·columns float32.

    Planes among the inputs (1×C×k·rows×k·columns) are cut up where the grid is large: it is drawn in overlapping tiles,
    which bounds the memory. `progress` is called with the number of tiles drawn and the number there are.
    """
    tiles, drawn = len(_windows(rows)) * len(_windows(columns)), count(1)
    total = np.zeros((3, CELL * rows, CELL * columns), np.float32)
    weight = np.zeros((0, total.shape[2]), np.float32)  # of the pixels that have some, but not yet all of it
    for down in _windows(rows):
        weight = np.pad(weight, ((0, CELL * (down.stop - down.start) - len(weight)), (0, 0)))
        for right in _windows(columns):
            cut = {name: _cut(x, down, right, x.shape[2] // rows) for name, x in inputs.items() if x.ndim == 4}
            (tile,) = network.run(**inputs | cut)
            share = np.minimum.outer(_ramp(tile.shape[2]), _ramp(tile.shape[3]))
            _cut(total, down, right, CELL)[...] += tile[0] * share
            if progress:
                progress(next(drawn), tiles)
            weight[:, CELL * right.start : CELL * right.stop] += share
        done = len(weight) if down.stop == rows else CELL * (TILE - OVERLAP)
        total[:, CELL * down.start :][:, :done] /= weight[:done]
        weight = weight[done:]
    return total


def run_tiled(network: runtime.Network, rows: int, columns: int, **inputs: Array) -> list[NDArray[np.float32]]:
    """Run a network on a grid of rows×columns → its outputs, each C×k·rows×k·columns.

    Inputs are planes (1×C×k·rows×k·columns), of which those in uint8 are a picture's. Where the grid is large, they are
    cut up as in `blend_tiled`, but each place is taken from the tile in which it lies further inside.
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
