"""Pictures that the model was not trained for: the warning, wherever it is shown, and the codec `auto`."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import stand_in
from command import call
from PIL import Image

import sempic
import sempic.pillow
from sempic import batch, runtime
from sempic.codecs import sqgan
from sempic.codecs.spec import AUTO, INSIDE, OUTSIDE, Spec, about, parse_all
from sempic.errors import InputError
from sempic.files import saved
from sempic.rate import Target
from sempic.scene import draw
from sempic.studio import tasks

STREET = draw(0, 160, 120).image
OTHER = STREET[::-1].copy()
SAYS = "This picture does not look like a street scene"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins of models, of which the segmenter takes pictures with sky above for streets."""
    folder = tmp_path_factory.mktemp("models")
    stand_in.make(folder)
    path = folder / stand_in.SEGMENTER / "card.json"
    card = json.loads(path.read_text())
    weights = {name: [20.0 * (name == "sky"), 0.0, 0.0] for name in stand_in.TAXONOMY.classes}
    card["domain"] = {"name": "a street scene", "threshold": 0.5, "bias": 55.0, "weights": weights}
    path.write_text(json.dumps(card))
    return folder


@pytest.fixture(autouse=True)
def models(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMPIC_MODELS", str(trained))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a street and another picture."""
    (tmp_path / "in").mkdir()
    for name, image in (("street", STREET), ("other", OTHER), ("third", OTHER)):
        Image.fromarray(image).save(tmp_path / "in" / f"{name}.png")
    return tmp_path


# -- the warning ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["sqgan", "layered", "spic"])
def test_python_warns_about_what_is_no_street(codec):
    with pytest.warns(sempic.SempicWarning, match=f"{SAYS}, which is all that {codec} was trained on") as said:
        data = sempic.encode(OTHER, codec)
    assert Path(said[0].filename) == Path(__file__)  # who reads it finds the call
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sempic.encode(STREET, codec)
        sempic.encode(OTHER, "hevc")
        assert sempic.decode(data).warnings == ()


def test_a_segmap_or_a_segmenter_of_ones_own_is_not_judged(tmp_path):
    (tmp_path / "own.onnx").write_bytes(stand_in.segmenter_network())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sempic.encode(OTHER, settings=sqgan.Settings(segmap=np.zeros(OTHER.shape[:2], np.uint8)))
        sempic.encode(OTHER, settings=sqgan.Settings(segmenter=tmp_path / "own.onnx"))


def test_the_command_line_warns_on_standard_error_and_in_json(folder):
    done = call(folder, "encode", "in/other.png", "--protect", "--json")
    assert done.returncode == 0
    assert done.stderr.decode().startswith(f"sempic: warning: {SAYS}")
    assert "Use the codec auto" in done.stderr.decode()
    report = json.loads(done.stdout)
    assert report["codec"] == "sqgan"
    assert report["warnings"][0].startswith(SAYS)
    street = call(folder, "encode", "in/street.png", "--json")
    assert (street.stderr, json.loads(street.stdout)["warnings"]) == (b"", [])


def test_commands_that_encode_by_the_way_warn_in_a_sentence(folder):
    done = call(folder, "compare", "in/other.png", "--bytes", "600", "--codecs", "sqgan,jpeg")
    assert done.stderr.decode().startswith(f"sempic: warning: {SAYS}")
    assert "SempicWarning" not in done.stderr.decode()


def test_a_batch_counts_them(folder):
    done = call(folder, "batch", "encode", "in", "out", "--workers", "1", "--json")
    said = [line for line in done.stderr.decode().splitlines() if line.startswith("sempic:")]
    assert len(said) == 1
    assert said[0].startswith(f"sempic: warning: 2 files, the first of them other.png: {SAYS}")
    report = json.loads(done.stdout)
    assert report["written"] == 3
    assert report["warnings"].keys() == {"other.png", "third.png"}


def test_the_studio_shows_it_also_when_a_stream_is_drawn_again():
    upload = tasks.Upload("other.png", saved(Image.fromarray(OTHER), "PNG"))
    *_, shown = tasks.encode(upload, Spec.parse("sqgan"), 2000)
    assert SAYS in shown.page
    *_, again = tasks.show(shown.stream, tasks.DisplayRequest(layers=0, warnings=shown.warnings), upload)
    assert SAYS in again.page


# -- the codec auto ---------------------------------------------------------------------------------------------------


def codec_in(data: bytes) -> str:
    return sempic.inspect(data).codec


def test_auto_takes_one_codec_or_the_other():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sempic.encode(STREET, "auto") == sempic.encode(STREET, INSIDE)
        assert sempic.encode(OTHER, "auto") == sempic.encode(OTHER, OUTSIDE)
        assert sempic.encode(OTHER, "auto", bytes=900) == sempic.encode(OTHER, OUTSIDE, bytes=900)
        assert sempic.encode(OTHER, "auto", protect=True) == sempic.encode(OTHER, OUTSIDE, protect=True)


def test_auto_takes_the_settings_of_the_first_codec():
    assert sempic.encode(STREET, "auto:map=half") == sempic.encode(STREET, f"{INSIDE}:map=half")
    settings = sqgan.Settings(map="half")
    assert sempic.encode(STREET, AUTO, settings=settings) == sempic.encode(STREET, settings=settings)
    assert codec_in(sempic.encode(OTHER, AUTO, settings=settings)) == OUTSIDE
    with pytest.raises(InputError, match=f"'layers' is not a setting of the codec {INSIDE}"):
        sempic.encode(STREET, "auto:layers=2")
    assert [one.name for one in about(AUTO).settings] == [one.name for one in about(INSIDE).settings]


def test_the_command_line_names_the_codec_that_it_took(folder):
    for name, codec in (("street", INSIDE), ("other", OUTSIDE)):
        report = json.loads(call(folder, "encode", f"in/{name}.png", "--codec", "auto", "--json").stdout)
        assert (report["codec"], report["warnings"]) == (codec, [])
        assert call(folder, "decode", f"in/{name}.smp", "-o", f"{name}.png").returncode == 0
    assert b"auto: sqgan for what it was trained on, hevc for the rest." in call(folder, "codecs").stdout
    assert b"map" in call(folder, "codecs", "auto").stdout


def test_a_batch_under_auto_goes_on_where_it_stopped(folder):
    task = batch.Encoding(Spec.parse("auto"), Target())
    first = batch.run(task, str(folder / "in"), str(folder / "out"), workers=1)
    assert (first.written, first.warnings) == (3, {})
    codecs = {path.name: codec_in(path.read_bytes()) for path in (folder / "out").iterdir()}
    assert codecs == {"street.png.smp": INSIDE, "other.png.smp": OUTSIDE, "third.png.smp": OUTSIDE}
    again = batch.run(task, str(folder / "in"), str(folder / "out"), workers=1)
    assert (again.written, again.finished) == (0, 3)
    with pytest.raises(InputError, match="There is a stream of another codec"):
        replace(task, spec=Spec.parse("jpeg")).is_finished((folder / "out" / "other.png.smp").read_bytes())


def test_pillow_and_the_studio_take_it():
    out = BytesIO()
    Image.fromarray(OTHER).save(out, "SMP", codec="auto", quality=10)
    assert codec_in(out.getvalue()) == OUTSIDE
    offered = list(tasks.usable())
    assert AUTO in offered
    assert offered[0] != AUTO
    assert tasks.classes(AUTO, "") == runtime.default(INSIDE).taxonomy.classes
    spec = tasks.spec_of(AUTO, {"keep": {"sky": 0.2}, "layers": 2}, "map=half")
    assert (spec.settings, spec.outside.name) == (sqgan.Settings(keep={"sky": 0.2}, map="half"), OUTSIDE)


def test_codecs_are_compared_by_their_own_names():
    with pytest.raises(InputError, match="auto is another codec for each kind of picture; name sqgan or hevc here"):
        parse_all("hevc,auto")
