"""The segmenter that ships with Sempic, and the judge that scores decoded pictures: two architectures on purpose."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sempic.training.backbone import TAPPED_CHANNELS, EfficientNetLite


def _conv_norm(channels_in: int, channels_out: int, kernel: int = 3, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _grow(x: Tensor, factor: int = 2) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class Segmenter(nn.Module):
    """EfficientNet-Lite0 with a feature-pyramid head (Lin et al. 2017).

    N×3×H×W pictures in [0,1], H and W multiples of 32 → N×classes×H/4×W/4 logits.
    """

    def __init__(self, classes: int, width: int = 96, pretrained: bool = True) -> None:
        super().__init__()
        self.encoder = EfficientNetLite("lite0", pretrained)
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in TAPPED_CHANNELS)
        self.smooth = nn.ModuleList(_conv_norm(width, width) for _ in TAPPED_CHANNELS[:3])
        self.head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(width, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encoder(x))

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return logits from the encoder's features, so that losses can share one pass over the encoder."""
        levels = [lateral(f) for lateral, f in zip(self.lateral, features, strict=True)]
        x = levels[3]
        for level, smooth in zip(levels[2::-1], list(self.smooth)[::-1], strict=True):
            x = smooth(level + _grow(x))
        logits: Tensor = self.head(x)
        return logits


class Judge(nn.Module):
    """EfficientNet-Lite1 with pyramid pooling and a concatenating U-shaped decoder; same shapes as `Segmenter`."""

    def __init__(self, classes: int, pretrained: bool = True) -> None:
        super().__init__()
        self.encoder = EfficientNetLite("lite1", pretrained)
        quarter, eighth, sixteenth, deepest = TAPPED_CHANNELS
        self.context = _conv_norm(2 * deepest, 160, 1)
        self.up = nn.ModuleList(
            nn.Sequential(_conv_norm(deep + skip, out, 1), _conv_norm(out, out, 5, groups=out), _conv_norm(out, out, 1))
            for deep, skip, out in ((160, sixteenth, 128), (128, eighth, 96), (96, quarter, 64))
        )
        self.head = nn.Conv2d(64, classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        *skips, deep = self.encoder(x)
        whole = deep.mean((2, 3), keepdim=True).expand_as(deep)
        y = self.context(torch.cat([deep, whole], 1))
        for up, skip in zip(self.up, skips[::-1], strict=True):
            y = up(torch.cat([_grow(y), skip], 1))
        logits: Tensor = self.head(y)
        return logits
