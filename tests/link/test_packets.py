"""Packets for narrow links: what may be missing, what is shown of the rest, and that no packet does harm."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from sempic import container
from sempic.container import Header, Section
from sempic.errors import InputError, StreamError
from sempic.link.packets import HEADER_BYTES, MAX_SIZE, Joined, PacketSet, check_size, join, numbered, plans

HEADER = Header(codec=7, width=480, height=360, fingerprint=0xBEEF)


def stream(*sizes: int, seed: int = 0) -> bytes:
    """A stream with sections of so many bytes."""
    chance = random.Random(seed)
    return container.write(HEADER, [Section(1 + place, chance.randbytes(size)) for place, size in enumerate(sizes)])


def split(data: bytes, count: int, survive: int, place: int = 0, id: int | None = None) -> list[bytes]:
    """The packets of a stream under one of the plans."""
    return numbered(plans(count, survive)[place], data, id).split(data)


def set_of(packet: bytes) -> PacketSet:
    found = PacketSet.read(packet)
    assert found is not None
    return found[0]


def all_plans(most: int) -> Iterator[PacketSet]:
    return (plan for count in range(1, most + 1) for survive in range(count) for plan in plans(count, survive))


@pytest.mark.parametrize("sizes", [(3,), (0,), (150, 200), (150, 20, 30), (5, 300)], ids=str)
def test_any_packets_may_be_missing_that_may_be(sizes: tuple[int, ...]) -> None:
    """All subsets of up to six packets, under all plans."""
    data, chance = stream(*sizes), random.Random(1)
    end = container.end_of_first(data)
    for plan in all_plans(6):
        made = plan.split(data)
        assert {len(packet) for packet in made} == {plan.size(data)}
        for arrive in range(1, plan.count + 1):
            for some in combinations(made, arrive):
                joined = join(chance.sample(some, arrive))
                assert joined.count - len(joined.missing) == arrive
                if arrive >= plan.need:
                    assert (joined.stream, joined.whole, joined.lacking, joined.warnings) == (data, True, 0, ())
                elif arrive >= plan.need_first:
                    assert joined.stream in (data, data[:end])
                    assert joined.stream == data if joined.whole else joined.warnings
                    assert joined.lacking == (0 if joined.whole else plan.need - arrive)
                else:
                    assert (joined.stream, joined.whole, joined.lacking) == (b"", False, plan.need - arrive)
                    assert f"before {plan.need_first - arrive} more arrive" in joined.warnings[0]


def test_plans_go_from_half_the_packets_for_the_first_section_to_all_that_are_needed() -> None:
    assert [(plan.need, plan.need_first) for plan in plans(3, 1)] == [(2, 1), (2, 2)]
    assert [plan.need_first for plan in plans(10, 2)] == [4, 5, 6, 7, 8]
    assert [plan.need_first for plan in plans(64, 0)] == [32, 40, 48, 56, 64]
    assert [(plan.need, plan.need_first) for plan in plans(1)] == [(1, 1)]
    assert plans(5) == plans(5, 1)
    for plan in all_plans(64):
        assert 1 <= plan.need_first <= plan.need <= plan.count


@given(st.integers(0, 400), st.lists(st.integers(0, 400), max_size=3), st.integers(1, 20), st.data())
@budget(max_examples=60, deadline=None)
def test_packets_have_no_row_that_is_not_needed(first: int, later: list[int], count: int, data: st.DataObject) -> None:
    """Count times size, less headers and parity, is the stream and its terminator, but for the ends of two rows."""
    sent = stream(first, *later)
    plan = data.draw(st.sampled_from(plans(count, data.draw(st.integers(0, count - 1)))))
    rows = plan.size(sent) - HEADER_BYTES
    of_first = -(-container.end_of_first(sent) // plan.need_first)
    parity = of_first * (count - plan.need_first) + (rows - of_first) * (count - plan.need)
    spare = count * rows - parity - len(sent) - 1
    assert 0 <= spare < max(plan.need, plan.need_first) or (rows == of_first and spare < plan.need_first)


def test_the_header_is_as_documented() -> None:
    made = PacketSet(id=1034, count=3, need=2, spread=4).split(stream(9, 9))
    assert [packet[:4].hex() for packet in made] == ["81501080", "81501081", "81501082"]
    assert PacketSet.read(made[2]) == (PacketSet(1034, 3, 2, 4), 2)
    assert made[0][4:].startswith(container.MAGIC)
    assert PacketSet(2047, 64, 64, 7).header(63).hex() == "ffffffff"


def test_packets_of_this_release_are_read_by_later_ones() -> None:
    """Never change these bytes."""
    made = [
        bytes.fromhex(text)
        for text in (
            "00b01080d5530107e003e802beef01036162637347026466a180",
            "00b0108162f503093d052506df2c0305a3a6a595c9046567f300",
            "00b01082b7a6020edd06cd0461c30206c2c4c6e68e0601015280",
        )
    ]
    sent = container.write(HEADER, [Section(1, b"abc"), Section(2, b"defg")])
    assert PacketSet(5, 3, 2, 4).split(sent) == made
    assert join(made[1:]).stream == sent


def test_order_repeats_and_foreign_packets_are_of_no_matter() -> None:
    sent, other = stream(150, 200), stream(90, 100, seed=1)
    made = split(sent, 5, 2)
    foreign = [
        b"",
        b"\0",
        b"hello world",
        bytes(60),
        b"\xff" * 60,
        random.Random(2).randbytes(90),
        sent,
        made[0] + b"x",
    ]
    mixed = [*foreign, *split(other, 5, 2)[:3], *made[:3], made[1], made[0]]
    random.Random(3).shuffle(mixed)
    joined = join(mixed, set_of(made[0]).id)
    assert (joined.stream, joined.whole, joined.missing) == (sent, True, (4, 5))
    assert joined.left_out == len(foreign) + 3
    assert join(mixed, set_of(split(other, 5, 2)[0]).id).stream == other
    assert join([*foreign, made[4], made[2], made[0]]).stream == sent


def test_the_most_complete_picture_is_taken() -> None:
    whole, part = split(stream(50, 50), 4, 1), split(stream(60, 60, seed=1), 4, 1)
    assert join([*part[:2], *whole[1:]]).stream == stream(50, 50)
    assert join([*part[:2], whole[0]]).id == set_of(part[0]).id


def test_two_packets_with_one_number_count_as_missing() -> None:
    sent = stream(150, 200)
    made = split(sent, 3, 1)
    forged = made[1][:9] + bytes([made[1][9] ^ 1]) + made[1][10:]
    joined = join([*made, forged])
    assert (joined.stream, joined.missing) == (sent, (2,))
    assert "number 2" in joined.warnings[0]


def test_wrong_bytes_are_noticed() -> None:
    sent = stream(150, 200)
    made = split(sent, 3, 1)
    spoilt = made[0][:9] + bytes([made[0][9] ^ 1]) + made[0][10:]
    joined = join([spoilt, made[1]])
    assert (joined.stream, joined.whole, joined.lacking) == (b"", False, 0)
    assert "do not belong together" in joined.warnings[0]
    spoilt = made[0][:-9] + bytes([made[0][-9] ^ 1]) + made[0][-8:]
    joined = join([spoilt, made[1]])
    assert joined.stream == sent[: container.end_of_first(sent)]
    assert (joined.whole, joined.lacking) == (False, 0)
    assert "its end is dropped" in joined.warnings[0]


def test_padding_that_a_link_adds_is_of_no_matter() -> None:
    sent = stream(150, 200)
    assert join([packet + bytes(30) for packet in split(sent, 4, 1)[1:]]).stream == sent


def test_the_number_is_from_the_stream_unless_it_is_given() -> None:
    sent = stream(9, 9)
    assert set_of(split(sent, 2, 1)[0]).id == set_of(split(sent, 3, 0)[0]).id
    assert set_of(split(sent, 2, 1, id=2047)[0]).id == 2047
    for sizes in ((9,), (9, 9)):  # streams end with a check of their own
        assert len({set_of(split(stream(*sizes, seed=seed), 2, 1)[0]).id for seed in range(50)}) > 45
    with pytest.raises(StreamError, match="no packet of picture 3, but of 7"):
        join(split(sent, 2, 1, id=7), 3)


def test_impossible_numbers_are_sentences() -> None:
    for count, survive in ((0, None), (65, 1), (3, 3), (3, -1), (1, 1)):
        with pytest.raises(InputError, match=r"must be from"):
            plans(count, survive)
    for size in (4, 0, -1, MAX_SIZE + 1):
        with pytest.raises(InputError, match="5 to 2048"):
            check_size(size)
    for id in (-1, 2048):
        with pytest.raises(InputError, match="0 to 2047"):
            numbered(plans(2)[0], b"", id)
    for nothing in ([], [b""], [b"abc"], [bytes(MAX_SIZE + 1)]):
        with pytest.raises(StreamError, match="no packet of Sempic's"):
            join(nothing)


SEEDS = [
    split(stream(40, 60, seed=seed), count, survive, id=5)
    for seed, count, survive in ((0, 3, 1), (1, 3, 1), (2, 7, 3), (3, 1, 0))
]


@st.composite
def hostile(draw: st.DrawFn) -> bytes:
    """A packet that was made by us and damaged, that has our header, or that has nothing of ours."""
    packet = bytearray(draw(st.sampled_from([packet for made in SEEDS for packet in made])))
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return draw(st.binary(max_size=80))
    if kind == 1:
        return bytes(packet[:HEADER_BYTES]) + draw(st.binary(max_size=80))
    if kind == 2:
        packet[draw(st.integers(0, len(packet) - 1))] = draw(st.integers(0, 255))
    if kind == 3:
        return bytes(packet[: draw(st.integers(0, len(packet)))])
    return bytes(packet)


@given(st.lists(hostile(), max_size=12), st.sampled_from([None, None, 5, 6]))
@budget(max_examples=150, deadline=None)
def test_hostile_packets_are_an_error_or_a_result(packets: list[bytes], id: int | None) -> None:
    try:
        joined = join(packets, id)
    except StreamError:
        return
    assert isinstance(joined, Joined)
    assert 0 <= joined.lacking <= len(joined.missing) <= joined.count
    assert joined.left_out <= len(packets)
    if joined.stream:
        assert container.read(joined.stream).warnings == ()
    assert joined.stream or joined.warnings
    assert joined.whole or joined.warnings


@pytest.mark.parametrize(("count", "survive"), [(64, 63), (64, 62), (64, 32), (64, 8), (32, 16)])
def test_the_most_expensive_packets_take_bounded_time(count: int, survive: int) -> None:
    plan = plans(count, survive)[0]
    sent = stream(600, 600)
    made = [packet.ljust(MAX_SIZE, b"\0") for packet in plan.split(sent)]
    begun = time.process_time()
    assert join(made[survive:]).stream == sent
    assert time.process_time() - begun < 2


def test_a_process_that_has_sent_nothing_can_receive() -> None:
    """The tables of the library's field are there only once it was used."""
    made = [packet.hex() for packet in split(stream(30, 40), 3, 1)]
    script = (
        "import sys; from sempic.link.packets import join\nprint(join(map(bytes.fromhex, sys.argv[1:])).stream.hex())"
    )
    done = subprocess.run([sys.executable, "-c", script, *made[:2]], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == stream(30, 40).hex()
