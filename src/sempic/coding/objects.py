"""Colours of objects: the mean colour of each car, sign or person, and an accent where a spot of it stands out.

A class such as *car* has no colour of its own, so an object's colour is sent where it differs from the mean colour of
its class. An accent is a small spot in a colour of its own, such as the lit lamp of a traffic light. Levels of colours
are those of `palette`. Both sides find the objects in the segmap (`sempic.segmap.objects`).

    for each object: brightness, or "as its class" | both tints, unless it is as its class | whether it has an accent
    for each accent: top, left, height, width, in cells of the object's box | brightness, both tints
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sempic.coding import ranges
from sempic.coding.palette import ABSENT, LEVELS

ACCENT_CELLS = 3
"""The largest height and width of an accent, in cells."""

Array = NDArray[Any]


@dataclass(frozen=True)
class ObjectTables:
    """Frequencies by class: of brightness, or "as its class" as the last symbol (classes × 33), of both tints
    (classes × 2 × 32), and of having no accent or one (classes × 2)."""

    brightness: Array
    tints: Array
    accents: Array

    def arrays(self) -> dict[str, Array]:
        """Return the tables as arrays to store."""
        return {name: getattr(self, name).astype(np.int32) for name in ("brightness", "tints", "accents")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> ObjectTables:
        """Return stored tables."""
        return cls(arrays["brightness"], arrays["tints"], arrays["accents"])


@dataclass(frozen=True)
class ObjectColours:
    """The colours of n objects.

    levels: n×3; ABSENT where an object has the colour of its class.
    accented: the numbers (from 0) of the m objects that have an accent, rising.
    spots: m×4: top, left, height and width of each accent, in cells from the corner of the object's box.
    accents: m×3: the levels of its colour.
    """

    levels: Array
    accented: Array
    spots: Array
    accents: Array

    @classmethod
    def none(cls, count: int) -> ObjectColours:
        """Return the colours of so many objects that all have those of their classes."""
        nothing = np.zeros(0, np.int64)
        return cls(np.full((count, 3), ABSENT), nothing, nothing.reshape(0, 4), nothing.reshape(0, 3))


def encode(colours: ObjectColours, classes: Array, boxes: Array, tables: ObjectTables) -> bytes:
    """Return the colours of objects as bytes.

    Args:
        colours: what to send.
        classes: n class ids of the objects.
        boxes: n×4: top, left, height and width of the objects, in cells.
        tables: the coding tables.
    """
    levels, own = colours.levels, colours.levels[:, 0] != ABSENT
    has_accent = np.zeros(len(classes), np.int64)
    has_accent[colours.accented] = 1
    batches = [(np.where(own, levels[:, 0], LEVELS), tables.brightness[classes])]
    batches += [(levels[own, k], tables.tints[classes[own], k - 1]) for k in (1, 2)]
    batches.append((has_accent, tables.accents[classes]))
    for accent, spot, number in zip(colours.accents, colours.spots, colours.accented, strict=True):
        values = [*spot[:2], *(spot[2:] - 1), *accent]
        batches += [(np.array([value]), even) for value, even in zip(values, _even(boxes[number]), strict=True)]
    return ranges.encode(batches)


def decode(data: bytes, classes: Array, boxes: Array, tables: ObjectTables) -> ObjectColours:
    """Return what `encode` was given; raise `StreamError` for bytes that it cannot have written."""
    decoder = ranges.Decoder(data)
    levels = np.full((len(classes), 3), ABSENT)
    brightness = decoder.decode(tables.brightness[classes])
    own = brightness < LEVELS
    levels[own, 0] = brightness[own]
    for k in (1, 2):
        levels[own, k] = decoder.decode(tables.tints[classes[own], k - 1])
    accented = np.flatnonzero(decoder.decode(tables.accents[classes]))
    values = [[int(decoder.decode(even)[0]) for even in _even(boxes[number])] for number in accented]
    found = np.array(values, np.int64).reshape(-1, 7)
    spots = found[:, :4] + (0, 0, 1, 1)
    return ObjectColours(levels, accented, spots, found[:, 4:])


def _even(box: Array) -> list[Array]:
    """Return even frequencies of what is sent of an accent: top, left, height, width, and three levels."""
    sizes = (*box[2:], ACCENT_CELLS, ACCENT_CELLS, LEVELS, LEVELS, LEVELS)
    return [ranges.normalise(np.ones((1, int(size)), np.int64)) for size in sizes]
