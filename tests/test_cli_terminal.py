"""What the commands show on terminals of all kinds, and what they print where they are to be quiet."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import call, on_terminal
from PIL import Image
from typer.main import get_command

import sempic
from sempic import cli, runtime
from sempic.scene import draw

COMMAND = [sys.executable, "-m", "sempic"]
HEVC = ("--codec", "hevc", "--quality", "10")
NARROW = {"COLUMNS": "40"}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def run(folder: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        words, cwd=folder, env=os.environ | variables, capture_output=True, text=True, encoding="utf-8", timeout=120
    )


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command and group."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, one in getattr(command, "commands", {}).items():
            yield from below(one, (*words, name))

    return below(get_command(cli.app), ())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(draw(0, 160, 120).image).save(tmp_path / "street.png")
    return tmp_path


@pytest.fixture
def stream(folder: Path) -> Path:
    data = sempic.encode(Image.open(folder / "street.png"), "hevc", quality=10)
    (folder / "street.smp").write_bytes(data)
    return folder / "street.smp"


# -- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_is_whole_on_a_narrow_terminal(tmp_path, monkeypatch, words):
    shown = {}
    for columns, option in ((80, "--help"), (40, "-h")):
        monkeypatch.setenv("COLUMNS", str(columns))
        done = call(tmp_path, *words, option)
        assert (done.returncode, done.stderr) == (0, b"")
        shown[columns] = done.stdout.decode()
        assert max(map(len, shown[columns].splitlines())) <= columns
        assert shown[columns].startswith(" ".join(["Usage: sempic", *words]))
        assert not re.search(r"\w\.\.\.", shown[columns].replace("VALUE...", ""))  # as of a sentence that is cut
    wide, narrow = ([word for word in text.split() if word != "\\"] for text in shown.values())
    assert wide == narrow


def test_the_examples_of_narrow_help_are_commands(tmp_path):
    text = run(tmp_path, "calibrate", "-h", **NARROW).stdout
    assert '--shown "" \\\n      --name "an aerial picture"\n' in text


def test_python_runs_the_package_under_the_commands_name(tmp_path):
    for words in ((), ("-h",), ("batch", "encode", "-h")):
        done = run(tmp_path, *words)
        assert done.returncode == 0
        assert done.stdout.startswith("Usage: sempic ")
        assert "python" not in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_completes(tmp_path, shell):
    script = run(tmp_path, _SEMPIC_COMPLETE=f"source_{shell}").stdout
    assert "_SEMPIC_COMPLETE=complete_" in script
    assert "sempic" in script
    if shell == "bash":
        asked = {"COMP_WORDS": "sempic enc", "COMP_CWORD": "1"}
        assert run(tmp_path, _SEMPIC_COMPLETE="complete_bash", **asked).stdout.split() == ["encode"]
        assert "--show-completion" in run(tmp_path, "--help").stdout


# -- tables and progress ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [("codecs",), ("codecs", "spic"), ("models",), ("inspect", "street.smp")], ids=" ".join
)
def test_tables_are_whole_on_a_narrow_terminal(folder, stream, monkeypatch, words):
    shown = {}
    for columns in (200, 80, 40):
        monkeypatch.setenv("COLUMNS", str(columns))
        shown[columns] = call(folder, *words).stdout.decode()
        assert max(map(len, shown[columns].splitlines())) <= columns
    every = [set(re.findall(r"[^\s─]+", text.replace(":", ""))) for text in shown.values()]
    assert every[0] == every[1]
    assert every[0] - {"name", "part"} <= every[2]  # the first column's name stands over nothing there
    assert "─" in shown[80]


def test_brackets_are_text(folder, stream):
    stream.rename(folder / "[red].smp")
    assert "[red].png" in on_terminal(folder, *COMMAND, "decode", "[red].smp", "-o", "[red].png")
    (folder / "[bold]").mkdir()
    (folder / "street.png").rename(folder / "[bold]" / "street.png")
    assert "folder in [bold]" in run(folder, "data", "check", "[bold]").stdout


SLOW = """
import time
from sempic import api, cli
analysed = api.analyse
api.analyse = lambda *given: time.sleep(1.5) or analysed(*given)
cli.main()
"""


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_what_takes_long_shows_that_it_is_at_work(folder, variables):
    asked = ("encode", "street.png", *HEVC, "--force")
    shown = on_terminal(folder, sys.executable, "-c", SLOW, *asked, **variables)
    assert "street.png" in shown.split("street.smp:")[0]
    assert "0:00:01" in shown
    assert bool(COLOUR.search(shown)) != bool(variables)
    assert "bpp" in COLOUR.sub("", shown).splitlines()[-1]
    assert on_terminal(folder, sys.executable, "-c", SLOW, *asked, "--quiet") == ""


def test_no_colour_where_none_is_wanted(folder, stream):
    for words in (("inspect", "street.smp"), ("encode", "absent.png"), ("--install-completion",)):
        asked = ("bash", "-c", shlex.join([*COMMAND, *words]) + "; true")  # for the shell is looked for
        assert not COLOUR.search(on_terminal(folder, *asked, NO_COLOR="1", HOME=str(folder)))
    assert "_SEMPIC_COMPLETE" in (folder / ".bash_completions" / "sempic.sh").read_text()


def test_sentences_are_wrapped_on_terminals_alone(folder):
    asked = ("encode", "street.png", "--bytes", "nonsense")
    shown = on_terminal(folder, *COMMAND, *asked, columns=40)
    assert max(map(len, shown.splitlines())) <= 40
    assert len(run(folder, *asked, **NARROW).stderr.splitlines()) == 1


# -- quiet ------------------------------------------------------------------------------------------------------------


def test_quiet_commands_print_what_is_asked_for_and_errors(folder, stream):
    Image.open(folder / "street.png").save(
        folder / "moving.gif", save_all=True, append_images=[Image.new("RGB", (9, 9))]
    )
    (folder / "cut.smp").write_bytes(stream.read_bytes()[:-3])
    (folder / "all").mkdir()
    (folder / "street.png").rename(folder / "all" / "street.png")
    for words in (
        ("encode", "moving.gif", *HEVC),
        ("decode", "street.smp", "-o", "out.png"),
        ("channel", "street.smp", "-o", "sent.smp"),
        ("compare", "moving.gif", "--bytes", "2k", "--codecs", "hevc,webp"),
        ("batch", "encode", "all", "streams", *HEVC, "--workers", "1"),
    ):
        done = call(folder, *words, "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), words
    done = run(folder, "encode", "moving.gif", *HEVC, "--force", "--json", "-q")
    assert json.loads(done.stdout)["output"] == "moving.smp"
    assert done.stderr == ""
    done = run(folder, "encode", "moving.gif", *HEVC, "-q")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sempic: 'moving.smp' exists")


def test_warnings_are_printed_otherwise(folder):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    asked = ("compare", "moving.gif", "--bytes", "2k", "--codecs", "hevc", "-o")
    for name in ("a.png", "b.png"):  # and not only the first time
        assert "sempic: warning: 'moving.gif' has 2 frames" in call(folder, *asked, name).stderr.decode()


# -- sizes ------------------------------------------------------------------------------------------------------------


def test_sizes_are_taken_as_people_write_them(folder):
    for text, most in (("1kb", 1000), ("1k", 1000), ("1.2 kB", 1200), ("1KiB", 1024)):
        done = call(folder, "encode", "street.png", "--codec", "hevc", "--bytes", text, "--json", "-f")
        assert 0.8 * most < json.loads(done.stdout)["bytes"] <= most
    assert "k is 1000" in call(folder, "encode", "-h").stdout.decode()
    done = run(folder, "encode", "street.png", "--bytes", "a furlong")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'a furlong' is no number of bytes above 0; write 600, 1k or 2.5kB (k is 1000)" in done.stderr


@pytest.mark.parametrize(
    ("size", "found"),
    [("80x60", (80, 60)), ("80X100", (80, 60)), ("400 × 30", (40, 30)), ("480x360", (160, 120))],
)
def test_larger_pictures_are_scaled_down_to_a_size(folder, size, found):
    (folder / "in").mkdir()
    (folder / "street.png").rename(folder / "in" / "street.png")
    done = call(folder, "encode", "in/street.png", *HEVC, "--size", size, "-o", "a.smp", "--json")
    made = json.loads(done.stdout)
    assert (made["width"], made["height"]) == found
    assert made["bpp"] == pytest.approx(8 * made["bytes"] / (found[0] * found[1]))
    if size == "80x60":
        asked = ("batch", "encode", "in", "out", *HEVC, "--workers", "1")
        done = call(folder, *asked, "--size", size)
        assert done.returncode == 0, done.stderr
        assert (folder / "out" / "street.png.smp").read_bytes() == (folder / "a.smp").read_bytes()
        assert b"1 finished before" in call(folder, *asked, "--size", "100x100").stdout
        assert b"above this size" in call(folder, *asked, "--size", "60x60").stderr


@pytest.mark.parametrize("size", ["480", "480x", "axb", "-4x7", "480x3", "9000x9000"])
def test_other_sizes_are_an_error(folder, size):
    done = call(folder, "encode", "street.png", *HEVC, f"--size={size}")
    assert done.returncode == 2
    assert re.search("write 480x360|from 16 to 8192", done.stderr.decode())


def test_a_demo_is_drawn_with_the_size_that_is_asked_for(folder, monkeypatch):
    pictures = []

    def shown(picture, sizes, progress):
        pictures.append((picture.shape, sizes))
        return [], Image.new("RGB", (9, 9)), {}

    monkeypatch.setattr("sempic.demo.run", shown)
    for words in ((), ("--size", "96x64"), ("street.png", "--size", "80x80", "--bytes", "1kB", "--bytes", "600")):
        assert call(folder, "demo", *words, "-q").returncode == 0
    assert pictures == [((360, 480, 3), []), ((64, 96, 3), []), ((60, 80, 3), [1000, 600])]


WITHOUT_NETWORKS = """
from sempic import cli, runtime
def loaded(*given):
    raise AssertionError("a network was loaded")
