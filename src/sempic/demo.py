"""The demo: one picture through SQ-GAN and through HEVC at the same size, and a sheet that shows both."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import sempic
from sempic.sheet import INK, PANEL, PAPER, sheet
from sempic.taxonomy import CAMVID11

Bytes = NDArray[np.uint8]

COLUMNS = ("codec", "bytes", "bpp", "encode s", "decode s")

_BPP = (0.02, 0.05)  # the sizes shown when none are asked for


@dataclass(frozen=True)
class Result:
    """A picture after a codec, and what it took."""

    codec: str
    data: bytes
    decoded: sempic.Decoded
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


def run(image: Bytes, sizes: list[int]) -> tuple[list[tuple[str, ...]], Image.Image, dict[str, bytes]]:
    """Return the rows of the table, the sheet, and the streams by file name.

    Sizes are in bytes; without any, the demo takes its own. The first encode and decode of a codec include the loading
    of its networks.
    """
    from sempic.codecs.sqgan import sent_mask

    pixels = image.shape[0] * image.shape[1]
    results, panels = list[Result](), list[tuple[str, Bytes]]()
    for size in sizes or [int(bpp * pixels / 8) for bpp in _BPP]:
        ours = _result(image, "sqgan", size)
        theirs = _result(image, "hevc", len(ours.data))
        results += [ours, theirs]
        if not panels:
            assert ours.decoded.segmap is not None, "sqgan always sends a segmap"
            panels = [
                ("original", image),
                ("segmap, as decoded", CAMVID11.colourise(ours.decoded.segmap)),
                ("classes", _legend(image.shape[1] / image.shape[0])),
            ]
        mask = sent_mask(ours.data)
        panels += [
            (f"tokens sent: {mask.mean():.0%} of the grid", relevance(image, mask)),
            (ours.caption, ours.decoded.image),
            (theirs.caption, theirs.decoded.image),
        ]
    streams = {f"{result.codec}-{len(result.data)}.smp": result.data for result in results}
    return [result.row for result in results], sheet(panels), streams


def _result(image: Bytes, codec: str, size: int) -> Result:
    start = time.perf_counter()
    data = sempic.encode(image, codec, bytes=size)
    middle = time.perf_counter()
    decoded = sempic.decode(data)
    end = time.perf_counter()
    bpp = 8 * len(data) / (image.shape[0] * image.shape[1])
    return Result(codec, data, decoded, bpp, middle - start, end - middle)


def relevance(image: Bytes, mask: NDArray[np.bool_]) -> Bytes:
    """The picture where a token was sent; grey and dark where the decoder fills in."""
    height, width, _ = image.shape
    side = -(-height // mask.shape[0]), -(-width // mask.shape[1])
    sent = np.repeat(np.repeat(mask, side[0], 0), side[1], 1)[:height, :width, None]
    grey = image.mean(2, keepdims=True) * 0.3 + 14
    return np.asarray(np.where(sent, image, grey), np.uint8)


def _legend(aspect: float) -> Bytes:
    width, height = PANEL, round(PANEL / aspect)
    panel = Image.new("RGB", (width, height), PAPER)
    pen, step = ImageDraw.Draw(panel), height / (len(CAMVID11) + 1)
    font = ImageFont.load_default(min(max(step * 0.6, 8), 20))
    for place, (name, colour) in enumerate(zip(CAMVID11.classes, CAMVID11.colours, strict=True)):
        y = (place + 0.5) * step
        pen.rectangle([24, y + 0.1 * step, 24 + 2 * step, y + 0.9 * step], fill=colour)
        pen.text((24 + 2.6 * step, y + 0.5 * step), name, INK, font, anchor="lm")
    return np.asarray(panel)
