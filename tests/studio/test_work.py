"""What the studio does, without its page."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import time
from html import unescape
from pathlib import Path

import pytest
import stand_in
from PIL import Image

import sempic
from sempic import runtime
from sempic.container import read
from sempic.errors import InputError, ModelError, SempicError
from sempic.files import saved
from sempic.scene import draw
from sempic.studio import work
from sempic.studio.work import Seen, Shown, Step, Upload, View, Wish

PICTURE = Image.fromarray(draw(0, 160, 120).image)
UPLOAD = Upload("street.png", saved(PICTURE, "PNG"))
STREAM = sempic.encode(PICTURE, "hevc", bytes=500)


def gallery(shown: Shown) -> dict:
    """What the page's viewer has to show."""
    return json.loads(re.search(r'id="gallery">(.*?)</script>', shown.page)[1])


def captions(shown: Shown) -> list[str]:
    """What is shown besides the original, in the order of the page."""
    return list(gallery(shown)["tiles"][0])


def test_a_picture_is_coded_and_compared_at_the_same_size():
    *steps, shown = work.encode(UPLOAD, Wish("hevc", 500), View())
    assert isinstance(shown, Shown)
    assert shown.stream == STREAM
    assert (shown.layers, shown.codec) == (0, "hevc")
    assert shown.title == f"hevc: {len(STREAM)} bytes, {8 * len(STREAM) / (160 * 120):.3f} bpp"
    assert captions(shown) == ["hevc", "av1", "jpeg"]
    assert f"hevc: {len(STREAM)} bytes" in shown.page
    assert 'download="street-hevc.smp"' in shown.page
    assert [step.share for step in steps] == sorted(step.share for step in steps)
    assert steps[0].text == "Encoding with hevc"
    assert all(0 <= step.share < 1 for step in steps)


def test_who_cannot_meet_the_size_says_why():
    *_, shown = work.encode(UPLOAD, Wish("hevc", 120), View())
    assert "jpeg: " in unescape(shown.page)
    assert "bytes are too few" in shown.page


def test_a_stream_is_shown_without_an_original():
    *_, shown = work.show(STREAM, View())
    assert shown.stream == STREAM
    assert gallery(shown)["first"] == "hevc"
    assert captions(shown) == []


@pytest.mark.sqgan
def test_weights_of_classes_layers_and_relevance():
    *_, shown = work.encode(UPLOAD, Wish("sqgan", 400, {"sky": 0.0}), View())
    assert shown.stream == sempic.encode(PICTURE, bytes=400, keep={"sky": 0})
    assert captions(shown) == ["sqgan", "segmap", "relevance", "hevc", "av1"]
    assert shown.layers == len(read(shown.stream).sections) - 1 > 0
    assert "tokens, band 1" in shown.page
    *_, base = work.show(shown.stream, View(layers=0), UPLOAD)
    assert "tokens sent: 0% of the grid" in base.page
    less = int(re.search(r"<h1>sqgan: (\d+) bytes", base.page)[1])
    assert less < len(shown.stream)


def test_protected_streams_are_made_and_shown():
    *_, shown = work.encode(UPLOAD, Wish("hevc", 500, protect=True), View())
    assert shown.stream == sempic.encode(PICTURE, "hevc", bytes=500, protect=True)
    assert "packets of 8" in shown.page
    assert work.is_stream(shown.stream)
    *_, shown = work.show(bytes(8) + shown.stream[8:], View(layers=0))
    assert "1 missing" in shown.page


def test_what_a_codec_knows_is_asked_of_it():
    assert work.knows("sqgan", "keep")
    assert not work.knows("hevc", "keep")
    assert work.knows("layered", "layers")
    assert not work.knows("sqgan", "steps")


def test_what_works_here_is_offered(monkeypatch, tmp_path):
    assert work.usable()["hevc"] == ""
    monkeypatch.setattr(runtime, "SHIPPED", tmp_path)
    assert work.usable().keys() == {name for name, model in work.usable().items() if not model} > {"hevc", "jpeg"}
    with pytest.raises(ModelError, match="no model 'none'"):
        work.usable(["none"])


def test_a_model_of_ones_own_draws(tmp_path):
    stand_in.make_spic(tmp_path)
    mine = str((tmp_path / stand_in.SPIC).rename(tmp_path / "mine"))
    assert work.usable([mine])["spic"] == mine
    *_, made = work.encode(UPLOAD, Wish("spic", 1500, model=mine), View(steps=1))
    assert read(made.stream).header.fingerprint == runtime.model(mine).card.fingerprint
    *_, shown = told(work.show, made.stream, View(steps=1, models=(mine,)))  # in a process that has not heard of it
    assert captions(shown) == ["segmap"]
    with pytest.raises(InputError, match="is a segmenter, which the studio has no codec for"):
        work.usable([str(Path(runtime.SHIPPED, "segmenter-camvid11"))])


@pytest.mark.parametrize(
    ("upload", "says"),
    [
        (Upload("bad.png", b"not a picture"), "'bad.png' is not a picture that can be read."),
        (Upload("cut.png", UPLOAD.data[:900]), "'cut.png' is not a picture that can be read."),
        (Upload("tiny.png", saved(Image.new("RGB", (8, 8)), "PNG")), "8×8 pixels; width and height must be from 16"),
    ],
)
def test_bad_uploads_get_a_sentence(upload, says):
    with pytest.raises(InputError, match=re.escape(says)):
        list(work.look(upload))


def test_a_good_one_is_named_and_shown():
    (seen,) = work.look(work.drawn_street())
    assert isinstance(seen, Seen)
    assert (seen.text, seen.pixels) == ("street.png, 480 × 360 pixels.", 480 * 360)
    assert seen.picture.startswith("data:image/webp;base64,")


# -- processes --------------------------------------------------------------------------------------------------------


def some(*found):
    yield from found


def sleep(seconds):
    yield os.getpid()
    time.sleep(seconds)


def fail(error):
    yield "before"
    raise error


def end():
    yield "before"
    os._exit(9)


def told(*arguments, **options):
    return [found for found in work.run(*arguments, **options) if found is not None]


def test_work_comes_from_a_process_of_its_own():
    assert told(some, 1, "two", Step("three")) == [1, "two", Step("three")]
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("function", "arguments", "says"),
    [
        (fail, [InputError("Something is wrong.")], "^Something is wrong.$"),
        (fail, [ZeroDivisionError("by 0")], "^ZeroDivisionError, a fault of Sempic's.$"),
        (end, [], "ended too early"),
    ],
)
def test_what_goes_wrong_there_is_a_sentence_here(function, arguments, says):
    with pytest.raises(SempicError, match=says):
        told(function, *arguments)
    assert multiprocessing.active_children() == []


def test_the_clock_stops_it():
    with pytest.raises(InputError, match="more than 1 seconds"):
        told(sleep, 60, limit_s=1)
    assert multiprocessing.active_children() == []


def test_whoever_asked_may_stop_it():
    running = work.run(sleep, 60)
    process = next(found for found in running if found)
    os.kill(process, 0)
    running.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
