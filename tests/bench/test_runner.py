"""The bench from end to end: real files, other processes, resuming, and what it says of bad input."""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import stand_in
from PIL import Image

import sempic
from sempic import datasets, runtime, taxonomy
from sempic.bench import judge, results, runner, timing
from sempic.bench.jobs import OperatingPoint, encode_picture, measure_picture
from sempic.codecs import spic
from sempic.codecs.base import Contents, Decoded, Reading
from sempic.codecs.classic.hevc import Hevc
from sempic.codecs.spec import Spec
from sempic.errors import InputError
from sempic.scene import draw
from sempic.taxonomy import Taxonomy

HEVC = Spec.parse("hevc")
POINTS = OperatingPoint.parse_all("0.1,q60")
NAMES = ["psnr", "agreement", "miou", "object_hue", "object_delta_e_worst"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn streets with labels, and a file that is no picture."""
    root = tmp_path_factory.mktemp("data")
    for part in ("image", "label"):
        (root / part).mkdir()
    for seed in range(2):
        scene = draw(seed, 160, 128)
        Image.fromarray(scene.image).save(root / "image" / f"street-{seed}.png")
        Image.fromarray(scene.segmap).save(root / "label" / f"street-{seed}.png")
    (root / "image" / "broken.png").write_text("not a picture")
    return root


def bench(folder: Path | str, out: Path, **options) -> results.Result:
    pictures = datasets.find(str(folder))
    (result,) = runner.run(str(folder), pictures, [HEVC], POINTS, NAMES, out, workers=2, **options)
    return result


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, results.Result]:
    out = tmp_path_factory.mktemp("out")
    return out, bench(folder, out)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time no codec but for `finished`, which is made before: it takes two processes."""
    monkeypatch.setattr(timing, "measure", lambda *arguments: results.Timing())


def without_times(result: results.Result) -> results.Result:
    return replace(result, timing=results.Timing())


def test_a_run_measures_the_files_that_it_wrote(folder, finished):
    out, result = finished
    assert [point.point for point in result.points] == ["0.1", "q60"]
    assert result.pictures == 2
    for point in result.points:
        assert [row.picture for row in point.rows] == ["street-0", "street-1"]
        for row in point.rows:
            stem = out / "work" / "hevc" / point.point / row.picture
            stream = stem.with_name(row.picture + ".smp").read_bytes()
            assert len(stream) == row.bytes
            shown = np.asarray(Image.open(stem.with_name(row.picture + ".png")))
            assert np.array_equal(sempic.decode(stream).image, shown)
            original = np.asarray(Image.open(folder / "image" / f"{row.picture}.png")).astype(float)
            assert row.metrics["psnr"] == pytest.approx(
                10 * np.log10(255**2 / np.mean((original - shown) ** 2)), abs=1e-4
            )
        assert point.bpp == pytest.approx(np.mean([8 * row.bytes / (160 * 128) for row in point.rows]), abs=1e-6)
        assert point.metrics["psnr"] == pytest.approx(np.mean([row.metrics["psnr"] for row in point.rows]), abs=1e-4)
        assert 0 < point.metrics["miou"] <= 1
        assert "road" in point.iou
        assert 0 < point.metrics["object_hue"] < point.metrics["object_delta_e_worst"]
    assert all(row.bytes <= 0.1 * 160 * 128 / 8 for row in result.points[0].rows)
    assert 0 < result.ceiling["miou"] <= 1


def test_a_run_times_each_codec_at_each_point_once(folder, finished, monkeypatch):
    out, result = finished
    assert list(result.timing.speed) == [point.point for point in result.points]
    for sides in result.timing.speed.values():
        for seconds in sides.values():
            assert seconds.whole > seconds.networks == seconds.coding == 0  # HEVC does all its work in one go
    assert result.timing.processes.keys() == {"encode", "decode"}
    assert "Times: medians over 2 of the pictures" in result.protocol

    def fail(*arguments):
        raise AssertionError("timed again")

    monkeypatch.setattr(timing, "measure", fail)
    assert bench(folder, out).timing == result.timing
    with pytest.raises(AssertionError, match="timed again"):
        runner.run(str(folder), datasets.find(str(folder)), [HEVC], POINTS[:1], NAMES, out, workers=2)


def test_pictures_that_cannot_be_read_are_named_and_stop_nothing(finished):
    _, result = finished
    assert list(result.unread) == ["broken"]
    assert "cannot be read" in result.unread["broken"]


def test_pictures_none_of_which_can_be_read_are_an_error(tmp_path):
    (tmp_path / "broken.png").write_text("not a picture")
    with pytest.raises(InputError, match=r"None of the pictures.*broken\.png"):
        bench(tmp_path, tmp_path / "out")


def test_two_runs_agree(folder, finished, tmp_path):
    assert without_times(bench(folder, tmp_path)) == without_times(finished[1])


def test_an_interrupted_run_goes_on_and_does_nothing_twice(folder, finished, tmp_path):
    class InterruptedError(Exception):
        pass

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        bench(folder, tmp_path, progress=interrupt)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("work/**/*.json")}
    assert 0 < len(before) < 6
    counts: list[int] = []
    result = bench(folder, tmp_path, progress=lambda done, total: counts.append(done))
    assert without_times(result) == without_times(finished[1])
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert counts[-1] == 7  # six pictures, and the times


