"""The files of a bench run: finished pictures are found again, and gathered into results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import datasets
from sempic.bench import metrics, results, timing
from sempic.bench.jobs import Encoded, Measured, OperatingPoint
from sempic.bench.results import Point, Result, Row, Timing
from sempic.codecs.spec import Spec
from sempic.files import whole_file
from sempic.link.channel import Losses
from sempic.taxonomy import Taxonomy

ORIGINALS = "originals"


class Store:
    """The files of a run. A picture's JSON is written last and names what it was made from.

    A place is where a picture's files are, without a suffix: LABEL/POINT/NAME, or `originals`/NAME.

    Args:
        folder: where the files are.
        names: the metrics.
        tools: what the streams of each codec depend on, by its label: releases, settings and models.
        judge: the judge's name and fingerprint; empty where none is installed.
        taxonomy: the judge's classes, None where none is installed.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], tools: Mapping[str, str], judge: str, taxonomy: Taxonomy | None
    ) -> None:
        self.folder, self.names, self.tools = folder, names, tools
        self.judge, self.taxonomy = judge, taxonomy

    def has(self, place: Path, frame: datasets.Frame) -> bool:
        """Whether a picture is finished with these tools, with all metrics asked for."""
        try:
            stored = json.loads(self._path(place, ".json").read_text(encoding="utf-8"))
            return bool(stored["source"] == self._source(place, frame)) and set(self.names) <= set(stored["names"])
        except (OSError, ValueError, KeyError):
            return False

    def keep_stream(self, place: Path, data: bytes) -> None:
        """Write a picture's stream."""
        path = self._path(place, ".smp")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def keep(self, place: Path, frame: datasets.Frame, encoded: Encoded | None, measured: Measured) -> None:
        """Write what was measured on a picture, which is then finished.

        Args:
            place: where its files go.
            frame: the original.
            encoded: its stream; None for the original itself.
            measured: what the decoding process returned.
        """
        self._path(place, ".png").parent.mkdir(parents=True, exist_ok=True)
        self._path(place, ".png").write_bytes(measured.png)
        named = [
            (f"{name} {time}" if time else name, array)
            for time, arrays in enumerate(measured.collected)
            for name, array in arrays.items()
        ]
        np.savez(self._path(place, ".npz"), **dict(named))  # type: ignore[arg-type]
        if encoded is None and frame.segmap is not None:
            Image.fromarray(frame.segmap).save(self._path(place, ".labels.png"))
        row = asdict(_row(frame, encoded, measured)) if encoded else {}
        source = self._source(place, frame)
        stored = {"source": source, "names": list(self.names), "row": row, "detail": measured.detail}
        with whole_file(self._path(place, ".json")) as file:
            file.write(results.line(stored))

    def timing(self, spec: Spec, points: Sequence[OperatingPoint], images: Sequence[NDArray[np.uint8]]) -> Timing:
        """Return what a codec takes, measured now unless it was on this machine before.

        Args:
            spec: the codec with its settings.
            points: what is asked of it.
            images: the pictures that are timed.
        """
        path = self._path(Path(spec.label) / "timing", ".json")
        asked = json.dumps([self.tools[spec.label], [point.text for point in points], timing.hardware()])
        source = sha256(asked.encode() + b"".join(image.tobytes() for image in images)).hexdigest()
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["source"] == source:
                return Timing.from_json(stored["timing"])
        except (OSError, ValueError, KeyError):
            pass
        found = timing.measure(spec, points, images)
        path.write_bytes(results.line({"source": source, "timing": asdict(found)}))
        return found

    def result(
        self, spec: Spec, points: Sequence[OperatingPoint], pictures: Sequence[str], about: Mapping[str, Any]
    ) -> Result:
        """Gather a codec's files; points that repeat another's files, at a codec's floor or top, are left out.

        Args:
            spec: the codec with its settings.
            points: what was asked of it.
            pictures: the names of the pictures, all of which are finished.
            about: the other fields of the result.
        """
        found = dict[tuple[Losses, tuple[int, ...]], Point]()
        for asked in points:
            point = self._point(spec, asked, pictures)
            if point.rows:
                found.setdefault((asked.losses, tuple(row.bytes for row in point.rows)), point)
        confusions = self._arrays([Path(ORIGINALS) / name for name in pictures]).get("miou", [])
        ceiling = {"miou": _rounded(metrics.METRICS["miou"].reduce(confusions))} if confusions else {}
        return Result(
            codec=spec.codec.name,
            label=spec.label,
            settings=spec.given,
            pictures=len(pictures),
            ceiling=ceiling | self._iou(confusions),
            points=tuple(found.values()),
            judge=self.judge,
            taxonomy=self.taxonomy.to_json() if self.taxonomy else {},
            **about,
        )

    def _point(self, spec: Spec, asked: OperatingPoint, pictures: Sequence[str]) -> Point:
        places = [Path(spec.label) / asked.text / name for name in pictures]
        stored = [json.loads(self._path(place, ".json").read_text(encoding="utf-8")) for place in places]
        rows = tuple(Row.from_json(found["row"]) for found in stored)
        collected = self._arrays(places)
        values = {name: metrics.METRICS[name].reduce(collected[name]) for name in self.names if name in collected}
        if "map_miou" in collected:
            values["map_miou"] = metrics.METRICS["miou"].reduce(collected["map_miou"])
        details = [results.with_nan(found["detail"]) for found in stored]
        names = dict.fromkeys(name for detail in details for name in detail)
        return Point(
            asked.text,
            round(float(np.mean([8 * row.bytes / (row.width * row.height) for row in rows])), 6),
            {name: _rounded(value) for name, value in values.items()},
            self._iou(collected.get("miou", [])),
            {name: _rounded(float(np.mean([d[name] for d in details if name in d]))) for name in names},
            rows,
            asked.losses.erase,
            asked.losses.packet,
            asked.losses.burst,
        )

    def _arrays(self, places: Sequence[Path]) -> dict[str, list[NDArray[Any]]]:
        found: dict[str, list[NDArray[Any]]] = {}
        for place in places:
            with np.load(self._path(place, ".npz")) as arrays:
                for name, array in arrays.items():  # "miou 2" was collected when the stream was sent the third time
                    found.setdefault(name.partition(" ")[0], []).append(array)
        return found

    def _iou(self, confusions: Sequence[NDArray[Any]]) -> dict[str, float]:
        if not confusions or self.taxonomy is None:
            return {}
        return {name: _rounded(value) for name, value in metrics.iou(confusions, self.taxonomy).items()}

    def _path(self, place: Path, suffix: str) -> Path:
        return self.folder / place.with_name(place.name + suffix)

    def _source(self, place: Path, frame: datasets.Frame) -> str:
        """Return a hash of what a picture's numbers depend on: the tools, the picture and its labels."""
        tools = self.tools.get(place.parts[0], "") + self.judge
        labels = frame.segmap.tobytes() if frame.segmap is not None else b""
        return sha256(tools.encode() + frame.image.tobytes() + labels).hexdigest()


def _row(frame: datasets.Frame, encoded: Encoded, measured: Measured) -> Row:
    values = {
        name: metrics.METRICS[name].reduce([arrays[name] for arrays in measured.collected])
        for name in measured.collected[0]
        if name in metrics.PER_PICTURE
    }
    height, width, _ = frame.image.shape
    return Row(
        frame.name,
        width,
        height,
        len(encoded.data),
        encoded.above,
        metrics={name: _rounded(value) for name, value in values.items()},
    )


def _rounded(value: float) -> float:
    return round(float(value), 5)
