"""Networks in tiles: what they make of a large picture is what they would make of it whole."""

from __future__ import annotations

import numpy as np
import pytest

from sempic.codecs import tiles

SIZES = [(5, 7), (16, 16), (17, 40), (60, 33), (40, 9)]


class Pooling:
    """An encoder that sees nothing beyond a place: its mean colours, and the classes under it."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def run(self, image, segmap):
        assert image.dtype == segmap.dtype == np.float32
        self.seen.append(image.shape[2:])
        _, _, height, width = image.shape
        means = image.reshape(1, 3, height // 16, 16, width // 16, 16).mean((3, 5))
        return [means, segmap[:, :, ::2, ::2]]


class Enlarging:
    """A decoder that repeats its codes."""

    def run(self, codes, strength):
        return [(codes * strength).repeat(16, 2).repeat(16, 3)]


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 16)
    monkeypatch.setattr(tiles, "OVERLAP", 4)


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_encoders_see_a_tile_at_a_time(rows, columns):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16 * rows, 16 * columns, 3), np.uint8)
    segmap = rng.random((1, 2, 4 * rows, 4 * columns), np.float32)
    network = Pooling()
    means, classes = tiles.run_tiled(network, rows, columns, image=tiles.as_planes(image), segmap=segmap)
    whole = tiles.as_input(tiles.as_planes(image)).reshape(3, rows, 16, columns, 16).mean((2, 4))
    assert means.shape == (3, rows, columns)
    assert np.allclose(means, whole, atol=1e-6)
    assert np.array_equal(classes, segmap[0, :, ::2, ::2])
    assert max(max(seen) for seen in network.seen) <= 16 * 16
    assert len(network.seen) == 1 or max(rows, columns) > 16


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_tiles_are_blended_to_the_whole(rows, columns):
    codes = np.random.default_rng(0).random((1, 3, rows, columns), np.float32)
    steps, network = [], Enlarging()
    drawn = tiles.blend_tiled(
        network,
        rows,
        columns,
        progress=lambda *step: steps.append(step),
        codes=codes,
        strength=np.full(1, 2, np.float32),
    )
    assert steps == [(step, len(steps)) for step in range(1, len(steps) + 1)]
    assert drawn.shape == (3, 16 * rows, 16 * columns)
    assert np.allclose(drawn, 2 * codes[0].repeat(16, 1).repeat(16, 2), atol=1e-5)
