"""The denoiser of SPIC (Pezone, Musa, Caire, Barbarossa 2023), made for a laptop.

    noisy, coarse, map ─ Encoder ─┬──── at 1/4 ────┬─ Decoder(map, coarse, σ) ─ picture
                                  ├──── at 1/8 ────┤
                                  └─ middle, 1/16 ─┘

A U-Net that works from a quarter of the size down, where one pass costs a tenth of what it would at full size: the
noisy picture enters pixel-unshuffled, and the coarse picture has just that size. The map modulates every block of the
way up (SPADE), as does the noise level. All maps are as in `blocks`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sempic.training.blocks import BLOCKS, WIDTHS, Blocks, Decoder, Encoder, ResBlock, Widths

SPREAD = 0.08
"""σ_data of Karras et al. (2022): the standard deviation of what a coarse picture lacks of the original."""
SIGMA_MIN, SIGMA_MAX = 0.02, 0.5
"""The noise that the network knows: at most, the original can no more be told from the coarse picture."""


class Denoiser(nn.Module):
    """D(x; σ): the clean picture in a noisy one, given a coarse picture and a map."""

    def __init__(self, classes: int, widths: Widths = WIDTHS, blocks: Blocks = BLOCKS) -> None:
        super().__init__()
        _, quarter, eighth, sixteenth = widths
        self.encoder, self.decoder = Encoder(classes, widths, blocks[0]), Decoder(classes, widths, blocks[1])
        self.enter = nn.Conv2d(4, quarter, 3, padding=1)  # the coarse picture and the noise level
        self.middle = nn.Sequential(ResBlock(sixteenth), ResBlock(sixteenth))
        self.at4, self.at8 = nn.Conv2d(quarter, quarter, 1), nn.Conv2d(eighth, eighth, 1)
        # At first these say nothing, so that training goes on from where an encoder and decoder of SQ-GAN were.
        for new in (self.enter, self.at4, self.at8):
            nn.init.zeros_(new.weight)
            nn.init.zeros_(new.bias)

    def forward(self, noisy: Tensor, coarse: Tensor, segmap: Tensor, sigma: Tensor) -> Tensor:
        """Return N×3×H×W pictures, about [0,1].

        `noisy` is N×3×H×W, the clean pictures with noise of standard deviations `sigma` (N); `coarse` is N×3×H/4×W/4
        in [0,1]; `segmap` is one-hot at a quarter of the size, all zeros where there is no map.
        """
        wide = F.interpolate(coarse, scale_factor=4, mode="bilinear", align_corners=False)
        s = sigma.reshape(-1, 1, 1, 1)
        # Karras et al.'s preconditioning, of what the coarse picture lacks.
        variance = s.square() + SPREAD**2
        lack = noisy - wide
        seen = wide + lack * (SPREAD * variance.rsqrt())
        drawn = self._draw(seen, coarse, segmap, (s / SPREAD).log() / 4) - wide
        return wide + lack * (SPREAD**2 / variance) + drawn * (s * variance.rsqrt())

    def _draw(self, seen: Tensor, coarse: Tensor, segmap: Tensor, level: Tensor) -> Tensor:
        known = torch.cat([coarse - 0.5, level.expand_as(coarse[:, :1])], 1)
        at4, at8, at16 = self.encoder.scales(seen, segmap, self.enter(known))
        picture: Tensor = self.decoder(self.middle(at16), torch.cat([segmap, known], 1), self.at4(at4), self.at8(at8))
        return picture
