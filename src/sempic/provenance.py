"""What is true of a decoded picture: of each pixel, whether it was sent, drawn from what was sent, or invented."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Kinds = NDArray[np.uint8]
"""The kind of each pixel: uint8 H×W, of `Provenance`."""


class Provenance(IntEnum):
    """Where a pixel of a decoded picture comes from. What error correction recovered counts as sent: it is exact."""

    SENT = 0
    """Decoded from a coded picture; no network has drawn anything."""
    DRAWN = 1
    """Drawn by a network from values that were sent for this place: a token, latents or a coarse picture."""
    REDUCED = 2
    """Sent or drawn, but further values that were sent for this place did not arrive."""
    INVENTED = 3
    """Drawn from the segmap, its colours and what is around: no other value was sent for this place."""
    MISSING = 4
    """As invented, but values that were sent did not arrive. Which places they were for is not always known: then it is
    every place that they may have been for."""

    @property
    def label(self) -> str:
        """The name in small letters, as in reports."""
        return self.name.lower()


MEANINGS = {
    Provenance.SENT: "decoded from a coded picture",
    Provenance.DRAWN: "by a network, from values sent for this place",
    Provenance.REDUCED: "as sent or drawn, but with losses",
    Provenance.INVENTED: "drawn from the segmap and its colours alone",
    Provenance.MISSING: "invented; values sent for it may have been lost",
}
"""What each kind means, in a few words."""


def uniform(kind: Provenance, picture: Bytes) -> Kinds:
    """Return one kind for all pixels of a picture (H×W×3)."""
    return np.full(picture.shape[:2], kind, np.uint8)


def shares(kinds: Kinds) -> dict[str, float]:
    """Return the share of the pixels, 0 to 1, that each kind has, by its label."""
    return {kind.label: round(int(np.count_nonzero(kinds == kind)) / kinds.size, 4) for kind in Provenance}


def summary(kinds: Kinds) -> str:
    """Return the shares of the kinds that there are as a text, such as "drawn 31.0 %, invented 69.0 %"."""
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares(kinds).items() if share)


def legend(kinds: Kinds) -> dict[Provenance, str]:
    """Return the kinds that there are, each with a text that says how many pixels it has and what it means."""
    found = {kind: share for kind, share in zip(Provenance, shares(kinds).values(), strict=True) if share}
    return {kind: f"{kind.label}, {100 * share:.1f} %: {MEANINGS[kind]}" for kind, share in found.items()}
