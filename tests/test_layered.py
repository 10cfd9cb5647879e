"""The layered codec end to end: on a stand-in for the weights, and on the shipped ones where they are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
import stand_in
from codec_cases import (
    FACTORS,
    check_foreign,
    encode_at,
    encode_with,
    ends,
    noise,
    objects_in,
    on_both_weights,
    psnr,
    read,
    street,
    survive,
)
from command import call
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

import sempic
from sempic import container, runtime
from sempic.codecs import codec, enhancement, layered, layered_latents, tiles
from sempic.codecs.classic.picture import ladder
from sempic.codecs.layered import DETAIL_COST, LADDER, Settings
from sempic.codecs.layered_latents import LayeredSection
from sempic.container import Header, Section
from sempic.errors import BudgetError, InputError, ModelError, SempicError, StreamError
from sempic.segmap.resample import enlarge, shrink

weights = on_both_weights("layered", stand_in.make_segmenter, stand_in.make_layered)


def encode(width: int, height: int, **options: object) -> bytes:
    image, segmap = street(width, height)
    return encode_with(image, "layered", segmap=segmap, **options)


def writer_of(width: int, height: int, **options: object) -> Any:
    image, segmap = street(width, height)
    return codec("layered").analyse(image, Settings(segmap=segmap, **options))


def steps_of(writer: Any) -> tuple[range, range, range]:
    """Return the steps with base latents alone, those with fine latents, and those with layers."""
    first, rates = 1 + len(writer.colours.objects), writer.weights.rates
    return range(first, first + rates), range(first + rates, first + 2 * rates), range(first + 2 * rates, writer.steps)


# -- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 33), (100, 75), (240, 180)])
def test_a_picture_comes_back_in_its_size_with_the_map_that_travelled(width, height):
    image, segmap = street(width, height)
    for data in encode_at(image, "layered", (0, 20, 50, 80), segmap=segmap, simplify=0):
        decoded = sempic.decode(data)
        assert decoded.image.shape == image.shape
        assert decoded.image.dtype == np.uint8
        assert decoded.warnings == ()
        assert np.array_equal(decoded.segmap, enlarge(shrink(segmap, 4), 4, height, width))


@given(
    st.integers(16, 100),
    st.integers(16, 100),
    st.sampled_from(sorted(FACTORS)),
    st.floats(0, 100),
    st.integers(1, 8),
    st.integers(0, 2**32),
)
@budget(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_size_and_any_settings_come_back(width, height, how, quality, layers, seed):
    image, segmap = noise(width, height, seed)
    data = encode_with(image, "layered", segmap=segmap, map=how, quality=quality, layers=layers)
    decoded = sempic.decode(data)
    assert decoded.image.shape == image.shape
    assert decoded.segmap.shape == segmap.shape
    assert decoded.warnings == ()
    assert sum(part.bytes for part in sempic.inspect(data).parts) == len(data)


@pytest.mark.parametrize("quality", [25, 55])
def test_tiles_do_not_show(monkeypatch, quality):
    data = encode(320, 240, quality=quality)
    whole = sempic.decode(data).image.astype(float)
    monkeypatch.setattr(tiles, "TILE", 16)
    # Networks see one tile at a time, so tiles differ by a little everywhere; nobody may see where they meet.
    assert np.abs(sempic.decode(data).image - whole).mean() < 3


@pytest.mark.parametrize("how", FACTORS)
def test_the_map_travels_at_any_size(how):
    image, segmap = street(100, 75)
    data = encode_with(image, "layered", segmap=segmap, map=how, simplify=0, quality=0)
    expected = enlarge(shrink(segmap, FACTORS[how]), FACTORS[how], 75, 100)
    assert np.array_equal(sempic.decode(data).segmap, expected)


def test_the_segmenter_makes_the_map_where_none_is_handed_in():
    image, segmap = street(100, 75)
    decoded = sempic.decode(encode_with(image, "layered", quality=0))
    assert (decoded.segmap == segmap).mean() > 0.15  # the stand-in only knows colours


def test_the_same_picture_gives_the_same_bytes():
    image, _ = street(100, 75)
    assert encode_with(image, "layered", layers=3) == encode_with(image.copy(), "layered", layers=3)


# -- quality and layers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 4])
def test_quality_grows_the_stream_and_the_likeness(layers):
    image, segmap = street(160, 120)
    writer = writer_of(160, 120, layers=layers)
    base, fine, top = steps_of(writer)
    steps = [0, base[8], base[-1], fine[12], fine[-1], top[0], top[7], top[14], top[-1]]
    streams = [writer.write(step) for step in steps]
    sizes = [len(data) for data in streams]
    assert sizes == sorted(set(sizes))
    likeness = [psnr(image, sempic.decode(data).image) for data in streams[2:]]
    assert likeness == sorted(set(likeness))
    assert likeness[-1] > 34
    sizes = [len(data) for data in encode_at(image, "layered", (0, 20, 50, 85, 100), segmap=segmap, layers=layers)]
    assert sizes == sorted(set(sizes))


def test_fine_latents_bring_the_picture_closer(weights):
    image, _ = street(160, 120)
    writer = writer_of(160, 120)
    base, fine, _ = steps_of(writer)
    without, *rising = (psnr(image, sempic.decode(writer.write(step)).image) for step in (base[-1], *fine[8::8]))
    # A network that was trained for looks as well may lose a little likeness from one rate to the next.
    gain, loss = (0.5, 0) if weights == "stand-in" else (0.2, 0.1)
    assert min(np.diff(rising)) > -loss
    assert rising[0] > without
    assert rising[-1] > without + gain


def test_steps_are_rates_of_the_base_then_of_fine_latents_then_layers():
    writer = writer_of(64, 48)
    rates, found = writer.weights.rates, []
    for step in range(writer.steps):
        data = writer.write(step)
        detail, head = sempic.inspect(data).detail, container.read(data).sections[0].payload
        assert head[1] == detail["rate"] + detail["fine_rate"]
        found.append((detail["rate"], detail["fine_rate"], detail["layers"]))
    assert found == [
        *[(0, 0, 0)] * (1 + len(writer.colours.objects)),
        *((rate, 0, 0) for rate in range(1, rates + 1)),
        *((rates, rate, 0) for rate in range(1, rates + 1)),
        *[(rates, 0, 1)] * len(LADDER),
    ]


def test_layers_come_closer_one_by_one():
    image, _ = street(160, 120)
    data = encode(160, 120, quality=100, layers=4)
    assert sempic.inspect(data).detail["layers"] == 4
    pictures = [sempic.decode(data, layers=count).image for count in range(5)]
    likeness = [psnr(image, picture) for picture in pictures]
    assert likeness == sorted(likeness)
    assert min(np.diff(likeness)) > 1
    assert likeness[-1] > 34
    assert np.array_equal(pictures[-1], sempic.decode(data).image)
    assert np.array_equal(pictures[-1], sempic.decode(data, layers=9).image)


def test_asking_for_fewer_layers_is_no_damage():
    writer = writer_of(100, 75, layers=3)
    base, fine, layers = steps_of(writer)
    expected = sempic.decode(writer.write(base[-1])).image
    for step, count in ((fine[-1], 1), (layers[-1], 3)):
        data = writer.write(step)
        assert read(data).layers == count
        assert sempic.decode(data, layers=0).warnings == ()
        assert sempic.decode(data[:-1], layers=0).warnings
        assert np.array_equal(sempic.decode(data, layers=0).image, expected)
        assert np.array_equal(sempic.decode(data, layers=count).image, sempic.decode(data).image)
        assert not np.array_equal(sempic.decode(data).image, expected)
        with pytest.raises(InputError, match="-1"):
            sempic.decode(data, layers=-1)


def test_layers_are_as_many_as_there_is_room_for():
    writer = writer_of(100, 75, layers=4)
    base, fine, top = steps_of(writer)
    steps = [0, base[-1], fine[-1], top[0], top[12], top[17], top[18], top[-1]]
    none, few, rest = np.split([sempic.inspect(writer.write(step)).detail["layers"] for step in steps], (3, 4))
    assert (none.tolist(), rest.tolist()) == ([0, 0, 0], [3, 3, 4, 4])
    assert 1 <= few[0] <= 3  # it starts above all fine latents


def test_bytes_go_to_the_base_then_to_fine_latents_then_to_layers():
    writer = writer_of(160, 120)
    base, fine, layers = steps_of(writer)
    streams = [writer.write(step) for step in (base[0], base[-1], fine[0], fine[12], fine[-1], layers[9], layers[-1])]
    parts = [{part.name: part.bytes for part in sempic.inspect(data).parts} for data in streams]
    sizes = [len(data) for data in streams]
    assert sizes == sorted(set(sizes))
    best = parts[1]["features"]
    assert 0 < parts[0]["features"] < best
    assert all(part["features"] == best for part in parts[1:])
    kinds = [part.keys() & {"fine features", "layer 1"} for part in parts]
    assert kinds == [set(), set(), *[{"fine features"}] * 3, *[{"layer 1"}] * 2]
    assert 0 < parts[2]["fine features"] < parts[3]["fine features"] < parts[4]["fine features"]
    assert parts[4]["fine features"] < parts[5]["layer 1"] < parts[6]["layer 1"]


@pytest.mark.parametrize("count", [1, 4])
def test_layers_start_where_they_are_larger_than_all_fine_latents(monkeypatch, count):
    coarser = ladder(quarter=(), half=range(50, 41, -2), full=range(47, 15, -4))
    monkeypatch.setattr(layered, "LADDER", coarser)
    writer = writer_of(160, 120, layers=count)
    base, fine, layers = steps_of(writer)
    largest = writer.write(fine[-1])
    streams = [writer.write(step) for step in layers]
    assert all(len(data) > len(largest) for data in streams)
    skipped = streams.count(streams[0]) - 1
    assert skipped > 0  # the coarsest of this ladder are smaller
    if count == 1:
        image, drawn = street(160, 120)[0], sempic.decode(writer.write(base[-1])).image
        (left_out,) = enhancement.encode(image, drawn, [coarser[skipped - 1]], DETAIL_COST)
        assert len(left_out) <= len(container.read(largest).sections[-1].payload)
        assert len(set(streams[skipped:])) == len(coarser) - skipped


def test_no_layer_is_coded_twice(monkeypatch):
    coded, encode_layers = [], enhancement.encode

    def count(image, drawn, steps, decibels):
        coded.append(tuple(steps))
        return encode_layers(image, drawn, steps, decibels)

    monkeypatch.setattr(enhancement, "encode", count)
    writer = writer_of(64, 48)
    for step in [*range(writer.steps), *reversed(range(writer.steps))]:
        writer.write(step)
    assert len(coded) == len(set(coded)) <= len(LADDER)


def test_detail_costs_no_more_likeness_than_it_may():
    image, _ = street(160, 120)
    writer = writer_of(160, 120)
    base, _, layers = steps_of(writer)
    drawn = sempic.decode(writer.write(base[-1])).image
    strengths = []
    for number in (0, 3, 8, 18):
        scale, qp = LADDER[number]
        payloads = enhancement.encode(image, drawn, [(scale, qp)], DETAIL_COST)
        last, _ = enhancement.decode(payloads, 160, 120)
        allowed = 1.2 * 2 ** ((qp - 34) / 5)
        assert psnr(image, last.shown(drawn)) > psnr(image, last.rgb) - allowed - 0.1
        strengths.append(last.strength)
        if number >= 8:
            assert read(writer.write(layers[number])).payloads == payloads
    assert strengths[0] > 0
    assert strengths == sorted(strengths, reverse=True)


def test_decoding_layers_takes_little_memory(monkeypatch):
    """Arrays alone, and none of the network's: of the layers only the last may stay, and planes change in place."""
    size, square = 512, 512 * 512

    def drawn(network, rows, columns, **inputs):
        return np.full((3, 16 * rows, 16 * columns), np.float32(0.5))

    monkeypatch.setattr(layered_latents, "blend_tiled", drawn)
    data = encode(size, size, quality=95, layers=4)
    assert sempic.inspect(data).detail["layers"] == 4
    sempic.decode(data)  # what is loaded once does not count
    tracemalloc.start()
    try:
        sempic.decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= 40 * square


