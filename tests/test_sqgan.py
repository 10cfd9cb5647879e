"""SQ-GAN end to end: on a stand-in for the weights, and on the shipped ones where they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

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
    read,
    street,
    survive,
)
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from numpy.typing import NDArray
from stand_in import scene

import sempic
from sempic import container, runtime
from sempic.codecs import codec, sqgan, tiles
from sempic.codecs.sqgan import PRIORITIES, Settings
from sempic.container import Header, Section
from sempic.errors import BudgetError, InputError, ModelError, SempicError, StreamError
from sempic.segmap.resample import enlarge, shrink

MAPS = ("full", "half", "quarter", "eighth", "tokens")


weights = on_both_weights("sqgan", stand_in.make)


def encode(width: int, height: int, **options: object) -> bytes:
    image, segmap = street(width, height)
    return encode_with(image, "sqgan", segmap=segmap, **options)


# -- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 33), (100, 75), (240, 180)])
@pytest.mark.parametrize("how", MAPS)
def test_a_picture_comes_back_in_its_size_with_the_map_that_travelled(width, height, how):
    image, segmap = street(width, height)
    decoded = sempic.decode(encode_with(image, "sqgan", segmap=segmap, map=how, simplify=0))
    assert decoded.image.shape == image.shape
    assert decoded.image.dtype == np.uint8
    assert decoded.segmap.shape == segmap.shape
    assert decoded.segmap.dtype == np.uint8
    assert decoded.warnings == ()
    if how in FACTORS:
        factor = FACTORS[how]
        assert np.array_equal(decoded.segmap, enlarge(shrink(segmap, factor), factor, height, width))
    else:
        assert np.isin(decoded.segmap, [*range(len(stand_in.TAXONOMY)), 255]).all()


def test_tiles_do_not_show(monkeypatch):
    data = encode(320, 240)
    whole = sempic.decode(data).image.astype(float)
    monkeypatch.setattr(tiles, "TILE", 16)
    tiled = sempic.decode(data).image.astype(float)
    # Normalisation sees one tile at a time, so tiles differ by a little everywhere; nobody may see where they meet.
    assert np.abs(tiled - whole).mean() < 3
    assert np.abs(tiled - whole).max() < 64


@pytest.mark.parametrize("simplify", [0, 1, 3])
def test_a_full_size_map_is_lossless_but_for_simplified_specks(simplify):
    _, segmap = street(160, 120)
    decoded = sempic.decode(encode(160, 120, map="full", simplify=simplify, quality=0))
    same = (decoded.segmap == segmap).mean()
    assert same == 1 if simplify == 0 else same > 0.9


@given(st.integers(16, 130), st.integers(16, 130), st.sampled_from(MAPS), st.floats(0, 100), st.integers(0, 2**32))
@budget(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_size_and_any_map_come_back(width, height, how, quality, seed):
    image, segmap = noise(width, height, seed)
    data = encode_with(image, "sqgan", segmap=segmap, map=how, quality=quality, simplify=0)
    decoded = sempic.decode(data)
    assert decoded.image.shape == image.shape
    assert decoded.segmap.shape == segmap.shape
    assert decoded.warnings == ()
    assert sum(part.bytes for part in sempic.inspect(data).parts) == len(data)


def test_the_segmenter_makes_the_map_where_none_is_handed_in():
    image, segmap = street(100, 75)
    decoded = sempic.decode(sempic.encode(image))
    assert (decoded.segmap == segmap).mean() > 0.15  # the stand-in only knows colours


def test_an_own_segmenter_makes_the_map(tmp_path):
    image, _ = street(64, 48)
    path = tmp_path / "mine.onnx"
    path.write_bytes(stand_in.segmenter_network(stride=2))
    assert sempic.decode(encode_with(image, "sqgan", segmenter=path)).segmap.shape == (48, 64)
    assert encode_with(image, "sqgan", segmenter=path) == encode_with(image, "sqgan", segmenter=str(path))


def test_more_tokens_come_closer_to_the_picture():
    image, _ = street(240, 180)
    errors = [
        np.abs(sempic.decode(encode(240, 180, quality=quality)).image.astype(float) - image).mean()
        for quality in (0, 100)
    ]
    assert errors[1] < errors[0]


def test_a_large_picture_works(weights):
    height, width, bands = (1024, 2048, 8) if weights == "stand-in" else (256, 1024, 2)
    image, segmap = (np.tile(x, (3, 5, 1)[: x.ndim])[:height, :width] for x in street(480, 360))
    data = encode_with(image, "sqgan", segmap=segmap, quality=30)
    decoded = sempic.decode(data)
    assert decoded.image.shape == (height, width, 3)
    assert decoded.warnings == ()
    assert (decoded.segmap == segmap).mean() > 0.9
    assert len(container.read(data).sections) == 1 + objects_in(data) + bands


def test_the_same_picture_gives_the_same_bytes():
    image, _ = street(100, 75)
    assert sempic.encode(image) == sempic.encode(image.copy())
    assert encode(100, 75, map="tokens") == encode(100, 75, map="tokens")


# -- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["quarter", "tokens"])
def test_quality_grows_the_stream(how):
    image, segmap = street(240, 180)
    sizes = [*map(len, encode_at(image, "sqgan", (0, 10, 25, 50, 75, 100), segmap=segmap, map=how))]
    assert sizes == sorted(set(sizes))


def test_quality_runs_from_no_token_to_all():
    assert not read(encode(100, 75, quality=0)).sent().any()
    assert read(encode(100, 75, quality=100)).sent().all()


def test_better_streams_send_the_tokens_of_the_worse_ones_too():
    image, segmap = street(240, 180)
    masks = [read(data).sent() for data in encode_at(image, "sqgan", (20, 40, 80), segmap=segmap)]
    assert masks[0].sum() < masks[1].sum() < masks[2].sum()
    assert not (masks[0] & ~masks[1]).any()
    assert not (masks[1] & ~masks[2]).any()


def test_a_size_is_met_never_above_and_within_a_step_below():
    image, segmap = street(160, 112)
    writer = codec("sqgan").analyse(image, Settings(segmap=segmap))
    streams = [writer.write(step) for step in range(writer.steps)]
    floor = len(streams[0])
    for limit in (floor, floor + 1, floor + 20, floor + 45, len(streams[-1]), 10_000):
        data = encode_with(image, "sqgan", segmap=segmap, bytes=limit)
        assert len(data) <= limit
        step = streams.index(data)
        assert step == writer.steps - 1 or len(streams[step + 1]) > limit


def test_bits_a_pixel_count_every_byte():
    limit = len(encode(160, 112, quality=50))
    for bits in (8 * limit, 8 * limit + 7):
        assert encode(160, 112, bpp=(bits + 0.01) / (160 * 112)) == encode(160, 112, bytes=limit)


def test_a_size_below_the_floor_names_the_floor():
    with pytest.raises(BudgetError, match=r"has \d+ bytes") as caught:
        encode(160, 112, map="quarter", bytes=30)
    floor = int(re.search(r"has (\d+) bytes", str(caught.value)).group(1))
    assert len(encode(160, 112, map="quarter", bytes=floor)) == floor
    with pytest.raises(BudgetError, match=f"has {floor} bytes"):
        encode(160, 112, map="quarter", bytes=floor - 1)


def test_framing_of_a_one_section_stream_is_at_most_16_bytes():
    parts = {part.name: part.bytes for part in sempic.inspect(encode(480, 360, quality=0)).parts}
    assert parts["header"] + parts["framing"] <= 16


# -- keep -------------------------------------------------------------------------------------------------------------

PEDESTRIAN, SKY = stand_in.TAXONOMY.id_of("pedestrian"), stand_in.TAXONOMY.id_of("sky")


@pytest.fixture(scope="module")
def crowd() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A street with pedestrians, and its map."""
    seed = next(s for s in range(50) if (shrink(scene(s, 480, 360).segmap, 16) == PEDESTRIAN).sum() >= 6)
    return street(480, 360, seed)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_keep_moves_tokens_from_sky_to_pedestrians_in_no_more_bytes(crowd, share):
    image, segmap = crowd
    least, most = map(len, encode_at(image, "sqgan", (0, 100), segmap=segmap))
    size = least + int(share * (most - least))
    even = dict.fromkeys(PRIORITIES, 0.5)
    plain = encode_with(image, "sqgan", segmap=segmap, bytes=size, keep=even)
    asked = encode_with(image, "sqgan", segmap=segmap, bytes=len(plain), keep=even | {"pedestrian": 1, "sky": 0})
    assert len(asked) <= len(plain)
    before, after = read(plain).sent(), read(asked).sent()
    people, sky = shrink(segmap, 16) == PEDESTRIAN, shrink(segmap, 16) == SKY
    assert after[people].all()
    assert after[sky].sum() <= before[sky].sum()
    # With few bytes some pedestrians are missing unless asked for; with many, some sky is sent unless it is not wanted.
    if share < 0.5:
        assert not before[people].all()
        assert not after[sky].any()
    else:
        assert after[sky].sum() < before[sky].sum()


