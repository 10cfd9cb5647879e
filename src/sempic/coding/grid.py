"""Coding of the token grid: which tokens are sent, and which code of the codebook each of them is.

Tokens are sent in *bands*, most relevant first. The payload of one band holds, under integer networks (`net.py`):

0. its *fill*: in 32 steps, the share of the still unsent positions that it takes;
1. its mask: for each unsent position whether the band takes it, given classes and neighbours;
2. for each position taken the *cluster* of its code, given classes and the clusters of the neighbours known so far;
3. the code's *member* number in its cluster, given classes and the clusters of all neighbours known by then.

Clusters come from halving the codebook along its widest direction again and again, so all are of one size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from sempic.coding import net, ranges
from sempic.coding.wavefront import Index, diagonals, interior, padded, places, steps
from sempic.errors import InputError, StreamError

Tokens = NDArray[np.int32]
Classes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Plane = NDArray[np.uint8]
Ints = NDArray[np.integer]

_BEHIND = ((0, -1), (-1, -1), (-1, 0), (-1, 1), (0, -2), (-2, 0))
_AHEAD = ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1))
_CLASSES_AT = ((0, 0), (0, -1), (-1, 0), (0, 1), (1, 0))
_SENT, _OPEN, _LEFT, _TAKEN, _OUTSIDE = range(5)  # the states of a position, as its neighbours see it
_FILLS = 32  # fill 0 takes nothing, the last one everything
_PARTS = 8  # the picture is divided into so many rows and columns of places
_CLUSTERS = 32  # a power of two
_UNKNOWN, _BEYOND = _CLUSTERS, _CLUSTERS + 1  # what else a neighbour's cluster can be
_BATCH = 1 << 14  # positions that the encoder looks at together: bounds its memory
_MAX_SAMPLES = 1_000_000
_NET_NAMES = ("mask", "cluster", "member")
_EVEN = np.full((1, _FILLS), ranges.TOTAL // _FILLS, np.int64)


@dataclass(frozen=True)
class GridTables:
    """What coder and decoder know of token grids beforehand."""

    n_classes: int
    place_of: NDArray[np.int32]
    """n_codes: for each code, cluster * size of a cluster + member number."""
    nets: tuple[net.IntegerNet, net.IntegerNet, net.IntegerNet]
    """Frequencies of mask bits, clusters and members (one output group a cluster)."""

    @cached_property
    def cluster_size(self) -> int:
        """How many codes a cluster has room for."""
        return -(-len(self.place_of) // _CLUSTERS)

    @cached_property
    def code_at(self) -> NDArray[np.int32]:
        """The inverse of `place_of`; -1 where a cluster has room left."""
        codes = np.full(_CLUSTERS * self.cluster_size, -1, np.int32)
        codes[self.place_of] = np.arange(len(self.place_of))
        return codes

    @classmethod
    def fit(
        cls,
        samples: Iterable[tuple[Tokens, Classes, NDArray[np.generic]]],
        n_classes: int,
        codebook: NDArray[np.floating],
        *,
        width: int = 48,
        train_steps: int = 1500,
        seed: int = 0,
    ) -> GridTables:
        """Learn tables from samples of (tokens, classes, relevance), each hxw, and the codebook (n_codes x D).

        Tokens are 0..n_codes-1, classes 0..n_classes-1 or 255 for unknown; the higher the relevance, the earlier a
        token is sent. Each grid is cut into bands at random, for at training time nobody knows the rate.
        """
        rng = np.random.default_rng(seed)
        place_of = _cluster(np.asarray(codebook, np.float64))
        size = -(-len(place_of) // _CLUSTERS)
        none = np.zeros(0, np.int64)
        nothing = (np.zeros((0, len(_feature_sizes(0, 0))), np.uint8), none, none)
        data: list[list[tuple[Plane, Ints, Ints]]] = [[nothing] for _ in _NET_NAMES]
        for tokens, classes, relevance in samples:
            for sent, chosen in _random_bands(relevance, rng):
                for stage, sample in _stages(place_of[tokens], chosen, sent, classes, n_classes, size):
                    data[stage].append(sample)

        def learn(stage: int, n_states: int, n_symbols: int, n_groups: int) -> net.IntegerNet:
            features, symbols, groups = (np.concatenate(column) for column in zip(*data[stage], strict=True))
            kept = rng.permutation(len(symbols))[:_MAX_SAMPLES]
            return net.train(
                features[kept],
                symbols[kept].astype(np.int64),
                _feature_sizes(n_states, n_classes),
                n_symbols,
                groups=groups[kept].astype(np.int64),
                n_groups=n_groups,
                width=width,
                steps=train_steps,
                seed=seed,
            )

        mask = learn(0, _OUTSIDE + 1, 2, 1)
        cluster = learn(1, _BEYOND + 1, _CLUSTERS, 1)
        member = learn(2, _BEYOND + 1, size, _CLUSTERS)
        return cls(n_classes, place_of, (mask, cluster, member))

    def arrays(self) -> dict[str, Ints]:
        """Return the tables by name, for `numpy.savez_compressed`."""
        named = [network.arrays(f"{name}_") for name, network in zip(_NET_NAMES, self.nets, strict=True)]
        return {"n_classes": np.array(self.n_classes), "place_of": self.place_of, **named[0], **named[1], **named[2]}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Ints]) -> GridTables:
        """Return the tables that `arrays` described."""
        mask, cluster, member = (net.IntegerNet.from_arrays(arrays, f"{name}_") for name in _NET_NAMES)
        return cls(int(arrays["n_classes"]), arrays["place_of"].astype(np.int32), (mask, cluster, member))


def encode_band(tokens: Tokens, chosen: Mask, sent: Mask, classes: Classes, tables: GridTables) -> bytes:
    """Return as bytes which positions are chosen and their tokens; all arrays are hxw.

    `sent` marks the positions of earlier bands, whose tokens the decoder knows. Raise `InputError` where it meets
    `chosen` or where a token is no code.
    """
    if not tokens.shape == chosen.shape == sent.shape == classes.shape or tokens.ndim != 2 or tokens.size == 0:
        raise InputError("Tokens, masks and classes of a band must be non-empty hxw arrays of one shape.")
    if (chosen & sent).any():
        raise InputError("A band cannot choose a token that an earlier band has sent.")
    tokens = np.where(chosen | sent, tokens, 0)
    if tokens.min() < 0 or tokens.max() >= len(tables.place_of):
        raise InputError(f"A token lies outside 0..{len(tables.place_of) - 1}.")
    fill = np.array([_fill(chosen, sent)])
    stages = _stages(tables.place_of[tokens], chosen, sent, classes, tables.n_classes, tables.cluster_size)
    coded = ((symbols, tables.nets[stage].frequencies(x, groups)) for stage, (x, symbols, groups) in stages)
    return ranges.encode(chain([(fill, _EVEN)], coded))


def decode_band(data: bytes, tokens: Tokens, sent: Mask, classes: Classes, tables: GridTables) -> tuple[Mask, Tokens]:
    """Return (chosen, tokens) of the band: the tokens are those sent before or now, elsewhere 0.

    `tokens`, `sent` and `classes` (hxw) are as they stand after the earlier bands. Raise `StreamError` where the data
    fits no band.
    """
    decoder = ranges.Decoder(data)
    fill = int(decoder.decode(_EVEN)[0])
    view = _View(classes, fill, tables.n_classes)
    states = padded(np.where(sent, _SENT, _OPEN), _OUTSIDE)
    state = states.reshape(-1)
    if fill in (0, _FILLS - 1):
        state[state == _OPEN] = _TAKEN if fill else _LEFT
    for cells in view.cells(state, _OPEN):
        state[cells] = _LEFT + decoder.decode(tables.nets[0].frequencies(view.features(cells, state, state)))
    tokens = np.where(sent, tokens, 0).astype(np.int32)
    clusters = padded(np.where(sent, tables.place_of[tokens] // tables.cluster_size, _UNKNOWN), _BEYOND)
    cluster = clusters.reshape(-1)
    for cells in view.cells(state, _TAKEN):
        cluster[cells] = decoder.decode(tables.nets[1].frequencies(view.features(cells, cluster, cluster)))
    codes = np.zeros(states.shape, np.int32)
    for cells in view.cells(state, _TAKEN, at_least=_BATCH):
        groups = cluster[cells].astype(np.int64)
        member = decoder.decode(tables.nets[2].frequencies(view.features(cells, cluster, cluster), groups))
        codes.reshape(-1)[cells] = tables.code_at[groups * tables.cluster_size + member]
    if codes.min() < 0:
        raise StreamError("The token data is damaged: it names a code that the codebook does not have.")
    return interior(states) == _TAKEN, tokens + interior(codes)


class _View:
    """What the networks see of a grid: neighbours in one plane, classes, place and fill in the other features."""

    def __init__(self, classes: Classes, fill: int, n_classes: int) -> None:
        self._shape = (classes.shape[0], classes.shape[1])
        self._behind, self._ahead = (steps(neighbours, classes.shape[1]) for neighbours in (_BEHIND, _AHEAD))
        self._classes = padded(np.minimum(classes, n_classes), n_classes + 1).reshape(-1)
        self._classes_at = steps(_CLASSES_AT, classes.shape[1])
        self._place = places(*self._shape, _PARTS)
        self._fill = fill

    def cells(self, state: Plane, wanted: int, at_least: int = 1) -> Iterator[Index]:
        """Yield diagonal after diagonal (see `diagonals`) the cells in the wanted state at their turn."""
        for cells in diagonals(*self._shape, at_least=at_least):
            cells = cells[state[cells] == wanted]
            if len(cells):
                yield cells

    def features(self, cells: Index, coded: Plane, before: Plane) -> Plane:
        """Return n x f features: neighbours behind the wavefront as coded now, those ahead as they were before."""
        x = np.empty((len(cells), len(_feature_sizes(0, 0))), np.uint8)
        at = cells[:, None]
        a, b, c = len(_BEHIND), len(_BEHIND + _AHEAD), len(_BEHIND + _AHEAD + _CLASSES_AT)
        x[:, :a] = coded[at + self._behind]
        x[:, a:b] = before[at + self._ahead]
        x[:, b:c] = self._classes[at + self._classes_at]
        x[:, c], x[:, c + 1] = np.divmod(self._place[cells], _PARTS)
        x[:, c + 2] = self._fill
        return x


def _feature_sizes(n_states: int, n_classes: int) -> list[int]:
    """Return the number of values of each of the features of `_View`."""
    return [n_states] * len(_BEHIND + _AHEAD) + [n_classes + 2] * len(_CLASSES_AT) + [_PARTS, _PARTS, _FILLS]


def _fill(chosen: Mask, sent: Mask) -> int:
    """Return the step (0..31) of the share of unsent positions that are chosen."""
    n_chosen, n_open = int(chosen.sum()), int((~sent).sum())
    if n_chosen in (0, n_open):
        return _FILLS - 1 if n_chosen else 0
    return 1 + (_FILLS - 2) * n_chosen // n_open


def _stages(
    placed: Ints, chosen: Mask, sent: Mask, classes: Classes, n_classes: int, size: int
) -> Iterator[tuple[int, tuple[Plane, Ints, Ints]]]:
    """Yield (number of the network, (features n x f, symbols n, output groups n)) of all a band codes, in order."""
    fill = _fill(chosen, sent)
    view = _View(classes, fill, n_classes)
    state = padded(np.where(sent, _SENT, np.where(chosen, _TAKEN, _LEFT)), _OUTSIDE).reshape(-1)
    if fill not in (0, _FILLS - 1):
        before = padded(np.where(sent, _SENT, _OPEN), _OUTSIDE).reshape(-1)
        for cells in view.cells(before, _OPEN, at_least=_BATCH):
            yield 0, (view.features(cells, state, before), state[cells] - _LEFT, np.zeros_like(cells))
    before = padded(np.where(sent, placed // size, _UNKNOWN), _BEYOND).reshape(-1)
    cluster = padded(np.where(sent | chosen, placed // size, _UNKNOWN), _BEYOND).reshape(-1)
    for cells in view.cells(state, _TAKEN, at_least=_BATCH):
        yield 1, (view.features(cells, cluster, before), cluster[cells], np.zeros_like(cells))
    member = padded(placed % size, 0).reshape(-1)
    for cells in view.cells(state, _TAKEN, at_least=_BATCH):
        yield 2, (view.features(cells, cluster, cluster), member[cells], cluster[cells])


def _random_bands(relevance: NDArray[np.generic], rng: np.random.Generator) -> list[tuple[Mask, Mask]]:
    """Return (sent before, chosen) of one to four bands of random sizes, most relevant first."""
    ranks = np.empty(relevance.shape, np.int64)
    ranks.flat[np.argsort(relevance, axis=None, kind="stable")[::-1]] = np.arange(relevance.size)
    shares = np.sort(rng.random(rng.integers(1, 4)))
    ends = [0, *(np.rint(shares * relevance.size).astype(int)), relevance.size]
    return [(ranks < begin, (ranks >= begin) & (ranks < end)) for begin, end in pairwise(ends) if end > begin]


def _cluster(codebook: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return for each code (n_codes x D) cluster * size + member number."""
    parts = [np.arange(len(codebook))]
    while len(parts) < _CLUSTERS:
        parts = [half for part in parts for half in _halve(codebook, part)]
    size = -(-len(codebook) // _CLUSTERS)
    place_of = np.empty(len(codebook), np.int32)
    for number, part in enumerate(parts):
        place_of[part] = number * size + np.arange(len(part))
    return place_of


def _halve(codebook: NDArray[np.float64], part: Index) -> tuple[Index, Index]:
    """Split the codes of a part in two at the median of their widest direction."""
    if len(part) < 2:
        return part, part[:0]
    centred = codebook[part] - codebook[part].mean(axis=0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    ordered = part[np.argsort(centred @ direction, kind="stable")]
    middle = -(-len(part) // 2)
    return np.sort(ordered[:middle]), np.sort(ordered[middle:])
