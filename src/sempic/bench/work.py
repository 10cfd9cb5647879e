"""The files of a bench run: what is finished is found again, and gathered into results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import datasets, runtime
from sempic.bench import judge, metrics
from sempic.bench.jobs import Contender, Encoded, Measured, Target
from sempic.bench.results import Point, Result, Row
from sempic.errors import ModelError

ORIGINALS = "originals"


class Work:
    """The files of a run. A picture's JSON is written last and says what it was made from."""

    def __init__(self, folder: Path, names: Sequence[str], tools: dict[str, str]) -> None:
        self.folder, self.names, self.tools = folder, names, tools

    def has(self, place: Path, frame: datasets.Frame) -> bool:
        """Whether a picture is finished under these tools, with all metrics asked for."""
        try:
            stored = json.loads(self._path(place, ".json").read_text())
            return bool(stored["source"] == self._source(place, frame)) and set(self.names) <= set(stored["names"])
        except (OSError, ValueError, KeyError):
            return False

    def keep_stream(self, place: Path, data: bytes) -> None:
        self._path(place, ".smp").parent.mkdir(parents=True, exist_ok=True)
        self._path(place, ".smp").write_bytes(data)

    def keep(self, place: Path, frame: datasets.Frame, encoded: Encoded | None, found: Measured) -> None:
        self._path(place, ".png").parent.mkdir(parents=True, exist_ok=True)
        self._path(place, ".png").write_bytes(found.png)
        named = [
            (f"{name} {time}" if time else name, array)
            for time, arrays in enumerate(found.collected)
            for name, array in arrays.items()
        ]
        np.savez(self._path(place, ".npz"), **dict(named))  # type: ignore[arg-type]
        if encoded is None and frame.segmap is not None:
            Image.fromarray(frame.segmap).save(self._path(place, ".labels.png"))
        values = {
            name: metrics.METRICS[name].reduce([arrays[name] for arrays in found.collected])
            for name in found.collected[0]
            if name in metrics.PER_PICTURE
        }
        row = {}
        if encoded is not None:
            height, width, _ = frame.image.shape
            row = asdict(
                Row(
                    frame.name,
                    width,
                    height,
                    len(encoded.data),
                    encoded.above,
                    encode_s=round(encoded.seconds, 4),
                    decode_s=round(found.seconds, 4),
                    write_s=round(encoded.write_s, 4),
                    read_s=round(found.read_s, 4),
                    peak_mb=found.peak_mb,
                    metrics={name: _rounded(value) for name, value in values.items()},
                )
            )
        stored = {"source": self._source(place, frame), "names": list(self.names), "row": row, "detail": found.detail}
        partial = self._path(place, ".partial")
        partial.write_text(json.dumps(stored))
        partial.replace(self._path(place, ".json"))

    def result(
        self, contender: Contender, targets: Sequence[Target], pictures: Sequence[str], about: dict[str, Any]
    ) -> Result:
        """Gather a contender's files; points that repeat another's files, at a codec's floor or top, are left out."""
        points: list[Point] = []
        for target in targets:
            point = self._point(contender, target, pictures)
            if point.rows and all((point.erase, _sizes(point)) != (other.erase, _sizes(other)) for other in points):
                points.append(point)
        ceiling = self._arrays([Path(ORIGINALS) / name for name in pictures]).get("miou", [])
        return Result(
            codec=contender.codec,
            label=contender.label,
            settings=contender.settings,
            pictures=len(pictures),
            ceiling={"miou": _rounded(metrics.METRICS["miou"].reduce(ceiling)), **_iou(ceiling)} if ceiling else {},
            points=tuple(points),
            **about,
        )

    def _point(self, contender: Contender, target: Target, pictures: Sequence[str]) -> Point:
        places = [Path(contender.label) / target.text / name for name in pictures]
        stored = [json.loads(self._path(place, ".json").read_text()) for place in places]
        rows = tuple(Row(**found["row"]) for found in stored)
        collected = self._arrays(places)
        values = {name: metrics.METRICS[name].reduce(collected[name]) for name in self.names if name in collected}
        if "map_miou" in collected:
            values["map_miou"] = metrics.METRICS["miou"].reduce(collected["map_miou"])
        details = [found["detail"] for found in stored]
        told = dict.fromkeys(name for detail in details for name in detail)
        return Point(
            target.text,
            round(float(np.mean([8 * row.bytes / (row.width * row.height) for row in rows])), 6),
            {name: _rounded(value) for name, value in values.items()},
            _iou(collected.get("miou", [])),
            {name: _rounded(float(np.mean([d[name] for d in details if name in d]))) for name in told},
            rows,
            target.erase,
        )

    def _arrays(self, places: Sequence[Path]) -> dict[str, list[NDArray[Any]]]:
        found: dict[str, list[NDArray[Any]]] = {}
        for place in places:
            with np.load(self._path(place, ".npz")) as arrays:
                for name, array in arrays.items():  # "miou 2" is what came of the file that was sent once more
                    found.setdefault(name.partition(" ")[0], []).append(array)
        return found

    def _path(self, place: Path, suffix: str) -> Path:
        return self.folder / place.with_name(place.name + suffix)

    def _source(self, place: Path, frame: datasets.Frame) -> str:
        """What a result depends on: the tools, the picture and its labels."""
        tools = self.tools.get(place.parts[0], "") + fingerprint(judge.MODEL)
        labels = frame.segmap.tobytes() if frame.segmap is not None else b""
        return sha256(tools.encode() + frame.image.tobytes() + labels).hexdigest()


def fingerprint(model: str) -> str:
    """Return the fingerprint of an installed model; empty for one that is not here."""
    try:
        return f"{runtime.model(model).card.fingerprint:04x}"
    except ModelError:
        return ""


def _sizes(point: Point) -> list[int]:
    return [row.bytes for row in point.rows]


def _iou(confusions: Sequence[NDArray[Any]]) -> dict[str, float]:
    return {name: _rounded(value) for name, value in metrics.iou(confusions).items()} if confusions else {}


def _rounded(value: float) -> float:
    return round(float(value), 5)
