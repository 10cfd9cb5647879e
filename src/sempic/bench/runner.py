"""The bench: every picture through every codec at every point, by way of real files and two processes.

    picture ─ encoding process ─▷ work/LABEL/POINT/NAME.smp ─▷ decoding process ─ NAME.png, NAME.npz, NAME.json

The decoding processes get nothing but the stream and the options of decoding. Finished pictures are found again, so an
interrupted run continues where it stopped. When all are finished, the codecs are timed, one after the other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from sempic import __version__, datasets, runtime
from sempic.bench import timing
from sempic.bench.jobs import (
    TRANSMISSIONS,
    Encoded,
    OperatingPoint,
    encode_picture,
    measure_original,
    measure_picture,
    read_stream,
)
from sempic.bench.results import Result
from sempic.bench.store import ORIGINALS, Store
from sempic.codecs.spec import Spec
from sempic.errors import InputError, ModelError, SempicError
from sempic.link import protection
from sempic.pool import pools
from sempic.rate import Target

_PACKAGES = ("numpy", "pillow", "onnxruntime", "constriction", "av", "imagecodecs", "pyvips-binary")


@dataclass(frozen=True)
class _Job:
    """A picture of which something is measured: with a codec at a point, or the original itself; `encoded` is set when
    its stream has been written."""

    frame: datasets.Frame
    coded: tuple[Spec, OperatingPoint] | None = None
    encoded: Encoded | None = None

    @property
    def place(self) -> Path:
        """Where its files go."""
        if self.coded is None:
            return Path(ORIGINALS) / self.frame.name
        spec, point = self.coded
        return Path(spec.label) / point.text / self.frame.name


def run(
    data: str,
    pictures: Sequence[datasets.Picture],
    specs: Sequence[Spec],
    points: Sequence[OperatingPoint],
    names: Sequence[str],
    out: Path,
    *,
    workers: int,
    ray_address: str | None = None,
    judge: str = "",
    unavailable: dict[str, str] | None = None,
    command: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Result]:
    """Measure codecs on pictures; return one result for each, in their order.

    Pictures that cannot be read or encoded are left out of all results and named in `Result.unread`.

    Args:
        data: the name of the data set, for the results.
        pictures: its pictures.
        specs: the codecs with their settings.
        points: what is asked of each codec.
        names: the metrics to measure, all of which are available.
        out: the folder of the run; its files go to `work` in it.
        workers: how many processes decode and measure; half as many encode.
        ray_address: the address of a Ray cluster whose processes are used instead, or "local".
        judge: the model that judges, by name, folder or address; empty for the one that comes with Sempic.
        unavailable: the metrics that cannot be measured, with the reason; they are only reported.
        command: what was typed, for the results.
        progress: called with the number of finished jobs and that of all jobs.

    Raises:
        InputError: none of the pictures can be used.
        ModelError: there is no such judge.
        SempicError: a codec cannot work at all.
    """
    judged_by = runtime.model(judge, "judge") if judge else _installed("judge")
    taxonomy = judged_by.taxonomy if judged_by else None
    # What cannot work should fail now, not after an hour.
    tools = {spec.label: _tools(spec) for spec in specs}
    store = Store(out / "work", names, tools, _name(judged_by), taxonomy)
    unread: dict[str, str] = {}
    total = len(pictures) * (1 + len(specs) * len(points)) + len(specs)
    counts = max(1, workers // 2), workers  # decoders measure as well, which takes longer than encoding
    # Threads of one network that wait for each other while another's have the cores waste most of both.
    threads = max(1, (os.cpu_count() or 1) // sum(counts))
    with pools(counts, threads, ray_address) as (encoders, decoders):
        pending: dict[Future[Any], _Job] = {}
        done = 0

        def settle(at_most: int) -> None:
            """Take in finished work until at most so many jobs are left; streams go on to the decoders."""
            nonlocal done
            while len(pending) > at_most:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    job = pending.pop(future)
                    try:
                        found = future.result()
                    except SempicError as error:
                        unread[job.frame.name] = str(error)
                        continue
                    if isinstance(found, Encoded):
                        assert job.coded is not None, "originals are not encoded"
                        spec, point = job.coded
                        store.keep_stream(job.place, found.data)
                        task = job.frame, found.data, spec, names, point.losses, judge
                        pending[decoders.submit(measure_picture, *task)] = replace(job, encoded=found)
                    else:
                        store.keep(job.place, job.frame, job.encoded, found)
                        done += 1
                        progress(done, total)

        for picture in pictures:
            try:
                frame = picture.read(taxonomy)
            except InputError as error:
                unread[picture.name] = str(error)
                continue
            for job in (_Job(frame), *(_Job(frame, (spec, point)) for spec in specs for point in points)):
                if store.has(job.place, frame):
                    done += 1
                    progress(done, total)
                    continue
                settle(4 * workers)  # so that a long list of pictures does not pile up in memory
                if job.coded is None:
                    pending[decoders.submit(measure_original, frame, judge)] = job
                else:
                    pending[encoders.submit(encode_picture, frame.image, *job.coded)] = job
        settle(0)
    names_read = [picture.name for picture in pictures if picture.name not in unread]
    if not names_read:
        raise InputError(f"None of the pictures could be used; the first one: {next(iter(unread.values()))}")
    timed = spread([picture for picture in pictures if picture.name not in unread], timing.PICTURES)
    images = [picture.read().image for picture in timed]
    arrived = [point for point in points if not point.losses.erase]
    timings = {}
    for spec in specs:
        timings[spec.label] = store.timing(spec, arrived, images)
        done += 1
        progress(done, total)
    about = {
        "data": data,
        "protocol": _protocol(len(images), points),
        "hardware": timing.hardware(),
        "versions": _versions(),
        "unread": unread,
        "unavailable": unavailable or {},
        "command": command,
    }
    return [store.result(spec, points, names_read, about | {"timing": timings[spec.label]}) for spec in specs]


def spread(pictures: Sequence[datasets.Picture], count: int) -> list[datasets.Picture]:
    """Return so many of the pictures, evenly spread; all of them where there are no more."""
    count = min(count, len(pictures))
    return [pictures[place * len(pictures) // count] for place in range(count)]


def _installed(kind: str, taxonomy: str = "") -> runtime.Model | None:
    """Return the default model of a kind, None where there is none."""
    try:
        return runtime.default(kind, taxonomy)
    except ModelError:
        return None


def _name(model: runtime.Model | None) -> str:
    """Return a model's name with its fingerprint; empty for none."""
    return f"{model.card.name} {model.card.fingerprint:04x}" if model else ""


