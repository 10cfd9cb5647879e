"""Masked vector quantisation, as in SQ-GAN (Pezone, Barbarossa, Caire 2025): from latents to tokens and back.

    latents ─ Samm ─ top-k ─ Quantiser ─▷ tokens ─▷ Demasker ─ features

Tokens are on a grid of a sixteenth of the picture's size. What differs from the paper, and why, is in
`docs/decisions.md`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sempic.training.blocks import MapEmbedding, ResBlock, Spade, normalised, straight_through

LEVELS, CODE_WIDTH = 4, 5
CODES = LEVELS**CODE_WIDTH
VALUES = tuple((level - LEVELS // 2) / (LEVELS / 2) for level in range(LEVELS))
"""What each number of a code can be."""
LAYERS = 4
"""De-masking layers, each a residual block and attention."""
WINDOW = 8
MASKED = 0.02
"""The weight that attention gives a dropped token in the first layer of the de-masking."""


class Samm(nn.Module):
    """Semantic-aware masking: a relevance in (0,1) for every latent vector, and the vectors scaled by it.

    Scaling is the only way by which gradients reach the scores, so a vector that matters earns a high one.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.embedding = MapEmbedding(classes, 48)
        self.spade1, self.spade2 = Spade(channels, 48), Spade(channels, 48)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.score = nn.Conv2d(channels, 1, 1)
        self.project = nn.Conv2d(channels, CODE_WIDTH, 1, bias=False)

    def forward(self, latent: Tensor, segmap: Tensor) -> tuple[Tensor, Tensor]:
        """N×C×h×w latents → N×CODE_WIDTH×h×w vectors to quantise and N×1×h×w relevance."""
        embedding = self.embedding(F.avg_pool2d(segmap, 4))
        y = F.relu(self.conv(self.spade1(latent, embedding)))
        relevance = torch.sigmoid(self.score(self.spade2(y, embedding)).float())
        return bound(self.project(normalised(latent) * relevance)), relevance


class Quantised(NamedTuple):
    """Codes in the place of vectors (N×D×h×w, straight-through) and their indices (N×h×w)."""

    codes: Tensor
    indices: Tensor


class Quantiser(nn.Module):
    """Nearest code of a codebook that is a lattice: -1, -1/2, 0 and 1/2 in each of CODE_WIDTH numbers.

    Codes that follow the data by moving averages let the vectors collapse to a plane, because what the codebook does
    not resolve the decoder never learns to use; a lattice resolves every direction from the first step on. This is
    finite scalar quantisation (Mentzer et al. 2023). Zero must be a code: where it is not, codes overshoot short
    vectors, straight-through gradients shorten them further, and nothing but their signs is left.
    """

    codebook: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codebook", torch.cartesian_prod(*[torch.tensor(VALUES)] * CODE_WIDTH), persistent=False)

    def forward(self, vectors: Tensor) -> Quantised:
        """Quantise N×D×h×w vectors that `bound` made."""
        with torch.autocast(vectors.device.type, enabled=False):
            flat = vectors.float().movedim(1, -1)
            steps = (flat.detach() * (LEVELS / 2)).round().long() + LEVELS // 2
            places = LEVELS ** torch.arange(CODE_WIDTH - 1, -1, -1, device=vectors.device)
            indices = (steps.clamp(0, LEVELS - 1) * places).sum(-1)
            codes = F.embedding(indices, self.codebook)
            return Quantised(straight_through(flat, codes).movedim(-1, 1), indices)


def perplexity(indices: Tensor) -> Tensor:
    """Return how many codes are in use: as many as would have the entropy of these indices (any shape) if even."""
    shares = torch.bincount(indices.flatten(), minlength=CODES) / indices.numel()
    return torch.special.entr(shares).sum().exp()


