"""The bench: every picture through every codec at every point, by way of real files and two processes.

    picture ─ encoding process ─▷ work/LABEL/POINT/NAME.smp ─▷ decoding process ─ NAME.png, NAME.npz, NAME.json

The decoding processes never see what an encoder knew. What is finished is found again, so an interrupted run goes on
where it stopped.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from sempic import __version__, codecs, datasets, protection, runtime
from sempic.bench.jobs import SENT, Contender, Encoded, Target, encode_picture, measure_original, measure_picture
from sempic.bench.results import Result
from sempic.bench.work import ORIGINALS, Work, fingerprint
from sempic.channel import PACKET
from sempic.errors import InputError, SempicError
from sempic.pool import pools
from sempic.segment import BUILT_IN

_PACKAGES = ("numpy", "pillow", "onnxruntime", "constriction", "av", "imagecodecs", "pyvips-binary")


def run(
    data: str,
    pictures: Sequence[datasets.Picture],
    contenders: Sequence[Contender],
    targets: Sequence[Target],
    names: Sequence[str],
    out: Path,
    *,
    workers: int,
    ray_address: str | None = None,
    unavailable: dict[str, str] | None = None,
    command: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Result]:
    """Measure all contenders; return one result each, in their order.

    `names` are those of metrics that are available; those in `unavailable`, with the reason, are only reported.
    Pictures that cannot be read or encoded are left out of all results and named in `Result.unread`; `InputError` when
    that is all of them. Raises what a codec raises when it cannot work at all.
    """
    # What cannot work should say so now, not after an hour.
    work = Work(out / "work", names, {contender.label: _tools(contender) for contender in contenders})
    unread: dict[str, str] = {}
    total = len(pictures) * (1 + len(contenders) * len(targets))
    counts = max(1, workers // 2), workers  # decoders measure as well, which takes longer than encoding
    # Threads of one network that wait for each other while another's have the cores waste most of both.
    threads = max(1, (os.cpu_count() or 1) // sum(counts))
    with pools(counts, threads, ray_address) as (encoders, decoders):
        pending: dict[Future[Any], tuple[Path, datasets.Frame, Encoded | None]] = {}
        done = 0

        def settle(at_most: int) -> None:
            """Take in finished work until at most so many jobs are left; streams go on to the decoders."""
            nonlocal done
            while len(pending) > at_most:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    place, frame, encoded = pending.pop(future)
                    try:
                        found = future.result()
                    except SempicError as error:
                        unread[frame.name] = str(error)
                        continue
                    if isinstance(found, Encoded):
                        work.keep_stream(place, found.data)
                        pending[decoders.submit(measure_picture, frame, found, names)] = place, frame, found
                    else:
                        work.keep(place, frame, encoded, found)
                        done += 1
                        progress(done, total)

        for picture in pictures:
            try:
                frame = picture.read()
            except InputError as error:
                unread[picture.name] = str(error)
                continue
            for place, contender, target in _places(frame.name, contenders, targets):
                if work.has(place, frame):
                    done += 1
                    progress(done, total)
                    continue
                settle(4 * workers)  # so that a long list of pictures does not pile up in memory
                if contender is None or target is None:
                    pending[decoders.submit(measure_original, frame)] = place, frame, None
                else:
                    pending[encoders.submit(encode_picture, frame.image, contender, target)] = place, frame, None
        settle(0)
    names_read = [picture.name for picture in pictures if picture.name not in unread]
    if not names_read:
        raise InputError(f"None of the pictures could be used; of the first it is said: {next(iter(unread.values()))}")
    protocol = (
        "Each picture is encoded to a file and decoded from it in another process; bpp from whole files; segmaps "
        "predicted by the encoder; the judge takes no part in training; mIoU pooled over all pixels, void ignored. "
        f"Times: medians while {workers} processes share {os.cpu_count()} cores, each network on its process's share."
    )
    if any(target.erase for target in targets):
        protocol += (
            f" Losses: packets of {PACKET} bytes, independently; each file is sent {SENT} times, and what cannot be "
            "decoded is measured as a grey picture."
        )
    about = {
        "data": data,
        "protocol": protocol,
        "hardware": _hardware(),
        "versions": _versions(),
        "unread": unread,
        "unavailable": unavailable or {},
        "command": command,
    }
    return [work.result(contender, targets, names_read, about) for contender in contenders]


def _places(
    name: str, contenders: Sequence[Contender], targets: Sequence[Target]
) -> Iterator[tuple[Path, Contender | None, Target | None]]:
    """Yield where a picture's files go: of the original, then of each contender at each point."""
    yield Path(ORIGINALS) / name, None, None
    for contender in contenders:
        for target in targets:
            yield Path(contender.label) / target.text / name, contender, target


def _tools(contender: Contender) -> str:
    """Return what a contender's streams depend on: releases, settings and models."""
    data = encode_picture(np.zeros((16, 16, 3), np.uint8), contender, Target("q0", quality=0)).data
    header = protection.read(data).header
    learned = codecs.codec(contender.codec).model(header)
    models = [f"{header.fingerprint:04x}", fingerprint(BUILT_IN)] if learned else []
    return json.dumps([__version__, contender.label, *models])


def _hardware() -> str:
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{os.cpu_count()} cores of {model}, {platform.system()}, Python {platform.python_version()}"


def _versions() -> dict[str, str]:
    found = {"sempic": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found | {model.card.name: f"{model.card.fingerprint:04x}" for model in runtime.models()}