def test_what_is_rare_goes_first_if_nothing_is_said(crowd):
    image, segmap = crowd
    even = dict.fromkeys(PRIORITIES, 0.5)
    before = read(encode_with(image, "sqgan", segmap=segmap, quality=30, keep=even)).sent()
    after = read(encode_with(image, "sqgan", segmap=segmap, quality=30)).sent()
    people = shrink(segmap, 16) == PEDESTRIAN
    assert after[people].sum() >= before[people].sum()
    assert (after != before).any()


def test_weights_of_classes_can_be_written_in_several_ways(crowd):
    image, segmap = crowd
    options = {"segmap": segmap, "quality": 30}
    plain = encode_with(image, "sqgan", **options)
    asked = encode_with(image, "sqgan", keep="pedestrian=1,sky=0", **options)
    assert asked != plain
    assert encode_with(image, "sqgan", keep="pedestrian=0.6,sky=0.4", **options) == plain
    assert encode_with(image, "sqgan", keep={"pedestrian": 1, "sky": 0}, **options) == asked
    assert encode_with(image, "sqgan", keep=" Pedestrian = 1.0 , SKY=0,", **options) == asked


# -- the same everywhere ----------------------------------------------------------------------------------------------

DIGEST = """
import os, sys
from hashlib import sha256
if len(sys.argv) > 2 and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # ONNX Runtime then takes one thread
from sempic import api
for path in sys.argv[1].split(os.pathsep):
    _, reading = api.describe(open(path, "rb").read())
    print(*(sha256(x.tobytes()).hexdigest() for x in (reading.tokens, reading.sent(), reading.sent_map.small)))
"""


