"""Detail of one picture for another."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sempic.codecs import detail


@pytest.fixture
def textured():
    rng = np.random.default_rng(0)
    return np.clip(128 + rng.normal(0, 20, (90, 130, 1)) + np.zeros(3), 0, 255).astype(np.uint8)


def soft(image, size=8):
    """The picture without its fine detail."""
    small = Image.fromarray(image).resize((image.shape[1] // size, image.shape[0] // size), Image.Resampling.BOX)
    return np.asarray(small.resize(image.shape[1::-1], Image.Resampling.BICUBIC))


def test_a_soft_picture_gets_the_detail_that_it_lacks(textured):
    found = detail.missing_detail(soft(textured), textured)
    assert found.shape == textured.shape[:2]
    assert 15 < found.std() < 20
    assert np.abs(detail.add(soft(textured), found).astype(float) - textured).mean() < 6


def test_a_picture_with_detail_gets_none(textured):
    other = textured[::-1, ::-1].copy()
    assert detail.missing_detail(textured, textured).std() == 0
    assert detail.missing_detail(other, textured).std() < 8
    assert detail.missing_detail(textured, soft(textured)).std() < 2


def test_detail_goes_where_it_is_missing(textured):
    half = textured.copy()
    half[:, :64] = soft(textured)[:, :64]
    found = detail.missing_detail(half, textured)
    assert found[:, :48].std() > 5 * found[:, 80:].std()


def test_the_strength_keeps_the_promised_likeness(textured):
    rng = np.random.default_rng(1)
    picture = soft(textured)
    wrong = rng.normal(0, 30, textured.shape[:2]).astype(np.float32)
    error = np.square(textured.astype(float) - picture).mean()
    for decibels in (0.1, 0.5, 1):
        s = detail.strength(textured, picture, wrong, decibels)
        assert 0 < s < 1
        changed = np.square(textured - (picture + s * wrong[..., None])).mean()
        assert changed == pytest.approx(error * 10 ** (decibels / 10), rel=0.01)
    assert detail.strength(textured, picture, np.zeros_like(wrong), 1) == 0
    right = textured.astype(np.float32).mean(2) - picture.mean(2, dtype=np.float32)
    assert detail.strength(textured, picture, right, 0) == 1
    assert detail.strength(textured, picture, -right, 0) == 0


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (31, 16)])
def test_small_pictures_of_odd_sizes_work(size):
    image = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
    assert detail.missing_detail(image // 2, image).shape == size


def test_strips_are_one_picture(monkeypatch):
    rng = np.random.default_rng(1)
    picture, drawn = (rng.integers(0, 256, (208, 130, 3)).astype(np.uint8) for _ in range(2))
    whole = detail.missing_detail(soft(picture), drawn)
    monkeypatch.setattr(detail, "STRIP", 48)
    assert whole.std() > 20
    assert np.abs(detail.missing_detail(soft(picture), drawn) - whole).max() < 1e-3
