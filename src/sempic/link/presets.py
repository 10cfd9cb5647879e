"""Links by name: what a packet of each carries, and how long it is on the air.

    lora-sf7bw125           as LoRaWAN is used in Europe
    lora-sf7bw125:us915     a link's other variant: here the same in North America
    udp:9600                a link without a modulation of its own, at so many bits a second

Sizes and rates, with their sources, are in `docs/guide/narrow.md`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sempic.errors import InputError

_SLOW_SYMBOL = 0.016
"""Seconds a symbol from which on the low data rate optimisation is mandatory."""


@dataclass(frozen=True)
class LoRa:
    """How a LoRa radio is set.

    spreading: the spreading factor, 7 to 12.
    bandwidth: in Hz.
    coding: parity bits for each four bits, 1 (coding rate 4/5) to 4 (4/8).
    preamble: programmed symbols of preamble.
    explicit: whether packets have a LoRa header.
    crc: whether packets have a check.
    """

    spreading: int
    bandwidth: int = 125_000
    coding: int = 1
    preamble: int = 8
    explicit: bool = True
    crc: bool = True

    def seconds(self, size: int) -> float:
        """Return the time on air of a packet of so many bytes, as SX1276's data sheet (4.1.1.7) computes it."""
        symbol = (1 << self.spreading) / self.bandwidth
        slow = symbol >= _SLOW_SYMBOL
        bits = 8 * size - 4 * self.spreading + 28 + 16 * self.crc - 20 * (not self.explicit)
        blocks = max(0, math.ceil(bits / (4 * (self.spreading - 2 * slow))))
        return (self.preamble + 4.25 + 8 + blocks * (self.coding + 4)) * symbol


@dataclass(frozen=True)
class Link:
    """A link that carries packets.

    name: as `find` takes it.
    size: the most bytes that a packet carries for us.
    radio: the modulation, for LoRa links.
    rate: bits a second, for others; None where that depends on what is below.
    overhead: bytes that the link adds to each packet.
    duty: the share of time in which a sender may be on the air.
    """

    name: str
    size: int
    radio: LoRa | None = None
    rate: float | None = None
    overhead: int = 0
    duty: float = 1.0

    def seconds(self, size: int) -> float | None:
        """Return the time on air of a packet that carries so many bytes; None where the link has no rate."""
        if self.radio:
            return self.radio.seconds(size + self.overhead)
        return 8 * (size + self.overhead) / self.rate if self.rate else None

    def airtime(self, sizes: Sequence[int]) -> Airtime:
        """Return how long packets that carry so many bytes are on the air."""
        times = [time for size in sizes if (time := self.seconds(size)) is not None]
        total = sum(times) if times else None
        return Airtime(self.name, len(sizes), max(sizes, default=0), total, self.duty)

    def airtime_of(self, size: int) -> Airtime:
        """Return how long a stream of so many bytes is on the air, cut into packets and without any header of ours."""
        whole, rest = divmod(size, self.size)
        return self.airtime([self.size] * whole + [rest] * bool(rest))


@dataclass(frozen=True)
class Airtime:
    """How long packets take over a link.

    link: its name.
    packets: how many there are.
    size: the bytes that the largest of them carries.
    seconds: how long all of them are on the air; None where the link has no rate.
    duty: the share of time in which a sender may be on the air.
    """

    link: str
    packets: int
    size: int
    seconds: float | None
    duty: float

    @property
    def period(self) -> float | None:
        """After how many seconds the duty cycle allows as much again; None where the link has no rate."""
        return None if self.seconds is None else self.seconds / self.duty

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain values, ready for `json.dumps`; times are in seconds."""
        times = {"seconds": self.seconds, "period": self.period}
        rounded = {name: None if value is None else round(value, 6) for name, value in times.items()}
        return {"link": self.link, "packets": self.packets, "packet_bytes": self.size, "duty": self.duty} | rounded

    def __str__(self) -> str:
        """Return the same as half a sentence."""
        text = f"{self.link}: {self.packets} packet{'s' * (self.packets != 1)} of up to {self.size} bytes"
        if self.seconds is None:
            return text
        text += f", {self.seconds:.3f} s on the air"
        return text if self.duty == 1 else f"{text}; at a duty cycle of {self.duty:.0%}, once in {self.period:.1f} s"


def _lorawan(spreading: int, europe: int, america: int | None) -> dict[str, Link]:
    """Return the variants of LoRaWAN with one spreading factor, by the payloads that each region allows."""
    link = Link(f"lora-sf{spreading}bw125", europe, LoRa(spreading), overhead=13, duty=0.01)
    found = {"eu868": link}
    if america is not None:
        found["us915"] = replace(link, size=america, duty=1.0)
    return found


_MESHTASTIC = Link("meshtastic", 231, LoRa(11, 250_000, preamble=16), overhead=24, duty=0.1)
_IRIDIUM = Link("iridium-sbd", 340, rate=2400)

LINKS: dict[str, dict[str, Link]] = {
    "lora-sf7bw125": _lorawan(7, 222, 242),
    "lora-sf8bw125": _lorawan(8, 222, 125),
    "lora-sf9bw125": _lorawan(9, 115, 53),
    "lora-sf10bw125": _lorawan(10, 51, 11),
    "lora-sf11bw125": _lorawan(11, 51, None),
    "lora-sf12bw125": _lorawan(12, 51, None),
    "meshtastic": {"eu868": _MESHTASTIC, "us915": replace(_MESHTASTIC, duty=1.0)},
    "iridium-sbd": {"up": _IRIDIUM, "down": replace(_IRIDIUM, size=270)},
    "nb-iot": {"": Link("nb-iot", 512, rate=25_000)},
    "sms": {"": Link("sms", 140)},
    "udp": {"": Link("udp", 1200)},
}
"""Each link's variants by name; the first one is meant where none is named."""


def find(text: str) -> Link:
    """Return a link by name, with the name of a variant or a rate behind it if you like; see the top of the module.

    Raises `InputError`, which lists what there is, for other names, and for a rate that makes no sense.
    """
    name, _, variant = text.partition(":")
    if name not in LINKS:
        raise InputError(f"There is no link '{name}'; known are {', '.join(LINKS)}.")
    variants = LINKS[name]
    link = next(iter(variants.values()))
    if not variant:
        return link
    if variant in variants:
        return replace(variants[variant], name=text)
    if variant.isdecimal() and int(variant) and not link.radio:
        return replace(link, name=text, rate=int(variant))
    known = [*filter(None, variants)] + ["a number of bits a second"] * (link.radio is None)
    raise InputError(f"The link {name} has no variant '{variant}'; it takes {' or '.join(known)}.")
