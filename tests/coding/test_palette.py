"""Palettes: mean colours of classes to bytes and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sempic.coding import palette
from sempic.coding.palette import ABSENT, LEVELS, PaletteTables
from sempic.errors import StreamError
from sempic.training.tables import fit_palette

CLASSES = 11


def random_levels(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, LEVELS, (CLASSES, 3))
    levels[rng.random(CLASSES) < 0.3] = ABSENT
    return levels


TABLES = fit_palette([random_levels(seed) for seed in range(5)])


@given(st.integers(0, 2**32))
def test_any_levels_come_back(seed):
    levels = random_levels(seed)
    assert (palette.decode(palette.encode(levels, TABLES), TABLES) == levels).all()


def test_no_class_at_all_is_less_than_ten_bytes():
    levels = np.full((CLASSES, 3), ABSENT)
    data = palette.encode(levels, TABLES)
    assert len(data) < 10
    assert (palette.decode(data, TABLES) == levels).all()


@given(st.binary(max_size=40))
def test_any_bytes_are_levels_or_an_error(data):
    try:
        levels = palette.decode(data, TABLES)
    except StreamError:
        return
    assert ((levels >= ABSENT) & (levels < LEVELS)).all()


def test_what_was_seen_often_is_cheap():
    levels = random_levels(7)
    fitted = fit_palette([levels] * 50)
    assert len(palette.encode(levels, fitted)) < len(palette.encode(levels, TABLES)) / 2
    stored = PaletteTables.from_arrays(fitted.arrays())
    assert palette.encode(levels, stored) == palette.encode(levels, fitted)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (90, 140, 220), (150, 60, 50), (128, 128, 128)])
def test_colours_are_at_most_a_step_away(colour):
    found = palette.colours(palette.quantise(np.array([colour], float)))[0] * 255
    assert np.abs(found - colour).max() <= 10


@pytest.mark.parametrize("brightness", [249, 252, 255])
def test_what_is_nearly_white_is_white(brightness):
    assert (palette.colours(palette.quantise(np.full((1, 3), float(brightness)))) == 1).all()


def test_measure_averages_each_class_and_leaves_void_out():
    image = np.zeros((16, 24, 3), np.uint8)
    image[:8], image[8:, :12], image[8:, 12:] = (130, 40, 40), (40, 60, 80), (255, 255, 255)
    cells = np.full((4, 6), 255, np.uint8)
    cells[:2], cells[2:, :3] = 4, 1
    levels = palette.measure(image, cells, CLASSES)
    assert [i for i in range(CLASSES) if levels[i, 0] != ABSENT] == [1, 4]
    shown = palette.colours(levels) * 255
    assert np.abs(shown[4] - (130, 40, 40)).max() <= 10
    assert np.abs(shown[1] - (40, 60, 80)).max() <= 10
    assert (shown[0] == 127.5).all()
