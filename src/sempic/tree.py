"""All files below a folder, or below an address of fsspec such as `s3://bucket/streets`."""

from __future__ import annotations

import os
import posixpath
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from sempic.errors import InputError, SempicError
from sempic.files import expanded, part_of, remove_left_over, stem_of, whole_file


@dataclass(frozen=True)
class Listing:
    """What is in a tree.

    names: the files.
    others: how many things there are that are no files: pipes, sockets, devices, and links to nothing.
    unread: a sentence about each folder that cannot be read, by its name.
    """

    names: list[str] = field(default_factory=list)
    others: int = 0
    unread: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tree:
    """All files below a folder, named from there on."""

    files: Any  # fsspec's file systems carry no types
    root: str

    @classmethod
    def at(cls, address: str) -> Tree:
        """Return the tree of a folder or an address; raise `InputError` for one that fsspec cannot make sense of."""
        if not address.strip() or address.endswith("://"):
            raise InputError(f"'{address}' names no folder; write . for the current one.")
        place = str(expanded(address)) if address.startswith("~") else address
        with _sentences(f"'{address}' cannot be reached or read"):
            files, root = fsspec.url_to_fs(place)
            is_file = files.isfile(root)
        if is_file:
            raise InputError(f"'{address}' is a file; name a folder.")
        return cls(files, root if not root or root.endswith("/") else f"{root}/")

    @property
    def is_here(self) -> bool:
        """Whether it is a folder of this machine."""
        return isinstance(self.files, LocalFileSystem)

    @property
    def is_in_memory(self) -> bool:
        """Whether it is in the memory of this process, where other processes do not find it."""
        files = self.files
        while (inner := getattr(files, "fs", None)) is not None:  # of a folder or a cache of another file system
            files = inner
        return isinstance(files, MemoryFileSystem)

    def listing(self) -> Listing:
        """Return what is in the tree; nothing where there is no such folder."""
        if self.is_here:
            return _walk(self.root)
        with _sentences(f"'{self.root}' cannot be read"):
            return Listing(sorted(path.removeprefix(self.root) for path in self.files.find(self.root)))

    def has(self, name: str) -> bool:
        """Whether there is a file; raise `InputError` where a pipe, a device or a folder has its name."""
        path = self.root + name
        if self.is_here:
            if os.path.lexists(path) and not os.path.isfile(path):
                raise InputError(f"'{path}' exists, and is not a file.")
            return os.path.isfile(path)
        with _sentences(f"'{name}' cannot be looked for"):
            try:
                return bool(self.files.info(path)["type"] == "file")
            except FileNotFoundError:
                return False

    def read(self, name: str) -> bytes:
        """Return what is in a file."""
        with _sentences(f"'{name}' cannot be read"):
            data: bytes = self.files.cat_file(self.root + name)
            return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file that appears when it is whole: here by renaming it, elsewhere if that is the store's way."""
        path = self.root + name
        if self.is_here:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with whole_file(Path(path)) as file:
                file.write(data)
        else:
            with _sentences(f"'{name}' cannot be written"):
                self.files.makedirs(posixpath.dirname(path), exist_ok=True)
                self.files.pipe_file(path, data)

    def tidy(self, names: Iterable[str]) -> None:
        """Delete what killed processes have left unfinished of these files; what a process is writing stays."""
        if not self.is_here:  # other stores are written without parts
            return
        stems = defaultdict[str, set[str]](set)
        for folder, name in map(posixpath.split, names):
            stems[folder].add(stem_of(name))
        for folder, wanted in stems.items():
            for path in Path(self.root, folder).glob(".*.part"):
                if part_of(path.name) in wanted:
                    remove_left_over(path)


def is_hidden(name: str) -> bool:
    """Whether a name, or a folder in it, starts with a dot; so does `..`, which an archive may use to get out."""
    return any(part.startswith(".") for part in name.split("/"))


def _walk(root: str) -> Listing:
    """Return what is in a folder of this machine, whose path ends with a slash.

    Links to folders are followed, and each folder is entered once: by its own name, if it is in the tree. Not entered
    are folders that the root is in. Links in hidden folders are not followed.
    """
    names, others, unread = list[str](), 0, dict[str, str]()
    entered, links = set(map(str, Path(os.path.realpath(root)).parents)), deque([root])

    def note(error: OSError) -> None:
        name = str(error.filename).removeprefix(root).replace(os.sep, "/")
        if isinstance(error, FileNotFoundError) or is_hidden(name):
            return
        if not name:
            raise error
        unread[name] = f"{error.strerror}."

    while links:
        for folder, folders, files in os.walk(links.popleft(), onerror=note):
            folders.sort()
            below = folder.removeprefix(root)
            if not is_hidden(below.replace(os.sep, "/")):
                if (real := os.path.realpath(folder)) in entered:
                    folders.clear()
                    continue
                entered.add(real)
                links.extend(path for one in folders if os.path.islink(path := os.path.join(folder, one)))
            for file in files:
                if os.path.isfile(os.path.join(folder, file)):
                    names.append(os.path.join(below, file).replace(os.sep, "/"))
                else:
                    others += 1
    return Listing(sorted(names), others, unread)


@contextmanager
def _sentences(what: str) -> Iterator[None]:
    """Turn all that a store raises into an `InputError`: each has classes of its own, and so do damaged archives."""
    try:
        yield
    except SempicError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            raise
        words = " ".join(str(error).split()).removesuffix(".")
        raise InputError(f"{what}: {words or type(error).__name__}.") from error
