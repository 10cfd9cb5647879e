"""Recipes of SQ-GAN's three stages.

`sqgan-map` trains G_s, `sqgan-image` trains G_x on original maps, and `sqgan` trains G_x on the maps a decoder has.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from sempic.training import losses, models, showing
from sempic.training.blocks import draw_layout, one_hot, shrink
from sempic.training.config import ImageOptions, MapOptions
from sempic.training.gan import PictureRecipe, draw_noise
from sempic.training.loop import Panels, Recipe, clip_gradients
from sempic.training.sampler import CLASSES, Sampler, Source
from sempic.training.segmenters import Segmenter
from sempic.training.sqgan import MapStream, perplexity

SPREAD = 0.5
"""The standard deviation that the loss on crowding asks of codes (even use of the lattice: 0.56)."""
FRACTIONS = {"all tokens": 1.0, "30 % of the tokens": 0.3}
"""What is shown of a stream at each checkpoint."""


def random_fractions(count: int, rng: np.random.Generator) -> Tensor:
    """Draw kept fractions: a third everything, a few nothing, the rest uniform, so that one model serves every rate."""
    kind, fraction = rng.random(count), rng.uniform(0.05, 1, count)
    return torch.tensor(np.where(kind < 0.33, 1.0, np.where(kind < 0.38, 0.0, fraction)), dtype=torch.float32)


class MapRecipe(Recipe):
    """Stage 1: the map's stream, class-weighted cross-entropy."""

    def __init__(self, sampler: Sampler, options: MapOptions) -> None:
        self.sampler, self.batch_size = sampler, options.batch
        self.networks, self.adversaries = models.network(options), nn.Module()
        self.optimisers = [
            torch.optim.AdamW(
                self.networks.parameters(),
                lr=options.learning_rate,
                betas=options.betas,
                weight_decay=options.weight_decay,
            )
        ]
        self.weights = torch.tensor(options.importance)

    def batch(self, rng: np.random.Generator) -> list[Tensor]:
        _, send, *_ = self.sampler.draw(self.batch_size, bool(rng.random() < 0.7), rng)
        return [shrink(send, CLASSES), random_fractions(self.batch_size, rng)]

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        segmap, fraction = batch
        with accelerator.autocast():
            logits, quantised, _ = self.networks(segmap, fraction)
        truth = torch.where(segmap.sum(1) > 0, segmap.argmax(1), CLASSES)
        entropy = F.cross_entropy(logits.float(), truth, self.weights.to(logits.device))
        accelerator.backward(entropy)
        clip_gradients(self.networks, accelerator)
        self.optimisers[0].step()
        self.optimisers[0].zero_grad()
        return {"entropy": entropy.detach(), "codes": perplexity(quantised.indices)}

    def show(self, networks: nn.Module, source: Source) -> Panels:
        _, segmap, _ = showing.inputs(source)
        panels: Panels = [("map", showing.coloured(segmap))]
        for caption, fraction in FRACTIONS.items():
            logits, _, _ = networks(segmap, segmap.new_full((1,), fraction))
            panels.append((caption, showing.coloured(one_hot(logits.argmax(1), CLASSES))))
        return panels


class ImageRecipe(PictureRecipe):
    """Stages 2 and 3: the picture's stream under reconstruction, features, meaning and a discriminator.

    Stage 2 sends original maps, stage 3 (`predicted`) the ones a decoder will have.
    """

    def __init__(
        self,
        sampler: Sampler,
        segmenter: Segmenter,
        options: ImageOptions,
        map_stream: MapStream | None = None,
    ) -> None:
        super().__init__(segmenter, options)
        self.sampler, self.options = sampler, options
        self.map_stream = map_stream.eval().requires_grad_(False) if map_stream is not None else None

    def batch(self, rng: np.random.Generator) -> list[Tensor]:
        count = self.options.batch
        images, send, labels, palette = self.sampler.draw(count, self.options.predicted, rng)
        return [images, send, labels, palette, random_fractions(count, rng), torch.tensor(rng.random())]

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        images, send, labels, palette, fraction, chance = batch
        images = images.contiguous(memory_format=torch.channels_last)
        segmap = shrink(send, CLASSES)
        with accelerator.autocast():
            if self.map_stream is not None and chance < self.options.through_tokens:
                segmap = self._through_tokens(segmap, fraction)
            layout = draw_layout(segmap, palette, draw_noise(segmap))
            decoded, quantised, _ = self.networks(images, segmap, layout, fraction)
            decoded = decoded.float()
            crowding = losses.crowding(quantised.codes, SPREAD)
        relaxed = decoded + losses.per_pixel(self.options.relaxation, labels) * (images - decoded)
        loss = self.options.crowding * crowding
        scalars = self.update(decoded, relaxed, images, labels, loss, progress, accelerator)
        return scalars | {"crowding": crowding.detach(), "codes": perplexity(quantised.indices)}

    def show(self, networks: nn.Module, source: Source) -> Panels:
        image, segmap, palette = showing.inputs(source)
        panels: Panels = [("original", showing.pixels(image))]
        for caption, fraction in FRACTIONS.items():
            layout = draw_layout(segmap, palette, draw_noise(segmap))
            decoded, _, _ = networks(image, segmap, layout, image.new_full((1,), fraction))
            panels.append((caption, showing.pixels(decoded)))
        return panels

    @torch.no_grad()
    def _through_tokens(self, segmap: Tensor, fraction: Tensor) -> Tensor:
        """What a decoder sees when the map travels as tokens."""
        assert self.map_stream is not None
        logits, _, _ = self.map_stream.to(segmap.device)(segmap, fraction.clamp(min=0.4))
        return one_hot(logits.argmax(1), CLASSES)
