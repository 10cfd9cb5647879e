"""The recipe of SPIC's denoiser."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from sempic.codecs.classic import hevc
from sempic.codecs.classic.picture import scaled
from sempic.training.blocks import shrink
from sempic.training.gan import PictureRecipe
from sempic.training.sampler import CLASSES, Sampler
from sempic.training.segmenters import Segmenter
from sempic.training.spic import SIGMA_MAX, SIGMA_MIN, Denoiser

NO_MAP, NO_COARSE = 0.2, 0.05
"""How often the map is left out, for guidance, and how often the coarse picture is, as in a stream that was cut."""
SCALES, QPS = (4, 4, 4, 3, 6), (20, 46)
"""How coarse pictures are made: each scale as likely, QPs between these bounds."""


class SpicRecipe(PictureRecipe):
    """Denoising at all noise levels, judged as in `PictureRecipe`.

    Squares alone would make of each step the mean of all pictures that fit, and of few steps a soft picture. A
    discriminator at every noise level lets few steps do (as in Sauer et al. 2023, without a teacher).
    """

    squares = 4.0

    def __init__(
        self, sampler: Sampler, segmenter: Segmenter, batch_size: int = 8, adversarial_from: float = 0.3
    ) -> None:
        super().__init__(Denoiser(CLASSES), segmenter, adversarial_from)
        self.sampler, self.batch_size = sampler, batch_size

    def batch(self, rng: np.random.Generator) -> list[Tensor]:
        images, send, labels, palette = self.sampler.draw(self.batch_size, bool(rng.random() < 0.7), rng)
        segmap = shrink(send, CLASSES)
        pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        coarse = coarse_pictures(pixels, int(rng.choice(SCALES)), int(rng.integers(*QPS)))
        painted = torch.einsum("nchw,nck->nkhw", segmap, palette) + 0.5 * (1 - segmap.sum(1, keepdim=True))
        left_out = torch.from_numpy(rng.random((2, self.batch_size, 1, 1, 1)))
        coarse = torch.where(left_out[0] < NO_COARSE, painted, coarse)
        # Chains start at the highest level, where most is to be drawn.
        sigma = np.exp(rng.uniform(np.log(SIGMA_MIN), np.log(SIGMA_MAX), self.batch_size))
        sigma = np.where(rng.random(self.batch_size) < 0.2, SIGMA_MAX, sigma)
        told = segmap * (left_out[1] >= NO_MAP)
        return [images, segmap, told.float(), labels, coarse, torch.tensor(sigma, dtype=torch.float32)]

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        images, segmap, told, labels, coarse, sigma = batch
        images = images.contiguous(memory_format=torch.channels_last)
        noisy = images + sigma.reshape(-1, 1, 1, 1) * torch.randn_like(images)
        with accelerator.autocast():
            decoded = self.networks(noisy, coarse, told, sigma)
        decoded = decoded.float()
        return self.update(decoded, decoded, images, labels, segmap, decoded.new_zeros(()), progress, accelerator)


def coarse_pictures(pixels: NDArray[np.uint8], scale: int, qp: int) -> Tensor:
    """Code pictures (N×S×S×3) by HEVC at 1/scale of their size and a QP → N×3×S/4×S/4 in [0,1].

    They are coded side by side as one picture, for x265 takes longer to start than to code.
    """
    count, side = pixels.shape[:2]
    row = np.concatenate(list(pixels), 1)
    size = scaled(count * side, side, scale)
    coded = hevc.expand(hevc.compress(row, *size, qp), *size, count * side // 4, side // 4)
    cut = coded.reshape(side // 4, count, side // 4, 3).transpose(1, 3, 0, 2)
    return torch.from_numpy(cut.astype(np.float32) / 255)
