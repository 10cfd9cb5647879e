"""Training crops of pictures with their segmaps: what the recipes of all generators draw from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sempic import datasets
from sempic.codecs.colours import Colours, measure
from sempic.codecs.tiles import cell_means
from sempic.coding import palette as palettes
from sempic.coding.objects import ObjectColours
from sempic.segmap import objects as segmap_objects
from sempic.segmap import resample
from sempic.segmap.objects import Objects
from sempic.taxonomy import Taxonomy
from sempic.training import data

JITTERS = (0.08, 0.08, 0.25)
"""Strengths of colour changes, each as likely; the strong one stands for dusk and glare."""
LABELLED_SCALES, OTHER_SCALES = (0.75, 1.4), (0.5, 1.1)
"""How much crops are enlarged, of street scenes with labels and of all other pictures."""
PASTE, TINT_EACH = 0.7, 0.7
"""The share of labelled crops that something is pasted into, and of the objects of a crop with tints that get one."""
LEAST_PIXELS = 60
"""Smaller pieces are neither pasted nor tinted."""
LOOKED_AT = 400
"""Rare things are cut out of so many pictures of each pool, evenly spread."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Source:
    """A picture with its labels (`frame.segmap`; None where nobody labelled it) and its predicted segmap."""

    frame: datasets.Frame
    predicted: NDArray[np.uint8]
    taxonomy: Taxonomy

    @cached_property
    def levels(self) -> NDArray[np.int64]:
        """The levels of the mean colours of the picture's classes, as a codec would send them."""
        return palettes.measure(*self._cells(), len(self.taxonomy))

    def objects(self) -> tuple[Objects, ObjectColours]:
        """Return the picture's objects and their colours, as a codec would send them."""
        means, cells = self._cells()
        found = segmap_objects.find(cells, self.taxonomy.object_ids)
        return found, measure(means, found, self.levels)

    def _cells(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the mean colours of whole cells of 4×4 pixels, and their classes."""
        height, width = (side - side % 4 for side in self.predicted.shape)
        return cell_means(self.frame.image[:height, :width]), resample.shrink(self.predicted[:height, :width], 4)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The labels, or the prediction where there are none."""
        return self.predicted if self.frame.segmap is None else self.frame.segmap


class Pool(NamedTuple):
    """Pictures that are drawn with a weight, each as likely as the others."""

    sources: Sequence[Source]
    weight: float


class Crops(NamedTuple):
    """A batch of N crops of S×S pixels.

    images: N×3×S×S in [0,1].
    send: N×S×S ids of the segmaps to send.
    labels: N×S×S ids that losses go by.
    colours: N×3×S/4×S/4 in [0,1], the colour of each cell: of its class in the whole picture, its object or an accent.
    """

    images: Tensor
    send: Tensor
    labels: Tensor
    colours: Tensor


class CropSampler:
    """Draws training crops from weighted pools.

    Args:
        pools: the pictures.
        taxonomy: their classes.
        crop: the sides of crops, a multiple of 4.
        pasted: rare classes, of which pieces are cut out of labelled pictures and pasted into other ones.
        hue, tint, object_colours: as in `options.PictureOptions`.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        taxonomy: Taxonomy,
        crop: int,
        pasted: Sequence[str] = (),
        hue: float = 0.0,
        tint: float = 0.0,
        object_colours: float = 0.0,
    ) -> None:
        self.pools, self.crop = [pool.sources for pool in pools], crop
        self.hue, self.tint, self.object_colours = hue, tint, object_colours
        pasted_ids, self.objects = class_ids(pasted, taxonomy), taxonomy.object_ids
        self.tinted = [id for id in self.objects if id not in pasted_ids]  # what is pasted is tinted then
        self.pieces = [piece for found in self.pools for piece in _pieces(spread(found, LOOKED_AT), pasted_ids)]
        weights = np.cumsum([pool.weight for pool in pools])
        self.bounds = weights / weights[-1]

    def draw(self, count: int, predicted: bool, rng: np.random.Generator) -> Crops:
        """Return `count` crops, with `predicted` segmaps to send or with labels where there are some."""
        images, send, labels, colours = [], [], [], []
        for _ in range(count):
            pool = self.pools[np.searchsorted(self.bounds, rng.random(), side="right")]
            source = pool[rng.integers(len(pool))]
            labelled = source.frame.segmap is not None
            both = np.stack([source.labels, source.predicted], 2)
            scales = LABELLED_SCALES if labelled else OTHER_SCALES
            image, both = _crop(source.frame.image, both, self.crop, scales, rng)
            if labelled and rng.random() < PASTE and self.pieces:
                self._paste(image, both, rng)
            if rng.random() < self.tint:
                _tint(image, both[..., 0], self.tinted, rng)
            change = self._random_change(rng)
            image = change(image)
            mean = change((palettes.colours(source.levels).clip(0, 1) * 255).astype(np.uint8))
            images.append(image)
            labels.append(both[..., 0])
            send.append(both[..., 1] if predicted or not labelled else both[..., 0])
            objects = self.objects if rng.random() < self.object_colours else ()
            colours.append(colour_planes(image, send[-1], palettes.quantise(mean), objects))
        picture, ids = data.to_tensors(list(zip(images, send, strict=True)))
        return Crops(picture, ids, torch.from_numpy(np.stack(labels)).long(), torch.from_numpy(np.stack(colours)))

    def _random_change(self, rng: np.random.Generator) -> data.Change:
        """Draw a change of colours, of the picture and of its mean colours alike."""
        jitter = data.random_jitter(rng.choice(JITTERS), rng)
        if rng.random() >= self.hue:
            return jitter
        hue = data.random_hue(rng)
        return lambda colours: hue(jitter(colours))

    def _paste(self, image: NDArray[np.uint8], segmaps: NDArray[np.uint8], rng: np.random.Generator) -> None:
        """Paste one rare thing at a random place, in the picture and in both segmaps."""
        pixels, shape, label = self.pieces[rng.integers(len(self.pieces))]
        height, width = shape.shape
        if max(height, width) > self.crop:
            return
        top, left = rng.integers(self.crop - height + 1), rng.integers(self.crop - width + 1)
        window = np.s_[top : top + height, left : left + width]
        tinted = label in self.objects and rng.random() < self.tint
        image[window][shape] = data.random_tint(rng)(pixels[shape]) if tinted else pixels[shape]
        segmaps[window][shape] = label


def class_ids(names: Sequence[str], taxonomy: Taxonomy) -> list[int]:
    """Return the ids of the classes of these names that a taxonomy has."""
    return [taxonomy.id_of(name) for name in names if name in taxonomy.classes]


def colour_planes(
    image: NDArray[np.uint8], segmap: NDArray[np.uint8], levels: NDArray[np.int64], objects: Collection[int] = ()
) -> NDArray[np.float32]:
    """Return the colour of each cell of 4×4 pixels as decoders have it, 3×H/4×W/4 in [0,1].

    Args:
        image: uint8 H×W×3.
        segmap: uint8 H×W.
        levels: classes×3: the levels of the mean colours of classes; void is grey.
        objects: class ids whose objects have colours of their own.
    """
    cells = resample.shrink(segmap, 4)
    found = Colours.of_classes(cells, levels)
    if objects:
        pieces = segmap_objects.find(cells, objects)
        found = found.with_objects(pieces, measure(cell_means(image), pieces, levels))
    return found.planes() + np.float32(0.5)


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return `count` of the items, evenly spread, or all where there are fewer."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _crop(
    image: NDArray[np.uint8], both: NDArray[np.uint8], size: int, scales: tuple[float, float], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a random crop of a picture and of two segmaps (H×W×2)."""
    state = rng.bit_generator.state
    cut, label = data.random_crop(datasets.Frame("", image, both[..., 0]), size, scales, rng)
    rng.bit_generator.state = state  # the same crop again, for the second segmap
    _, predicted = data.random_crop(datasets.Frame("", image, both[..., 1]), size, scales, rng)
    return cut.copy(), np.stack([label, predicted], 2)


def _tint(image: NDArray[np.uint8], segmap: NDArray[np.uint8], ids: list[int], rng: np.random.Generator) -> None:
    """Tint objects of these classes in a picture, each in a colour of its own."""
    for _, box, shape in _connected(segmap, ids):
        if rng.random() < TINT_EACH:
            image[box][shape] = data.random_tint(rng)(image[box][shape])


def _pieces(sources: list[Source], ids: list[int]) -> list[tuple[NDArray[np.uint8], NDArray[np.bool_], int]]:
    """Cut the objects of rare classes out of labelled pictures → (pixels, shape, class id)."""
    return [
        (source.frame.image[box].copy(), shape, label)
        for source in sources
        if source.frame.segmap is not None
        for label, box, shape in _connected(source.frame.segmap, ids)
    ]


def _connected(
    segmap: NDArray[np.uint8], ids: Collection[int]
) -> Iterator[tuple[int, tuple[slice, slice], NDArray[np.bool_]]]:
    """Yield each connected piece of these classes that is large enough: class id, box, and shape in the box."""
    from scipy import ndimage

    for label in ids:
        numbered, _ = ndimage.label(segmap == label)
        for number, box in enumerate(ndimage.find_objects(numbered), 1):
            shape = numbered[box] == number
            if shape.sum() >= LEAST_PIXELS:
                yield label, box, shape
