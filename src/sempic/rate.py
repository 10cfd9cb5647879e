"""The setting that meets a size."""

from __future__ import annotations

from sempic.codecs.base import Writer
from sempic.errors import BudgetError

_LOOK = 3
"""How many steps that are too big in a row end the search: sizes are only nearly monotonic."""


def fit(writer: Writer, limit_bytes: int) -> bytes:
    """Return the stream of the biggest step whose size is at most `limit_bytes`.

    Bisects on sizes really written, then looks a few steps further up. The stream is never above the limit; raises
    `BudgetError`, which names the smallest size, when no step is small enough.
    """
    best = b""
    floor = -1
    low, high = -1, writer.steps  # low fits or is before the first step; high is too big or after the last

    while high - low > 1:
        middle = (low + high) // 2
        stream = writer.write(middle)
        if len(stream) <= limit_bytes:
            best, low = stream, middle
        else:
            floor, high = len(stream), middle

    step = low + 2  # low + 1 is known to be too big
    last = step + _LOOK
    while step < min(last, writer.steps):
        stream = writer.write(step)
        if len(stream) <= limit_bytes:
            best, last = stream, step + 1 + _LOOK
        step += 1
    if not best:
        raise BudgetError(
            f"{limit_bytes} bytes are too few: the smallest stream of this picture has {floor} bytes "
            f"({8 * floor / writer.pixels:.4f} bpp)."
        )
    return best
