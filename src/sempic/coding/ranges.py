"""The range coder: symbols under integer frequencies to bytes and back."""

from __future__ import annotations

from collections.abc import Iterable

import constriction
import numpy as np
from numpy.typing import NDArray

from sempic.errors import StreamError

TOTAL = 1 << 20
"""What every row of frequencies adds up to: a power of two, so that frequency / TOTAL is exact in float32."""

# Fed with exact probabilities, its sums are exact and what is left are IEEE products: the same on every machine.
_FAMILY = constriction.stream.model.Categorical(perfect=False)
_SHARE = np.float32(1 / TOTAL)
_STATE_BYTES = 8
_WORD_BYTES = 4


def normalise(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return rows of frequencies (each >= 1, adding up to `TOTAL`) in proportion to n×m weights in 0..2^40."""
    n_symbols = weights.shape[1]
    total = np.maximum(np.add.reduce(weights, axis=1, keepdims=True), 1)
    frequencies: NDArray[np.int64] = weights * (TOTAL - n_symbols)
    frequencies //= total
    frequencies += 1
    frequencies[np.arange(len(weights)), weights.argmax(axis=1)] += TOTAL - np.add.reduce(frequencies, axis=1)
    return frequencies


def encode(batches: Iterable[tuple[NDArray[np.integer], NDArray[np.integer]]]) -> bytes:
    """Return the bytes of all symbols (n) under their rows of frequencies (n×m), batch after batch.

    The payload ends with the shortest bytes that name a point of the coder's last interval; zero bytes at its end
    are dropped, for the decoder reads zeros past the end.
    """
    coder = constriction.stream.queue.RangeEncoder()
    for symbols, frequencies in batches:
        if len(symbols) and frequencies.shape[1] > 1:  # an alphabet of one symbol takes no bits
            coder.encode(symbols.astype(np.int32), _FAMILY, _probabilities(frequencies))
    n_words, (lower, span) = coder.pos()
    words = coder.get_compressed()
    data: bytes = words.astype(">u4").tobytes()
    last = lower + span - 1
    if last < 1 << (8 * _STATE_BYTES):  # otherwise a carry is pending, and the words constriction chose stand
        kept = next(k for k in range(_STATE_BYTES + 1) if _head(last, k) >= lower)
        data = data[: _WORD_BYTES * n_words] + _head(last, kept).to_bytes(_STATE_BYTES, "big")
    return data.rstrip(b"\0")


def _probabilities(frequencies: NDArray[np.integer]) -> NDArray[np.float32]:
    return frequencies.astype(np.float32) * _SHARE


def _head(value: int, n_bytes: int) -> int:
    """Clear all but the first bytes of an eight-byte number."""
    shift = 8 * (_STATE_BYTES - n_bytes)
    return value >> shift << shift


class Decoder:
    """Reads symbols back in the order in which `encode` was given them."""

    def __init__(self, data: bytes) -> None:
        padded = data + bytes(-len(data) % _WORD_BYTES)
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))

    def decode(self, frequencies: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return one symbol (0..m-1) for each row of frequencies (n×m); raise `StreamError` where no symbol fits."""
        if len(frequencies) == 0 or frequencies.shape[1] == 1:
            return np.zeros(len(frequencies), np.int32)
        try:
            symbols: NDArray[np.int32] = self._coder.decode(_FAMILY, _probabilities(frequencies))
        except AssertionError:
            raise StreamError("The entropy-coded data is damaged.") from None
        return symbols
