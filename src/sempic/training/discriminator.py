"""The discriminator of all generators."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sempic.efficientnet import TAPPED_CHANNELS


class HeadOutputs(NamedTuple):
    """What a discriminator's heads return: logits by place (N×(classes+1)×h×w, the last for "drawn"), and the hidden
    features that they are computed from."""

    logits: list[Tensor]
    hidden: list[Tensor]


class Discriminator(nn.Module):
    """Segmenters of pixels and of perceptual features that predict classes in originals, and "drawn" in drawn pictures.

    A generator lowers its loss by drawing what is recognised as the class that belongs there: as in OASIS (Schönfeld et
    al. 2021). Heads on frozen features beside those on pixels are the idea of projected GANs (Sauer et al. 2021): they
    learn in thousands of steps what a discriminator on pixels alone learns in hundreds of thousands. Pixels are
    smoothed before they are subsampled (Zhang 2019), so that no pattern falls between the samples.
    """

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.first = spectral_norm(nn.Conv2d(3, width, 4, 1, 1))
        self.second = spectral_norm(nn.Conv2d(width, 2 * width, 4, 2, 1))
        self.pixels = self._head(2 * width, 3 * width, classes)
        self.features = nn.ModuleList(self._head(c, 96, classes) for c in TAPPED_CHANNELS[:3])

    @staticmethod
    def _head(channels: int, width: int, classes: int) -> nn.Sequential:
        return nn.Sequential(
            spectral_norm(nn.Conv2d(channels, width, 3, padding=1)), nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(width, width, 3, padding=1)), nn.LeakyReLU(0.2),
            nn.Conv2d(width, classes + 1, 1),
        )  # fmt: skip

    def forward(self, image: Tensor, features: list[Tensor]) -> HeadOutputs:
        """N×3×H×W pictures, H and W multiples of 4, and their perceptual features → outputs at strides 4, 4, 8, 16."""
        x = F.leaky_relu(smoothed(self.first(image * 2 - 1), (1, 3, 3, 1), 2), 0.2)
        x = F.leaky_relu(self.second(smoothed(x, (1, 2, 1))), 0.2)
        hidden = [self.pixels[:-1](x)]
        for f, head in zip(features[:3], self.features, strict=True):
            # Features reach magnitudes of ten and more; a fixed scale keeps the heads in their working range.
            hidden.append(head[:-1](f * 0.2))
        heads = [self.pixels, *self.features]
        return HeadOutputs([head[-1](h) for head, h in zip(heads, hidden, strict=True)], hidden)


def smoothed(x: Tensor, row: tuple[int, ...], stride: int = 1) -> Tensor:
    """Filter N×C×H×W planes with a row in both directions, edges repeated, and take every `stride`-th place.

    Sides are those of the planes, divided by the stride and rounded up.
    """
    weights = x.new_tensor(row)
    kernel = (weights[:, None] * weights / weights.sum() ** 2).expand(x.shape[1], 1, -1, -1)
    before = (len(row) - 1) // 2
    right, below = (stride * (-(-side // stride) - 1) + len(row) - before - side for side in (x.shape[3], x.shape[2]))
    wide = F.pad(x, (before, right, before, below), mode="replicate")
    return F.conv2d(wide, kernel, stride=stride, groups=x.shape[1])
