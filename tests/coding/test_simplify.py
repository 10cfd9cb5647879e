import numpy as np
import pytest
from synthetic import blobs

from sempic.coding import segmap
from sempic.errors import InputError
from sempic.segmap.simplify import simplify


def test_specks_go_and_strength_grows(tables):
    rng = np.random.default_rng(0)
    clean = blobs(rng, 40, 50)
    noisy = clean.copy()
    noisy[rng.random(clean.shape) < 0.01] = 3
    sizes = [len(segmap.encode(simplify(noisy, tables, strength), tables)) for strength in (0, 0.2, 1)]
    assert sizes[0] > sizes[1] >= sizes[2]
    assert (simplify(noisy, tables, 0.5) != clean).mean() < (noisy != clean).mean()


def test_zero_changes_nothing(tables):
    noise = np.random.default_rng(0).integers(0, 5, (20, 20), np.uint8)
    assert np.array_equal(simplify(noise, tables, 0), noise)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3)])
def test_tiny_maps(tables, shape):
    picture = blobs(np.random.default_rng(0), *shape)
    assert simplify(picture, tables, 1).shape == shape


def test_bits_are_what_is_written(tables):
    picture = blobs(np.random.default_rng(1), 50, 60)
    assert abs(segmap.bits(picture, tables).sum() / 8 - len(segmap.encode(picture, tables))) < 5


def test_negative_strength(tables):
    with pytest.raises(InputError):
        simplify(np.zeros((4, 4), np.uint8), tables, -1)
