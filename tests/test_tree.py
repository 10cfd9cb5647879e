"""Trees of files: links, what is no file, archives that are damaged, addresses that lead nowhere."""

from __future__ import annotations

import os
import random
import socket
import tarfile
import zipfile
from pathlib import Path

import fsspec
import pytest

from sempic.errors import InputError
from sempic.files import part_of, whole_file
from sempic.tree import Tree, is_hidden

posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes as on POSIX")


def fill(folder: Path, *names: str) -> None:
    """Write a small file under each of the names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def listed(folder: Path) -> list[str]:
    return Tree.at(str(folder)).listing().names


@posix
def test_each_folder_is_entered_once_by_its_own_name(tmp_path):
    fill(tmp_path, "in/real/a", "in/real/deep/b", "out/c", "out/more/d")
    root = tmp_path / "in"
    for link, to in {
        "another": "real",  # comes before its folder, whose name counts nevertheless
        "zoo": "../out",
        "zoo2": "../out/more",
        "self": ".",
        "real/up": "..",
        "real/deep/above": str(tmp_path),
        "gone": "nowhere",
        "file": "real/a",
    }.items():
        (root / link).symlink_to(to)
    (tmp_path / "out" / "back").symlink_to(root)
    assert listed(root) == ["file", "real/a", "real/deep/b", "zoo/c", "zoo/more/d"]
    assert Tree.at(str(root)).listing().others == 1
    (tmp_path / "link").symlink_to(root)
    assert listed(tmp_path / "link") == listed(root)


@posix
def test_a_hidden_folder_does_not_hide_what_a_link_shows(tmp_path):
    fill(tmp_path, ".store/a", "b")
    (tmp_path / "shown").symlink_to(".store")
    (tmp_path / ".store" / "out").symlink_to("/")
    assert listed(tmp_path) == [".store/a", "b", "shown/a"]


@posix
def test_what_is_no_file_is_counted_and_not_read(tmp_path):
    fill(tmp_path, "a")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket.png"))
    found = Tree.at(str(tmp_path)).listing()
    assert (found.names, found.others, found.unread) == (["a"], 3, {})
    with pytest.raises(InputError, match=r"pipe.png' exists, and is not a file"):
        Tree.at(str(tmp_path)).has("pipe.png")


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root reads all folders")
def test_folders_that_cannot_be_read_are_named(tmp_path):
    fill(tmp_path, "a", "closed/b", ".hidden/c")
    for name in ("closed", ".hidden"):
        (tmp_path / name).chmod(0)
    found = Tree.at(str(tmp_path)).listing()
    assert (found.names, found.unread) == (["a"], {"closed": "Permission denied."})
    with pytest.raises(PermissionError):
        Tree.at(str(tmp_path / "closed")).listing()


def test_hidden_names():
    assert all(map(is_hidden, (".a", "a/.b", ".a/b", "../a")))
    assert not any(map(is_hidden, ("a", "a/b.c", "")))


def test_any_store_can_be_written():
    tree = Tree.at("memory://bucket/streams")
    assert not tree.has("a/b.smp")
    tree.write("a/b.smp", b"stream")
    assert tree.listing().names == ["a/b.smp"]
    assert tree.has("a/b.smp")
    assert not tree.has("a")
    assert tree.read("a/b.smp") == fsspec.filesystem("memory").cat_file("/bucket/streams/a/b.smp") == b"stream"


@pytest.mark.parametrize("address", ["memory://bucket", "dir::memory://bucket"])
def test_what_is_in_the_memory_of_one_process_is_found_out(address):
    assert Tree.at(address).is_in_memory


@posix
def test_left_over_parts_go_and_those_that_are_written_stay(tmp_path):
    fill(tmp_path, "a/.b.smp.4711.part", "a/.b.smp.0badcafe.part", "a/.other.smp.4711.part", ".b.smp.4711.part")
    with whole_file(tmp_path / "a" / "b.smp"):
        Tree.at(str(tmp_path)).tidy(["a/b.smp", "absent/b.smp"])
        (part,) = (path.name for path in (tmp_path / "a").iterdir() if part_of(path.name) == "b.smp")
    assert part not in (".b.smp.4711.part", ".b.smp.0badcafe.part")
    assert listed(tmp_path) == [".b.smp.4711.part", "a/.other.smp.4711.part", "a/b.smp"]


# -- addresses that cannot be used ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    """Archives of three files, whole, cut in the middle and with a damaged file; and what is no archive."""
    folder = tmp_path_factory.mktemp("archives")
    noise = random.Random(0).randbytes(30000)
    for name in ("a.png", "b.png", "c.png"):
        (folder / name).write_bytes(noise)
    with zipfile.ZipFile(folder / "whole.zip", "w") as archive:
        for name in ("a.png", "b.png", "c.png"):
            archive.write(folder / name, name)
    for kind in ("", "gz", "bz2", "xz"):
        with tarfile.open(folder / f"whole.tar{kind and '.'}{kind}", f"w:{kind}") as archive:
            for name in ("a.png", "b.png", "c.png"):
                archive.add(folder / name, name)
    for path in list(folder.glob("whole.*")):
        data = path.read_bytes()
        kind = path.name.removeprefix("whole.")
        (folder / f"cut.{kind}").write_bytes(data[: len(data) // 2])
        (folder / f"empty.{kind}").write_bytes(b"")
        (folder / f"text.{kind}").write_text("This is no archive. " * 99)
        (folder / f"damaged.{kind}").write_bytes(data[:900] + bytes(200) + data[1100:])
    return folder


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_damaged_archives_are_named(archives, kind):
    protocol = kind.partition(".")[0]
    whole = Tree.at(f"{protocol}::{archives}/whole.{kind}")
    assert whole.listing().names == ["a.png", "b.png", "c.png"]
    assert whole.read("b.png") == (archives / "b.png").read_bytes()
    for damage in ("cut", "empty", "text"):
        with pytest.raises(InputError, match=f"{damage}.{kind}' cannot be reached or read: .+"):
            Tree.at(f"{protocol}::{archives}/{damage}.{kind}")


def test_a_damaged_file_in_an_archive_is_named(archives):
    tree = Tree.at(f"zip::{archives}/damaged.zip")
    assert len(tree.read("b.png")) == 30000
    with pytest.raises(InputError, match=r"'a.png' cannot be read: Bad CRC-32"):
        tree.read("a.png")


def test_an_archive_is_not_written(archives):
    tree = Tree.at(f"zip::{archives}/whole.zip")
    with pytest.raises(InputError, match=r"'d.png' cannot be written: "):
        tree.write("d.png", b"")
    assert tree.listing().names == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "names no folder"),
        (" ", "names no folder"),
        ("file://", "names no folder"),
        ("s3://", "names no folder"),
        ("~nobody-at-all/pictures", "no home folder for '~nobody-at-all'"),
        ("gopher://streets", "cannot be reached or read: Protocol not known"),
        ("{}/whole.zip", "is a file; name a folder"),
    ],
)
def test_addresses_that_lead_nowhere(archives, address, says):
    with pytest.raises(InputError, match=says):
        Tree.at(address.format(archives))
    assert Tree.at(str(archives / "absent")).listing().names == []
