"""The stream as bytes: what is written is read, and no damage passes in silence."""

from __future__ import annotations

from binascii import crc_hqx
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sempic import container
from sempic.container import Header, Section
from sempic.errors import InputError, StreamError

SIDES = st.integers(container.MIN_SIDE, container.MAX_SIDE)
HEADERS = st.builds(Header, st.integers(0, 255), SIDES, SIDES, st.integers(0, 0xFFFF))
SECTIONS = st.lists(st.builds(Section, st.integers(0, 255), st.binary(max_size=300)), min_size=1, max_size=5)

HEADER = Header(codec=7, width=480, height=360, fingerprint=0xBEEF)
THREE = (Section(1, b"most important"), Section(9, b""), Section(2, bytes(range(200))))


@given(HEADERS, SECTIONS)
def test_what_is_written_is_read(header: Header, sections: list[Section]) -> None:
    data = container.write(header, sections)
    stream = container.read(data)
    assert (stream.header, stream.sections, stream.warnings) == (header, tuple(sections), ())


def test_framing_of_one_section_is_at_most_16_bytes() -> None:
    assert len(container.write(HEADER, [Section(1, b"")])) == 14
    assert len(container.write(HEADER, [Section(1, bytes(16383))])) - 16383 == 15
    assert len(container.write(HEADER, [Section(1, bytes(16384))])) - 16384 == 16


def test_bytes_are_those_of_the_specification() -> None:
    header = bytes.fromhex("d553 01 07 e003 e802 beef")
    section = bytes.fromhex("01 03 616263")
    assert crc_hqx(b"123456789", 0xFFFF) == 0x29B1
    assert container.write(HEADER, [Section(1, b"abc")]) == header + section + bytes.fromhex("7347")


def test_any_flipped_byte_is_an_error_or_a_warning() -> None:
    data = container.write(HEADER, THREE)
    for place in range(len(data)):
        for mask in (1, 0x10, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[place] ^= mask
            try:
                stream = container.read(bytes(damaged))
            except StreamError:
                continue
            assert stream.warnings
            assert stream.header == HEADER
            assert stream.sections == THREE[: len(stream.sections)]


def test_any_prefix_is_an_error_or_its_whole_sections() -> None:
    data = container.write(HEADER, THREE)
    ends = [len(container.write(HEADER, THREE[:count])) for count in (1, 2, 3)]
    for length in range(len(data)):
        if length < ends[0]:
            with pytest.raises(StreamError):
                container.read(data[:length])
            continue
        stream = container.read(data[:length])
        assert stream.sections == THREE[: sum(end <= length for end in ends)]
        assert bool(stream.warnings) == (length not in ends)


@given(st.binary(max_size=60))
def test_noise_is_an_error(noise: bytes) -> None:
    with pytest.raises(StreamError):
        container.read(noise)
    with pytest.raises(StreamError):
        container.read(container.write(HEADER, [])[:-2] + noise)


def test_trailing_bytes_are_a_warning() -> None:
    stream = container.read(container.write(HEADER, THREE) + b"trailing garbage")
    assert stream.sections == THREE
    assert "last 16 bytes" in stream.warnings[0]


def test_sections_of_another_stream_or_in_another_order_are_dropped() -> None:
    data = container.write(HEADER, THREE)
    spans = container.layout(data)
    starts = [*[span.offset for span in spans if span.name == "framing"][::2], len(data)]
    first, second, third = (data[a:b] for a, b in pairwise(starts))
    head = data[: starts[0]]
    assert container.read(head + first + third + second).sections == THREE[:1]
    other = container.write(HEADER, (Section(1, b"of another file"), *THREE[1:]))
    grafted = container.read(head + first + other[-len(second) - len(third) :])
    assert grafted.sections == THREE[:1]
    assert grafted.warnings


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a Sempic stream"),
        (b"\x89PNG\r\n\x1a\n", "not a Sempic stream"),
        (b"\xd5S\x01", "cut off"),
        (b"\xd5S\x02\x01\x40\x40\0\0", "format version 2"),
        (b"\xd5S\x01\x01\x0f\x40\0\0", "15×64"),
        (b"\xd5S\x01\x01\x81\x40\x40\0\0", "8193×64"),
        (b"\xd5S\x01\x01\xff\xff\xff\xff\x7f\0\0", "too long"),
        (b"\xd5S\x01\x01\xc0\x00\x40\0\0", "shortest"),
        (b"\xd5S\x01\x01\x40\x40\0", "cut off"),
        (b"\xd5S\x01\x01\x40\x40\0\0", "before its first section"),
        (b"\xd5S\x01\x01\x40\x40\0\0\x01\xff\xff\xff\x7f", "cut off"),
    ],
)
def test_errors_say_what_is_wrong(data: bytes, sentence: str) -> None:
    with pytest.raises(StreamError, match=sentence):
        container.read(data)


@pytest.mark.parametrize(("width", "height"), [(15, 64), (64, 15), (8193, 64), (64, 8193)])
def test_sizes_outside_the_limits_are_not_written(width: int, height: int) -> None:
    with pytest.raises(InputError, match="from 16 to 8192"):
        container.write(Header(1, width, height), THREE)


def test_section_count_is_bounded() -> None:
    many = [Section(1, b"")] * container.MAX_SECTIONS
    data = container.write(HEADER, many)
    assert len(container.read(data).sections) == container.MAX_SECTIONS
    assert container.read(data + b"\1\0\0\0").warnings
    with pytest.raises(InputError, match="at most 255"):
        container.write(HEADER, [*many, many[0]])


@given(HEADERS, SECTIONS, st.integers(0, 50))
def test_layout_accounts_for_every_byte(header: Header, sections: list[Section], cut: int) -> None:
    data = container.write(header, sections)
    data = data[: max(len(data) - cut, len(container.write(header, sections[:1])))]
    place = 0
    for span in container.layout(data):
        assert span.offset == place
        place += span.length
    assert place == len(data)
    payloads = [data[s.offset : s.offset + s.length] for s in container.layout(data) if s.name == "payload"]
    assert payloads == [section.payload for section in container.read(data).sections]


def test_the_end_of_the_first_section_is_known_from_its_length() -> None:
    data = container.write(HEADER, [Section(1, b"abc"), Section(2, b"d")])
    end = len(container.write(HEADER, [Section(1, b"abc")]))
    assert {container.end_of_first(data[:cut]) for cut in range(12, len(data) + 1)} == {end}
    for cut in range(12):
        with pytest.raises(StreamError):
            container.end_of_first(data[:cut])
