"""The layered codec's generator, after Huang, Tao, Gao, Lu (2021), of whom only the abstract is known.

    picture, segmap ─ Encoder ─ project ─ gain of the rate ─ soft clip ─ round ─▷ levels of CHANNELS numbers a place
    levels ─ inverse gain ─ enter ─ Decoder(segmap, colours, noise) ─ picture

Base latents have a place for 16×16 pixels. Where their rates end, fine latents with one for 8×8 go on: they leave the
same encoder and enter the same decoder at an eighth of the size, so that one network draws at every rate. What becomes
of latents in between is in `latents`. All segmaps are as in `blocks`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from sempic import runtime
from sempic.codecs.layered_latents import LIMIT, STEPS_BETWEEN
from sempic.segmap import resample
from sempic.taxonomy import Taxonomy
from sempic.training import losses, preview, tables, weights
from sempic.training.blocks import (
    BLOCKS,
    EXTRA,
    WIDTHS,
    Blocks,
    PictureDecoder,
    PictureEncoder,
    ResBlock,
    Widths,
    draw_layout,
    draw_noise,
    entrance,
    shrink,
)
from sempic.training.gan import PictureRecipe, encoder_inputs
from sempic.training.latents import (
    CHANNELS,
    GAINS,
    RATES,
    LatentBatch,
    LatentCoder,
    at_rate,
    bits_of,
    gains_of,
    interpolation,
    rates_of,
    soft_clip,
    strength_of,
)
from sempic.training.loop import Panels
from sempic.training.options import LayeredOptions
from sempic.training.sampler import Pool, Source

if TYPE_CHECKING:
    from sempic.training.export import Export

NOTHING, BASE = 0.05, 0.35
"""How often nothing is sent in training, and how often base latents alone."""
RATE_STEPS = STEPS_BETWEEN * (RATES - 1) + 1
"""The rates at which the codec writes, between and at those that have gains of their own."""
FIRST_LAMBDAS, FIRST_FINE_LAMBDAS = (6e-3, 3e-3, 2e-3, 1e-3), (1e-3, 7e-4, 5e-4, 3e-4)
LAMBDA_RANGE = 1e-5, 0.5
"""The weight of a bit for 16×16 pixels at each rate, against 1 for L1: at first, and at least and at most."""
LAMBDA_STEP = 0.02
"""How much a step changes a λ (as a power of e) whose rate takes twice its target."""
GAIN_LEARNING_RATE = 20
"""Gains learn so many times faster than all else. λ must move the gains of its rate, or it moves the latents
themselves, which all rates share, until they carry nothing."""
RATE_MODEL_WEIGHT = 0.1
"""The weight of the rate model's own loss, in bits a number: Adam does not mind, but gradients are clipped together."""
DEVIATION = 0.5
"""The standard deviation that the variance-covariance loss asks of latents, before the gains."""


# -- networks ---------------------------------------------------------------------------------------------------------


class LayeredOutput(NamedTuple):
    """Pictures (N×3×H×W) after the codec, and the latents that they were drawn from."""

    picture: Tensor
    base: LatentBatch
    fine: LatentBatch


class LayeredNetwork(nn.Module):
    """Encoder and generator with the latents between them."""

    def __init__(self, classes: int, widths: Widths = WIDTHS, blocks: Blocks = BLOCKS) -> None:
        super().__init__()
        *_, eighth, sixteenth = widths
        self.encoder = PictureEncoder(classes, widths, blocks[0])
        self.decoder = PictureDecoder(classes, widths, blocks[1])
        self.base, self.fine = LatentCoder(classes, sixteenth, 4), LatentCoder(classes, eighth, 2)
        self.enter = entrance(CHANNELS + 1, sixteenth)
        self.enter_fine = nn.Sequential(
            nn.Conv2d(CHANNELS + 1, eighth, 3, padding=1), ResBlock(eighth), nn.Conv2d(eighth, eighth, 1)
        )
        # Fine latents add nothing at first.
        nn.init.zeros_(self.enter_fine[-1].weight)
        nn.init.zeros_(self.enter_fine[-1].bias)

    def encode(self, image: Tensor, segmap: Tensor) -> tuple[Tensor, Tensor]:
        """Return base and fine latents of any size: gains and rounding come after."""
        _, eighth, sixteenth = self.encoder.scales(image, segmap)
        return self.base.encode(sixteenth), self.fine.encode(eighth)

    def decode(self, base: Tensor, fine: Tensor, strength: Tensor, fine_strength: Tensor, layout: Tensor) -> Tensor:
        """Return the picture from latents that were multiplied by the inverse gains, 0 where none were sent.

        Strengths (N) are rates as `strength_of` returns them: a zero means more, the higher the rate.
        """
        planes = [s.reshape(-1, 1, 1, 1).expand_as(x[:, :1]) for s, x in ((strength, base), (fine_strength, fine))]
        features = self.enter(torch.cat([base, planes[0]], 1))
        added = self.enter_fine(torch.cat([fine, planes[1]], 1)) * (planes[1] > 0)
        picture: Tensor = self.decoder(features, layout, at8=added)
        return picture

    def forward(self, image: Tensor, segmap: Tensor, layout: Tensor, rate: Tensor) -> LayeredOutput:
        """Send each picture at its `rate` (N), up to 2·RATES - 1."""
        _, eighth, sixteenth = self.encoder.scales(image, segmap)
        base_rate, fine_rate = rates_of(rate)
        base, fine = self.base(sixteenth, segmap, base_rate), self.fine(eighth, segmap, fine_rate)
        strengths = strength_of(base_rate), strength_of(fine_rate)
        return LayeredOutput(self.decode(base.received, fine.received, *strengths, layout), base, fine)


