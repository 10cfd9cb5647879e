"""Whether things keep their colours: the distance, in CIE Lab, of each labelled object's mean colours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sempic.bench import judge
from sempic.bench.base import Collected, Judged, Picture
from sempic.errors import InputError
from sempic.segmap import objects

Colours = NDArray[np.float64]

SMALLEST = 60
"""A labelled object of fewer pixels is not measured."""
_HUE, _DELTA_E = 0, 1
"""The columns of `object_distances`."""
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB to CIE XYZ; the rows' sums are the white D65."""


def lab(rgb: Colours) -> Colours:
    """Return sRGB colours (…×3, 0 to 255) in CIE Lab of the white D65 (…×3)."""
    rgb = np.asarray(rgb, np.float64) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _XYZ.T / _XYZ.sum(1)
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def delta_e_2000(first: Colours, second: Colours) -> NDArray[np.float64]:
    """Return CIEDE2000, all weights 1, between colours in CIE Lab (…×3 each), as Sharma, Wu & Dalal 2005 write it."""
    (l1, a1, b1), (l2, a2, b2) = (np.moveaxis(np.asarray(colours, np.float64), -1, 0) for colours in (first, second))
    stretch = 1 + 0.5 * (1 - _towards_blue((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2))
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    grey, turned = c1 * c2 == 0, h2 - h1  # a grey has no hue
    apart = np.abs(turned) > 180  # the shorter way round the circle goes through 0
    turned = np.where(grey, 0, turned - 360 * apart * np.sign(turned))
    hue = np.where(grey, h1 + h2, (h1 + h2 + np.where(apart, np.where(h1 + h2 < 360, 360, -360), 0)) / 2)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * _cos(hue - 30) + 0.24 * _cos(2 * hue) + 0.32 * _cos(3 * hue + 6) - 0.20 * _cos(4 * hue - 63)
    d_light = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    d_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turned) / 2) / (1 + 0.015 * chroma * t)
    rotation = -2 * _towards_blue(chroma) * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    return np.asarray(np.sqrt(d_light**2 + d_chroma**2 + d_hue**2 + rotation * d_chroma * d_hue))


def _towards_blue(chroma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the formula's root of a chroma's seventh power, from 0 for greys to 1."""
    return np.asarray(np.sqrt(chroma**7 / (chroma**7 + 25.0**7)))


def _cos(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.cos(np.radians(degrees)))


def object_distances(original: Picture, decoded: Picture, labels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how far the mean colours of a picture's objects are from those of the original.

    Means are of sRGB values, so that a loss of detail alone does not count as one of colour.

    Args:
        original: uint8 H×W×3.
        decoded: the same size.
        labels: the true segmap (H×W) in the judge's classes.

    Returns:
        n×2, for each connected piece of at least `SMALLEST` pixels: the distance in a* and b* alone, and CIEDE2000.
    """
    return _object_distances(original.tobytes(), decoded.tobytes(), labels.tobytes(), labels.shape)


@lru_cache(maxsize=1)  # a picture's metrics follow one another
def _object_distances(original: bytes, decoded: bytes, labels: bytes, shape: tuple[int, ...]) -> NDArray[np.float64]:
    segmap = np.frombuffer(labels, np.uint8).reshape(shape)
    places = objects.find(segmap, judge.model().taxonomy.object_ids).places.reshape(-1)
    sizes = np.bincount(places)
    large = sizes >= SMALLEST
    large[0] = False  # what belongs to no object

    def colours(picture: bytes) -> Colours:
        samples = np.frombuffer(picture, np.uint8).reshape(-1, 3)
        sums = np.stack([np.bincount(places, samples[:, channel]) for channel in range(3)], -1)
        return lab(sums[large] / sizes[large, None])

    ours, theirs = colours(original), colours(decoded)
    return np.stack([np.hypot(*(ours - theirs).T[1:]), delta_e_2000(ours, theirs)], -1)


class _OfObjects(Judged):
    """A distance of the mean colours of objects, pooled over all objects of all pictures."""

    better = "lower"
    per_picture = False
    needs_labels = True
    column: ClassVar[int]

    def unavailable(self) -> str | None:
        if missing := super().unavailable():
            return missing
        if not (taxonomy := judge.model().taxonomy).objects:
            return f"{self.name} needs classes of objects, and {taxonomy.name}, the judge's taxonomy, lists none."
        return None

    def collect(self, original: Picture, decoded: Picture, labels: NDArray[np.uint8] | None) -> Collected:
        if labels is None:
            raise InputError(f"{self.name} needs labels, and this picture has none; leave the metric out.")
        return object_distances(original, decoded, labels)[:, self.column]

    def reduce(self, collected: Sequence[Collected]) -> float:
        distances = np.concatenate(collected)
        return float(distances.mean()) if len(distances) else float("nan")


class _OfWorstObjects(_OfObjects):
    """The same for the tenth of the objects whose distances are largest, rounded up."""

    def reduce(self, collected: Sequence[Collected]) -> float:
        distances = np.sort(np.concatenate(collected))
        return super().reduce([distances[len(distances) * 9 // 10 :]])


_MEASURED = (
    "between the mean colours of a labelled object in the original and in the decoded picture (connected pieces of at "
    f"least {SMALLEST} pixels, of classes whose things have colours of their own)"
)


class ObjectHue(_OfObjects):
    name, column = "object_hue", _HUE
    about = f"Distance in a* and b* of CIE Lab {_MEASURED}, mean over all objects of all pictures."


class ObjectHueWorst(_OfWorstObjects):
    name, column = "object_hue_worst", _HUE
    about = "Mean of the largest tenth of the distances that `object_hue` is the mean of."


class ObjectDeltaE(_OfObjects):
    name, column = "object_delta_e", _DELTA_E
    about = f"CIEDE2000 {_MEASURED}, mean over all objects of all pictures; lightness counts too."


class ObjectDeltaEWorst(_OfWorstObjects):
    name, column = "object_delta_e_worst", _DELTA_E
    about = "Mean of the largest tenth of the distances that `object_delta_e` is the mean of."