def bound(x: Tensor) -> Tensor:
    """Map any numbers smoothly into the range of the codebook, 0 to 0 and with slope 2/3 there."""
    low, high = VALUES[0], VALUES[-1]
    half, centre = (high - low) / 2, (high + low) / 2
    return half * torch.tanh(x.float() - math.atanh(centre / half)) + centre


class WindowAttention(nn.Module):
    """Single-head attention inside 8×8 windows, where a dropped key counts for less (weights are not renormalised).

    Windows keep time and memory linear in the picture's size, and make every picture look like a training crop; every
    second layer shifts them by half.
    """

    def __init__(self, channels: int, shift: bool) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(16, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.shift = WINDOW // 2 if shift else 0
        # One learned bias for each offset between two places of a window.
        self.bias = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2))
        place = torch.stack(torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")).flatten(1)
        offset = place[:, :, None] - place[:, None, :] + WINDOW - 1
        self.register_buffer("offset", offset[0] * (2 * WINDOW - 1) + offset[1], persistent=False)

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """N×C×h×w with key weights N×1×h×w, h and w multiples of 8 → N×C×h×w."""
        n, c, h, w = x.shape
        s = self.shift
        tokens = torch.cat([self.qkv(self.norm(x)), weight.to(x.dtype)], 1)
        if s:
            tokens = F.pad(tokens, (s, s, s, s))
        rows, columns = tokens.shape[2] // WINDOW, tokens.shape[3] // WINDOW
        windows = tokens.reshape(n, 3 * c + 1, rows, WINDOW, columns, WINDOW).permute(0, 2, 4, 3, 5, 1)
        windows = windows.reshape(n * rows * columns, WINDOW * WINDOW, 3 * c + 1)
        q, k, v, key_weight = torch.split(windows, [c, c, c, 1], 2)
        scores = (q @ k.mT).float() * c**-0.5 + self.bias[self.offset]
        attention = scores.softmax(-1).to(v.dtype) * key_weight.mT
        y = (attention @ v).reshape(n, rows, columns, WINDOW, WINDOW, c).permute(0, 5, 1, 3, 2, 4)
        y = y.reshape(n, c, rows * WINDOW, columns * WINDOW)
        if s:
            y = y[:, :, s : h + s, s : w + s]
        return x + self.out(y)


class Demasker(nn.Module):
    """Adaptive de-masking: fills the places of dropped tokens from the kept ones (ADM)."""

    def __init__(self, channels: int, layers: int = LAYERS) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(1, CODE_WIDTH, 1, 1))
        self.enter = nn.Sequential(nn.Conv2d(CODE_WIDTH, channels, 1), nn.Conv2d(channels, channels, 3, padding=1))
        self.blocks = nn.ModuleList(ResBlock(channels) for _ in range(layers))
        self.attentions = nn.ModuleList(WindowAttention(channels, shift=i % 2 == 1) for i in range(layers))
        self.leave = ResBlock(channels)

    def forward(self, codes: Tensor, kept: Tensor) -> Tensor:
        """N×D×h×w codes (anything where `kept`, N×1×h×w, is 0), h and w multiples of 8 → N×C×h×w features."""
        x = self.enter(codes * kept + self.mask_token * (1 - kept))
        weight = kept + MASKED * (1 - kept)
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            x = attention(block(x), weight)
            # The paper takes the square root after each of eight layers; any number of them reaches the same end.
            weight = weight ** (0.5 ** (8 / len(self.blocks)))
        y: Tensor = self.leave(x)
        return y


def keep_most_relevant(relevance: Tensor, fraction: Tensor) -> Tensor:
    """Return the 0/1 mask (N×1×h×w, as `relevance`) of the best ⌊m·h·w⌋ places; `fraction` holds m (N)."""
    scores = relevance.detach().flatten(1)
    rank = scores.argsort(1, descending=True).argsort(1)
    kept = rank < (fraction[:, None] * scores.shape[1] + 1e-6).floor()
    return kept.reshape(relevance.shape).float()