# -- sizes ------------------------------------------------------------------------------------------------------------


def test_a_size_is_met_never_above_and_within_a_step_below():
    image, segmap = street(96, 64)
    writer = codec("layered").analyse(image, Settings(segmap=segmap))
    streams = [writer.write(step) for step in range(writer.steps)]
    floor = len(streams[0])
    for limit in (floor, floor + 1, floor + 60, floor + 400, len(streams[-1])):
        data = encode_with(image, "layered", segmap=segmap, map="quarter", bytes=limit)
        assert len(data) <= limit
        step = len(streams) - 1 - streams[::-1].index(data)
        assert step == writer.steps - 1 or len(streams[step + 1]) > limit


def test_a_size_below_the_floor_names_the_floor():
    with pytest.raises(BudgetError, match=r"has \d+ bytes") as caught:
        encode(160, 112, map="quarter", bytes=30)
    floor = int(re.search(r"has (\d+) bytes", str(caught.value)).group(1))
    assert len(encode(160, 112, map="quarter", bytes=floor)) == floor


def test_framing_of_a_one_section_stream_is_at_most_16_bytes():
    parts = {part.name: part.bytes for part in sempic.inspect(encode(480, 360, quality=0)).parts}
    assert parts["header"] + parts["framing"] <= 16


# -- the same everywhere ----------------------------------------------------------------------------------------------

