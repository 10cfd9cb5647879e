"""What the generators of all codecs are built of, and the layout that they are given.

All segmaps here are one-hot at a quarter of the picture's size, N×classes×H/4×W/4, and void is the zero vector.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Widths = tuple[int, int, int, int]
WIDTHS: Widths = (48, 96, 160, 256)
"""Channels at half, a quarter, an eighth and a sixteenth of the picture's size."""
Blocks = tuple[int, int]
BLOCKS: Blocks = (2, 2)
"""Residual blocks at a quarter, an eighth and a sixteenth each: of the encoder, of the decoder."""
EXTRA = 4
"""What a layout has besides classes: three planes of colour and one of noise."""


def one_hot(segmap: Tensor, classes: int) -> Tensor:
    """N×H×W ids → N×classes×H×W floats; ids outside the taxonomy (void) become zeros."""
    return F.one_hot(segmap.clamp(max=classes), classes + 1)[..., :classes].movedim(-1, 1).float()


def shrink(segmap: Tensor, classes: int, factor: int = 4) -> Tensor:
    """N×H×W ids → one-hot segmap of each cell's majority class, N×classes×H/factor×W/factor; void may win."""
    shares = F.avg_pool2d(one_hot(segmap, classes), factor)
    share, majority = shares.max(1)
    # Void wins by a majority alone, as in `sempic.segmap.resample.shrink`; the shares are multiples of 1/factor².
    majority = torch.where(share > 1 - shares.sum(1) - 1e-4, majority, classes)
    return one_hot(majority, classes)


def draw_layout(segmap: Tensor, colours: Tensor, noise: Tensor) -> Tensor:
    """Return what a decoder has of each cell besides tokens, N×(classes+EXTRA)×h×w: its class, a mean colour, noise.

    Args:
        segmap: one-hot N×classes×h×w.
        colours: N×3×h×w in [0,1], the mean colour of each cell's class or object. Void has none, whatever is there.
        noise: N×1×h×w of variance 1. It makes cells of one class differ (as in OASIS, Sushko et al. 2021); without it,
            stretches where no token came get the same texture in every token's place.
    """
    return torch.cat([segmap, (colours - 0.5) * segmap.sum(1, keepdim=True), noise], 1)


def draw_noise(segmap: Tensor) -> Tensor:
    """Draw noise of variance 1 for the layout of N×classes×h×w segmaps: N×1×h×w."""
    return 3**0.5 * (2 * torch.rand_like(segmap[:, :1]) - 1)


def straight_through(values: Tensor, quantised: Tensor) -> Tensor:
    """Return quantised values (but for float rounding) with the gradient of the values before."""
    return values + (quantised - values).detach()


def normalised(features: Tensor) -> Tensor:
    """Normalise N×C×h×w over channels, place by place and not over the picture: what is bright stays brighter."""
    centred = features - features.mean(1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(1, keepdim=True) + 1e-5)


class Spade(nn.Module):
    """Group normalisation whose scale and shift come from an embedding of the segmap (Park et al. 2019)."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.modulate = nn.Conv2d(embedding, 2 * channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        gamma, beta = self.modulate(embedding).chunk(2, 1)
        # Spelled out, scale and shift export as two small vectors instead of as planes as big as x.
        channels = x.shape[1]
        return F.group_norm(x, 16, x.new_ones(channels), x.new_zeros(channels)) * (1 + gamma) + beta


class MapEmbedding(nn.Module):
    """Features of the segmap around each place, once for all `Spade` layers of a scale: two 3×3 convolutions."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(classes, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU()
        )

    def forward(self, segmap: Tensor) -> Tensor:
        y: Tensor = self.body(segmap)
        return y


class ResBlock(nn.Module):
    """Pre-activated residual block with group normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(16, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(16, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


def entrance(channels: int, width: int) -> nn.Module:
    """Return the layers that make a `PictureDecoder`'s features of a few channels."""
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), *[ResBlock(width) for _ in range(3)])


