"""What the studio does, without its page."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
import stand_in
from codec_cases import objects_in
from PIL import Image

import sempic
from sempic import runtime
from sempic.codecs import spic, sqgan
from sempic.codecs.spec import Spec
from sempic.coding import segmap as segmap_coder
from sempic.container import read
from sempic.errors import InputError, ModelError
from sempic.files import saved
from sempic.scene import draw
from sempic.studio import tasks
from sempic.studio.tasks import DisplayedStream, DisplayRequest, Upload, UploadInfo
from sempic.studio.worker import Worker

PICTURE = Image.fromarray(draw(0, 160, 120).image)
UPLOAD = Upload("street.png", saved(PICTURE, "PNG"))
HEVC = Spec.parse("hevc")
STREAM = sempic.encode(PICTURE, "hevc", bytes=500)


def gallery(shown: DisplayedStream) -> dict:
    """What the page's viewer has to show."""
    return json.loads(re.search(r'id="gallery">(.*?)</script>', shown.page)[1])


def captions(shown: DisplayedStream) -> list[str]:
    """What is shown besides the original, in the order of the page."""
    return list(gallery(shown)["tiles"][0])


def test_a_picture_is_coded_and_compared_at_the_same_size():
    *steps, shown = tasks.encode(UPLOAD, HEVC, 500)
    assert isinstance(shown, DisplayedStream)
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
    *_, shown = tasks.encode(UPLOAD, HEVC, 120)
    assert "jpeg: " in unescape(shown.page)
    assert "bytes are too few" in shown.page


def test_a_stream_is_shown_without_an_original():
    *_, shown = tasks.show(STREAM, DisplayRequest())
    assert shown.stream == STREAM
    assert gallery(shown)["first"] == "hevc"
    assert captions(shown) == []


@pytest.mark.sqgan
def test_weights_of_classes_layers_and_relevance():
    *_, shown = tasks.encode(UPLOAD, tasks.spec_of("sqgan", {"keep": {"sky": 0.0}, "layers": 3}), 400)
    assert shown.stream == sempic.encode(PICTURE, bytes=400, settings=sqgan.Settings(keep={"sky": 0}))
    assert captions(shown) == ["sqgan", "segmap", "relevance", "hevc", "av1"]
    assert shown.layers == len(read(shown.stream).sections) - 1 - objects_in(shown.stream) > 0
    assert "tokens, band 1" in shown.page
    *_, base = tasks.show(shown.stream, DisplayRequest(layers=0), UPLOAD)
    assert "tokens sent: 0% of the grid" in base.page
    less = int(re.search(r"<h1>sqgan: (\d+) bytes", base.page)[1])
    assert less < len(shown.stream)


@pytest.mark.sqgan
def test_marks_say_what_was_sent_and_what_is_invented():
    spec = Spec.parse("sqgan")
    *_, plain = tasks.encode(UPLOAD, spec, 400)
    *_, marked = tasks.encode(UPLOAD, spec, 400, marked=True)
    assert marked.stream == plain.stream
    before, after = (gallery(one)["tiles"][0] for one in (plain, marked))
    assert list(after) == list(before)
    assert gallery(plain)["images"][0] == gallery(marked)["images"][0]  # the original
    image, caption = after["sqgan"]["picture"]
    assert caption == before["sqgan"]["picture"][1]
    assert gallery(marked)["images"][image] not in gallery(plain)["images"]
    assert "by a network, from values sent for this place" in marked.page
    assert "by a network, from values sent for this place" not in plain.page


@pytest.mark.sqgan
def test_losses_are_marked_also_where_all_that_is_left_is_asked_for():
    data = sempic.encode(PICTURE, bytes=400)
    for layers in (None, 0):
        *_, shown = tasks.show(data[:-3], DisplayRequest(layers=layers, marked=True))
        assert "values sent for it may have been lost" in shown.page
        assert "repeating-linear-gradient" in shown.page
    *_, shown = tasks.show(data, DisplayRequest(layers=0, marked=True))
    assert "the segmap and its colours alone" in shown.page


