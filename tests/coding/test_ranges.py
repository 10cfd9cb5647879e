import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sempic.coding import ranges
from sempic.errors import StreamError


@given(st.integers(0, 2**32 - 1), st.integers(0, 200), st.integers(2, 40))
def test_round_trip(seed, n, n_symbols):
    rng = np.random.default_rng(seed)
    rows = ranges.normalise(rng.integers(0, 1 << rng.integers(1, 30), (n, n_symbols)))
    symbols = rng.integers(n_symbols, size=n)
    data = ranges.encode([(symbols, rows)])
    decoder = ranges.Decoder(data)
    half = n // 2
    assert np.array_equal(np.concatenate([decoder.decode(rows[:half]), decoder.decode(rows[half:])]), symbols)
    bits = -np.log2(rows[np.arange(n), symbols] / ranges.TOTAL).sum()
    assert 8 * len(data) <= bits + 40
    assert not data.endswith(b"\0")


def test_rows_are_exact():
    rows = ranges.normalise(np.array([[0, 0, 0], [1, 0, 0], [1 << 40, 1, 1 << 39]]))
    assert rows.min() >= 1
    assert (rows.sum(axis=1) == ranges.TOTAL).all()


def test_payload_ends_early():
    """On average the end costs less than two bytes beyond the information."""
    rng = np.random.default_rng(0)
    rows = np.full((100, 4), ranges.TOTAL // 4, np.int64)
    sizes = [len(ranges.encode([(rng.integers(4, size=100), rows)])) for _ in range(300)]
    assert np.mean(sizes) < 25 + 1.2


def test_damage_is_a_stream_error():
    decoder = ranges.Decoder(b"\xff" * 64)
    with pytest.raises(StreamError):
        decoder.decode(ranges.normalise(np.ones((10_000, 3), np.int64)))
