"""Whole folders at once: names, failures, resuming after a kill, other places than folders."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stand_in import write_card

import sempic
from sempic import batch, container, runtime
from sempic.codecs.spec import Spec
from sempic.errors import ModelError, SempicError
from sempic.files import whole_file
from sempic.rate import Target
from sempic.scene import draw

COMMAND = [sys.executable, "-m", "sempic", "batch"]
BROKEN = {"a/cut.png", "text.jpg"}


def encoding(spec: str, **target: float) -> batch.Encoding:
    """Return the task of encoding under a codec's settings, to a quality, bpp or size."""
    return batch.Encoding(Spec.parse(spec), Target(**target))


HEVC = encoding("hevc", quality=10)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten small streets in three folders, two broken ones among them, and what is not a picture at all."""
    root = tmp_path_factory.mktemp("source")
    (root / "a" / "b c").mkdir(parents=True)
    for seed in range(10):
        name = ("street-{}.png", "a/street-{}.jpg", "a/b c/street-{}.PNG")[seed % 3].format(seed)
        Image.fromarray(draw(seed, 96, 64).image).save(root / name)
    (root / "a" / "street-1.png").write_bytes((root / "street-0.png").read_bytes())  # there is a street-1.jpg as well
    (root / "a" / "cut.png").write_bytes((root / "street-0.png").read_bytes()[:900])
    (root / "text.jpg").write_text("not a picture")
    (root / "notes.txt").write_text("for nobody")
    (root / ".hidden.png").write_bytes((root / "street-0.png").read_bytes())
    return root


@pytest.fixture(scope="module")
def streams(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run that nothing interrupts makes of them."""
    target = tmp_path_factory.mktemp("clean") / "new" / "streams"
    found = batch.run(HEVC, str(source), str(target), workers=1)
    assert (found.written, found.finished, found.left_out) == (11, 0, 2)
    assert found.failed.keys() == BROKEN
    assert found.failed["text.jpg"] == "'text.jpg' is not a picture that can be read."
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_tree_is_kept_and_each_stream_is_its_pictures(source, streams):
    pictures = {str(path.relative_to(source)) for path in source.rglob("street*")}
    assert contents(streams).keys() == {f"{name}.smp" for name in pictures}
    for name in pictures:
        assert (streams / f"{name}.smp").read_bytes() == sempic.encode(Image.open(source / name), "hevc", quality=10)


def test_a_killed_run_goes_on_and_ends_as_a_clean_one(source, streams, tmp_path):
    target = tmp_path / "streams"
    command = [*COMMAND, "encode", str(source), str(target), "--codec", "hevc", "--quality", "10", "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    until = time.monotonic() + 60
    while time.monotonic() < until and not list(target.rglob("*.smp")):
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = contents(target)
    assert 0 < len(before) < 11
    whole = {name: data for name, data in before.items() if name.endswith(".smp")}
    assert whole.items() <= contents(streams).items()
    times = {name: (target / name).stat().st_mtime_ns for name in whole}

    # What a kill can leave besides, and what a disk can do to a file.
    (target / ".street-0.png.smp.4711.part").write_bytes(b"half")
    damaged = sorted(whole)[0]
    (target / damaged).write_bytes(whole[damaged][:-3])
    done = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "failed: 'text.jpg' is not a picture" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["written"], summary["finished"]) == (11 - len(whole) + 1, len(whole) - 1)
    assert summary["failed"].keys() == BROKEN
    assert contents(target) == contents(streams)
    assert all((target / name).stat().st_mtime_ns == at for name, at in times.items() if name != damaged)


def test_pictures_come_back_and_the_whole_ones_stay(source, streams, tmp_path):
    for name, data in contents(streams).items():
        (tmp_path / "streams" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "streams" / name).write_bytes(data)
    (tmp_path / "streams" / "no.smp").write_text("not a stream")
    target = tmp_path / "pictures"
    first = batch.run(batch.Decoding(), str(tmp_path / "streams"), str(target), workers=1)
    assert (first.written, first.failed.keys()) == (11, {"no.smp"})
    assert "not a Sempic stream" in first.failed["no.smp"]
    clean = contents(target)
    for name, data in contents(streams).items():
        decoded = Image.open(BytesIO(clean[name.removesuffix(".smp") + ".png"]))
        assert np.array_equal(np.asarray(decoded), sempic.decode(data).image)
    (target / "street-0.png.png").write_bytes(clean["street-0.png.png"][:-20])
    again = batch.run(batch.Decoding(), str(tmp_path / "streams"), str(target), workers=1)
    assert (again.written, again.finished) == (1, 10)
    assert contents(target) == clean


