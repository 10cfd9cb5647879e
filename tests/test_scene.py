from __future__ import annotations

import numpy as np
import pytest

from sempic import taxonomy
from sempic.errors import InputError
from sempic.scene import CLASSES, ROAD, SKY, draw


def test_the_same_seed_draws_the_same_scene():
    first, second, other = draw(3), draw(3), draw(4)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.segmap, second.segmap)
    assert not np.array_equal(first.segmap, other.segmap)


@pytest.mark.parametrize(("width", "height"), [(480, 360), (16, 16), (201, 77), (77, 201), (960, 540)])
def test_picture_and_segmap_have_the_asked_size(width, height):
    scene = draw(1, width, height)
    assert scene.image.shape == (height, width, 3)
    assert scene.segmap.shape == (height, width)
    assert scene.image.dtype == scene.segmap.dtype == np.uint8
    assert scene.segmap.max() < len(CLASSES)


def test_scenes_show_every_class_in_street_like_shares():
    share = np.mean([np.bincount(draw(seed).segmap.ravel(), minlength=len(CLASSES)) for seed in range(8)], 0)
    share = dict(zip(CLASSES, share / share.sum(), strict=True))
    assert all(part > 0.0003 for part in share.values()), share
    assert 0.2 < share["road"] < 0.5
    assert 0.1 < share["building"] < 0.5
    assert 0.05 < share["sky"] < 0.35


def test_segmap_follows_the_picture():
    """Where the class changes, the colour does: edges of the segmap lie on edges of the picture."""
    scene = draw(0)
    grey = scene.image.mean(2)
    step = np.abs(np.diff(grey, axis=1))
    edge = np.diff(scene.segmap.astype(int), axis=1) != 0
    assert step[edge].mean() > 2.5 * step[~edge].mean()


def test_sky_is_above_and_road_below():
    segmap = draw(2).segmap
    assert np.nonzero(segmap == SKY)[0].mean() < 120 < 240 < np.nonzero(segmap == ROAD)[0].mean()


def test_the_classes_are_those_of_a_taxonomy():
    assert taxonomy.load("camvid11").classes == CLASSES


@pytest.mark.parametrize(("seed", "width", "height"), [(-1, 480, 360), (0, 8, 360), (0, 480, 0)])
def test_what_cannot_be_drawn_is_an_error(seed, width, height):
    with pytest.raises(InputError):
        draw(seed, width, height)
