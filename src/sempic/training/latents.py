"""Latents of the layered codec: gains by rate, rounding, and the bits that they take.

Gains by rate and channel let one model serve several rates (Cui et al. 2021); between two trained rates they are
interpolated. Bits are estimated by the `RateModel`, which serves training alone: streams are written under the integer
tables of `sempic.coding.latents`. All segmaps are as in `blocks`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sempic import runtime
from sempic.codecs.layered_latents import LIMIT
from sempic.training.blocks import normalised, straight_through

CHANNELS = 8
RATES = 4
"""Rates that have gains of their own, of base and of fine latents each.

A rate is a number from 0 to RATES - 1, or below 0 where nothing is sent. Rates of the whole codec go on: from RATES on
they are those of fine latents, RATES less, and base latents are at their highest.
"""
REACH = LIMIT + 0.49
"""Where `soft_clip` ends: just before the level after the last."""
FIRST_GAINS = (0.7, 1.2, 1.8, 2.5)
GAINS = tuple(f"{part}.log_{kind}" for part in ("base", "fine") for kind in ("gains", "inverse_gains"))
"""The names of gains, in networks as in the tables of models."""


class LatentBatch(NamedTuple):
    """A batch of latents on their way.

    `latents` and `levels` are N×CHANNELS×h×w before the gains and before rounding; `received` are as the decoder has
    them, zeros where none are sent; `bits` are those of every level in the place of each number,
    N×CHANNELS×(2·LIMIT+1)×h×w.
    """

    latents: Tensor
    levels: Tensor
    received: Tensor
    bits: Tensor


class LatentCoder(nn.Module):
    """What makes latents of an encoder's features, and quantises them at a rate.

    Args:
        classes: how many classes there are.
        width: channels of the features.
        cells: how many cells of the segmap a place has on each side.
    """

    def __init__(self, classes: int, width: int, cells: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(width, CHANNELS, 1)
        first = torch.tensor(FIRST_GAINS).log()[:, None].repeat(1, CHANNELS)
        self.log_gains, self.log_inverse_gains = nn.Parameter(first), nn.Parameter(-first)
        self.rate_model = RateModel(classes, cells)

    def encode(self, features: Tensor) -> Tensor:
        """Return the latents, N×CHANNELS×h×w of any size: gains and rounding come after."""
        latents: Tensor = self.project(normalised(features))
        return latents

    def forward(self, features: Tensor, segmap: Tensor, rate: Tensor) -> LatentBatch:
        """Send each picture's latents at its `rate` (N)."""
        latents = self.encode(features).float()
        levels = soft_clip(latents * at_rate(self.log_gains, rate))
        whole = levels.detach().round()
        received = straight_through(levels, whole) * at_rate(self.log_inverse_gains, rate)
        received = received * (rate >= 0)[:, None, None, None]
        return LatentBatch(latents, levels, received, self.rate_model(whole, segmap, rate))


class RateModel(nn.Module):
    """Bits of each level of each number, given classes, rate, coded neighbours and the channels before."""

    def __init__(self, classes: int, cells: int, width: int = 48) -> None:
        super().__init__()
        self.levels, self.cells = 2 * LIMIT + 1, cells
        self.around = nn.Sequential(
            nn.Conv2d(4 * CHANNELS + classes + 1, width, 1), nn.SiLU(), nn.Conv2d(width, CHANNELS * self.levels, 1)
        )
        # The levels of the channels before add to the scores, each by itself.
        self.before = nn.Parameter(torch.zeros(CHANNELS * self.levels, CHANNELS * self.levels))
        earlier = torch.kron(torch.ones(CHANNELS, CHANNELS).tril(-1), torch.ones(self.levels, self.levels))
        self.register_buffer("earlier", earlier, persistent=False)

    def forward(self, values: Tensor, segmap: Tensor, rate: Tensor) -> Tensor:
        """N×CHANNELS×h×w whole numbers → N×CHANNELS×levels×h×w bits."""
        n, c, h, w = values.shape
        wide = F.pad(values, (1, 1, 1, 0))
        coded = [wide[:, :, 1:, :w], wide[:, :, :h, :w], wide[:, :, :h, 1 : w + 1], wide[:, :, :h, 2:]]
        strength = strength_of(rate).reshape(-1, 1, 1, 1).expand(n, 1, h, w)
        scores = self.around(torch.cat([*coded, F.avg_pool2d(segmap, self.cells), strength], 1))
        hot = F.one_hot(values.long() + LIMIT, self.levels).movedim(-1, 2).reshape(n, c * self.levels, h, w)
        scores = scores + F.conv2d(hot.to(scores.dtype), (self.before * self.earlier)[:, :, None, None])
        return -scores.reshape(n, c, self.levels, h, w).float().log_softmax(2) / torch.tensor(2.0).log()


def soft_clip(latents: Tensor) -> Tensor:
    """Map any numbers smoothly into what rounds to -LIMIT..LIMIT, with slope 1 at 0."""
    return REACH * torch.tanh(latents / REACH)


def rates_of(rate: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rates (N each) of base and of fine latents at rates of the whole codec."""
    return rate.clamp(max=RATES - 1), (rate - RATES).clamp(min=-1)


def at_rate(log_gains: Tensor, rate: Tensor) -> Tensor:
    """Return the gains (N×CHANNELS×1×1) at rates (N), interpolated between those that have their own."""
    # Spelled out, for autocast would halve the precision of a matrix product.
    return (interpolation(rate)[:, :, None] * log_gains).sum(1).exp()[:, :, None, None]


def interpolation(rate: Tensor) -> Tensor:
    """Return how much each of the RATES counts at the rates given (N) → N×RATES."""
    own = torch.arange(RATES, device=rate.device)
    return F.relu(1 - (rate.clamp(0, RATES - 1)[:, None] - own).abs())


def strength_of(rate: Tensor) -> Tensor:
    """Return a rate as the networks take it: 0 where nothing is sent, 1/RATES at rate 0, 1 at the highest."""
    return (rate + 1).clamp(0, RATES) / RATES


def bits_of(bits: Tensor, levels: Tensor) -> Tensor:
    """Return the bits of levels (N×C×h×w) from those of whole ones (N×C×levels×h×w), linearly between them.

    This is what a number takes that is rounded up or down at random, and it has a slope wherever rounding has none.
    """
    place = (levels + LIMIT).clamp(0, 2 * LIMIT)
    low = place.detach().floor().clamp(max=2 * LIMIT - 1)
    share = place - low
    pair = [bits.gather(2, (low + k).long()[:, :, None])[:, :, 0] for k in (0, 1)]
    return pair[0] * (1 - share) + pair[1] * share


def gains_of(model: runtime.Model) -> dict[str, Tensor]:
    """Return the logarithms of a shipped model's gains and inverse gains; nothing where it has none."""
    arrays = model.tables if runtime.TABLES in model.card.files else {}
    return {name: torch.from_numpy(arrays[name]) for name in GAINS if name in arrays}
