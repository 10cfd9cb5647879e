"""Segmaps, real and synthetic, that the coding tests share."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sempic.coding.segmap import SegmapTables

_DATA = Path(os.environ.get("SEMPIC_DATA", Path(__file__).parents[3] / "shared" / "data"))


def blobs(rng, height, width, n_classes=5, with_void=True):
    """A segmap of a few overlapping rectangles."""
    segmap = np.full((height, width), rng.integers(n_classes), np.uint8)
    for _ in range(6):
        top, left = rng.integers(height), rng.integers(width)
        label = rng.choice([*range(n_classes), 255]) if with_void else rng.integers(n_classes)
        segmap[top : top + rng.integers(1, height + 1), left : left + rng.integers(1, width + 1)] = label
    return segmap


@pytest.fixture(scope="session")
def tables():
    """Tables of five classes, learnt in a second."""
    rng = np.random.default_rng(1)
    return SegmapTables.fit([blobs(rng, 24, 32) for _ in range(30)], 5, width=16, train_steps=60)


@pytest.fixture(scope="session")
def camvid():
    """A function split, stride -> every stride-th CamVid label map, with void as 255."""
    folder = _DATA / "camvid"
    if not folder.is_dir():
        pytest.skip(f"CamVid is not at {folder}; set SEMPIC_DATA to the folder that holds it.")

    def load(split, stride):
        maps = [np.array(Image.open(path)) for path in sorted((folder / split / "label").glob("*.png"))[::stride]]
        return [np.where(segmap == 11, 255, segmap).astype(np.uint8) for segmap in maps]

    return load
