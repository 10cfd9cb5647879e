"""A bad link: packets that never arrive, and bits that arrive wrong.

A stream is cut into packets of equal size. The link numbers its packets, as every packet link does, so a receiver knows
which are missing: it leaves zeros in their place, and what follows stays where it belongs.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from sempic.errors import InputError

PACKET = 16
"""Bytes a packet where nothing else is asked for: near what the narrowest links carry (LoRaWAN: 11 to 222)."""


@dataclass(frozen=True)
class Received:
    """What arrives of a stream, and what happened to it on the way; `flips` counts bits of packets that arrived."""

    data: bytes
    packets: int
    lost: int
    flips: int


def check_probability(value: float, of: str) -> float:
    """Return a probability; raise `InputError`, which says of what it is one, where it is outside 0..1."""
    if not 0 <= value <= 1:
        raise InputError(f"The probability of a {of} is {value}; it must be from 0 to 1.")
    return value


def transmit(data: bytes, erase: float = 0.0, bit_errors: float = 0.0, seed: int = 0, packet: int = PACKET) -> Received:
    """Return what arrives of a stream that is sent in packets of `packet` bytes (the last one may be shorter).

    Each packet is lost with the probability `erase`, each bit of the others is flipped with the probability
    `bit_errors`, independently of all others. The same seed loses the same packets, whatever the bit errors, on every
    machine. Raises `InputError` for a probability outside 0..1, a packet without bytes or a negative seed.
    """
    check_probability(erase, "packet's loss")
    check_probability(bit_errors, "wrong bit")
    if packet < 1:
        raise InputError(f"A packet cannot have {packet} bytes; it must have at least 1.")
    if seed < 0:
        raise InputError(f"The seed is {seed}; it must be 0 or more.")
    chance = Random(seed)  # its random() is promised to stay the same in every release of Python
    starts = range(0, len(data), packet)
    lost = [chance.random() < erase for _ in starts]
    out, flips = bytearray(len(data)), 0
    for start, gone in zip(starts, lost, strict=True):
        if gone:
            continue
        for place in range(start, min(start + packet, len(data))):
            wrong = sum((chance.random() < bit_errors) << bit for bit in range(8)) if bit_errors else 0
            out[place] = data[place] ^ wrong
            flips += wrong.bit_count()
    return Received(bytes(out), len(starts), sum(lost), flips)
