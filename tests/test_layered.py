"""The layered codec end to end: on a stand-in for the weights, and on the shipped ones where they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import tracemalloc

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
from sempic.codecs import codec, enhancement, layered, tiles
from sempic.codecs.layered import LADDER, Settings
from sempic.container import Header, Section
from sempic.errors import BudgetError, InputError, SempicError, StreamError
from sempic.segmap.resample import enlarge, shrink

weights = on_both_weights("layered", stand_in.make_segmenter, stand_in.make_layered)


def encode(width: int, height: int, **options: object) -> bytes:
    image, segmap = street(width, height)
    return encode_with(image, "layered", segmap=segmap, **options)


# -- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 33), (100, 75), (240, 180)])
def test_a_picture_comes_back_in_its_size_with_the_map_that_travelled(width, height):
    image, segmap = street(width, height)
    for data in encode_at(image, "layered", (0, 15, 60), segmap=segmap, simplify=0):
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
    st.floats(0, 1),
    st.integers(1, 8),
    st.integers(0, 2**32),
)
@budget(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_size_and_any_settings_come_back(width, height, how, quality, perception, layers, seed):
    image, segmap = noise(width, height, seed)
    options = {"map": how, "quality": quality, "perception": perception, "layers": layers}
    data = encode_with(image, "layered", segmap=segmap, **options)
    decoded = sempic.decode(data)
    assert decoded.image.shape == image.shape
    assert decoded.segmap.shape == segmap.shape
    assert decoded.warnings == ()
    assert sum(part.bytes for part in sempic.inspect(data).parts) == len(data)


def test_tiles_do_not_show(monkeypatch):
    data = encode(320, 240, quality=25)
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
    streams = encode_at(image, "layered", (0, 20, 30, 50, 75, 100), segmap=segmap, layers=layers)
    sizes = [len(data) for data in streams]
    assert sizes == sorted(set(sizes))
    likeness = [psnr(image, sempic.decode(data).image) for data in streams[2:]]
    assert likeness == sorted(likeness)
    assert likeness[-1] > 34


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
    data = encode(100, 75, quality=70, layers=3, perception=0.5)
    assert sempic.decode(data, layers=0).warnings == ()
    assert sempic.decode(data[:-1], layers=0).warnings
    steps, own = 53 + objects_in(data), 12 + objects_in(data)
    base = sempic.decode(encode(100, 75, quality=100 * own / steps, perception=0.5))
    assert np.array_equal(sempic.decode(data, layers=0).image, base.image)
    with pytest.raises(InputError, match="-1"):
        sempic.decode(data, layers=-1)


def test_layers_are_as_many_as_there_is_room_for():
    image, segmap = street(100, 75)
    streams = encode_at(image, "layered", (0, 20, 25, 40, 100), segmap=segmap, layers=4)
    assert [sempic.inspect(data).detail["layers"] for data in streams] == [0, 0, 1, 2, 4]


def test_perception_moves_bytes_to_the_base():
    sizes = {}
    for perception in (0, 0.5, 1):
        info = sempic.inspect(encode(160, 120, bytes=620, perception=perception))
        sizes[perception] = {part.name: part.bytes for part in info.parts}
        assert 560 < info.bytes <= 620
    assert "features" not in sizes[0]
    assert 0 < sizes[0.5]["features"] < sizes[1]["features"]
    assert sizes[0]["layer 1"] > sizes[0.5]["layer 1"] >= sizes[1]["layer 1"]


@pytest.mark.parametrize("perception", [0, 0.3, 1])
def test_detail_costs_no_more_likeness_than_perception_allows(perception):
    image, segmap = street(160, 120)
    writer = codec("layered").analyse(image, Settings(perception=perception, segmap=segmap))
    for quality in (45, 60, 80):
        step = writer.step_of(quality)
        _, qp = LADDER[step - writer.top_rate - 1]
        data = writer.write(step)
        last, _ = enhancement.decode(read(data).payloads, 160, 120)
        without = psnr(image, last.rgb)
        allowed = perception**2 * 2 ** ((qp - 34) / 5) if qp > 30 else 0
        assert psnr(image, sempic.decode(data).image) > without - allowed - 0.1


def test_decoding_layers_takes_little_memory(monkeypatch):
    """Arrays alone, and none of the network's: of the layers only the last may stay, and planes change in place."""
    size, square = 512, 512 * 512

    def drawn(network, rows, columns, **inputs):
        return np.full((3, 16 * rows, 16 * columns), np.float32(0.5))

    monkeypatch.setattr(layered, "blend_tiled", drawn)
    data = encode(size, size, quality=60, layers=4)
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
        data = encode_with(image, "layered", segmap=segmap, bytes=limit)
        assert len(data) <= limit
        step = streams.index(data)
        assert step == writer.steps - 1 or len(streams[step + 1]) > limit