def test_a_picture_that_changed_is_measured_anew(folder, finished, tmp_path):
    shutil.copytree(finished[0] / "work", tmp_path / "work")
    source = tmp_path / "data" / "image"
    source.mkdir(parents=True)
    for path in (folder / "image").glob("street-*.png"):
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(source / path.name)
    flipped = bench(tmp_path / "data", tmp_path)
    assert flipped.points[0].rows != finished[1].points[0].rows
    assert flipped.ceiling == {}


def test_results_survive_their_file(finished, tmp_path):
    _, result = finished
    results.save(result, tmp_path / "hevc.json")
    assert results.load_all(tmp_path) == [result]
    plain = json.loads((tmp_path / "hevc.json").read_text())
    assert plain["schema"] == results.SCHEMA
    assert plain["judge"].startswith("judge-")
    assert Taxonomy.from_json(plain["taxonomy"]).classes == result.classes
    (tmp_path / "hevc.json").write_text(json.dumps(plain | {"schema": 99}))
    with pytest.raises(InputError, match="schema 99"):
        results.load_all(tmp_path)
    (tmp_path / "hevc.json").write_text("[]")
    with pytest.raises(InputError, match="not a result"):
        results.load_all(tmp_path)
    with pytest.raises(InputError, match="no results"):
        results.load_all(tmp_path / "nowhere")


def test_result_files_are_json_with_null_for_nan(finished, tmp_path):
    def refuse(constant):
        raise AssertionError(constant)

    _, result = finished
    row = replace(result.points[0].rows[0], metrics={"psnr": 30.0, "ms_ssim": math.nan})
    point = replace(result.points[0], metrics={"psnr": 30.0, "ms_ssim": math.nan}, rows=(row,))
    results.save(replace(result, points=(point,)), tmp_path / "hevc.json")
    text = (tmp_path / "hevc.json").read_text()
    plain = json.loads(text, parse_constant=refuse)["points"][0]
    assert plain["metrics"] == plain["rows"][0]["metrics"] == {"psnr": 30, "ms_ssim": None}
    assert sum('"picture": ' in line for line in text.splitlines()) == 1  # a row is one line
    (read,) = results.load(tmp_path / "hevc.json").points
    assert math.isnan(read.metrics["ms_ssim"])
    assert math.isnan(read.rows[0].metrics["ms_ssim"])


def test_files_of_earlier_releases_can_be_read(finished, tmp_path):
    """Their rows had times, taken beside other work; nothing says what a codec takes alone."""
    results.save(finished[1], tmp_path / "hevc.json")
    plain = json.loads((tmp_path / "hevc.json").read_text())
    del plain["timing"]
    for row in (row for point in plain["points"] for row in point["rows"]):
        row |= {"encode_s": 1.0, "decode_s": 1.0, "write_s": 0.0, "read_s": 0.0, "peak_mb": 100.0}
    (tmp_path / "hevc.json").write_text(json.dumps(plain))
    assert results.load(tmp_path / "hevc.json") == without_times(finished[1])


def test_committed_results_can_be_read():
    found = results.load_all(Path(__file__).parents[2] / "docs" / "results")
    assert {"sqgan", "layered", "spic", "hevc"} <= {result.label for result in found}
    assert all(result.settings == {} and len(result.ceiling) == 12 for result in found)
    assert {len(result.classes) for result in found} == {0, 11}  # files of earlier releases do not say


def test_the_codecs_smallest_file_stands_in_where_a_size_is_too_small():
    image = draw(0, 64, 48).image
    encoded = encode_picture(image, HEVC, OperatingPoint.parse("5B"))
    assert encoded.above
    assert not encode_picture(image, HEVC, OperatingPoint.parse("5000B")).above


