"""How big a stream gets: what is asked for, and the writer's step that meets it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from sempic.codecs.base import Writer
from sempic.errors import BudgetError, InputError

QUALITY = 50.0
"""The quality where nothing is asked for."""
_LOOK = 3
"""How many steps that are too big in a row end the search: sizes are only nearly monotonic."""
_BYTES = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([km])(i?))?(?:b|bytes?)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2}


def bytes_of(text: str) -> int:
    """Return a number of bytes from a text such as "600", "600 B", "1k", "2.5 kB" or "1KiB".

    k is 1000 and M a million, Ki is 1024 and Mi its square; capitals make no difference. Raises `InputError` for
    anything else, and where the number is not whole or not above 0.
    """
    if size := _bytes_in(text):
        return size
    raise InputError(f"'{text}' is no number of bytes above 0; write 600, 1k or 2.5kB (k is 1000), or 1KiB (1024).")


def _bytes_in(text: str) -> int | None:
    """Return the number of bytes in a text; None where it has none that is whole."""
    found = _BYTES.fullmatch(text.strip())
    if found is None:
        return None
    number, prefix, binary = found.groups(default="")
    size = Fraction(number) * (1024 if binary else 1000) ** _POWERS[prefix.lower()]
    return int(size) if size.denominator == 1 else None


class Written(NamedTuple):
    """A stream, and a sentence for each thing that a user should know about the picture and about what does not fit."""

    data: bytes
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, writer: Writer, step: int, stream: bytes | None = None) -> Written:
        """Return what a writer makes of a step: the `stream`, if that has been written already."""
        return cls(writer.write(step) if stream is None else stream, (*writer.warnings, *writer.lacks(step)))


@dataclass(frozen=True)
class Target:
    """What is asked for: a quality, or a size that a stream comes near to and never exceeds. At most one is given.

    quality: from 0 (smallest) to 100 (best); 50 if nothing is given.
    bpp: bits a pixel, 8 · bytes / (width · height), every byte counted.
    size: bytes.
    """

    quality: float | None = None
    bpp: float | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.quality, self.bpp, self.size)) > 1:
            raise InputError("Give only one of quality, bpp and bytes.")
        if self.quality is not None and not 0 <= self.quality <= 100:
            raise InputError(f"The quality is {self.quality}; it must be from 0 to 100.")
        if self.bpp is not None and not 0 < self.bpp < math.inf:
            raise InputError(f"The size is {self.bpp} bpp; it must be a number above 0.")
        if self.size is not None and not self.size > 0:
            raise InputError(f"The size is {self.size} bytes; it must be above 0.")

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read "0.05" (bpp), "600B" or "1kB" (bytes) or "q30" (quality); raise `InputError` for anything else."""
        text = text.strip()
        try:
            if text.startswith("q"):
                return cls(quality=float(text[1:]))
            if text.endswith("B") and (size := _bytes_in(text)):
                return cls(size=size)
            return cls(bpp=float(text))
        except ValueError:
            raise InputError(f"'{text}' is no size; write 0.05 (bpp), 600B (bytes) or q30 (quality).") from None

    def limit(self, pixels: int) -> int | None:
        """Return the most bytes that the stream of a picture of so many pixels may have; None for a quality."""
        return math.floor(self.bpp * pixels / 8) if self.bpp is not None else self.size

    def write(self, writer: Writer) -> Written:
        """Return the stream that was asked for; raise `BudgetError` where the size is too small for the picture."""
        limit = self.limit(writer.pixels)
        if limit is not None:
            return fit(writer, limit)
        return Written.of(writer, writer.step_of(QUALITY if self.quality is None else self.quality))


def fit(writer: Writer, limit_bytes: int, size: Callable[[bytes], int] = len) -> Written:
    """Return the stream of the biggest step whose size is at most `limit_bytes`.

    Bisects on sizes really written, then looks a few steps further up. The stream is never above the limit; raises
    `BudgetError`, which names the smallest size, when no step is small enough. `size` says what counts as the size of a
    stream, where that is not its number of bytes.
    """
    best: Written | None = None
    floor = -1
    low, high = -1, writer.steps  # low fits or is before the first step; high is too big or after the last

    while high - low > 1:
        middle = (low + high) // 2
        stream = writer.write(middle)
        if size(stream) <= limit_bytes:
            best, low = Written.of(writer, middle, stream), middle
        else:
            floor, high = size(stream), middle

    step = low + 2  # low + 1 is known to be too big
    last = step + _LOOK
    while step < min(last, writer.steps):
        stream = writer.write(step)
        if size(stream) <= limit_bytes:
            best, last = Written.of(writer, step, stream), step + 1 + _LOOK
        step += 1
    if best is None:
        raise BudgetError(
            f"{limit_bytes} bytes are too few: the smallest stream of this picture has {floor} bytes "
            f"({8 * floor / writer.pixels:.4f} bpp)."
        )
    return best