def test_tokens_and_map_are_the_same_in_other_processes_under_other_thread_counts(tmp_path):
    from hashlib import sha256

    streams = {how: encode(240, 180, map=how, quality=70) for how in ("full", "quarter", "tokens")}
    for how, data in streams.items():
        (tmp_path / how).write_bytes(data)
    paths = os.pathsep.join(str(tmp_path / how) for how in streams)
    readings = map(read, streams.values())
    expected = [
        " ".join(sha256(x.tobytes()).hexdigest() for x in (r.tokens, r.sent(), r.sent_map.small)) for r in readings
    ]
    for threads, more in (("1", ["one"]), ("4", [])):
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        done = subprocess.run(
            [sys.executable, "-c", DIGEST, paths, *more], env=os.environ | counts, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == expected


# -- cut and damaged streams ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["quarter", "tokens"])
def test_a_stream_cut_after_any_section_decodes_with_a_warning(how, monkeypatch):
    monkeypatch.setattr(sqgan, "TOKENS_A_BAND", 35)
    data = encode(160, 112, quality=100, map=how)
    whole = sempic.decode(data)
    *cuts, end = ends(data)
    assert end == len(data)
    assert len(cuts) == 2 + objects_in(data)
    counts = []
    for cut in cuts:
        decoded = sempic.decode(data[:cut])
        assert decoded.image.shape == whole.image.shape
        assert np.array_equal(decoded.segmap, whole.segmap)
        assert len(decoded.warnings) == 1
        assert "cut" in decoded.warnings[0]
        counts.append(read(data[:cut]).sent().sum())
    assert counts == [0] * (1 + objects_in(data)) + [read(data).sent().size // 2]


@pytest.fixture
def short_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bands so short that a small picture has three: only the encoder knows how many tokens a band gets."""
    monkeypatch.setattr(sqgan, "TOKENS_A_BAND", 5)


@pytest.mark.usefixtures("short_bands")
@pytest.mark.parametrize("how", ["quarter", "tokens"])
def test_a_stream_cut_anywhere_is_an_error_or_warned(weights, how):
    data = encode(64, 48, quality=100, map=how)
    first, *_ = ends(data)
    assert len(ends(data)) == 4 + objects_in(data)
    steps = 1 if weights == "stand-in" else 3
    for cut in [*range(0, len(data), steps), first, len(data) - 1]:
        if cut < first:
            with pytest.raises(StreamError):
                sempic.decode(data[:cut])
            with pytest.raises(StreamError):
                sempic.inspect(data[:cut])
        else:
            decoded = sempic.decode(data[:cut])
            assert decoded.warnings
            assert sum(part.bytes for part in sempic.inspect(data[:cut]).parts) == cut


@pytest.mark.usefixtures("short_bands")
@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_flipped_byte_is_an_error_or_warned(weights, flip):
    data = encode(64, 48, quality=100)
    first, *_ = ends(data)
    steps = 1 if weights == "stand-in" else 3
    for place in [*range(16), *range(16, len(data), steps), first, first + 1, len(data) - 1]:
        damaged = bytearray(data)
        damaged[place] ^= flip
        if place < first:
            with pytest.raises(SempicError):
                sempic.decode(bytes(damaged))
        else:
            assert sempic.decode(bytes(damaged)).warnings


def test_a_damaged_band_costs_itself_and_what_follows(monkeypatch):
    monkeypatch.setattr(sqgan, "TOKENS_A_BAND", 35)
    data = encode(160, 112, quality=100)
    *_, second, _ = ends(data)
    damaged = bytearray(data)
    damaged[second + 10] ^= 4
    decoded = sempic.decode(bytes(damaged))
    assert decoded.warnings
    assert np.array_equal(decoded.image, sempic.decode(data[:second]).image)


def test_another_models_stream_is_refused():
    check_foreign(encode(64, 48))


def test_hostile_payloads_with_correct_checks_do_no_harm(weights):
    rng = np.random.default_rng(5)
    mark = runtime.default("sqgan").card.fingerprint
    started = time.process_time()
    for _ in range(150 if weights == "stand-in" else 40):
        size = int(rng.integers(16, 150)), int(rng.integers(16, 150))
        sections = [Section(int(rng.choice([1, 1, 1, 2, 0, 3])), payload(rng))]
        sections += [Section(int(rng.choice([3, 3, 3, 3, 1, 2, 7])), payload(rng)) for _ in range(rng.integers(4))]
        survive(container.write(Header(1, *size, mark), sections))
    assert time.process_time() - started < 60


def payload(rng: np.random.Generator) -> bytes:
    """Random bytes that often begin as a map of a known kind does, or all alike."""
    length = int(rng.choice([0, 1, 2, 5, 50, 500]))
    first = int(rng.choice([1, 2, 4, 8, 0, 3, 15])) | int(rng.integers(16)) << 4
    if rng.random() < 0.2:
        return bytes((first,)) + bytes((int(rng.choice([0, 255])),)) * length
    return bytes((first,))[: rng.integers(0, 2) + (length == 0)] + rng.bytes(length)


@pytest.mark.parametrize("how", [1, 2, 4, 8])
def test_a_small_hostile_stream_of_a_large_picture_costs_bounded_time(how):
    mark = runtime.default("sqgan").card.fingerprint
    started = time.process_time()
    sections = [Section(1, bytes((how,)) + b"\xff" * 40), *[Section(3, b"\x12\x34\x56\x78" * 4)] * 254]
    decoded = survive(container.write(Header(1, 320, 320, mark), sections))
    assert decoded is None or decoded.warnings
    assert time.process_time() - started < 20


@pytest.mark.usefixtures("short_bands")
def test_sections_swapped_or_repeated_are_errors_or_warned():
    stream = container.read(encode(64, 48, quality=100))
    first, *bands = stream.sections
    with pytest.raises(StreamError):
        sempic.decode(container.write(stream.header, bands))
    for order in ([first, first, *bands], [first, *bands, first], [first, *bands, *bands]):
        decoded = sempic.decode(container.write(stream.header, order))
        assert decoded.warnings


# -- inspect ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", MAPS)
def test_inspect_tells_what_every_byte_is_spent_on(how):
    data = encode(400, 300, quality=60, map=how)
    info = sempic.inspect(data)
    assert (info.codec, info.width, info.height) == ("sqgan", 400, 300)
    assert (info.model, info.taxonomy) == (runtime.default("sqgan").card.name, stand_in.TAXONOMY.name)
    assert sum(part.bytes for part in info.parts) == info.bytes == len(data)
    assert info.bpp == 8 * len(data) / (400 * 300)
    assert info.detail["map"] == how
    assert info.detail["tokens"] == read(data).sent().sum() == round(0.6 * 475)
    assert info.detail["positions"] == 475
    objects = ["object colours"] * objects_in(data)
    names = ["header", "framing", "segmap", "palette", *objects, "tokens, band 1", "tokens, band 2"]
    assert [part.name for part in info.parts] == names


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"colour": 1}, "colour"),
        ({"map": "sixteenth"}, "sixteenth"),
        ({"map_kept": 1.5}, "1.5"),
        ({"map_kept": float("nan")}, "nan"),
        ({"simplify": -1}, "-1"),
        ({"keep": "dragon=1"}, "dragon"),
        ({"keep": "sky"}, "sky"),
        ({"keep": "sky=much"}, "much"),
        ({"keep": "sky=1.5"}, "1.5"),
        ({"keep": "sky=nan"}, "nan"),
        ({"keep": {"sky": -0.1}}, "-0.1"),
        ({"keep": {"sky": "much"}}, "much"),
        ({"keep": {"sky": None}}, "sky"),
        ({"segmap": np.zeros((48, 63), np.uint8)}, "shape"),
        ({"segmap": np.zeros((48, 64, 1), np.uint8)}, "shape"),
        ({"segmap": np.zeros((48, 64), np.int64)}, "int64"),
        ({"segmap": np.full((48, 64), 12, np.uint8)}, "class 12"),
        ({"segmap": np.full((48, 64), 254, np.uint8)}, "254"),
        ({"quality": 101}, "101"),
        ({"quality": -1}, "-1"),
        ({"bpp": 0}, "bpp"),
        ({"quality": 5, "bytes": 500}, "only one"),
    ],
)
def test_settings_that_make_no_sense_are_named(options, says):
    image, _ = street(64, 48)
    with pytest.raises(InputError, match=re.escape(says)):
        encode_with(image, "sqgan", **options)


@pytest.mark.parametrize("how", MAPS)
def test_void_is_a_class_like_any_other(how):
    image, segmap = street(64, 48)
    segmap = segmap.copy()
    segmap[:, 20:44] = 255
    decoded = sempic.decode(encode_with(image, "sqgan", segmap=segmap, map=how, simplify=0))
    if how in ("full", "half", "quarter"):
        assert ((decoded.segmap == 255) == (segmap == 255)).mean() > 0.95
    nothing = sempic.decode(encode_with(image, "sqgan", segmap=np.full((48, 64), 255, np.uint8), map=how))
    if how in FACTORS:
        assert (nothing.segmap == 255).all()


def test_the_map_as_tokens_is_better_the_more_are_kept(weights):
    image, segmap = street(240, 180)
    streams = [
        encode_with(image, "sqgan", segmap=segmap, map="tokens", map_kept=kept, quality=0) for kept in (0, 0.5, 1)
    ]
    assert len(streams[0]) < min(len(streams[1]), len(streams[2]))
    right = [(sempic.decode(data).segmap == segmap).mean() for data in streams]
    assert right[0] < right[1] <= right[2] + 0.02
    assert right[2] > 0.7


def test_a_model_without_a_network_says_so(weights, tmp_path, monkeypatch):
    if weights == "shipped":
        pytest.skip("the shipped model is whole")
    import shutil

    source = Path(os.environ["SEMPIC_MODELS"])
    shutil.copytree(source, tmp_path / "models")
    (tmp_path / "models" / stand_in.SQGAN / "decoder.onnx").unlink()
    monkeypatch.setenv("SEMPIC_MODELS", str(tmp_path / "models"))
    with pytest.raises(ModelError, match=r"decoder\.onnx"):
        sempic.decode(encode(64, 48))
