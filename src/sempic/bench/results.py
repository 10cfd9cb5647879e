"""One schema of results for every codec, learned or classic: a JSON file that the bench writes and the report reads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from sempic.errors import InputError
from sempic.files import whole_file
from sempic.link.channel import PACKET

SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """One picture at one point.

    `above` is whether even the codec's smallest file was bigger than the size asked for; that file was then taken.
    """

    picture: str
    width: int
    height: int
    bytes: int
    above: bool
    metrics: dict[str, float]

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Row:
        """Return what was written as JSON, without the times that rows had in earlier releases."""
        found = {one.name: plain[one.name] for one in fields(cls)}
        return cls(**found | {"metrics": with_nan(found["metrics"])})


@dataclass(frozen=True)
class Point:
    """All pictures at one point.

    `metrics` are means over pictures, except those that exist for a set only (mIoU, Fréchet distance); NaN where no
    picture has a value. `iou` is the judge's IoU of each class, and `detail` what the streams reveal, on average.
    `erase` is the probability with which packets of `packet` bytes were lost, in bursts of `burst` packets on average
    (1: independently); metrics are then means over all times that the files were sent, too, and `detail` has the share
    of these that were `undecodable`.
    """

    point: str
    bpp: float
    metrics: dict[str, float]
    iou: dict[str, float] = field(default_factory=dict)
    detail: dict[str, float] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    erase: float = 0.0
    packet: int = PACKET
    burst: float = 1.0


@dataclass(frozen=True)
class Seconds:
    """What it takes to encode or to decode a picture with the networks loaded: medians over pictures, in seconds.

    `whole` is all of it; `networks` the part within ONNX Runtime; `coding` the part between integers and bytes, which
    is to find the step and to write it, or to read the stream; 0 for codecs where that is not apart. The rest is work
    on pixels.
    """

    whole: float
    networks: float
    coding: float


@dataclass(frozen=True)
class Process:
    """A process that encodes or decodes.

    `start_s` is how much longer its first picture takes than it does later, in seconds: the start of Python, imports
    and the loading of networks. `peak_mb` is the most memory that it has held, in MB; 0 where the system does not say.
    """

    start_s: float
    peak_mb: float


@dataclass(frozen=True)
class Timing:
    """What a codec takes. `speed` has the seconds of each point, by its name, and `processes` the two processes that
    they were measured in; both have "encode" and "decode". Files of earlier releases have neither."""

    speed: dict[str, dict[str, Seconds]] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Timing:
        """Return what was written as JSON."""
        speed = {
            point: {side: Seconds(**found) for side, found in sides.items()} for point, sides in plain["speed"].items()
        }
        return cls(speed, {side: Process(**found) for side, found in plain["processes"].items()})


@dataclass(frozen=True)
class Result:
    """What one codec under one choice of settings did on one data set.

    `label` names the curve; `ceiling` is what the judge reaches on the originals (`miou` and each class's IoU);
    `unread` are the pictures that could not be used, with the reason; `unavailable` the metrics that could not be
    measured, with the reason; `command` is what was typed. `judge` is the judge's name and fingerprint, and `taxonomy`
    its classes, as `Taxonomy.to_json` returns them; files of earlier releases have neither. `timing` is what the codec
    takes.
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
    timing: Timing = field(default_factory=Timing)
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
    with whole_file(path) as file:
        file.writelines((*_json(result), b"\n"))


def line(value: Any) -> bytes:
    """Return a value as JSON on one line; numbers that are not finite, which JSON does not have, are null."""
    text = json.dumps(_without_nan(value), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace")  # what a name has of no encoding, JSON escapes so, too


def _json(value: Any, margin: bytes = b"\n") -> Iterator[bytes]:
    """Yield a value as JSON, piece by piece: each item of a list or a dict on a line of its own, a row on one line."""
    if isinstance(value, Row | Seconds | Process):
        yield line(asdict(value))
        return
    if is_dataclass(value):
        value = {one.name: getattr(value, one.name) for one in fields(value)}
    if not value or not isinstance(value, Mapping | list | tuple):
        yield line(value)
        return
    named = isinstance(value, Mapping)
    items = value.items() if isinstance(value, Mapping) else (("", item) for item in value)
    before = b"{" if named else b"["
    for name, item in items:
        yield before + margin + b" " + (line(name) + b": " if named else b"")
        yield from _json(item, margin + b" ")
        before = b","
    yield margin + (b"}" if named else b"]")


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
        timing = Timing.from_json(plain.pop("timing")) if "timing" in plain else Timing()
        return Result(points=points, timing=timing, **plain | {"ceiling": with_nan(plain["ceiling"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a result of the bench ({error}).") from None


def _point(plain: dict[str, Any]) -> Point:
    rows = tuple(map(Row.from_json, plain["rows"]))
    numbers: dict[str, Any] = {name: with_nan(plain[name]) for name in ("metrics", "iou", "detail") if name in plain}
    return Point(**{**plain, **numbers, "rows": rows})


def with_nan(plain: Mapping[str, float | None]) -> dict[str, float]:
    """Return numbers as read from JSON, with NaN for null."""
    return {name: math.nan if value is None else value for name, value in plain.items()}


def load_all(folder: Path) -> list[Result]:
    """Read all results in a folder, in the order of their names; raise `InputError` if there are none."""
    paths: Sequence[Path] = sorted(folder.glob("*.json"))
    if not paths:
        raise InputError(f"There are no results in {folder}; run `sempic bench` first.")
    return [load(path) for path in paths]
