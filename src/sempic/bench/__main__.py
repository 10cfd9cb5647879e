"""Encode a test set to real files, decode them, and let the judge say what is left.

Example: python -m sempic.bench camvid:test --codec sqgan --bpp 0.03 --bpp 0.05 --out results
"""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track

import sempic
from sempic import codecs, container, datasets, rate, runtime
from sempic.bench import judge
from sempic.codecs.base import Decoded
from sempic.errors import BudgetError, SempicError
from sempic.taxonomy import CAMVID11


def main(
    data: Annotated[str, typer.Argument(help="camvid:val or camvid:test.")],
    codec: Annotated[str, typer.Option(help="Name of the codec.")] = "sqgan",
    bpp: Annotated[list[float] | None, typer.Option(help="A size that no file exceeds; may be repeated.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting of the codec, as NAME=VALUE.")] = None,
    every: Annotated[int, typer.Option(help="Take every N-th frame only.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder for the result file (JSON).")] = None,
) -> None:
    """Measure mIoU by the judge, PSNR, sizes and times; the judge's mIoU on the originals is the ceiling."""
    points = bpp or [0.03, 0.05]
    settings = dict(_setting(item) for item in set_ or [])
    frames = datasets.camvid(data.removeprefix("camvid:"))[::every]
    chosen = codecs.codec(codec)
    ceiling = judge.Score()
    tallies = [_Tally() for _ in points]
    for frame in track(frames, f"{codec} on {data}"):
        assert frame.segmap is not None
        ceiling.add(frame.segmap, judge.read(frame.image))
        began = time.perf_counter()
        writer = chosen.analyse(frame.image, chosen.settings(**settings))
        analysis = time.perf_counter() - began
        for point, tally in zip(points, tallies, strict=True):
            began = time.perf_counter()
            try:
                stream = rate.fit(writer, int(point * frame.image.shape[0] * frame.image.shape[1] / 8))
            except BudgetError:
                tally.above += 1
                stream = writer.write(0)
            encoding = analysis + time.perf_counter() - began
            began = time.perf_counter()
            decoded = chosen.decode(container.read(stream))
            tally.add(frame, stream, decoded, encoding, time.perf_counter() - began)
            tally.details.append(chosen.detail(container.read(stream)))
    rows = [tally.row(point) for point, tally in zip(points, tallies, strict=True)]
    result = {
        "sempic": sempic.__version__,
        "codec": codec,
        "settings": settings,
        "models": {m.card.name: f"{m.card.fingerprint:04x}" for m in runtime.models()},
        "data": data,
        "frames": len(frames),
        "protocol": "bpp from whole files; segmaps predicted by the encoder; mIoU pooled over all pixels, void ignored",
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "ceiling_miou": round(ceiling.miou(), 4),
        "points": rows,
    }
    if out:
        out.mkdir(parents=True, exist_ok=True)
        suffix = "".join(f"-{k}-{v}" for k, v in settings.items())
        (out / f"{codec}{suffix}.json").write_text(json.dumps(result, indent=1) + "\n")
    typer.echo(f"judge on originals: mIoU {ceiling.miou():.4f}")
    for row in rows:
        typer.echo("  ".join(f"{k} {v}" for k, v in row.items() if k != "iou"))


class _Tally:
    """What is summed over the pictures of one point."""

    def __init__(self) -> None:
        self.score, self.map_score = judge.Score(), judge.Score()
        self.above = 0
        self.bpp: list[float] = []
        self.psnr: list[float] = []
        self.encoding: list[float] = []
        self.decoding: list[float] = []
        self.details: list[dict[str, Any]] = []

    def add(self, frame: datasets.Frame, stream: bytes, decoded: Decoded, encoding: float, decoding: float) -> None:
        assert frame.segmap is not None
        self.score.add(frame.segmap, judge.read(decoded.image))
        if decoded.segmap is not None:
            self.map_score.add(frame.segmap, decoded.segmap)
        self.bpp.append(8 * len(stream) / frame.segmap.size)
        self.psnr.append(_psnr(frame.image, decoded.image))
        self.encoding.append(encoding)
        self.decoding.append(decoding)

    def row(self, point: float) -> dict[str, Any]:
        row: dict[str, Any] = {
            "target_bpp": point,
            "bpp": round(float(np.mean(self.bpp)), 5),
            "frames_above_target": self.above,
            "miou": round(self.score.miou(), 4),
            "psnr": round(float(np.mean(self.psnr)), 3),
            "encode_s": round(float(np.median(self.encoding)), 3),
            "decode_s": round(float(np.median(self.decoding)), 3),
        }
        if self.map_score.confusion.any():
            row["map_miou"] = round(self.map_score.miou(), 4)
        for name, value in self.details[0].items():
            if isinstance(value, int | float):
                row[f"mean_{name}"] = round(float(np.mean([d[name] for d in self.details])), 4)
        return row | {"iou": dict(zip(CAMVID11.classes, self.score.per_class().round(4).tolist(), strict=True))}


def _psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float(10 * np.log10(255**2 / max(float(error), 1e-9)))


def _setting(item: str) -> tuple[str, Any]:
    name, _, value = item.partition("=")
    try:
        return name, float(value)
    except ValueError:
        return name, value


if __name__ == "__main__":
    try:
        typer.run(main)
    except SempicError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(1) from None
