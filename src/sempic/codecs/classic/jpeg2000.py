"""JPEG 2000: the packets of one tile, without the codestream's headers."""

from __future__ import annotations

import io
from typing import ClassVar

from PIL import Image

from sempic.codecs.classic.picture import Ladder, Rgb, RgbCodec, ladder
from sempic.errors import SempicError

_BEST = 501
LADDER = ladder(quarter=range(160, 267), half=range(242, 271), full=range(240, _BEST))
"""The codec's steps under `scale="auto"`. Wavelets scale by themselves, so the size changes little: on street pictures
a quarter loses 0.03 dB of PSNR to half at 0.03 bpp, where the scale changes; full size is best from 0.077 bpp on, where
it changes again."""

_MAX_DEPTH = 5
_COARSEST = {2: 0x5F52, 3: 0x6738, 4: 0x6F20, 5: 0x7720}
_STEPS = (
    0x76F0, 0x76F0, 0x76C0, 0x6F00, 0x6F00, 0x6EE0, 0x6750, 0x6750, 0x6768, 0x5005, 0x5005, 0x5047, 0x57D3, 0x57D3,
    0x5762,
)  # fmt: skip
"""The quantiser's steps as OpenJPEG chooses them: of the coarsest band by the depth of the transform, and of the three
bands of each level from the fifth to the first."""


class Jpeg2000(RgbCodec):
    """One JPEG 2000 picture by OpenJPEG, through PIL: one tile, one layer, 9/7 wavelets, colour transform.

        image ─ scale 1, ½, ¼ ─ OpenJPEG ─ packets ─ section
        section ─ + main header, tile header ─ OpenJPEG ─ scale up ─ image

    The headers depend on nothing but the size; the decoder writes them itself.
    """

    name: ClassVar[str] = "jpeg2000"
    id: ClassVar[int] = 34
    title = "JPEG 2000"
    levels = range(160, _BEST)
    auto: ClassVar[Ladder] = LADDER

    def compress(self, pixels: Rgb, level: int) -> bytes:
        """Return the packets at a PSNR, as OpenJPEG estimates it, of so many tenths of a decibel."""
        height, width, _ = pixels.shape
        file = io.BytesIO()
        Image.fromarray(pixels).save(
            file, "JPEG2000", no_jp2=True, irreversible=True, mct=1, num_resolutions=_depth(width, height) + 1,
            quality_mode="dB", quality_layers=[level / 10],
        )  # fmt: skip
        written = file.getvalue()
        start = written.index(b"\xff\x90")  # where the tile starts; the main header holds no such bytes
        payload = written[start + 14 : -2]
        main, tile = _headers(width, height, len(payload))
        comment = written[len(main) : start]
        if not written.startswith(main) or comment[:2] not in (b"", b"\xff\x64") or written[start : start + 14] != tile:
            raise SempicError("This OpenJPEG writes headers that the codec jpeg2000 does not know; use Pillow's wheel.")
        return payload

    def expand(self, payload: bytes, width: int, height: int) -> Rgb:
        """Put the headers before the packets and decode them."""
        main, tile = _headers(width, height, len(payload))
        return self.opened(main + tile + payload + b"\xff\xd9", "JPEG2000", width, height)


def _depth(width: int, height: int) -> int:
    """Return how many times the wavelet transform halves the picture."""
    return min(_MAX_DEPTH, min(width, height).bit_length() - 1)


def _headers(width: int, height: int, length: int) -> tuple[bytes, bytes]:
    """Return the main header, and that of the tile, for so many bytes of packets (ITU-T T.800, annex A)."""
    depth = _depth(width, height)
    area = b"".join(side.to_bytes(4, "big") for side in (width, height, 0, 0))
    components = b"\7\1\1" * 3  # 8 bits, not subsampled
    steps = (_COARSEST[depth], *_STEPS[3 * (_MAX_DEPTH - depth) :])
    main = (
        b"\xff\x4f"
        + _segment(0x51, b"\0\0" + area * 2 + b"\0\3" + components)
        + _segment(0x52, b"\0\0\0\1\1" + bytes((depth, 4, 4, 0, 0)))  # one layer, colour transform, blocks of 64×64
        + _segment(0x5C, b"\x42" + b"".join(step.to_bytes(2, "big") for step in steps))  # two guard bits
    )
    tile = _segment(0x90, b"\0\0" + (length + 14).to_bytes(4, "big") + b"\0\1") + b"\xff\x93"
    return main, tile


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body
