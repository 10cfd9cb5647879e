"""Forward error correction around a stream: what packets to lose and bits to get wrong it can stand.

    stream ─ terminator ─ rows ─ parity for each row, more for the first section's ─ a byte a row in each packet
    packets, some lost ─ correct each row ─ stream, or as much of its start as can be corrected

Every row of bytes is a word of a Reed-Solomon code with one byte in each packet. So a lost packet costs each word one
byte, whose place is known, and a wrong byte costs one word two. The words of the first rows have more parity than the
others: they hold the header and the first section, without which nothing can be decoded (priority encoding
transmission, Albanese et al. 1996). This knows no codec, and of a stream's sections only where the first one ends.
`docs/format.md` has the bytes.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from math import comb

from reedsolo import ReedSolomonError, RSCodec

from sempic import container
from sempic.errors import InputError, StreamError

MAGIC = b"\xd5\xa6"
"""Far from that of an unprotected stream, of which six bits would have to flip."""
UNIT, MAX_UNITS, MAX_PACKETS = 8, 8, 255
"""A stream is cut into at most MAX_PACKETS packets, of 1 to MAX_UNITS times UNIT bytes each."""
GROUPS = UNIT
"""The header counts rows by groups of equal size, of which there are so many."""
DEFAULT = 0.25
"""The share of bytes that protection adds where no other is asked for."""
END = b"\x80"
"""Stands after the stream, before the zeros that fill up the last word."""

_HEADER_BYTES = 7
_FIRST_WORTH = 0.7
"""How much of a stream's mIoU its first section alone gives, as measured with `sqgan` on street scenes."""
_EXPECTED_LOSS = 0.4
"""The share of packets that parities are balanced for, as a part of the share of protection: 0.1 for a quarter."""


@dataclass(frozen=True)
class Recovered:
    """What a link left of a stream, and a sentence where that is not all of it.

    `stream` is the stream, or its start; `detail` says how it was protected and what was mended, nothing for a stream
    that has no protection; `mended` is whether packets were missing or bytes wrong.
    """

    stream: bytes
    detail: str = ""
    mended: bool = False
    warnings: tuple[str, ...] = ()

    def read(self) -> container.Stream:
        """Return the sections of the stream, with all warnings; raise `StreamError` as `container.read` does."""
        found = container.read(self.stream)
        return replace(found, warnings=(*self.warnings, *found.warnings))


def may_start(data: bytes) -> bool:
    """Whether a file of ours may start like this: bare, protected, or protected and without its first packet."""
    return data.startswith((container.MAGIC, MAGIC, bytes(UNIT)))


def share_of(protect: bool | float) -> float:
    """Return the share of bytes that protection adds, 0 for none: True stands for DEFAULT.

    Raises `InputError` for a share that makes no sense.
    """
    share = DEFAULT if protect is True else float(protect)
    if protect is not False:
        check_share(share)
    return share


def check_share(share: float) -> None:
    """Raise `InputError` for a share of protection that makes no sense."""
    if not 0 < share <= 1:
        raise InputError(f"The share of protection is {share}; it must be above 0 and at most 1.")


def protect(stream: bytes, share: float = DEFAULT) -> bytes:
    """Return a stream with protection, which adds at most `share` (above 0, up to 1) of its size.

    Small streams may get more, for there are never less than 21 bytes of headers and one of parity in a word. Raises
    `InputError` for another share, and for a stream that does not fit into 255 packets of 64 bytes.
    """
    check_share(share)
    layout = _choose(len(stream) + len(END), container.end_of_first(stream), share)
    body = (stream + END).ljust(layout.capacity(), b"\0")
    out = bytearray(layout.packets * layout.packet_bytes)
    at = 0
    for places, parity in layout.words():
        data = body[at : at + len(places) - parity]
        at += len(data)
        for place, value in zip(places, code(parity).encode(data), strict=True):
            out[place] = value
    for packet in layout.holders:
        start = packet * layout.packet_bytes
        out[start : start + _HEADER_BYTES] = layout.header()
    return bytes(out)


