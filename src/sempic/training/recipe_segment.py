"""Recipes `segmenter` and `judge`: semantic segmentation of labelled pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from sempic import datasets
from sempic.errors import InputError
from sempic.taxonomy import CAMVID11, VOID
from sempic.training import data, showing
from sempic.training.config import SegmentOptions
from sempic.training.loop import Panels, Recipe
from sempic.training.sampler import LOOKED_AT, Pool, Source, spread
from sempic.training.segmenters import Judge, Segmenter


class SegmentRecipe(Recipe):
    """Cross-entropy with rare classes weighted up, on random crops of strongly varied scale and light."""

    def __init__(self, pools: Sequence[Pool], options: SegmentOptions) -> None:
        weights = np.array([pool.weight for pool in pools])
        self.shares = weights / weights.sum()
        self.pools, self.batch_size, self.crop = pools, options.batch, options.crop
        classes = len(CAMVID11)
        self.networks = Judge(classes) if options.kind == "judge" else Segmenter(classes)
        self.adversaries = nn.Module()
        # The first stages know edges and textures from ImageNet; leaving them alone saves a third of a step.
        self.frozen = nn.ModuleList([self.networks.encoder.stem, *self.networks.encoder.stages[:2]])
        self.frozen.requires_grad_(False).eval()
        known = {id(p) for p in self.networks.encoder.parameters()}
        body = [p for p in self.networks.encoder.parameters() if p.requires_grad]
        head = [p for p in self.networks.parameters() if id(p) not in known]
        rates = (body, options.learning_rate), (head, options.head_learning_rate)
        groups = [{"params": parameters, "lr": rate} for parameters, rate in rates]
        self.optimisers = [torch.optim.AdamW(groups, weight_decay=options.weight_decay)]
        counts = _counts([source for pool in pools for source in spread(pool.sources, LOOKED_AT)])
        # The bounded inverse-log weighting of ENet (Paszke et al. 2016).
        self.weights = torch.tensor(1 / np.log(1.1 + counts / np.sum(counts)), dtype=torch.float32)

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        pairs: list[tuple[np.ndarray, np.ndarray]] = []
        while len(pairs) < self.batch_size:
            sources = self.pools[rng.choice(len(self.pools), p=self.shares)].sources
            frame = sources[rng.integers(len(sources))].frame
            if frame.segmap is None:  # nothing to learn from; `_counts` has seen that not all are like that
                continue
            image, segmap = data.random_crop(frame, self.crop, (0.75, 1.6), rng)
            pairs.append((data.random_jitter(0.2, rng)(image), segmap))
        return data.to_tensors(pairs)

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        images, labels = batch
        with accelerator.autocast():
            logits = self.networks(images.contiguous(memory_format=torch.channels_last))
        logits = F.interpolate(logits.float(), scale_factor=4, mode="bilinear", align_corners=False)
        loss = F.cross_entropy(logits, labels, self.weights.to(logits.device), ignore_index=VOID)
        optimiser = self.optimisers[0]
        accelerator.backward(loss)
        optimiser.step()
        optimiser.zero_grad()
        right = (logits.argmax(1) == labels)[labels != VOID].float().mean()
        return {"loss": loss.detach(), "accuracy": right}

    def show(self, networks: nn.Module, source: Source) -> Panels:
        image, _, _ = showing.inputs(source)
        pixels, labels = showing.pixels(image), source.frame.segmap
        told = "no labels" if labels is None else CAMVID11.colourise(showing.window(labels))
        return [("original", pixels), ("labels", told), ("read", CAMVID11.colourise(predict(networks, pixels)))]


def _counts(sources: list[Source]) -> np.ndarray:
    """Return how many pixels of each class are labelled; raise `InputError` where none are."""
    counts = np.zeros(256, np.int64)
    for source in sources:
        if source.frame.segmap is not None:
            counts += np.bincount(source.frame.segmap.ravel(), minlength=256)
    if not counts[: len(CAMVID11)].any():
        raise InputError("None of the pictures has labels, and a segmenter learns from nothing else.")
    return counts[: len(CAMVID11)]


@torch.no_grad()
def evaluate(network: nn.Module, frames: list[datasets.Frame]) -> tuple[float, np.ndarray]:
    """Return mIoU and per-class IoU (void ignored) over labelled frames, confusion pooled over the whole split."""
    classes = len(CAMVID11)
    confusion = np.zeros((classes, classes), np.int64)
    for frame in frames:
        assert frame.segmap is not None
        guess = predict(network, frame.image)
        scored = frame.segmap != VOID
        pairs = frame.segmap[scored].astype(np.int64) * classes + guess[scored]
        confusion += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    hits = np.diag(confusion)
    iou = hits / np.maximum(confusion.sum(0) + confusion.sum(1) - hits, 1)
    return float(iou.mean()), iou


@torch.no_grad()
def predict(network: nn.Module, image: np.ndarray) -> np.ndarray:
    """Segment one picture (uint8 H×W×3) → uint8 H×W."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 32), (0, -width % 32), (0, 0)), mode="edge")
    x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
    logits = F.interpolate(network(x), scale_factor=4, mode="bilinear", align_corners=False)
    guess: np.ndarray = logits[0].argmax(0).numpy().astype(np.uint8)[:height, :width]
    return guess
