import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import blobs

from sempic.errors import InputError
from sempic.segmap.resample import enlarge, shrink


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_sizes_and_labels(height, width, factor, seed):
    segmap = blobs(np.random.default_rng(seed), height, width)
    small = shrink(segmap, factor)
    large = enlarge(small, factor, height, width)
    assert small.shape == (-(-height // factor), -(-width // factor))
    assert large.shape == segmap.shape
    assert set(np.unique(large)) <= set(np.unique(small)) <= set(np.unique(segmap))


def test_factor_one_changes_nothing():
    segmap = blobs(np.random.default_rng(0), 30, 40)
    assert np.array_equal(shrink(segmap, 1), segmap)
    assert np.array_equal(enlarge(segmap, 1, 30, 40), segmap)


def test_majority_and_ties():
    assert shrink(np.array([[3, 3], [1, 1]], np.uint8), 2)[0, 0] == 1
    assert shrink(np.array([[255, 255], [4, 4]], np.uint8), 2)[0, 0] == 4
    assert shrink(np.array([[255, 255], [255, 4]], np.uint8), 2)[0, 0] == 255
    assert shrink(np.array([[1, 1, 2]], np.uint8), 2).tolist() == [[1, 2]]


def test_straight_borders_come_back():
    segmap = np.zeros((32, 48), np.uint8)
    segmap[:, 20:] = 2
    assert np.array_equal(enlarge(shrink(segmap, 4), 4, 32, 48), segmap)


def test_slanted_borders_are_smooth():
    rows, columns = np.mgrid[:64, :64]
    segmap = ((columns - 30) ** 2 + (rows - 33) ** 2 < 25**2).astype(np.uint8)
    wrong = enlarge(shrink(segmap, 4), 4, 64, 64) != segmap
    blocky = np.kron(shrink(segmap, 4), np.ones((4, 4), np.uint8)) != segmap
    assert wrong.sum() < 0.95 * blocky.sum()


def test_bad_arguments():
    with pytest.raises(InputError):
        shrink(np.zeros((4, 4), np.uint8), 0)
    with pytest.raises(InputError):
        enlarge(np.zeros((4, 4), np.uint8), 4, 12, 16)


def test_all_is_worked_out_in_two_bytes_a_pixel_and_class_after_class():
    """So it is quick, too: what takes its time are passes over memory."""
    small = blobs(np.random.default_rng(0), 90, 120, 11)
    tracemalloc.start()
    enlarge(small, 4, 360, 480)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2 * 360 * 480
