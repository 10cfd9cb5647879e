"""The codecs by name. A codec's module is imported when it is first asked for, so that importing Sempic stays fast and
one codec's dependencies are no burden to users of another."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from sempic.codecs.base import Codec
from sempic.errors import InputError, StreamError

CODECS = {
    "sqgan": ("sempic.codecs.sqgan", "SqGan"),
    "layered": ("sempic.codecs.layered", "Layered"),
    "spic": ("sempic.codecs.spic", "Spic"),
    "hevc": ("sempic.codecs.classic.hevc", "Hevc"),
    "av1": ("sempic.codecs.classic.av1", "Av1"),
    "jpegxl": ("sempic.codecs.classic.jpegxl", "JpegXl"),
    "jpeg2000": ("sempic.codecs.classic.jpeg2000", "Jpeg2000"),
    "webp": ("sempic.codecs.classic.webp", "WebP"),
    "jpeg": ("sempic.codecs.classic.jpeg", "Jpeg"),
    "bpg": ("sempic.codecs.classic.bpg", "Bpg"),
}
"""Name → module and class."""


@cache
def codec(name: str) -> Codec:
    """Return the codec of this name, the same one each time; raise `InputError` that lists the known names."""
    if name not in CODECS:
        raise InputError(f"'{name}' is not a codec; known are {', '.join(CODECS)}.")
    module, class_name = CODECS[name]
    made: Codec = getattr(import_module(module), class_name)()
    return made


@cache
def codec_by_id(id: int) -> Codec:
    """Return the codec that writes this id into its streams; raise `StreamError` if this release has none."""
    for name in CODECS:
        if codec(name).id == id:
            return codec(name)
    raise StreamError(f"The stream was written by codec {id}, which this release does not have.")
