"""One schema of results for every codec, learned or classic: a JSON file that the bench writes and the report reads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from sempic.errors import InputError

SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """One picture at one point.

    `above` is whether even the codec's smallest file was bigger than the size asked for; that file was then taken.
    Times are in seconds. `write_s` is entropy coding alone, and `read_s` reading the stream, before any network runs; 0
    for codecs without such parts. `peak_mb` is the most memory that the decoding process has held so far.
    """

    picture: str
    width: int
    height: int
    bytes: int
    above: bool
    encode_s: float
    decode_s: float
    write_s: float
    read_s: float
    peak_mb: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Point:
    """All pictures at one point.

    `metrics` are means over pictures, except those that exist for a set only (mIoU, Fréchet distance); NaN where no
    picture has a value. `iou` is the judge's IoU of each class, and `detail` what the streams reveal, on average.
    `erase` is the probability with which packets were lost; metrics are then means over all times that the files were
    sent, too, and `detail` has the share of these that were `undecodable`.
    """

    point: str
    bpp: float
    metrics: dict[str, float]
    iou: dict[str, float] = field(default_factory=dict)
    detail: dict[str, float] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    erase: float = 0.0


@dataclass(frozen=True)
class Result:
    """What one codec under one choice of settings did on one data set.

    `label` names the curve; `ceiling` is what the judge reaches on the originals (`miou` and each class's IoU);
    `unread` are the pictures that could not be used, with the reason; `unavailable` the metrics that could not be
    measured, with the reason; `command` is what was typed. `judge` is the judge's name and fingerprint, and `taxonomy`
    its classes, as `Taxonomy.to_json` returns them; files of earlier releases have neither.
    """

    codec: str
    label: str
    settings: dict[str, Any]
    data: str
    pictures: int
    protocol: str
    hardware: str
    versions: dict[str, str]
    ceiling: dict[str, float]
    points: tuple[Point, ...]
    unread: dict[str, str] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    command: str = ""
    judge: str = ""
    taxonomy: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the judge's classes by their ids; empty where the file does not say."""
        return tuple(self.taxonomy.get("classes", ()))

    @property
    def lossless(self) -> Result:
        """The same with those points alone at which all packets arrived."""
        return replace(self, points=tuple(point for point in self.points if not point.erase))

    def curve(self, metric: str) -> tuple[list[float], list[float]]:
        """Return (bpp, value) of all points that have the metric, by rising rate."""
        found = sorted((p.bpp, p.metrics[metric]) for p in self.points if metric in p.metrics)
        return [bpp for bpp, _ in found], [value for _, value in found]


def save(result: Result, path: Path) -> None:
    """Write a result as JSON, one line a row, so that versions of it can be compared; a value that is NaN is null."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines((*_json(result), "\n"))
    partial.replace(path)


def _json(value: Any, margin: str = "\n") -> Iterator[str]:
    """Yield a value as JSON, piece by piece: each item of a list or a dict on a line of its own, a row on one line."""
    if isinstance(value, Row):
        yield json.dumps(_without_nan(asdict(value)), ensure_ascii=False, allow_nan=False)
        return
    if is_dataclass(value):
        value = {one.name: getattr(value, one.name) for one in fields(value)}
    if not value or not isinstance(value, Mapping | list | tuple):
        yield json.dumps(_without_nan(value), ensure_ascii=False, allow_nan=False)
        return
    named = isinstance(value, Mapping)
    items = value.items() if isinstance(value, Mapping) else (("", item) for item in value)
    before = "{" if named else "["
    for name, item in items:
        yield f"{before}{margin} " + (f"{json.dumps(name, ensure_ascii=False)}: " if named else "")
        yield from _json(item, margin + " ")
        before = ","
    yield margin + ("}" if named else "]")


def _without_nan(value: Any) -> Any:
    """Return a number as it is, but None, as in JSON, for one that is not finite; the same for all values of dicts."""
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def load(path: Path) -> Result:
    """Read a result; raise `InputError` for a file that is none or has another schema."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain["schema"] != SCHEMA:
            raise InputError(f"{path} has the schema {plain['schema']}, not {SCHEMA}; run the bench again.")
        points = tuple(_point(point) for point in plain.pop("points"))
        return Result(points=points, **plain)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a result of the bench ({error}).") from None


def _point(plain: dict[str, Any]) -> Point:
    rows = tuple(Row(**{**row, "metrics": _numbers(row["metrics"])}) for row in plain["rows"])
    return Point(**{**plain, "metrics": _numbers(plain["metrics"]), "rows": rows})


def _numbers(plain: dict[str, float | None]) -> dict[str, float]:
    """Return metrics as read, with NaN for null."""
    return {name: math.nan if value is None else value for name, value in plain.items()}


def load_all(folder: Path) -> list[Result]:
    """Read all results in a folder, in the order of their names; raise `InputError` if there are none."""
    paths: Sequence[Path] = sorted(folder.glob("*.json"))
    if not paths:
        raise InputError(f"There are no results in {folder}; run `sempic bench` first.")
    return [load(path) for path in paths]
