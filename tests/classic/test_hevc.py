"""HEVC intra without parameter sets: exact, small, ordered, and safe with damaged payloads."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import sempic
from sempic import container
from sempic.codecs import codec
from sempic.codecs.classic.hevc import LADDER, Hevc
from sempic.container import Header, Section

HEVC = Hevc()
GOLDEN = Path(__file__).parents[1] / "golden" / "hevc-1.smp"
GOLDEN_PSNR = 27.29


def scene(width: int, height: int) -> NDArray[np.uint8]:
    """A picture with slopes, edges and texture, drawn in integers so that it is the same everywhere."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // width, y * 255 // height, (x + 2 * y) % 128], axis=-1)
    image[height // 3 : height // 2, width // 4 : width // 2] = (220, 40, 60)
    image[(x - width // 2) ** 2 + (y - height // 2) ** 2 < (height // 5) ** 2] = (40, 60, 170)
    return (image // 2 + (x * y % 7)[..., None] * 4).astype(np.uint8)


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def at(step: int, image: NDArray[np.uint8]) -> bytes:
    return Hevc().analyse(image, Hevc.Settings()).write(step)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (33, 100), (64, 64), (121, 90), (136, 72)])
@pytest.mark.parametrize("step", [0, 18, 30, 63])
def test_round_trip_at_odd_sizes(size: tuple[int, int], step: int) -> None:
    image = scene(*size)
    decoded = sempic.decode(at(step, image))
    assert decoded.image.shape == image.shape
    assert decoded.image.dtype == np.uint8
    assert decoded.warnings == ()
    assert psnr(decoded.image, image) > (12 if step < 30 else 20)


def test_sizes_and_quality_grow_with_the_step() -> None:
    image = scene(200, 120)
    streams = [at(step, image) for step in range(0, len(LADDER), 7)]
    sizes = [len(stream) for stream in streams]
    assert sizes == sorted(sizes)
    assert sizes[0] < 80
    quality = [psnr(sempic.decode(stream).image, image) for stream in streams]
    assert all(better > worse - 0.3 for worse, better in pairwise(quality))
    assert quality[-1] > 30


def compress(image: NDArray[np.uint8], qp: int) -> bytes:
    """Return a picture as slice data at a QP."""
    height, width, _ = image.shape
    return HEVC.compress(HEVC.shrink(image, width, height), qp)


def test_small_framing() -> None:
    image = scene(480, 360)
    stream = at(10, image)
    payload = container.read(stream).sections[0].payload
    assert len(stream) - len(payload) <= 15
    assert psnr(HEVC.enlarge(HEVC.expand(payload, 120, 90), 480, 360), image) > 20


def test_the_same_picture_gives_the_same_bytes() -> None:
    image = scene(90, 70)
    assert compress(image, 30) == compress(image, 30)


def test_damaged_payloads_decode_or_raise_stream_errors() -> None:
    image = scene(96, 64)
    payload = compress(image, 40)
    chance = random.Random(7)
    for trial in range(150):
        damaged = bytearray(payload)
        if trial % 3 == 0:
            damaged = damaged[: chance.randrange(len(damaged))]
        elif trial % 3 == 1:
            damaged[chance.randrange(len(damaged))] ^= chance.randrange(1, 256)
        else:
            damaged = bytearray(chance.randbytes(chance.randrange(300)))
        data = container.write(Header(Hevc.id, 96, 64), [Section(1, bytes(damaged))])
        try:
            assert sempic.decode(data).image.shape == image.shape
        except sempic.StreamError:
            continue


def test_a_payload_cannot_bring_its_own_parameter_sets() -> None:
    forged = b"\xaf\x00\x00\x01\x42\x01" + bytes(range(40))
    with pytest.raises(sempic.StreamError, match="start code"):
        sempic.decode(container.write(Header(Hevc.id, 64, 64), [Section(1, forged)]))


def test_unknown_sections() -> None:
    first = Section(1, compress(scene(64, 64), 40))
    decoded = sempic.decode(container.write(Header(Hevc.id, 64, 64), [first, Section(77, b"later")]))
    assert "ignored" in decoded.warnings[0]
    with pytest.raises(sempic.StreamError, match="type 77"):
        sempic.decode(container.write(Header(Hevc.id, 64, 64), [Section(77, b"later"), first]))


def test_golden_stream_decodes_for_ever() -> None:
    """The HEVC decoder is exact, but colours and scaling are PIL's, hence the tolerance."""
    data = GOLDEN.read_bytes()
    decoded = sempic.decode(data)
    assert decoded.image.shape == (90, 121, 3)
    assert psnr(decoded.image, scene(121, 90)) == pytest.approx(GOLDEN_PSNR, abs=0.05)
    info = sempic.inspect(data)
    assert (info.codec, info.bytes) == ("hevc", len(data))


def test_codec_has_its_id() -> None:
    assert codec("hevc").id == 32
