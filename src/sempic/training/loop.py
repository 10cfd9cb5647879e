"""One training loop for every recipe: it reads from top to bottom, resumes exactly and knows nothing of any network."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from sempic.errors import InputError


@dataclass(frozen=True)
class Options:
    """What a training run is told; saved as JSON beside its checkpoints."""

    steps: int
    max_minutes: float | None = None
    seed: int = 0
    precision: str = "bf16"
    ema: float = 0.998
    log_every: int = 50
    checkpoint_minutes: float = 5.0


class Recipe(ABC):
    """A model with its data, losses and optimisers.

    `networks` are the weights that ship; `adversaries` are trained along and thrown away.
    """

    networks: nn.Module
    adversaries: nn.Module
    optimisers: list[torch.optim.Optimizer]

    @abstractmethod
    def batch(self, rng: np.random.Generator) -> Any:
        """Draw one batch on the CPU; all its randomness comes from `rng`."""

    @abstractmethod
    def step(self, batch: Any, progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        """Update the weights once; `progress` runs from 0 to 1. Return scalars for the log."""


def learning_rate(step: int, steps: int, peak: float, warm_up: int = 100) -> float:
    """Linear warm-up, then half a cosine down to a fiftieth of the peak."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * (0.02 + 0.49 * (1 + float(np.cos(np.pi * step / steps))))


def train(recipe: Recipe, out: Path, options: Options, say: Callable[[str], None] = print) -> bool:
    """Train until `steps` or `max_minutes`; return whether all steps are done. A run found in `out` is resumed."""
    accelerator = Accelerator(mixed_precision=options.precision)
    device = accelerator.device
    recipe.networks.to(device)
    recipe.adversaries.to(device)
    ema = deepcopy(recipe.networks).eval().requires_grad_(False)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "state.pt"
    first = _resume(checkpoint, recipe, ema, options) if checkpoint.exists() else 0
    peaks = [[group.setdefault("peak", group["lr"]) for group in o.param_groups] for o in recipe.optimisers]
    plain = recipe.networks  # the unwrapped weights: what EMA follows and what is saved
    recipe.networks = accelerator.prepare_model(recipe.networks)
    recipe.optimisers = [accelerator.prepare_optimizer(o) for o in recipe.optimisers]
    if accelerator.is_main_process:
        (out / "options.json").write_text(json.dumps(asdict(options), indent=1) + "\n")

    started = saved = time.monotonic()
    sums: dict[str, float] = {}
    step = logged = first
    while step < options.steps:
        # Randomness is a function of (seed, step, process): resuming needs no random state and repeats nothing.
        rng = np.random.default_rng((options.seed, step, accelerator.process_index))
        torch.manual_seed(int(rng.integers(2**62)))
        for optimiser, rates in zip(recipe.optimisers, peaks, strict=True):
            for group, peak in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = learning_rate(step, options.steps, peak)
        batch = [t.to(device, non_blocking=True) for t in recipe.batch(rng)]
        scalars = recipe.step(batch, step / options.steps, accelerator)
        _follow(ema, plain, min(options.ema, (step + 1) / (step + 10)))
        step += 1

        for name, value in scalars.items():
            sums[name] = sums.get(name, 0.0) + float(value)
        now = time.monotonic()
        late = options.max_minutes is not None and now - started > options.max_minutes * 60
        if accelerator.is_main_process and (step % options.log_every == 0 or step == options.steps):
            row = {k: round(v / (step - logged), 5) for k, v in sums.items()}
            row = {"step": step, "seconds": round(now - started, 1), **row}
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            say(" ".join(f"{k} {v:g}" for k, v in row.items()))
            sums.clear()
            logged = step
        due = now - saved > options.checkpoint_minutes * 60 or step == options.steps or late
        if accelerator.is_main_process and due:
            _save(checkpoint, recipe, plain, ema, step, options)
            saved = time.monotonic()
        if late:
            break
    return step >= options.steps


def average_gradients(module: nn.Module, accelerator: Accelerator) -> None:
    """Average the gradients of a module that is not wrapped for several processes, such as a discriminator."""
    if accelerator.num_processes > 1:
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad = accelerator.reduce(parameter.grad, "mean")


def load_run(run: Path) -> dict[str, Any]:
    """Return the last checkpoint of a run; raise `InputError` where there is none."""
    path = run / "state.pt"
    if not path.is_file():
        raise InputError(f"{run} holds no checkpoint ({path.name}) of a training run.")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load_ema(run: Path, networks: nn.Module) -> int:
    """Load the averaged weights of a run into `networks`; return the step they are from."""
    state = load_run(run)
    networks.load_state_dict(state["ema"])
    return int(state["step"])


@torch.no_grad()
def _follow(ema: nn.Module, networks: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the current ones; counters and running statistics are copied."""
    torch._foreach_lerp_(list(ema.parameters()), list(networks.parameters()), 1 - decay)
    for mine, theirs in zip(ema.buffers(), networks.buffers(), strict=True):
        mine.copy_(theirs)


def _save(path: Path, recipe: Recipe, networks: nn.Module, ema: nn.Module, step: int, options: Options) -> None:
    state = {
        "step": step,
        "options": asdict(options),
        "networks": networks.state_dict(),
        "ema": ema.state_dict(),
        "adversaries": recipe.adversaries.state_dict(),
        "optimisers": [o.state_dict() for o in recipe.optimisers],
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _resume(path: Path, recipe: Recipe, ema: nn.Module, options: Options) -> int:
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
    return int(state["step"])
