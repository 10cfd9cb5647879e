"""The search for a size: never above the limit, and as near to it as the steps allow."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sempic import rate
from sempic.codecs.base import Writer
from sempic.errors import BudgetError, InputError


class Sizes(Writer):
    """Writes streams of given sizes and counts how often it is asked to."""

    pixels = 1000

    def __init__(self, sizes: list[int]) -> None:
        self.sizes, self.steps, self.writes = sizes, len(sizes), 0

    def write(self, step: int) -> bytes:
        assert 0 <= step < self.steps
        self.writes += 1
        return bytes([step]) * self.sizes[step]


SIZES = st.lists(st.integers(1, 500), min_size=1, max_size=90)
LIMIT = st.integers(0, 600)


@given(SIZES, LIMIT)
def test_growing_sizes_are_met_exactly(sizes: list[int], limit: int) -> None:
    writer = Sizes(sorted(sizes))
    fitting = [step for step, size in enumerate(writer.sizes) if size <= limit]
    if fitting:
        assert rate.fit(writer, limit)[0] == fitting[-1]
    else:
        with pytest.raises(BudgetError, match=f"smallest stream of this picture has {writer.sizes[0]} bytes"):
            rate.fit(writer, limit)


@given(SIZES, LIMIT)
def test_any_sizes_stay_below_the_limit_in_few_writes(sizes: list[int], limit: int) -> None:
    writer = Sizes(sizes)
    try:
        assert len(rate.fit(writer, limit)) <= limit
    except BudgetError:
        assert sizes[0] > limit


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.data())
def test_a_dip_of_neighbouring_sizes_is_found(growth: list[int], data: st.DataObject) -> None:
    sizes = [sum(growth[: step + 1]) for step in range(len(growth))]
    swapped = data.draw(st.integers(0, len(sizes) - 1))
    if swapped:
        sizes[swapped - 1], sizes[swapped] = sizes[swapped], sizes[swapped - 1]
    limit = data.draw(st.sampled_from(sizes))
    best = max(step for step, size in enumerate(sizes) if size <= limit)
    assert rate.fit(Sizes(sizes), limit)[0] == best


def test_writes_are_few() -> None:
    writer = Sizes(list(range(10, 266)))
    rate.fit(writer, 100)
    assert writer.writes <= math.ceil(math.log2(257)) + 3


def test_the_error_names_the_floor() -> None:
    with pytest.raises(BudgetError, match=r"has 100 bytes \(0\.8000 bpp\)"):
        rate.fit(Sizes([100, 200]), 99)


def test_quality_spans_the_steps() -> None:
    writer = Sizes([1] * 64)
    assert [writer.step_of(quality) for quality in (0, 50, 100)] == [0, 32, 63]
    for quality in (-1, 100.5, math.nan):
        with pytest.raises(InputError, match="from 0 to 100"):
            writer.step_of(quality)
