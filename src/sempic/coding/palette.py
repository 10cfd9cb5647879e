"""The mean colour of every class of a picture, in about ten bytes.

The class does not determine the colour: cars come in many, skies in two. Levels are steps of 8 in brightness
(R + 2G + B) / 4 and in the tints R - B and G - (R + B) / 2, in units of uint8 RGB; tints end at 124, which mean colours
hardly ever pass. The highest brightness is white. Classes that are not there have no levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sempic.coding import ranges

STEP, LEVELS = 8, 32
ABSENT = -1
Array = NDArray[Any]


@dataclass(frozen=True)
class PaletteTables:
    """Frequencies of levels: of brightness, or absence as the last symbol (classes×33), and of both tints
    (classes×2×32)."""

    brightness: Array
    tints: Array

    def arrays(self) -> dict[str, Array]:
        """Return the tables as arrays to store."""
        return {"brightness": self.brightness.astype(np.int32), "tints": self.tints.astype(np.int32)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> PaletteTables:
        """Return stored tables."""
        return cls(arrays["brightness"], arrays["tints"])


def measure(image: Array, cells: Array, classes: int) -> NDArray[np.int64]:
    """Return the levels (classes×3) of a uint8 picture whose class ids are known by cells, as in `means`."""
    found = means(image, cells, classes)
    there = ~np.isnan(found[:, 0])
    levels = np.full((classes, 3), ABSENT, np.int64)
    levels[there] = quantise(found[there])
    return levels


def means(image: Array, cells: Array, classes: int) -> NDArray[np.float64]:
    """Return the mean colour (classes×3) of each class in an H×W×3 picture; NaN for classes that are not there.

    Cells are squares of H / height(cells) pixels, each of one class; ids beyond the classes (void) have no colour.
    """
    side = image.shape[0] // cells.shape[0]
    colours = image.reshape(cells.shape[0], side, cells.shape[1], side, 3).mean((1, 3), dtype=np.float32)
    ids = np.minimum(cells, classes).reshape(-1)
    count = np.bincount(ids, minlength=classes + 1)[:classes].astype(np.float64)
    sums = [np.bincount(ids, colours[..., k].reshape(-1), classes + 1)[:classes] for k in range(3)]
    return np.stack(sums, 1) / np.where(count > 0, count, np.nan)[:, None]


def quantise(colours: Array, tint: int = STEP) -> NDArray[np.int64]:
    """Return the levels (n×3) of RGB colours (n×3, 0 to 255); those of tints are steps of `tint`."""
    red, green, blue = colours.T.astype(np.float64)
    brightness = (red + 2 * green + blue) / 4 - STEP / 2
    values = [brightness / STEP, (red - blue) / tint + LEVELS / 2, (green - (red + blue) / 2) / tint + LEVELS / 2]
    levels: NDArray[np.int64] = np.rint(np.stack(values, 1)).clip(0, LEVELS - 1).astype(np.int64)
    return levels


def colours(levels: Array, tint: int = STEP) -> NDArray[np.float32]:
    """Return RGB colours (n×3, about 0 to 1) of levels; middle grey for absent ones."""
    brightness, orange, lime = levels.T.astype(np.float32)
    # What is nearly white on average is overexposed, so white all over; a shade darker, walls would appear in it.
    brightness = np.where(levels[:, 0] == LEVELS - 1, np.float32(255), brightness * STEP + STEP / 2)
    orange, lime = (orange - LEVELS / 2) * tint, (lime - LEVELS / 2) * tint
    green = brightness + lime / 2
    rgb = np.stack([green - lime + orange / 2, green, green - lime - orange / 2], 1) / 255
    rgb[levels[:, 0] == ABSENT] = 0.5
    return rgb.astype(np.float32)


def encode(levels: Array, tables: PaletteTables) -> bytes:
    """Return the levels of all classes as bytes."""
    there = levels[:, 0] != ABSENT
    batches = [(np.where(there, levels[:, 0], LEVELS), tables.brightness)]
    batches += [(levels[there, k], tables.tints[there, k - 1]) for k in (1, 2)]
    return ranges.encode(batches)


def decode(data: bytes, tables: PaletteTables) -> NDArray[np.int64]:
    """Return the levels of all classes; raise `StreamError` for bytes that `encode` cannot have written."""
    decoder = ranges.Decoder(data)
    levels = np.full((len(tables.brightness), 3), ABSENT, np.int64)
    brightness = decoder.decode(tables.brightness)
    there = brightness < LEVELS
    levels[there, 0] = brightness[there]
    for k in (1, 2):
        levels[there, k] = decoder.decode(tables.tints[there, k - 1])
    return levels
