"""Pictures read and files written with care."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sempic.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

_PART = re.compile(r"\.(.+)\.[0-9]+\.part")


def read_picture(data: bytes, name: str) -> Image.Image:
    """Return the picture in a file's bytes, upright; raise `InputError`, which names the file, if there is none."""
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture = Image.open(BytesIO(data))
            picture.load()
            return ImageOps.exif_transpose(picture)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise InputError(f"The picture '{name}' is too large; 8192 × 8192 pixels are the limit.") from None
        except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises for a broken file
            raise InputError(f"'{name}' is not a picture that can be read.") from error


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears as `path`, or replaces the one there, only when the block has ended well.

    A process that is killed leaves what it has written under a name that `part_of` knows.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def part_of(name: str) -> str | None:
    """Return the name of the file of which `whole_file` left this part unfinished; None if it is no such part."""
    found = _PART.fullmatch(name)
    return found[1] if found else None


def saved(picture: Image.Image, form: str) -> bytes:
    """Return a picture as a file in one of Pillow's formats."""
    out = BytesIO()
    picture.save(out, form)
    return out.getvalue()
