"""The denoiser of SPIC (Pezone, Musa, Caire, Barbarossa 2023), made for a laptop.

    noisy, coarse, map ─ Encoder ─┬──── at 1/4 ────┬─ Decoder(map, coarse, grain) ─ picture
                                  ├──── at 1/8 ────┤
                                  └─ narrow, σ, 1/16 ─┘

A U-Net that works from a quarter of the size down, where one pass costs a tenth of what it would at full size: the
noisy picture enters pixel-unshuffled, and the coarse picture has just that size. The map modulates every block of the
way up (SPADE). But for what is added between the two, encoder and decoder are those of the layered codec, which can
draw already: training best starts from there. All maps are as in `blocks`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sempic.training.blocks import BLOCKS, WIDTHS, Blocks, Decoder, Encoder, Widths, entrance, normalised
from sempic.training.layered import CHANNELS

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
        self.project, self.enter = nn.Conv2d(sixteenth, CHANNELS, 1), entrance(CHANNELS + 1, sixteenth)
        self.known = nn.Conv2d(4, quarter, 3, padding=1)  # the coarse picture and the noise level
        self.at4, self.at8, self.at16 = (nn.Conv2d(width, width, 1) for width in (quarter, eighth, sixteenth))
        # At first these say nothing, so that training goes on from where the layered codec was.
        for new in (self.known, self.at4, self.at8, self.at16):
            nn.init.zeros_(new.weight)
            nn.init.zeros_(new.bias)

    def forward(self, noisy: Tensor, coarse: Tensor, segmap: Tensor, sigma: Tensor) -> Tensor:
        """Return N×3×H×W pictures, about [0,1].

        `noisy` is N×3×H×W, the clean pictures with noise of standard deviations `sigma` (N); `coarse` is N×3×H/4×W/4
        in [0,1]; `segmap` is one-hot at a quarter of the size, all zeros where there is no map.
        """
        wide = enlarged(coarse)
        s = sigma.reshape(-1, 1, 1, 1)
        # Karras et al.'s preconditioning, of what the coarse picture lacks.
        variance = s.square() + SPREAD**2
        lack = noisy - wide
        seen = wide + lack * (SPREAD * variance.rsqrt())
        grain = 7 * F.avg_pool2d(lack * variance.rsqrt(), 4).mean(1, keepdim=True)  # of noise alone: its variance is 1
        drawn = self._draw(seen, coarse, segmap, (s / SIGMA_MAX).log() / 4, grain) - wide
        # At the highest level the coarse picture tells all that the noisy one does, and what passed would be noise.
        passing = (1 - s / SIGMA_MAX).clamp(min=0) * (SPREAD**2 / variance)
        return wide + lack * passing + drawn * (s * variance.rsqrt())

    def _draw(self, seen: Tensor, coarse: Tensor, segmap: Tensor, level: Tensor, grain: Tensor) -> Tensor:
        known = torch.cat([coarse - 0.5, level.expand_as(grain)], 1)
        at4, at8, at16 = self.encoder.scales(seen, segmap, self.known(known))
        narrow = self.project(normalised(at16))
        features = self.enter(torch.cat([narrow, (1 + level).expand_as(narrow[:, :1])], 1)) + self.at16(at16)
        layout = torch.cat([segmap, coarse - 0.5, grain], 1)
        picture: Tensor = self.decoder(features, layout, self.at4(at4), self.at8(at8))
        return picture


def enlarged(coarse: Tensor) -> Tensor:
    """Return coarse pictures (N×3×H/4×W/4) at the size of the others, as decoders enlarge them."""
    return F.interpolate(coarse, scale_factor=4, mode="bilinear", align_corners=False)