# -- training ---------------------------------------------------------------------------------------------------------


class LayeredRecipe(PictureRecipe[LayeredOptions]):
    """Base and fine latents at all their rates: the losses of `PictureRecipe`, and as few bits as each rate aims at.

    The weight of a bit (λ) is not set but found for each rate: it rises while pictures take more bits than the rate's
    target, and falls while they take less. So a run ends at the rates it was meant for, whatever its losses weigh.
    """

    model_kind, summary = "layered", "The layered codec's generator, {classes} classes."

    def __init__(self, options: LayeredOptions, taxonomy: Taxonomy, pools: Sequence[Pool]) -> None:
        super().__init__(options, taxonomy, pools)
        coders = self.networks.base, self.networks.fine
        gains = [gain for coder in coders for gain in (coder.log_gains, coder.log_inverse_gains)]
        (group,) = self.optimisers[0].param_groups
        group["params"] = [p for p in group["params"] if all(p is not gain for gain in gains)]
        rate = GAIN_LEARNING_RATE * group["lr"]
        self.optimisers[0].add_param_group({"params": gains, "lr": rate, "weight_decay": 0.0})
        # They are kept with the discriminator, so that checkpoints have them.
        self.adversaries.register_buffer("log_lambdas", torch.tensor([FIRST_LAMBDAS, FIRST_FINE_LAMBDAS]).log())

    @classmethod
    def network(cls, options: LayeredOptions, taxonomy: Taxonomy) -> LayeredNetwork:
        return LayeredNetwork(len(taxonomy), options.widths, options.blocks)

    def batch(self, rng: np.random.Generator) -> list[Tensor]:
        predicted = bool(rng.random() < 0.7)
        count = self.options.batch
        return [*self.sampler.draw(count, predicted, rng), random_rates(count, rng)]

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        images, send, labels, colours, rate = batch
        images = images.contiguous(memory_format=torch.channels_last)
        segmap = shrink(send, self.classes)
        with accelerator.autocast():
            out = self.networks(images, segmap, draw_layout(segmap, colours, draw_noise(segmap)), rate)
        decoded, loss = out.picture.float(), torch.zeros(())
        scalars: dict[str, Tensor] = {}
        coders, targets = (out.base, out.fine), (self.options.bits, self.options.fine_bits)
        for number, (sent, own_rate, target) in enumerate(zip(coders, rates_of(rate), targets, strict=True)):
            part, bits = self._rate_loss(sent, own_rate, number)
            loss = loss + part
            self._update_lambdas(bits, own_rate, target, number, accelerator)
            scalars["fine_bits" if number else "bits"] = bits.sum() / (own_rate >= 0).sum().clamp(min=1)
        return scalars | self.update(decoded, decoded, images, labels, loss, progress, accelerator)

    def _rate_loss(self, sent: LatentBatch, rate: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Return the loss of base (`number` 0) or fine latents (1), and each picture's bits for 16×16 pixels."""
        is_sent, places = rate >= 0, 4**number
        # The rate model learns from the levels as they are rounded, the encoder from those before rounding.
        bits = places * bits_of(sent.bits, sent.levels.detach().round()).sum(1).mean((1, 2)) * is_sent
        encoder_bits = places * bits_of(sent.bits.detach(), sent.levels).sum(1).mean((1, 2)) * is_sent
        lambdas = (interpolation(rate) @ self.adversaries.log_lambdas[number]).exp()
        mean_bits = bits.sum() / is_sent.sum().clamp(min=1) / places
        spread = losses.variance_covariance(sent.latents, DEVIATION)
        loss = (lambdas * encoder_bits).mean() + RATE_MODEL_WEIGHT / CHANNELS * mean_bits
        return loss + self.options.variance_covariance * spread, bits.detach()

    def preview(self, networks: nn.Module, source: Source) -> Panels:
        image, segmap, colours = preview.inputs(source)
        panels: Panels = [("original", preview.pixels(image))]
        for caption, rate in (("all fine latents", 2 * RATES - 1.0), ("base latents alone", RATES - 1.0)):
            layout = draw_layout(segmap, colours, draw_noise(segmap))
            out = networks(image, segmap, layout, image.new_full((1,), rate))
            panels.append((caption, preview.pixels(out.picture)))
        return panels

    def _update_lambdas(
        self, bits: Tensor, rate: Tensor, targets: Sequence[float], number: int, accelerator: Accelerator
    ) -> None:
        """Move the λ of the rates of these pictures by how far their bits are from the targets."""
        shares = interpolation(rate) * (rate >= 0)[:, None]  # of each rate in each picture
        target = interpolation(rate) @ torch.tensor(targets, device=rate.device)
        excess = (bits / target - 1).clamp(-1, 1)
        change = accelerator.reduce((shares * excess[:, None]).mean(0), "mean")
        lambdas = self.adversaries.log_lambdas[number]
        lambdas.copy_((lambdas + LAMBDA_STEP * change).clamp(*map(math.log, LAMBDA_RANGE)))

    # Models.

    @classmethod
    def shipped(cls, network: nn.Module, model: runtime.Model) -> dict[str, Tensor]:
        # Rate models are not shipped: they stay as they are.
        own = {name: value for name, value in network.state_dict().items() if ".rate_model." in name}
        return own | super().shipped(network, model) | gains_of(model)

    @classmethod
    def write(cls, export: Export) -> None:
        network, classes = export.network, len(export.taxonomy)
        rows, columns = weights.EXAMPLE
        h, w = Dim("h", min=1, max=512), Dim("w", min=1, max=512)
        eighth, quarter, whole = {2: 2 * h, 3: 2 * w}, {2: 4 * h, 3: 4 * w}, {2: 16 * h, 3: 16 * w}
        pixels, cells = (1, 3, 16 * rows, 16 * columns), (4 * rows, 4 * columns)
        export.write_network(
            "encoder",
            weights.Method(network, "encode"),
            {"image": torch.rand(pixels), "segmap": torch.rand(1, classes, *cells)},
            ["base", "fine"],
            {"image": whole, "segmap": quarter},
        )
        export.write_network(
            "decoder",
            weights.Method(network, "decode"),
            {
                "base": torch.randn(1, CHANNELS, rows, columns),
                "fine": torch.randn(1, CHANNELS, 2 * rows, 2 * columns),
                "strength": torch.ones(1),
                "fine_strength": torch.ones(1),
                "layout": torch.rand(1, classes + EXTRA, *cells),
            },
            ["image"],
            {"base": {2: h, 3: w}, "fine": eighth, "strength": {}, "fine_strength": {}, "layout": quarter},
        )
        samples = _samples(network, export.sources)
        fitted = [tables.fit_latents(found, classes, RATE_STEPS, LIMIT).arrays() for found in samples]
        gains = {name: gain.numpy() for name, gain in network.state_dict().items() if name in GAINS}
        export.write_tables(
            export.segmap_tables | gains | export.palette_tables,
            **{"base.latents": fitted[0], "fine.latents": fitted[1]},
        )


def random_rates(count: int, rng: np.random.Generator) -> Tensor:
    """Draw rates: some nothing (-1), the rest uniform of base and of fine latents, so that one model serves all."""
    kind, rate = rng.random(count), rng.uniform(0, RATES - 1, count)
    rates = np.where(kind < NOTHING, -1.0, np.where(kind < NOTHING + BASE, rate, RATES + rate))
    return torch.tensor(rates, dtype=torch.float32)


@torch.no_grad()
def _samples(
    network: LayeredNetwork, sources: Sequence[Source]
) -> tuple[list[tuple[NDArray[np.int8], NDArray[np.uint8], int]], ...]:
    """Return the latents, classes and rate of each picture at two rates that are drawn: of base and of fine latents."""
    rng = np.random.default_rng(0)
    found: tuple[list[Any], list[Any]] = ([], [])
    for source in sources:
        pixels, one_hot, quarter = encoder_inputs(source)
        both = network.encode(pixels, one_hot)
        for samples, coder, latents in zip(found, (network.base, network.fine), both, strict=True):
            classes = resample.shrink(quarter, coder.rate_model.cells)
            for step in rng.integers(RATE_STEPS, size=2):
                gains = at_rate(coder.log_gains, torch.tensor([float(step)]) / STEPS_BETWEEN)
                levels = soft_clip(latents * gains)[0].round().numpy().astype(np.int8)
                samples.append((levels, classes, int(step)))
    return found