def test_a_size_below_the_floor_names_the_floor():
    with pytest.raises(BudgetError, match=r"has \d+ bytes") as caught:
        encode(160, 112, bytes=30)
    floor = int(re.search(r"has (\d+) bytes", str(caught.value)).group(1))
    assert len(encode(160, 112, bytes=floor)) == floor


def test_framing_of_a_one_section_stream_is_at_most_16_bytes():
    parts = {part.name: part.bytes for part in sempic.inspect(encode(480, 360, quality=0)).parts}
    assert parts["header"] + parts["framing"] <= 16


def test_the_ladder_ends_where_its_settings_promise():
    writer = codec("layered").analyse(street(64, 48)[0], Settings(perception=0.2))
    assert writer.steps == 1 + 5 + len(LADDER)


# -- the same everywhere ----------------------------------------------------------------------------------------------

DIGEST = """
import os, sys
from hashlib import sha256
if len(sys.argv) > 2 and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # ONNX Runtime then takes one thread
from sempic import api
from sempic.codecs import enhancement
info, reading = api.describe(open(sys.argv[1], "rb").read())
layers = [enhancement.decode(reading.payloads[:count], info.width, info.height)[0] for count in (1, 2)]
arrays = [reading.values, reading.sent_map.small, *(plane for layer in layers for plane in layer.planes)]
print(*(sha256(x.tobytes()).hexdigest() for x in arrays))
"""