def test_protected_streams_are_made_and_shown():
    *_, shown = tasks.encode(UPLOAD, tasks.spec_of("hevc", {"protect": True}), 500)
    assert shown.stream == sempic.encode(PICTURE, "hevc", bytes=500, protect=True)
    assert "packets of 8" in shown.page
    assert tasks.is_stream(shown.stream)
    *_, shown = tasks.show(bytes(8) + shown.stream[8:], DisplayRequest(layers=0))
    assert "1 missing" in shown.page


@pytest.mark.sqgan
def test_a_stream_is_read_once_however_often_it_is_drawn(monkeypatch):
    calls = []
    decode = segmap_coder.decode
    monkeypatch.setattr(segmap_coder, "decode", lambda *args: calls.append(args) or decode(*args))
    *_, shown = tasks.encode(UPLOAD, Spec.parse("sqgan"), 400)
    for layers in (0, 1, None):
        *_, again = tasks.show(shown.stream, DisplayRequest(layers=layers))
    assert gallery(again)["images"][0] != gallery(shown)["images"][0]
    assert len(calls) == 1
    *_, other = tasks.encode(UPLOAD, Spec.parse("sqgan:map=half"), 600)
    assert other.stream != shown.stream
    assert len(calls) == 2


def test_settings_may_be_written_as_text():
    spec = tasks.spec_of("sqgan", {"keep": {"sky": 0.2}, "layers": 2, "steps": 3}, " map=half + simplify=0.5")
    assert spec.settings == sqgan.Settings(keep={"sky": 0.2}, map="half", simplify=0.5)
    assert tasks.spec_of("spic", {"steps": 3}, "scale=6").options == spic.Options(steps=3)
    with pytest.raises(InputError, match="'colour' is not a setting that the studio takes for hevc; it takes scale"):
        tasks.spec_of("hevc", {}, "colour=red")
    with pytest.raises(InputError, match="can be auto, full, half"):
        tasks.spec_of("sqgan", {}, "map=tiny")


@pytest.mark.parametrize("text", ["segmenter=/etc/passwd", "segmap=/etc/passwd", "model=https://example.com/model"])
def test_visitors_name_no_files_and_no_models(text):
    with pytest.raises(InputError, match="is not a setting that the studio takes"):
        tasks.spec_of("sqgan", {}, text)


@pytest.mark.sqgan
def test_classes_are_those_of_the_codecs_model():
    assert tasks.classes("sqgan", "") == runtime.default("sqgan").taxonomy.classes
    assert tasks.classes("hevc", "") == ()


def test_what_a_codec_knows_is_asked_of_it():
    assert tasks.knows("sqgan", "keep")
    assert not tasks.knows("hevc", "keep")
    assert tasks.knows("layered", "layers")
    assert not tasks.knows("sqgan", "steps")


def test_what_works_here_is_offered(monkeypatch, tmp_path):
    assert tasks.usable()["hevc"] == ""
    monkeypatch.setattr(runtime, "SHIPPED", tmp_path)
    assert tasks.usable().keys() > {"hevc", "jpeg"}
    assert not tasks.usable().keys() & {"sqgan", "layered", "spic"}
    with pytest.raises(ModelError, match="no model 'none'"):
        tasks.usable(["none"])


def test_a_model_of_ones_own_draws(tmp_path):
    stand_in.make_spic(tmp_path)
    mine = str((tmp_path / stand_in.SPIC).rename(tmp_path / "mine"))
    assert tasks.usable([mine])["spic"] == mine
    spec = tasks.spec_of("spic", {"model": mine, "steps": 1})
    *_, made = tasks.encode(UPLOAD, spec, 1500, models=(mine,))
    assert read(made.stream).header.fingerprint == runtime.model(mine).card.fingerprint
    request = DisplayRequest(options=spic.Options(steps=1), models=(mine,))
    with Worker() as worker:
        *_, shown = filter(None, worker.run(tasks.show, made.stream, request))
    assert captions(shown) == ["segmap"]
    with pytest.raises(InputError, match="is a segmenter, which the studio has no codec for"):
        tasks.usable([str(runtime.default("segmenter").folder)])


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
        list(tasks.look(upload))


def test_a_good_one_is_named_and_shown():
    (info,) = tasks.look(tasks.drawn_street())
    assert isinstance(info, UploadInfo)
    assert (info.text, info.pixels) == ("street.png, 480 × 360 pixels.", 480 * 360)
    assert info.picture.startswith("data:image/webp;base64,")