def recover(data: bytes) -> Recovered:
    """Return what protection can make of what arrived; anything else than a protected stream comes back as it is.

    Packets that hold nothing but zeros, or lie beyond the end, are taken for lost. Raises `StreamError` where the start
    of the stream cannot be corrected.
    """
    layout = None if data.startswith(container.MAGIC) else _find(data)
    if layout is None:
        return Recovered(data)
    size = layout.packet_bytes
    arrived = data[: layout.packets * size].ljust(layout.packets * size, b"\0")
    lost = {packet for packet in range(layout.packets) if not any(arrived[packet * size :][:size])}
    missing = f"{len(lost)} of {layout.packets} packets are missing"
    out, wrong = bytearray(), 0
    warnings: tuple[str, ...] = ()
    for row, (places, parity) in enumerate(layout.words()):
        erased = [n for n, place in enumerate(places) if place // size in lost]
        try:
            word, _, corrected = code(parity).decode(bytes(arrived[place] for place in places), erase_pos=erased)
        except ReedSolomonError:
            if row < layout.first_rows:
                raise StreamError(
                    f"The stream is damaged beyond correction: {missing}, and its first section stands the loss of "
                    f"{parity}, less two for each byte that is wrong."
                ) from None
            warnings = (f"{missing} or other bytes wrong, too many to correct the end of the stream: it is dropped.",)
            break
        out += word
        wrong += len(set(corrected) - set(erased))
    detail = (
        f"{layout.packets} packets of {size}, {len(lost)} missing, {wrong} wrong bytes mended; "
        f"stands the loss of {layout.first_parity}, or {layout.later_parity} after the first section"
    )
    return Recovered(bytes(out).rstrip(b"\0").removesuffix(END), detail, bool(lost or wrong), warnings)


def read(data: bytes) -> container.Stream:
    """Return the sections of a stream, protected or not; raise `StreamError` where its start cannot be had."""
    return recover(data).read()


@dataclass(frozen=True)
class _Layout:
    """How a protected stream is cut into packets and words, as its header says.

    units: the size of a packet, in units of 8 bytes.
    packets: how many there are.
    first_groups: how many of the 8 groups of rows have the parity of the first section.
    first_parity, later_parity: bytes of parity in a word of those groups, and of the others.
    """

    units: int
    packets: int
    first_groups: int
    first_parity: int
    later_parity: int

    @property
    def packet_bytes(self) -> int:
        """The size of a packet, which is the number of rows."""
        return UNIT * self.units

    @property
    def first_rows(self) -> int:
        """How many rows have the parity of the first section."""
        return self.units * self.first_groups

    @property
    def holders(self) -> tuple[int, int, int]:
        """The packets that begin with the header, as far from one another as they can be."""
        return 0, self.packets // 2, self.packets - 1

    @property
    def most_parity(self) -> int:
        """The most parity that a word may have: half of it, so that correcting takes bounded time."""
        return (self.packets - len(self.holders)) // 2

    def words(self) -> Iterator[tuple[list[int], int]]:
        """Yield for each row the places of its bytes, data first, and how many at the end are parity."""
        size = self.packet_bytes
        for row in range(size):
            packets = [n for n in range(self.packets) if row >= _HEADER_BYTES or n not in self.holders]
            yield [n * size + row for n in packets], self.first_parity if row < self.first_rows else self.later_parity

    def capacity(self, rows: int | None = None) -> int:
        """Return how many bytes of data the first rows hold, or all of them."""
        rows = self.packet_bytes if rows is None else rows
        parity = self.first_parity * min(rows, self.first_rows) + self.later_parity * max(rows - self.first_rows, 0)
        return rows * self.packets - len(self.holders) * min(rows, _HEADER_BYTES) - parity

    def header(self) -> bytes:
        """Return the header, with its check."""
        sizes = self.units - 1 << 4 | self.first_groups - 1
        fields = MAGIC + bytes((sizes, self.packets, self.first_parity, self.later_parity))
        return fields + bytes((crc_hqx(fields, 0xFFFF) & 0xFF,))

    @classmethod
    def read(cls, header: bytes) -> _Layout | None:
        """Return the layout that `header` wrote; None for other bytes, and for sizes that no encoder writes."""
        if len(header) < _HEADER_BYTES or not header.startswith(MAGIC):
            return None
        sizes, packets, first_parity, later_parity = header[len(MAGIC) : -1]
        found = cls((sizes >> 4) + 1, packets, (sizes & 15) + 1, first_parity, later_parity)
        possible = found.units <= MAX_UNITS and 0 < later_parity <= first_parity <= found.most_parity
        return found if possible and found.header() == header else None


def _find(data: bytes) -> _Layout | None:
    """Return the layout by the first header that arrived whole; None where there is none."""
    for place in range(0, min(len(data), UNIT * MAX_UNITS * MAX_PACKETS), UNIT):
        layout = _Layout.read(data[place : place + _HEADER_BYTES])
        if layout and place in [packet * layout.packet_bytes for packet in layout.holders]:
            return layout
    return None


def _choose(size: int, first: int, share: float) -> _Layout:
    """Return the layout for `size` bytes, of which the `first` matter most, that is worth most in what `share` adds."""
    limit = int((size - len(END)) * (1 + share))
    units = max(1, -(-limit // (UNIT * MAX_PACKETS)))
    for packets in range(limit // (UNIT * units), MAX_PACKETS + 1 if units <= MAX_UNITS else 0):
        fitting = list(_fitting(units, packets, size, first))
        if fitting:
            arrives = _at_most(packets, _EXPECTED_LOSS * share)
            return max(fitting, key=lambda layout: _worth(layout, arrives))
    most = UNIT * MAX_UNITS * MAX_PACKETS
    raise InputError(f"A stream of {size - len(END)} bytes does not fit with its protection into {most} bytes.")


def _fitting(units: int, packets: int, size: int, first: int) -> Iterator[_Layout]:
    """Yield for each parity of the later words the layout with the most parity of the first ones that has room."""
    parity = most = _Layout(units, packets, GROUPS, 0, 0).most_parity
    for later in range(1, most + 1):
        while parity >= later:
            found = _grouped(_Layout(units, packets, GROUPS, parity, later), first)
            if found and found.capacity() >= size:
                yield found
                break
            parity -= 1


def _grouped(layout: _Layout, first: int) -> _Layout | None:
    """Return a layout with as few groups of the first parity as hold the `first` bytes; None where all are too few."""
    for groups in range(1, GROUPS + 1):
        if layout.capacity(groups * layout.units) >= first:
            return replace(layout, first_groups=groups)
    return None


def _worth(layout: _Layout, arrives: list[float]) -> float:
    """Return how much of a stream arrives on average, where at most k packets are lost with probability arrives[k]."""
    return _FIRST_WORTH * arrives[layout.first_parity] + (1 - _FIRST_WORTH) * arrives[layout.later_parity]


def _at_most(n: int, probability: float) -> list[float]:
    """Return for k = 0 to n the probability that at most k of n independent events happen."""
    return list(accumulate(comb(n, k) * probability**k * (1 - probability) ** (n - k) for k in range(n + 1)))


@cache
def code(parity: int) -> RSCodec:
    """Return the code with so many bytes of parity, over GF(2⁸) modulo 11d₁₆, with roots 2⁰, 2¹, …"""
    return RSCodec(parity)
