"""A decoded picture with marks on what was sent, drawn, invented or lost: what of `provenance` needs Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sempic.provenance import Bytes, Kinds, Provenance, legend, uniform
from sempic.sheet import INK, PAPER

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
