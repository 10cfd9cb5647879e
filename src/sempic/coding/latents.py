"""Lossless coding of quantised latents: C channels of whole numbers on a grid, under a learnt integer context model.

A number's context is its neighbours in its own channel, the channels before it in its own place, the classes of the
scene around it, its channel, the rate and the place in the picture. Channels follow one another by one diagonal (see
`wavefront`), so that all of them are coded together: a number waits only for its neighbours and for the channel before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sempic.coding import net, ranges
from sempic.coding.wavefront import MARGIN, Index, diagonals, padded, places, steps
from sempic.errors import InputError

Values = NDArray[np.int8]
Classes = NDArray[np.uint8]
Plane = NDArray[np.uint8]
Ints = NDArray[np.integer]

_BEHIND = ((0, -1), (-1, -1), (-1, 0), (-1, 1), (0, -2), (-2, 0))
_CLASSES_AT = ((0, 0), (0, -1), (-1, 0), (0, 1), (1, 0))
_PARTS = 8  # the picture is divided into so many rows and columns of places
BATCH = 1 << 14
"""An encoder looks at so many numbers together, which bounds its memory."""


@dataclass(frozen=True)
class LatentTables:
    """The parameters of the context model of latents, which coder and decoder share."""

    n_classes: int
    n_channels: int
    n_rates: int
    limit: int
    """Numbers lie in -limit..limit."""
    network: net.IntegerNet
    """Frequencies of the levels, one output group a channel."""

    def arrays(self) -> dict[str, Ints]:
        """Return the tables by name, for `numpy.savez_compressed`."""
        return {
            "sizes": np.array([self.n_classes, self.n_channels, self.n_rates, self.limit]),
            **self.network.arrays("net_"),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Ints]) -> LatentTables:
        """Return the tables that `arrays` described."""
        n_classes, n_channels, n_rates, limit = (int(size) for size in arrays["sizes"])
        return cls(n_classes, n_channels, n_rates, limit, net.IntegerNet.from_arrays(arrays, "net_"))

    @cached_property
    def n_levels(self) -> int:
        """How many values a number can have."""
        return 2 * self.limit + 1

    def view(self, classes: Classes, rate: int) -> LatentView:
        """Return an empty grid under these classes (h×w); raise `InputError` for a rate beyond the tables."""
        if not 0 <= rate < self.n_rates:
            raise InputError(f"The rate is {rate}; the tables know 0 to {self.n_rates - 1}.")
        return LatentView(classes, rate, self.n_channels, self.n_classes, self.n_rates, self.n_levels)


def encode(values: Values, classes: Classes, rate: int, tables: LatentTables) -> bytes:
    """Return latents (C×h×w) as bytes, given classes (h×w) and rate; raise `InputError` for what the tables lack."""
    if values.shape != (tables.n_channels, *classes.shape) or values.size == 0:
        raise InputError(f"Latents must be non-empty, {tables.n_channels} channels of the shape of the classes.")
    if np.abs(values.astype(np.int64)).max() > tables.limit:
        raise InputError(f"A latent lies outside -{tables.limit}..{tables.limit}.")
    view = tables.view(classes, rate)
    view.write(values.astype(np.int64) + tables.limit)
    return ranges.encode(
        (view.levels[channel, cells], tables.network.frequencies(view.features(cells, channel), channel))
        for cells, channel in view.order(at_least=BATCH)
    )


def decode(data: bytes, classes: Classes, rate: int, tables: LatentTables) -> Values:
    """Return the latents (C×h×w) that `encode` wrote under the same classes and rate.

    Raise `StreamError` where the data fits no latents.
    """
    decoder, view = ranges.Decoder(data), tables.view(classes, rate)
    for cells, channel in view.order():
        view.levels[channel, cells] = decoder.decode(tables.network.frequencies(view.features(cells, channel), channel))
    return (view.read() - tables.limit).astype(np.int8)


class LatentView:
    """A grid of latents as levels 0..n_levels-1, and the features of it that the network takes.

    Args:
        classes: uint8 h×w; ids from n_classes on are unknown.
        rate: 0..n_rates-1.
        n_channels, n_classes, n_rates, n_levels: how many there are of each.
    """

    def __init__(
        self, classes: Classes, rate: int, n_channels: int, n_classes: int, n_rates: int, n_levels: int
    ) -> None:
        self._shape = (classes.shape[0], classes.shape[1])
        self._n_channels, self._rate, self._unknown = n_channels, rate, n_levels
        self._behind = steps(_BEHIND, classes.shape[1])
        self._classes = padded(np.minimum(classes, n_classes), n_classes + 1).reshape(-1)
        self._classes_at = steps(_CLASSES_AT, classes.shape[1])
        self._place = places(*self._shape, _PARTS)
        self._sizes = feature_sizes(n_channels, n_classes, n_rates, n_levels)
        outside = padded(np.full(self._shape, n_levels), n_levels).reshape(-1)
        self.levels: Plane = np.tile(outside, (n_channels, 1))
        """C × cells of a padded plane; n_levels outside the grid."""

    def write(self, levels: Ints) -> None:
        """Set all levels (C×h×w), for an encoder."""
        self._interior()[...] = levels

    def read(self) -> NDArray[np.int16]:
        """Return all levels (C×h×w)."""
        return self._interior().astype(np.int16)

    def order(self, at_least: int = 1) -> Iterator[tuple[Index, Index]]:
        """Yield the cells and channels of the numbers that are coded together, in coding order.

        With `at_least`, several such groups come as one of at least that many numbers: for the encoder.
        """
        waves = list(diagonals(*self._shape))
        cells: list[Index] = []
        channels: list[Index] = []
        size = 0
        for now in range(len(waves) + self._n_channels - 1):
            for channel in range(max(0, now - len(waves) + 1), min(self._n_channels, now + 1)):
                wave = waves[now - channel]
                cells.append(wave)
                channels.append(np.full(len(wave), channel))
                size += len(wave)
            if size >= at_least:
                yield np.concatenate(cells), np.concatenate(channels)
                cells, channels, size = [], [], 0
        if size:
            yield np.concatenate(cells), np.concatenate(channels)

    def features(self, cells: Index, channels: Index) -> Plane:
        """Return n×f features: neighbours in the channel, channels before, classes, channel, rate and place."""
        x = np.empty((len(cells), len(self._sizes)), np.uint8)
        at = cells[:, None]
        a = len(_BEHIND)
        b = a + self._n_channels - 1
        c = b + len(_CLASSES_AT)
        x[:, :a] = self.levels[channels[:, None], at + self._behind]
        before = np.arange(self._n_channels - 1)
        # What is not coded yet counts as unknown, to the encoder as well.
        x[:, a:b] = np.where(before < channels[:, None], self.levels[before, at], self._unknown)
        x[:, b:c] = self._classes[at + self._classes_at]
        x[:, c], x[:, c + 1] = channels, self._rate
        x[:, c + 2], x[:, c + 3] = np.divmod(self._place[cells], _PARTS)
        return x

    def _interior(self) -> Plane:
        height, width = self._shape
        planes = self.levels.reshape(self._n_channels, height + 2 * MARGIN, width + 2 * MARGIN)
        return planes[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def feature_sizes(n_channels: int, n_classes: int, n_rates: int, n_levels: int) -> list[int]:
    """Return the number of values of each of the features of `LatentView`."""
    neighbours, classes = len(_BEHIND) + n_channels - 1, len(_CLASSES_AT)
    return [n_levels + 1] * neighbours + [n_classes + 2] * classes + [n_channels, n_rates, _PARTS, _PARTS]
