"""The colour of each cell of a picture, as both sides have it: that of its class, of its object, or of an accent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sempic.codecs.tiles import enlarged
from sempic.coding import palette
from sempic.coding.objects import ACCENT_CELLS, ObjectColours
from sempic.segmap.objects import Objects

TINT = 16
"""The step of an accent's tints: lamps are more saturated than any mean colour."""
SAME = np.array([2, 0, 0])
"""An object has the colour of its class where no level (of brightness and both tints) differs by more."""
ACCENT = 60
"""How far the tints of an accent are from those of its object, at least, in units of uint8 RGB."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Colours:
    """Cells in groups of one colour.

    groups: h×w: the number of each cell's group: its class id, or a number behind those; n for void.
    rgb: n×3: the colour of each group, about 0 to 1; NaN where it has none.
    """

    groups: Array
    rgb: Array

    @classmethod
    def of_classes(cls, cells: Array, levels: Array) -> Colours:
        """Return the colours of classes (classes × 3 levels of `sempic.coding.palette`) in a segmap (h×w ids)."""
        rgb = np.where(levels[:, :1] == palette.ABSENT, np.float32("nan"), palette.colours(levels))
        return cls(np.minimum(cells, len(levels)).astype(np.int32), rgb)

    def with_objects(self, objects: Objects, found: ObjectColours) -> Colours:
        """Return the same with the colours of objects, and of accents on them."""
        first = len(self.rgb)
        own = np.flatnonzero(found.levels[:, 0] != palette.ABSENT)
        rgb = np.concatenate([self.rgb, palette.colours(found.levels[own]), palette.colours(found.accents, TINT)])
        groups = np.where(self.groups == first, len(rgb), self.groups)  # void comes last
        number = np.full(len(objects) + 1, -1)
        number[1 + own] = first + np.arange(len(own))
        moved = number[objects.places]
        groups = np.where(moved >= 0, moved, groups)
        for place, (one, spot) in enumerate(zip(found.accented, found.spots, strict=True), first + len(own)):
            window = _window(objects.boxes[one], spot)
            groups[window][objects.places[window] == one + 1] = place
        return Colours(groups.astype(np.int32), rgb)

    def padded(self, down: int, right: int) -> Colours:
        """Return the same with so many rows and columns more, which repeat the last ones."""
        return Colours(np.pad(self.groups, ((0, down), (0, right)), mode="edge"), self.rgb)

    def planes(self) -> NDArray[np.float32]:
        """Return the colours as 3×h×w in about -0.5..0.5: 0 is middle grey, and for what has no colour."""
        known = np.vstack([np.nan_to_num(self.rgb - np.float32(0.5)), np.zeros((1, 3), np.float32)])
        return known[self.groups].transpose(2, 0, 1)

    def match(self, picture: Array) -> Array:
        """Shift each group of a drawn picture (3×4h×4w) to its colour, smoothly across borders; in place.

        What was drawn past white or black is clipped first: it was meant to be flat there, and is to stay so.
        """
        picture.clip(0, 1, out=picture)
        shifts = np.nan_to_num(self.rgb - palette.means(picture.transpose(1, 2, 0), self.groups, len(self.rgb)))
        planes = np.pad(shifts, ((0, 1), (0, 0)))[self.groups].astype(np.float32)
        # One by one, for a large picture's memory.
        for plane, shift in zip(picture, planes.transpose(2, 0, 1), strict=True):
            plane += enlarged(shift[None], *plane.shape)[0]
        return picture


def measure(cells: NDArray[np.float32], objects: Objects, levels: Array) -> ObjectColours:
    """Return the colours of the objects in a picture.

    Args:
        cells: the mean colours of its cells of 4×4 pixels (h×w×3, 0 to 255).
        objects: the objects of its segmap (h×w).
        levels: the levels of the mean colours of classes (classes × 3).
    """
    numbers = np.where(objects.places > 0, objects.places - 1, len(objects))
    means = palette.means(cells, numbers, len(objects))
    far = np.linalg.norm(_tints(cells) - _tints(np.vstack([means, np.zeros((1, 3))]))[numbers], axis=2)
    accented = np.unique(numbers[(far >= ACCENT) & (objects.places > 0)])
    found = [_accent(cells, far, objects, int(number), means[number]) for number in accented]
    spots = np.array([spot for spot, _ in found], np.int64).reshape(-1, 4)
    colours = np.array([colour for _, colour in found], np.float64).reshape(-1, 3)
    for number, spot in zip(accented, spots, strict=True):  # what is left has a mean of its own
        window = _window(objects.boxes[number], spot)
        numbers[window][numbers[window] == number] = len(objects)
    rest = palette.means(cells, numbers, len(objects))
    own = palette.quantise(np.where(np.isnan(rest), means, rest))
    own[(abs(own - levels[objects.classes]) <= SAME).all(1)] = palette.ABSENT
    return ObjectColours(own, accented, spots, palette.quantise(colours, TINT))


def _accent(cells: Array, far: Array, objects: Objects, number: int, mean: Array) -> tuple[tuple[int, ...], Array]:
    """Return the spot of an object that stands out most (top, left, height, width in its box), and its colour.

    It holds the cell that is farthest from the object's mean, and is as large as it stays far from it.
    """
    top, left, height, width = objects.boxes[number]
    box = np.s_[top : top + height, left : left + width]
    inside, tints = objects.places[box] == number + 1, _tints(cells[box]) - _tints(mean)
    row, column = np.unravel_index(np.where(inside, far[box], -1).argmax(), inside.shape)
    best, strength = np.s_[row : row + 1, column : column + 1], 0.0
    for h, w in np.ndindex(ACCENT_CELLS, ACCENT_CELLS):
        for y, x in np.ndindex(h + 1, w + 1):
            if y > row or x > column:
                continue
            window = np.s_[row - y : row - y + h + 1, column - x : column - x + w + 1]
            if inside[window].sum() == (h + 1) * (w + 1):
                found = float(np.linalg.norm(tints[window].mean((0, 1)))) * ((h + 1) * (w + 1)) ** 0.5
                if found > strength:
                    best, strength = window, found
    rows, columns = best
    spot = rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start
    return tuple(map(int, spot)), cells[box][best].mean((0, 1))


def _tints(colours: Array) -> Array:
    """Return R - B and G - (R + B) / 2 of colours (…×3)."""
    red, green, blue = np.moveaxis(np.asarray(colours, np.float32), -1, 0)
    return np.stack([red - blue, green - (red + blue) / 2], -1)


def _window(box: Array, spot: Array) -> tuple[slice, slice]:
    """Return where an accent is in the segmap."""
    top, left = box[:2] + spot[:2]
    return slice(top, top + spot[2]), slice(left, left + spot[3])
