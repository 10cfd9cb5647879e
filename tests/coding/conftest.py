"""Coding tables and real segmaps that the coding tests share."""

import numpy as np
import pytest
from PIL import Image
from synthetic import blobs

from sempic.coding.segmap import SegmapTables


@pytest.fixture(scope="session")
def tables():
    """Tables of five classes, learnt in a second."""
    rng = np.random.default_rng(1)
    return SegmapTables.fit([blobs(rng, 24, 32) for _ in range(30)], 5, width=16, train_steps=60)


@pytest.fixture(scope="session")
def camvid_labels(camvid):
    """A function split, stride -> every stride-th CamVid label map, with void as 255."""

    def load(split, stride):
        maps = [np.array(Image.open(path)) for path in sorted((camvid / split / "label").glob("*.png"))[::stride]]
        return [np.where(segmap == 11, 255, segmap).astype(np.uint8) for segmap in maps]

    return load
