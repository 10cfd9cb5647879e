"""Files written with care."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

_PART = re.compile(r"\.(.+)\.[0-9]+\.part", re.DOTALL)
_STEM = 60  # a file's name may have 255 bytes, a character of it four


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears as `path`, or replaces the one there, only when the block has ended well.

    A process that is killed leaves what it has written under a name that `part_of` knows.
    """
    part = path.with_name(f".{stem_of(path.name)}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def part_of(name: str) -> str | None:
    """Return the stem of the file of which `whole_file` left this part unfinished; None if it is no such part."""
    found = _PART.fullmatch(name)
    return found[1] if found else None


def stem_of(name: str) -> str:
    """Return what the name of a file's part has of the file's own: all, unless it would be too long."""
    return name[:_STEM]


def saved(picture: Image.Image, form: str) -> bytes:
    """Return a picture as a file in one of Pillow's formats."""
    out = BytesIO()
    picture.save(out, form)
    return out.getvalue()
