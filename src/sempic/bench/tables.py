"""What a bench run found, as tables: the same ones for the report page and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sempic.bench import bd
from sempic.bench.base import Metric
from sempic.bench.metrics import METRICS
from sempic.bench.results import Point, Result
from sempic.errors import InputError
from sempic.link.channel import PACKET

NONE = "–"
"""What stands where there is no number."""

_MAP_MIOU = "map_miou"
_SIDES = ("encode", "decode")
# Two rates, as the logarithm of their ratio: near enough to compare; so far that it does not matter how far; different
# enough to show both.
_NEAR, _FAR, _APART = math.log(1.3), math.log(2), math.log(1.6)


@dataclass(frozen=True)
class Cell:
    """A text; `best` marks the best one of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a sentence on how to read it, and sentences on what is missing from it."""

    title: str
    about: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    missing: tuple[str, ...] = ()

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown, numbers to the right, the best ones bold."""
        lines = [[text for text in self.head], ["---"] + ["---:"] * (len(self.head) - 1)]
        lines += [[f"**{cell.text}**" if cell.best else cell.text for cell in row] for row in self.rows]
        table = "\n".join(f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |" for line in lines)
        notes = "\n".join(f"- {sentence}" for sentence in self.missing)
        return "\n\n".join(filter(None, (f"### {self.title}", self.about, table, notes))) + "\n"


def number(value: float) -> str:
    """Return a number to about the digits that mean something: 24.31, 0.5541, 0.000123; `NONE` for NaN."""
    if math.isnan(value):
        return NONE
    size = abs(value)
    return f"{value:.{2 if size >= 10 else 4 if size >= 0.001 or not size else 6}f}"


def metrics_of(results: Sequence[Result]) -> list[str]:
    """Return the names of all metrics that any result has, in the order in which they occur."""
    return list(dict.fromkeys(name for result in results for point in result.points for name in point.metrics))


def higher_is_better(metric: str) -> bool:
    """Return the direction of a metric; raise `InputError` for one that this release does not know."""
    return metric == _MAP_MIOU or _metric(metric).better == "higher"


def about(metric: str) -> str:
    """Return the sentence that says what a metric measures."""
    if metric == _MAP_MIOU:
        return "mIoU of the decoded segmap itself against the labels; only codecs that send one have it."
    return _metric(metric).about


def heading(metric: str) -> str:
    """Return a metric's name with an arrow towards better."""
    return f"{metric} {'↑' if higher_is_better(metric) else '↓'}"


def _metric(name: str) -> Metric:
    if name not in METRICS:
        raise InputError(f"The results have the metric {name}, which this release does not know; run the bench again.")
    return METRICS[name]


def anchor(results: Sequence[Result]) -> Result:
    """Return the result that the others are compared with: HEVC's if there is one, else the first."""
    return min(results, key=lambda result: (result.label != "hevc", result.codec != "hevc"))


def nearest(result: Result, rate: float) -> Point:
    """Return the point of a result whose rate is nearest, as a ratio."""
    return min(result.points, key=lambda point: abs(math.log(point.bpp / rate)))


def rates(results: Sequence[Result], count: int = 3) -> list[float]:
    """Return up to `count` rates to compare at, those at which the most codecs have a point nearby; the lowest first.

    A codec that has no point within a factor of two weighs no more than that, so that a single one with a high floor
    does not draw all others there.
    """

    def miss(rate: float) -> float:
        return sum(min(abs(math.log(nearest(result, rate).bpp / rate)), _FAR) for result in results)

    chosen: list[float] = []
    for rate in sorted({point.bpp for result in results for point in result.points}, key=miss):
        if all(abs(math.log(rate / other)) > _APART for other in chosen):
            chosen.append(rate)
    return sorted(chosen[:count])


def values(results: Sequence[Result]) -> Table:
    """Return every point of every codec: rate and metrics, with the judge's ceiling."""
    metrics = metrics_of(results)
    rows, above = [], list[str]()
    ceiling = next((result.ceiling for result in results if result.ceiling), {})
    if ceiling:
        numbers = (number(ceiling[name]) if name in ceiling else NONE for name in metrics)
        rows.append((Cell("originals"), Cell(NONE), Cell(NONE), *map(Cell, numbers)))
    for result in results:
        for point in sorted(result.points, key=lambda point: point.bpp):
            numbers = (number(point.metrics.get(name, math.nan)) for name in metrics)
            rows.append((Cell(result.label), Cell(point.point), Cell(number(point.bpp)), *map(Cell, numbers)))
            if count := sum(row.above for row in point.rows):
                above.append(
                    f"{result.label} at {point.point}: of {len(point.rows)} pictures, {count} could not be written as "
                    "small as asked for; the codec's smallest file was taken."
                )
    head = ("codec", "asked for", "bpp", *map(heading, metrics))
    return Table("Rate and quality", "Rates count all bytes of the files.", head, tuple(rows), tuple(above))


def rate_deltas(results: Sequence[Result]) -> Table:
    """Return the Bjøntegaard rate difference to the anchor for every metric, in percent."""
    label = anchor(results).label
    return _deltas(
        results,
        bd.bd_rate,
        lambda value: f"{value:+.1f} %",
        f"Bjøntegaard rate against {label}",
        f"How many more (+) or fewer (−) bytes than {label} a codec needs for the same value of a metric. In brackets: "
        "the share of the values that the two curves span together which the number covers.",
    )


def value_deltas(results: Sequence[Result]) -> Table:
    """Return the Bjøntegaard difference to the anchor for every metric, in units of the metric."""
    label = anchor(results).label
    return _deltas(
        results,
        bd.bd_metric,
        lambda value: f"{value:+f}"[0] + number(abs(value)),
        f"Bjøntegaard difference against {label}",
        f"By how much a metric is above (+) or below (−) that of {label} at the same rate. In brackets: the share of "
        "the rates that the two curves span together which the number covers.",
    )


def _deltas(
    results: Sequence[Result],
    measure: Callable[[bd.Curve, bd.Curve, bool], bd.Delta],
    text: Callable[[float], str],
    title: str,
    explained: str,
) -> Table:
    base = anchor(results)
    metrics = metrics_of([base])  # what the anchor lacks, such as the mIoU of segmaps, has no difference to it
    rows, reasons = [], dict[str, dict[str, list[str]]]()
    for result in results:
        if result is base:
            continue
        cells = []
        for metric in metrics:
            delta = measure(base.curve(metric), result.curve(metric), higher_is_better(metric))
            if delta.value is None:
                reasons.setdefault(delta.why, {}).setdefault(metric, []).append(result.label)
                cells.append(Cell(NONE))
            else:
                cells.append(Cell(f"{text(delta.value).replace('-', '−')} ({delta.overlap:.0%})"))
        rows.append((Cell(result.label), *cells))
    missing = []
    for why, where in reasons.items():
        cases = (f"{metric} of {', '.join(labels)}" for metric, labels in where.items())
        missing.append(f"No number for {'; '.join(cases)}: {why}")
    return Table(title, explained, ("codec", *map(heading, metrics)), tuple(rows), tuple(missing))


def losses(results: Sequence[Result]) -> Table | None:
    """Return what becomes of a metric where packets are lost; None if none ever were."""
    erased = sorted({point.erase for result in results for point in result.points})
    metric = next(iter(metrics_of(results)), "")
    if erased in ([], [0.0]) or not metric:
        return None
    rows, undecodable = [], list[str]()
    for result in results:
        for asked, points in behind_links(result).items():
            whole = next((point.metrics.get(metric, math.nan) for point in points if not point.erase), math.nan)
            cells = []
            for erase in erased:
                point = next((point for point in points if point.erase == erase), None)
                value = point.metrics.get(metric, math.nan) if point else math.nan
                share = f" ({value / whole:.0%})" if erase and whole and math.isfinite(value / whole) else ""
                cells.append(Cell(number(value) + share))
            rows.append((Cell(result.label), Cell(asked), Cell(number(points[0].bpp)), *cells))
            lost = [(point.erase, point.detail.get("undecodable", 0.0)) for point in points]
            if shares := ", ".join(f"{part:.0%} at {erase:.0%}" for erase, part in lost if part):
                undecodable.append(f"{result.label} at {asked}: nothing could be decoded of {shares} lost.")
    explained = (
        f"{heading(metric)} where packets are lost with a probability; in brackets, the share of what it is without "
        "losses. Rates count all bytes, those of protection too. Where nothing else is asked for, packets have "
        f"{PACKET} bytes and are lost independently."
    )
    head = ("codec", "asked for", "bpp", *(f"{erase:.0%} lost" for erase in erased))
    return Table("Lost packets", explained, head, tuple(rows), tuple(undecodable))


def behind_links(result: Result) -> dict[str, list[Point]]:
    """Return for each point that was asked for the same one at all shares of lost packets, rising; its name ("0.05
    packet=51 burst=3") has what differs from small packets that are lost independently."""
    found: dict[str, list[Point]] = {}
    for point in sorted(result.points, key=lambda point: point.erase):
        found.setdefault(point.point.partition(" ")[0], []).append(point)
    return {points[-1].point.partition(" erase=")[0]: points for points in found.values()}


def times(results: Sequence[Result]) -> Table | None:
    """Return the seconds of every point of every codec; None if nothing was timed."""
    rows = []
    for result in filter(_timed, results):
        for point in sorted(result.points, key=lambda point: point.bpp):
            speed = result.timing.speed[point.point]
            parts = (part for side in _SIDES for part in (speed[side].whole, speed[side].networks, speed[side].coding))
            numbers = (f"{part:.3f}" if part else NONE for part in parts)
            rows.append((Cell(result.label), Cell(point.point), Cell(number(point.bpp)), *map(Cell, numbers)))
    explained = (
        "Seconds for one picture with the networks loaded, medians over a few pictures; how much of that ONNX Runtime "
        "runs networks, and how much is entropy coding with the search for the size. The rest is work on pixels. A "
        "dash: the codec has no such part."
    )
    columns = (text for side in _SIDES for text in (f"{side} s", "… networks s", "… entropy coding s"))
    head = ("codec", "asked for", "bpp", *columns)
    return Table("Time", explained, head, tuple(rows), _untimed(results)) if rows else None


def processes(results: Sequence[Result]) -> Table | None:
    """Return each codec's start and memory; None if nothing was timed."""
    rows = []
    for result in filter(_timed, results):
        found = [result.timing.processes[side] for side in _SIDES]
        starts = (f"{process.start_s:.2f}" for process in found)
        peaks = (f"{process.peak_mb:.0f}" if process.peak_mb else NONE for process in found)
        rows.append((Cell(result.label), *map(Cell, starts), *map(Cell, peaks)))
    explained = (
        "How many seconds longer a process takes for its first picture: the start of Python, imports and the loading "
        "of networks. Memory is the most that a process has held which did nothing but encode, or decode, with this "
        "codec, at all of its points."
    )
    head = ("codec", *(f"start to {side} s" for side in _SIDES), *(f"peak to {side} MB" for side in _SIDES))
    return Table("Start and memory", explained, head, tuple(rows), _untimed(results)) if rows else None


def _timed(result: Result) -> bool:
    return bool(result.timing.speed)


def _untimed(results: Sequence[Result]) -> tuple[str, ...]:
    return tuple(
        f"{result.label} was measured by an earlier release, which had other times; run the bench again."
        for result in results
        if not _timed(result)
    )


def classes(results: Sequence[Result], rate: float) -> Table | None:
    """Return the judge's IoU of each class where each codec comes nearest to a rate; None if nothing was judged."""
    judged = [(result.label, point) for result in results if (point := nearest(result, rate)).iou]
    points = [(label, point) for label, point in judged if abs(math.log(point.bpp / rate)) <= _NEAR]
    if not points:
        return None
    found = {name for _, point in points for name, share in point.iou.items() if not math.isnan(share)}
    names = [name for name in _classes(results) if name in found]
    best = [max(point.iou[name] for _, point in points if point.iou.get(name, math.nan) >= 0) for name in names]
    rows = []
    if ceiling := next((result.ceiling for result in results if result.ceiling), {}):
        rows.append((Cell("originals"), Cell(NONE), *(Cell(_percent(ceiling.get(name, math.nan))) for name in names)))
    for label, point in points:
        shares = (point.iou.get(name, math.nan) for name in names)
        cells = (Cell(_percent(share), share >= top) for share, top in zip(shares, best, strict=True))
        rows.append((Cell(label), Cell(number(point.bpp)), *cells))
    return Table(
        f"IoU of each class near {rate:.3f} bpp",
        "The judge's IoU in percent at the point of each codec whose rate is nearest; the best codec is bold.",
        ("codec", "bpp", *names),
        tuple(rows),
        tuple(
            f"{label} has no point near; its nearest has {point.bpp:.3f} bpp."
            for label, point in judged
            if (label, point) not in points
        ),
    )


def _classes(results: Sequence[Result]) -> list[str]:
    """Return all classes that occur in results, in the order of the taxonomy where that is known."""
    known = [name for result in results for name in result.classes]
    occurring = [name for result in results for point in result.points for name in (*result.ceiling, *point.iou)]
    return list(dict.fromkeys(known + occurring))


def _percent(share: float) -> str:
    return NONE if math.isnan(share) else f"{100 * share:.1f}"


def all_tables(results: Sequence[Result]) -> list[Table]:
    """Return all tables of a run, those first that sum up; but for the one of losses, all of them are without any."""
    lost = losses(results)
    results = [result.lossless for result in results]
    tables = [values(results)]
    if len(results) > 1:
        tables[:0] = [rate_deltas(results), value_deltas(results)]
    found = (classes(results, rate) for rate in rates(results))
    return [table for table in (lost, *tables, times(results), processes(results), *found) if table]