class SpadeBlock(nn.Module):
    """Residual block whose two normalisations follow the segmap."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.spade1, self.spade2 = Spade(channels, embedding), Spade(channels, embedding)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.spade1(x, embedding)))
        y = self.conv2(F.silu(self.spade2(y, embedding)))
        return x + y


class PictureEncoder(nn.Module):
    """E_x: N×3×H×W pictures in [0,1] with their segmaps → N×WIDTHS[-1]×H/16×W/16 latents."""

    def __init__(self, classes: int, widths: Widths = WIDTHS, blocks: int = BLOCKS[0]) -> None:
        super().__init__()
        _, quarter, eighth, sixteenth = widths
        self.blocks = blocks
        self.stem = nn.Conv2d(48, quarter, 3, padding=1)
        # Semantic positional encoding (SemPE): one number a place, added to all channels.
        self.position = nn.Sequential(nn.Conv2d(classes, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 1, 1))
        self.body = nn.Sequential(
            *(ResBlock(quarter) for _ in range(blocks)), nn.Conv2d(quarter, eighth, 3, 2, 1),
            *(ResBlock(eighth) for _ in range(blocks)), nn.Conv2d(eighth, sixteenth, 3, 2, 1),
            *(ResBlock(sixteenth) for _ in range(blocks)),
        )  # fmt: skip

    def forward(self, image: Tensor, segmap: Tensor) -> Tensor:
        return self.scales(image, segmap)[-1]

    def scales(self, image: Tensor, segmap: Tensor, more: Tensor | float = 0) -> list[Tensor]:
        """Return the features at a quarter, an eighth and a sixteenth; `more` is added to those before the first."""
        x = self.stem(F.pixel_unshuffle(image * 2 - 1, 4)) + self.position(segmap) + more
        found, n = [], self.blocks
        for stage in (self.body[:n], self.body[n : 2 * n + 1], self.body[2 * n + 1 :]):
            x = stage(x)
            found.append(x)
        return found


class PictureDecoder(nn.Module):
    """D_x: N×WIDTHS[-1]×h×w features and the layout → N×3×16h×16w pictures, about [0,1]."""

    def __init__(self, classes: int, widths: Widths = WIDTHS, blocks: int = BLOCKS[1]) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = widths
        self.embed16, self.embed8, self.embed4 = (MapEmbedding(classes + EXTRA, 64) for _ in range(3))
        self.blocks16 = nn.ModuleList(SpadeBlock(sixteenth, 64) for _ in range(blocks))
        self.blocks8 = nn.ModuleList(SpadeBlock(eighth, 64) for _ in range(blocks))
        self.blocks4 = nn.ModuleList(SpadeBlock(quarter, 64) for _ in range(blocks))
        self.block2 = SpadeBlock(half, 64)
        self.to8 = nn.Conv2d(sixteenth, eighth, 3, padding=1)
        self.to4 = nn.Conv2d(eighth, quarter, 3, padding=1)
        self.to2 = nn.Conv2d(quarter, 4 * half, 1)
        self.out = nn.Conv2d(half, 12, 3, padding=1)

    def forward(self, x: Tensor, layout: Tensor, at4: Tensor | float = 0, at8: Tensor | float = 0) -> Tensor:
        """`at4` and `at8` are added where the features have a quarter and an eighth of the picture's size."""
        e4, e8 = self.embed4(layout), self.embed8(F.avg_pool2d(layout, 2))
        e16 = self.embed16(F.avg_pool2d(layout, 4))
        for block in self.blocks16:
            x = block(x, e16)
        x = self.to8(F.interpolate(x, scale_factor=2, mode="nearest")) + at8
        for block in self.blocks8:
            x = block(x, e8)
        x = self.to4(F.interpolate(x, scale_factor=2, mode="nearest")) + at4
        for block in self.blocks4:
            x = block(x, e4)
        x = F.pixel_shuffle(self.to2(x), 2)
        x = self.block2(x, F.interpolate(e4, scale_factor=2, mode="nearest"))
        # The network draws what differs from the mean colour of each place's class.
        colours = F.interpolate(layout[:, -EXTRA:-1], scale_factor=4, mode="bilinear", align_corners=False)
        return F.pixel_shuffle(self.out(F.silu(x)), 2) + colours + 0.5