DIGEST = """
import os, sys
from hashlib import sha256
if len(sys.argv) > 2 and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # ONNX Runtime then takes one thread
from sempic import api
from sempic.codecs import enhancement
info, reading = api.describe(open(sys.argv[1], "rb").read())
layers = [enhancement.decode(reading.payloads[:count + 1], info.width, info.height)[0]
          for count in range(len(reading.payloads))]
arrays = [reading.latents.base, reading.latents.fine, reading.sent_map.small]
arrays += [plane for layer in layers for plane in layer.planes]
print(*(sha256(x.tobytes()).hexdigest() for x in arrays))
"""


@pytest.mark.parametrize(("quality", "planes"), [(55, 0), (88, 2 * 3)])
def test_map_latents_and_layers_are_the_same_in_other_processes_under_other_thread_counts(tmp_path, quality, planes):
    path = tmp_path / "street.smp"
    path.write_bytes(encode(240, 180, quality=quality, layers=2))
    digests = set()
    for threads, more in (("1", ["one"]), ("4", [])):
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        done = subprocess.run(
            [sys.executable, "-c", DIGEST, str(path), *more], env=os.environ | counts, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1
    assert len(digests.pop().split()) == 3 + planes


# -- cut and damaged streams ------------------------------------------------------------------------------------------


def test_a_stream_cut_after_any_section_decodes_with_a_warning():
    data = encode(100, 75, quality=100, layers=3)
    *cuts, end = ends(data)
    assert end == len(data)
    assert len(cuts) == 4 + objects_in(data)
    for count, cut in enumerate(cuts, -objects_in(data)):
        decoded = sempic.decode(data[:cut])
        assert len(decoded.warnings) == 1
        assert "cut" in decoded.warnings[0]
        assert sempic.inspect(data[:cut]).detail["layers"] == max(0, count - 1)
        if count > 0:
            assert np.array_equal(decoded.image, sempic.decode(data, layers=count - 1).image)


def test_a_stream_cut_before_its_fine_latents_shows_the_base():
    data = encode(100, 75, quality=55)
    *_, cut, _ = ends(data)
    decoded, detail = sempic.decode(data[:cut]), sempic.inspect(data[:cut]).detail
    assert len(decoded.warnings) == 1
    assert "cut" in decoded.warnings[0]
    assert (detail["rate"], detail["fine_rate"], read(data[:cut]).layers) == (25, 0, 0)
    assert np.array_equal(decoded.image, sempic.decode(data, layers=0).image)
    assert not np.array_equal(decoded.image, sempic.decode(data).image)


@pytest.mark.parametrize("quality", [50, 85])
def test_a_stream_cut_anywhere_is_an_error_or_warned(weights, quality):
    data = encode(64, 48, quality=quality, layers=2)
    first, *_ = ends(data)
    for cut in [*range(0, len(data), 3 if weights == "stand-in" else 11), first, len(data) - 1]:
        if cut < first:
            for verb in (sempic.decode, sempic.inspect):
                with pytest.raises(StreamError):
                    verb(data[:cut])
        else:
            assert sempic.decode(data[:cut]).warnings
            assert sum(part.bytes for part in sempic.inspect(data[:cut]).parts) == cut


@pytest.mark.parametrize("quality", [50, 85])
@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_a_flipped_byte_is_an_error_or_warned(weights, flip, quality):
    data = encode(64, 48, quality=quality, layers=2)
    first, *_ = ends(data)
    for place in [*range(16), *range(16, len(data), 5 if weights == "stand-in" else 17), first, len(data) - 1]:
        damaged = bytearray(data)
        damaged[place] ^= flip
        if place < first:
            with pytest.raises(SempicError):
                sempic.decode(bytes(damaged))
        else:
            assert sempic.decode(bytes(damaged)).warnings


@pytest.mark.parametrize(("quality", "left"), [(55, 0), (90, 1)])
def test_damaged_fine_latents_or_a_layer_cost_themselves_and_what_follows(quality, left):
    data = encode(100, 75, quality=quality, layers=2)
    assert read(data).layers == left + 1
    *_, last, _ = ends(data)
    damaged = bytearray(data)
    damaged[last + 10] ^= 4
    decoded = sempic.decode(bytes(damaged))
    assert decoded.warnings
    assert np.array_equal(decoded.image, sempic.decode(data, layers=left).image)


def test_another_models_stream_is_refused():
    check_foreign(encode(64, 48))


def test_hostile_payloads_with_correct_checks_do_no_harm(weights):
    rng = np.random.default_rng(5)
    mark = runtime.default("layered").card.fingerprint
    streams = [container.read(encode(64, 48, quality=quality)).sections for quality in (50, 85)]
    started = time.process_time()
    for turn in range(80 if weights == "stand-in" else 40):
        good = streams[turn % 2]
        if rng.random() < 0.5:
            first = bytes((4 | int(rng.integers(16)) << 4, int(rng.integers(60)), int(rng.integers(20))))
            sections = [Section(int(rng.choice([1, 1, 1, 0, 3, 4])), first[: rng.integers(1, 4)] + rng.bytes(40))]
            size = int(rng.integers(16, 150)), int(rng.integers(16, 150))
        else:
            sections, size = [good[0]], (64, 48)
        for _ in range(rng.integers(4)):
            payload = bytes((int(rng.integers(256)),)) + rng.bytes(int(rng.choice([0, 1, 50])))
            sections.append(
                good[-1] if rng.random() < 0.3 else Section(int(rng.choice([2, 3, 3, 4, 4, 1, 7])), payload)
            )
        survive(container.write(Header(2, *size, mark), sections))
    assert time.process_time() - started < 60


def test_any_bytes_are_fine_latents_or_damaged_and_others_than_announced_are_none():
    data = encode(64, 48, quality=55)
    stream, base = container.read(data), sempic.decode(data, layers=0).image
    *before, fine = stream.sections
    assert fine.type == LayeredSection.FINE_FEATURES
    for payload in (b"", b"\xff", bytes(500), np.random.default_rng(0).bytes(3000)):
        other = container.write(stream.header, [*before, Section(fine.type, payload)])
        latents, warnings = read(other).latents, survive(other).warnings
        assert latents.fine.shape[1:] == (2 * 3, 2 * 4)
        assert np.abs(latents.fine).max() <= layered_latents.LIMIT
        # Most bytes are latents; those that cannot be are said to be damaged, and the base is drawn.
        assert not warnings or (not latents.fine_rate and "The entropy-coded data is damaged" in warnings[0])
    for kind in (LayeredSection.LAYER, LayeredSection.FEATURES):
        decoded = sempic.decode(container.write(stream.header, [*before, Section(kind, fine.payload)]))
        assert f"its type is {kind}," in decoded.warnings[0]
        assert np.array_equal(decoded.image, base)


def test_an_own_number_beyond_all_rates_is_refused():
    stream = container.read(encode(64, 48, quality=55))
    (first, *others), highest = stream.sections, 2 * 25

    def with_own(number: int) -> bytes:
        payload = bytes((first.payload[0], number)) + first.payload[2:]
        return container.write(stream.header, [Section(first.type, payload), *others])

    for number in (highest + 1, 255):
        for verb in (sempic.decode, sempic.inspect):
            with pytest.raises(StreamError, match="a rate that its model does not have"):
                verb(with_own(number))
    assert sempic.inspect(with_own(highest)).detail["fine_rate"] == 25
    # Under other rates the same bytes mean other numbers, which still are numbers.
    assert np.abs(read(with_own(highest)).latents.fine).max() <= layered_latents.LIMIT


@pytest.mark.parametrize("quality", [55, 90])
def test_sections_swapped_or_repeated_are_errors_or_warned(quality):
    stream = container.read(encode(64, 48, quality=quality, layers=2))
    first, *others = stream.sections
    with pytest.raises(StreamError):
        sempic.decode(container.write(stream.header, others))
    for order in ([first, first, *others], [first, *others, first], [first, *others[::-1]], [first, *others, *others]):
        assert sempic.decode(container.write(stream.header, order)).warnings


# -- the command line -------------------------------------------------------------------------------------------------


def test_the_command_line_knows_layers(tmp_path):
    from PIL import Image

    image, _ = street(100, 75)
    Image.fromarray(image).save(tmp_path / "street.png")

    options = ("--codec", "layered:map=half", "--quality", "95", "--set", "layers=3")
    assert call(tmp_path, "encode", "street.png", *options).returncode == 0
    data = (tmp_path / "street.smp").read_bytes()
    assert data == encode_with(image, "layered", quality=95, layers=3, map="half")
    assert sempic.inspect(data).detail["layers"] == 3
    for layers, count in (("base", 0), ("2", 2), ("all", None)):
        done = call(tmp_path, "decode", "street.smp", "-o", f"{layers}.png", "--layers", layers)
        assert (done.returncode, done.stderr) == (0, b"")
        decoded = np.asarray(Image.open(tmp_path / f"{layers}.png"))
        assert np.array_equal(decoded, sempic.decode(data, layers=count).image)
    done = call(tmp_path, "decode", "street.smp", "-o", "x.png", "--layers", "most")
    assert done.returncode == 2
    assert b"'most'" in done.stderr


# -- inspect and settings ---------------------------------------------------------------------------------------------


def test_inspect_tells_what_every_byte_is_spent_on():
    writer = writer_of(100, 75, layers=2)
    _, fine, layers = steps_of(writer)
    for step, rate, more in ((fine[8], 9, ["fine features"]), (layers[-1], 0, ["layer 1", "layer 2"])):
        info = sempic.inspect(data := writer.write(step))
        assert (info.codec, info.width, info.height) == ("layered", 100, 75)
        assert (info.model, info.taxonomy) == (runtime.default("layered").card.name, stand_in.TAXONOMY.name)
        assert sum(part.bytes for part in info.parts) == info.bytes == len(data)
        assert info.detail == {"map": "quarter", "rate": 25, "fine_rate": rate, "layers": 0 if rate else 2}
        objects = ["object colours"] * objects_in(data)
        names = ["header", "framing", "segmap", "palette", *objects, "features", *more]
        assert [part.name for part in info.parts] == names


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep": "sky=0"}, "keep"),
        ({"map": "tokens"}, "tokens"),
        ({"simplify": -1}, "-1"),
        ({"perception": 0.5}, "'perception' is not a setting"),
        ({"layers": 0}, "not 0"),
        ({"layers": 9}, "not 9"),
        ({"layers": 2.5}, "not 2.5"),
        ({"segmap": np.zeros((48, 63), np.uint8)}, "shape"),
    ],
)
def test_settings_that_make_no_sense_are_named(options, says):
    image, _ = street(64, 48)
    with pytest.raises(InputError, match=re.escape(says)):
        encode_with(image, "layered", **options)


