"""Lossless coding of segmaps: H×W class ids under a learnt integer context model.

Most pixels lie inside a region: all their neighbours are alike, and a table by class and place gives their
frequencies. The others, along borders, are left to a small integer network. Its features are two dozen neighbours,
the place in the picture, and which classes have occurred so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sempic.coding import net, ranges
from sempic.coding.wavefront import MARGIN, Index, diagonals, interior, padded, places, steps
from sempic.errors import InputError
from sempic.taxonomy import VOID

Segmap = NDArray[np.uint8]
Plane = NDArray[np.uint8]
Context = tuple[Plane, Plane, NDArray[np.bool_]]
"""What is known of n pixels before they are coded; see `SegmapTables.frequencies`."""

_NEIGHBOURS = (
    *((0, column) for column in (-1, -2, -3, -4, -6)),
    *((-1, column) for column in (-4, -3, -2, -1, 0, 1)),
    *((-2, column) for column in (-4, -2, -1, 0, 1, 2, 3)),
    *((-3, column) for column in (-3, 0, 2, 4, 5)),
    *((-4, column) for column in (-2, 2, 7)),
    *((-6, column) for column in (-5, 0, 6)),
)
PARTS = 16
"""The picture is divided into so many rows and columns of places."""
_PLACES = PARTS * PARTS
_BATCH = 1 << 14  # cells that the encoder looks at together: bounds its memory


@dataclass(frozen=True)
class SegmapTables:
    """The parameters of the context model of segmaps, which coder and decoder share."""

    n_classes: int
    inside: NDArray[np.uint16]
    """(n+1)×16×16×(n+1): counts of symbols by the class all neighbours share and by place."""
    border: net.IntegerNet
    """Frequencies of the symbols where neighbours differ."""

    def arrays(self) -> dict[str, NDArray[np.integer]]:
        """Return the tables by name, for `numpy.savez_compressed`."""
        return {"inside": self.inside, **self.border.arrays("border_")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.integer]]) -> SegmapTables:
        """Return the tables that `arrays` described."""
        inside = arrays["inside"].astype(np.uint16)
        return cls(inside.shape[-1] - 1, inside, net.IntegerNet.from_arrays(arrays, "border_"))

    @cached_property
    def _inside(self) -> NDArray[np.int32]:
        """Frequencies by row of `inside`: row = shared class * 256 + place."""
        return ranges.normalise(self.inside.reshape(-1, self.n_classes + 1).astype(np.int64)).astype(np.int32)

    def frequencies(self, near: Plane, place: Plane, seen: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Return n×(n_classes+1) frequencies for n pixels.

        Given are the symbols of the neighbours (29×n), the place (n; see `places`) and, as n×symbols or one row
        for all, whether a symbol was seen on an earlier diagonal.
        """
        rows = near[0].astype(np.int64) * _PLACES + place
        frequencies: NDArray[np.int32] = np.take(self._inside, rows, axis=0, mode="clip")  # "outside" has no row
        border = borders(near, self.n_classes)
        if len(border):
            inputs = features(near[:, border], place[border], seen if len(seen) == 1 else seen[border])
            frequencies[border] = self.border.frequencies(inputs)
        return frequencies


def encode(segmap: Segmap, tables: SegmapTables) -> bytes:
    """Return the segmap (H×W, ids 0..n_classes-1 or 255) as bytes; raise `InputError` at an id beyond the classes."""
    coded = contexts(segmap, tables.n_classes)
    return ranges.encode((symbols, tables.frequencies(*context)) for _, symbols, context in coded)


def decode(data: bytes, height: int, width: int, tables: SegmapTables) -> Segmap:
    """Return the height×width segmap that `encode` wrote; raise `StreamError` where the data fits none."""
    n_classes = tables.n_classes
    plane = padded(np.zeros((height, width), np.uint8), n_classes + 1)
    flat, offsets, place = plane.reshape(-1), steps(_NEIGHBOURS, width), places(height, width, PARTS)
    seen = np.zeros((1, n_classes + 1), np.bool_)
    decoder = ranges.Decoder(data)
    for cells in diagonals(height, width):
        symbols = decoder.decode(tables.frequencies(flat[offsets[:, None] + cells], place[cells], seen))
        flat[cells] = symbols
        seen[0, symbols] = True
    segmap = interior(plane).copy()
    segmap[segmap == n_classes] = VOID
    return segmap


