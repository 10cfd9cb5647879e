"""Files written with care."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sempic.errors import InputError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from PIL import Image

_PART = re.compile(r"\.(.+)\.[0-9a-f]+\.part", re.DOTALL)
_STEM = 60  # a file's name may have 255 bytes, a character of it four


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears as `path`, or replaces the one there, only when the block has ended well.

    A process that is killed leaves what it has written under a name that `part_of` finds, and that is in nobody's way.
    """
    part = path.with_name(part_name(path.name))
    try:
        with _held(part):
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _held(part: Path) -> Iterator[None]:
    """Make a part, and keep `remove_left_over` of all processes from deleting it while the block runs."""
    with part.open("xb") as lock:
        if sys.platform == "win32":
            lock.close()  # an open file cannot be renamed there, and nobody deletes the part while it is written
        else:
            with suppress(OSError):  # of file systems without locks, where left-over parts stay
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def part_name(name: str) -> str:
    """Return a name for the unfinished part of a file; no other process, on any machine, makes the same."""
    return f".{stem_of(name)}.{secrets.token_hex(4)}.part"


def part_of(name: str) -> str | None:
    """Return the stem of the file of which a part has this name; None if it is no name of a part."""
    found = _PART.fullmatch(name)
    return found[1] if found else None


def stem_of(name: str) -> str:
    """Return what the name of a file's part has of the file's own: all, unless it would be too long."""
    return name[:_STEM]


def remove_left_over(part: Path) -> None:
    """Delete the part of a file that a killed process has left; one that a process is writing, or may be, stays."""
    with suppress(OSError):
        if sys.platform == "win32":
            part.unlink()
            return
        with part.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def expanded(path: str) -> Path:
    """Return a path with the home folder for `~` or `~user`; raise `InputError` where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"There is no home folder for '{Path(path).parts[0]}'.") from None


def saved(picture: Image.Image, form: str) -> bytes:
    """Return a picture as a file in one of Pillow's formats; raise `InputError` where that cannot hold it."""
    out = BytesIO()
    try:
        picture.save(out, form)
    except Exception as error:  # every format of Pillow's has its own way to fail
        raise InputError(f"The picture cannot be written as {form}: {str(error) or type(error).__name__}.") from error
    return out.getvalue()
