"""What the recipes of all generators share: a critic, a discriminator, and the update of both sides."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from sempic.training import losses, models
from sempic.training.config import PictureOptions
from sempic.training.loop import Recipe, average_gradients, clip_gradients
from sempic.training.sampler import CLASSES
from sempic.training.segmenters import Segmenter


class PictureRecipe(Recipe):
    """Pictures under reconstruction, features, meaning and a discriminator, which joins at `adversarial_from`."""

    def __init__(self, segmenter: Segmenter, options: PictureOptions) -> None:
        self.networks, self.weights = models.network(options), options
        self.critic = losses.Critic(segmenter)
        self.adversaries = losses.Discriminator(CLASSES)
        # The balance of the adversarial gradient lives with the discriminator, so that checkpoints keep it.
        self.adversaries.register_buffer("balance", torch.tensor(0.0))
        self.adversaries.register_buffer("calls", torch.tensor(0))
        rates = options.learning_rate, options.discriminator_learning_rate
        self.optimisers = [
            torch.optim.AdamW(side.parameters(), lr=rate, betas=options.betas, weight_decay=options.weight_decay)
            for side, rate in zip((self.networks, self.adversaries), rates, strict=True)
        ]

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
        """Update the networks by what is said of their pictures and by a `loss` of other things, then the adversaries.

        `judged` is what of the `decoded` pictures gets criticised against the `images` and their `labels` (N×H×W).
        Returns scalars for the log.
        """
        self.critic.to(images.device)
        weights = self.weights
        adversarial = progress >= weights.adversarial_from
        with accelerator.autocast():
            with torch.no_grad():
                real_features = self.critic.segmenter.encoder(images)
            # All that criticises the picture hangs on this leaf: one pass back to it, then one through the codec.
            # It is clipped as decoders clip, or nobody learns to draw past white where a sky is overexposed, and
            # ripples remain that are read as walls.
            leaf = judged.detach().clamp(0, 1).requires_grad_()
            features, reading = self.critic(leaf)
            distance = losses.feature_distance(features[:3], real_features[:3])
            meaning = losses.semantic_loss(reading, labels)
            l1 = (losses.per_pixel(weights.importance, labels) * (leaf - images).abs()).mean()
            fidelity = l1 + weights.squares * F.mse_loss(leaf, images)
            fidelity = fidelity + weights.features * distance + weights.meaning * meaning
            scalars = {"l1": l1, "features": distance, "meaning": meaning}
            criticism = fidelity
            if adversarial:
                real = self.adversaries(images, real_features)
                fake = self.adversaries(leaf, features)
                fooling = losses.recognised(fake.logits, labels, weights.importance)
                self._rebalance(fidelity, fooling, leaf, accelerator)
                # A discriminator learns alone for a twentieth of the run and arrives over another one, so that it does
                # not shock the codec.
                arrival = min(1.0, max(0.0, (progress - weights.adversarial_from) / 0.05 - 1))
                criticism = fidelity + arrival * self.adversaries.balance * fooling
                scalars["fooling"] = fooling
                if weights.matching:
                    matching = losses.feature_distance(fake.hidden, [h.detach() for h in real.hidden])
                    criticism = criticism + arrival * weights.matching * matching
                    scalars["matching"] = matching
        (gradient,) = torch.autograd.grad(criticism, leaf)
        gradient = gradient.masked_fill((judged - leaf) * gradient < 0, 0)  # further out would change nothing
        generator, discriminator = self.optimisers
        # Relaxed or fooled, the picture must keep the colours of the original: seen from afar, both are the same.
        # Tints count more than brightness, which all other terms see anyway.
        difference = F.avg_pool2d(decoded.clamp(0, 1) - images, 8)
        tint = difference - difference.mean(1, keepdim=True)
        colour = difference.abs().mean() + 3 * tint.abs().mean()
        scalars["colour"] = colour
        accelerator.backward((judged * gradient).sum() + weights.colour * colour + loss)
        clip_gradients(self.networks, accelerator)
        generator.step()
        generator.zero_grad()
        if adversarial:
            with accelerator.autocast():
                fake = self.adversaries(leaf.detach(), [f.detach() for f in features])
                judgement = losses.recognised(real.logits, labels, weights.importance)
                judgement = judgement + losses.seen_through(fake.logits)
            accelerator.backward(judgement)
            average_gradients(self.adversaries, accelerator)
            discriminator.step()
            discriminator.zero_grad()
            scalars["discriminator"], scalars["balance"] = judgement, self.adversaries.balance
        return {k: v.detach() for k, v in scalars.items()}

    def _rebalance(self, fidelity: Tensor, fooling: Tensor, leaf: Tensor, accelerator: Accelerator) -> None:
        """Set the adversarial weight by the ratio of both gradients at the picture (VQGAN's rule), every 8th step."""
        self.adversaries.calls += 1
        if int(self.adversaries.calls) % 8 != 1:
            return
        (wanted,) = torch.autograd.grad(fidelity, leaf, retain_graph=True)
        (pushed,) = torch.autograd.grad(fooling, leaf, retain_graph=True)
        ratio = accelerator.reduce(self.weights.adversarial * wanted.norm() / (pushed.norm() + 1e-6), "mean")
        old = self.adversaries.balance
        old.copy_(ratio if float(old) == 0 else 0.9 * old + 0.1 * ratio)


def draw_noise(segmap: Tensor) -> Tensor:
    """Draw noise of variance 1 for the layout of N×C×h×w maps: N×1×h×w."""
    return 3**0.5 * (2 * torch.rand_like(segmap[:, :1]) - 1)
