"""AV1: one intra picture as SVT-AV1 writes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from sempic.codecs.classic import yuv
from sempic.codecs.classic.picture import Ladder, ladder
from sempic.codecs.classic.yuv import Planes, YuvCodec
from sempic.errors import SempicError

LADDER = ladder(quarter=range(252, 151, -1), half=range(208, 175, -1), full=range(224, 3, -1))
"""The codec's steps under `scale="auto"`: the quantiser at each size, in quarters of a QP (252 is coarsest).

On street pictures the scale changes near 0.04 and 0.09 bpp. There the next larger scale would gain 0.3 and 0.5 dB of
PSNR (it wins from 0.015 and 0.038 bpp on), but as with HEVC scaled-up pictures keep more meaning: the judge's mIoU on
13 frames was 0.334, 0.296 and 0.279 at quarter, half and full size at 0.04 bpp, 0.380 and 0.344 at half and full size
at 0.07."""

_SEQUENCE_HEADER, _TEMPORAL_DELIMITER, _FRAME = 1, 2, 6
"""Types of the units (OBUs) that a stream consists of."""
_TOOLS = 6
"""So many flags of the sequence header say which tools are used: 128×128 superblocks, filter-intra, intra edge filter,
superresolution, CDEF and loop restoration."""
_SUPERRESOLUTION = 0b000100
"""The tool that must not be: under it, a frame could have a size of its own."""
_ANY_LEVEL = 31

os.environ.setdefault("SVT_LOG", "1")  # or SVT-AV1 describes itself on stderr; it takes no other word for it


class Av1(YuvCodec):
    """One AV1 picture, 4:2:0 in 8 bits, by SVT-AV1.

        image ─ Y'CbCr (BT.601, full range) ─ scale 1, ½, ¼ ─ pad to 2 ─ SVT-AV1 ─ tools, frame ─ section
        section ─ + sequence header ─ dav1d ─ crop ─ scale up, plane by plane ─ image

    Of the units that AV1 consists of only the frame is sent, without its header, behind a byte for the tools that
    the sequence header allows. The decoder writes the rest of that header itself.
    """

    name: ClassVar[str] = "av1"
    id: ClassVar[int] = 36
    title = "AV1"
    levels = range(252, 3, -1)
    auto: ClassVar[Ladder] = LADDER

    def compress(self, pixels: Planes, level: int) -> bytes:
        """Return tools and frame at a quantiser of 4 (best) to 252; raise `SempicError` for an unknown SVT-AV1."""
        height, width = pixels[0].shape
        coded = _coded(width, height)
        # One still picture, tuned for PSNR (1), in full range, by one thread.
        params = f"crf={level / 4}:avif=1:keyint=1:tune=1:color-range=1:lp=1"
        with _same_priority():
            written = self.encoded(yuv.pad(pixels, *coded), "libsvtav1", {"preset": "3", "svtav1-params": params})
        units = _units(written)
        header = units.get(_SEQUENCE_HEADER, b"")
        bits = f"{int.from_bytes(header, 'big'):0{8 * len(header)}b}"
        written_level, tools_at = bits[5:10], 18 + sum(map(_bits_of, coded))
        tools = bits[tools_at : tools_at + _TOOLS]
        known = len(tools) == _TOOLS and _sequence_header(*coded, int(tools, 2), int(written_level, 2)) == header
        if not known or int(tools, 2) & _SUPERRESOLUTION or _FRAME not in units:
            raise SempicError("This SVT-AV1 uses tools that the codec av1 does not know; install another PyAV.")
        return bytes((int(tools, 2),)) + units[_FRAME]

    def expand(self, payload: bytes, width: int, height: int) -> Planes:
        """Put a sequence header before the frame and decode it."""
        if not payload or payload[0] >> _TOOLS or payload[0] & _SUPERRESOLUTION:
            raise self.damaged("its first byte names tools that it cannot have")
        coded = _coded(width, height)
        header = _unit(_SEQUENCE_HEADER, _sequence_header(*coded, payload[0]))
        data = _unit(_TEMPORAL_DELIMITER, b"") + header + _unit(_FRAME, payload[1:])
        return yuv.crop(self.decoded(data, "libdav1d", *coded), width, height)


@contextmanager
def _same_priority() -> Iterator[None]:
    """Undo what SVT-AV1 does to the process where it may (as root on Linux): it makes it a real-time one and leaves it
    so, and whatever else the machine has to do comes to a stand."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def _coded(width: int, height: int) -> tuple[int, int]:
    """Return the size that SVT-AV1 sees: even, and at least 16."""
    return max(16, width + width % 2), max(16, height + height % 2)


def _bits_of(side: int) -> int:
    """Return how many bits the sequence header takes for a side."""
    return (side - 1).bit_length()


def _sequence_header(width: int, height: int, tools: int, level: int = _ANY_LEVEL) -> bytes:
    """Return the sequence header of one still picture (AV1 specification, 5.5)."""
    across, down = _bits_of(width), _bits_of(height)
    bits = (
        "000" + "1" + "1" + f"{level:05b}"  # main profile; a still picture, hence a short header
        + f"{across - 1:04b}{down - 1:04b}{width - 1:0{across}b}{height - 1:0{down}b}"
        + f"{tools:0{_TOOLS}b}"
        + "0" + "0" + "0" + "1" + "00" + "0"  # 8 bits; colour, of no named kind, in full range; 4:2:0; one chroma QP
        + "0" + "1"  # no film grain; end
    )  # fmt: skip
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _unit(kind: int, payload: bytes) -> bytes:
    """Return an OBU: a byte with its type, its length in groups of seven bits, its payload."""
    out, length = bytearray((kind << 3 | 2,)), len(payload)
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(out) + bytes((length,)) + payload


def _units(data: bytes) -> dict[int, bytes]:
    """Return the payloads of OBUs as `_unit` makes them, by type."""
    units, place = {}, 0
    while place < len(data):
        kind, place = data[place] >> 3, place + 1
        length = shift = 0
        while True:
            length |= (data[place] & 0x7F) << shift
            shift, place = shift + 7, place + 1
            if data[place - 1] < 0x80:
                break
        units[kind], place = data[place : place + length], place + length
    return units
