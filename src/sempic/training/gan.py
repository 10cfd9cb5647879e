"""What the recipes of all generators share: perceptual losses, a discriminator, and the update of both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from sempic import runtime
from sempic.lpips import Lpips
from sempic.segmap.resample import shrink
from sempic.taxonomy import Taxonomy
from sempic.training import losses, perceptual, weights
from sempic.training.discriminator import Discriminator
from sempic.training.loop import average_gradients, clip_gradients
from sempic.training.options import PictureOptions, by_class
from sempic.training.recipe import ModelRecipe
from sempic.training.sampler import CropSampler, Pool, Source

P = TypeVar("P", bound=PictureOptions)

SHIFT = 8
"""Pictures are shifted by up to so many pixels before they are compared: half a place of the coarsest features used."""
REBALANCED = 8
"""The weight of the generator loss is measured anew at every so many steps."""
ALONE, ARRIVAL = 0.05, 0.05
"""The shares of a run for which the discriminator learns alone, and in which the generator loss then rises to its full
weight: arriving at once, it would undo what the codec has learnt."""


class PictureRecipe(ModelRecipe[P]):
    """Pictures under reconstruction, perceptual losses and a discriminator, which joins at `adversarial_from`."""

    def __init__(self, options: P, taxonomy: Taxonomy, pools: Sequence[Pool]) -> None:
        self.options, self.classes = options, len(taxonomy)
        self.networks = self.network(options, taxonomy)
        self.importance = by_class(options.importance, taxonomy)
        self.sampler = CropSampler(
            pools, taxonomy, options.crop, options.pasted, options.hue, options.tint, options.object_colours
        )
        self.perceptual = perceptual.installed(taxonomy)
        self.lpips = Lpips() if options.lpips else None
        self.adversaries = Discriminator(len(taxonomy))
        # The weight of the generator loss is kept with the discriminator, so that checkpoints have it.
        self.adversaries.register_buffer("balance", torch.tensor(0.0))
        self.adversaries.register_buffer("calls", torch.tensor(0))
        rates = options.learning_rate, options.discriminator_learning_rate
        self.optimisers = [
            torch.optim.AdamW(side.parameters(), lr=rate, betas=options.betas, weight_decay=options.weight_decay)
            for side, rate in zip((self.networks, self.adversaries), rates, strict=True)
        ]

    @classmethod
    def restore(cls, network: nn.Module, model: runtime.Model) -> None:
        """Load a shipped model of any codec that draws pictures: all of it, or what another kind of it has in common
        with the network, which is the encoder and the decoder."""
        shipped, own = cls.shipped(network, model), network.state_dict()
        if "decoder.out.weight" not in shipped:
            raise cls.cannot_start(model)
        found = {name: value for name, value in shipped.items() if name in own}
        weights.restore(network, found if model.card.kind == cls.model_kind else own | found)

    @classmethod
    def shipped(cls, network: nn.Module, model: runtime.Model) -> dict[str, Tensor]:
        """Return the weights of a model, by the names that this kind has for them."""
        # The networks of SQ-GAN's map stream have names for their weights like those of the image stream.
        names = [name.removesuffix(".onnx") for name in model.card.files if name.endswith(".onnx")]
        return weights.read(model, [name for name in names if not name.startswith("map_")])

    def update(
        self,
        decoded: Tensor,
        judged: Tensor,
        images: Tensor,
        labels: Tensor,
        loss: Tensor,
        progress: float,
        accelerator: Accelerator,
    ) -> dict[str, Tensor]:
        """Update the networks, then the discriminator.

        Args:
            decoded: N×3×H×W pictures that the networks drew.
            judged: what of these all losses but that of colours are to see.
            images: N×3×H×W originals.
            labels: N×H×W ids.
            loss: a loss of anything besides.
            progress: from 0 to 1.
            accelerator: the run's.

        Returns:
            Scalars for the log.
        """
        self.perceptual.to(images.device)
        options, joined = self.options, progress >= self.options.adversarial_from
        with accelerator.autocast():
            # Losses on the picture are backpropagated to this leaf, and once from there through the codec. It is
            # clipped as decoders clip, or nothing is ever drawn past white where a sky is overexposed, and ripples
            # remain that are taken for walls.
            leaf = judged.detach().clamp(0, 1).requires_grad_()
            shift = losses.random_shift(SHIFT)
            moved, moved_images = shift(leaf), shift(images)
            moved_labels = shift(labels[:, None].float())[:, 0].long()
            scalars = {"l1": (losses.per_pixel(self.importance, labels) * (leaf - images).abs()).mean()}
            fidelity = scalars["l1"] + options.mse * F.mse_loss(leaf, images)
            needed = bool(options.perceptual or options.semantic or joined)
            if needed:
                with torch.no_grad():
                    real_features = self.perceptual.features(moved_images)
                features, prediction = self.perceptual(moved)
                scalars["perceptual"] = losses.feature_distance(features[:3], real_features[:3])
                fidelity = fidelity + options.perceptual * scalars["perceptual"]
            if needed and self.perceptual.knows_classes:
                scalars["semantic"] = losses.semantic_loss(prediction, moved_labels)
                fidelity = fidelity + options.semantic * scalars["semantic"]
            if self.lpips is not None:
                scalars["lpips"] = self._lpips(moved, moved_images)
                fidelity = fidelity + options.lpips * scalars["lpips"]
            total = fidelity
            if joined:
                real = self.adversaries(moved_images, real_features)
                fake = self.adversaries(moved, features)
                scalars["generator"] = losses.generator_loss(fake.logits, moved_labels, self.importance)
                self._rebalance(fidelity, scalars["generator"], leaf, accelerator)
                arrival = min(1.0, max(0.0, (progress - options.adversarial_from - ALONE) / ARRIVAL))
                total = fidelity + arrival * self.adversaries.balance * scalars["generator"]
                if options.feature_matching:
                    originals = [h.detach() for h in real.hidden]
                    scalars["feature_matching"] = losses.feature_distance(fake.hidden, originals)
                    total = total + arrival * options.feature_matching * scalars["feature_matching"]
        (gradient,) = torch.autograd.grad(total, leaf)
        gradient = gradient.masked_fill((judged - leaf) * gradient < 0, 0)  # further out would change nothing
        # Whatever the other losses see, the picture must keep the mean colours of the original.
        scalars["colour"] = losses.colour_loss(decoded.clamp(0, 1), images)
        generator, discriminator = self.optimisers
        accelerator.backward((judged * gradient).sum() + options.colour * scalars["colour"] + loss)
        clip_gradients(self.networks, accelerator)
        generator.step()
        generator.zero_grad()
        if joined:
            with accelerator.autocast():
                fake = self.adversaries(moved.detach(), [f.detach() for f in features])
                both = real.logits, fake.logits
                scalars["discriminator"] = losses.discriminator_loss(*both, moved_labels, self.importance)
            accelerator.backward(scalars["discriminator"])
            average_gradients(self.adversaries, accelerator)
            discriminator.step()
            discriminator.zero_grad()
            scalars["balance"] = self.adversaries.balance
        return {k: v.detach() for k, v in scalars.items()}

    def _lpips(self, decoded: Tensor, images: Tensor) -> Tensor:
        assert self.lpips is not None
        self.lpips.to(images.device)
        with torch.no_grad():
            taps = self.lpips.taps(images)
        return self.lpips(decoded, taps).mean()

    def _rebalance(self, fidelity: Tensor, generator: Tensor, leaf: Tensor, accelerator: Accelerator) -> None:
        """Set the weight of the generator loss by the ratio of both gradients at the picture, as VQGAN does."""
        self.adversaries.calls += 1
        if int(self.adversaries.calls) % REBALANCED != 1:
            return
        (wanted,) = torch.autograd.grad(fidelity, leaf, retain_graph=True)
        (found,) = torch.autograd.grad(generator, leaf, retain_graph=True)
        ratio = accelerator.reduce(self.options.adversarial * wanted.norm() / (found.norm() + 1e-6), "mean")
        old = self.adversaries.balance
        old.copy_(ratio if float(old) == 0 else 0.9 * old + 0.1 * ratio)


def encoder_inputs(source: Source) -> tuple[Tensor, Tensor, NDArray[np.uint8]]:
    """Return a picture (1×3×H×W) and its predicted segmap (one-hot at a quarter) as encoders take them, and that segmap
    as ids (H/4×W/4)."""
    height, width = (side - side % 16 for side in source.predicted.shape)
    quarter = shrink(source.predicted[:height, :width], 4)
    classes = np.arange(len(source.taxonomy))[:, None, None]
    one_hot = torch.from_numpy(np.equal(quarter, classes)[None].astype(np.float32))
    pixels = torch.from_numpy(source.frame.image[:height, :width].copy()).permute(2, 0, 1)[None].float() / 255
    return pixels, one_hot, quarter
