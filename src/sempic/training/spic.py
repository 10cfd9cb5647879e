"""SPIC's denoiser (Pezone, Musa, Caire, Barbarossa 2023), made for a laptop.

    noisy, coarse, segmap ─ Encoder ─┬──── at 1/4 ────┬─ Decoder(segmap, coarse, grain) ─ picture
                                     ├──── at 1/8 ────┤
                                     └─ narrow, σ, 1/16 ─┘

A U-Net that works from a quarter of the size down, where one pass costs a tenth of what it would at full size: the
noisy picture enters pixel-unshuffled, and the coarse picture has just that size. The segmap modulates every block of
the way up (SPADE). But for what is added between the two, encoder and decoder are those of the layered codec, which can
draw already: training best starts from there. All segmaps are as in `blocks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from sempic import runtime
from sempic.codecs.classic import yuv
from sempic.codecs.classic.hevc import Hevc
from sempic.codecs.classic.picture import scaled
from sempic.taxonomy import Taxonomy
from sempic.training import preview, weights
from sempic.training.blocks import (
    BLOCKS,
    WIDTHS,
    Blocks,
    PictureDecoder,
    PictureEncoder,
    Widths,
    entrance,
    normalised,
    shrink,
)
from sempic.training.gan import PictureRecipe
from sempic.training.latents import CHANNELS, gains_of
from sempic.training.loop import Panels
from sempic.training.options import SpicOptions
from sempic.training.sampler import Source

if TYPE_CHECKING:
    from sempic.training.export import Export

SIGMA_DATA = 0.08
"""As in Karras et al. (2022): the standard deviation of what a coarse picture lacks of the original."""
SIGMA_MIN, SIGMA_MAX = 0.02, 0.5
"""The noise levels that are trained: at the highest, the original can no more be made out in the coarse picture."""
SHOWN = (4, 34)
"""The scale and QP of the coarse pictures in previews."""
SCALES, QPS = (4, 4, 4, 3, 6), (20, 46)
"""How coarse pictures are made: each entry as likely, QPs between these bounds."""
STARTS = 0.6
"""The share of chains of one pass, and of noised pictures at the highest level: there most is drawn."""


# -- the network ------------------------------------------------------------------------------------------------------


class DenoiserNetwork(nn.Module):
    """D(x; σ): the clean picture in a noisy one, given a coarse picture and a segmap."""

    def __init__(self, classes: int, widths: Widths = WIDTHS, blocks: Blocks = BLOCKS) -> None:
        super().__init__()
        _, quarter, eighth, sixteenth = widths
        self.encoder, self.decoder = (
            PictureEncoder(classes, widths, blocks[0]),
            PictureDecoder(classes, widths, blocks[1]),
        )
        self.project, self.enter = nn.Conv2d(sixteenth, CHANNELS, 1), entrance(CHANNELS + 1, sixteenth)
        self.known = nn.Conv2d(4, quarter, 3, padding=1)  # the coarse picture and the noise level
        self.at4, self.at8, self.at16 = (nn.Conv2d(width, width, 1) for width in (quarter, eighth, sixteenth))
        # At first these add nothing, so that training goes on from where the layered codec was.
        for new in (self.known, self.at4, self.at8, self.at16):
            nn.init.zeros_(new.weight)
            nn.init.zeros_(new.bias)

    def forward(self, noisy: Tensor, coarse: Tensor, segmap: Tensor, sigma: Tensor) -> Tensor:
        """Return N×3×H×W pictures, about [0,1].

        `noisy` is N×3×H×W, the clean pictures with noise of standard deviations `sigma` (N); `coarse` is N×3×H/4×W/4
        in [0,1]; `segmap` is one-hot at a quarter of the size, all zeros where there is none.
        """
        wide = enlarged(coarse)
        s = sigma.reshape(-1, 1, 1, 1)
        # Karras et al.'s preconditioning, of what the coarse picture lacks.
        variance = s.square() + SIGMA_DATA**2
        lack = noisy - wide
        scaled_input = wide + lack * (SIGMA_DATA * variance.rsqrt())
        grain = 7 * F.avg_pool2d(lack * variance.rsqrt(), 4).mean(1, keepdim=True)  # of noise alone: its variance is 1
        drawn = self._draw(scaled_input, coarse, segmap, (s / SIGMA_MAX).log() / 4, grain) - wide
        # At the highest level the noisy picture has no more of the original than the coarse one: only noise would pass.
        passing = (1 - s / SIGMA_MAX).clamp(min=0) * (SIGMA_DATA**2 / variance)
        return wide + lack * passing + drawn * (s * variance.rsqrt())

    def _draw(self, noisy: Tensor, coarse: Tensor, segmap: Tensor, level: Tensor, grain: Tensor) -> Tensor:
        known = torch.cat([coarse - 0.5, level.expand_as(grain)], 1)
        at4, at8, at16 = self.encoder.scales(noisy, segmap, self.known(known))
        narrow = self.project(normalised(at16))
        features = self.enter(torch.cat([narrow, (1 + level).expand_as(narrow[:, :1])], 1)) + self.at16(at16)
        layout = torch.cat([segmap, coarse - 0.5, grain], 1)
        picture: Tensor = self.decoder(features, layout, self.at4(at4), self.at8(at8))
        return picture


def enlarged(coarse: Tensor) -> Tensor:
    """Return coarse pictures (N×3×H/4×W/4) at the size of the others, as decoders enlarge them."""
    return F.interpolate(coarse, scale_factor=4, mode="bilinear", align_corners=False)


# -- training ---------------------------------------------------------------------------------------------------------


class SpicRecipe(PictureRecipe[SpicOptions]):
    """Denoising at all noise levels, under the losses of `PictureRecipe`.

    The squared error alone would make each step the mean of all pictures that fit, and of few steps a soft picture. A
    discriminator at every noise level makes few steps enough (as in Sauer et al. 2023, without a teacher). The input of
    a later step is not a noised original but what the steps before have made, and is so in training (as in Kohler et
    al. 2024).
    """

    model_kind, summary = "spic", "SPIC's diffusion decoder, {classes} classes."

    @classmethod
    def network(cls, options: SpicOptions, taxonomy: Taxonomy) -> DenoiserNetwork:
        return DenoiserNetwork(len(taxonomy), options.widths, options.blocks)

    def batch(self, rng: np.random.Generator) -> list[Tensor]:
        count = self.options.batch
        images, send, labels, colours = self.sampler.draw(count, bool(rng.random() < 0.7), rng)
        pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        coarse = coarse_pictures(pixels, int(rng.choice(SCALES)), int(rng.integers(*QPS)))
        left_out = torch.from_numpy(rng.random((2, count, 1, 1, 1)))
        coarse = torch.where(left_out[0] < self.options.no_coarse, colours, coarse)
        segmap = shrink(send, self.classes) * (left_out[1] >= self.options.no_map)
        levels = torch.tensor(self._levels(count, rng), dtype=torch.float32)
        return [images, segmap.float(), labels, coarse, levels]

    def _levels(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw falling levels of noise, passes×count: of a chain, or one for each picture."""
        before = 0 if rng.random() < STARTS else int(rng.integers(self.options.chain))
        sigma = np.exp(rng.uniform(np.log(SIGMA_MIN), np.log(SIGMA_MAX), (max(before, 1), count)))
        if self.options.chain == 1:
            return np.where(rng.random(count) < STARTS, SIGMA_MAX, sigma)
        return np.vstack([np.full(count, SIGMA_MAX), -np.sort(-sigma, 0)])[: before + 1]

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        images, segmap, labels, coarse, levels = batch
        images = images.contiguous(memory_format=torch.channels_last)
        first, *others = levels.reshape(*levels.shape, 1, 1, 1)
        # Chains start from the coarse picture: in noise of 0.5, large shapes of an original could still be made out.
        clean = torch.where(first < SIGMA_MAX, images, enlarged(coarse))
        noisy, sigma = clean + first * torch.randn_like(images), first

        def D(x: Tensor, level: Tensor) -> Tensor:
            with accelerator.autocast():  # anew each time: it keeps weights without gradients as such
                decoded: Tensor = self.networks(x, coarse, segmap, level.flatten())
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

    def preview(self, networks: nn.Module, source: Source) -> Panels:
        image, segmap, _ = preview.inputs(source)
        pixels = preview.pixels(image)
        coarse = coarse_pictures(pixels[None], *SHOWN)
        wide = enlarged(coarse)
        noisy = wide + SIGMA_MAX * torch.randn_like(wide)
        drawn = networks(noisy, coarse, segmap, image.new_full((1,), SIGMA_MAX))
        return [("original", pixels), ("coarse", preview.pixels(wide)), ("one step", preview.pixels(drawn))]

    # Models.

    @classmethod
    def shipped(cls, network: nn.Module, model: runtime.Model) -> dict[str, Tensor]:
        found, gains = super().shipped(network, model), gains_of(model)
        if gains:  # the denoiser has none, but expects what passes through those of the base's highest rate
            through = (gains["base.log_gains"] + gains["base.log_inverse_gains"])[-1].exp()
            weight, bias = (found.pop(f"base.project.{name}") for name in ("weight", "bias"))
            found["project.weight"] = weight.reshape(len(through), -1) * through[:, None]
            found["project.bias"] = bias * through
        return found

    @classmethod
    def write(cls, export: Export) -> None:
        rows, columns = weights.EXAMPLE
        h, w = Dim("h", min=1, max=512), Dim("w", min=1, max=512)
        fine, quarter = {2: 16 * h, 3: 16 * w}, {2: 4 * h, 3: 4 * w}
        export.write_network(
            "denoiser",
            export.network,
            {
                "noisy": torch.rand(1, 3, 16 * rows, 16 * columns),
                "coarse": torch.rand(1, 3, 4 * rows, 4 * columns),
                "segmap": torch.rand(1, len(export.taxonomy), 4 * rows, 4 * columns),
                "sigma": torch.ones(1),
            },
            ["image"],
            {"noisy": fine, "coarse": quarter, "segmap": quarter, "sigma": {}},
        )
        sigma = np.array([SIGMA_MIN, SIGMA_MAX], np.float32)
        colours = mean_colours(export.sources, len(export.taxonomy))
        export.write_tables(export.segmap_tables | {"sigma": sigma, "colours": colours})


