"""The losses of decoded pictures and of what is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sempic.taxonomy import VOID


def per_pixel(numbers: Sequence[float], labels: Tensor) -> Tensor:
    """Look up numbers by class (classes + 1) for N×H×W ids → N×1×H×W; void takes the last."""
    return torch.tensor(numbers, device=labels.device)[labels.clamp(max=len(numbers) - 1)][:, None]


def random_shift(reach: int) -> Callable[[Tensor], Tensor]:
    """Draw a shift by at most `reach` pixels in both directions, for all batches (N×C×H×W) of one size.

    Unless pictures are shifted, a pattern of the decoder's own always meets strided layers at the same places.
    """
    down, right = torch.randint(2 * reach + 1, (2,)).tolist()

    def shift(x: Tensor) -> Tensor:
        wide = F.pad(x, (reach,) * 4, mode="reflect")
        return wide[..., down : down + x.shape[-2], right : right + x.shape[-1]]

    return shift


def feature_distance(fake: list[Tensor], real: list[Tensor]) -> Tensor:
    """Mean absolute difference of lists of features (N×C×h×w each), each channel in units of its mean magnitude."""
    total = fake[0].new_zeros((), dtype=torch.float32)
    for f, r in zip(fake, real, strict=True):
        unit = r.float().abs().mean((0, 2, 3), keepdim=True) + 1e-3
        total = total + ((f.float() - r.float()).abs() / unit).mean()
    return total / len(fake)


def semantic_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of a prediction of the decoded picture (quarter size) against N×H×W labels; void does not count."""
    return _cross_entropy(logits, labels[:, 2::4, 2::4], logits.new_ones(logits.shape[1], dtype=torch.float32))


def colour_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """Mean absolute difference of the mean colours of 4×4 pixels, of N×3×H×W pictures.

    Tints count more than brightness, which all other losses see anyway.
    """
    difference = F.avg_pool2d(decoded - images, 4)
    tint = difference - difference.mean(1, keepdim=True)
    return difference.abs().mean() + 3 * tint.abs().mean()


def variance_covariance(codes: Tensor, deviation: float) -> Tensor:
    """How far the D numbers of N×D×h×w codes fall short of a standard deviation, and of independence.

    Codes that lie on few points of the lattice carry less than their bits could (as in VICReg, Bardes et al. 2022).
    """
    rows = codes.float().movedim(1, -1).flatten(0, -2)
    covariance = torch.cov(rows.T)
    found = covariance.diagonal().clamp(min=1e-4).sqrt()
    correlation = (covariance / found[:, None] / found).triu(1)
    pairs = len(found) * (len(found) - 1) / 2
    return F.relu(deviation - found).mean() + correlation.square().sum() / pairs


def generator_loss(logits: list[Tensor], labels: Tensor, importance: Sequence[float]) -> Tensor:
    """Cross-entropy of a discriminator's heads against N×H×W labels, averaged over heads; void does not count.

    The generator lowers it on what it draws, the discriminator on originals.
    """
    weight = torch.tensor([*importance[:-1], 1.0], device=labels.device)
    return torch.stack([_cross_entropy(x, _at(labels, x), weight) for x in logits]).mean()


def drawn_loss(logits: list[Tensor]) -> Tensor:
    """Cross-entropy of a discriminator's heads against "drawn" everywhere, averaged over heads."""
    return torch.stack([-x.float().log_softmax(1)[:, -1].mean() for x in logits]).mean()


def discriminator_loss(real: list[Tensor], fake: list[Tensor], labels: Tensor, importance: Sequence[float]) -> Tensor:
    """What a discriminator lowers: originals (`real` logits) have their classes, all else (`fake` logits) is drawn."""
    return generator_loss(real, labels, importance) + drawn_loss(fake)


def _cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over all places that are not void; 0 where there are none, of which PyTorch's own mean is NaN."""
    entropy = F.cross_entropy(logits.float(), labels, weight, ignore_index=VOID, reduction="sum")
    total = (weight[labels.clamp(max=len(weight) - 1)] * (labels != VOID)).sum()
    return entropy / total.clamp(min=1e-6)


def _at(labels: Tensor, logits: Tensor) -> Tensor:
    """Return the labels at the places of logits."""
    stride = labels.shape[-1] // logits.shape[-1]
    return labels[:, stride // 2 :: stride, stride // 2 :: stride]
