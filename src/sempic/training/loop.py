"""One training loop for every recipe: it reads from top to bottom, resumes exactly and depends on no network."""

from __future__ import annotations

import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sempic.errors import InputError, TrainingError
from sempic.training.options import RunOptions
from sempic.training.processes import on_cpu
from sempic.training.sampler import Source

CHECKPOINT = "state.pt"
LOG = "log.jsonl"
MOST_WORKERS = 8

Panels = list[tuple[str, NDArray[np.uint8] | str]]
Row = dict[str, float]
"""A line of the log: step, seconds, steps a second, the share of time spent waiting for data, and the recipe's own."""


class Recipe(ABC):
    """Networks with their data, losses and optimisers.

    `networks` are the weights that ship; `adversaries` are trained along and thrown away.
    """

    networks: nn.Module
    adversaries: nn.Module
    optimisers: list[torch.optim.Optimizer]

    @abstractmethod
    def batch(self, rng: np.random.Generator) -> Any:
        """Draw one batch on the CPU; all its randomness comes from `rng`. May run in a process of its own."""

    @abstractmethod
    def step(self, batch: Any, progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        """Update the weights once; `progress` runs from 0 to 1. Return scalars for the log.

        Gradients are cleared after each update, not before: between updates they may have to accumulate.
        """

    def preview(self, networks: nn.Module, source: Source) -> Panels:
        """Return three captioned pictures: an original, and what `networks` make of it."""
        return []


def learning_rate(step: int, steps: int, peak: float, warm_up: int = 100) -> float:
    """Linear warm-up, then half a cosine down to a fiftieth of the peak."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * (0.02 + 0.49 * (1 + float(np.cos(np.pi * step / steps))))


def train(
    recipe: Recipe,
    out: Path,
    options: RunOptions,
    max_minutes: float | None = None,
    progress: Callable[[int, Row | None], None] = lambda step, row: None,
    at_checkpoint: Callable[[int, nn.Module], None] = lambda step, averaged: None,
) -> bool:
    """Train, from the checkpoint in `out` if there is one.

    Args:
        recipe: what to train.
        out: the run's folder, for checkpoints and the log.
        options: the run's options.
        max_minutes: when to stop before `options.steps`.
        progress: called at every step with its number, and the line of the log if there is one.
        at_checkpoint: called with the step and the averaged networks.

    Returns:
        Whether all steps are done.

    Raises:
        TrainingError: a loss or weight is no longer finite; the last checkpoint is kept.
        InputError: the checkpoint is of a run with other steps or another seed.
    """
    precision = {"fp32": "no"}.get(options.precision, options.precision)
    AcceleratorState._reset_state()  # one process may train several runs, each at a precision of its own
    accelerator = Accelerator(mixed_precision=precision, gradient_accumulation_steps=options.accumulate, cpu=on_cpu())
    device = accelerator.device
    recipe.networks.to(device)
    recipe.adversaries.to(device)
    ema = deepcopy(recipe.networks).eval().requires_grad_(False)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / CHECKPOINT
    first = _load(checkpoint, recipe, ema, options, accelerator) if checkpoint.exists() else 0
    peaks = [[group.setdefault("peak", group["lr"]) for group in o.param_groups] for o in recipe.optimisers]
    plain = recipe.networks  # the unwrapped weights: what EMA follows and what is saved
    recipe.networks = accelerator.prepare_model(recipe.networks)
    recipe.optimisers = [accelerator.prepare_optimizer(o) for o in recipe.optimisers]

    batches = _batches(recipe, options, first, accelerator)
    started = saved = looked = time.monotonic()
    waited = 0.0
    sums: dict[str, Tensor] = {}
    step = logged = summed = first
    while step < options.steps:
        for optimiser, rates in zip(recipe.optimisers, peaks, strict=True):
            for group, peak in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = learning_rate(step, options.steps, peak, options.warm_up)
        for _ in range(options.accumulate):
            asked = time.monotonic()
            seed, batch = next(batches)
            waited += time.monotonic() - asked
            torch.manual_seed(seed)
            with accelerator.accumulate(recipe.networks):
                moved = [t.to(device, non_blocking=True) for t in batch]
                scalars = recipe.step(moved, step / options.steps, accelerator)
            for name, value in scalars.items():
                sums[name] = (
                    sums.get(name, torch.zeros((), device=device)) + value.detach().float() / options.accumulate
                )
        _follow(ema, plain, min(options.ema, (step + 1) / (step + 10)))
        step += 1

        now = time.monotonic()
        late = max_minutes is not None and now - started > max_minutes * 60
        due = now - saved > options.checkpoint_minutes * 60 or step == options.steps
        late, due = _agreed(accelerator, late, due or late)
        row: Row | None = None
        if due or step % options.log_every == 0:
            means = _means(sums, step - summed, accelerator)
            _check(means, step, checkpoint)
            if step % options.log_every == 0 or step == options.steps:
                took = now - looked
                speed = {"steps_per_second": (step - logged) / took, "waiting": waited / took} if took else {}
                row = {"step": step, "seconds": now - started, **speed, **means}
                row = {name: round(value, 5) for name, value in row.items()}
                sums, waited, looked, logged, summed = {}, 0.0, now, step, step
                if accelerator.is_main_process:
                    with (out / LOG).open("a") as log:
                        log.write(json.dumps(row) + "\n")
        progress(step, row)
        if due:
            if accelerator.is_main_process:
                _save(checkpoint, recipe, plain, ema, step, options, accelerator)
                at_checkpoint(step, ema)
            saved = time.monotonic()
        if late:
            break
    return step >= options.steps


def average_gradients(module: nn.Module, accelerator: Accelerator) -> None:
    """Average the gradients of a module that is not wrapped for several processes, such as a discriminator."""
    if accelerator.num_processes > 1 and accelerator.sync_gradients:
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad = accelerator.reduce(parameter.grad, "mean")


def clip_gradients(module: nn.Module, accelerator: Accelerator) -> None:
    """Bound the norm of a module's gradients to 1, once they are whole."""
    if accelerator.sync_gradients:
        accelerator.clip_grad_norm_(module.parameters(), 1.0)


def load_run(run: Path) -> dict[str, Any]:
    """Return the last checkpoint of a run; raise `InputError` where there is none."""
    path = run / CHECKPOINT
    if not path.is_file():
        raise InputError(f"{run} holds no checkpoint ({path.name}) of a training run.")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return state


def load_ema(run: Path, networks: nn.Module) -> int:
    """Load the averaged weights of a run into `networks`; return the step they are from."""
    state = load_run(run)
    try:
        networks.load_state_dict(state["ema"])
    except RuntimeError:
        raise InputError(f"The weights in {run} are of another network; their recipe or widths differ.") from None
    return int(state["step"])


class _Drawn(Dataset[tuple[int, list[Tensor]]]):
    """Batches by their place in the run, each with a seed for what the step itself draws.

    Randomness is a function of (seed, step, place in the step): resuming needs no random state and repeats nothing.
    Two processes draw what one process draws that accumulates two batches.
    """

    def __init__(self, recipe: Recipe, options: RunOptions, process: int, processes: int) -> None:
        self.draw, self.options, self.process, self.processes = recipe.batch, options, process, processes

    def __getitem__(self, index: int) -> tuple[int, list[Tensor]]:
        step, part = divmod(index, self.options.accumulate)
        rng = np.random.default_rng((self.options.seed, step, part * self.processes + self.process))
        return int(rng.integers(2**62)), list(self.draw(rng))


def _batches(
    recipe: Recipe, options: RunOptions, first: int, accelerator: Accelerator
) -> Iterator[tuple[int, list[Tensor]]]:
    """Yield the batches from step `first` on; workers make them ahead of the steps."""
    on_gpu = accelerator.device.type == "cuda"
    workers = options.workers
    if workers < 0:
        share = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        workers = min(MOST_WORKERS, share) if on_gpu else 0
    if sys.platform != "linux":  # elsewhere workers are not forked, and would each load the data anew
        workers = 0
    return iter(
        DataLoader(
            _Drawn(recipe, options, accelerator.process_index, accelerator.num_processes),
            batch_size=None,
            sampler=range(first * options.accumulate, options.steps * options.accumulate),
            collate_fn=tuple,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            multiprocessing_context="fork" if workers else None,
            pin_memory=on_gpu,
        )
    )


def _agreed(accelerator: Accelerator, *decisions: bool) -> list[bool]:
    """Return the main process's decisions in every process: clocks differ, and all must take the same turns."""
    if accelerator.num_processes == 1:
        return list(decisions)
    mine = torch.tensor([float(d and accelerator.is_main_process) for d in decisions], device=accelerator.device)
    return [bool(value) for value in accelerator.reduce(mine, "sum")]


def _means(sums: dict[str, Tensor], steps: int, accelerator: Accelerator) -> Row:
    """Return the means of what was summed over so many steps, and over all processes."""
    means = accelerator.reduce(torch.stack(list(sums.values())) / steps, "mean")
    return dict(zip(sums, means.tolist(), strict=True))


def _check(means: Row, step: int, checkpoint: Path) -> None:
    for name, value in means.items():
        if not np.isfinite(value):
            raise TrainingError(_broken(f"'{name}' is no longer a finite number", step, checkpoint))


def _broken(what: str, step: int, checkpoint: Path) -> str:
    kept = f"the last good checkpoint is kept in {checkpoint}" if checkpoint.exists() else "there is no checkpoint yet"
    return f"{what} at step {step}; {kept}, and a lower learning_rate or precision=fp32 may help."


@torch.no_grad()
def _follow(ema: nn.Module, networks: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the current ones; counters and running statistics are copied."""
    torch._foreach_lerp_(list(ema.parameters()), list(networks.parameters()), 1 - decay)
    for mine, theirs in zip(ema.buffers(), networks.buffers(), strict=True):
        mine.copy_(theirs)


def _save(
    path: Path,
    recipe: Recipe,
    networks: nn.Module,
    ema: nn.Module,
    step: int,
    options: RunOptions,
    accelerator: Accelerator,
) -> None:
    if not all(bool(parameter.isfinite().all()) for parameter in networks.parameters()):
        raise TrainingError(_broken("A weight is no longer a finite number", step, path))
    state = {
        "step": step,
        "options": asdict(options),
        "networks": networks.state_dict(),
        "ema": ema.state_dict(),
        "adversaries": recipe.adversaries.state_dict(),
        "optimisers": [o.state_dict() for o in recipe.optimisers],
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler else {},
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _load(path: Path, recipe: Recipe, ema: nn.Module, options: RunOptions, accelerator: Accelerator) -> int:
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("steps", "seed"):
        if state["options"][key] != getattr(options, key):
            raise InputError(
                f"{path} was trained with {key}={state['options'][key]}; go on with the same or choose another folder."
            )
    recipe.networks.load_state_dict(state["networks"])
    recipe.adversaries.load_state_dict(state["adversaries"])
    ema.load_state_dict(state["ema"])
    for optimiser, saved in zip(recipe.optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    if accelerator.scaler and state.get("scaler"):
        accelerator.scaler.load_state_dict(state["scaler"])
    return int(state["step"])