def bits(segmap: Segmap, tables: SegmapTables, among: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return the information of each pixel (H×W, in bits) under the tables: what it takes in `encode`.

    Where a mask (H×W) says so, it is worked out for the pixels in it alone, and is 0 elsewhere.
    """
    information = padded(np.zeros(segmap.shape, np.uint8), 0).astype(np.float64)
    for cells, symbols, context in contexts(segmap, tables.n_classes, among):
        chosen = tables.frequencies(*context)[np.arange(len(symbols)), symbols]
        information.reshape(-1)[cells] = -np.log2(chosen / ranges.TOTAL)
    return interior(information)


def _symbols(segmap: Segmap, n_classes: int) -> Segmap:
    """Return the segmap with void as symbol n_classes."""
    if segmap.ndim != 2 or segmap.dtype != np.uint8 or segmap.size == 0:
        raise InputError("A segmap must be a non-empty H×W array of uint8 class ids.")
    if np.any((segmap >= n_classes) & (segmap != VOID)):
        raise InputError(f"The segmap holds class ids beyond the {n_classes} classes of the coding tables.")
    return np.minimum(segmap, n_classes).astype(np.uint8)


def contexts(
    segmap: Segmap, n_classes: int, among: NDArray[np.bool_] | None = None
) -> Iterator[tuple[Index, Plane, Context]]:
    """Yield the places in a padded plane, symbols and contexts of batches of pixels, in coding order.

    Args:
        segmap: uint8 H×W, ids 0..n_classes-1 or 255, which is symbol n_classes.
        among: bool H×W, the pixels to look at; all of them if left out.

    Raises:
        InputError: an id is beyond the classes.
    """
    symbols = _symbols(segmap, n_classes)
    height, width = symbols.shape
    plane = padded(symbols, n_classes + 1)
    flat, offsets, place = plane.reshape(-1), steps(_NEIGHBOURS, width), places(height, width, PARTS)
    first_seen = [_first_diagonal(symbols == symbol) for symbol in range(n_classes + 1)]
    chosen = None if among is None else padded(among.view(np.uint8), 0).reshape(-1) > 0
    for batch in diagonals(height, width, at_least=_BATCH):
        cells = batch if chosen is None else batch[chosen[batch]]
        row, column = np.divmod(cells, plane.shape[1])
        seen = (2 * (row - MARGIN) + column - MARGIN)[:, None] > np.array(first_seen)
        yield cells, flat[cells], (flat[offsets[:, None] + cells], place[cells], seen)


def _first_diagonal(present: NDArray[np.bool_]) -> int:
    """Return the first diagonal on which a symbol is present, or one beyond all."""
    rows = np.flatnonzero(present.any(axis=1))
    return int((2 * rows + present[rows].argmax(axis=1)).min(initial=2 * sum(present.shape)))


def borders(near: Plane, n_classes: int) -> Index:
    """Return which pixels do not have all neighbours inside the segmap and of one class: those left to the network."""
    return np.flatnonzero((near != near[0]).any(axis=0) | (near[0] > n_classes))


def features(near: Plane, place: Plane, seen: NDArray[np.bool_]) -> Plane:
    """Return n×f features for the network; `feature_sizes` has their numbers of values."""
    n_near, n = near.shape
    features = np.empty((n, n_near + 2 + seen.shape[1]), np.uint8)
    features[:, :n_near] = near.T
    features[:, n_near], features[:, n_near + 1] = np.divmod(place, PARTS)
    features[:, n_near + 2 :] = seen
    return features


def feature_sizes(n_classes: int) -> list[int]:
    """Return the number of values of each feature of the network."""
    return [n_classes + 2] * len(_NEIGHBOURS) + [PARTS] * 2 + [2] * (n_classes + 1)
