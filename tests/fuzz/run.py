"""Fuzz the decoders for as long as asked, and report what was tried and found.

    python tests/fuzz/run.py --executions 100000
    python tests/fuzz/run.py --seconds 3600 --report fuzzing.json
    python tests/fuzz/run.py --guided --seconds 3600        # by coverage, with atheris; stops at the first finding
    python tests/fuzz/run.py --pictures --executions 20000  # picture files of all formats instead of streams

Each execution has a number, which decides it: `--first N --executions 1` repeats one. Work is done in child processes,
so that a crash or a hang of a library is a finding and not the end. Exits with 1 where there are findings.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "src")]

BATCH = 10_000
"""Executions a process; to start one and load all models costs as much CPU as 500 of them."""
HANG = 900
"""Seconds without an execution's end after which a process is taken for hung; it may have little of a core."""
DRAWN = 500
"""Every so many executions the real networks draw, too."""


def main() -> None:
    """Run batches in processes of their own until the budget is spent."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of wall time, at most")
    parser.add_argument("--first", type=int, default=0, help="the number of the first execution")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--models", type=Path, help="where the stand-ins for models are; made where there are none")
    parser.add_argument("--guided", action="store_true")
    parser.add_argument("--pictures", action="store_true", help="open damaged picture files instead of streams")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        _work(options.work, options.first, options.executions, options.pictures)
    elif options.guided:
        _guide(options.seconds)
    else:
        sys.exit(
            _run(options.executions, options.seconds, options.first, options.report, options.models, options.pictures)
        )


def _run(
    executions: int, seconds: float, first: int, report: Path | None, models: Path | None, of_pictures: bool
) -> int:
    """Start one process after another; print and write the report, and return the exit code."""
    import hostile
    import pictures

    totals: dict[str, Any] = {"executions": 0, "accepted": 0, "damages": 0, "findings": []}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = models or folder / "models"
        os.environ["SEMPIC_MODELS"] = str(models)
        models.mkdir(exist_ok=True)
        (folder / "seeds").mkdir()
        for number, data in enumerate(pictures.seeds() if of_pictures else hostile.seeds(models)):
            (folder / "seeds" / f"{number:03}").write_bytes(data)
        while totals["executions"] < executions and (left := seconds - (time.monotonic() - started)) > 0:
            at = first + totals["executions"]
            count = min(BATCH, executions - totals["executions"])
            done = _batch(folder, at, count, left, of_pictures)
            for key in ("executions", "accepted", "damages", "findings"):
                totals[key] += done[key]
            print(f"{totals['executions']} executions, {len(totals['findings'])} findings", flush=True)
    totals |= {"seconds": round(time.monotonic() - started), "machine": platform.platform(), "python": sys.version}
    text = json.dumps(totals, indent=1)
    print(text)
    if report:
        report.write_text(text + "\n")
    return 1 if totals["findings"] else 0


def _batch(folder: Path, first: int, count: int, seconds: float, of_pictures: bool) -> dict[str, Any]:
    """Return what one process found; a process that dies or hangs is a finding, too."""
    command = [sys.executable, __file__, "--work", str(folder), "--first", str(first), "--executions", str(count)]
    command += ["--pictures"] if of_pictures else []
    log = folder / "progress.json"
    log.unlink(missing_ok=True)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline, hung = time.monotonic() + seconds, False
    while process.poll() is None:
        time.sleep(0.2)
        now = time.time()
        hung = log.exists() and now - log.stat().st_mtime > HANG
        if hung or time.monotonic() > deadline:
            process.kill()
            process.wait()
            break
    assert process.stderr is not None
    complaint = process.stderr.read().strip()
    done: dict[str, Any] = json.loads(log.read_text()) if log.exists() else {"executions": 0}
    if hung or (process.returncode and process.returncode != -9):
        what = "hangs" if hung else f"ends with {process.returncode}: {complaint[-300:]}"
        done = {"accepted": 0, "damages": 0, "findings": []} | done
        done["findings"].append({"execution": first + done["executions"], "what": what})
        done["executions"] += 1
    return done


def _work(folder: Path, first: int, count: int, of_pictures: bool) -> None:
    """Do executions by number and keep the log up to date."""
    seeds = [path.read_bytes() for path in sorted((folder / "seeds").iterdir())]
    execute = _open_picture if of_pictures else _decoder(seeds)
    log = folder / "progress.json"
    done: dict[str, Any] = {"executions": 0, "accepted": 0, "damages": 0, "findings": []}
    for number in range(first, first + count):
        part = log.with_suffix(".part")
        part.write_text(json.dumps(done))
        part.replace(log)
        try:
            done["accepted"] += execute(number, seeds, done)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {error}"
            done["findings"].append({"execution": number, "what": what})
        done["executions"] += 1
    log.write_text(json.dumps(done))


def _open_picture(number: int, seeds: list[bytes], done: dict[str, Any]) -> bool:
    """Do one execution with a picture file; return whether it was accepted."""
    import pictures

    chance = Random(number)
    done["damages"] += 1
    return pictures.check(pictures.mutate(chance.choice(seeds), chance, seeds))


def _decoder(streams: list[bytes]) -> Callable[[int, list[bytes], dict[str, Any]], bool]:
    """Return what does one execution with a stream and returns whether it was accepted; every fourth is plain damage.

    All models are loaded by then.
    """
    import hostile

    import sempic

    for data in streams:
        sempic.decode(data)
    # Large pictures take long and go through the same code, so they are taken as seldom as they are large.
    chances = [1 / (header.width * header.height) for header in map(sempic.inspect, streams)]

    def execute(number: int, streams: list[bytes], done: dict[str, Any]) -> bool:
        chance = Random(number)
        (original,) = chance.choices(streams, chances)
        with nullcontext() if number % DRAWN == 0 else hostile.nothing_drawn():
            if number % 4 == 0:
                done["damages"] += 1
                hostile.check_damage(original, hostile.damage(original, chance))
                return False
            return hostile.check(hostile.mutate(original, chance, streams))

    return execute


def _guide(seconds: float) -> None:
    """Let atheris choose by coverage what to mutate further."""
    import atheris

    with atheris.instrument_imports(include=["sempic"]):
        import hostile

    with tempfile.TemporaryDirectory() as name:
        folder, corpus = Path(name) / "models", Path(name) / "corpus"
        os.environ["SEMPIC_MODELS"] = str(folder)
        folder.mkdir()
        corpus.mkdir()
        streams = hostile.seeds(folder)
        for number, data in enumerate(streams):
            (corpus / str(number)).write_bytes(data)

        def mutate(data: bytes, most: int, seed: int) -> bytes:
            return hostile.mutate(data, Random(seed), streams)[:most]

        limits = [] if seconds == float("inf") else [f"-max_total_time={int(seconds)}"]
        with hostile.nothing_drawn():
            atheris.Setup([sys.argv[0], str(corpus), "-max_len=20000", *limits], hostile.check, custom_mutator=mutate)
            atheris.Fuzz()


if __name__ == "__main__":
    main()
