"""Bjøntegaard deltas against published values, and every reason not to give one."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("bjontegaard")

from sempic.bench.bd import Delta, bd_metric, bd_rate
from sempic.errors import InputError

# JCTVC-E137's curves with the BD-rates that its spreadsheet gives, as Netflix's VMAF tests them.
PUBLISHED = [
    (
        ([108048.8736, 61279.976, 33905.6656, 18883.6928], [43.6471, 40.3953, 37.247, 34.2911]),
        ([108061.2784, 61299.9936, 33928.7472, 18910.912], [43.6768, 40.4232, 37.2761, 34.3147]),
        -0.465215420752807,
    ),
    (
        ([40433.8848, 7622.7456, 2394.488, 1017.6184], [37.5761, 35.3756, 33.8977, 32.0603]),
        ([40370.12, 7587.0024, 2390.0944, 1017.0984], [37.5982, 35.4025, 33.9194, 32.0822]),
        -1.8779823450567612,
    ),
]
ANCHOR = ([0.1, 0.2, 0.4, 0.8], [30.0, 32.0, 34.0, 36.0])


def curves(lowest: float, highest: float) -> st.SearchStrategy[tuple[list[float], list[float]]]:
    """Curves that get better with every step, from four to eight points."""
    steps = st.lists(st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)), min_size=4, max_size=8)

    def scaled(steps: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
        rates, values = [], []
        for rate, value in steps:
            rates.append((rates[-1] if rates else 0.01) * (1 + rate))
            values.append((values[-1] if values else 0) + value)
        scale = (highest - lowest) / (values[-1] - values[0])
        return rates, [lowest + (value - values[0]) * scale for value in values]

    return steps.map(scaled)


@pytest.mark.parametrize(("anchor", "other", "expected"), PUBLISHED)
def test_published_rates_are_met(anchor, other, expected):
    assert bd_rate(anchor, other).value == pytest.approx(expected, abs=1e-4)


@given(curve=curves(20, 40), factor=st.floats(0.2, 5))
def test_a_constant_factor_in_rate_is_found_exactly(curve, factor):
    rates, values = curve
    delta = bd_rate(curve, ([factor * rate for rate in rates], values))
    assert delta.value == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert delta.overlap == pytest.approx(1)


def test_ten_per_cent_more_is_ten_per_cent():
    assert bd_rate(ANCHOR, ([1.1 * rate for rate in ANCHOR[0]], ANCHOR[1])).value == pytest.approx(10, abs=1e-9)


@given(curve=curves(20, 40), offset=st.floats(-5, 5))
def test_a_constant_offset_in_value_is_found_exactly(curve, offset):
    rates, values = curve
    assert bd_metric(curve, (rates, [value + offset for value in values])).value == pytest.approx(offset, abs=1e-9)


@given(first=curves(20, 40), second=curves(25, 45))
def test_there_and_back_is_nothing(first, second):
    there, back = bd_rate(first, second), bd_rate(second, first)
    assert there.value is not None
    assert back.value is not None
    assert (1 + there.value / 100) * (1 + back.value / 100) == pytest.approx(1)
    assert there.overlap == back.overlap == pytest.approx(15 / 25)


@given(first=curves(20, 40), second=curves(25, 45))
def test_distances_are_compared_as_well(first, second):
    fall = [(rates, [-value for value in values]) for rates, values in (first, second)]
    assert bd_rate(*fall, higher_is_better=False) == bd_rate(first, second)
    rise = bd_metric(first, second)
    assert bd_metric(*fall, higher_is_better=False).value == (rise.value and pytest.approx(-rise.value))


def test_curves_are_compared_only_where_both_exist():
    """Ten per cent apart on the shared 34..36, and wild beyond."""
    other = ([0.44, 0.88, 50.0, 60.0, 70.0], [34.0, 36.0, 36.5, 37.0, 42.0])
    straight = ([0.1, 0.2, 0.4, 0.8], [30.0, 32.0, 34.0, 36.0])
    delta = bd_rate(straight, other)
    assert delta.overlap == pytest.approx(2 / 12)
    assert -20 < delta.value < 20


def test_the_order_of_points_and_repeated_points_do_not_matter():
    other = ([0.15, 0.3, 0.5, 0.9], [30.5, 33.0, 34.5, 37.0])
    shuffled = ([0.5, 0.15, 0.9, 0.3, 0.15], [34.5, 30.5, 37.0, 33.0, 30.5])
    assert bd_rate(ANCHOR, shuffled) == bd_rate(ANCHOR, other)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (([0.1, 0.2, 0.4], [30.0, 31.0, 32.0]), "has 3 different points"),
        (([0.1, 0.1, 0.1, 0.1], [30.0, 30.0, 30.0, 30.0]), "has 1 different points"),
        (([], []), "has 0 different points"),
        (([0.1, 0.2, 0.3, 0.4], [30.0, 32.0, 31.0, 33.0]), "not at 0.3 bpp"),
        (([0.1, 0.2, 0.3, 0.4], [30.0, 32.0, 32.0, 33.0]), "not at 0.3 bpp"),
        (([0.1, 0.2, 0.2, 0.4], [30.0, 32.0, 33.0, 34.0]), "different values at the same rate"),
        (([0.1, 0.2, 0.3, 0.4], [30.0, float("nan"), 32.0, 33.0]), "a point without a value"),
        (([0.1, 0.2, 0.3, 0.4], [36.0, 37.0, 38.0, 39.0]), "share no values: the anchor has 30 to 36"),
        (([0.1, 0.2, 0.3, 0.4], [20.0, 21.0, 22.0, 23.0]), "share no values: the anchor has 30 to 36"),
    ],
)
def test_without_a_number_there_is_a_reason(other, why):
    for delta in (bd_rate(ANCHOR, other), bd_rate(other, ANCHOR)):
        assert delta.value is None
        assert delta.overlap == 0
        assert delta.why.endswith(".")
    assert why in bd_rate(ANCHOR, other).why


def test_values_that_fall_can_still_be_compared_at_equal_rate():
    dented = ([0.1, 0.2, 0.4, 0.8], [31.0, 33.0, 32.5, 37.0])
    assert bd_rate(ANCHOR, dented).value is None
    assert bd_metric(ANCHOR, dented).value > 0


def test_curves_without_shared_rates_have_no_difference_in_value():
    delta = bd_metric(ANCHOR, ([0.8, 1.6, 2.4, 3.2], [36.0, 38.0, 39.0, 40.0]))
    assert delta == Delta(None, "The curves share no rates: the anchor has 0.1 to 0.8, the other codec 0.8 to 3.2.", 0)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "bjontegaard", None)
    with pytest.raises(InputError, match=r"\[bench\]"):
        bd_rate(ANCHOR, ANCHOR)
