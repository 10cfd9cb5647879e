"""The plane of perception and distortion (Blau and Michaeli 2018): what a codec's settings trade at one rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from sempic.bench import curves, tables
from sempic.bench.results import Result

Spot = tuple[float, float, str]
"""Distortion, perception, and the settings that gave them."""


def png(results: Sequence[Result], distortion: str = "psnr", perception: str = "lite0_frechet") -> bytes | None:
    """Return the plane as a PNG: a line for each codec at each point asked for, through all its settings.

    None where no codec was measured with several settings at the same point, or neither metric was.
    """
    from matplotlib.figure import Figure

    lines = _lines(results, distortion, perception)
    if max(map(len, lines.values()), default=0) < 2:
        return None
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    points = list(dict.fromkeys(point for _, point in lines))
    codecs = list(dict.fromkeys(codec for codec, _ in lines))
    for (codec, point), spots in lines.items():
        colour = curves.COLOURS[points.index(point) % len(curves.COLOURS)]
        marker = curves.MARKERS[codecs.index(codec) % len(curves.MARKERS)]
        axes.plot(
            *zip(*[spot[:2] for spot in spots], strict=True), color=colour, marker=marker, label=f"{codec} {point}"
        )
        for x, y, settings in spots if len(spots) > 1 else []:
            axes.annotate(settings, (x, y), (5, 4), textcoords="offset points", fontsize=7, color="#6b7078")
    axes.set_xlabel(f"distortion: {tables.heading(distortion)}")
    axes.set_ylabel(f"perception: {tables.heading(perception)}")
    axes.grid(color="#e3e3de", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    out = BytesIO()
    figure.savefig(out, format="png", dpi=160, facecolor="white")
    return out.getvalue()


def _lines(results: Sequence[Result], distortion: str, perception: str) -> dict[tuple[str, str], list[Spot]]:
    """Return the spots of each codec at each point, in the order of its settings."""
    lines: dict[tuple[str, str], list[Spot]] = {}
    for result in sorted(results, key=_order):
        settings = ", ".join(f"{name} {value}" for name, value in result.settings.items())
        for point in result.points:
            x, y = (point.metrics.get(metric, math.nan) for metric in (distortion, perception))
            if math.isfinite(x) and math.isfinite(y):
                lines.setdefault((result.codec, point.point), []).append((x, y, settings))
    return lines


def _order(result: Result) -> list[tuple[str, bool, Any]]:
    """Return what sorts results by the values of their settings: numbers before texts, which do not compare."""
    return [(name, isinstance(value, str), value) for name, value in result.settings.items()]
