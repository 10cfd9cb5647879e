"""Segmaps smaller, larger and smoother."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sempic.errors import InputError
from sempic.taxonomy import VOID

Segmap = NDArray[np.uint8]


def shrink(segmap: Segmap, factor: int) -> Segmap:
    """Return the ceil(H/factor) x ceil(W/factor) segmap of the majority class in each factor x factor cell.

    A cell at the edge counts the pixels it has; of equal counts the lower id wins, void (255) last.
    """
    if factor < 1:
        raise InputError(f"A segmap cannot be shrunk by a factor of {factor}.")
    best_count = np.zeros((-(-segmap.shape[0] // factor), -(-segmap.shape[1] // factor)), np.int64)
    small = np.full(best_count.shape, VOID, np.uint8)
    for label in np.unique(segmap):
        rows = np.add.reduceat(segmap == label, np.arange(0, segmap.shape[0], factor), axis=0, dtype=np.int32)
        count = np.add.reduceat(rows, np.arange(0, segmap.shape[1], factor), axis=1)
        better = count > best_count
        small[better], best_count[better] = label, count[better]
    return small


def enlarge(segmap: Segmap, factor: int, height: int, width: int) -> Segmap:
    """Return the height x width segmap whose `shrink` by `factor` this may be, with smooth borders.

    Each class's cells are softened with (1, 6, 1) / 8 both ways, which leaves the class at a cell's centre as it is,
    then interpolated bilinearly, all in integers, and the strongest class wins (the lower id of equals). Raise
    `InputError` where the segmap is not ceil(height/factor) x ceil(width/factor).
    """
    if factor < 1 or segmap.shape != (-(-height // factor), -(-width // factor)):
        raise InputError(f"A segmap of {segmap.shape[0]} x {segmap.shape[1]} does not enlarge to {height} x {width}.")
    if factor == 1:
        return segmap.copy()
    labels = np.unique(segmap)
    best = np.zeros((height, width), np.int16)  # strengths are at most (8 · 2 · factor)², 2¹⁴
    large = np.full((height, width), labels[0], np.uint8)
    for label in labels:
        soft = _soften(_soften((segmap == label).astype(np.int16)).T).T
        strength = _interpolate(_interpolate(soft, factor, height).T, factor, width).T
        better = strength > best
        large[better] = label
        np.maximum(best, strength, out=best)
    return large


def _soften(plane: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the plane, its first axis filtered with (1, 6, 1)."""
    wide = np.pad(plane, ((1, 1), (0, 0)), mode="edge")
    softened: NDArray[np.int16] = wide[:-2] + 6 * plane + wide[2:]
    return softened


def _interpolate(plane: NDArray[np.int16], factor: int, length: int) -> NDArray[np.int16]:
    """Stretch the first axis to `length` by `factor`, linearly between cell centres; the values grow by 2*factor."""
    position = np.clip(2 * np.arange(length) + 1 - factor, 0, 2 * factor * (len(plane) - 1))
    low, weight = np.divmod(position, 2 * factor)
    high = np.minimum(low + 1, len(plane) - 1)
    share = weight.astype(np.int16)[:, None]
    stretched: NDArray[np.int16] = plane[low] * (2 * factor - share) + plane[high] * share
    return stretched
