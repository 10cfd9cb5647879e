"""The layered codec's base, after Huang, Tao, Gao, Lu (2021), of whom only the abstract is known.

    picture, segmap ─ Encoder ─ project ─ gain of the rate ─ soft clip ─ round ─▷ levels of CHANNELS numbers a place
    levels ─ inverse gain ─ enter ─ Decoder(segmap, colours, noise) ─ picture

Gains by rate and channel let one model serve several rates (Cui et al. 2021); between two trained rates they are
interpolated. Bits are estimated by the `RateModel`, which serves training alone: streams are written under the integer
tables of `sempic.coding.latents`. All segmaps are as in `blocks`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from sempic import runtime
from sempic.codecs.layered import LIMIT, STEPS_BETWEEN
from sempic.taxonomy import Taxonomy
from sempic.training import losses, preview, tables, weights
from sempic.training.blocks import (
    BLOCKS,
    EXTRA,
    WIDTHS,
    Blocks,
    PictureDecoder,
    PictureEncoder,
    Widths,
    draw_layout,
    draw_noise,
    entrance,
    normalised,
    shrink,
    straight_through,
)
from sempic.training.gan import PictureRecipe, encoder_inputs
from sempic.training.loop import Panels
from sempic.training.options import LayeredOptions
from sempic.training.sampler import Pool, Source

if TYPE_CHECKING:
    from sempic.training.export import Export

CHANNELS = 8
RATES = 4
"""Rates that have gains of their own; a rate is a number from 0 to RATES - 1, or below 0 where nothing is sent."""
RATE_STEPS = STEPS_BETWEEN * (RATES - 1) + 1
"""The rates at which the codec writes, between and at those that have gains of their own."""
REACH = LIMIT + 0.49
"""Where `soft_clip` ends: just before the level after the last."""
FIRST_GAINS = (0.7, 1.2, 1.8, 2.5)

FIRST_LAMBDAS, LAMBDA_RANGE = (6e-3, 3e-3, 2e-3, 1e-3), (1e-5, 2e-2)
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
OLD_NAMES = {"log_returns": "log_inverse_gains", "pricing.": "rate_model.", "log_prices": "log_lambdas"}
"""What runs of earlier releases call parameters and buffers."""


# -- networks ---------------------------------------------------------------------------------------------------------


class LayeredOutput(NamedTuple):
    """A batch after the codec, with what the losses need.

    `picture` is N×3×H×W; `latents` and `levels` are N×CHANNELS×h×w before the gains and before rounding; `bits` are
    those of every level in the place of each number, N×CHANNELS×(2·LIMIT+1)×h×w.
    """

    picture: Tensor
    latents: Tensor
    levels: Tensor
    bits: Tensor


class LayeredNetwork(nn.Module):
    """Encoder and generator with the gains between them."""

    def __init__(self, classes: int, widths: Widths = WIDTHS, blocks: Blocks = BLOCKS) -> None:
        super().__init__()
        width = widths[-1]
        self.encoder, self.decoder = (
            PictureEncoder(classes, widths, blocks[0]),
            PictureDecoder(classes, widths, blocks[1]),
        )
        self.project = nn.Conv2d(width, CHANNELS, 1)
        first = torch.tensor(FIRST_GAINS).log()[:, None].repeat(1, CHANNELS)
        self.log_gains, self.log_inverse_gains = nn.Parameter(first), nn.Parameter(-first)
        self.enter = entrance(CHANNELS + 1, width)
        self.rate_model = RateModel(classes)
        self.register_load_state_dict_pre_hook(rename_old)  # type: ignore[no-untyped-call]

    def encode(self, image: Tensor, segmap: Tensor) -> Tensor:
        """Return the latents, N×CHANNELS×h×w of any size: gains and rounding come after."""
        latents: Tensor = self.project(normalised(self.encoder(image, segmap)))
        return latents

    def decode(self, latents: Tensor, strength: Tensor, layout: Tensor) -> Tensor:
        """Return the picture from latents that were multiplied by the inverse gains.

        `strength` (N) is the rate as `strength_of` returns it: a zero means more, the higher the rate.
        """
        plane = strength.reshape(-1, 1, 1, 1).expand_as(latents[:, :1])
        picture: Tensor = self.decoder(self.enter(torch.cat([latents, plane], 1)), layout)
        return picture

    def forward(self, image: Tensor, segmap: Tensor, layout: Tensor, rate: Tensor) -> LayeredOutput:
        """Send each picture at its `rate` (N)."""
        latents = self.encode(image, segmap).float()
        levels = soft_clip(latents * at_rate(self.log_gains, rate))
        whole = levels.detach().round()
        received = straight_through(levels, whole) * at_rate(self.log_inverse_gains, rate)
        received = received * (rate >= 0)[:, None, None, None]
        picture = self.decode(received, strength_of(rate), layout)
        return LayeredOutput(picture, latents, levels, self.rate_model(whole, segmap, rate))


class RateModel(nn.Module):
    """Bits of each level of each number, given classes, rate, coded neighbours and the channels before."""

    def __init__(self, classes: int, width: int = 48) -> None:
        super().__init__()
        self.levels = 2 * LIMIT + 1
        self.around = nn.Sequential(
            nn.Conv2d(4 * CHANNELS + classes + 1, width, 1), nn.SiLU(), nn.Conv2d(width, CHANNELS * self.levels, 1)
        )
        # The levels of the channels before add to the scores, each by itself.
        self.before = nn.Parameter(torch.zeros(CHANNELS * self.levels, CHANNELS * self.levels))
        earlier = torch.kron(torch.ones(CHANNELS, CHANNELS).tril(-1), torch.ones(self.levels, self.levels))
        self.register_buffer("earlier", earlier, persistent=False)

    def forward(self, values: Tensor, segmap: Tensor, rate: Tensor) -> Tensor:
        """N×CHANNELS×h×w whole numbers → N×CHANNELS×levels×h×w bits."""
        n, c, h, w = values.shape
        wide = F.pad(values, (1, 1, 1, 0))
        coded = [wide[:, :, 1:, :w], wide[:, :, :h, :w], wide[:, :, :h, 1 : w + 1], wide[:, :, :h, 2:]]
        strength = strength_of(rate).reshape(-1, 1, 1, 1).expand(n, 1, h, w)
        scores = self.around(torch.cat([*coded, F.avg_pool2d(segmap, 4), strength], 1))
        hot = F.one_hot(values.long() + LIMIT, self.levels).movedim(-1, 2).reshape(n, c * self.levels, h, w)
        scores = scores + F.conv2d(hot.to(scores.dtype), (self.before * self.earlier)[:, :, None, None])
        return -scores.reshape(n, c, self.levels, h, w).float().log_softmax(2) / torch.tensor(2.0).log()


def soft_clip(latents: Tensor) -> Tensor:
    """Map any numbers smoothly into what rounds to -LIMIT..LIMIT, with slope 1 at 0."""
    return REACH * torch.tanh(latents / REACH)


def at_rate(log_gains: Tensor, rate: Tensor) -> Tensor:
    """Return the gains (N×CHANNELS×1×1) at rates (N), interpolated between those that have their own."""
    # Spelled out, for autocast would halve the precision of a matrix product.
    return (interpolation(rate)[:, :, None] * log_gains).sum(1).exp()[:, :, None, None]


def interpolation(rate: Tensor) -> Tensor:
    """Return how much each of the RATES counts at the rates given (N) → N×RATES."""
    own = torch.arange(RATES, device=rate.device)
    return F.relu(1 - (rate.clamp(0, RATES - 1)[:, None] - own).abs())


def strength_of(rate: Tensor) -> Tensor:
    """Return a rate as the networks take it: 0 where nothing is sent, 1/RATES at rate 0, 1 at the highest."""
    return (rate + 1).clamp(0, RATES) / RATES


def bits_of(bits: Tensor, levels: Tensor) -> Tensor:
    """Return the bits of levels (N×C×h×w) from those of whole ones (N×C×levels×h×w), linearly between them.

    This is what a number takes that is rounded up or down at random, and it has a slope wherever rounding has none.
    """
    place = (levels + LIMIT).clamp(0, 2 * LIMIT)
    low = place.detach().floor().clamp(max=2 * LIMIT - 1)
    share = place - low
    pair = [bits.gather(2, (low + k).long()[:, :, None])[:, :, 0] for k in (0, 1)]
    return pair[0] * (1 - share) + pair[1] * share


def rename_old(module: nn.Module, state: dict[str, Any], *_: Any) -> None:
    """Give the weights of a run of an earlier release their names of today, when they are loaded."""
    for name in list(state):
        for old, new in OLD_NAMES.items():
            if name.startswith(old):
                state[new + name.removeprefix(old)] = state.pop(name)


# -- training ---------------------------------------------------------------------------------------------------------


class LayeredRecipe(PictureRecipe[LayeredOptions]):
    """The base at all its rates: the losses of `PictureRecipe`, and as few bits as each rate aims at.

    The weight of a bit (λ) is not set but found for each rate: it rises while pictures take more bits than the rate's
    target, and falls while they take less. So a run ends at the rates it was meant for, whatever its losses weigh.
    """

    model_kind, summary = "layered", "The layered codec's base, {classes} classes."

    def __init__(self, options: LayeredOptions, taxonomy: Taxonomy, pools: Sequence[Pool]) -> None:
        super().__init__(options, taxonomy, pools)
        gains = [self.networks.log_gains, self.networks.log_inverse_gains]
        (group,) = self.optimisers[0].param_groups
        group["params"] = [p for p in group["params"] if all(p is not gain for gain in gains)]
        rate = GAIN_LEARNING_RATE * group["lr"]
        self.optimisers[0].add_param_group({"params": gains, "lr": rate, "weight_decay": 0.0})
        # They are kept with the discriminator, so that checkpoints have them.
        self.adversaries.register_buffer("log_lambdas", torch.tensor(FIRST_LAMBDAS).log())
        self.adversaries.register_load_state_dict_pre_hook(rename_old)  # type: ignore[no-untyped-call]

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
            spread = losses.variance_covariance(out.latents, DEVIATION)
        decoded, sent = out.picture.float(), rate >= 0
        shares = interpolation(rate) * sent[:, None]  # of each rate in each picture
        # The rate model learns from the levels as they are rounded, the encoder from those before rounding.
        bits = bits_of(out.bits, out.levels.detach().round()).sum(1).mean((1, 2))
        encoder_bits = bits_of(out.bits.detach(), out.levels).sum(1).mean((1, 2))
        lambdas = (interpolation(rate) @ self.adversaries.log_lambdas).exp()
        mean_bits = (bits * sent).sum() / sent.sum().clamp(min=1)
        loss = (lambdas * encoder_bits * sent).mean() + RATE_MODEL_WEIGHT / CHANNELS * mean_bits
        loss = loss + self.options.variance_covariance * spread
        scalars = self.update(decoded, decoded, images, labels, loss, progress, accelerator)
        self._update_lambdas(bits.detach(), rate, shares, accelerator)
        return scalars | {"variance_covariance": spread.detach(), "bits": mean_bits.detach(), "lambda": lambdas.mean()}

    def preview(self, networks: nn.Module, source: Source) -> Panels:
        image, segmap, colours = preview.inputs(source)
        panels: Panels = [("original", preview.pixels(image))]
        for caption, rate in (("highest rate", RATES - 1.0), ("lowest rate", 0.0)):
            layout = draw_layout(segmap, colours, draw_noise(segmap))
            out = networks(image, segmap, layout, image.new_full((1,), rate))
            panels.append((caption, preview.pixels(out.picture)))
        return panels

    def _update_lambdas(self, bits: Tensor, rate: Tensor, shares: Tensor, accelerator: Accelerator) -> None:
        """Move the λ of the rates of these pictures by how far their bits are from the targets."""
        target = interpolation(rate) @ torch.tensor(self.options.bits, device=rate.device)
        excess = (bits / target - 1).clamp(-1, 1)
        change = accelerator.reduce((shares * excess[:, None]).mean(0), "mean")
        lambdas = self.adversaries.log_lambdas
        lambdas.copy_((lambdas + LAMBDA_STEP * change).clamp(*map(math.log, LAMBDA_RANGE)))

    # Models.

    @classmethod
    def shipped(cls, network: nn.Module, model: runtime.Model) -> dict[str, Tensor]:
        # The rate model is not shipped: it stays as it is.
        own = {name: value for name, value in network.state_dict().items() if name.startswith("rate_model.")}
        return own | super().shipped(network, model) | gains_of(model)

    @classmethod
    def write(cls, export: Export) -> None:
        network, classes = export.network, len(export.taxonomy)
        rows, columns = weights.EXAMPLE
        h, w = Dim("h", min=1, max=512), Dim("w", min=1, max=512)
        quarter, fine = {2: 4 * h, 3: 4 * w}, {2: 16 * h, 3: 16 * w}
        pixels, cells = (1, 3, 16 * rows, 16 * columns), (4 * rows, 4 * columns)
        export.write_network(
            "encoder",
            weights.Method(network, "encode"),
            {"image": torch.rand(pixels), "segmap": torch.rand(1, classes, *cells)},
            ["latents"],
            {"image": fine, "segmap": quarter},
        )
        export.write_network(
            "decoder",
            weights.Method(network, "decode"),
            {
                "latents": torch.randn(1, CHANNELS, rows, columns),
                "strength": torch.ones(1),
                "layout": torch.rand(1, classes + EXTRA, *cells),
            },
            ["image"],
            {"latents": {2: h, 3: w}, "strength": {}, "layout": quarter},
        )
        fitted = tables.fit_latents(_samples(network, export.sources), classes, RATE_STEPS, LIMIT)
        gains = {"log_gains": network.log_gains, "log_returns": network.log_inverse_gains}
        shipped = {name: gain.detach().numpy() for name, gain in gains.items()}
        export.write_tables(export.segmap_tables | shipped | export.palette_tables, latents=fitted.arrays())


def gains_of(model: runtime.Model) -> dict[str, Tensor]:
    """Return the logarithms of a shipped model's gains and inverse gains; nothing where it has none."""
    arrays = model.tables if runtime.TABLES in model.card.files else {}
    names = {"log_gains": "log_gains", "log_inverse_gains": "log_returns"}
    return {name: torch.from_numpy(arrays[stored]) for name, stored in names.items() if stored in arrays}


def random_rates(count: int, rng: np.random.Generator) -> Tensor:
    """Draw rates: one in twenty nothing (-1), the rest uniform, so that one model serves every rate."""
    nothing, rate = rng.random(count) < 0.05, rng.uniform(0, RATES - 1, count)
    return torch.tensor(np.where(nothing, -1.0, rate), dtype=torch.float32)


@torch.no_grad()
def _samples(
    network: LayeredNetwork, sources: Sequence[Source]
) -> Iterator[tuple[NDArray[np.int8], NDArray[np.uint8], int]]:
    """Yield the latents, classes and rate of each picture, at two rates that are drawn."""
    rng = np.random.default_rng(0)
    for source in sources:
        pixels, one_hot, classes = encoder_inputs(source)
        latents = network.encode(pixels, one_hot)
        for step in rng.integers(RATE_STEPS, size=2):
            gains = at_rate(network.log_gains, torch.tensor([float(step)]) / STEPS_BETWEEN)
            yield soft_clip(latents * gains)[0].round().numpy().astype(np.int8), classes, int(step)
