"""Runs from the command line: start, resume, dry run."""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Column
from torch import nn

from sempic import datasets, sheet, taxonomy
from sempic.errors import InputError, SempicWarning
from sempic.training import config, recipe, weights
from sempic.training.config import STAGES
from sempic.training.loop import CHECKPOINT, Recipe, Row, load_run, train
from sempic.training.options import RunOptions
from sempic.training.processes import processes
from sempic.training.sampler import Source, spread
from sempic.training.sources import Pictures, Progress

PREVIEWED = 4
"""How many pictures the preview at each checkpoint has."""
DRY_RUN_PICTURES = 8
"""How many pictures of each part of the data a dry run reads."""

Report = Callable[[int, Row | None], None]


@dataclass(frozen=True)
class DryRun:
    """What a step takes: seconds, and bytes of memory, of the accelerator if there is one; and how many weights there
    are."""

    seconds: float
    memory: int
    parameters: int


def start(out: Path, name: str, settings: Sequence[str]) -> None:
    """Write the configuration of a new run of a recipe, and those of its earlier stages, into `out`; raise
    `InputError` if it is not new."""
    options = config.load(name, settings)
    state = processes()
    if state.is_main_process:
        if any(path.is_file() and path.name != config.FILE for path in (out, *out.rglob("*"))):
            raise InputError(f"'{out}' is not empty; go on with --resume {out}, or choose another --out.")
        config.save(options, out)
        for stage in STAGES.get(name, ()) if not options.init else ():
            known = config.relevant(settings, stage)
            config.save(config.load(stage, known), out / stage)
    state.wait_for_everyone()


def resume(out: Path, max_minutes: float | None, quiet: bool = False) -> bool:
    """Train the run in `out`, its earlier stages first, from where it stopped; return whether all is done.

    Where it is to be `quiet`, nothing is printed.
    """
    began = time.monotonic()
    options = config.of_run(out)
    for stage in (*(name for name in STAGES.get(options.recipe, ()) if (out / name / config.FILE).is_file()), ""):
        left = None if max_minutes is None else max_minutes - (time.monotonic() - began) / 60
        if (left is not None and left <= 0) or not _train(out / stage, left, quiet):
            return False
    return True


def is_main() -> bool:
    """Whether this process is the one of several that prints and writes."""
    return bool(processes().is_main_process)


def dry_run(name: str, settings: Sequence[str]) -> DryRun:
    """Take two steps of a recipe on a few pictures and measure the second, when all losses are at work."""
    options = replace(config.load(name, settings), steps=2, checkpoint_minutes=1e9, workers=0, tensorboard=False)
    made = recipe.build(options, limit=DRY_RUN_PICTURES)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train(made, Path(folder), options, progress=lambda step, row: times.append(_now()))
    memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else psutil.Process().memory_info().rss
    return DryRun(times[1] - times[0], memory, weights.count(made.networks))


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _train(out: Path, max_minutes: float | None, quiet: bool) -> bool:
    options = config.of_run(out)
    if (out / CHECKPOINT).is_file() and load_run(out)["step"] >= options.steps:
        return True
    # What its earlier stages made, wherever the run's folder may be by now.
    stages = {option: out / stage for stage, option in STAGES.get(options.recipe, {}).items()}
    made_before = {option: str(run) for option, run in stages.items() if run.is_dir() and not getattr(options, option)}
    main = is_main()
    with _segmenting(main and not quiet) as progress:
        made = recipe.build(replace(options, **made_before), progress=progress)
    pictures = _pictures(options) if main else []
    with _progress(options, out, main, quiet) as report:
        done = train(
            made, out, options, max_minutes, report, lambda step, ema: _preview(made, ema, pictures, out, step)
        )
    if made.left_out and main:
        words = f"{made.left_out} pictures were left out; sempic data check lists those that cannot be used."
        warnings.warn(words, SempicWarning, stacklevel=2)
    return done


def _pictures(options: RunOptions) -> Sequence[Source]:
    """Return a few validation pictures, or none where they are not here, or not with segmaps."""
    try:
        found = spread(datasets.find(config.validation(options)), PREVIEWED)
        return Pictures(found, taxonomy.load(options.taxonomy), options.longest_side)
    except InputError:
        return []


@torch.no_grad()
def _preview(made: Recipe, averaged: nn.Module, pictures: Sequence[Source], out: Path, step: int) -> None:
    """Write what the averaged networks make of pictures, three to a row."""
    if pictures:
        networks = deepcopy(averaged).cpu().eval()
        panels = [panel for source in pictures for panel in made.preview(networks, source)]
        if panels:
            sheet.sheet(panels).save(out / f"step-{step:06d}.png")


@contextmanager
def _segmenting(shown: bool) -> Iterator[Progress]:
    """Yield what reports how many segmaps are predicted, on a terminal."""
    columns = TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn()
    live = shown and sys.stderr.isatty()
    with Bar(*columns, console=Console(stderr=True), disable=not live, transient=True) as bar:
        task = bar.add_task("segmenting", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


@contextmanager
def _progress(options: RunOptions, out: Path, main: bool, quiet: bool = False) -> Iterator[Report]:
    """Yield what reports each step: a live line on a terminal, else a line for each row of the log; and TensorBoard."""
    writer = _tensorboard(out) if options.tensorboard and main else None
    live = main and not quiet and sys.stderr.isatty()
    columns = TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn()
    losses = TextColumn("{task.fields[losses]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))
    with Bar(*columns, losses, console=Console(stderr=True), expand=True, disable=not live) as bar:
        task = bar.add_task(options.recipe, total=options.steps, losses="")

        def report(step: int, row: Row | None) -> None:
            bar.update(task, completed=step)
            if row is None or not main:
                return
            values = {name: value for name, value in row.items() if name not in ("step", "seconds")}
            bar.update(task, losses=" ".join(f"{name} {value:.3g}" for name, value in values.items()))
            if not live and not quiet:
                print(f"step {step}", *(f"{name} {value:g}" for name, value in values.items()), flush=True)
            for name, value in row.items() if writer else ():
                writer.add_scalar(name, value, step)

        try:
            yield report
        finally:
            if writer:
                writer.close()


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "TensorBoard is not installed; pip install tensorboard, or leave tensorboard=true away."
        ) from None
    return SummaryWriter(out / "tensorboard")
