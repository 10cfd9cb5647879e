"""Captioned pictures on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Bytes = NDArray[np.uint8]

PANEL = 480
"""Width of a picture on the sheet."""
PAPER, INK = (250, 250, 248), (40, 42, 46)

_MARGIN, _CAPTION = 14, 30
_ACROSS = 3


def sheet(panels: Sequence[tuple[str, Bytes | str]]) -> Image.Image:
    """Return captioned pictures (uint8 H×W×3), three in a row; a text stands where there is no picture.

    All take the shape of the first one.
    """
    first = next(picture for _, picture in panels if not isinstance(picture, str))
    height = round(PANEL * first.shape[0] / first.shape[1])
    across, down = PANEL + _MARGIN, height + _CAPTION + _MARGIN
    paper = Image.new("RGB", (_ACROSS * across + _MARGIN, -(-len(panels) // _ACROSS) * down + _MARGIN), PAPER)
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(16)
    for place, (caption, picture) in enumerate(panels):
        x, y = _MARGIN + place % _ACROSS * across, _MARGIN + place // _ACROSS * down
        pen.text((x, y + _CAPTION / 2 - 3), caption, INK, font, anchor="lm")
        if isinstance(picture, str):
            pen.rectangle((x, y + _CAPTION, x + PANEL - 1, y + _CAPTION + height - 1), outline=(205, 205, 200))
            pen.multiline_text((x + PANEL / 2, y + _CAPTION + height / 2), _wrapped(picture, font), INK, font, "mm")
        else:
            scaled = Image.fromarray(picture).resize((PANEL, height), Image.Resampling.LANCZOS)
            paper.paste(scaled, (x, y + _CAPTION))
    return paper


def _wrapped(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """Break a text into lines that fit a panel."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= PANEL - 4 * _MARGIN:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
