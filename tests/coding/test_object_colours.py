"""Colours of objects travel exactly; what is damaged decodes to colours or is refused."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sempic.coding import objects, palette, ranges
from sempic.errors import StreamError

CLASSES = 3


def _tables() -> objects.ObjectTables:
    rng = np.random.default_rng(1)

    def rows(*shape: int) -> np.ndarray:
        return ranges.normalise(rng.integers(1, 1000, (int(np.prod(shape[:-1])), shape[-1]))).reshape(shape)

    return objects.ObjectTables(rows(CLASSES, 33), rows(CLASSES, 2, 32), rows(CLASSES, 2))


TABLES = _tables()


def _sample(seed: int, count: int) -> tuple[objects.ObjectColours, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, CLASSES, count)
    boxes = np.concatenate([rng.integers(0, 50, (count, 2)), rng.integers(1, 40, (count, 2))], 1)
    levels = rng.integers(0, palette.LEVELS, (count, 3))
    levels[rng.random(count) < 0.5] = palette.ABSENT
    accented = np.flatnonzero(rng.random(count) < 0.4)
    corners = (rng.random((len(accented), 2)) * boxes[accented, 2:]).astype(np.int64)
    spots = np.concatenate([corners, rng.integers(1, objects.ACCENT_CELLS + 1, (len(accented), 2))], 1)
    accents = rng.integers(0, palette.LEVELS, (len(accented), 3))
    return objects.ObjectColours(levels, accented, spots, accents), classes, boxes


@given(st.integers(0, 10_000), st.integers(0, 30))
def test_round_trip(seed, count):
    colours, classes, boxes = _sample(seed, count)
    found = objects.decode(objects.encode(colours, classes, boxes, TABLES), classes, boxes, TABLES)
    for name in ("levels", "accented", "spots", "accents"):
        assert np.array_equal(getattr(found, name), getattr(colours, name))


@given(st.binary(max_size=60), st.integers(0, 12))
def test_hostile_bytes(data, count):
    _, classes, boxes = _sample(0, count)
    try:
        found = objects.decode(data, classes, boxes, TABLES)
    except StreamError:
        return
    assert ((found.spots[:, :2] >= 0) & (found.spots[:, :2] < boxes[found.accented, 2:])).all()


def test_objects_as_their_classes_take_little_room():
    _, classes, boxes = _sample(3, 12)
    assert len(objects.encode(objects.ObjectColours.none(12), classes, boxes, TABLES)) <= 12


def test_tables_are_stored():
    stored = objects.ObjectTables.from_arrays(TABLES.arrays())
    assert all(np.array_equal(getattr(stored, name), getattr(TABLES, name)) for name in TABLES.arrays())