def test_map_latents_and_layers_are_the_same_in_other_processes_under_other_thread_counts(tmp_path):
    path = tmp_path / "street.smp"
    path.write_bytes(encode(240, 180, quality=60, layers=2))
    digests = set()
    for threads, more in (("1", ["one"]), ("4", [])):
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        done = subprocess.run(
            [sys.executable, "-c", DIGEST, str(path), *more], env=os.environ | counts, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1
    assert len(digests.pop().split()) == 2 + 2 * 3


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


def test_a_stream_cut_anywhere_is_an_error_or_warned(weights):
    data = encode(64, 48, quality=50, layers=2)
    first, *_ = ends(data)
    for cut in [*range(0, len(data), 3 if weights == "stand-in" else 11), first, len(data) - 1]:
        if cut < first:
            for verb in (sempic.decode, sempic.inspect):
                with pytest.raises(StreamError):
                    verb(data[:cut])
        else:
            assert sempic.decode(data[:cut]).warnings
            assert sum(part.bytes for part in sempic.inspect(data[:cut]).parts) == cut


@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_a_flipped_byte_is_an_error_or_warned(weights, flip):
    data = encode(64, 48, quality=50, layers=2)
    first, *_ = ends(data)
    for place in [*range(16), *range(16, len(data), 5 if weights == "stand-in" else 17), first, len(data) - 1]:
        damaged = bytearray(data)
        damaged[place] ^= flip
        if place < first:
            with pytest.raises(SempicError):
                sempic.decode(bytes(damaged))
        else:
            assert sempic.decode(bytes(damaged)).warnings


def test_a_damaged_layer_costs_itself_and_what_follows():
    data = encode(100, 75, quality=80, layers=2)
    *_, third, _ = ends(data)
    damaged = bytearray(data)
    damaged[third + 10] ^= 4
    decoded = sempic.decode(bytes(damaged))
    assert decoded.warnings
    assert np.array_equal(decoded.image, sempic.decode(data, layers=1).image)


def test_another_models_stream_is_refused():
    check_foreign(encode(64, 48))


def test_hostile_payloads_with_correct_checks_do_no_harm(weights):
    rng = np.random.default_rng(5)
    mark = runtime.default("layered").card.fingerprint
    good = container.read(encode(64, 48, quality=50)).sections
    started = time.process_time()
    for _ in range(60 if weights == "stand-in" else 30):
        if rng.random() < 0.5:
            first = bytes((4 | int(rng.integers(16)) << 4, int(rng.integers(30)), int(rng.integers(20))))
            sections = [Section(int(rng.choice([1, 1, 1, 0, 3])), first[: rng.integers(1, 4)] + rng.bytes(40))]
            size = int(rng.integers(16, 150)), int(rng.integers(16, 150))
        else:
            sections, size = [good[0]], (64, 48)
        for _ in range(rng.integers(4)):
            payload = bytes((int(rng.integers(256)),)) + rng.bytes(int(rng.choice([0, 1, 50])))
            sections.append(good[-1] if rng.random() < 0.3 else Section(int(rng.choice([2, 3, 3, 1, 7])), payload))
        survive(container.write(Header(2, *size, mark), sections))
    assert time.process_time() - started < 60


def test_sections_swapped_or_repeated_are_errors_or_warned():
    stream = container.read(encode(64, 48, quality=70, layers=2))
    first, *others = stream.sections
    with pytest.raises(StreamError):
        sempic.decode(container.write(stream.header, others))
    for order in ([first, first, *others], [first, *others, first], [first, *others[::-1]], [first, *others, *others]):
        assert sempic.decode(container.write(stream.header, order)).warnings


# -- the command line -------------------------------------------------------------------------------------------------


def test_the_command_line_knows_layers_and_perception(tmp_path):
    from PIL import Image

    image, _ = street(100, 75)
    Image.fromarray(image).save(tmp_path / "street.png")

    options = ("--codec", "layered:layers=3", "--quality", "80", "--set", "perception=0.7")
    assert call(tmp_path, "encode", "street.png", *options).returncode == 0
    data = (tmp_path / "street.smp").read_bytes()
    assert data == encode_with(image, "layered", quality=80, layers=3, perception=0.7)
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
    data = encode(100, 75, quality=60, layers=2)
    info = sempic.inspect(data)
    assert (info.codec, info.width, info.height) == ("layered", 100, 75)
    assert (info.model, info.taxonomy) == (runtime.default("layered").card.name, stand_in.TAXONOMY.name)
    assert sum(part.bytes for part in info.parts) == info.bytes == len(data)
    assert info.detail == {"map": "quarter", "rate": 11, "layers": 2}
    objects = ["object colours"] * objects_in(data)
    names = ["header", "framing", "segmap", "palette", *objects, "features", "layer 1", "layer 2"]
    assert [part.name for part in info.parts] == names


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep": "sky=0"}, "keep"),
        ({"map": "tokens"}, "tokens"),
        ({"simplify": -1}, "-1"),
        ({"perception": 1.1}, "1.1"),
        ({"perception": float("nan")}, "nan"),
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
    known = layered.LayeredWeights(runtime.default("layered"))
    gains = np.stack([known.at_rate("log_gains", rate).ravel() for rate in range(1, known.rates + 1)])
    assert np.allclose(np.log(gains[:: layered.STEPS_BETWEEN]), known.model.tables["log_gains"], atol=1e-5)
    assert np.allclose(gains[4], np.sqrt(gains[0] * gains[8]), rtol=1e-4)
    assert [float(known.strength(rate)[0]) for rate in (0, 1, known.rates)] == [0, 0.25, 1]
