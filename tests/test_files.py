"""Files written with care: parts that are in nobody's way, home folders, and formats that cannot hold a picture."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from sempic import fetch
from sempic.errors import InputError, ModelError
from sempic.files import expanded, part_name, part_of, remove_left_over, saved, stem_of, whole_file


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    """Nor do two processes with one number, as the first ones of two containers are."""
    path = tmp_path / "out.smp"
    with whole_file(path) as slow:
        slow.write(b"slow")
        with whole_file(path) as quick:
            quick.write(b"quick")
        assert path.read_bytes() == b"quick"
    assert path.read_bytes() == b"slow"
    assert names(tmp_path) == {"out.smp"}


def test_a_block_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "out.smp"
    path.write_bytes(b"precious")
    with suppress(KeyError), whole_file(path) as file:
        file.write(b"half")
        raise KeyError
    assert path.read_bytes() == b"precious"
    assert names(tmp_path) == {"out.smp"}


def test_a_file_has_the_mode_of_any_other(tmp_path):
    with whole_file(tmp_path / "whole") as file:
        file.write(b"")
    (tmp_path / "plain").touch()
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_names_of_parts():
    for name in ("a.smp", "x" * 255, "路" * 80):
        part = part_name(name)
        assert part_of(part) == stem_of(name)
        assert part_name(name) != part
        assert len(part.encode()) <= 255
    assert part_of(".a.smp.4711.part") == "a.smp"
    assert not any(map(part_of, ("a.smp", ".a.part", "a.smp.4711.part", ".a.smp.4711")))


def test_a_part_is_deleted_only_where_nobody_writes_it(tmp_path):
    remove_left_over(tmp_path / ".absent.smp.00.part")
    (tmp_path / ".folder.smp.00.part").mkdir()
    remove_left_over(tmp_path / ".folder.smp.00.part")
    left = tmp_path / ".a.smp.00.part"
    left.write_bytes(b"half")
    remove_left_over(left)
    assert not left.exists()
    with whole_file(tmp_path / "a.smp") as file:
        (part,) = (path for path in tmp_path.iterdir() if part_of(path.name) == "a.smp")
        remove_left_over(part)
        here = "from sempic.files import *; import sys, pathlib; remove_left_over(pathlib.Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", here, str(part)], check=True)
        file.write(b"whole")
    assert (tmp_path / "a.smp").read_bytes() == b"whole"


def test_home_folders_that_are_not_there_are_named(monkeypatch):
    assert expanded("~/a") == Path.home() / "a"
    with pytest.raises(InputError, match="no home folder for '~nobody-at-all'"):
        expanded("~nobody-at-all/a")

    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pytest.importorskip("pwd"), "getpwuid", nobody)
    with pytest.raises(InputError, match="no home folder for '~'"):
        expanded("~/a")
    with pytest.raises(ModelError, match="no home folder"):
        fetch.fetch("https://127.0.0.1:9/model")


@pytest.mark.parametrize("form", ["XBM", "BLP", "HDF5", "none"])
def test_a_format_that_cannot_hold_a_picture_is_named(form):
    with pytest.raises(InputError, match=f"cannot be written as {form}: "):
        saved(Image.new("RGB", (20, 20)), form)
