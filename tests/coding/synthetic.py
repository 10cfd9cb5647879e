"""Segmaps made up for the coding tests."""

import numpy as np


def blobs(rng, height, width, n_classes=5, with_void=True):
    """A segmap of a few overlapping rectangles."""
    segmap = np.full((height, width), rng.integers(n_classes), np.uint8)
    for _ in range(6):
        top, left = rng.integers(height), rng.integers(width)
        label = rng.choice([*range(n_classes), 255]) if with_void else rng.integers(n_classes)
        segmap[top : top + rng.integers(1, height + 1), left : left + rng.integers(1, width + 1)] = label
    return segmap
