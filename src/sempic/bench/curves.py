"""Curves of quality over rate, one drawing for the page (SVG, in the page's colours) and for documents (PNG)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO, StringIO
from typing import TYPE_CHECKING

from sempic.bench import tables
from sempic.bench.results import Point, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#2f7fd6", "#cf6a12", "#2b9467", "#cc4a5c", "#8a63d2", "#1a93a8", "#a06f45", "#c25a9d", "#7f8a1f", "#78828c")
"""Of the curves, in the order of the results; every one stands out from white and from near black."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
_DASHES = ("solid", (0, (4, 1.5)), (0, (1, 1.5)))
"""Of the curves; from the eleventh on they share colours, and the dashes distinguish them."""


@dataclass(frozen=True)
class _Inks:
    """What a drawing is drawn with besides the colours of its curves."""

    text: str
    quiet: str
    grid: str
    legend: bool


_ON_PAPER = _Inks("#282a2e", "#6b7078", "#e3e3de", legend=True)
# No such greys are drawn elsewhere, so that they can be found again and replaced by the page's own.
_ON_PAGE = _Inks("#010203", "#040506", "#070809", legend=False)
_VARIABLES = {"#010203": "var(--ink)", "#040506": "var(--quiet)", "#070809": "var(--line)"}


def drawable(results: Sequence[Result]) -> list[str]:
    """Return the metrics that have a value anywhere; others, such as MS-SSIM on small pictures, are NaN throughout."""
    return [metric for metric in tables.metrics_of(results) if any(_shown(result, metric) for result in results)]


def png(results: Sequence[Result], metric: str) -> bytes:
    """Return the curves of a metric as a PNG with a legend."""
    out = BytesIO()
    _figure(results, metric, _ON_PAPER).savefig(out, format="png", dpi=160, facecolor="white")
    return out.getvalue()


def svg(results: Sequence[Result], metric: str) -> str:
    """Return the curves of a metric as an SVG element for the page.

    What belongs to a result has `data-series`, its place among the results; points have `data-tip`, what to show about
    them.
    """
    import matplotlib

    out = StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": metric}):
        _figure(results, metric, _ON_PAGE).savefig(out, format="svg", transparent=True)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<svg .*?viewBox="(.*?)".*?>', _opening(metric), text, count=1, flags=re.DOTALL)

    def tag(match: re.Match[str]) -> str:
        series, point = match[1], match[2]
        if point is None:
            return f'<g data-series="{series}">'
        result = results[int(series)]
        tip = escape(_tip(result, _shown(result, metric)[int(point)], metric))
        return f'<g class="point" data-series="{series}" data-tip="{tip}">'

    text = re.sub(r'<g id="series-(\d+)(?:-(\d+))?">', tag, text)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)  # names that the curves of the next metric would have too
    return re.sub("|".join(_VARIABLES), lambda match: _VARIABLES[match[0]], text)


def _opening(metric: str) -> str:
    label = escape(f"{metric} over rate")
    return rf'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="\1" role="img" aria-label="{label}">'


def _tip(result: Result, point: Point, metric: str) -> str:
    return f"{result.label}\n{point.bpp:.4f} bpp, {metric} {tables.number(point.metrics[metric])}"


def _shown(result: Result, metric: str) -> list[Point]:
    """Return the points that have a value, by rising rate."""
    found = (point for point in result.points if math.isfinite(point.metrics.get(metric, math.nan)))
    return sorted(found, key=lambda point: point.bpp)


def _figure(results: Sequence[Result], metric: str, inks: _Inks) -> Figure:
    """Draw the curves; the groups of result k and of its point i are named series-k and series-k-i."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(7.2 if inks.legend else 6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for place, result in enumerate(results):
        points = _shown(result, metric)
        if not points:
            continue
        rates, values = [point.bpp for point in points], [point.metrics[metric] for point in points]
        colour, dashes = COLOURS[place % len(COLOURS)], _DASHES[place // len(COLOURS) % len(_DASHES)]
        marker = MARKERS[place % len(MARKERS)]
        axes.plot(rates, values, color=colour, linestyle=dashes, linewidth=1.6, gid=f"series-{place}")
        for step, spot in enumerate(zip(rates, values, strict=True)):
            gid = f"series-{place}-{step}"
            axes.plot(*spot, color=colour, marker=marker, markersize=5, linestyle="none", gid=gid)
        axes.plot([], [], color=colour, linestyle=dashes, marker=marker, markersize=5, label=result.label)
    ceiling = next((result.ceiling[metric] for result in results if metric in result.ceiling), None)
    if ceiling is not None:
        axes.axhline(ceiling, color=inks.quiet, linewidth=1.2, linestyle=(0, (5, 4)))
        note = f"the judge on originals: {tables.number(ceiling)}"
        axes.annotate(note, (0.01, ceiling), (0, 4), axes.get_yaxis_transform(), "offset points", color=inks.quiet)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("bits per pixel, all bytes counted", color=inks.text)
    axes.set_ylabel(tables.heading(metric), color=inks.text)
    axes.grid(color=inks.grid, linewidth=0.8)
    axes.tick_params(color=inks.grid, labelcolor=inks.text)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(inks.grid)
    axes.margins(y=0.08)
    if inks.legend:
        figure.legend(loc="outside right upper", frameon=False, labelcolor=inks.text, fontsize=8)
    return figure
