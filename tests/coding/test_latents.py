import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sempic.coding.latents import LatentTables, decode, encode
from sempic.errors import InputError, StreamError
from sempic.training.tables import fit_latents

CHANNELS, CLASSES, RATES, LIMIT = 4, 3, 5, 3


def sample(rng, rate, height=12, width=16):
    """Waves that channels share, stronger at higher rates."""
    rows, columns = np.mgrid[:height, :width] / 5
    wave = np.sin(rows * rng.uniform(0.5, 1.5) + columns * rng.uniform(-1, 1) + rng.uniform(0, 6))
    noise = rng.normal(0, 0.2, (CHANNELS, height, width))
    values = np.rint((wave * [[[1]], [[-1]], [[0.5]], [[0.1]]] + noise) * (1 + rate) / 2)
    return values.clip(-LIMIT, LIMIT).astype(np.int8), np.digitize(wave, [-0.4, 0.4]).astype(np.uint8), rate


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    samples = [sample(rng, rate) for rate in range(RATES) for _ in range(12)]
    return fit_latents(samples, CLASSES, RATES, LIMIT, width=16, steps=150)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, RATES - 1), st.integers(0, 2**32 - 1))
def test_any_latents_come_back(tables, height, width, rate, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-LIMIT, LIMIT + 1, (CHANNELS, height, width)).astype(np.int8)
    classes = rng.choice(np.array([0, 1, 2, 200, 255], np.uint8), (height, width))
    again = decode(encode(values, classes, rate, tables), classes, rate, tables)
    assert again.dtype == np.int8
    assert np.array_equal(again, values)


def test_what_is_expected_costs_less(tables):
    rng = np.random.default_rng(1)
    ours = flat = 0.0
    for rate in range(RATES):
        values, classes, _ = sample(rng, rate)
        counts = np.bincount(values.ravel() + LIMIT)
        counts = counts[counts > 0]
        flat -= (counts * np.log2(counts / values.size)).sum() / 8
        ours += len(encode(values, classes, rate, tables))
    assert ours < 0.7 * flat


def test_nothing_costs_nearly_nothing(tables):
    values, classes = np.zeros((CHANNELS, 23, 30), np.int8), np.ones((23, 30), np.uint8)
    assert len(encode(values, classes, 0, tables)) < 60


def test_one_channel_and_one_place():
    values, classes = np.array([[[1]]], np.int8), np.array([[0]], np.uint8)
    tables = fit_latents([(values, classes, 0)], 1, 1, 1, width=8, steps=3)
    assert np.array_equal(decode(encode(values, classes, 0, tables), classes, 0, tables), values)


def test_tables_travel(tables, tmp_path):
    np.savez_compressed(tmp_path / "t.npz", **tables.arrays())
    again = LatentTables.from_arrays(np.load(tmp_path / "t.npz"))
    values, classes, rate = sample(np.random.default_rng(2), 3)
    assert encode(values, classes, rate, tables) == encode(values, classes, rate, again)


def test_bad_arguments(tables):
    values, classes = np.zeros((CHANNELS, 3, 4), np.int8), np.zeros((3, 4), np.uint8)
    for wrong in ((values + LIMIT + 1, classes, 0), (values[1:], classes, 0), (values, classes[1:], 0)):
        with pytest.raises(InputError):
            encode(*wrong, tables)
    for rate in (-1, RATES):
        with pytest.raises(InputError, match=f"rate is {rate}"):
            encode(values, classes, rate, tables)
    with pytest.raises(InputError):
        fit_latents([], CLASSES, RATES, LIMIT)


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=200))
def test_hostile_payloads(tables, data):
    try:
        values = decode(data, np.zeros((8, 11), np.uint8), 2, tables)
    except StreamError:
        return
    assert np.abs(values).max() <= LIMIT


def test_whole_diagonals_of_all_channels_are_coded_in_one_call(tables, network_calls):
    values, classes, rate = sample(np.random.default_rng(3), 4, 23, 30)
    data = encode(values, classes, rate, tables)
    assert network_calls == [values.size]
    network_calls.clear()
    decode(data, classes, rate, tables)
    assert len(network_calls) == 2 * 22 + 30 + CHANNELS - 1
    assert sum(network_calls) == values.size
