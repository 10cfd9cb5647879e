"""What a decoded picture is judged by in training: colours, features, meaning, and a discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sempic.taxonomy import VOID
from sempic.training.backbone import TAPPED_CHANNELS
from sempic.training.segmenters import Segmenter


def per_pixel(weights: Sequence[float], labels: Tensor) -> Tensor:
    """Look up class weights (classes + 1) for N×H×W ids → N×1×H×W; void takes the last."""
    return torch.tensor(weights, device=labels.device)[labels.clamp(max=len(weights) - 1)][:, None]


class Critic(nn.Module):
    """The frozen segmenter as a measure: one pass gives features to compare and a reading of the scene."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """N×3×H×W pictures → features at strides 4 to 32, and logits at a quarter of the size."""
        features = self.segmenter.encoder(image.clamp(-0.2, 1.2))
        return features, self.segmenter.decode(features)


def feature_distance(fake: list[Tensor], real: list[Tensor]) -> Tensor:
    """Mean absolute difference of lists of features (N×C×h×w each), each channel in units of its mean magnitude."""
    total = fake[0].new_zeros((), dtype=torch.float32)
    for f, r in zip(fake, real, strict=True):
        unit = r.float().abs().mean((0, 2, 3), keepdim=True) + 1e-3
        total = total + ((f.float() - r.float()).abs() / unit).mean()
    return total / len(fake)


def semantic_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the critic's reading of the decoded picture (quarter size) against N×H×W labels."""
    small = labels[:, 2::4, 2::4]
    return F.cross_entropy(logits.float(), small, ignore_index=VOID)


def crowding(codes: Tensor, wanted: float) -> Tensor:
    """How much the D numbers of N×D×h×w codes fall short of a standard deviation of `wanted`, and of independence.

    Codes that crowd on a few points of the lattice say less than their bits could (as in VICReg, Bardes et al. 2022).
    """
    rows = codes.float().movedim(1, -1).flatten(0, -2)
    covariance = torch.cov(rows.T)
    deviation = covariance.diagonal().clamp(min=1e-4).sqrt()
    correlation = (covariance / deviation[:, None] / deviation).triu(1)
    pairs = len(deviation) * (len(deviation) - 1) / 2
    return F.relu(wanted - deviation).mean() + correlation.square().sum() / pairs


class Judgement(NamedTuple):
    """What a discriminator's heads say: logits by place (N×(classes+1)×h×w, the last for "drawn"), and the features
    that they are read from."""

    logits: list[Tensor]
    hidden: list[Tensor]


class Discriminator(nn.Module):
    """Segmenters of pixels and of the critic's features that read classes in originals, and "drawn" in what is drawn.

    Whoever wants to fool them must draw what is recognised as the class that belongs there: as in OASIS (Schönfeld et
    al. 2021). Judging frozen features next to pixels is the idea of projected GANs (Sauer et al. 2021): it learns in
    thousands of steps what a discriminator on pixels alone learns in hundreds of thousands.
    """

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.first = spectral_norm(nn.Conv2d(3, width, 4, 2, 1))
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

    def forward(self, image: Tensor, features: list[Tensor]) -> Judgement:
        """N×3×H×W pictures and their features → judgement at strides 4, 4, 8, 16."""
        x = F.leaky_relu(self.first(image * 2 - 1), 0.2)
        x = F.leaky_relu(self.second(x), 0.2)
        hidden = [self.pixels[:-1](x)]
        for f, head in zip(features[:3], self.features, strict=True):
            # Features reach magnitudes of ten and more; a fixed scale keeps the heads in their working range.
            hidden.append(head[:-1](f * 0.2))
        return Judgement([head[-1](h) for head, h in zip([self.pixels, *self.features], hidden, strict=True)], hidden)


def recognised(logits: list[Tensor], labels: Tensor, importance: Sequence[float]) -> Tensor:
    """Cross-entropy of a discriminator's reading against N×H×W labels, averaged over its heads; void does not count."""
    *weights, _ = importance
    weight = torch.tensor([*weights, 1.0], device=labels.device)
    return torch.stack([F.cross_entropy(x.float(), _at(labels, x), weight, ignore_index=VOID) for x in logits]).mean()


def seen_through(logits: list[Tensor]) -> Tensor:
    """Cross-entropy of a discriminator's reading against "drawn" everywhere, averaged over its heads."""
    return torch.stack([-x.float().log_softmax(1)[:, -1].mean() for x in logits]).mean()


def _at(labels: Tensor, logits: Tensor) -> Tensor:
    """Return the labels at the places of logits."""
    stride = labels.shape[-1] // logits.shape[-1]
    return labels[:, stride // 2 :: stride, stride // 2 :: stride]
