"""WebP: a VP8 key frame without the container around it."""

from __future__ import annotations

import io
from typing import ClassVar

from PIL import Image

from sempic.codecs.classic.picture import Ladder, Rgb, RgbCodec, ladder
from sempic.errors import SempicError

LADDER = ladder(quarter=range(127, 47, -1), half=range(100, 53, -1), full=range(113, -1, -1))
"""The codec's steps under `scale="auto"`. On street pictures, PSNR is best at a quarter of the size below 0.053 bpp,
and at half below 0.14; the scale changes there."""

_TAG = 3
"""The bytes of a frame that come before its size."""


class WebP(RgbCodec):
    """One lossy WebP picture by libwebp, through PIL.

        image ─ scale 1, ½, ¼ ─ libwebp ─ VP8 frame less its start code and size ─ section

    The RIFF container is not sent, nor are the seven bytes of the frame that say where it starts and how big it is.
    """

    name: ClassVar[str] = "webp"
    id: ClassVar[int] = 35
    title = "WebP"
    levels = range(127, -1, -1)
    auto: ClassVar[Ladder] = LADDER

    def compress(self, pixels: Rgb, level: int) -> bytes:
        """Return the frame at a quantiser of 0 (best) to 127."""
        height, width, _ = pixels.shape
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", quality=_quality(level), method=6)
        before, size, frame = file.getvalue().partition(_size(width, height))
        container, tag = before[:-_TAG], before[-_TAG:]
        # A frame of odd length is padded; its true length is in the container.
        length = int.from_bytes(container[-4:], "little") - _TAG - len(size)
        if _container(_TAG + len(size) + length) != container:
            raise SempicError("This libwebp writes more than one frame; install Pillow's wheel.")
        return tag + frame[:length]

    def expand(self, payload: bytes, width: int, height: int) -> Rgb:
        """Put the container around the frame and decode it."""
        frame = payload[:_TAG] + _size(width, height) + payload[_TAG:]
        return self.opened(_container(len(frame)) + frame + b"\0" * (len(frame) % 2), "WEBP", width, height)


def _quality(quantiser: int) -> float:
    """Return the quality, 0 to 100, for which libwebp takes this quantiser: few at the coarse end lie apart by 1."""
    linear = (1 - quantiser / 127) ** 3
    return 100 * (1.5 * linear if linear < 0.5 else (linear + 1) / 2)


def _container(length: int) -> bytes:
    """Return what precedes a frame of this length in a file."""
    return b"RIFF" + (12 + length + length % 2).to_bytes(4, "little") + b"WEBPVP8 " + length.to_bytes(4, "little")


def _size(width: int, height: int) -> bytes:
    """Return a frame's start code and size (RFC 6386, 9.1)."""
    return b"\x9d\x01\x2a" + width.to_bytes(2, "little") + height.to_bytes(2, "little")
