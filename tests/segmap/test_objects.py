"""Objects are the connected pieces of some classes: checked against SciPy's labelling on random segmaps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from sempic.segmap import objects


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (45, 60), (90, 121)])
def test_objects_are_the_connected_pieces(shape):
    cells = np.random.default_rng(shape[0]).integers(0, 3, shape).astype(np.uint8)
    found = objects.find(cells, [0, 2])
    expected = []
    for label in (0, 2):
        numbered, count = ndimage.label(cells == label)
        pieces = (numbered == number for number in range(1, count + 1))
        expected += [(label, piece) for piece in pieces if piece.sum() >= objects.MIN_CELLS]
    expected.sort(key=lambda pair: pair[1].argmax())
    assert found.classes.tolist() == [label for label, _ in expected]
    for number, (_, piece) in enumerate(expected, 1):
        assert ((found.places == number) == piece).all()
        top, left, height, width = found.boxes[number - 1]
        rows, columns = np.nonzero(piece)
        assert (top, left) == (rows.min(), columns.min())
        assert (top + height - 1, left + width - 1) == (rows.max(), columns.max())


def test_a_spiral_is_one_object():
    cells = np.zeros((9, 9), np.uint8)
    cells[0, :] = cells[:, 8] = cells[8, :] = cells[2:, 0] = cells[2, :7] = cells[2:7, 6] = cells[6, 2:7] = 1
    cells[4:7, 2] = cells[4, 2:5] = 1
    found = objects.find(cells, [1])
    assert len(found) == 1
    assert ((found.places == 1) == (cells == 1)).all()


def test_no_class_and_no_object():
    cells = np.full((8, 8), 3, np.uint8)
    assert len(objects.find(cells, [])) == 0
    assert len(objects.find(cells, [1])) == 0
    assert not objects.find(cells, [1]).places.any()
