"""Bjøntegaard deltas: how two codecs' curves differ on average (Bjøntegaard 2001, VCEG-M33).

Curves are interpolated piecewise (PCHIP over the logarithm of the rate, as in the common test conditions of HEVC and
VVC) and compared where both exist, never beyond. The arithmetic is that of the package bjontegaard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sempic import extras
from sempic.errors import InputError

Curve = tuple[Sequence[float], Sequence[float]]
"""Rates (bpp) and the values reached there, in any order."""

FEWEST = 4
"""The fewest points that a curve may have: one through fewer is mostly interpolation."""


@dataclass(frozen=True)
class Delta:
    """A mean difference of two curves.

    `value` is None where there is none to be had, and `why` then says so in a sentence; `overlap` is the share (0..1)
    of the range of both curves together that the value covers.
    """

    value: float | None
    why: str
    overlap: float


def bd_rate(anchor: Curve, other: Curve, higher_is_better: bool = True) -> Delta:
    """Return by how many per cent `other`'s rate differs from `anchor`'s at equal value; negative is better.

    Values must get better with every step in rate; the overlap is one of values.
    """
    (rate, value), (other_rate, other_value) = _points(anchor), _points(other)
    sign = 1 if higher_is_better else -1  # so that better is more for all, and the axis runs upwards
    why = _why_not(rate, sign * value, "anchor", rising=True)
    why = why or _why_not(other_rate, sign * other_value, "other codec", rising=True)
    if why:
        return Delta(None, why, 0)
    delta = _mean_difference(sign * value, np.log(rate), sign * other_value, np.log(other_rate))
    if delta.value is None:
        return Delta(None, f"The curves share no values: {_ranges(value, other_value)}.", 0)
    return Delta(100 * float(np.expm1(delta.value)), "", delta.overlap)


def bd_metric(anchor: Curve, other: Curve, higher_is_better: bool = True) -> Delta:
    """Return by how much `other`'s value differs from `anchor`'s at equal rate, in units of the metric.

    Positive is more, whether that is better or not: `higher_is_better` is here so that both deltas are called alike.
    The overlap is one of logarithms of rates.
    """
    (rate, value), (other_rate, other_value) = _points(anchor), _points(other)
    why = _why_not(rate, value, "anchor", rising=False)
    why = why or _why_not(other_rate, other_value, "other codec", rising=False)
    if why:
        return Delta(None, why, 0)
    delta = _mean_difference(np.log(rate), value, np.log(other_rate), other_value)
    if delta.value is None:
        return Delta(None, f"The curves share no rates: {_ranges(rate, other_rate)}.", 0)
    return delta


def _points(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rates and values by rising rate. Equal points are one: below its floor a codec stays at its smallest."""
    points = sorted(set(zip(*curve, strict=True)))
    rate, value = np.array(points, np.float64).reshape(-1, 2).T
    return rate, value


def _why_not(rate: NDArray[np.float64], value: NDArray[np.float64], name: str, rising: bool) -> str:
    """Return why a curve cannot be used; empty if it can."""
    if len(rate) < FEWEST:
        return f"The {name} has {len(rate)} different points; it takes {FEWEST}."
    if not (np.isfinite(rate) & np.isfinite(value) & (rate > 0)).all():
        return f"The {name} has a point without a value."
    if (np.diff(rate) == 0).any():
        return f"The {name} has different values at the same rate."
    if rising and (np.diff(value) <= 0).any():
        at = rate[1:][np.diff(value) <= 0][0]
        return f"The {name} does not get better with every step in rate: not at {at:.4g} bpp."
    return ""


def _mean_difference(
    x: NDArray[np.float64], y: NDArray[np.float64], other_x: NDArray[np.float64], other_y: NDArray[np.float64]
) -> Delta:
    """Return the mean of other_y - y over the x that both have, without a value if there are none."""
    try:
        from bjontegaard import bd_linear
    except ImportError:
        raise InputError(f"Bjøntegaard deltas need the package bjontegaard: {extras.install('bench')}.") from None
    shared = min(x[-1], other_x[-1]) - max(x[0], other_x[0])
    if shared <= 0:
        return Delta(None, "", 0)
    value = bd_linear(x, y, other_x, other_y, method="pchip", require_matching_points=False, min_overlap=0)
    return Delta(float(value), "", float(shared / (max(x[-1], other_x[-1]) - min(x[0], other_x[0]))))


def _ranges(values: NDArray[np.float64], others: NDArray[np.float64]) -> str:
    return (
        f"the anchor has {values.min():.4g} to {values.max():.4g}, "
        f"the other codec {others.min():.4g} to {others.max():.4g}"
    )
