"""The codecs by name and by id. A codec's module is imported when it is first asked for, so that importing Sempic stays
fast and one codec's dependencies are no burden to users of another."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from sempic.codecs.base import Codec
from sempic.errors import InputError, StreamError

CODECS = {
    "sqgan": (1, "sempic.codecs.sqgan", "SqGan"),
    "layered": (2, "sempic.codecs.layered", "Layered"),
    "spic": (3, "sempic.codecs.spic", "Spic"),
    "hevc": (32, "sempic.codecs.classic.hevc", "Hevc"),
    "jpeg": (33, "sempic.codecs.classic.jpeg", "Jpeg"),
    "jpeg2000": (34, "sempic.codecs.classic.jpeg2000", "Jpeg2000"),
    "webp": (35, "sempic.codecs.classic.webp", "WebP"),
    "av1": (36, "sempic.codecs.classic.av1", "Av1"),
    "jpegxl": (37, "sempic.codecs.classic.jpegxl", "JpegXl"),
    "bpg": (38, "sempic.codecs.classic.bpg", "Bpg"),
}
"""Name → id (the one that the class declares), module and class."""


@cache
def codec(name: str) -> Codec:
    """Return the codec of this name, the same one each time; raise `InputError` that lists the known names."""
    if name not in CODECS:
        raise InputError(f"'{name}' is not a codec; known are {', '.join(CODECS)}.")
    _, module, class_name = CODECS[name]
    made: Codec = getattr(import_module(module), class_name)()
    return made


def codec_by_id(id: int) -> Codec:
    """Return the codec that writes this id into its streams; raise `StreamError` if this release has none."""
    for name, (declared, _, _) in CODECS.items():
        if declared == id:
            return codec(name)
    raise StreamError(f"The stream was written by codec {id}, which this release does not have.")
