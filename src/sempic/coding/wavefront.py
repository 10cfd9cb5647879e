"""The wavefront: cells of equal 2*row + column, which a causal context lets us code together.

A cell's context holds only cells (row + dr, column + dc) with 2*dr + dc < 0, such as W, NW, N and NE; so all cells
of one diagonal are coded in one call. Planes are padded, so that a context is one sum of flat indices and offsets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
_Cell = TypeVar("_Cell", bound=np.generic)

MARGIN = 8
"""Cells of padding on every side of a plane: the reach of a context."""


def padded(plane: NDArray[np.integer], outside: int) -> NDArray[np.uint8]:
    """Return an h×w plane of values 0..255 with `MARGIN` cells of `outside` around it."""
    return np.pad(plane.astype(np.uint8), MARGIN, constant_values=outside)


def interior(plane: NDArray[_Cell]) -> NDArray[_Cell]:
    """Return the h×w view inside the padding."""
    return plane[MARGIN:-MARGIN, MARGIN:-MARGIN]


def steps(neighbours: tuple[tuple[int, int], ...], width: int) -> Index:
    """Return the (row, column) neighbours as offsets into a flat padded plane."""
    return np.array([row * (width + 2 * MARGIN) + column for row, column in neighbours], np.int64)


def diagonals(height: int, width: int, at_least: int = 1) -> Iterator[Index]:
    """Yield the flat indices (into a padded plane) of one diagonal after another, top row first.

    With `at_least`, several diagonals come as one array of at least that many cells: for the encoder, which knows all.
    """
    stride = width + 2 * MARGIN
    origin = MARGIN * stride + MARGIN
    batch: list[Index] = []
    size = 0
    for diagonal in range(2 * (height - 1) + width):
        top, bottom = max(0, (diagonal - width + 2) // 2), min(height - 1, diagonal // 2)
        start = origin + diagonal
        batch.append(np.arange(start + (stride - 2) * top, start + (stride - 2) * bottom + 1, stride - 2))
        size += bottom + 1 - top
        if size >= at_least:
            yield np.concatenate(batch) if len(batch) > 1 else batch[0]
            batch, size = [], 0
    if size:
        yield np.concatenate(batch)


def places(height: int, width: int, parts: int) -> NDArray[np.uint8]:
    """Return a flat padded plane of where in the picture a cell lies: parts · row part + column part.

    Height and width are each divided into `parts` (at most 16) equal parts.
    """
    rows, columns = np.arange(height) * parts // height, np.arange(width) * parts // width
    return padded(parts * rows[:, None] + columns, 0).reshape(-1)
