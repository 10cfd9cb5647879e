"""Training crops of pictures with their maps: what the recipes of all generators draw from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sempic import datasets
from sempic.coding import palette as palettes
from sempic.coding import resample
from sempic.taxonomy import CAMVID11
from sempic.training import data

CLASSES = len(CAMVID11)
PASTED = ("sign", "pedestrian", "bicyclist")
JITTERS = (0.08, 0.08, 0.25)
"""Strengths of colour changes, each as likely; the strong one stands for dusk and glare."""
LABELLED_SCALES, OTHER_SCALES = (0.75, 1.4), (0.5, 1.1)
"""How much crops are enlarged, of street scenes with labels and of all other pictures."""
LOOKED_AT = 400
"""Rare things are cut out of so many pictures of each pool, evenly spread."""


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


class Pool(NamedTuple):
    """Pictures that are drawn with a weight, each as likely as the others."""

    sources: Sequence[Source]
    weight: float


class Sampler:
    """Draws training crops from weighted pools; rare classes are pasted into those with labels."""

    def __init__(self, pools: Sequence[Pool], crop: int) -> None:
        self.pools, self.crop = [pool.sources for pool in pools], crop
        self.pieces = [piece for sources in self.pools for piece in _rare_pieces(spread(sources, LOOKED_AT))]
        weights = np.cumsum([pool.weight for pool in pools])
        self.bounds = weights / weights[-1]

    def draw(self, count: int, predicted: bool, rng: np.random.Generator) -> list[Tensor]:
        """Return `count` pictures (N×3×S×S), the maps to send and the labels to be judged by (N×S×S), and the mean
        colours of classes (N×classes×3 in [0,1]) of the pictures that these are crops of."""
        images, maps, labels, colours = [], [], [], []
        for _ in range(count):
            pool = self.pools[np.searchsorted(self.bounds, rng.random(), side="right")]
            source = pool[rng.integers(len(pool))]
            labelled = source.frame.segmap is not None
            # Both maps ride through the crop in one array: the label in the low, the prediction in the high digits.
            both = np.stack([_labels(source), source.predicted], 2)
            scales = LABELLED_SCALES if labelled else OTHER_SCALES
            image, cut = _crop(source.frame.image, both, self.crop, scales, rng)
            if labelled and rng.random() < 0.7 and self.pieces:
                self._paste(image, cut, rng)
            jitter = data.random_jitter(rng.choice(JITTERS), rng)
            images.append(jitter(image))
            mean = jitter((palettes.colours(source.palette).clip(0, 1) * 255).astype(np.uint8))
            colours.append(palettes.colours(palettes.quantise(mean)))
            labels.append(cut[..., 0])
            maps.append(cut[..., 1] if predicted or not labelled else cut[..., 0])
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


def spread(sources: Sequence[Source], count: int) -> list[Source]:
    """Return `count` of the sources, evenly spread, or all where there are fewer."""
    count = min(count, len(sources))
    return [sources[i * len(sources) // count] for i in range(count)]


def _rare_pieces(sources: list[Source]) -> list[tuple[NDArray[np.uint8], NDArray[np.bool_], int]]:
    """Cut out the connected pieces of rare classes, 60 pixels or more → (pixels, shape, class id)."""
    from scipy import ndimage

    pieces = []
    for image, segmap in ((source.frame.image, source.frame.segmap) for source in sources):
        for name in PASTED if segmap is not None else ():
            label = CAMVID11.id_of(name)
            numbered, _ = ndimage.label(segmap == label)
            for i, box in enumerate(ndimage.find_objects(numbered), 1):
                shape = numbered[box] == i
                if shape.sum() >= 60:
                    pieces.append((image[box], shape, label))
    return pieces
