"""A small integer network: contexts of many neighbours to frequencies, the same on every machine.

A table over twenty neighbours cannot be learnt, a network of two small hidden layers can. Its weights are integers
and so is all its arithmetic: sums of weights and matrix products that stay below 2^24 in float32 and 2^53 in float64
(exact, so neither threads nor the order of summation matter), division by 256, and a table of powers of two.

    features (n x f, categorical) -> one-hot -> matrix -> relu -> matrix -> relu -> matrix of the group -> 2^x -> n x m
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sempic.coding.ranges import normalise

Ints = NDArray[np.integer]
Floats = NDArray[np.float32]

_SHIFT = 8
_ONE = 1 << _SHIFT  # fixed point: 8 fractional bits in activations, weights and base-2 logarithms
_TOP = 1 << 15  # second activations are clipped here, which bounds the products after them
_RUN = 256  # values that features looked up together may have
_DEPTH = 20 * _ONE  # symbols 2^-20 below the likeliest count as never


@cache
def _powers() -> NDArray[np.int64]:
    """2^(20 - i/256), rounded, for i in 0..DEPTH; by correctly rounded decimals, for libm differs between machines."""
    octave = [Decimal(2) ** (60 - Decimal(i) / _ONE) for i in range(_ONE)]
    fine = np.array([int(value) for value in octave], np.int64)
    return np.concatenate([fine >> (40 + k) for k in range(_DEPTH // _ONE + 1)])


@dataclass(frozen=True)
class IntegerNet:
    """Weights of the network; `arrays` and `from_arrays` ship them."""

    sizes: Ints
    """f: the number of values of each feature."""
    first: Ints
    """sum(sizes) x h: for each value of each feature its share of the first layer; at most 500 features."""
    hidden: Ints
    """(h+1) x k; the last row is the bias."""
    out: Ints
    """g x (k+1) x m, one matrix a group; the last row is the bias."""

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
        return self.hidden[:-1] / _ONE, self.hidden[-1].astype(np.float64), out[:, :-1], _ONE * out[:, -1]

    @cached_property
    def _joint(self) -> tuple[Floats, Floats, Floats]:
        """The first layer by runs of features, since one look-up for each run costs half of one for each feature.

        Returns the sums of weights for all values of a run together, each feature's factor in the number of those
        values (f x runs), and where the sums of each run begin; all in floats that hold them exactly: below 2^24.
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
        """Return n x m frequencies for n x f features (0..size-1 each) and, with several groups, n group numbers."""
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
        scores /= _ONE
        np.minimum(scores, _DEPTH, out=scores)
        return normalise(_powers().take(scores.astype(np.intp)))


def begins(sizes: Ints) -> NDArray[np.int64]:
    """Return where the columns of each feature begin in the one-hot matrix."""
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)


def one_hot(features: Ints, begins: NDArray[np.int64], n_columns: int) -> Floats:
    """Return n x n_columns: a one for each of the n x f features, zeros elsewhere."""
    encoded = np.zeros((len(features), n_columns), np.float32)
    encoded[np.arange(len(features))[:, None], features + begins] = 1
    return encoded


