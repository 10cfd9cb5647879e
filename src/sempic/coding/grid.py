"""Coding of the token grid: which tokens are sent, and which code of the codebook each of them is.

Tokens are sent in *bands*, most relevant first. The payload of one band holds, under integer networks (`net.py`):

0. its *fill*: in 32 steps, the share of the still unsent positions that it takes;
1. its mask: for each unsent position whether the band takes it, given classes and neighbours;
2. for each position taken the *cluster* of its code, given classes and the clusters of the neighbours known so far;
3. the code's *member* number in its cluster, given classes and the clusters of all neighbours known by then.

Clusters come from halving the codebook along its widest direction again and again, so all are of one size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

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
CLUSTERS = 32
"""Codes are in so many clusters: a power of two."""
_UNKNOWN, _BEYOND = CLUSTERS, CLUSTERS + 1  # what else a neighbour's cluster can be
_BATCH = 1 << 14  # positions that the encoder looks at together: bounds its memory
_NET_NAMES = ("mask", "cluster", "member")
_EVEN = np.full((1, _FILLS), ranges.TOTAL // _FILLS, np.int64)


@dataclass(frozen=True)
class GridTables:
    """The parameters of the context model of token grids, which coder and decoder share."""

    n_classes: int
    place_of: NDArray[np.int32]
    """n_codes: for each code, cluster * size of a cluster + member number."""
    nets: tuple[net.IntegerNet, net.IntegerNet, net.IntegerNet]
    """Frequencies of mask bits, clusters and members (one output group a cluster)."""

    @cached_property
    def cluster_size(self) -> int:
        """How many codes a cluster has room for."""
        return cluster_size(len(self.place_of))

    @cached_property
    def code_at(self) -> NDArray[np.int32]:
        """The inverse of `place_of`; -1 where a cluster has room left."""
        codes = np.full(CLUSTERS * self.cluster_size, -1, np.int32)
        codes[self.place_of] = np.arange(len(self.place_of))
        return codes

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
    """Return as bytes which positions are chosen and their tokens; all arrays are h×w.

    `sent` marks the positions of earlier bands, whose tokens the decoder has. Raise `InputError` where it meets
    `chosen` or where a token is no code.
    """
    if not tokens.shape == chosen.shape == sent.shape == classes.shape or tokens.ndim != 2 or tokens.size == 0:
        raise InputError("Tokens, masks and classes of a band must be non-empty h×w arrays of one shape.")
    if (chosen & sent).any():
        raise InputError("A band cannot choose a token that an earlier band has sent.")
    tokens = np.where(chosen | sent, tokens, 0)
    if tokens.min() < 0 or tokens.max() >= len(tables.place_of):
        raise InputError(f"A token lies outside 0..{len(tables.place_of) - 1}.")
    fill = np.array([_fill(chosen, sent)])
    inputs = stages(tables.place_of[tokens], chosen, sent, classes, tables.n_classes, tables.cluster_size)
    coded = ((symbols, tables.nets[stage].frequencies(x, groups)) for stage, (x, symbols, groups) in inputs)
    return ranges.encode(chain([(fill, _EVEN)], coded))


def decode_band(data: bytes, tokens: Tokens, sent: Mask, classes: Classes, tables: GridTables) -> tuple[Mask, Tokens]:
    """Return (chosen, tokens) of the band: the tokens are those sent before or now, elsewhere 0.

    `tokens`, `sent` and `classes` (h×w) are as they stand after the earlier bands. Raise `StreamError` where the data
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
    """The features of a grid that the networks take: neighbours in one plane, classes, place and fill."""

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
        """Return n×f features: neighbours behind the wavefront as coded now, those ahead as they were before."""
        x = np.empty((len(cells), len(_feature_sizes(0, 0))), np.uint8)
        at = cells[:, None]
        a, b, c = len(_BEHIND), len(_BEHIND + _AHEAD), len(_BEHIND + _AHEAD + _CLASSES_AT)
        x[:, :a] = coded[at + self._behind]
        x[:, a:b] = before[at + self._ahead]
        x[:, b:c] = self._classes[at + self._classes_at]
        x[:, c], x[:, c + 1] = np.divmod(self._place[cells], _PARTS)
        x[:, c + 2] = self._fill
        return x


def cluster_size(n_codes: int) -> int:
    """Return how many codes each of the clusters must have room for."""
    return -(-n_codes // CLUSTERS)


@dataclass(frozen=True)
class NetShape:
    """What one of the networks of `GridTables` takes and gives."""

    sizes: list[int]
    """The number of values of each feature."""
    n_symbols: int
    n_groups: int


def shapes(n_codes: int, n_classes: int) -> tuple[NetShape, NetShape, NetShape]:
    """Return the shapes of the three networks, in their order in `GridTables.nets`."""
    states, clusters = _feature_sizes(_OUTSIDE + 1, n_classes), _feature_sizes(_BEYOND + 1, n_classes)
    member = NetShape(clusters, cluster_size(n_codes), CLUSTERS)
    return NetShape(states, 2, 1), NetShape(clusters, CLUSTERS, 1), member


def _feature_sizes(n_states: int, n_classes: int) -> list[int]:
    """Return the number of values of each of the features of `_View`."""
    return [n_states] * len(_BEHIND + _AHEAD) + [n_classes + 2] * len(_CLASSES_AT) + [_PARTS, _PARTS, _FILLS]


def _fill(chosen: Mask, sent: Mask) -> int:
    """Return the step (0..31) of the share of unsent positions that are chosen."""
    n_chosen, n_open = int(chosen.sum()), int((~sent).sum())
    if n_chosen in (0, n_open):
        return _FILLS - 1 if n_chosen else 0
    return 1 + (_FILLS - 2) * n_chosen // n_open


def stages(
    placed: Ints, chosen: Mask, sent: Mask, classes: Classes, n_classes: int, size: int
) -> Iterator[tuple[int, tuple[Plane, Ints, Ints]]]:
    """Yield what a band codes, in order, as (number of the network, (features n×f, symbols n, output groups n)).

    Args:
        placed: h×w, `GridTables.place_of` of each token.
        chosen: bool h×w, the positions that the band takes.
        sent: bool h×w, those of earlier bands.
        classes: uint8 h×w.
        n_classes: how many of them are known; ids beyond are unknown.
        size: the size of a cluster.
    """
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