def coarse_pictures(pixels: NDArray[np.uint8], scale: int, qp: int) -> Tensor:
    """Code pictures (N×H×W×3) by HEVC at 1/scale of their size and a QP → N×3×H/4×W/4 in [0,1].

    They are coded side by side as one picture, for x265 takes longer to start than to code.
    """
    count, height, width = pixels.shape[:3]
    size, hevc = scaled(count * width, height, scale), Hevc()
    coded = hevc.expand(hevc.compress(yuv.shrink(np.concatenate(list(pixels), 1), *size), qp), *size)
    small = yuv.enlarge(coded, count * width // 4, height // 4)
    cut = small.reshape(height // 4, count, width // 4, 3).transpose(1, 3, 0, 2)
    return torch.from_numpy(cut.astype(np.float32) / 255)


def mean_colours(sources: Sequence[Source], classes: int) -> NDArray[np.float32]:
    """Return the mean colour of each class over all pictures, classes×3 in [0,1]; grey where a class has none."""
    sums, counts = np.zeros((classes, 3)), np.zeros((classes, 1))
    for source in sources:
        ids = source.predicted.ravel()
        for channel in range(3):
            sums[:, channel] += np.bincount(ids, source.frame.image[..., channel].ravel(), 256)[:classes]
        counts[:, 0] += np.bincount(ids, minlength=256)[:classes]
    colours = np.where(counts, sums / counts.clip(1) / 255, 0.5)
    return colours.astype(np.float32)
