"""The latents of the layered codec: their rates, how they are rounded and coded, and what the network draws from them.

Latents are of two kinds: "base" with one place for 16×16 pixels, and "fine" with one for 8×8. Rates are counted in
steps from 1; 0 stands for latents that were not sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sempic import runtime
from sempic.codecs.base import Rgb
from sempic.codecs.colours import Colours
from sempic.codecs.semantic import MAP_TYPE, Weights
from sempic.codecs.tiles import Progress, blend_tiled, grid_size, to_pixels
from sempic.coding import latents as latent_coder
from sempic.container import Header, Section
from sempic.segmap.resample import shrink

LIMIT = 3
"""Latents are rounded to -LIMIT..LIMIT."""
PLACES = {"base": 1, "fine": 2}
"""Latents have so many places for 16 pixels of height or width."""
STEPS_BETWEEN = 8
"""Between two rates with gains of their own there are so many steps."""

Array = NDArray[Any]


class LayeredSection(IntEnum):
    """The types of this codec's sections."""

    MAP = MAP_TYPE
    FEATURES = 2
    LAYER = 3
    FINE_FEATURES = 4


SECTIONS = {"base": LayeredSection.FEATURES, "fine": LayeredSection.FINE_FEATURES}
"""The section that each kind of latents has."""


@dataclass(frozen=True)
class SentLatents:
    """The latents of a stream as whole numbers (C×h×w), zeros where none were sent, each with its rate (0: not sent).

    base, rate: one place for 16×16 pixels.
    fine, fine_rate: one place for 8×8 pixels.
    """

    base: NDArray[np.int8]
    rate: int
    fine: NDArray[np.int8]
    fine_rate: int

    def without_fine(self) -> SentLatents:
        """Return the base alone."""
        return replace(self, fine=np.zeros_like(self.fine), fine_rate=0)


class LayeredWeights(Weights):
    """Weights with the gains and coding tables of latents; `rates` is the highest rate."""

    def __init__(self, model: runtime.Model) -> None:
        super().__init__(model)
        self._trained = len(self._log_gains("base", "log_gains"))
        self.rates = 1 + STEPS_BETWEEN * (self._trained - 1)

    def latent_tables(self, part: str) -> latent_coder.LatentTables:
        """Return the coding tables of latents."""
        return self.built(f"{part}.latents.", latent_coder.LatentTables.from_arrays)

    def nothing(self, rows: int, columns: int) -> SentLatents:
        """Return the latents of a grid for which none were sent."""
        base, fine = (
            np.zeros((self.latent_tables(part).n_channels, k * rows, k * columns), np.int8)
            for part, k in PLACES.items()
        )
        return SentLatents(base, 0, fine, 0)

    def quantise(self, part: str, latents: Array, rate: int) -> NDArray[np.int8]:
        """Return latents (C×h×w) as they are sent at a rate, 1 or more."""
        reach = np.float32(LIMIT + 0.49)
        bounded = reach * np.tanh(latents * self.at_rate(part, "log_gains", rate) / reach)
        values: NDArray[np.int8] = np.rint(bounded).astype(np.int8)
        return values

    def encode_latents(self, part: str, values: NDArray[np.int8], quarter: Array, rate: int) -> Section:
        """Return the section of latents at a rate, under a segmap of 4×4 cells."""
        payload = latent_coder.encode(values, _classes(part, quarter), rate - 1, self.latent_tables(part))
        return Section(SECTIONS[part], payload)

    def decode_latents(self, part: str, payload: bytes, quarter: Array, rate: int) -> NDArray[np.int8]:
        """Return what `encode_latents` wrote."""
        return latent_coder.decode(payload, _classes(part, quarter), rate - 1, self.latent_tables(part))

    def at_rate(self, part: str, gains: str, rate: int) -> NDArray[np.float32]:
        """Return "log_gains" or "log_inverse_gains" as factors (C×1×1) at a rate, between those that are trained."""
        trained = self._log_gains(part, gains)
        low, step = divmod(max(rate - 1, 0), STEPS_BETWEEN)
        high = min(low + 1, len(trained) - 1)
        share = np.float32(step / STEPS_BETWEEN)
        factors: NDArray[np.float32] = np.exp(trained[low] * (1 - share) + trained[high] * share)
        return factors[:, None, None]

    def _log_gains(self, part: str, gains: str) -> NDArray[np.float32]:
        """Return "log_gains" or "log_inverse_gains" as they are trained, a row for each rate with its own."""
        found: NDArray[np.float32] = self.tables(f"{part}.")[gains].astype(np.float32)
        return found

    def strength(self, rate: int) -> NDArray[np.float32]:
        """Return a rate as the network takes it: from 0 where no latents were sent to 1 for the highest."""
        return np.array([((rate - 1) / STEPS_BETWEEN + 1) / self._trained if rate else 0], np.float32)

    def draw(
        self, header: Header, quarter: Array, colours: Colours, sent: SentLatents, progress: Progress | None = None
    ) -> Rgb:
        """Return what the network draws from the segmap of 4×4 cells, its colours, and latents.

        `progress` is called with the number of tiles drawn and the number there are.
        """
        base = sent.base * self.at_rate("base", "log_inverse_gains", sent.rate)
        fine = sent.fine * self.at_rate("fine", "log_inverse_gains", sent.fine_rate)
        picture = blend_tiled(
            self.model.network("decoder"),
            *grid_size(header.height, header.width),
            progress=progress,
            base=base[None].astype(np.float32),
            fine=fine[None].astype(np.float32),
            strength=self.strength(sent.rate),
            fine_strength=self.strength(sent.fine_rate),
            layout=self.layout(quarter, colours),
        )
        return to_pixels(colours.match(picture), header.height, header.width)


def _classes(part: str, quarter: Array) -> Array:
    """Return the class under each place of latents, of a segmap of 4×4 cells."""
    return shrink(quarter, 4 // PLACES[part])
