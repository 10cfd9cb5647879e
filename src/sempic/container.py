"""The stream as bytes: a header, then sections that are checked one by one. It depends on no codec.

    magic 2 | version 1 | codec 1 | width v | height v | fingerprint 2      the header; v is a varint
    type 1 | length v | payload | check 2                                   a section, repeated

Sections build on one another, so a stream is worth as much as its longest run of whole sections from the start: `read`
returns that run and says in a warning what it had to drop. `docs/format.md` has the format to the last bit.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable
from dataclasses import dataclass

from sempic.errors import InputError, StreamError

MAGIC = b"\xd5S"
"""The first byte is no ASCII and no UTF-8 start, so a stream sent as text is noticed at once."""
VERSION = 1
MIN_SIDE, MAX_SIDE = 16, 8192
"""The smallest and the largest width or height of a picture, in pixels."""
MAX_SECTIONS = 255

_SEED = 0xFFFF
_CHECK_BYTES = 2
_VARINT_BYTES = 4


@dataclass(frozen=True)
class Header:
    """What every stream starts with.

    `codec` is the codec's id (0..255), `width` and `height` are in pixels (16..8192), `fingerprint` names the model's
    weights (0..65535; 0 when the codec has no model).
    """

    codec: int
    width: int
    height: int
    fingerprint: int = 0


@dataclass(frozen=True)
class Section:
    """One independently checked part of a stream; the codec gives `type` (0..255) its meaning."""

    type: int
    payload: bytes


@dataclass(frozen=True)
class Stream:
    """A stream as read: its header, its whole sections in order (at least one), and a sentence for each loss."""

    header: Header
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Span:
    """A run of bytes of a stream: `length` bytes from `offset` on.

    `name` is "header", "framing" (a section's type, length and check), "payload" or "lost" (dropped when reading);
    `section` is the index of the section, None for "header" and "lost".
    """

    name: str
    offset: int
    length: int
    section: int | None = None


def check_size(width: int, height: int) -> None:
    """Raise `InputError` for a picture that no stream can hold."""
    if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE):
        raise InputError(
            f"The picture is {width}×{height} pixels; width and height must be from {MIN_SIDE} to {MAX_SIDE} each."
        )


def write(header: Header, sections: Iterable[Section]) -> bytes:
    """Return the stream that holds these sections; raise `InputError` for a size or count outside the limits."""
    check_size(header.width, header.height)
    out = bytearray(MAGIC)
    out += bytes((VERSION, header.codec)) + _varint(header.width) + _varint(header.height)
    out += header.fingerprint.to_bytes(2, "big")
    check = crc_hqx(out, _SEED)
    for count, section in enumerate(sections, start=1):
        if count > MAX_SECTIONS:
            raise InputError(f"A stream holds at most {MAX_SECTIONS} sections.")
        body = bytes((section.type,)) + _varint(len(section.payload)) + section.payload
        check = crc_hqx(body, check)
        out += body + check.to_bytes(_CHECK_BYTES, "big")
    return bytes(out)


def read(data: bytes) -> Stream:
    """Return the header and the whole sections of a stream.

    A tail that is cut off or damaged is dropped with a warning. Raises `StreamError` when the data is no stream, has
    another version or an impossible size, or when not even its first section is whole.
    """
    return _parse(data)[0]


def read_header(data: bytes) -> Header:
    """Return the header of a stream, of which no more need be there; raise `StreamError` as `read` does."""
    return _header_at_start(data)[0]


def end_of_first(data: bytes) -> int:
    """Return where the first section of a stream ends, its check included; no more than its length need be there.

    Raises `StreamError` where that is cut off or makes no sense.
    """
    place = _header_at_start(data)[1]
    length, start = _read_varint(data, place + 1)
    return start + length + _CHECK_BYTES


def layout(data: bytes) -> list[Span]:
    """Return what each byte of a stream is: spans in order, without gaps, from 0 to `len(data)`.

    A section's framing is two spans, one before its payload and one after. Raises `StreamError` as `read` does.
    """
    return _parse(data)[1]


def _parse(data: bytes) -> tuple[Stream, list[Span]]:
    header, place = _header_at_start(data)
    spans = [Span("header", 0, place)]
    sections: list[Section] = []
    warnings: tuple[str, ...] = ()
    check = crc_hqx(data[:place], _SEED)
    while place < len(data):
        try:
            if len(sections) == MAX_SECTIONS:
                raise StreamError("data follows the last section that a stream can have")
            payload_at, end = _section_bounds(data, place)
            check = crc_hqx(data[place:end], check)
            if check.to_bytes(_CHECK_BYTES, "big") != data[end : end + _CHECK_BYTES]:
                raise StreamError("its check does not match")
        except StreamError as error:
            if not sections:
                raise StreamError(f"The stream is damaged: its first section cannot be used, {error}.") from None
            lost = len(data) - place
            warnings = (f"Section {len(sections) + 1} cannot be used, {error}: the last {lost} bytes are dropped.",)
            spans.append(Span("lost", place, lost))
            break
        index = len(sections)
        sections.append(Section(data[place], data[payload_at:end]))
        spans.append(Span("framing", place, payload_at - place, index))
        spans.append(Span("payload", payload_at, end - payload_at, index))
        spans.append(Span("framing", end, _CHECK_BYTES, index))
        place = end + _CHECK_BYTES
    if not sections:
        raise StreamError("The stream ends before its first section: the file is cut off.")
    return Stream(header, tuple(sections), warnings), spans


def _header_at_start(data: bytes) -> tuple[Header, int]:
    if not data.startswith(MAGIC):
        raise StreamError("This is not a Sempic stream: it does not start with the two magic bytes.")
    if len(data) < len(MAGIC) + 2:
        raise StreamError("The stream ends inside its header: the file is cut off.")
    version, codec = data[2], data[3]
    if version != VERSION:
        raise StreamError(f"The stream has format version {version}; this release reads version {VERSION}.")
    try:
        width, place = _read_varint(data, len(MAGIC) + 2)
        height, place = _read_varint(data, place)
    except StreamError as error:
        raise StreamError(f"The stream's header is damaged, {error}.") from None
    if len(data) < place + 2:
        raise StreamError("The stream ends inside its header: the file is cut off.")
    try:
        check_size(width, height)
    except InputError as error:
        raise StreamError(f"The stream's header is damaged. {error}") from None
    return Header(codec, width, height, int.from_bytes(data[place : place + 2], "big")), place + 2


def _section_bounds(data: bytes, place: int) -> tuple[int, int]:
    """Return where the payload of the section at `place` starts and ends."""
    length, start = _read_varint(data, place + 1)
    if start + length + _CHECK_BYTES > len(data):
        raise StreamError("it is cut off")
    return start, start + length


def _varint(value: int) -> bytes:
    """Return a number as groups of seven bits, the lowest first; a set top bit means that more follow."""
    if value >> 7 * _VARINT_BYTES:
        raise InputError(f"A section of {value} bytes is too long for a stream.")
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    """Return the number at `place` and the place after it; only the shortest way to write a number is valid."""
    value = 0
    for group, byte in enumerate(data[place : place + _VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * group
        if byte < 0x80:
            if group and not byte:
                raise StreamError("a number in it is not written the shortest way")
            return value, place + group + 1
    raise StreamError("it is cut off" if len(data) < place + _VARINT_BYTES else "a number in it is too long")
