"""SPIC end to end: on a stand-in for the weights, and on the shipped ones where they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zlib

import numpy as np
import pytest
import stand_in
from codec_cases import (
    FACTORS,
    check_foreign,
    decode_with,
    encode_at,
    encode_with,
    ends,
    noise,
    on_both_weights,
    psnr,
    read,
    street,
    survive,
)
from command import call, on_terminal
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

import sempic
from sempic import container, runtime
from sempic.codecs import codec, sampler, tiles
from sempic.codecs.classic.webp import WebP
from sempic.codecs.spec import Spec
from sempic.codecs.spic import STEPS, Options, Settings, Spic
from sempic.codecs.spic_parts import ClassicCoarseCoder
from sempic.container import Header, Section
from sempic.errors import BudgetError, InputError, SempicError, StreamError
from sempic.segmap.resample import enlarge, shrink

weights = on_both_weights("spic", stand_in.make_segmenter, stand_in.make_spic)


def encode(width: int, height: int, **options: object) -> bytes:
    image, segmap = street(width, height)
    return encode_with(image, "spic", segmap=segmap, **options)


# -- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 33), (100, 75), (240, 180)])
@pytest.mark.parametrize("quality", [0, 50])
def test_a_picture_comes_back_in_its_size_with_the_map_that_travelled(width, height, quality):
    image, segmap = street(width, height)
    data = encode(width, height, quality=quality)
    decoded = sempic.decode(data)
    assert decoded.image.shape == image.shape
    assert decoded.image.dtype == np.uint8
    assert decoded.warnings == ()
    assert np.array_equal(read(data).sent_map.small, shrink(segmap, 4))
    assert np.array_equal(decoded.segmap, enlarge(shrink(segmap, 4), 4, height, width))


@given(
    st.integers(16, 130),
    st.integers(16, 130),
    st.sampled_from(sorted(FACTORS)),
    st.floats(0, 100),
    st.sampled_from([3, 4, 6]),
    st.integers(0, 255),
    st.integers(0, 2**32),
)
@budget(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_size_and_any_settings_come_back(width, height, how, quality, scale, seed, content):
    image, segmap = noise(width, height, content)
    options = {"map": how, "quality": quality, "scale": scale, "seed": seed}
    data = encode_with(image, "spic", segmap=segmap, **options)
    decoded = sempic.decode(data)
    assert decoded.image.shape == image.shape
    assert np.array_equal(decoded.segmap, enlarge(shrink(segmap, FACTORS[how]), FACTORS[how], height, width))
    assert decoded.warnings == ()
    info = sempic.inspect(data)
    assert sum(part.bytes for part in info.parts) == len(data)
    assert info.detail == {"map": how, "scale": info.detail["scale"], "seed": seed}
    assert info.detail["scale"] in (0, scale)


def test_lossless_means_lossless():
    image, segmap = street(101, 75)
    assert np.array_equal(sempic.decode(encode_with(image, "spic", segmap=segmap, map="full")).segmap, segmap)


def test_simplifying_makes_the_map_smaller():
    sizes = [len(encode(240, 180, quality=0, simplify=strength)) for strength in (0, 0.5, 2)]
    assert sizes == sorted(set(sizes), reverse=True)


def test_tiles_do_not_show(monkeypatch):
    data = encode(320, 240)
    whole = sempic.decode(data).image.astype(float)
    monkeypatch.setattr(tiles, "TILE", 16)
    assert np.abs(sempic.decode(data).image - whole).mean() < 3


def test_a_large_picture_is_drawn_in_tiles(weights):
    if weights == "shipped":
        pytest.skip("takes its time")
    image = np.tile(street(480, 360)[0], (1, 3, 1))[:96]
    data = encode_with(image, "spic", segmap=np.zeros((96, 1440), np.uint8))
    assert psnr(sempic.decode(data).image, decode_with(data, steps=0).image) > 15


def test_the_segmenter_makes_the_map_where_none_is_handed_in():
    image, segmap = street(100, 75)
    decoded = sempic.decode(encode_with(image, "spic", quality=0))
    assert (decoded.segmap == segmap).mean() > 0.15  # the stand-in only knows colours


def test_void_is_a_class_like_any_other():
    image, _ = street(64, 48)
    nothing = np.full((48, 64), 255, np.uint8)
    for quality in (0, 50):
        decoded = sempic.decode(encode_with(image, "spic", segmap=nothing, quality=quality))
        assert (decoded.segmap == 255).all()


# -- sizes ------------------------------------------------------------------------------------------------------------


def test_quality_grows_the_stream_and_the_likeness():
    image, segmap = street(240, 180)
    streams = encode_at(image, "spic", (0, 10, 30, 60, 100), segmap=segmap)
    sizes = [len(data) for data in streams]
    assert sizes == sorted(set(sizes))
    likeness = [psnr(image, decode_with(data, steps=0).image) for data in streams]
    assert likeness == sorted(likeness)
    assert "coarse picture" not in [part.name for part in sempic.inspect(streams[0]).parts]


def test_a_size_is_met_never_above_and_within_a_step_below():
    image, segmap = street(96, 64)
    writer = codec("spic").analyse(image, Settings(segmap=segmap))
    streams = [writer.write(step) for step in range(writer.steps)]
    assert writer.steps == 1 + len(ClassicCoarseCoder().levels)
    floor = len(streams[0])
    for limit in (floor, floor + 60, len(streams[-1])):
        data = encode_with(image, "spic", segmap=segmap, map="quarter", bytes=limit)
        assert len(data) <= limit
        step = streams.index(data)
        assert step == writer.steps - 1 or len(streams[step + 1]) > limit


def test_a_size_below_the_floor_names_the_floor():
    with pytest.raises(BudgetError, match=r"has \d+ bytes") as caught:
        encode(160, 112, map="quarter", bytes=20)
    floor = int(re.search(r"has (\d+) bytes", str(caught.value)).group(1))
    assert len(encode(160, 112, map="quarter", bytes=floor)) == floor


@pytest.mark.parametrize("scale", [3, 4, 6])
def test_the_coarse_picture_shows_the_picture_at_its_place(scale):
    image, _ = street(237, 179)  # with half a pixel to the side, the likeness would be less
    shown = decode_with(encode(237, 179, quality=100, scale=scale), steps=0).image
    likeness = {shift: psnr(image[8:-8, 8:-8], np.roll(shown, shift, (0, 1))[8:-8, 8:-8]) for shift in (-1, 0, 1)}
    assert max(likeness, key=likeness.__getitem__) == 0
    assert likeness[0] > 20


# -- options of decoding ----------------------------------------------------------------------------------------------


def test_steps_are_network_passes_and_guidance_doubles_them():
    data, passed = encode(64, 48), []
    for options, passes in (({}, STEPS), ({"steps": 0}, 0), ({"steps": 1}, 1), ({"steps": 3, "guidance": 2}, 6)):
        decode_with(data, progress=lambda done, total: passed.append((done, total)), **options)
        assert passed[-1:] == [(passes, passes)] * bool(passes)
        passed.clear()


def test_steps_guidance_and_seed_change_the_picture():
    data = encode(100, 75, quality=30)
    default = sempic.decode(data).image
    pictures = [default] + [
        decode_with(data, **options).image
        for options in ({"steps": 0}, {"steps": 2}, {"steps": 9}, {"guidance": 2}, {"guidance": 0}, {"seed": 1})
    ]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    assert np.array_equal(decode_with(data, seed=0, steps=STEPS, guidance=1).image, default)
    assert np.array_equal(sempic.decode(encode(100, 75, quality=30, seed=9)).image, decode_with(data, seed=9).image)


def test_colours_do_not_shift():
    data = encode(160, 120, quality=40)
    coarse = decode_with(data, steps=0).image.astype(float)
    for options in ({}, {"steps": 4}, {"guidance": 2}):
        shift = (decode_with(data, **options).image - coarse).mean((0, 1))
        assert np.abs(shift).max() < 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": -1}, "from 0 to 50"),
        ({"steps": 51}, "51"),
        ({"steps": 2.5}, "2.5"),
        ({"guidance": -0.1}, "-0.1"),
        ({"guidance": float("nan")}, "nan"),
        ({"seed": -1}, "-1"),
        ({"seed": 2**32}, "4294967295"),
    ],
)
def test_options_that_make_no_sense_are_named(options, says):
    with pytest.raises(InputError, match=re.escape(says)):
        decode_with(encode(64, 48), **options)


def test_names_of_other_options_are_refused():
    says = "'step' is not a setting of the codec spic; it knows classes, map, model, scale, seed, segmap, segmenter, "
    with pytest.raises(InputError, match=f"^{says}simplify, guidance, steps, protect"):
        Spec.parse("spic:step=3")


def test_other_codecs_know_no_such_options():
    data = sempic.encode(street(64, 48)[0], "hevc")
    with pytest.raises(InputError, match=r"takes sempic\.codecs\.base\.Options, not sempic\.codecs\.spic\.Options"):
        sempic.decode(data, options=Options(steps=3))
    with pytest.raises(InputError, match="'steps' is not a setting of the codec hevc"):
        Spec.parse("hevc:steps=3")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep": "sky=0"}, "keep"),
        ({"map": "tokens"}, "tokens"),
        ({"simplify": -1}, "-1"),
        ({"scale": 5}, "scale can be 3, 4 or 6, not '5'"),
        ({"seed": 256}, "256"),
        ({"seed": 1.5}, "1.5"),
        ({"segmap": np.zeros((48, 63), np.uint8)}, "shape"),
    ],
)
def test_settings_that_make_no_sense_are_named(options, says):
    with pytest.raises(InputError, match=re.escape(says)):
        encode_with(street(64, 48)[0], "spic", **options)


# -- the same everywhere ----------------------------------------------------------------------------------------------

DECODE = """
import os, sys
import numpy as np
if len(sys.argv) > 3 and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # ONNX Runtime then takes one thread
import sempic
decoded = sempic.decode(open(sys.argv[1], "rb").read())
np.savez(sys.argv[2], image=decoded.image, segmap=decoded.segmap)
"""


def test_pictures_are_the_same_in_other_processes_under_other_thread_counts(tmp_path):
    path, found = tmp_path / "street.smp", []
    path.write_bytes(encode(160, 120, quality=40, seed=5))
    for threads, more in (("1", ["one"]), ("4", [])):
        out = tmp_path / f"{threads}.npz"
        counts = dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "SEMPIC_THREADS"), threads
        )
        command = [sys.executable, "-c", DECODE, str(path), str(out), *more]
        done = subprocess.run(command, env=os.environ | counts, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.append(dict(np.load(out)))
    assert np.array_equal(found[0]["segmap"], found[1]["segmap"])
    assert np.abs(found[0]["image"].astype(int) - found[1]["image"]).max() <= 2


def test_the_same_picture_gives_the_same_bytes():
    image, _ = street(100, 75)
    assert sempic.encode(image, "spic") == sempic.encode(image.copy(), "spic")


# -- cut and damaged streams ------------------------------------------------------------------------------------------


def test_a_stream_without_its_coarse_picture_is_drawn_from_the_map():
    data = encode(240, 180)
    first = ends(data)[0]
    alone = sempic.decode(encode(240, 180, quality=0))
    assert alone.warnings == ()
    cut = sempic.decode(data[:first])
    assert [("cut" in w, "segmap alone" in w) for w in cut.warnings] == [(True, False), (False, True)]
    assert np.array_equal(cut.image, alone.image)
    assert sempic.inspect(data[:first]).detail["scale"] == 0
    asked = sempic.decode(data, layers=0)
    assert asked.warnings == ()
    assert np.array_equal(asked.image, alone.image)
    assert np.array_equal(sempic.decode(data, layers=1).image, sempic.decode(data).image)
    # Without any step the map is painted in its classes' colours.
    colours = np.rint(255 * runtime.default("spic").tables["colours"])
    road = encode_with(street(64, 48)[0], "spic", segmap=np.full((48, 64), 3, np.uint8), quality=0)
    flat = decode_with(road, steps=0)
    assert np.abs(flat.image - colours[3]).max() <= 1


def test_a_stream_cut_anywhere_is_an_error_or_warned():
    data = encode(64, 48)
    first = ends(data)[0]
    for cut in [*range(0, len(data), 5), first, len(data) - 1]:
        if cut < first:
            for verb in (sempic.decode, sempic.inspect):
                with pytest.raises(StreamError):
                    verb(data[:cut])
        else:
            assert sempic.decode(data[:cut]).warnings
            assert sum(part.bytes for part in sempic.inspect(data[:cut]).parts) == cut


@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_a_flipped_byte_is_an_error_or_warned(flip):
    data = encode(64, 48)
    first = ends(data)[0]
    for place in [*range(16), *range(16, len(data), 11), first, len(data) - 1]:
        damaged = bytearray(data)
        damaged[place] ^= flip
        if place < first:
            with pytest.raises(SempicError):
                sempic.decode(bytes(damaged))
        else:
            assert sempic.decode(bytes(damaged)).warnings


def test_another_models_stream_is_refused():
    check_foreign(encode(64, 48))


def test_hostile_payloads_with_correct_checks_do_no_harm():
    rng = np.random.default_rng(5)
    mark = runtime.default("spic").card.fingerprint
    first, coarse = container.read(encode(64, 48)).sections
    for _ in range(60):
        sections, size = [first], (64, 48)
        if rng.random() < 0.5:
            start = bytes((4 | int(rng.integers(3)) << 4, int(rng.integers(256))))
            sections = [Section(int(rng.choice([1, 1, 1, 0, 2])), start[: rng.integers(3)] + rng.bytes(40))]
            size = int(rng.integers(16, 150)), int(rng.integers(16, 150))
        for _ in range(rng.integers(3)):
            payload = bytes((int(rng.choice([3, 4, 6, 0])),)) + rng.bytes(int(rng.choice([0, 1, 50])))
            sections.append(coarse if rng.random() < 0.3 else Section(int(rng.choice([2, 2, 1, 7])), payload))
        survive(container.write(Header(3, *size, mark), sections), steps=1)


def test_sections_swapped_or_repeated_are_errors_or_warned():
    stream = container.read(encode(64, 48))
    first, coarse = stream.sections
    with pytest.raises(StreamError):
        sempic.decode(container.write(stream.header, [coarse, first]))
    for order in ([first, first, coarse], [first, coarse, first], [first, coarse, coarse]):
        assert sempic.decode(container.write(stream.header, order)).warnings


# -- parts of one's own -----------------------------------------------------------------------------------------------


class Stripes:
    """A segmenter that sees the same everywhere."""

    def __call__(self, image, taxonomy):
        return (
            (np.arange(image.shape[0]) * len(taxonomy) // image.shape[0])
            .astype(np.uint8)
            .repeat(image.shape[1])
            .reshape(image.shape[:2])
        )


class Zipped:
    """A map coder."""

    def encode(self, segmap, factor):
        return bytes((factor,)) + zlib.compress(segmap.tobytes())

    def decode(self, data, height, width, factor):
        try:
            ids = np.frombuffer(zlib.decompress(data[1:]), np.uint8)
        except zlib.error as error:
            raise StreamError(f"The map is damaged: {error}.") from None
        assert data[0] == factor
        return ids.reshape(height, width)


class Grey:
    """A coarse coder that sends the mean brightness of the picture."""

    levels = (7, 8)

    def encode(self, picture, level):
        assert level in self.levels
        return bytes((round(float(picture.mean())),)) * level

    def decode(self, data, height, width):
        return np.full((height, width, 3), data[0], np.uint8)


class Inverse:
    """A denoiser that expects the negative of the coarse picture, however noisy it gets."""

    sigmas = (0.1, 1.0)

    def __init__(self):
        self.levels = []

    def denoise(self, noisy, coarse, segmap, sigma):
        self.levels.append(sigma)
        assert segmap.shape[2:] == coarse.shape[2:]
        return 1 - coarse.repeat(4, 2).repeat(4, 3)


def test_the_segmenter_can_be_replaced():
    image, _ = street(100, 75)
    data = encode_with(image, Spic(segmenter=Stripes()), map="full")
    assert np.array_equal(sempic.decode(data).segmap[:, 0], np.arange(75) * 11 // 75)

    with pytest.raises(InputError, match="shape"):
        sempic.encode(image, codec=Spic(segmenter=lambda image, taxonomy: np.zeros((3, 4), np.uint8)))


def test_the_map_coder_can_be_replaced():
    image, segmap = street(100, 75)
    own = Spic(map=Zipped())
    data = encode_with(image, own, segmap=segmap)
    assert np.array_equal(sempic.decode(data, codec=own).segmap, enlarge(shrink(segmap, 4), 4, 75, 100))
    assert sum(part.bytes for part in sempic.inspect(data, codec=own).parts) == len(data)


def test_the_coarse_coder_can_be_replaced():
    image, segmap = street(100, 75)
    for own in (Spic(coarse=Grey()), Spic(coarse=ClassicCoarseCoder(WebP()))):
        data = encode_with(image, own, segmap=segmap, quality=100)
        shown = decode_with(data, own, steps=0)
        assert shown.warnings == ()
        assert abs(shown.image.mean() - image.mean()) < 4
    writer = Spic(coarse=Grey()).analyse(image, Settings(segmap=segmap))
    assert np.diff([len(writer.write(step)) for step in range(writer.steps)]).tolist() == [12, 1]


def test_the_denoiser_can_be_replaced(monkeypatch):
    monkeypatch.setattr(sampler, "keep_colours", lambda picture, guide: picture)
    inverse = Inverse()
    own = Spic(denoiser=inverse)
    data = encode(96, 64, quality=80)
    shown = decode_with(data, own, steps=3).image
    assert inverse.levels == pytest.approx(sampler.schedule(3, 0.1, 1.0)[:-1])
    assert psnr(255 - shown, decode_with(data, steps=0).image) > 25


def test_the_sampler_can_be_replaced():
    calls = []

    def first_guess(D, x, sigma, callback):
        calls.append((x.shape, list(sigma)))
        callback(len(sigma) - 1)
        return D(x, sigma[0])

    data, passed = encode(96, 64, quality=80), []
    options = Options(steps=4, progress=lambda done, total: passed.append((done, total)))
    shown = sempic.decode(data, codec=Spic(sampler=first_guess), options=options).image
    low, high = runtime.default("spic").tables["sigma"].tolist()
    assert calls == [((1, 3, 64, 96), sampler.schedule(4, low, high))]
    assert passed == [(4, 4)]
    assert np.array_equal(shown, decode_with(data, steps=1).image)
    assert not np.array_equal(shown, decode_with(data, steps=4).image)


def test_another_codecs_stream_is_refused():
    with pytest.raises(InputError, match="not by spic"):
        sempic.decode(sempic.encode(street(64, 48)[0], "hevc"), codec=Spic())


# -- the command line -------------------------------------------------------------------------------------------------


def test_the_command_line_knows_the_options(tmp_path):
    from PIL import Image

    image, _ = street(100, 75)
    Image.fromarray(image).save(tmp_path / "street.png")

    done = call(tmp_path, "encode", "street.png", "--codec", "spic", "--bytes", "600", "--set", "scale=6")
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "street.smp").read_bytes()
    assert data == encode_with(image, "spic", bytes=600, scale=6)
    done = call(
        tmp_path,
        "decode",
        "street.smp",
        "--set",
        "steps=3",
        "--set",
        "guidance=1.5",
        "--set",
        "seed=7",
        "-o",
        "shown.png",
    )
    assert (done.returncode, done.stderr) == (0, b"")
    shown = np.asarray(Image.open(tmp_path / "shown.png"))
    assert np.array_equal(shown, decode_with(data, steps=3, guidance=1.5, seed=7).image)
    done = call(tmp_path, "decode", "street.smp", "--set", "steps=51", "-o", "more.png")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"from 0 to 50" in done.stderr
    assert not (tmp_path / "more.png").exists()


def test_a_terminal_shows_the_passes(tmp_path):
    (tmp_path / "street.smp").write_bytes(encode(100, 75))
    shown = on_terminal(tmp_path, sys.executable, "-m", "sempic", "decode", "street.smp", "--set", "steps=2")
    assert "street.smp" in shown
    assert "100 × 75 in" in shown
    assert "2/2" in shown
