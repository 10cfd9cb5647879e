"""One schema of results for every codec, learned or classic: a JSON file that the bench writes and the report reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sempic.errors import InputError

SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """One picture at one point. Times in seconds; `read_s` and `write_s` are entropy coding alone, 0 where a codec
    cannot tell it apart; `peak_mb` is the most memory that the decoding process has held so far."""

    picture: str
    width: int
    height: int
    bytes: int
    above: bool
    """Whether even the codec's smallest file was above the size asked for; that file was then taken."""
    encode_s: float
    decode_s: float
    write_s: float
    read_s: float
    peak_mb: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Point:
    """All pictures at one point.

    `metrics` are means over pictures, except those that exist for a set only (mIoU, Fréchet distance); `iou` is the
    judge's IoU of each class, and `detail` what the codec tells of its streams, on average. `erase` is the probability
    with which packets were lost; metrics are then means over all times that the files were sent, too, and `detail` has
    the share of these that were `undecodable`.
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
    measured, with the reason; `command` is what was typed.
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
    schema: int = SCHEMA

    @property
    def lossless(self) -> Result:
        """The same with those points alone at which all packets arrived."""
        return replace(self, points=tuple(point for point in self.points if not point.erase))

    def curve(self, metric: str) -> tuple[list[float], list[float]]:
        """Return (bpp, value) of all points that have the metric, by rising rate."""
        found = sorted((p.bpp, p.metrics[metric]) for p in self.points if metric in p.metrics)
        return [bpp for bpp, _ in found], [value for _, value in found]


def save(result: Result, path: Path) -> None:
    """Write a result as JSON, one line a row, so that versions of it can be compared."""
    plain = asdict(result)
    for point in plain["points"]:
        point["rows"] = [json.dumps(row, ensure_ascii=False) for row in point["rows"]]
    text = json.dumps(plain, indent=1, ensure_ascii=False)
    for point in plain["points"]:
        for row in point["rows"]:
            text = text.replace(json.dumps(row, ensure_ascii=False), row, 1)
    partial = path.with_suffix(".partial")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def load(path: Path) -> Result:
    """Read a result; raise `InputError` for a file that is none or has another schema."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain["schema"] != SCHEMA:
            raise InputError(f"{path} has the schema {plain['schema']}, not {SCHEMA}; run the bench again.")
        points = [
            Point(**{**point, "rows": tuple(Row(**row) for row in point["rows"])}) for point in plain.pop("points")
        ]
        return Result(points=tuple(points), **plain)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a result of the bench ({error}).") from None


def load_all(folder: Path) -> list[Result]:
    """Read all results in a folder, in the order of their names; raise `InputError` if there are none."""
    paths: Sequence[Path] = sorted(folder.glob("*.json"))
    if not paths:
        raise InputError(f"There are no results in {folder}; run `sempic bench` first.")
    return [load(path) for path in paths]