def train(
    features: Ints,
    targets: Ints,
    sizes: list[int],
    n_symbols: int,
    *,
    groups: Ints | None = None,
    n_groups: int = 1,
    width: int = 48,
    steps: int = 2000,
    batch: int = 4096,
    seed: int = 0,
) -> IntegerNet:
    """Learn a network that predicts targets (n, 0..n_symbols-1) from features (n x f) and round it to integers.

    Adam on the cross entropy, in float32; nothing of it runs when a stream is decoded. Costs about 10 ms a step.
    """
    rng = np.random.default_rng(seed)
    half = width // 2
    groups = np.zeros(len(targets), np.int64) if groups is None else groups
    weights = [
        rng.normal(0, (2 / len(sizes)) ** 0.5, (sum(sizes), width)).astype(np.float32),
        rng.normal(0, (2 / width) ** 0.5, (width + 1, half)).astype(np.float32),
        rng.normal(0, 0.5 * half**-0.5, (n_groups, half + 1, n_symbols)).astype(np.float32),
    ]
    weights[1][-1] = 0
    weights[2][:, -1] = np.log(_symbol_shares(groups, targets, n_groups, n_symbols))
    optimiser = _Adam(weights)
    for step, chosen in enumerate(_minibatches(len(targets), min(batch, len(targets)), steps, rng)):
        chosen = chosen[np.argsort(groups[chosen], kind="stable")]
        x = one_hot(features[chosen], begins(np.array(sizes)), sum(sizes))
        gradients = _gradients(weights, x, targets[chosen], groups[chosen])
        optimiser.update(gradients, rate=0.004 * (0.5 + 0.5 * np.cos(np.pi * step / steps)) + 1e-5)
    fixed = [np.rint(w * _ONE) for w in (weights[0], weights[1], weights[2] / np.log(np.float32(2)))]
    first, hidden, out = (np.clip(w, -(1 << 15), (1 << 15) - 1).astype(np.int16) for w in fixed)
    return IntegerNet(np.array(sizes, np.int32), first, hidden, out)


def _symbol_shares(groups: Ints, targets: Ints, n_groups: int, n_symbols: int) -> NDArray[np.float64]:
    """Return the share of each symbol among the targets of its group, never zero."""
    flat = np.bincount(groups * n_symbols + targets, minlength=n_groups * n_symbols)
    counts = flat.reshape(n_groups, n_symbols) + 0.1
    shares: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return shares


def _minibatches(n: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield `steps` random batches, each pass over the data in a new order."""
    order, at = rng.permutation(n), 0
    for _ in range(steps if n else 0):
        if at + batch > n:
            order, at = rng.permutation(n), 0
        yield order[at : at + batch]
        at += batch


def _gradients(weights: list[Floats], x: Floats, targets: Ints, groups: Ints) -> list[Floats]:
    """Return the gradients of the mean cross entropy; samples come sorted by group."""
    first, hidden, out = weights
    a = np.maximum(x @ first, 0)
    b = np.maximum(a @ hidden[:-1] + hidden[-1], 0)
    d_out, d_b = np.zeros_like(out), np.empty_like(b)
    present, firsts = np.unique(groups, return_index=True)
    for group, begin, end in zip(present, firsts, [*firsts[1:], len(groups)], strict=True):
        part = slice(begin, end)
        scores = b[part] @ out[group, :-1] + out[group, -1]
        error = np.exp(scores - scores.max(axis=1, keepdims=True))
        error /= error.sum(axis=1, keepdims=True)
        error[np.arange(end - begin), targets[part]] -= 1
        error /= len(groups)
        d_out[group, :-1], d_out[group, -1] = b[part].T @ error, error.sum(axis=0)
        d_b[part] = error @ out[group, :-1].T
    d_b *= b > 0
    d_a = (d_b @ hidden[:-1].T) * (a > 0)
    return [x.T @ d_a, np.concatenate([a.T @ d_b, d_b.sum(axis=0, keepdims=True)]), d_out]


class _Adam:
    """Adam (Kingma and Ba, 2015) on a list of arrays, in place."""

    def __init__(self, weights: list[Floats]) -> None:
        self._weights = weights
        self._mean = [np.zeros_like(w) for w in weights]
        self._square = [np.zeros_like(w) for w in weights]
        self._step = 0

    def update(self, gradients: list[Floats], rate: float) -> None:
        self._step += 1
        rate *= (1 - 0.99**self._step) ** 0.5 / (1 - 0.9**self._step)
        for weight, mean, square, gradient in zip(self._weights, self._mean, self._square, gradients, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.01 * (gradient * gradient - square)
            weight -= np.float32(rate) * mean / (np.sqrt(square) + 1e-8)
