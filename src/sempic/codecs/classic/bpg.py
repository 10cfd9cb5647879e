"""BPG by the tools of its author, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from PIL import Image

from sempic.codecs.classic.hevc import LADDER
from sempic.codecs.classic.picture import Ladder, Rgb, RgbCodec
from sempic.errors import InputError, SempicError
from sempic.pixels import to_rgb

_MAGIC = b"BPG\xfb"
_SECONDS = 600
"""No picture takes the tools so long."""


class Bpg(RgbCodec):
    """One BPG picture, 4:2:0 in 8 bits, by bpgenc and bpgdec.

        image ─ scale 1, ½, ¼ ─ bpgenc ─ file less its magic ─ section

    BPG is HEVC intra in a small file of its own; the codec hevc writes the same without these tools, and smaller.
    """

    name: ClassVar[str] = "bpg"
    id: ClassVar[int] = 38
    title = "BPG"
    levels = range(51, 3, -1)
    auto: ClassVar[Ladder] = LADDER

    def compress(self, pixels: Rgb, level: int) -> bytes:
        """Return the file without its magic, at a QP of 0 (best) to 51."""
        with TemporaryDirectory() as folder:
            source, target = Path(folder, "picture.png"), Path(folder, "picture.bpg")
            Image.fromarray(pixels).save(source)
            said = self._run("bpgenc", "-q", str(level), "-f", "420", "-b", "8", "-m", "9", "-o", target, source)
            written = target.read_bytes() if target.exists() else b""
        if not written.startswith(_MAGIC):
            raise SempicError(f"bpgenc could not write the picture: {said or 'it gives no reason'}.")
        return written[len(_MAGIC) :]

    def expand(self, payload: bytes, width: int, height: int) -> Rgb:
        """Put the magic before the file and decode it, if its header has this size."""
        if not payload.startswith(_header(width, height), 2):
            raise self.damaged("it is not of the stream's size")
        with TemporaryDirectory() as folder:
            source, target = Path(folder, "picture.bpg"), Path(folder, "picture.png")
            source.write_bytes(_MAGIC + payload)
            said = self._run("bpgdec", "-o", target, source)
            if not target.exists():
                raise self.damaged(f"bpgdec reports '{said}'")
            try:
                pixels = to_rgb(target)
            except InputError:
                raise self.damaged("what bpgdec wrote cannot be read") from None
        if pixels.shape != (height, width, 3):
            raise self.damaged("it does not decode to one whole picture")
        return pixels

    def _run(self, tool: str, *arguments: str | Path) -> str:
        """Run a tool and return what it wrote to stderr; raise `InputError` when it is not there."""
        path = shutil.which(tool)
        if path is None:
            raise InputError(
                f"The codec bpg needs {tool} on the PATH; the codec hevc stands in for it, HEVC intra like BPG."
            )
        try:
            done = subprocess.run([path, *arguments], capture_output=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return f"{tool} took longer than {_SECONDS} s"
        return done.stderr.decode(errors="replace").strip()


def _header(width: int, height: int) -> bytes:
    """Return what follows the first six bytes of a file: its width and height in groups of seven bits."""
    return b"".join(_groups(side) for side in (width, height))


def _groups(value: int) -> bytes:
    """Return a number in groups of seven bits, the highest first; a set top bit means that more follow."""
    high = value >> 7
    return (bytes((high | 0x80,)) if high else b"") + bytes((value & 0x7F,))
