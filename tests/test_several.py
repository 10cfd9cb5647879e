"""Commands that take several inputs, and patterns that a shell has not expanded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import call
from PIL import Image

import sempic
from sempic.scene import draw

HEVC = ("--codec", "hevc", "--quality", "10")
NAMES = ("a.png", "b.jpg", "deep/c.png", "odd[1].png")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for seed, name in enumerate(NAMES):
        Image.fromarray(draw(seed, 96, 64).image).save(tmp_path / name)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def stream(folder: Path, name: str) -> bytes:
    return sempic.encode(folder / name, "hevc", quality=10)


def test_several_inputs_are_written_beside_each_and_come_back(photos):
    command = [sys.executable, "-m", "sempic"]
    done = subprocess.run(
        [*command, "encode", "*.png", "deep/c.png", *HEVC], cwd=photos, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["a.smp", "odd[1].smp", "deep/c.smp"]
    for name in ("a.png", "deep/c.png", "odd[1].png"):
        assert (photos / name).with_suffix(".smp").read_bytes() == stream(photos, name)
    before = contents(photos)
    done = subprocess.run([*command, "decode", "**/*.smp", "-o", "new/pictures"], cwd=photos, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert contents(photos / "new" / "pictures").keys() == {"a.decoded.png", "c.decoded.png", "odd[1].decoded.png"}
    assert before.items() <= contents(photos).items()


def test_a_folder_for_one_input_has_a_slash(photos):
    for given in (["a.png"], ["[a].png"]):
        assert call(photos, "encode", *given, *HEVC, "-o", "out/", "--force").returncode == 0
    assert call(photos, "encode", "[a].png", *HEVC, "-o", "pattern").returncode == 0
    assert contents(photos / "out") == contents(photos / "pattern") == {"a.smp": stream(photos, "a.png")}
    assert b"or 'out/' to write into it" in call(photos, "encode", "a.png", *HEVC, "-o", "out").stderr


def test_the_name_of_a_file_is_no_pattern(photos):
    assert call(photos, "encode", "odd[1].png", *HEVC, "-o", "x.smp").returncode == 0
    assert (photos / "x.smp").read_bytes() == stream(photos, "odd[1].png")


def test_home_folders_are_found_as_by_a_shell(photos, monkeypatch):
    monkeypatch.setenv("HOME", str(photos))
    monkeypatch.setenv("USERPROFILE", str(photos))
    assert call(photos / "deep", "encode", "~/a.*", "~/b.jpg", *HEVC, "-o", "out").returncode == 0
    assert contents(photos / "deep" / "out").keys() == {"a.smp", "b.smp"}


def test_one_that_fails_stops_no_other(photos):
    (photos / "b.smp").write_bytes(b"precious")
    given = ["absent.png", "a.png", "b.jpg", "deep", "deep/c.png"]
    done = call(photos, "encode", *given, *HEVC)
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stdout.decode().splitlines()] == ["a.smp", "deep/c.smp"]
    lines = done.stderr.decode().splitlines()
    assert lines[0] == "sempic: failed: 'absent.png': No such file or directory."
    assert lines[1].startswith("sempic: failed: b.jpg: 'b.smp' exists")
    assert lines[2] == "sempic: failed: 'deep' is a folder; sempic batch takes folders."
    assert (photos / "b.smp").read_bytes() == b"precious"


def test_the_report_of_several_is_a_list(photos):
    done = call(photos, "encode", "a.png", "absent.png", "b.jpg", *HEVC, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert [one["input"] for one in found] == ["a.png", "absent.png", "b.jpg"]
    assert [one.get("bytes") for one in found] == [len(stream(photos, "a.png")), None, len(stream(photos, "b.jpg"))]
    assert found[1] == {"input": "absent.png", "error": "'absent.png': No such file or directory."}
    assert isinstance(json.loads(call(photos, "decode", "a.smp", "--json").stdout), dict)


def test_warnings_name_their_file(photos):
    for name in ("a.png", "b.jpg"):
        (photos / name).with_suffix(".smp").write_bytes(stream(photos, name) + b"more")
    done = call(photos, "decode", "a.smp", "b.smp")
    lines = done.stderr.decode().splitlines()
    assert [line[: len("sempic: warning: a.smp: ")] for line in lines] == [
        "sempic: warning: a.smp: ",
        "sempic: warning: b.smp: ",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["encode", "x*.png"], 1, "No file has a name like 'x*.png'."),
        (["encode", "a.png", ""], 1, "The name of an input is empty."),
        (["encode", "a.png", "-"], 1, "Standard input"),
        (["encode", "a.png", "b.jpg", "-o", "-"], 1, "'-' cannot take several results"),
        (["encode", "a.png", "b.jpg", "-o", "x.smp"], 1, "'x.smp' cannot take several results"),
        (["encode", "a.png", "b.jpg", "-o", "b.jpg"], 1, "'b.jpg' cannot take several results"),
        (["encode", "a.png", "deep/../a.jpg"], 1, "'a.png' and 'deep/../a.jpg' would both become 'deep/../a.smp'"),
        (["encode", "a.png", "b.jpg", "--set", "segmap=a.png", "--codec", "sqgan"], 2, "A segmap is that of one input"),
        (["decode", "a.smp", "b.smp", "--segmap-out", "x.png"], 2, "A segmap is that of one input"),
        (["encode", "a.png", "b.jpg", "--codec", "gif"], 1, "known are"),
    ],
)
def test_what_would_go_wrong_with_all_is_one_sentence(photos, arguments, code, says):
    before = contents(photos)
    done = call(photos, *arguments, *([] if "--codec" in arguments or arguments[0] == "decode" else HEVC))
    (line,) = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (code, b"")
    assert line.startswith("sempic: ")
    assert says in line
    assert contents(photos) == before


@pytest.mark.skipif(os.name != "posix", reason="pipes as on POSIX")
def test_a_pattern_stands_for_files_alone(photos):
    os.mkfifo(photos / "pipe.png")
    (photos / "folder.png").mkdir()
    (photos / ".hidden.png").write_bytes(b"")
    assert call(photos, "encode", "*.png", *HEVC).returncode == 0
    assert {name for name in contents(photos) if name.endswith(".smp")} == {"a.smp", "odd[1].smp"}
