"""A small integer network: contexts of many neighbours to frequencies, the same on every machine.

A table over twenty neighbours cannot be learnt, a network of two small hidden layers can. Its weights are integers
and so is all its arithmetic: sums of weights and matrix products that stay below 2^24 in float32 and 2^53 in float64
(exact, so neither threads nor the order of summation matter), division by 256, and a table of powers of two.

    features (n×f, categorical) -> one-hot -> matrix -> relu -> matrix -> relu -> matrix of the group -> 2^x -> n×m
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sempic.coding.ranges import normalise

Ints = NDArray[np.integer]
Floats = NDArray[np.float32]

ONE = 1 << 8
"""Activations, weights and base-2 logarithms are in fixed point: this many steps are 1."""
_TOP = 1 << 15  # second activations are clipped here, which bounds the products after them
_RUN = 256  # values that features looked up together may have
_DEPTH = 20 * ONE  # symbols 2^-20 below the likeliest count as never


@cache
def _powers() -> NDArray[np.int64]:
    """2^(20 - i/256), rounded, for i in 0..DEPTH; by correctly rounded decimals, for libm differs between machines."""
    octave = [Decimal(2) ** (60 - Decimal(i) / ONE) for i in range(ONE)]
    fine = np.array([int(value) for value in octave], np.int64)
    return np.concatenate([fine >> (40 + k) for k in range(_DEPTH // ONE + 1)])


@dataclass(frozen=True)
class IntegerNet:
    """Weights of the network; `arrays` and `from_arrays` ship them."""

    sizes: Ints
    """f: the number of values of each feature."""
    first: Ints
    """sum(sizes)×h: for each value of each feature its share of the first layer; at most 500 features."""
    hidden: Ints
    """(h+1)×k; the last row is the bias."""
    out: Ints
    """g×(k+1)×m, one matrix a group; the last row is the bias."""

    def arrays(self, prefix: str) -> dict[str, Ints]:
        """Return the weights by name, for `numpy.savez_compressed`."""
        return {prefix + name: getattr(self, name) for name in ("sizes", "first", "hidden", "out")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Ints], prefix: str) -> IntegerNet:
        """Return the network that `arrays` described."""
        return cls(*(arrays[prefix + name] for name in ("sizes", "first", "hidden", "out")))

    @cached_property
    def _exact(self) -> tuple[NDArray[np.float64], ...]:
        """The later layers in floats that hold every sum exactly: below 2^53. Each is a matrix and its bias, or one a
        group; the first matrix is divided by 256 already, and the last bias multiplied."""
        out = self.out.astype(np.float64)
        return self.hidden[:-1] / ONE, self.hidden[-1].astype(np.float64), out[:, :-1], ONE * out[:, -1]

    @cached_property
    def _joint(self) -> tuple[Floats, Floats, Floats]:
        """The first layer by runs of features, since one look-up for each run costs half of one for each feature.

        Returns the sums of weights for all values of a run together, each feature's factor in the number of those
        values (f×runs), and where the sums of each run begin; all in floats that hold them exactly: below 2^24.
        """
        starts: list[int] = []
        for feature, size in enumerate(self.sizes):
            if not starts or int(np.prod(self.sizes[starts[-1] : feature])) * size > _RUN:
                starts.append(feature)
        first, offsets = self.first.astype(np.float32), begins(self.sizes)
        factors, sums = np.zeros((len(self.sizes), len(starts)), np.float32), []
        for run, (start, end) in enumerate(pairwise([*starts, len(self.sizes)])):
            total = np.zeros((1, first.shape[1]), np.float32)
            for feature in range(start, end):
                own = first[offsets[feature] : offsets[feature] + self.sizes[feature]]
                total = (total[:, None] + own).reshape(-1, first.shape[1])
                factors[start:feature, run] *= self.sizes[feature]
                factors[feature, run] = 1
            sums.append(total)
        return np.concatenate(sums), factors, begins(np.array([len(total) for total in sums])).astype(np.float32)

    def frequencies(self, features: Ints, groups: Ints | None = None) -> NDArray[np.int64]:
        """Return n×m frequencies for n×f features (0..size-1 each) and, with several groups, n group numbers."""
        sums, factors, starts = self._joint
        hidden, hidden_bias, out, out_bias = self._exact
        # A decoder asks for a few rows thousands of times, so what costs here is the number of calls.
        values = features.astype(np.float32) @ factors
        values += starts
        summed = np.add.reduce(sums.take(values.T.astype(np.intp), axis=0), axis=0)
        active = np.maximum(summed, 0, out=summed).astype(np.float64) @ hidden
        active += hidden_bias
        np.floor(active, out=active)
        np.minimum(np.maximum(active, 0, out=active), _TOP, out=active)
        if groups is None:
            scores = active @ out[0]
            scores += out_bias[0]
        else:
            scores = np.empty((len(features), out.shape[2]))
            for group in np.unique(groups):
                part = groups == group
                scores[part] = active[part] @ out[group] + out_bias[group]
        np.subtract(np.maximum.reduce(scores, axis=1, keepdims=True), scores, out=scores)
        scores /= ONE
        np.minimum(scores, _DEPTH, out=scores)
        return normalise(_powers().take(scores.astype(np.intp)))


def begins(sizes: Ints) -> NDArray[np.int64]:
    """Return where the rows of each feature begin in the first layer, for features of so many values each."""
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
