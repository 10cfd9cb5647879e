"""The bench from end to end: real files, other processes, resuming, and what it says of bad input."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sempic
from sempic import datasets
from sempic.bench import results, runner
from sempic.bench.jobs import Contender, Target, encode_picture, measure_picture
from sempic.codecs import spic
from sempic.codecs.base import Decoded
from sempic.codecs.classic.hevc import Hevc
from sempic.errors import InputError
from sempic.scene import draw

TARGETS = [Target.parse("0.1"), Target.parse("q60")]
NAMES = ["psnr", "agreement", "miou"]


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


def bench(folder: Path, out: Path, **options) -> results.Result:
    pictures = datasets.find(str(folder))
    (result,) = runner.run(str(folder), pictures, [Contender("hevc")], TARGETS, NAMES, out, workers=2, **options)
    return result


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, results.Result]:
    out = tmp_path_factory.mktemp("out")
    return out, bench(folder, out)


def without_times(result: results.Result) -> results.Result:
    def still(row: results.Row) -> results.Row:
        return replace(row, encode_s=0, decode_s=0, write_s=0, read_s=0, peak_mb=0)

    return replace(result, points=tuple(replace(p, rows=tuple(map(still, p.rows))) for p in result.points))


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
            assert row.encode_s > 0 < row.decode_s
        assert point.bpp == pytest.approx(np.mean([8 * row.bytes / (160 * 128) for row in point.rows]), abs=1e-6)
        assert point.metrics["psnr"] == pytest.approx(np.mean([row.metrics["psnr"] for row in point.rows]), abs=1e-4)
        assert 0 < point.metrics["miou"] <= 1
        assert "road" in point.iou
    assert all(row.bytes <= 0.1 * 160 * 128 / 8 for row in result.points[0].rows)
    assert 0 < result.ceiling["miou"] <= 1


def test_pictures_that_cannot_be_read_are_named_and_stop_nothing(finished):
    _, result = finished
    assert list(result.unread) == ["broken"]
    assert "cannot be read" in result.unread["broken"]


def test_pictures_none_of_which_can_be_read_are_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(InputError, match=r"None of the pictures.*notes\.txt"):
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
    assert counts[-1] == 6


def test_a_picture_that_changed_is_measured_anew(folder, finished, tmp_path):
    bench(folder, tmp_path)
    source = tmp_path / "data" / "image"
    source.mkdir(parents=True)
    for path in (folder / "image").glob("street-*.png"):
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(source / path.name)
    flipped = bench(tmp_path / "data", tmp_path)
    assert flipped.points[0].rows != bench(folder, tmp_path / "other").points[0].rows
    assert flipped.ceiling == {}


def test_results_survive_their_file(finished, tmp_path):
    _, result = finished
    results.save(result, tmp_path / "hevc.json")
    assert results.load_all(tmp_path) == [result]
    plain = json.loads((tmp_path / "hevc.json").read_text())
    assert plain["schema"] == results.SCHEMA
    (tmp_path / "hevc.json").write_text(json.dumps(plain | {"schema": 99}))
    with pytest.raises(InputError, match="schema 99"):
        results.load_all(tmp_path)
    (tmp_path / "hevc.json").write_text("[]")
    with pytest.raises(InputError, match="not a result"):
        results.load_all(tmp_path)
    with pytest.raises(InputError, match="no results"):
        results.load_all(tmp_path / "nowhere")


def test_the_codecs_smallest_file_stands_in_where_a_size_is_too_small():
    image = draw(0, 64, 48).image
    encoded = encode_picture(image, Contender("hevc"), Target.parse("5B"))
    assert encoded.above
    assert not encode_picture(image, Contender("hevc"), Target.parse("5000B")).above


@pytest.mark.parametrize("text", ["", "x", "0.1bpp", "q", "B", "1.5B"])
def test_points_that_make_no_sense_are_errors(text):
    with pytest.raises(InputError, match="is no point"):
        Target.parse(text)


def test_contenders_are_read_with_their_settings():
    assert Contender.parse(" hevc ") == Contender("hevc")
    chosen = Contender.parse("sqgan:map=half+denoise=0.3")
    assert chosen.settings == {"map": "half", "denoise": 0.3}
    assert chosen.label == "sqgan map=half denoise=0.3"
    with pytest.raises(InputError, match="known are"):
        Contender.parse("gif")
    with pytest.raises(InputError, match="'colour' is not a setting"):
        Contender.parse("sqgan:colour=1")


def test_options_of_decoding_reach_the_decoder(monkeypatch):
    chosen = Contender.parse("spic:scale=6+steps=0+guidance=1.5")
    assert chosen.split() == ({"scale": 6}, {"steps": 0, "guidance": 1.5})
    for wrong in ("spic:steps=51", "hevc:steps=3", "spic:progress=1"):
        with pytest.raises(InputError):
            Contender.parse(wrong)

    seen = []
    monkeypatch.setattr(Hevc, "Options", spic.Options)
    monkeypatch.setattr(Hevc, "decode", lambda self, stream, options: seen.append(options) or Decoded(image))
    image = draw(0, 64, 48).image
    encoded = encode_picture(image, Contender("hevc", {"steps": 3}), Target.parse("q50"))
    measure_picture(datasets.Frame("street", image, None), encoded, ["psnr"])
    assert seen == [spic.Options(steps=3)]


def test_ray_and_the_process_pool_agree(folder, finished, tmp_path):
    pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    assert without_times(bench(folder, tmp_path, ray_address="local")) == replace(
        without_times(finished[1]), protocol=finished[1].protocol
    )
