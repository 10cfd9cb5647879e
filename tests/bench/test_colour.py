"""Colours of objects, against published values and ones made by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sempic import runtime
from sempic.bench import colour, judge, tables
from sempic.bench.colour import delta_e_2000, lab, object_distances
from sempic.bench.metrics import METRICS
from sempic.errors import InputError
from sempic.taxonomy import VOID

NAMES = ("object_hue", "object_hue_worst", "object_delta_e", "object_delta_e_worst")
CAR, SIGN, ROAD = map(judge.model().taxonomy.id_of, ("car", "sign", "road"))


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    colour._object_distances.cache_clear()


def filled(colour: tuple[int, int, int], height: int = 30, width: int = 40) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
        ((50, 2.8361, -74.0200), (50, 0, -82.7485), 3.4412),
        ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
        ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
        ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
        ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((50, 2.5, 0), (56, -27, -3), 31.9030),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
        ((90.9257, -0.5406, -0.9208), (88.6381, -0.8985, -0.7239), 1.5381),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_ciede2000_of_published_pairs(first, second, expected):
    """Sharma, Wu & Dalal 2005, table 1."""
    assert delta_e_2000(first, second) == pytest.approx(expected, abs=5e-5)
    assert delta_e_2000(second, first) == pytest.approx(expected, abs=5e-5)


def test_lab_of_known_colours():
    known = {
        (0, 0, 0): (0, 0, 0),
        (255, 255, 255): (100, 0, 0),
        (255, 0, 0): (53.24, 80.09, 67.20),
        (0, 255, 0): (87.73, -86.18, 83.18),
        (0, 0, 255): (32.30, 79.19, -107.86),
        (2, 2, 2): (0.548, 0, 0),
    }
    assert lab(list(known)) == pytest.approx(np.array(list(known.values())), abs=0.01)


def test_each_connected_piece_of_sixty_pixels_counts():
    labels = np.full((30, 40), ROAD, np.uint8)
    labels[:6, :10] = CAR
    labels[6:12, 10:20] = CAR  # touches the first in a corner only
    labels[20:26, :10] = SIGN
    labels[20, 0] = VOID  # leaves 59 pixels
    original, decoded = filled((100, 100, 100)), filled((0, 0, 0))
    decoded[:6, :10] = 150
    decoded[6:12, 10:20:2] = (150, 50, 50)
    decoded[6:12, 11:20:2] = (150, 0, 100)
    grey, coloured = object_distances(original, decoded, labels)
    expected = lab([(100, 100, 100), (150, 150, 150), (150, 25, 75)])
    assert grey == pytest.approx([0, float(delta_e_2000(*expected[:2]))])
    assert coloured == pytest.approx([np.hypot(*expected[2, 1:]), float(delta_e_2000(expected[0], expected[2]))])


def test_a_detail_that_is_lost_is_no_loss_of_colour():
    labels = np.full((30, 40), CAR, np.uint8)
    original = filled((200, 40, 40))
    original[:, ::2] = (100, 140, 0)
    assert object_distances(original, filled((150, 90, 20)), labels) == pytest.approx(np.zeros((1, 2)))


def test_means_are_over_all_objects_and_over_the_worst_tenth_of_them():
    distances = [np.arange(8.0), np.zeros(0), np.arange(8.0, 11.0)]
    for name in NAMES:
        assert METRICS[name].reduce(distances) == (9.5 if name.endswith("worst") else 5)
        assert METRICS[name].reduce([np.array([3.0])]) == 3


def test_a_picture_without_objects_has_no_value_and_one_without_labels_none_either():
    picture, road = filled((9, 9, 9)), np.full((30, 40), ROAD, np.uint8)
    for name in NAMES:
        metric = METRICS[name]
        assert np.isnan(metric.reduce([metric.collect(picture, picture, road)] * 2))
        with pytest.raises(InputError, match=f"{name} needs labels"):
            metric.collect(picture, picture, None)
    assert tables.number(float("nan")) == tables.NONE


def test_the_four_metrics_find_the_objects_once(monkeypatch):
    found = []
    find = colour.objects.find
    monkeypatch.setattr(colour.objects, "find", lambda *given: found.append(given) or find(*given))
    labels, picture = np.full((30, 40), CAR, np.uint8), filled((9, 9, 9))
    assert [METRICS[name].reduce([METRICS[name].collect(picture, picture, labels)]) for name in NAMES] == [0] * 4
    assert len(found) == 1


def test_without_a_judge_or_classes_of_objects_they_say_so(monkeypatch, tmp_path):
    assert METRICS["object_hue"].unavailable() is None
    plain = SimpleNamespace(taxonomy=replace(judge.model().taxonomy, objects=()))
    with monkeypatch.context() as patched:
        patched.setattr(judge, "model", lambda: plain)
        assert METRICS["object_hue"].unavailable().endswith("the judge's taxonomy, lists none.")
    monkeypatch.setattr(runtime, "SHIPPED", tmp_path)
    monkeypatch.delenv("SEMPIC_MODELS", raising=False)
    assert "No judge is installed" in METRICS["object_hue"].unavailable()
