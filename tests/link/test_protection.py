"""Protection: what it promises to make up for, what it costs, and that nothing wrong passes for right."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import numpy as np
import pytest
from command import call
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

import sempic
from sempic import api, container
from sempic.codecs import codec
from sempic.codecs.classic.hevc import Hevc
from sempic.codecs.sqgan import Settings
from sempic.container import Header, Section
from sempic.errors import InputError, StreamError
from sempic.link import protection
from sempic.link.channel import transmit
from sempic.link.protection import protect, recover
from sempic.scene import draw

GOLDEN = Path(__file__).parents[1] / "golden"
HEADER = Header(codec=7, width=480, height=360, fingerprint=0xBEEF)


def stream(first: int, later: int = 0, seed: int = 0) -> bytes:
    """A stream with a first section of so many bytes, and, if there are any, a second one."""
    chance = random.Random(seed)
    sections = [Section(1, chance.randbytes(first)), Section(2, chance.randbytes(later))]
    return container.write(HEADER, sections[: 1 + bool(later)])


def layout_of(data: bytes) -> protection._Layout:
    layout = protection._find(data)
    assert layout is not None
    return layout


def without(data: bytes, packets: list[int]) -> bytes:
    """What arrives when these packets do not."""
    size = layout_of(data).packet_bytes
    out = bytearray(data)
    for packet in packets:
        out[packet * size : (packet + 1) * size] = bytes(size)
    return bytes(out)


@given(st.integers(0, 900), st.integers(0, 900), st.floats(0.01, 1))
@budget(max_examples=25, deadline=None)
def test_what_is_protected_is_recovered_at_the_stated_cost(first: int, later: int, share: float) -> None:
    plain = stream(first, later)
    data = protect(plain, share)
    recovered = recover(data)
    assert (recovered.stream, recovered.warnings) == (plain, ())
    assert recovered.detail
    assert len(data) <= max(len(plain) * (1 + share), len(plain) * 1.1 + 80)


@pytest.mark.parametrize(("first", "later"), [(240, 350), (150, 250), (200, 1500), (600, 0), (3, 0)])
def test_as_many_packets_as_promised_may_be_lost(first: int, later: int) -> None:
    plain = stream(first, later)
    data = protect(plain)
    layout, chance = layout_of(data), random.Random(1)
    if later > 300:
        assert layout.first_parity > layout.later_parity
    for trial in range(4):
        order = list(range(layout.packets))
        if trial:  # at first a burst at the start, where a header is
            chance.shuffle(order)
        held = recover(without(data, order[: layout.later_parity]))
        assert (held.stream, held.warnings) == (plain, ())
        end = container.layout(plain)[3].offset + 2
        held = recover(without(data, order[: layout.first_parity]))
        assert held.stream[:end] == plain[:end]
        if later > 300:
            assert "dropped" in held.warnings[0]
            assert container.read(held.stream).sections == container.read(plain).sections[:1]
        with pytest.raises(StreamError, match=r"packets are missing|not a Sempic stream"):
            container.read(recover(without(data, order[: layout.first_parity + 4])).stream)


def test_wrong_bytes_are_mended_wherever_they_are() -> None:
    plain = stream(240, 350)
    data = protect(plain)
    for place in range(0, len(data), 5):
        damaged = bytearray(data)
        damaged[place] ^= 0x5A
        assert recover(bytes(damaged)).stream == plain
    noisy = transmit(data, erase=0.02, bit_errors=1e-3, seed=1)
    assert noisy.lost
    assert noisy.flips
    assert recover(noisy.data).stream == plain
    assert "wrong bytes mended" in recover(noisy.data).detail


def test_a_tail_that_is_cut_off_is_lost_packets_and_more_bytes_are_ignored() -> None:
    plain = stream(240, 350)
    data = protect(plain)
    assert recover(data[:-50]).stream == plain
    assert recover(data + b"more").stream == plain
    with pytest.raises(StreamError, match="packets are missing"):
        recover(data[:100])


def test_other_data_comes_back_as_it_is() -> None:
    for data in (b"", b"\xd5\xa6", b"\x89PNG" * 30, stream(9), bytes(500), protect(stream(9))[:6]):
        assert recover(data) == protection.Recovered(data)


def test_most_of_a_picture_arrives_at_a_tenth_lost() -> None:
    """The first section nearly always, all of it mostly: what 0.03 bpp of sqgan are like."""
    plain = stream(240, 390)
    data = protect(plain)
    assert len(data) <= 1.25 * len(plain)
    whole = usable = 0
    for seed in range(100):
        try:
            left = container.read(recover(transmit(data, 0.1, seed=seed).data).stream)
        except StreamError:
            continue
        usable += 1
        whole += len(left.sections) == 2
    assert usable >= 93
    assert whole >= 85


def test_what_cannot_be_protected_is_named() -> None:
    for share in (0, -1, 1.01, float("nan")):
        with pytest.raises(InputError, match="above 0 and at most 1"):
            protect(stream(9), share)
    with pytest.raises(InputError, match="16320 bytes"):
        protect(stream(20000))


def test_hostile_headers_cost_bounded_time() -> None:
    chance = random.Random(4)
    started = time.process_time()
    for _ in range(150):
        fields = protection.MAGIC + bytes((chance.choice((0, 7, 15, 112, 119, 255)), *chance.randbytes(3)))
        layout = protection._Layout(8, 255, 8, 126, 126)
        header = chance.choice((layout.header(), fields + bytes((protection.crc_hqx(fields, 0xFFFF) & 0xFF,))))
        data = (header + chance.randbytes(9)) * chance.choice((1, 60, 1020))
        try:
            assert len(recover(data).stream) <= 16320
        except StreamError:
            continue
    assert time.process_time() - started < 20


def test_protected_streams_of_earlier_releases_are_read() -> None:
    plain, data = (GOLDEN / "hevc-1.smp").read_bytes(), (GOLDEN / "protected-1.smp").read_bytes()
    assert recover(data).stream == plain
    assert recover(transmit(data, 0.05, seed=2).data).stream == plain


# -- through the front door -------------------------------------------------------------------------------------------


def test_the_api_wraps_and_unwraps() -> None:
    image = draw(0, 160, 120).image
    plain = sempic.encode(image, "hevc", quality=30)
    data = sempic.encode(image, "hevc", quality=30, protect=True)
    assert len(plain) < len(data) <= 1.25 * len(plain)
    assert sempic.encode(image, "hevc", quality=30, protect=0.25) == data
    received = transmit(data, 0.05, seed=3, packet=8)
    assert received.lost
    decoded = sempic.decode(received.data)
    assert np.array_equal(decoded.image, sempic.decode(plain).image)
    assert decoded.warnings == ()
    assert np.array_equal(sempic.decode(received.data, codec=Hevc()).image, decoded.image)
    info = sempic.inspect(received.data)
    assert sempic.inspect(received.data, codec=Hevc()) == info
    with pytest.raises(InputError, match="not by jpeg"):
        sempic.inspect(received.data, codec=codec("jpeg"))
    assert sum(part.bytes for part in info.parts) == info.bytes == len(data)
    assert f"{received.lost} missing" in next(part.detail for part in info.parts if part.name == "protection")
    assert info.bpp == 8 * len(data) / (160 * 120)


@pytest.mark.parametrize("limit", [400, 900, 2500])
def test_a_size_counts_the_protection(limit: int) -> None:
    image = draw(0, 160, 120).image
    data = sempic.encode(image, "hevc", bytes=limit, protect=0.4)
    assert 0.8 * limit < len(data) <= limit
    assert "protection" in [part.name for part in sempic.inspect(data).parts]


def test_steps_that_are_too_big_to_protect_do_not_end_the_search() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (320, 400, 3), np.uint8)
    assert len(sempic.encode(noise, "webp", quality=70)) > 16320
    assert 2000 < len(sempic.encode(noise, "webp", bytes=3000, protect=True)) <= 3000
    with pytest.raises(InputError, match="16320"):
        sempic.encode(noise, "webp", quality=70, protect=True)
    with pytest.raises(sempic.BudgetError):
        sempic.encode(noise, "webp", bytes=90, protect=True)


@pytest.mark.parametrize("share", [0, 0.0, -1, 3])
def test_an_impossible_share_is_a_sentence(share: float) -> None:
    with pytest.raises(InputError, match="share of protection"):
        sempic.encode(draw(0, 64, 48).image, "hevc", protect=share)


@pytest.mark.sqgan
def test_a_lost_end_of_sqgan_is_drawn_without_its_tokens() -> None:
    scene = draw(0, 240, 180)
    data = sempic.encode(scene.image, settings=Settings(segmap=scene.segmap), bytes=700, protect=True)
    layout = layout_of(data)
    assert api.describe(without(data, list(range(layout.later_parity))))[1].sent().any()
    assert layout.first_parity > layout.later_parity
    decoded = sempic.decode(without(data, list(range(layout.first_parity))))
    assert len(decoded.warnings) == 2
    assert decoded.image.shape == (180, 240, 3)
    assert np.array_equal(decoded.segmap, sempic.decode(data).segmap)


def test_the_commands(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(draw(0, 160, 120).image).save(tmp_path / "street.png")
    done = call(tmp_path, "encode", "street.png", "--codec", "hevc", "--bytes", "700", "--protect", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] <= 700
    assert call(tmp_path, "channel", "street.smp", "-o", "got.smp", "--erase", "0.05", "--seed", "4").returncode == 0
    done = call(tmp_path, "decode", "got.smp", "-o", "out.png")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"protection" in call(tmp_path, "inspect", "got.smp").stdout