def test_void_is_a_class_like_any_other():
    image, _ = street(64, 48)
    nothing = np.full((48, 64), 255, np.uint8)
    assert (sempic.decode(encode_with(image, "layered", segmap=nothing)).segmap == 255).all()


def test_a_step_between_rates_lies_between_their_gains():
    known = layered_latents.LayeredWeights(runtime.default("layered"))
    for part in ("base", "fine"):
        gains = np.stack([known.at_rate(part, "log_gains", rate).ravel() for rate in range(1, known.rates + 1)])
        trained = known.model.tables[f"{part}.log_gains"]
        assert np.allclose(np.log(gains[:: layered_latents.STEPS_BETWEEN]), trained, atol=1e-5)
        assert np.allclose(gains[4], np.sqrt(gains[0] * gains[8]), rtol=1e-4)
    assert [float(known.strength(rate)[0]) for rate in (0, 1, known.rates)] == [0, 0.25, 1]


def test_latents_of_both_kinds_come_back_under_their_own_tables():
    known, rng = layered_latents.LayeredWeights.of(runtime.default("layered")), np.random.default_rng(3)
    quarter = rng.choice([0, 3, 10, 255], (12, 20)).astype(np.uint8)
    nothing = known.nothing(3, 5)
    assert (nothing.base.shape[1:], nothing.fine.shape[1:]) == ((3, 5), (6, 10))
    for part, empty, rate, type in (
        ("base", nothing.base, 7, LayeredSection.FEATURES),
        ("fine", nothing.fine, 25, LayeredSection.FINE_FEATURES),
    ):
        sent = rng.integers(-3, 4, empty.shape).astype(np.int8)
        section = known.encode_latents(part, sent, quarter, rate)
        assert section.type == type
        assert np.array_equal(known.decode_latents(part, section.payload, quarter, rate), sent)


def test_a_model_without_fine_latents_is_one_sentence(tmp_path):
    folder = tmp_path / "earlier"
    shutil.copytree(runtime.default("layered").folder, folder)
    with np.load(folder / runtime.TABLES) as tables:
        kept = {name: array for name, array in tables.items() if not name.startswith(("base.", "fine."))}
    np.savez(folder / runtime.TABLES, **kept)
    stand_in.write_card(folder, "layered")
    fingerprint = runtime.Model(folder).card.fingerprint
    data = container.write(Header(2, 64, 48, fingerprint), container.read(encode(64, 48)).sections)
    for use in (lambda: encode(64, 48, model=str(folder)), lambda: sempic.decode(data, model=str(folder))):
        with pytest.raises(ModelError, match=r"earlier has no tables 'base\.'"):
            use()
