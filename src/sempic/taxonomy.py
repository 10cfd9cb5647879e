"""Lists of classes with their colours: what the numbers in a segmap mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sempic.errors import InputError

VOID = 255
"""The id of pixels without a class, in every taxonomy."""


@dataclass(frozen=True)
class Taxonomy:
    """A named, ordered list of classes; a class's id is its place in the list."""

    name: str
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def __len__(self) -> int:
        return len(self.classes)

    def id_of(self, name: str) -> int:
        """Return the id of a class by its name; raise `InputError` that lists the known ones."""
        try:
            return self.classes.index(name.strip().lower())
        except ValueError:
            raise InputError(f"'{name}' is not a class of {self.name}; it knows {', '.join(self.classes)}.") from None

    def colourise(self, segmap: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the segmap (H×W ids) as an H×W×3 picture; void is black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self)] = self.colours
        return palette[segmap]


CAMVID11 = Taxonomy(
    "camvid11",
    ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
    (
        (128, 178, 230),
        (128, 64, 48),
        (192, 192, 128),
        (110, 80, 130),
        (200, 110, 160),
        (80, 130, 40),
        (235, 200, 40),
        (90, 90, 60),
        (40, 60, 170),
        (220, 40, 60),
        (0, 150, 170),
    ),
)

TAXONOMIES = {CAMVID11.name: CAMVID11}
