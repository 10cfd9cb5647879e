"""Drawings of what lost packets do: a metric over the share of packets that a link loses."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from sempic.bench import curves, tables
from sempic.bench.results import Result
from sempic.codecs.spec import PROTECT


def png(results: Sequence[Result], metric: str) -> bytes | None:
    """Return the drawing as a PNG; None where no result has the metric behind a link that loses packets.

    A codec has one colour; its lines are dashed without protection.
    """
    from matplotlib.figure import Figure

    if not any(point.erase and metric in point.metrics for result in results for point in result.points):
        return None
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.add_subplot()
    names = list(dict.fromkeys(result.codec for result in results))
    for result in results:
        place = names.index(result.codec)
        colour, marker = curves.COLOURS[place % len(curves.COLOURS)], curves.MARKERS[place % len(curves.MARKERS)]
        for asked, points in tables.behind_links(result).items():
            spots = [(point.erase, point.metrics[metric]) for point in points if metric in point.metrics]
            axes.plot(
                *zip(*spots, strict=True),
                color=colour,
                marker=marker,
                markersize=5,
                linewidth=1.6,
                linestyle="solid" if PROTECT in result.settings else "dashed",
                label=", ".join(filter(None, (result.label, f"{points[0].bpp:.3f} bpp", asked.partition(" ")[2]))),
            )
    shares = sorted({point.erase for result in results for point in result.points})
    axes.set_xticks(shares, [f"{100 * share:g}" for share in shares])
    axes.set_xlabel("lost packets, %")
    axes.set_ylabel(tables.heading(metric))
    axes.grid(color="#e3e3de", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, handlelength=3.5)
    out = BytesIO()
    figure.savefig(out, format="png", dpi=160, facecolor="white")
    return out.getvalue()
