"""The demo: one picture through SQ-GAN and through HEVC at the same size, and a sheet that shows both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sempic import api
from sempic.codecs import codec
from sempic.codecs.base import Decoded, Reading
from sempic.codecs.sqgan import SqGanReading
from sempic.sheet import INK, PANEL, PAPER, sheet
from sempic.taxonomy import Taxonomy

Bytes = NDArray[np.uint8]

COLUMNS = ("codec", "bytes", "bpp", "encode s", "decode s")

_BPP = (0.02, 0.05)  # the sizes shown when none are asked for


@dataclass(frozen=True)
class Trial:
    """A picture after a codec: its stream, what that contains, the decoded picture, and what it took."""

    codec: str
    data: bytes
    reading: Reading
    decoded: Decoded
    bpp: float
    encode_s: float
    decode_s: float

    @property
    def row(self) -> tuple[str, ...]:
        """The cells under `COLUMNS`."""
        return self.codec, str(len(self.data)), f"{self.bpp:.4f}", f"{self.encode_s:.2f}", f"{self.decode_s:.2f}"

    @property
    def caption(self) -> str:
        return f"{self.codec}: {len(self.data)} bytes, {self.bpp:.3f} bpp"


def run(
    image: Bytes, sizes: list[int], progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[list[tuple[str, ...]], Image.Image, dict[str, bytes]]:
    """Return the rows of the table, the sheet, and the streams by file name.

    Sizes are in bytes; without any, the demo takes its own. The first encode and decode of a codec include the loading
    of its networks. `progress` is called with the number of streams done and the number there are.
    """
    pixels = image.shape[0] * image.shape[1]
    trials, panels = list[Trial](), list[tuple[str, Bytes]]()
    sizes = sizes or [int(bpp * pixels / 8) for bpp in _BPP]
    for size in sizes:
        progress(len(trials), 2 * len(sizes))
        ours = _trial(image, "sqgan", size)
        progress(len(trials) + 1, 2 * len(sizes))
        theirs = _trial(image, "hevc", len(ours.data))
        trials += [ours, theirs]
        assert isinstance(ours.reading, SqGanReading), "sqgan wrote it"
        if not panels:
            segmap, taxonomy = ours.decoded.segmap, ours.decoded.taxonomy
            assert segmap is not None, "sqgan always sends a segmap"
            assert taxonomy is not None, "with its classes"
            panels = [
                ("original", image),
                ("segmap, as decoded", taxonomy.colourise(segmap)),
                ("classes", _legend(taxonomy, image.shape[1] / image.shape[0])),
            ]
        mask = ours.reading.sent()
        panels += [
            (f"tokens sent: {mask.mean():.0%} of the grid", relevance(image, mask)),
            (ours.caption, ours.decoded.image),
            (theirs.caption, theirs.decoded.image),
        ]
    streams = {f"{trial.codec}-{len(trial.data)}.smp": trial.data for trial in trials}
    return [trial.row for trial in trials], sheet(panels), streams


def _trial(image: Bytes, name: str, size: int) -> Trial:
    start = time.perf_counter()
    data = api.encode(image, name, bytes=size)
    middle = time.perf_counter()
    info, reading = api.describe(data)
    decoded = reading.draw(codec(name).Options())
    end = time.perf_counter()
    return Trial(name, data, reading, decoded, info.bpp, middle - start, end - middle)


def relevance(image: Bytes, mask: NDArray[np.bool_]) -> Bytes:
    """Return a picture as it is where a token was sent, and grey and dark where the decoder fills in.

    Args:
        image: uint8 H×W×3.
        mask: the places (h×w) of the grid whose token was sent.
    """
    height, width, _ = image.shape
    side = -(-height // mask.shape[0]), -(-width // mask.shape[1])
    sent = np.repeat(np.repeat(mask, side[0], 0), side[1], 1)[:height, :width, None]
    grey = image.mean(2, keepdims=True) * 0.3 + 14
    return np.asarray(np.where(sent, image, grey), np.uint8)


def _legend(taxonomy: Taxonomy, aspect: float) -> Bytes:
    """Return the classes with their colours as a panel whose width is `aspect` times its height."""
    width, height = PANEL, round(PANEL / aspect)
    panel = Image.new("RGB", (width, height), PAPER)
    pen, step = ImageDraw.Draw(panel), height / (len(taxonomy) + 1)
    font = ImageFont.load_default(min(max(step * 0.6, 8), 20))
    for place, (name, colour) in enumerate(zip(taxonomy.classes, taxonomy.colours, strict=True)):
        y = (place + 0.5) * step
        pen.rectangle([24, y + 0.1 * step, 24 + 2 * step, y + 0.9 * step], fill=colour)
        pen.text((24 + 2.6 * step, y + 0.5 * step), name, INK, font, anchor="lm")
    return np.asarray(panel)
