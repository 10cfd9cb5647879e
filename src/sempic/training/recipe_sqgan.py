"""Recipes of SQ-GAN's three stages.

`sqgan-map` trains G_s, `sqgan-image` trains G_x on original maps, and `sqgan` trains G_x on the maps a decoder has.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from sempic import datasets
from sempic.coding import palette as palettes
from sempic.coding import resample
from sempic.taxonomy import CAMVID11
from sempic.training import data, losses
from sempic.training.loop import Recipe, average_gradients
from sempic.training.segmenters import Segmenter
from sempic.training.sqgan import ImageStream, MapStream, draw_layout, one_hot, shrink

CLASSES = len(CAMVID11)
PASTED = ("sign", "pedestrian", "bicyclist")
ADVERSARIAL = 0.5
"""The share of the gradient at the picture that the discriminator gets, against fidelity's 1."""
MEANING, COLOUR = 0.05, 1.0
"""The weights of the segmenter's reading and of 8x8 mean colours, against 1 for L1."""
CROWDING, SPREAD = 0.5, 0.5
"""The weight of the crowding of codes, and the standard deviation that it asks for (even use of the lattice: 0.56)."""
MAP_WEIGHTS = {"sign": 2.0, "pedestrian": 2.0, "bicyclist": 2.0, "pole": 1.5, "tree": 0.7, "sky": 0.7}


@dataclass(frozen=True)
class Source:
    """A picture with two maps: `frame.segmap` (labels, or the prediction where there are none) and the prediction."""

    frame: datasets.Frame
    predicted: NDArray[np.uint8]

    @cached_property
    def palette(self) -> NDArray[np.int64]:
        """The levels of the picture's classes, as the codec would send them."""
        height, width = (side - side % 4 for side in self.predicted.shape)
        cells = resample.shrink(self.predicted[:height, :width], 4)
        return palettes.measure(self.frame.image[:height, :width], cells, CLASSES)


class Sampler:
    """Draws training crops: `share` of them from labelled street scenes, with rare classes pasted in."""

    def __init__(self, labelled: list[Source], photos: list[Source], crop: int, share: float) -> None:
        self.labelled, self.photos, self.crop, self.share = labelled, photos, crop, share
        self.pieces = _rare_pieces([s.frame for s in labelled])

    def draw(self, count: int, predicted: bool, rng: np.random.Generator) -> list[Tensor]:
        """Return `count` pictures (N×3×S×S), the maps to send and the labels to be judged by (N×S×S), and the mean
        colours of classes (N×classes×3 in [0,1]) of the pictures that these are crops of."""
        images, maps, labels, colours = [], [], [], []
        for _ in range(count):
            street = rng.random() < self.share or not self.photos
            pool = self.labelled if street else self.photos
            source = pool[rng.integers(len(pool))]
            # Both maps ride through the crop in one array: the label in the low, the prediction in the high digits.
            both = np.stack([_labels(source), source.predicted], 2)
            image, cut = _crop(source.frame.image, both, self.crop, (0.75, 1.4) if street else (0.5, 1.1), rng)
            if street and rng.random() < 0.7 and self.pieces:
                self._paste(image, cut, rng)
            jitter = data.random_jitter(0.08, rng)
            images.append(jitter(image))
            mean = jitter((palettes.colours(source.palette).clip(0, 1) * 255).astype(np.uint8))
            colours.append(palettes.colours(palettes.quantise(mean)))
            labels.append(cut[..., 0])
            maps.append(cut[..., 1] if predicted or not street else cut[..., 0])
        picture, send = data.to_tensors(list(zip(images, maps, strict=True)))
        return [picture, send, torch.from_numpy(np.stack(labels)).long(), torch.from_numpy(np.stack(colours))]

    def _paste(self, image: NDArray[np.uint8], maps: NDArray[np.uint8], rng: np.random.Generator) -> None:
        """Paste one rare thing at a random place, in the picture and in both maps."""
        pixels, shape, label = self.pieces[rng.integers(len(self.pieces))]
        height, width = shape.shape
        if max(height, width) > self.crop:
            return
        top, left = rng.integers(self.crop - height + 1), rng.integers(self.crop - width + 1)
        window = np.s_[top : top + height, left : left + width]
        image[window][shape] = pixels[shape]
        maps[window][shape] = label


def _labels(source: Source) -> NDArray[np.uint8]:
    return source.predicted if source.frame.segmap is None else source.frame.segmap


