"""Any codec's pictures with forward error correction."""

from __future__ import annotations

from functools import cache

from sempic.codecs.base import Writer
from sempic.errors import InputError
from sempic.link import protection


class ProtectedWriter(Writer):
    """A picture to be written with protection: the steps are those of another writer.

    `share` is that of `protection.protect`; `limit` is the most bytes that are wanted, if a size is.
    """

    def __init__(self, writer: Writer, share: float, limit: int | None) -> None:
        self.steps, self.pixels, self.warnings = writer.steps, writer.pixels, writer.warnings
        self.basic, smaller = writer.basic, writer.smaller
        if smaller is not None:
            self.smaller = cache(lambda: ProtectedWriter(smaller(), share, limit))
        self._writer, self._share, self._limit = writer, share, limit

    def lacks(self, step: int) -> tuple[str, ...]:
        """Return what the stream of a step has no room for."""
        return self._writer.lacks(step)

    def write(self, step: int) -> bytes:
        """Return a protected stream; a bare one where that alone is above the limit and too big to be protected."""
        stream = self._writer.write(step)
        try:
            return protection.protect(stream, self._share)
        except InputError:
            if self._limit is None or len(stream) <= self._limit:
                raise
            return stream
