"""Removing from a segmap what costs more bits than it carries: specks, notches, jagged borders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sempic.coding.segmap import Segmap, SegmapTables, bits
from sempic.coding.wavefront import Index
from sempic.errors import InputError

_TILE = 8  # one change is tried in each tile at a time, so that its effect can be measured apart from that of others
_REACH = 3  # how far from a change its effect on the cost of other pixels is counted


def simplify(segmap: Segmap, tables: SegmapTables, strength: float) -> Segmap:
    """Return a segmap (HxW) that costs fewer bits under the tables.

    `strength` is the number of pixels that may change for each bit saved: 0 changes nothing, 0.5 mends flaws, 2
    simplifies. Blocks of 2x2 and single pixels are filled with the class that surrounds them where that pays.
    """
    if strength < 0:
        raise InputError("The strength of simplifying must not be negative.")
    for size in (2, 1) if strength else ():
        segmap = _sweep(segmap, tables, strength, size)
    return segmap


def _sweep(segmap: Segmap, tables: SegmapTables, strength: float, size: int) -> Segmap:
    """Try to fill each size x size block with the class most common in and around it."""
    if min(segmap.shape) < size:
        return segmap
    filling, n_changed = _fillings(segmap, size)
    result, cost = segmap.copy(), bits(segmap, tables)
    rows, columns = np.nonzero((n_changed > 0) & (_window_sum(cost, size) * strength > n_changed))
    tile = rows // _TILE * segmap.shape[1] + columns // _TILE
    order = np.argsort(tile, kind="stable")
    turn = np.empty_like(order)
    turn[order] = np.arange(len(order)) - np.searchsorted(tile[order], tile[order])
    within, near = np.arange(size), np.arange(-_REACH, size + _REACH)
    for now in range(turn.max(initial=-1) + 1):
        at = rows[turn == now], columns[turn == now]
        trial = result.copy()
        trial[_blocks(at, within, within, trial)] = filling[at][:, None, None]
        seen = np.zeros(trial.shape, np.bool_)
        seen[_blocks(at, near[_REACH:], near, trial)] = True
        trial_cost = np.where(seen, bits(trial, tables, among=seen), cost)
        pays = _window_sum(cost - trial_cost, size)[at] * strength > n_changed[at]
        paying = at[0][pays], at[1][pays]
        changed = _blocks(paying, within, within, trial)
        result[changed] = trial[changed]
        touched = _blocks(paying, near[_REACH:], near, trial)
        cost[touched] = trial_cost[touched]
    return result


def _blocks(at: tuple[Index, Index], rows: Index, columns: Index, plane: Segmap) -> tuple[Index, Index]:
    """Return the (row, column) indices, n x rows x columns, of pixels relative to n places, clipped to the plane."""
    return (
        np.minimum(at[0][:, None, None] + rows[:, None], plane.shape[0] - 1),
        np.clip(at[1][:, None, None] + columns, 0, plane.shape[1] - 1),
    )


def _fillings(segmap: Segmap, size: int) -> tuple[Segmap, NDArray[np.float64]]:
    """Return for each block (by its first pixel) the class most common in and around it and how many pixels differ."""
    shape = (segmap.shape[0] - size + 1, segmap.shape[1] - size + 1)
    best, filling, n_changed = np.zeros(shape), np.zeros(shape, np.uint8), np.zeros(shape)
    for label in np.unique(segmap):
        present = segmap == label
        around = _box_sum(np.pad(present, 1), size + 2, size + 2)
        better = around > best
        best[better], filling[better] = around[better], label
        n_changed[better] = size * size - _box_sum(present, size, size)[better]
    return filling, n_changed


def _window_sum(plane: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the sum over the pixels whose cost a block changes: itself, those below and beside it."""
    return _box_sum(np.pad(plane, ((0, _REACH), (_REACH, _REACH))), size + _REACH, size + 2 * _REACH)


def _box_sum(plane: NDArray[np.bool_] | NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Return the sums over all height x width boxes inside the plane."""
    sums = np.pad(plane.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    columns = sums[height:] - sums[:-height]
    boxes: NDArray[np.float64] = columns[:, width:] - columns[:, :-width]
    return boxes
