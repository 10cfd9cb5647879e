"""The channel: what is lost is known, counted, and the same each time."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from command import call

import sempic
from sempic.link.channel import transmit

DATA = bytes(range(1, 256)) * 40 + b"and a shorter packet"
GOLDEN = Path(__file__).parents[1] / "golden" / "hevc-1.smp"


def test_a_perfect_channel_changes_nothing() -> None:
    received = transmit(DATA)
    assert (received.data, received.lost, received.flips) == (DATA, 0, 0)
    assert received.packets == -(-len(DATA) // 16)


def test_a_lost_packet_is_zeros_where_it_was() -> None:
    received = transmit(DATA, erase=0.1, seed=1, packet=64)
    assert len(received.data) == len(DATA)
    lost = 0
    for start in range(0, len(DATA), 64):
        sent, got = DATA[start : start + 64], received.data[start : start + 64]
        assert got in (sent, bytes(len(sent)))
        lost += got != sent
    assert lost == received.lost
    assert 0.04 < lost / received.packets < 0.16
    assert transmit(DATA, erase=1).data == bytes(len(DATA))


def test_bits_are_flipped_as_often_as_asked() -> None:
    received = transmit(DATA, bit_errors=0.01, seed=3)
    flips = sum((a ^ b).bit_count() for a, b in zip(DATA, received.data, strict=True))
    assert flips == received.flips
    assert 0.008 < flips / (8 * len(DATA)) < 0.012


def test_the_seed_decides_and_bit_errors_do_not_change_which_packets_are_lost() -> None:
    first = transmit(DATA, 0.1, 1e-3, seed=5)
    assert transmit(DATA, 0.1, 1e-3, seed=5) == first
    assert transmit(DATA, 0.1, 1e-3, seed=6) != first
    quiet = transmit(DATA, 0.1, 0, seed=5)
    assert quiet.lost == first.lost
    # What a stranger's machine must lose as well.
    gone = [n for n in range(0, len(DATA), 16) if not any(quiet.data[n : n + 16])]
    assert [n // 16 for n in gone[:4]] == [6, 16, 26, 45]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"erase": 1.1}, "packet's loss is 1.1"),
        ({"erase": float("nan")}, "packet's loss is nan"),
        ({"bit_errors": -0.1}, "wrong bit is -0.1"),
        ({"packet": 0}, "at least 1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_channels_are_sentences(options: dict, says: str) -> None:
    with pytest.raises(sempic.InputError, match=says):
        transmit(DATA, **options)


def test_the_command(tmp_path: Path) -> None:
    def run(*arguments: str) -> CompletedProcess[bytes]:
        return call(tmp_path, "channel", GOLDEN, *arguments)

    done = run("-o", "out.smp", "--erase", "0.3", "--bit-errors", "1e-3", "--seed", "1", "--packet", "64", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    expected = transmit(GOLDEN.read_bytes(), 0.3, 1e-3, 1, 64)
    assert (tmp_path / "out.smp").read_bytes() == expected.data
    assert (report["packets"], report["lost"], report["flips"]) == (expected.packets, expected.lost, expected.flips)
    assert b"exists" in run("-o", "out.smp").stderr
    assert run("-o", "other.smp", "--erase", "2").stderr.startswith(b"sempic: The probability")
