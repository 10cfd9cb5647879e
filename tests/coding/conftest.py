"""Coding tables and real segmaps that the coding tests share."""

import numpy as np
import pytest
from PIL import Image
from synthetic import blobs

from sempic.coding.net import IntegerNet
from sempic.training import tables as fitting


@pytest.fixture(scope="session")
def tables():
    """Tables of five classes, learnt in a second."""
    rng = np.random.default_rng(1)
    return fitting.fit_segmap([blobs(rng, 24, 32) for _ in range(30)], 5, width=16, steps=60)


@pytest.fixture
def network_calls(monkeypatch):
    """The number of samples of each call of an integer network: what coding takes its time for."""
    calls, run = [], IntegerNet.frequencies

    def counted(network, features, groups=None):
        calls.append(len(features))
        return run(network, features, groups)

    monkeypatch.setattr(IntegerNet, "frequencies", counted)
    return calls


@pytest.fixture(scope="session")
def camvid_labels(camvid):
    """A function split, stride -> every stride-th CamVid label map, with void as 255."""

    def load(split, stride):
        maps = [np.array(Image.open(path)) for path in sorted((camvid / split / "label").glob("*.png"))[::stride]]
        return [np.where(segmap == 11, 255, segmap).astype(np.uint8) for segmap in maps]

    return load
