"""The recipe of SPIC's denoiser."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from sempic.codecs.classic import hevc
from sempic.codecs.classic.picture import scaled
from sempic.training import showing
from sempic.training.blocks import shrink
from sempic.training.config import SpicOptions
from sempic.training.gan import PictureRecipe
from sempic.training.loop import Panels
from sempic.training.sampler import CLASSES, Sampler, Source
from sempic.training.segmenters import Segmenter
from sempic.training.spic import SIGMA_MAX, SIGMA_MIN, enlarged

SHOWN = (4, 34)
"""The scale and QP of the coarse pictures that are shown at each checkpoint."""
SCALES, QPS = (4, 4, 4, 3, 6), (20, 46)
"""How coarse pictures are made: each entry as likely, QPs between these bounds."""
STARTS = 0.6
"""The share of chains of one pass, and of noised pictures at the highest level: there most is drawn."""


class SpicRecipe(PictureRecipe):
    """Denoising at all noise levels, judged as in `PictureRecipe`.

    Squares alone would make of each step the mean of all pictures that fit, and of few steps a soft picture. A
    discriminator at every noise level lets few steps do (as in Sauer et al. 2023, without a teacher). What a later
    step sees is no noised original but what the steps before made, and is so in training (as in Kohler et al. 2024).
    """

    def __init__(self, sampler: Sampler, segmenter: Segmenter, options: SpicOptions) -> None:
        super().__init__(segmenter, options)
        self.sampler, self.options = sampler, options

    def batch(self, rng: np.random.Generator) -> list[Tensor]:
        count = self.options.batch
        images, send, labels, palette = self.sampler.draw(count, bool(rng.random() < 0.7), rng)
        segmap = shrink(send, CLASSES)
        pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        coarse = coarse_pictures(pixels, int(rng.choice(SCALES)), int(rng.integers(*QPS)))
        painted = torch.einsum("nchw,nck->nkhw", segmap, palette) + 0.5 * (1 - segmap.sum(1, keepdim=True))
        left_out = torch.from_numpy(rng.random((2, count, 1, 1, 1)))
        coarse = torch.where(left_out[0] < self.options.no_coarse, painted, coarse)
        told = segmap * (left_out[1] >= self.options.no_map)
        levels = torch.tensor(self._levels(count, rng), dtype=torch.float32)
        return [images, told.float(), labels, coarse, levels]

    def _levels(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw falling levels of noise, passes×count: of a chain, or one for each picture."""
        before = 0 if rng.random() < STARTS else int(rng.integers(self.options.chain))
        sigma = np.exp(rng.uniform(np.log(SIGMA_MIN), np.log(SIGMA_MAX), (max(before, 1), count)))
        if self.options.chain == 1:
            return np.where(rng.random(count) < STARTS, SIGMA_MAX, sigma)
        return np.vstack([np.full(count, SIGMA_MAX), -np.sort(-sigma, 0)])[: before + 1]

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        images, told, labels, coarse, levels = batch
        images = images.contiguous(memory_format=torch.channels_last)
        first, *others = levels.reshape(*levels.shape, 1, 1, 1)
        # Chains start from the coarse picture: noise of 0.5 still tells, seen from afar, what the original has besides.
        clean = torch.where(first < SIGMA_MAX, images, enlarged(coarse))
        noisy, sigma = clean + first * torch.randn_like(images), first

        def D(x: Tensor, level: Tensor) -> Tensor:
            with accelerator.autocast():  # anew each time: it remembers weights without gradients as such
                decoded: Tensor = self.networks(x, coarse, told, level.flatten())
            return decoded.float()

        for lower in others:
            with torch.no_grad():
                drawn = D(noisy, sigma)
            noisy, sigma = drawn + lower / sigma * (noisy - drawn), lower
        decoded = D(noisy, sigma)
        noise = ((decoded - images) / sigma).square().mean()
        loss = self.options.noise * noise
        scalars = self.update(decoded, decoded, images, labels, loss, progress, accelerator)
        return scalars | {"noise": noise.detach()}

    def show(self, networks: nn.Module, source: Source) -> Panels:
        image, segmap, _ = showing.inputs(source)
        pixels = showing.pixels(image)
        coarse = coarse_pictures(pixels[None], *SHOWN)
        wide = enlarged(coarse)
        noisy = wide + SIGMA_MAX * torch.randn_like(wide)
        drawn = networks(noisy, coarse, segmap, image.new_full((1,), SIGMA_MAX))
        return [("original", pixels), ("coarse", showing.pixels(wide)), ("one step", showing.pixels(drawn))]


def coarse_pictures(pixels: NDArray[np.uint8], scale: int, qp: int) -> Tensor:
    """Code pictures (N×H×W×3) by HEVC at 1/scale of their size and a QP → N×3×H/4×W/4 in [0,1].

    They are coded side by side as one picture, for x265 takes longer to start than to code.
    """
    count, height, width = pixels.shape[:3]
    row = np.concatenate(list(pixels), 1)
    size = scaled(count * width, height, scale)
    coded = hevc.expand(hevc.compress(row, *size, qp), *size, count * width // 4, height // 4)
    cut = coded.reshape(height // 4, count, width // 4, 3).transpose(1, 3, 0, 2)
    return torch.from_numpy(cut.astype(np.float32) / 255)
