"""A stream in a few packets for a narrow link: in any order, some of them lost, other packets among them.

    stream ─ terminator ─ rows ─ parity for each row, more for the first section's ─ a byte a row in each packet
    packets ─ by picture ─ correct the rows ─ stream, or its first section, and what has to be sent again

Rows are words of the Reed-Solomon code of `protection`, and the first section has more parity there, too. But a packet
of these is one that the link carries, whatever its size. Each has a header of 4 bytes, so no packet is needed more than
another: of n packets any k are enough for the stream, and any j ≤ k for its first section. `docs/format.md` has the
bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from zlib import crc32

from sempic import container
from sempic.errors import InputError, StreamError
from sempic.link.protection import END, code

HEADER_BYTES = 4
MAX_COUNT = 64
"""The most packets of a picture."""
MAX_SIZE = 2048
"""The most bytes of a packet, with its header."""
IDS = 2048
"""Numbers of pictures are below this."""

_SHARES = 8
"""The first section needs 1/8, 2/8, … or 8/8 of the packets that the stream needs."""
_SPREAD = 4
"""By how many of these eighths it should need less."""


@dataclass(frozen=True)
class PacketSet:
    """What the packets of a picture have in common, as the header of each says.

    id: the number of the picture (0..2047).
    count: how many packets there are (1..64).
    need: how many of them, any ones, are enough for the whole stream (1..count).
    spread: by how many eighths fewer are enough for the first section (0..7).
    """

    id: int
    count: int
    need: int
    spread: int

    @property
    def need_first(self) -> int:
        """How many packets, any ones, are enough for the first section."""
        return -(-self.need * (_SHARES - self.spread) // _SHARES)

    def header(self, index: int) -> bytes:
        """Return the header of a packet, which are counted from 0."""
        fields = self.id << 3 | self.spread
        for value in (self.need - 1, self.count - 1, index):
            fields = fields << 6 | value
        return fields.to_bytes(HEADER_BYTES, "big")

    @classmethod
    def read(cls, packet: bytes) -> tuple[PacketSet, int] | None:
        """Return the set that a packet is of, and its index; None for what is no packet of ours."""
        if not HEADER_BYTES < len(packet) <= MAX_SIZE:
            return None
        fields = int.from_bytes(packet[:HEADER_BYTES], "big")
        index, count, need = fields & 63, (fields >> 6 & 63) + 1, (fields >> 12 & 63) + 1
        found = cls(fields >> 21, count, need, fields >> 18 & 7)
        return (found, index) if index < count and need <= count else None

    def size(self, stream: bytes) -> int:
        """Return how many bytes each packet of a stream has, with its header."""
        _, rows = self.rows(stream)
        return HEADER_BYTES + rows

    def split(self, stream: bytes) -> list[bytes]:
        """Return the packets of a stream, all of the same size."""
        first, rows = self.rows(stream)
        data = (stream + END).ljust(first * self.need_first + (rows - first) * self.need, b"\0")
        out = [bytearray(self.header(index)) for index in range(self.count)]
        at = 0
        for row in range(rows):
            need = self.need_first if row < first else self.need
            for packet, value in zip(out, code(self.count - need).encode(data[at : at + need]), strict=True):
                packet.append(value)
            at += need
        return [bytes(packet) for packet in out]

    def rows(self, stream: bytes) -> tuple[int, int]:
        """Return how many bytes of each packet the first section takes, and how many the stream with its end takes."""
        first = -(-container.end_of_first(stream) // self.need_first)
        later = len(stream) + len(END) - first * self.need_first
        return first, first + max(0, -(-later // self.need))


@dataclass(frozen=True)
class Joined:
    """What arrived of a picture.

    stream: the stream, or as many of its sections, from the first on, as could be had; empty where there is not one.
    whole: whether that is all of it.
    id: the number of the picture (0..2047).
    count: how many packets it has.
    missing: the numbers, from 1 on, of those that did not arrive.
    lacking: how many of the missing ones, any ones, would have to be sent again for the whole stream.
    left_out: how many packets are of other pictures, or of somebody else's.
    warnings: a sentence for each thing that went wrong.
    """

    stream: bytes
    whole: bool
    id: int
    count: int
    missing: tuple[int, ...]
    lacking: int
    left_out: int
    warnings: tuple[str, ...] = ()


def plans(count: int, survive: int | None = None) -> list[PacketSet]:
    """Return the ways to send a picture (of number 0), that with most parity for its first section first.

    In the last of them the first section has no more parity than what follows.

    Args:
        count: the number of packets, 1 to 64.
        survive: how many of them, any ones, may be missing: 0 to count - 1; 1 if left out, or 0 for a single packet.

    Raises:
        InputError: numbers outside these ranges.
    """
    if not 1 <= count <= MAX_COUNT:
        raise InputError(f"The number of packets is {count}; it must be from 1 to {MAX_COUNT}.")
    survive = min(1, count - 1) if survive is None else survive
    if not 0 <= survive < count:
        raise InputError(f"Of {count} packets {survive} cannot be missing; it must be from 0 to {count - 1}.")
    found: dict[int, PacketSet] = {}
    for spread in range(_SPREAD, -1, -1):
        plan = PacketSet(0, count, count - survive, spread)
        found[plan.need_first] = plan  # of equal ones the one with the smallest spread, so that the last has none
    return list(found.values())


def numbered(plan: PacketSet, stream: bytes, id: int | None = None) -> PacketSet:
    """Return a plan with the number of a picture, which is taken from its stream if left out.

    Raises `InputError` for a number outside 0..2047.
    """
    if id is None:
        id = crc32(stream) % IDS
    if not 0 <= id < IDS:
        raise InputError(f"The number of the picture is {id}; it must be from 0 to {IDS - 1}.")
    return replace(plan, id=id)


def check_size(size: int) -> None:
    """Raise `InputError` for a size that packets cannot have."""
    if not HEADER_BYTES < size <= MAX_SIZE:
        raise InputError(f"The size of packets is {size} bytes; it must be from {HEADER_BYTES + 1} to {MAX_SIZE}.")


def join(packets: Iterable[bytes], id: int | None = None) -> Joined:
    """Return what packets contain, in whatever order they come; see `sempic.join`."""
    sets: dict[tuple[PacketSet, int], dict[int, set[bytes]]] = defaultdict(lambda: defaultdict(set))
    total, known = 0, defaultdict[tuple[PacketSet, int], int](int)
    for packet in packets:
        total += 1
        if found := PacketSet.read(packet):
            key = found[0], len(packet)
            sets[key][found[1]].add(packet[HEADER_BYTES:])
            known[key] += 1
    if not sets:
        raise StreamError(f"There is no packet of Sempic's among these {total}.")
    ids = sorted({key[0].id for key in sets})
    if id is not None and id not in ids:
        raise StreamError(f"There is no packet of picture {id}, but of {', '.join(map(str, ids))}.")
    results = [
        _join(key[0], key[1] - HEADER_BYTES, parts, total - known[key])
        for key, parts in sets.items()
        if id in (None, key[0].id)
    ]
    return max(results, key=lambda one: (one.whole, bool(one.stream), one.count - len(one.missing)))


def _join(found: PacketSet, rows: int, parts: Mapping[int, set[bytes]], left_out: int) -> Joined:
    """Return what the packets of one set contain; two different ones with the same number count as missing."""
    here = {index: next(iter(contents)) for index, contents in parts.items() if len(contents) == 1}
    missing = tuple(index + 1 for index in range(found.count) if index not in here)
    warnings = []
    if twice := sorted(parts.keys() - here.keys()):
        numbers = ", ".join(str(index + 1) for index in twice)
        warnings.append(f"Different packets have the number {numbers} of picture {found.id}: none of them is used.")
    stream, whole = _read(found, rows, here)
    lacking = 0 if whole else max(0, found.need - len(here))
    gone = f"{len(missing)} of {found.count} packets of picture {found.id} are missing"
    if not stream and len(here) < found.need_first:
        warnings.append(f"{gone}: nothing can be shown before {found.need_first - len(here)} more arrive.")
    elif not stream:
        warnings.append(f"The packets of picture {found.id} do not belong together, or bytes of them are wrong.")
    elif lacking:
        warnings.append(f"{gone}: what follows the first section is lost unless {lacking} more arrive.")
    elif not whole:
        warnings.append(f"Bytes of the packets of picture {found.id} are wrong: its end is dropped.")
    return Joined(stream, whole, found.id, found.count, missing, lacking, left_out, tuple(warnings))


def _read(found: PacketSet, rows: int, here: Mapping[int, bytes]) -> tuple[bytes, bool]:
    """Return the whole sections that can be had from the packets here, and whether these are all."""
    start = _data(found.count, found.need_first, here, 0, rows)
    try:
        first = min(rows, -(-container.end_of_first(start) // found.need_first))
        later = _data(found.count, found.need, here, first, rows)
        data = (start[: first * found.need_first] + later).rstrip(b"\0").removesuffix(END)
        read = container.read(data)
    except StreamError:
        return b"", False
    everything = first == rows or len(here) >= found.need
    return container.write(read.header, read.sections), everything and not read.warnings


def _data(count: int, need: int, here: Mapping[int, bytes], start: int, end: int) -> bytes:
    """Return the data of some rows, of which `need` packets are enough; nothing where less are here.

    With the places of the missing bytes the same in each row, correcting is a linear map: what the code makes of a word
    in which one byte is 1 says how often this byte goes into each byte of data.
    """
    used = sorted(here)[:need]
    if len(used) < need:
        return b""
    columns = [0] * need
    for index in used:
        column = here[index][start:end]
        for place, weight in enumerate(_weights(count, need, used, index)):
            if weight:
                columns[place] ^= int.from_bytes(column.translate(_products(weight)), "big")
    out = bytearray(need * (end - start))
    for place, value in enumerate(columns):
        out[place::need] = value.to_bytes(end - start, "big")
    return bytes(out)


def _weights(count: int, need: int, used: list[int], index: int) -> bytes:
    """Return how often the byte of a packet goes into each byte of data, where those of `used` are known."""
    word = bytes(place == index for place in range(count))
    if used == list(range(need)):  # the data themselves
        return word[:need]
    return bytes(code(count - need).decode(word, erase_pos=[n for n in range(count) if n not in used])[0])


@cache
def _products(factor: int) -> bytes:
    """Return the products of all bytes with a factor (not 0), in the field of the code."""
    logarithm, power = code(1).gf_log, code(1).gf_exp
    return bytes(power[logarithm[factor] + logarithm[value]] if value else 0 for value in range(256))
