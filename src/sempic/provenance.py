"""What is true of a decoded picture: of each pixel, whether it was sent, drawn from what was sent, or invented."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sempic.sheet import INK, PAPER

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

_BLUE, _ORANGE = (0, 114, 178), (230, 140, 0)
MARKS = {
    Provenance.DRAWN: (_BLUE, False),
    Provenance.REDUCED: (_BLUE, True),
    Provenance.INVENTED: (_ORANGE, False),
    Provenance.MISSING: (_ORANGE, True),
}
"""The tint of each kind, and whether it is striped; what was sent keeps its own colours. Blue and orange differ for
every kind of colour blindness, and stripes need no colour."""
_TINT, _STRIPES = 120, 200  # opacities, of 255
_STRIPE = 12  # every so many pixels of a picture 480 wide


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


def overlay(picture: Bytes, kinds: Kinds) -> Bytes:
    """Return a picture (uint8 H×W×3) in grey and a tint, striped for losses, but for the pixels that were sent."""
    return np.asarray(_marked(picture, kinds))


def sheet(picture: Bytes, kinds: Kinds) -> Image.Image:
    """Return the overlay of a picture, with a legend of the kinds that it has below it."""
    height, width = kinds.shape
    size = max(14, width // 64)
    font, line, margin = ImageFont.load_default(size), 2 * size, size // 2
    entries = legend(kinds)
    swatch = np.full((line - 2 * margin, 2 * line, 3), 150, np.uint8)
    left = 2 * margin + swatch.shape[1]
    across = max(width, left + round(max(map(font.getlength, entries.values()))) + margin)
    paper = Image.new("RGB", (across, height + len(entries) * line + 2 * margin), PAPER)
    paper.paste(_marked(picture, kinds))
    pen = ImageDraw.Draw(paper)
    for place, (kind, text) in enumerate(entries.items()):
        top = height + margin + place * line
        paper.paste(_marked(swatch, uniform(kind, swatch)), (margin, top + margin))
        pen.text((left, top + line / 2), text, INK, font, anchor="lm")
    return paper


def _marked(picture: Bytes, kinds: Kinds) -> Image.Image:
    """Return the overlay as Pillow has it, for a large picture's memory."""
    marked = Image.fromarray(picture)
    marked.paste(marked.convert("L"), mask=_mask(kinds != Provenance.SENT, 255))
    for kind, (tint, is_striped) in MARKS.items():
        here = kinds == kind
        if here.any():
            marked.paste(tint, mask=_mask(here, _TINT))
            if is_striped:
                marked.paste(INK, mask=_mask(here & _stripes(*kinds.shape), _STRIPES))
    return marked


def _mask(here: NDArray[np.bool_], opacity: int) -> Image.Image:
    """Return the pixels that are meant as a mask of Pillow's."""
    return Image.fromarray(here * np.uint8(opacity))


def _stripes(height: int, width: int) -> NDArray[np.bool_]:
    """Return where (H×W) slanting stripes are, as wide as is legible."""
    step = max(_STRIPE, _STRIPE * width // 480)
    slant = np.add.outer(np.arange(height, dtype=np.uint16), np.arange(width, dtype=np.uint16))
    return slant % step < step // 4
