"""The channel: what is lost is known, counted, and the same each time."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from random import Random
from subprocess import CompletedProcess

import pytest
from command import call

import sempic
from sempic.link.channel import Losses, transmit

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


@pytest.mark.parametrize(("erase", "burst"), [(0.1, 1), (0.1, 3), (0.02, 8), (0.5, 2.5), (0.6, 2.5)])
def test_losses_and_bursts_are_as_many_and_as_long_as_asked(erase: float, burst: float) -> None:
    count = 500_000
    lost = Losses(erase, burst=burst).draw(count, Random(7))
    runs = [len(list(run)) for gone, run in groupby(lost) if gone]
    assert sum(lost) / count == pytest.approx(erase, rel=0.08)
    # Where each packet is lost independently, some losses follow one another by chance.
    assert sum(runs) / len(runs) == pytest.approx(burst if burst > 1 else 1 / (1 - erase), rel=0.05)


def test_the_first_packet_is_lost_as_often_as_any_other() -> None:
    losses = Losses(0.2, burst=5)
    assert sum(losses.draw(1, Random(seed))[0] for seed in range(5000)) / 5000 == pytest.approx(0.2, abs=0.02)


def test_bursts_lose_whole_packets_of_any_size_and_nothing_else() -> None:
    received = transmit(DATA, erase=0.2, seed=2, packet=51, burst=3)
    lost = Losses(0.2, 51, 3).draw(-(-len(DATA) // 51), Random(2))
    assert (received.packets, received.lost, received.flips) == (len(lost), sum(lost), 0)
    assert 0 < sum(lost) < len(lost)
    for number, gone in enumerate(lost):
        sent = DATA[51 * number : 51 * (number + 1)]
        assert received.data[51 * number : 51 * (number + 1)] == (bytes(len(sent)) if gone else sent)
    assert transmit(DATA, erase=0.2, seed=2, packet=51, burst=3) == received
    # A longer stream loses the same packets at its start: codecs with streams of other sizes are treated alike.
    assert transmit(DATA * 2, erase=0.2, seed=2, packet=51, burst=3).data.startswith(
        received.data[: len(DATA) // 51 * 51]
    )


def test_independent_losses_are_those_of_a_random_number_for_each_packet() -> None:
    chance = Random(5)
    assert Losses(0.3).draw(1000, Random(5)) == [chance.random() < 0.3 for _ in range(1000)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"erase": 1.1}, "packet's loss is 1.1"),
        ({"erase": float("nan")}, "packet's loss is nan"),
        ({"bit_errors": -0.1}, "wrong bit is -0.1"),
        ({"packet": 0}, "at least 1"),
        ({"burst": 0.5}, "burst is 0.5 packets"),
        ({"burst": float("nan")}, "burst is nan"),
        ({"burst": float("inf")}, "burst is inf"),
        ({"erase": 0.9, "burst": 3}, "Bursts of 3 packets are too short for a loss of 0.9"),
        ({"erase": 1, "burst": 3}, "too short for a loss of 1:"),
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
    done = run("-o", "bursts.smp", "--erase", "0.3", "--seed", "1", "--packet", "51", "--burst", "3")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bursts.smp").read_bytes() == transmit(GOLDEN.read_bytes(), 0.3, 0, 1, 51, 3).data
    assert b"exists" in run("-o", "out.smp").stderr
    assert run("-o", "other.smp", "--erase", "2").stderr.startswith(b"sempic: The probability")
