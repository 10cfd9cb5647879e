"""The networks of the layered codec's base, after Huang, Tao, Gao, Lu (2021), of whom only the abstract is known.

    picture, map ─ Encoder ─ project ─ gain of the rate ─ bounded ─ round ─▷ a few levels in each of CHANNELS numbers
    levels ─ gain back ─ enter ─ Decoder(map, colours, noise) ─ picture

Gains by rate and channel let one model serve several rates (Cui et al. 2021); between two trained rates they are
interpolated. What a level costs is told by `Pricing`, which is there for training alone: streams are written under the
integer tables of `sempic.coding.latents`. All maps are as in `blocks`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sempic.codecs.layered import LIMIT
from sempic.training.blocks import BLOCKS, WIDTHS, Blocks, Decoder, Encoder, Widths, entrance, normalised

CHANNELS = 8
RATES = 4
"""Rates that have gains of their own; a rate is a number from 0 to RATES - 1, or below 0 where nothing is sent."""
REACH = LIMIT + 0.49
"""Where `bounded` ends: just before the level after the last."""
FIRST_GAINS = (0.7, 1.2, 1.8, 2.5)


class Sent(NamedTuple):
    """What training needs to know of a batch that went through the codec.

    `picture` is N×3×H×W; `latents` and `levels` are N×CHANNELS×h×w before the gains and before rounding; `costs` are
    the bits of every level in the place of each number, N×CHANNELS×(2·LIMIT+1)×h×w.
    """

    picture: Tensor
    latents: Tensor
    levels: Tensor
    costs: Tensor


class Layered(nn.Module):
    """Encoder and generator with the gains between them."""

    def __init__(self, classes: int, widths: Widths = WIDTHS, blocks: Blocks = BLOCKS) -> None:
        super().__init__()
        width = widths[-1]
        self.encoder, self.decoder = Encoder(classes, widths, blocks[0]), Decoder(classes, widths, blocks[1])
        self.project = nn.Conv2d(width, CHANNELS, 1)
        first = torch.tensor(FIRST_GAINS).log()[:, None].repeat(1, CHANNELS)
        self.log_gains, self.log_returns = nn.Parameter(first), nn.Parameter(-first)
        self.enter = entrance(CHANNELS + 1, width)
        self.pricing = Pricing(classes)

    def encode(self, image: Tensor, segmap: Tensor) -> Tensor:
        """Return the latents, N×CHANNELS×h×w of any size: gains and rounding come after."""
        latents: Tensor = self.project(normalised(self.encoder(image, segmap)))
        return latents

    def decode(self, latents: Tensor, strength: Tensor, layout: Tensor) -> Tensor:
        """Return the picture from latents after their way back through the gains.

        `strength` (N) says how much a zero means: 0 where nothing was sent, 1 at the highest rate.
        """
        told = strength.reshape(-1, 1, 1, 1).expand_as(latents[:, :1])
        picture: Tensor = self.decoder(self.enter(torch.cat([latents, told], 1)), layout)
        return picture

    def forward(self, image: Tensor, segmap: Tensor, layout: Tensor, rate: Tensor) -> Sent:
        """Send each picture at its `rate` (N)."""
        latents = self.encode(image, segmap).float()
        levels = bounded(latents * at_rate(self.log_gains, rate))
        whole = levels.detach().round()
        through = levels + (whole - levels).detach()  # whole numbers but for float rounding, with the slope of levels
        back = through * at_rate(self.log_returns, rate) * (rate >= 0)[:, None, None, None]
        picture = self.decode(back, strength_of(rate), layout)
        return Sent(picture, latents, levels, self.pricing(whole, segmap, rate))


class Pricing(nn.Module):
    """Bits of each level of each number, given classes, rate, coded neighbours and the channels before."""

    def __init__(self, classes: int, width: int = 48) -> None:
        super().__init__()
        self.levels = 2 * LIMIT + 1
        self.around = nn.Sequential(
            nn.Conv2d(4 * CHANNELS + classes + 1, width, 1), nn.SiLU(), nn.Conv2d(width, CHANNELS * self.levels, 1)
        )
        # What the channels before say is added to the scores, each of their levels by itself.
        self.before = nn.Parameter(torch.zeros(CHANNELS * self.levels, CHANNELS * self.levels))
        earlier = torch.kron(torch.ones(CHANNELS, CHANNELS).tril(-1), torch.ones(self.levels, self.levels))
        self.register_buffer("earlier", earlier, persistent=False)

    def forward(self, values: Tensor, segmap: Tensor, rate: Tensor) -> Tensor:
        """N×CHANNELS×h×w whole numbers → N×CHANNELS×levels×h×w bits."""
        n, c, h, w = values.shape
        wide = F.pad(values, (1, 1, 1, 0))
        coded = [wide[:, :, 1:, :w], wide[:, :, :h, :w], wide[:, :, :h, 1 : w + 1], wide[:, :, :h, 2:]]
        told = strength_of(rate).reshape(-1, 1, 1, 1).expand(n, 1, h, w)
        scores = self.around(torch.cat([*coded, F.avg_pool2d(segmap, 4), told], 1))
        hot = F.one_hot(values.long() + LIMIT, self.levels).movedim(-1, 2).reshape(n, c * self.levels, h, w)
        scores = scores + F.conv2d(hot.to(scores.dtype), (self.before * self.earlier)[:, :, None, None])
        return -scores.reshape(n, c, self.levels, h, w).float().log_softmax(2) / torch.tensor(2.0).log()


def bounded(latents: Tensor) -> Tensor:
    """Map any numbers smoothly into what rounds to -LIMIT..LIMIT, with slope 1 at 0."""
    return REACH * torch.tanh(latents / REACH)


def at_rate(log_gains: Tensor, rate: Tensor) -> Tensor:
    """Return the gains (N×CHANNELS×1×1) at rates (N), interpolated between those that have their own."""
    # Spelled out, for autocast would halve the precision of a matrix product.
    return (interpolation(rate)[:, :, None] * log_gains).sum(1).exp()[:, :, None, None]


def interpolation(rate: Tensor) -> Tensor:
    """Return how much each of the RATES counts at the rates given (N) → N×RATES."""
    own = torch.arange(RATES, device=rate.device)
    return F.relu(1 - (rate.clamp(0, RATES - 1)[:, None] - own).abs())


def strength_of(rate: Tensor) -> Tensor:
    """Return a rate as the networks are told it: 0 where nothing is sent, 1/RATES at rate 0, 1 at the highest."""
    return (rate + 1).clamp(0, RATES) / RATES


def read_off(costs: Tensor, levels: Tensor) -> Tensor:
    """Return the bits of levels (N×C×h×w) from the costs of whole ones (N×C×levels×h×w), linearly between them.

    This is what a number costs that is rounded up or down at random, and it has a slope wherever rounding has none.
    """
    place = (levels + LIMIT).clamp(0, 2 * LIMIT)
    low = place.detach().floor().clamp(max=2 * LIMIT - 1)
    share = place - low
    pair = [costs.gather(2, (low + k).long()[:, :, None])[:, :, 0] for k in (0, 1)]
    return pair[0] * (1 - share) + pair[1] * share