def _crop(
    image: NDArray[np.uint8], maps: NDArray[np.uint8], size: int, scales: tuple[float, float], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    state = rng.bit_generator.state
    frame = datasets.Frame("", image, maps[..., 0])
    cut, label = data.random_crop(frame, size, scales, rng)
    rng.bit_generator.state = state  # the same crop again, for the second map
    _, predicted = data.random_crop(datasets.Frame("", image, maps[..., 1]), size, scales, rng)
    return cut.copy(), np.stack([label, predicted], 2)


def _rare_pieces(frames: list[datasets.Frame]) -> list[tuple[NDArray[np.uint8], NDArray[np.bool_], int]]:
    """Cut out the connected pieces of rare classes, 60 pixels or more → (pixels, shape, class id)."""
    from scipy import ndimage

    pieces = []
    for frame in frames:
        assert frame.segmap is not None
        for name in PASTED:
            label = CAMVID11.id_of(name)
            numbered, _ = ndimage.label(frame.segmap == label)
            for i, box in enumerate(ndimage.find_objects(numbered), 1):
                shape = numbered[box] == i
                if shape.sum() >= 60:
                    pieces.append((frame.image[box], shape, label))
    return pieces


def random_fractions(count: int, rng: np.random.Generator) -> Tensor:
    """Draw kept fractions: a third everything, a few nothing, the rest uniform, so that one model serves every rate."""
    kind, fraction = rng.random(count), rng.uniform(0.05, 1, count)
    return torch.tensor(np.where(kind < 0.33, 1.0, np.where(kind < 0.38, 0.0, fraction)), dtype=torch.float32)


class MapRecipe(Recipe):
    """Stage 1: the map's stream, class-weighted cross-entropy."""

    def __init__(self, sampler: Sampler, batch_size: int = 16) -> None:
        self.sampler, self.batch_size = sampler, batch_size
        self.networks, self.adversaries = MapStream(CLASSES), nn.Module()
        self.optimisers = [torch.optim.AdamW(self.networks.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.01)]
        self.weights = losses.class_weights(MAP_WEIGHTS, 1.0)

    def batch(self, rng: np.random.Generator) -> list[Tensor]:
        _, send, *_ = self.sampler.draw(self.batch_size, bool(rng.random() < 0.7), rng)
        return [shrink(send, CLASSES), random_fractions(self.batch_size, rng)]

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        segmap, fraction = batch
        with accelerator.autocast():
            logits, _, _ = self.networks(segmap, fraction)
        truth = torch.where(segmap.sum(1) > 0, segmap.argmax(1), CLASSES)
        entropy = F.cross_entropy(logits.float(), truth, self.weights.to(logits.device))
        self.optimisers[0].zero_grad()
        accelerator.backward(entropy)
        accelerator.clip_grad_norm_(self.networks.parameters(), 1.0)
        self.optimisers[0].step()
        return {"entropy": entropy.detach()}


class ImageRecipe(Recipe):
    """Stages 2 and 3: the picture's stream under reconstruction, features, meaning and a discriminator.

    Stage 2 sends original maps, stage 3 (`predicted`) the ones a decoder will have.
    """

    def __init__(
        self,
        sampler: Sampler,
        segmenter: Segmenter,
        predicted: bool,
        map_stream: MapStream | None = None,
        batch_size: int = 8,
        adversarial_from: float = 0.0,
    ) -> None:
        self.sampler, self.predicted, self.batch_size = sampler, predicted, batch_size
        self.adversarial_from = adversarial_from
        self.critic = losses.Critic(segmenter)
        self.map_stream = map_stream.eval().requires_grad_(False) if map_stream is not None else None
        self.networks = ImageStream(CLASSES)
        self.adversaries = losses.Discriminator(CLASSES)
        # The balance of the adversarial gradient lives with the discriminator, so that checkpoints keep it.
        self.adversaries.register_buffer("balance", torch.tensor(0.0))
        self.adversaries.register_buffer("calls", torch.tensor(0))
        self.optimisers = [
            torch.optim.AdamW(self.networks.parameters(), lr=4e-4, betas=(0.5, 0.9), weight_decay=0.01),
            torch.optim.AdamW(self.adversaries.parameters(), lr=3e-4, betas=(0.5, 0.9), weight_decay=0.01),
        ]
        self.l1_weights = losses.class_weights(losses.L1_WEIGHTS, 1.0)
        self.relaxation = losses.class_weights(losses.RELAXATION, 0.0)

    def batch(self, rng: np.random.Generator) -> list[Tensor]:
        images, send, labels, palette = self.sampler.draw(self.batch_size, self.predicted, rng)
        return [images, send, labels, palette, random_fractions(self.batch_size, rng), torch.tensor(rng.random())]

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        images, send, labels, palette, fraction, chance = batch
        images = images.contiguous(memory_format=torch.channels_last)
        self.critic.to(images.device)
        adversarial = progress >= self.adversarial_from
        segmap = shrink(send, CLASSES)
        with accelerator.autocast():
            if self.map_stream is not None and chance < 0.2:
                segmap = self._through_tokens(segmap, fraction)
            noise = 3**0.5 * (2 * torch.rand_like(segmap[:, :1]) - 1)
            decoded, quantised, _ = self.networks(images, segmap, draw_layout(segmap, palette, noise), fraction)
            decoded = decoded.float()
            crowding = losses.crowding(quantised.codes, SPREAD)
            with torch.no_grad():
                real_features = self.critic.segmenter.encoder(images)
            ease = losses.per_pixel(self.relaxation, labels)
            relaxed = decoded + ease * (images - decoded)
            # All that criticises the picture hangs on this leaf: one pass back to it, then one through the codec.
            leaf = relaxed.detach().requires_grad_()
            features, reading = self.critic(leaf)
            distance = losses.feature_distance(features, real_features)
            meaning = losses.semantic_loss(reading, labels)
            l1 = (losses.per_pixel(self.l1_weights, labels) * (leaf - images).abs()).mean()
            fidelity = l1 + 0.15 * distance + MEANING * meaning
            scalars = {"l1": l1, "features": distance, "meaning": meaning}
            criticism = fidelity
            if adversarial:
                fooling = losses.hinge_generator(self.adversaries(leaf, features, segmap))
                self._rebalance(fidelity, fooling, leaf)
                # A discriminator arrives over a twentieth of the run, so that it does not shock the codec.
                arrival = min(1.0, (progress - self.adversarial_from) / 0.05)
                criticism = fidelity + arrival * self.adversaries.balance * fooling
                scalars["fooling"] = fooling
        (gradient,) = torch.autograd.grad(criticism, leaf)
        generator, discriminator = self.optimisers
        generator.zero_grad()
        # Relaxed or fooled, the picture must keep the colours of the original: seen from afar, both are the same.
        # Tints count more than brightness, which all other terms see anyway.
        difference = F.avg_pool2d(decoded - images, 8)
        tint = difference - difference.mean(1, keepdim=True)
        colour = difference.abs().mean() + 3 * tint.abs().mean()
        scalars |= {"colour": colour, "crowding": crowding}
        accelerator.backward((relaxed * gradient).sum() + COLOUR * colour + CROWDING * crowding)
        accelerator.clip_grad_norm_(self.networks.parameters(), 1.0)
        generator.step()
        if adversarial:
            with accelerator.autocast():
                fake = self.adversaries(leaf.detach(), [f.detach() for f in features], segmap)
                real = self.adversaries(images, real_features, segmap)
                loss = losses.hinge_discriminator(real, fake)
            discriminator.zero_grad()
            accelerator.backward(loss)
            average_gradients(self.adversaries, accelerator)
            discriminator.step()
            scalars |= {"discriminator": loss, "balance": self.adversaries.balance}
        return {k: v.detach() for k, v in scalars.items()}

    def _rebalance(self, fidelity: Tensor, fooling: Tensor, leaf: Tensor) -> None:
        """Set the adversarial weight by the ratio of both gradients at the picture (VQGAN's rule), every 8th step."""
        self.adversaries.calls += 1
        if int(self.adversaries.calls) % 8 != 1:
            return
        (wanted,) = torch.autograd.grad(fidelity, leaf, retain_graph=True)
        (pushed,) = torch.autograd.grad(fooling, leaf, retain_graph=True)
        ratio = ADVERSARIAL * wanted.norm() / (pushed.norm() + 1e-6)
        old = self.adversaries.balance
        old.copy_(ratio if float(old) == 0 else 0.9 * old + 0.1 * ratio)

    @torch.no_grad()
    def _through_tokens(self, segmap: Tensor, fraction: Tensor) -> Tensor:
        """What a decoder sees when the map travels as tokens."""
        assert self.map_stream is not None
        logits, _, _ = self.map_stream.to(segmap.device)(segmap, fraction.clamp(min=0.4))
        return one_hot(logits.argmax(1), CLASSES)