@pytest.mark.parametrize("text", ["", "x", "0.1bpp", "q", "B", "1.5B"])
def test_points_that_make_no_sense_are_errors(text):
    with pytest.raises(InputError, match="is no size"):
        OperatingPoint.parse(text)


def test_settings_are_kept_as_they_were_given():
    chosen = Spec.parse("sqgan:map=half+simplify=0.3+protect=0.5")
    assert chosen.given == {"map": "half", "simplify": 0.3, "protect": 0.5}
    assert chosen.label == "sqgan map=half simplify=0.3 protect=0.5"
    assert HEVC.given == {}


def test_options_of_decoding_reach_the_decoder(monkeypatch):
    drawn = []

    class Once(Reading):
        contents = Contents((), detail={"layers": 3, "map": "half"})

        def draw(self, options, layers=None):
            drawn.append(options)
            return Decoded(image)

    monkeypatch.setattr(Hevc, "Options", spic.Options)
    monkeypatch.setattr(Hevc, "read", lambda self, stream, model: Once())
    image = draw(0, 64, 48).image
    spec = Spec.parse("hevc:steps=3")
    data = encode_picture(image, spec, OperatingPoint.parse("q50")).data
    measured = measure_picture(datasets.Frame("street", image, None), data, spec, ["psnr"])
    assert drawn == [spic.Options(steps=3)]
    assert measured.detail == {"layers": 3}


def test_pictures_are_decoded_once_and_analysed_once_for_all_points(monkeypatch):
    calls = []

    def count(name):
        called = getattr(Hevc, name)
        monkeypatch.setattr(Hevc, name, lambda self, *args: calls.append(name) or called(self, *args))

    for name in ("analyse", "read", "expand"):
        count(name)
    frame = datasets.Frame("street", draw(5, 64, 48).image, None)
    for point in POINTS:
        data = encode_picture(frame.image, HEVC, point).data
        measure_picture(frame, data, HEVC, ["psnr"])
    assert calls == ["analyse", "read", "expand", "read", "expand"]


def test_the_classes_are_the_judges(folder, tmp_path, monkeypatch):
    """A judge of three classes that takes the place of the one that ships: labels, IoU and files are of its classes."""
    toy = Taxonomy("toy", ("sky", "building", "ground"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
    into = tmp_path / "models" / judge.model().card.name
    into.mkdir(parents=True)
    (into / "judge.onnx").write_bytes(stand_in.segmenter_network(stride=1, classes=len(toy)))
    files = runtime.hashes(into, ["judge.onnx"])
    card = runtime.Card(into.name, "judge", "A toy.", toy.to_json(), 1, files)
    (into / "card.json").write_text(json.dumps(asdict(card)))
    monkeypatch.setenv("SEMPIC_MODELS", str(into.parent))
    result = bench(folder, tmp_path / "out")
    assert result.judge == f"{into.name} {card.fingerprint:04x}"
    assert result.classes == toy.classes
    assert result.points[0].iou.keys() <= set(toy.classes)
    assert result.points[0].iou
    labels = np.asarray(Image.open(tmp_path / "out" / "work" / "originals" / "street-0.labels.png"))
    assert set(np.unique(labels)) <= {0, 1, 2, 255}


def test_cityscapes_is_measured_in_its_own_classes_by_their_judge(tmp_path, monkeypatch):
    """Labels of a traffic light and a bus are what a judge of 11 classes cannot score."""
    monkeypatch.setenv("SEMPIC_DATA", str(tmp_path))
    labels = np.zeros((96, 128), np.uint8)  # ids of Cityscapes: 7 is road, 19 traffic light, 28 bus
    labels[:32], labels[32:64], labels[64:] = 19, 28, 7
    for part, kind, pixels in (("leftImg8bit", "", draw(3, 128, 96).image), ("gtFine", "_labelIds", labels)):
        path = tmp_path / "cityscapes" / part / "val" / "bonn" / f"bonn_000001_000019_{part}{kind}.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(pixels).save(path)
    result = bench("cityscapes:val", tmp_path / "out", judge="judge-cityscapes19")
    assert result.judge.startswith("judge-cityscapes19 ")
    assert {"traffic light", "bus", "road"} <= result.points[0].iou.keys() <= set(taxonomy.load("cityscapes19").classes)


@pytest.mark.slow
def test_ray_and_the_process_pool_agree(folder, finished, tmp_path):
    pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    assert without_times(bench(folder, tmp_path, ray_address="local")) == replace(
        without_times(finished[1]), protocol=finished[1].protocol
    )