runtime.Network = loaded
cli.main()
"""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("encode", "street.png", "--quality", "101"), "from 0 to 100"),
        (("encode", "street.png", "--bpp", "-1"), "above 0"),
        (("encode", "street.png", "--bytes", "0"), "above 0"),
        (("encode", "street.png", "--size", "5x5"), "from 16"),
        (("batch", "encode", ".", "out", "--quality", "-1"), "from 0 to 100"),
        (("compare", "street.png", "--bytes", "-5"), "above 0"),
        (("demo", "street.png", "--bytes", "600", "--bytes", "0"), "above 0"),
        (("bench", ".", "--points", "0.1,q101"), "from 0 to 100"),
    ],
    ids=str,
)
def test_sizes_are_checked_before_any_network_is_loaded(folder, words, says):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORKS, *words], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "a network was loaded" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not runtime.models(), reason="no models")
def test_that_stand_in_is_where_networks_are_loaded(folder):
    command = [sys.executable, "-c", WITHOUT_NETWORKS, "encode", "street.png"]
    assert "a network was loaded" in subprocess.run(command, cwd=folder, capture_output=True, text=True).stderr


# -- the other command ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["decode", "inspect"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_not_decoded(folder, command, form):
    Image.open(folder / "street.png").save(folder / "photo", form)
    done = call(folder, command, "photo", *(("-o", "out.png") if command == "decode" else ()))
    assert done.returncode == 1
    assert done.stderr.decode() == (f"sempic: 'photo' is a {form} picture, not a Sempic stream; did you mean encode?\n")


@pytest.mark.parametrize("protect", [False, True])
def test_a_stream_is_not_encoded(folder, protect):
    data = sempic.encode(np.zeros((64, 64, 3), np.uint8), "hevc", quality=10, protect=protect)
    (folder / "a.smp").write_bytes(data)
    for words in (("encode", "a.smp", "-o", "b.smp"), ("compare", "a.smp", "--bytes", "600"), ("demo", "a.smp")):
        done = call(folder, *words)
        assert done.returncode == 1
        assert done.stderr.decode() == ("sempic: 'a.smp' is a Sempic stream, not a picture; did you mean decode?\n")


# -- what is left out -------------------------------------------------------------------------------------------------


def test_what_is_left_out_is_counted(folder):
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.png").write_text("no picture")
    (folder / ".hidden").write_text("")
    shown = call(folder, "data", "check", ".").stdout.decode()
    assert "folder has 1 that cannot be used: broken.png." in shown
    assert shown.splitlines()[-1] == "folder: files of other kinds that are left out: 1."
    done = run(folder, "batch", "encode", ".", "out", *HEVC, "--workers", "1")
    assert "1 written, 0 finished before, 2 left out, 1 failed in" in done.stdout
    pytest.importorskip("bjontegaard")
    asked = ("--codecs", "hevc", "--points", "0.1", "--metrics", "psnr", "--workers", "1")
    done = call(folder, "bench", ".", *asked)
    assert done.stderr.decode().splitlines()[-1] == "sempic: warning: 1 of 2 pictures were left out."
    done = call(folder, "bench", ".", *asked, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
