"""What codecs take: parts that make sense, whole processes of their own, and memory that is theirs alone."""

from __future__ import annotations

import time

import numpy as np
import pytest
import stand_in

from sempic import runtime
from sempic.bench import timing
from sempic.bench.jobs import OperatingPoint, encode_picture
from sempic.bench.results import Seconds
from sempic.codecs.spec import Spec
from sempic.rate import Target
from sempic.scene import draw

IMAGE = draw(0, 96, 64).image


@pytest.mark.parametrize("name", ["sqgan", "layered", "spic"])
def test_networks_and_entropy_coding_are_parts_of_the_whole(name):
    spec = Spec.parse(name)
    data, encoding = timing.encode(IMAGE, spec, Target(quality=20))
    assert data == encode_picture(IMAGE, spec, OperatingPoint.parse("q20")).data
    _, decoding = timing.decode(data, spec)
    for seconds in (encoding, decoding):
        assert seconds.networks > 0 < seconds.coding
        assert seconds.networks + seconds.coding <= seconds.whole


def test_protection_is_timed_too():
    spec = Spec.parse("hevc:protect=0.25")
    data, seconds = timing.encode(IMAGE, spec, Target(quality=20))
    assert data == encode_picture(IMAGE, spec, OperatingPoint.parse("q20")).data
    assert seconds.whole > seconds.networks == seconds.coding == 0


def test_only_runs_within_the_block_count():
    network = runtime.Network(stand_in.segmenter_network(stride=2), "toy")
    picture = np.zeros((1, 3, 8, 6), np.float32)
    began = time.perf_counter()
    with runtime.network_seconds() as outer:
        network.run(image=picture)
        with runtime.network_seconds() as inner:
            network.run(image=picture)
            network.run(image=picture)
    network.run(image=picture)
    assert (len(outer), len(inner)) == (1, 2)
    assert 0 < sum(outer) + sum(inner) < time.perf_counter() - began


def test_a_codec_has_processes_of_its_own():
    held = np.ones(400_000_000, np.uint8)  # which is of no concern to the codec's processes
    points = OperatingPoint.parse_all("q20,5B")
    found = timing.measure(Spec.parse("hevc"), points, [IMAGE, IMAGE[:, ::-1]])
    assert list(found.speed) == ["q20", "5B"]
    for sides in found.speed.values():
        assert all(sides[side].whole > 0 for side in ("encode", "decode"))
    for process in found.processes.values():
        assert process.start_s > 0
        assert 10 < process.peak_mb < held.nbytes / 1e6


def test_medians_are_of_each_part():
    found = timing.median([Seconds(1, 0.5, 0.2), Seconds(3, 0.25, 0.1), Seconds(2, 2, 0)])
    assert found == Seconds(2, 0.5, 0.1)
