"""Recipes of SQ-GAN's three stages.

`sqgan-map` trains G_s, `sqgan-image` trains G_x on original maps, and `sqgan` trains G_x on the maps a decoder has.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from sempic.training import losses
from sempic.training.blocks import draw_layout, one_hot, shrink
from sempic.training.gan import PictureRecipe, draw_noise
from sempic.training.loop import Recipe
from sempic.training.sampler import CLASSES, Sampler
from sempic.training.segmenters import Segmenter
from sempic.training.sqgan import ImageStream, MapStream

CROWDING, SPREAD = 0.5, 0.5
"""The weight of the crowding of codes, and the standard deviation that it asks for (even use of the lattice: 0.56)."""
MAP_WEIGHTS = {"sign": 2.0, "pedestrian": 2.0, "bicyclist": 2.0, "pole": 1.5, "tree": 0.7, "sky": 0.7}


def random_fractions(count: int, rng: np.random.Generator) -> Tensor:
    """Draw kept fractions: a third everything, a few nothing, the rest uniform, so that one model serves every rate."""
    kind, fraction = rng.random(count), rng.uniform(0.05, 1, count)
    return torch.tensor(np.where(kind < 0.33, 1.0, np.where(kind < 0.38, 0.0, fraction)), dtype=torch.float32)


class MapRecipe(Recipe):
    """Stage 1: the map's stream, class-weighted cross-entropy."""

    def __init__(self, sampler: Sampler, batch_size: int = 16) -> None:
        self.sampler, self.batch_size = sampler, batch_size
        self.networks, self.adversaries = MapStream(CLASSES), nn.Module()
        self.optimisers = [torch.optim.AdamW(self.networks.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.01)]
        self.weights = losses.class_weights(MAP_WEIGHTS, 1.0)

    def batch(self, rng: np.random.Generator) -> list[Tensor]:
        _, send, *_ = self.sampler.draw(self.batch_size, bool(rng.random() < 0.7), rng)
        return [shrink(send, CLASSES), random_fractions(self.batch_size, rng)]

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        segmap, fraction = batch
        with accelerator.autocast():
            logits, _, _ = self.networks(segmap, fraction)
        truth = torch.where(segmap.sum(1) > 0, segmap.argmax(1), CLASSES)
        entropy = F.cross_entropy(logits.float(), truth, self.weights.to(logits.device))
        self.optimisers[0].zero_grad()
        accelerator.backward(entropy)
        accelerator.clip_grad_norm_(self.networks.parameters(), 1.0)
        self.optimisers[0].step()
        return {"entropy": entropy.detach()}


class ImageRecipe(PictureRecipe):
    """Stages 2 and 3: the picture's stream under reconstruction, features, meaning and a discriminator.

    Stage 2 sends original maps, stage 3 (`predicted`) the ones a decoder will have.
    """

    def __init__(
        self,
        sampler: Sampler,
        segmenter: Segmenter,
        predicted: bool,
        map_stream: MapStream | None = None,
        batch_size: int = 8,
        adversarial_from: float = 0.0,
    ) -> None:
        super().__init__(ImageStream(CLASSES), segmenter, adversarial_from)
        self.sampler, self.predicted, self.batch_size = sampler, predicted, batch_size
        self.map_stream = map_stream.eval().requires_grad_(False) if map_stream is not None else None
        self.relaxation = losses.class_weights(losses.RELAXATION, 0.0)

    def batch(self, rng: np.random.Generator) -> list[Tensor]:
        images, send, labels, palette = self.sampler.draw(self.batch_size, self.predicted, rng)
        return [images, send, labels, palette, random_fractions(self.batch_size, rng), torch.tensor(rng.random())]

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        images, send, labels, palette, fraction, chance = batch
        images = images.contiguous(memory_format=torch.channels_last)
        segmap = shrink(send, CLASSES)
        with accelerator.autocast():
            if self.map_stream is not None and chance < 0.2:
                segmap = self._through_tokens(segmap, fraction)
            layout = draw_layout(segmap, palette, draw_noise(segmap))
            decoded, quantised, _ = self.networks(images, segmap, layout, fraction)
            decoded = decoded.float()
            crowding = losses.crowding(quantised.codes, SPREAD)
        relaxed = decoded + losses.per_pixel(self.relaxation, labels) * (images - decoded)
        loss = CROWDING * crowding
        scalars = self.update(decoded, relaxed, images, labels, segmap, loss, progress, accelerator)
        return scalars | {"crowding": crowding.detach()}

    @torch.no_grad()
    def _through_tokens(self, segmap: Tensor, fraction: Tensor) -> Tensor:
        """What a decoder sees when the map travels as tokens."""
        assert self.map_stream is not None
        logits, _, _ = self.map_stream.to(segmap.device)(segmap, fraction.clamp(min=0.4))
        return one_hot(logits.argmax(1), CLASSES)
