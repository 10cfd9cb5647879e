"""The processes that train together: one, or as many as torchrun started."""

from __future__ import annotations

import os

import torch
from accelerate import PartialState


def on_cpu() -> bool:
    """Whether several processes train together without a GPU: Accelerate has to be given this, or each trains alone."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available()


def processes() -> PartialState:
    """Return which of how many processes this one is."""
    return PartialState(cpu=on_cpu())
