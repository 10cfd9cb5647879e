"""Detail from a drawn picture for one that was coded in too few bits.

A coder at few bits keeps what counts for the squared error and leaves walls, roads and leaves flat; a picture that a
network drew has detail everywhere, though not the right one. Octave by octave, each place of the coded picture gets as
much of the drawn detail as its own falls short of it: nothing where the coder kept what was there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rgb = NDArray[np.uint8]
Plane = NDArray[np.float32]

OCTAVES = (2, 4, 8)
"""Detail is taken octave by octave: what is finer than so many pixels, and coarser than those before."""
REACH = 2
"""How much detail there is, is measured over squares of REACH times as many pixels (at least 8)."""
STRIP, MARGIN = 2048, 64
"""Rows that are worked on at a time, and how many beside them are looked at: multiples of all squares."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def missing_detail(picture: Rgb, drawn: Rgb) -> Plane:
    """Return the brightness (H×W) of the drawn picture's detail where the other (H×W×3 both) has less of it.

    High pictures are worked on strip by strip, which bounds the memory.
    """
    detail = np.zeros(picture.shape[:2], np.float32)
    for start in range(0, len(detail), STRIP):
        top = max(start - MARGIN, 0)
        rows = slice(top, start + STRIP + MARGIN)
        _add_missing(picture[rows], drawn[rows], start - top, detail[start : start + STRIP])
    return detail


def _add_missing(picture: Rgb, drawn: Rgb, margin: int, detail: Plane) -> None:
    """Add what is missing below a margin of so many rows; in place where it can be, for a large picture's memory."""
    mine, theirs = picture @ _LUMA, drawn @ _LUMA
    for size in OCTAVES:
        coarse = _coarse(mine, size)
        mine -= coarse
        over = max(8, REACH * size)
        share = _energy(mine, over)
        mine, coarse = coarse, _coarse(theirs, size)
        theirs -= coarse
        share /= _energy(theirs, over).clip(1e-3)
        np.sqrt((1 - share).clip(0, 1), out=share)
        share *= theirs
        detail += share[margin:][: len(detail)]
        theirs = coarse


def strength(wanted: Rgb, picture: Rgb, detail: Plane, decibels: float) -> float:
    """Return how much of the detail, 0 to 1, a picture can take and lose at most so many decibels of PSNR."""
    squares = power = overlap = 0.0
    for start in range(0, len(detail), STRIP):
        rows = slice(start, start + STRIP)
        error, part = wanted[rows].astype(np.float32) - picture[rows], detail[rows]
        squares += float(np.square(error).mean(2).sum())
        power += float(np.square(part).sum())
        overlap += float((error.mean(2) * part).sum())
    allowed = (10 ** (decibels / 10) - 1) * squares
    if power == 0:
        return 0.0
    # |error - s·detail|² = |error|² - 2·s·overlap + s²·power may grow by what is allowed.
    return float(np.clip((overlap + np.sqrt(overlap**2 + power * allowed)) / power, 0, 1))


def add(picture: Rgb, detail: Plane) -> Rgb:
    """Return the picture with detail added to its brightness."""
    out = np.empty_like(picture)
    for channel in range(3):
        out[..., channel] = (picture[..., channel] + detail + np.float32(0.5)).clip(0, 255)
    return out


def _coarse(plane: Plane, size: int) -> Plane:
    """Return the plane without what is finer than so many pixels."""
    height, width = plane.shape
    small = _resized(plane, -(-width // size), -(-height // size), Image.Resampling.BOX)
    return _resized(small, width, height, Image.Resampling.BICUBIC)


def _energy(plane: Plane, over: int) -> Plane:
    """Return the mean square around each place."""
    height, width = plane.shape
    small = _resized(np.square(plane), -(-width // over), -(-height // over), Image.Resampling.BOX)
    return _resized(small, width, height, Image.Resampling.BILINEAR)


def _resized(plane: Plane, width: int, height: int, filter: Image.Resampling) -> Plane:
    view = np.asarray(Image.fromarray(plane).resize((width, height), filter))
    return view.copy()  # after PIL's own copy is gone
