"""Links by name: time on air as it is published, and sizes that keep what the regions demand."""

from __future__ import annotations

import json

import pytest

from sempic.errors import InputError
from sempic.link.presets import LINKS, LoRa, find

PUBLISHED = [
    # (spreading factor, bytes of the LoRa packet, milliseconds), at 125 kHz and 4/5, with header, check, 8 symbols
    # A. van Bentem's spreadsheet of AN1200.13 on the pages of The Things Network: 24 bytes and 13 of LoRaWAN.
    (7, 37, 82.176), (8, 37, 143.872), (9, 37, 267.264), (10, 37, 493.568), (11, 37, 1069.056), (12, 37, 1974.272),
    # His earlier spreadsheet.
    (9, 13, 164.864),
    # The documentation of lora-modulation 0.1.4.
    (9, 12, 144.384),
    # The examples of the calculator of rfwireless-world.com.
    (7, 10, 41.216), (11, 10, 577.536),
]  # fmt: skip


@pytest.mark.parametrize(("spreading", "size", "milliseconds"), PUBLISHED)
def test_time_on_air_is_as_published(spreading: int, size: int, milliseconds: float) -> None:
    assert LoRa(spreading).seconds(size) == pytest.approx(milliseconds / 1000, abs=1e-9)


@pytest.mark.parametrize(("spreading", "period"), [(7, 8.218), (8, 14.387), (9, 26.726), (10, 49.357), (11, 106.906)])
def test_the_duty_cycle_is_as_published(spreading: int, period: float) -> None:
    """The same spreadsheet: the time between the starts of packets at 1 %."""
    airtime = find(f"lora-sf{spreading}bw125").airtime([24])
    assert airtime.period == pytest.approx(period, abs=5e-4)


def test_each_setting_of_the_radio_counts() -> None:
    """By hand, from the formula: symbols times the duration of one."""
    assert LoRa(7, 250_000).seconds(10) == pytest.approx(41.216e-3 / 2)
    assert LoRa(7, preamble=16).seconds(10) == pytest.approx(41.216e-3 + 8 * 1.024e-3)
    assert LoRa(7, coding=4).seconds(10) == pytest.approx((12.25 + 8 + 4 * 8) * 1.024e-3)
    assert LoRa(7, explicit=False).seconds(10) == pytest.approx((12.25 + 8 + 3 * 5) * 1.024e-3)
    assert LoRa(7, crc=False).seconds(8) == pytest.approx((12.25 + 8 + 3 * 5) * 1.024e-3)
    assert LoRa(12).seconds(0) == pytest.approx((12.25 + 8) * 32.768e-3 + 5 * 0)
    # Low data rate optimisation is on from 16 ms a symbol: SF 12 at 250 kHz has it, SF 11 has not.
    assert LoRa(12, 250_000).seconds(51) == pytest.approx(LoRa(12).seconds(51) / 2)
    assert LoRa(11, 250_000).seconds(51) < LoRa(11).seconds(51) / 2


def test_what_north_america_allows_stays_within_its_dwell_time() -> None:
    for name, variants in LINKS.items():
        if name.startswith("lora") and "us915" in variants:
            link = variants["us915"]
            seconds = link.seconds(link.size)
            assert seconds is not None
            assert 0.36 < seconds < 0.4


def test_no_packet_is_longer_than_a_lora_radio_takes() -> None:
    for variants in LINKS.values():
        for link in variants.values():
            assert not link.radio or link.size + link.overhead <= 255


def test_links_without_a_modulation_have_a_rate_or_none() -> None:
    assert find("iridium-sbd").airtime([340, 340]).seconds == pytest.approx(2 * 340 * 8 / 2400)
    assert find("iridium-sbd:down").size == 270
    assert find("udp").airtime([1200]).seconds is None
    assert find("udp:9600").airtime([1200]).seconds == pytest.approx(1)
    assert str(find("sms").airtime([140, 9])) == "sms: 2 packets of up to 140 bytes"
    assert find("udp").airtime([]).to_json()["seconds"] is None


def test_a_stream_is_cut_into_packets_of_the_link() -> None:
    link = find("lora-sf7bw125")
    airtime = link.airtime_of(500)
    assert (airtime.packets, airtime.size) == (3, 222)
    assert airtime == link.airtime([222, 222, 56])
    assert link.airtime_of(222).packets == 1
    assert airtime.period == pytest.approx(100 * (airtime.seconds or 0))
    report = json.loads(json.dumps(airtime.to_json()))
    assert report["link"] == "lora-sf7bw125"
    assert report["period"] == pytest.approx(airtime.period, abs=1e-6)
    assert "at a duty cycle of 1%, once in" in str(airtime)
    assert "duty" not in str(find("lora-sf7bw125:us915").airtime_of(500))


def test_variants_go_by_name() -> None:
    assert find("lora-sf10bw125:us915").size == 11
    assert find("lora-sf10bw125:us915").name == "lora-sf10bw125:us915"
    assert find("lora-sf10bw125:eu868").size == find("lora-sf10bw125").size == 51


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lora", "known are lora-sf7bw125"),
        ("", "known are"),
        ("lora-sf12bw125:us915", "it takes eu868"),
        ("lora-sf7bw125:9600", "it takes eu868 or us915"),
        ("udp:0", "a number of bits a second"),
        ("udp:-5", "a number of bits a second"),
        ("iridium-sbd:left", "up or down or a number"),
    ],
)
def test_unknown_links_are_sentences(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        find(text)