def test_streams_of_other_settings_are_not_replaced_unasked(source, streams, tmp_path):
    (tmp_path / "street.png").write_bytes((source / "street-0.png").read_bytes())
    before = sempic.encode(Image.open(tmp_path / "street.png"), "hevc", quality=60)
    (tmp_path / "street.png.smp").write_bytes(before)
    here = str(tmp_path)  # source and target may be one
    for other in (encoding("jpeg"), encoding("hevc", size=300), encoding("hevc", bpp=0.3)):
        found = batch.run(other, here, here, workers=1)
        assert "--force" in found.failed["street.png"]
        assert (tmp_path / "street.png.smp").read_bytes() == before
    assert batch.run(encoding("hevc", size=300), here, here, workers=1, force=True).written == 1
    assert (tmp_path / "street.png.smp").stat().st_size <= 300


def test_protected_streams_are_made_finished_and_mended(tmp_path):
    frames = [Image.fromarray(draw(seed, 96, 64).image) for seed in range(2)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    here, made = str(tmp_path), tmp_path / "moving.gif.smp"
    command = [*COMMAND, "encode", here, here, "--codec", "hevc", "--bytes", "400", "--workers", "1", "--protect"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning: 'moving.gif' has 2 frames; the first one is taken." in done.stderr
    data = made.read_bytes()
    assert "protection" in [part.name for part in sempic.inspect(data).parts]
    assert len(data) <= 400
    task = encoding("hevc:protect=0.25", size=400)
    assert batch.run(task, here, here, workers=1).finished == 1
    made.write_bytes(data[:-8])  # no loss yet, but no longer what was made
    assert batch.run(task, here, here, workers=1).written == 1
    assert made.read_bytes() == data
    assert "protection" in batch.run(encoding("hevc", size=400), here, here, workers=1).failed["moving.gif"]


@pytest.mark.sqgan
def test_a_model_of_ones_own_is_used_and_told_from_others(source, tmp_path):
    own = shutil.copytree(runtime.SHIPPED / "sqgan-camvid11", tmp_path / "own")
    np.savez_compressed(own / runtime.TABLES, **runtime.model("sqgan-camvid11").tables, another=np.zeros(1))
    fingerprint = write_card(own, "sqgan").fingerprint
    pictures, streams = tmp_path / "pictures", tmp_path / "streams"
    pictures.mkdir()
    shutil.copy(source / "street-0.png", pictures)
    for arguments in (["encode", str(pictures), str(streams)], ["decode", str(streams), str(tmp_path / "decoded")]):
        command = [*COMMAND, *arguments, "--model", str(own), "--workers", "1"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert container.read((streams / "street-0.png.smp").read_bytes()).header.fingerprint == fingerprint
    assert Image.open(tmp_path / "decoded" / "street-0.png.png").size == (96, 64)
    found = batch.run(encoding("sqgan"), str(pictures), str(streams), workers=1)
    assert "another codec, model or" in found.failed["street-0.png"]
    with pytest.raises(ModelError, match="no model 'none'"):
        batch.run(batch.Decoding("none"), str(streams), str(tmp_path / "again"), workers=1)


def test_a_part_of_the_longest_name_is_known_again(tmp_path):
    name = "x" * 247 + ".png"
    Image.fromarray(draw(0, 64, 48).image).save(tmp_path / name)
    part = tmp_path / f".{'x' * 60}.4711.part"
    part.write_bytes(b"half")
    assert batch.run(HEVC, str(tmp_path), str(tmp_path), workers=1).written == 1
    assert contents(tmp_path).keys() == {name, f"{name}.smp"}


def test_archives_are_read_and_cannot_lead_out(source, tmp_path):
    with zipfile.ZipFile(tmp_path / "streets.zip", "w") as archive:
        archive.write(source / "street-0.png", "in/street.png")
        archive.write(source / "street-0.png", "../out.png")
    found = batch.run(HEVC, f"zip::{tmp_path / 'streets.zip'}", str(tmp_path / "to" / "streams"), workers=1)
    assert (found.written, found.left_out, found.failed) == (1, 1, {})
    assert contents(tmp_path).keys() == {"streets.zip", "to/streams/in/street.png.smp"}


@pytest.mark.skipif(os.name != "posix", reason="links and pipes as on POSIX")
def test_what_is_left_out_is_counted_and_the_parts_of_a_running_batch_stay(source, tmp_path):
    pictures, streams = tmp_path / "pictures", tmp_path / "streams"
    (pictures / "real").mkdir(parents=True)
    shutil.copy(source / "street-0.png", pictures / "real" / "street.png")
    (pictures / "link").symlink_to("real")
    (pictures / "loop").symlink_to(".")
    (pictures / "notes.txt").touch()
    (pictures / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(pictures / "pipe.png")
    stream = streams / "real" / "street.png.smp"
    stream.parent.mkdir(parents=True)
    (stream.parent / ".street.png.smp.1.part").write_bytes(b"half")
    with whole_file(stream) as running:
        running.write(b"of a batch that runs beside this one")
        command = [
            *COMMAND,
            "encode",
            str(pictures),
            str(streams),
            "--codec",
            "hevc",
            "--quality",
            "10",
            "--workers",
            "1",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.stdout.startswith("1 written, 0 finished before, 3 left out, 0 failed in "), done.stderr
        assert stream.read_bytes() == sempic.encode(pictures / "real" / "street.png", "hevc", quality=10)
    assert contents(streams) == {"real/street.png.smp": b"of a batch that runs beside this one"}


def test_pictures_of_ones_own_are_never_in_the_way(source, tmp_path):
    """Where pictures and streams share a folder; `photo.smp` is what `sempic encode photo.png` writes."""
    original = (source / "street-0.png").read_bytes()
    for name in ("photo.png", "a.png", "photo.decoded.png"):
        (tmp_path / name).write_bytes(original)
    (tmp_path / "old.jpg.png").write_bytes(b"\xff\xd8\xff, a JPEG file by its contents")
    stream = sempic.encode(tmp_path / "photo.png", "hevc", quality=10)
    for name in ("photo.smp", "a.png.smp", "old.jpg.smp"):
        (tmp_path / name).write_bytes(stream)
    before = contents(tmp_path)
    found = batch.run(batch.Decoding(), str(tmp_path), str(tmp_path), workers=1)
    assert (found.written, found.finished, found.left_out) == (1, 1, 2)
    assert found.failed == {"old.jpg.smp": "There is a file that is no PNG; name another DEST, or --force."}
    assert before.items() <= contents(tmp_path).items()
    assert batch.run(batch.Decoding(), str(tmp_path), str(tmp_path), workers=1, force=True).written == 3
    after = contents(tmp_path)
    assert after["a.png.png"] == after["photo.decoded.png"] == after["old.jpg.png"] != original
    assert after["photo.png"] == after["a.png"] == original


def test_a_file_that_is_no_stream_is_not_replaced_unasked(source, tmp_path):
    (tmp_path / "street.png").write_bytes((source / "street-0.png").read_bytes())
    (tmp_path / "street.png.smp").write_bytes(b"precious")
    found = batch.run(HEVC, str(tmp_path), str(tmp_path), workers=1)
    assert found.failed == {"street.png": "There is a file that is no stream; name another DEST, or --force."}
    assert (tmp_path / "street.png.smp").read_bytes() == b"precious"
    (tmp_path / "street.png.smp").write_bytes(b"")
    assert batch.run(HEVC, str(tmp_path), str(tmp_path), workers=1).written == 1


def test_a_damaged_archive_is_named_and_stops_nothing_else(source, tmp_path):
    with zipfile.ZipFile(tmp_path / "streets.zip", "w") as archive:
        for number in (0, 3):
            archive.write(source / f"street-{number}.png", f"{number}.png")
    data = bytearray((tmp_path / "streets.zip").read_bytes())
    data[200:220] = bytes(20)
    (tmp_path / "streets.zip").write_bytes(data)
    found = batch.run(HEVC, f"zip::{tmp_path / 'streets.zip'}", str(tmp_path / "to"), workers=1)
    assert (found.written, found.failed) == (1, {"0.png": "'0.png' cannot be read: Bad CRC-32 for file '0.png'."})


@pytest.mark.parametrize(
    ("task", "at", "says"),
    [
        (lambda: HEVC, "nowhere", "no pictures in 'nowhere'"),
        (lambda: batch.Decoding(), "{}", "no streams in"),
        (lambda: HEVC, "{}/street-0.png", "is a file"),
        (lambda: HEVC, "gopher://streets", "cannot be reached"),
        (lambda: encoding("gif"), "{}", "known are"),
        (lambda: encoding("hevc", quality=101), "{}", "0 to 100"),
        (lambda: encoding("hevc:colour=1"), "{}", "'colour' is not a setting"),
        (lambda: encoding("sqgan:model=none"), "{}", "no model 'none'"),
        (lambda: HEVC, "", "names no folder"),
        (lambda: HEVC, "memory://streets", "in the memory of one process"),
        (lambda: HEVC, "~nobody-at-all/streets", "no home folder for '~nobody-at-all'"),
    ],
)
def test_what_would_go_wrong_with_every_file_is_said_at_once(source, tmp_path, task, at, says):
    with pytest.raises(SempicError, match=says):
        batch.run(task(), at.format(source), str(tmp_path / "to"), workers=1)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["decode", "nowhere", "to"], "There are no streams in 'nowhere'."),
        (["encode", "", "to"], "'' names no folder; write . for the current one."),
        (["encode", ".", ""], "'' names no folder; write . for the current one."),
        (
            ["encode", ".", "memory://to"],
            "'memory://to' is in the memory of one process, and gone when it ends; name a folder.",
        ),
        (["encode", "zip::cut.zip", "to"], "'zip::cut.zip' cannot be reached or read: File is not a zip file."),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(tmp_path, arguments, says):
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4 and no more")
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"sempic: {says}"
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "to").exists()


@pytest.mark.slow
def test_ray_writes_the_same_files(source, streams, tmp_path):
    pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    found = batch.run(HEVC, str(source), str(tmp_path), workers=2, ray_address="local")
    assert found.failed.keys() == BROKEN
    assert contents(tmp_path) == contents(streams)
