"""Objects of a segmap: the connected pieces of classes whose things have colours of their own, such as cars and signs.

Encoder and decoder find them in the same segmap, so nothing about their places is sent.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_CELLS = 6
"""A piece of fewer cells is no object."""


@dataclass(frozen=True)
class Objects:
    """The objects of a segmap, in the order of their first cells.

    places: int32 h×w: the number of the object in each cell, from 1; 0 where there is none.
    classes: n class ids.
    boxes: n×4: top, left, height and width of each, in cells.
    """

    places: NDArray[np.int32]
    classes: NDArray[np.uint8]
    boxes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)


def find(cells: NDArray[np.uint8], classes: Collection[int]) -> Objects:
    """Return the objects of some classes in a segmap (h×w ids): pieces of equal class that touch along an edge."""
    roots = _roots(cells, np.isin(cells, list(classes)))
    found, sizes = np.unique(roots[roots >= 0], return_counts=True)
    found = found[sizes >= MIN_CELLS]  # a piece's root is its first cell, so these are in order
    numbers = np.zeros(cells.size + 1, np.int32)
    numbers[found] = np.arange(1, len(found) + 1)
    places = numbers[roots].reshape(cells.shape)
    return Objects(places, cells.reshape(-1)[found], _boxes(places, len(found)))


def _roots(cells: NDArray[np.uint8], wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each cell (flat) the first cell of its piece; -1 for cells that are not wanted."""
    index = np.arange(cells.size).reshape(cells.shape)
    right = wanted[:, :-1] & (cells[:, :-1] == cells[:, 1:])
    down = wanted[:-1] & (cells[:-1] == cells[1:])
    one = np.concatenate([index[:, :-1][right], index[:-1][down]])
    other = np.concatenate([index[:, 1:][right], index[1:][down]])
    root = np.arange(cells.size)
    while len(one):  # union by the smaller root, then every cell points at its root again
        low, high = np.minimum(root[one], root[other]), np.maximum(root[one], root[other])
        differ = low != high
        one, other = one[differ], other[differ]
        np.minimum.at(root, high[differ], low[differ])
        while not np.array_equal(root, above := root[root]):
            root = above
    return np.where(wanted.reshape(-1), root, -1)


def _boxes(places: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    rows, columns = np.nonzero(places)
    numbers = places[rows, columns] - 1
    low, high = np.full((count, 2), max(places.shape)), np.full((count, 2), -1)
    for axis, values in enumerate((rows, columns)):
        np.minimum.at(low[:, axis], numbers, values)
        np.maximum.at(high[:, axis], numbers, values)
    return np.concatenate([low, high - low + 1], 1)
