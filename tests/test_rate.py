"""The search for a size: never above the limit, and as near to it as the steps allow."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sempic import rate
from sempic.codecs.base import Writer
from sempic.errors import BudgetError, InputError
from sempic.rate import Target, Written


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
        assert rate.fit(writer, limit).data[0] == fitting[-1]
    else:
        with pytest.raises(BudgetError, match=f"smallest stream of this picture has {writer.sizes[0]} bytes"):
            rate.fit(writer, limit)


@given(SIZES, LIMIT)
def test_any_sizes_stay_below_the_limit_in_few_writes(sizes: list[int], limit: int) -> None:
    writer = Sizes(sizes)
    try:
        assert len(rate.fit(writer, limit).data) <= limit
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
    assert rate.fit(Sizes(sizes), limit).data[0] == best


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


# -- targets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"quality": -1}, "from 0 to 100"),
        ({"quality": 100.5}, "from 0 to 100"),
        ({"quality": math.nan}, "from 0 to 100"),
        ({"bpp": 0}, "0 bpp; it must be a number above 0"),
        ({"bpp": -0.1}, "above 0"),
        ({"bpp": math.nan}, "above 0"),
        ({"bpp": math.inf}, "above 0"),
        ({"size": 0}, "0 bytes; it must be above 0"),
        ({"size": -5}, "-5 bytes"),
        ({"quality": 50, "bpp": 0.1}, "only one of quality, bpp and bytes"),
        ({"quality": 50, "size": 100}, "only one"),
        ({"bpp": 0.1, "size": 100}, "only one"),
        ({"quality": 0, "bpp": 0, "size": 0}, "only one"),
    ],
)
def test_impossible_targets_are_sentences(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Target(**given)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("0.05", Target(bpp=0.05)),
        (" 1 ", Target(bpp=1)),
        ("600B", Target(size=600)),
        ("1.5kB", Target(size=1500)),
        ("2KiB", Target(size=2048)),
        ("q30", Target(quality=30)),
        ("q21.15", Target(quality=21.15)),
    ],
)
def test_targets_are_read_from_texts(text: str, target: Target) -> None:
    assert Target.parse(text) == target


@pytest.mark.parametrize("text", ["", "B", "q", "much", "600b", "6.5B", "q30B", "0,05", "-1", "0", "nan", "q101", "0B"])
def test_other_texts_are_no_targets(text: str) -> None:
    with pytest.raises(InputError):
        Target.parse(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("600", 600),
        ("600b", 600),
        ("600 bytes", 600),
        ("1k", 1000),
        ("1kb", 1000),
        ("1KB", 1000),
        (" 2.5 kB ", 2500),
        ("2.3k", 2300),
        ("1Ki", 1024),
        ("1KiB", 1024),
        ("0.5kib", 512),
        ("1M", 1_000_000),
        ("1MiB", 1 << 20),
    ],
)
def test_numbers_of_bytes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert rate.bytes_of(text) == size


@pytest.mark.parametrize(
    "text", ["", "k", "much", "-5", "0", "2.5", "1.2345k", "1,5k", "1e3", "1kbit", "1 furlong", "nan", "٣"]
)
def test_other_texts_are_no_numbers_of_bytes(text: str) -> None:
    with pytest.raises(InputError, match=r"is no number of bytes above 0; write 600, 1k or 2.5kB \(k is 1000\)"):
        rate.bytes_of(text)


def test_a_target_is_a_limit_in_bytes_but_for_a_quality() -> None:
    assert Target(bpp=0.05).limit(1000) == 6
    assert Target(bpp=8).limit(1000) == 1000
    assert Target(size=600).limit(1000) == 600
    assert Target(quality=30).limit(1000) is None
    assert Target().limit(1000) is None


def test_a_target_writes_what_is_asked_for() -> None:
    writer = Sizes(list(range(10, 74)))
    assert Target().write(writer) == Target(quality=rate.QUALITY).write(writer) == Written(writer.write(32), ())
    assert Target(quality=100).write(writer).data == writer.write(63)
    assert Target(size=40).write(writer) == rate.fit(writer, 40)
    assert Target(bpp=0.32).write(writer) == rate.fit(writer, 40)
    with pytest.raises(BudgetError, match="has 10 bytes"):
        Target(size=9).write(writer)
