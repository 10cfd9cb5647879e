"""The recipe of the layered codec's base."""

from __future__ import annotations

import math

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from sempic.training import losses, showing
from sempic.training.blocks import draw_layout, shrink
from sempic.training.config import LayeredOptions
from sempic.training.gan import PictureRecipe, draw_noise
from sempic.training.layered import CHANNELS, RATES, interpolation, read_off
from sempic.training.loop import Panels
from sempic.training.sampler import CLASSES, Sampler, Source
from sempic.training.segmenters import Segmenter

FIRST_PRICES, PRICE_RANGE = (6e-3, 3e-3, 2e-3, 1e-3), (1e-5, 2e-2)
"""What a bit a cell costs at each rate, against 1 for L1: at first, and at least and at most."""
PRICE_SPEED = 0.02
"""How much a step changes a price (as a power of e) whose rate is twice what it aims at."""
GAIN_SPEED = 20
"""How many times faster gains learn than the rest: a price must move the gains of its rate, or it moves the latents
themselves, which all rates share, until they fall silent."""
PRICING = 0.1
"""The weight of the price list's own loss, in bits a number: Adam does not mind, but gradients are clipped together."""
SPREAD = 0.5
"""The standard deviation that the loss on crowding asks of latents, before the gains."""


class LayeredRecipe(PictureRecipe):
    """The base at all its rates: what `PictureRecipe` wants, and as few bits as each rate aims at.

    The price of a bit (λ) is not set but found, a price a rate: it rises while pictures take more bits than the rate
    aims at, and falls while they take less. So a run ends at the rates it was meant for, whatever its losses weigh.
    """

    def __init__(self, sampler: Sampler, segmenter: Segmenter, options: LayeredOptions) -> None:
        super().__init__(segmenter, options)
        self.sampler, self.options = sampler, options
        gains = [self.networks.log_gains, self.networks.log_returns]
        (group,) = self.optimisers[0].param_groups
        group["params"] = [p for p in group["params"] if all(p is not gain for gain in gains)]
        self.optimisers[0].add_param_group({"params": gains, "lr": GAIN_SPEED * group["lr"], "weight_decay": 0.0})
        # Prices lie beside the balance, so that checkpoints keep them.
        self.adversaries.register_buffer("log_prices", torch.tensor(FIRST_PRICES).log())

    def batch(self, rng: np.random.Generator) -> list[Tensor]:
        predicted = bool(rng.random() < 0.7)
        count = self.options.batch
        return [*self.sampler.draw(count, predicted, rng), random_rates(count, rng)]

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        images, send, labels, palette, rate = batch
        images = images.contiguous(memory_format=torch.channels_last)
        segmap = shrink(send, CLASSES)
        with accelerator.autocast():
            sent = self.networks(images, segmap, draw_layout(segmap, palette, draw_noise(segmap)), rate)
            crowding = losses.crowding(sent.latents, SPREAD)
        decoded, heard = sent.picture.float(), rate >= 0
        shares = interpolation(rate) * heard[:, None]  # what each rate has in each picture
        spent = read_off(sent.costs, sent.levels.detach().round()).sum(1).mean((1, 2))
        pull = read_off(sent.costs.detach(), sent.levels).sum(1).mean((1, 2))
        price = (interpolation(rate) @ self.adversaries.log_prices).exp()
        pricing = (spent * heard).sum() / heard.sum().clamp(min=1)
        loss = (price * pull * heard).mean() + PRICING / CHANNELS * pricing + self.options.crowding * crowding
        scalars = self.update(decoded, decoded, images, labels, loss, progress, accelerator)
        self._reprice(spent.detach(), rate, shares, accelerator)
        return scalars | {"crowding": crowding.detach(), "bits": pricing.detach(), "price": price.mean()}

    def show(self, networks: nn.Module, source: Source) -> Panels:
        image, segmap, palette = showing.inputs(source)
        panels: Panels = [("original", showing.pixels(image))]
        for caption, rate in (("highest rate", RATES - 1.0), ("lowest rate", 0.0)):
            layout = draw_layout(segmap, palette, draw_noise(segmap))
            sent = networks(image, segmap, layout, image.new_full((1,), rate))
            panels.append((caption, showing.pixels(sent.picture)))
        return panels

    def _reprice(self, spent: Tensor, rate: Tensor, shares: Tensor, accelerator: Accelerator) -> None:
        """Move the prices of the rates that these pictures were sent at towards the bits that they aim at."""
        aim = interpolation(rate) @ torch.tensor(self.options.bits, device=rate.device)
        excess = (spent / aim - 1).clamp(-1, 1)
        change = accelerator.reduce((shares * excess[:, None]).mean(0), "mean")
        prices = self.adversaries.log_prices
        prices.copy_((prices + PRICE_SPEED * change).clamp(*map(math.log, PRICE_RANGE)))


def random_rates(count: int, rng: np.random.Generator) -> Tensor:
    """Draw rates: one in twenty nothing (-1), the rest uniform, so that one model serves every rate."""
    nothing, rate = rng.random(count) < 0.05, rng.uniform(0, RATES - 1, count)
    return torch.tensor(np.where(nothing, -1.0, rate), dtype=torch.float32)
