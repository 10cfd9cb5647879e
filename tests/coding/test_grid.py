import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sempic.coding.grid import GridTables, decode_band, encode_band
from sempic.errors import InputError, StreamError
from sempic.training.tables import fit_grid

N_CODES = 1000  # not a multiple of the clusters: some have room left


def smooth(rng, height, width, depth):
    """A field of random waves."""
    rows, columns = np.mgrid[:height, :width] / 12
    phases = rng.uniform(0, 6, (depth, 3))
    waves = [np.sin(a * rows + b * columns + c) for a, b, c in phases]
    return np.stack(waves, axis=-1) + rng.normal(0, 0.1, (height, width, depth))


def sample(rng, codebook, height=23, width=30):
    field = smooth(rng, height, width, codebook.shape[1])
    flat = field.reshape(-1, codebook.shape[1])
    distance = (codebook**2).sum(axis=1) - 2 * flat @ codebook.T
    classes = np.digitize(field[..., 0], [-0.5, 0, 0.5]).astype(np.uint8)
    return distance.argmin(axis=1).reshape(height, width).astype(np.int32), classes, field[..., 0] + field[..., 1]


@pytest.fixture(scope="module")
def codebook():
    return np.random.default_rng(0).normal(0, 0.7, (N_CODES, 3))


@pytest.fixture(scope="module")
def grid_tables(codebook):
    rng = np.random.default_rng(1)
    return fit_grid([sample(rng, codebook) for _ in range(60)], 4, codebook, width=16, steps=150)


def send(tokens, classes, relevance, shares, tables):
    """Code the grid in bands, check every step, and return the payloads' sizes."""
    ranks = np.argsort(np.argsort(-relevance, axis=None)).reshape(relevance.shape)
    sent, known, sizes, begin = np.zeros(tokens.shape, bool), np.zeros_like(tokens), [], 0
    for share in shares:
        end = round(share * tokens.size)
        chosen = (ranks >= begin) & (ranks < end)
        data = encode_band(tokens, chosen, sent, classes, tables)
        got, known = decode_band(data, known, sent, classes, tables)
        assert np.array_equal(got, chosen)
        sent |= chosen
        assert np.array_equal(known, np.where(sent, tokens, 0))
        sizes.append(len(data))
        begin = end
    return sizes


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1), st.lists(st.floats(0, 1), max_size=3))
def test_any_grid(grid_tables, height, width, seed, shares):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(N_CODES, size=(height, width), dtype=np.int32)
    classes = rng.choice(np.array([0, 1, 2, 3, 200, 255], np.uint8), (height, width))
    send(tokens, classes, rng.random((height, width)), [*sorted(shares), 1.0, 1.0], grid_tables)


def test_beats_flat_codes(grid_tables, codebook):
    rng = np.random.default_rng(2)
    sizes = [sum(send(*sample(rng, codebook), [0.4, 1.0], grid_tables)) for _ in range(5)]
    assert np.mean(sizes) < 0.8 * 690 * 10 / 8


def test_nothing_and_everything_cost_no_mask(grid_tables, codebook):
    tokens, classes, relevance = sample(np.random.default_rng(3), codebook)
    nothing = encode_band(tokens, np.zeros(tokens.shape, bool), np.zeros(tokens.shape, bool), classes, grid_tables)
    assert len(nothing) <= 1
    assert len(encode_band(tokens, ~(relevance > 9), relevance > 9, classes, grid_tables)) < 700


def test_without_classes(codebook):
    """The coder of a second stream that has no classes: none at all, or all unknown."""
    rng = np.random.default_rng(4)
    samples = [(tokens, np.full_like(classes, 255), order) for tokens, classes, order in (sample(rng, codebook),) * 3]
    tables = fit_grid(samples, 0, codebook, width=8, steps=10)
    send(*samples[0], [0.5, 1.0], tables)


def test_few_data_and_few_codes():
    codebook = np.random.default_rng(0).normal(size=(5, 2))
    tokens = np.array([[4]], np.int32)
    tables = fit_grid([(tokens, tokens.astype(np.uint8), tokens)], 5, codebook, width=8, steps=3)
    send(tokens, np.array([[2]], np.uint8), tokens, [1.0], tables)


def test_tables_travel(grid_tables, codebook, tmp_path):
    np.savez_compressed(tmp_path / "t.npz", **grid_tables.arrays())
    again = GridTables.from_arrays(np.load(tmp_path / "t.npz"))
    assert (tmp_path / "t.npz").stat().st_size < 700_000
    tokens, classes, relevance = sample(np.random.default_rng(5), codebook)
    none = np.zeros(tokens.shape, bool)
    data = encode_band(tokens, relevance > 0, none, classes, grid_tables)
    assert data == encode_band(tokens, relevance > 0, none, classes, again)


def test_bad_arguments(grid_tables):
    tokens, none, classes = np.full((3, 4), N_CODES, np.int32), np.zeros((3, 4), bool), np.zeros((3, 4), np.uint8)
    with pytest.raises(InputError):
        encode_band(tokens, ~none, none, classes, grid_tables)
    with pytest.raises(InputError):
        encode_band(tokens * 0, ~none, ~none, classes, grid_tables)
    with pytest.raises(InputError):
        encode_band(tokens * 0, ~none, none, classes[:2], grid_tables)


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=200))
def test_hostile_payloads(grid_tables, data):
    sent = np.arange(8 * 11).reshape(8, 11) % 5 == 0
    try:
        chosen, tokens = decode_band(
            data, np.full((8, 11), 7, np.int32), sent, np.zeros((8, 11), np.uint8), grid_tables
        )
    except StreamError:
        return
    assert not (chosen & sent).any()
    assert tokens.min() >= 0
    assert tokens.max() < N_CODES


def test_whole_diagonals_are_coded_in_one_call(grid_tables, codebook, network_calls):
    tokens, classes, _ = sample(np.random.default_rng(6), codebook)
    everything = np.ones(tokens.shape, bool)
    data = encode_band(tokens, everything, ~everything, classes, grid_tables)
    assert network_calls == [690, 690]  # clusters, members
    network_calls.clear()
    decode_band(data, tokens, ~everything, classes, grid_tables)
    assert len(network_calls) == 2 * 22 + 30 + 1
    assert sum(network_calls) == 2 * 690