def _tools(spec: Spec) -> str:
    """Return what a codec's streams depend on: releases, settings and models."""
    data = encode_picture(np.zeros((16, 16, 3), np.uint8), spec, OperatingPoint("", Target(quality=0))).data
    stream = protection.read(data)
    taxonomy = read_stream(stream, spec).taxonomy
    segmenter = _name(_installed("segmenter", taxonomy.name)) if taxonomy else ""
    return json.dumps([__version__, spec.label, f"{stream.header.fingerprint:04x}", segmenter])


def _protocol(timed: int, points: Sequence[OperatingPoint]) -> str:
    text = (
        "Each picture is encoded to a file and decoded from it in another process; bpp from whole files; segmaps "
        "predicted by the encoder; the judge takes no part in training; mIoU pooled over all pixels, void ignored. "
        f"Times: medians over {timed} of the pictures with the networks loaded, on all cores with nothing beside, in a "
        "process that encodes and another that decodes, both of one codec alone."
    )
    if links := "; ".join(dict.fromkeys(point.losses.said for point in points if point.losses.erase)):
        text += (
            f" Losses: {links}; each file is sent {TRANSMISSIONS} times, and what "
            "cannot be decoded is measured as a grey picture."
        )
    return text


def _versions() -> dict[str, str]:
    found = {"sempic": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found | {model.card.name: f"{model.card.fingerprint:04x}" for model in runtime.models()}
