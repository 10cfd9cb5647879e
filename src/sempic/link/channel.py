"""A bad link: packets that never arrive, and bits that arrive wrong.

A stream is cut into packets of equal size. The link numbers its packets, as every packet link does, so a receiver knows
which are missing: it leaves zeros in their place, and what follows stays where it belongs.

Losses follow the model of Gilbert (1960), a Gilbert-Elliott model whose bad state loses every packet and whose good
state loses none: a Markov chain of two states with one step a packet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from sempic.errors import InputError

PACKET = 16
"""Bytes a packet where nothing else is asked for: near what the narrowest links carry (LoRaWAN: 11 to 222)."""


def check_probability(value: float, of: str) -> float:
    """Return a probability; raise `InputError`, which says of what it is one, where it is outside 0..1."""
    if not 0 <= value <= 1:
        raise InputError(f"The probability of a {of} is {value}; it must be from 0 to 1.")
    return value


@dataclass(frozen=True)
class Losses:
    """How a link loses packets. Raises `InputError` for values that no link can have.

    erase: the probability (0 to 1) of a packet's loss.
    packet: the bytes of a packet, at least 1.
    burst: how many packets in a row are lost on average; 1 where each is lost independently of all others. Independent
        losses come in runs of 1 / (1 - erase) packets, so any other burst must be at least as long.
    """

    erase: float = 0.0
    packet: int = PACKET
    burst: float = 1.0

    def __post_init__(self) -> None:
        check_probability(self.erase, "packet's loss")
        if self.packet < 1:
            raise InputError(f"A packet cannot have {self.packet} bytes; it must have at least 1.")
        if not 1 <= self.burst < math.inf:
            raise InputError(f"The mean length of a burst is {self.burst} packets; it must be a number from 1.")
        if self.burst > 1 > self.burst * (1 - self.erase):
            raise InputError(
                f"Bursts of {self.burst:g} packets are too short for a loss of {self.erase:g}: independent losses "
                "already come in longer ones. Take longer bursts, or 1 for independent losses."
            )

    @property
    def said(self) -> str:
        """What is lost how, as a phrase: "packets of 16 bytes, independently"."""
        how = f"in bursts of {self.burst:g} packets on average" if self.burst > 1 else "independently"
        return f"packets of {self.packet} bytes, {how}"

    def draw(self, count: int, chance: Random) -> list[bool]:
        """Return for each of `count` packets whether it is lost; takes one random number for each."""
        stay = enter = self.erase  # the probability of a loss after a loss, and after a packet that arrived
        if self.burst > 1:
            stay, enter = 1 - 1 / self.burst, self.erase / (1 - self.erase) / self.burst
        lost = list[bool]()
        now = self.erase  # the first packet is lost as often as any other
        for _ in range(count):
            lost.append(chance.random() < now)
            now = stay if lost[-1] else enter
        return lost


LOSSLESS = Losses()


@dataclass(frozen=True)
class Received:
    """What arrives of a stream, and what happened to it on the way; `flips` counts bits of packets that arrived."""

    data: bytes
    packets: int
    lost: int
    flips: int


def transmit(
    data: bytes,
    erase: float = 0.0,
    bit_errors: float = 0.0,
    seed: int = 0,
    packet: int = PACKET,
    burst: float = 1.0,
) -> Received:
    """Return what arrives of a stream that is sent over a link. The same seed loses the same packets, whatever the bit
    errors, on every machine.

    Args:
        data: the stream.
        erase: the probability (0 to 1) with which a packet is lost.
        bit_errors: the probability (0 to 1) with which a bit of the other packets is flipped, independently of all
            others.
        seed: 0 or more.
        packet: the bytes of a packet; the last one may be shorter.
        burst: how many packets in a row are lost on average; with 1 they are lost independently, and any other burst
            must have at least 1 / (1 - erase) packets, the mean of independent losses.

    Raises:
        InputError: a value is outside its range.
    """
    losses = Losses(erase, packet, burst)
    check_probability(bit_errors, "wrong bit")
    if seed < 0:
        raise InputError(f"The seed is {seed}; it must be 0 or more.")
    chance = Random(seed)  # its random() is promised to stay the same in every release of Python
    starts = range(0, len(data), packet)
    lost = losses.draw(len(starts), chance)
    out, flips = bytearray(len(data)), 0
    for start, gone in zip(starts, lost, strict=True):
        if gone:
            continue
        for place in range(start, min(start + packet, len(data))):
            wrong = sum((chance.random() < bit_errors) << bit for bit in range(8)) if bit_errors else 0
            out[place] = data[place] ^ wrong
            flips += wrong.bit_count()
    return Received(bytes(out), len(starts), sum(lost), flips)
