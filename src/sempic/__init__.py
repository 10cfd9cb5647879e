"""Sempic: semantic image compression. `encode` a picture, `decode` a stream, `inspect` what is in it."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from sempic import codecs, container, protection, rate
from sempic.codecs.base import Codec, Decoded, Info, Part, to_rgb
from sempic.codecs.protected import ProtectedWriter
from sempic.errors import BudgetError, InputError, ModelError, SempicError, StreamError

__version__ = version("sempic")

__all__ = [
    "BudgetError",
    "Codec",
    "Decoded",
    "Info",
    "InputError",
    "ModelError",
    "Part",
    "SempicError",
    "StreamError",
    "decode",
    "encode",
    "inspect",
]


def encode(
    image: Any,
    codec: str | Codec = "sqgan",
    *,
    quality: float | None = None,
    bpp: float | None = None,
    bytes: int | None = None,
    protect: bool | float = False,
    **settings: Any,
) -> bytes:
    """Return a picture as a stream.

    `image` is a PIL image or an array, H×W×3 uint8 or whatever else `sempic.codecs.base.to_rgb` takes. `codec` is a
    name or a `Codec` that you made. At most one of three says how big the stream gets: `quality` from 0 to 100 (50 if
    none is given), or a size that it comes near to and never exceeds, as `bpp` (8 · bytes / (width · height),
    everything counted) or as `bytes`. The settings are those of the codec's `Settings` class.

    `protect` adds forward error correction against lost packets and wrong bits, more for the first section than for
    later ones: True as much as a quarter of the stream's bytes, a number (up to 1) another share. A size counts it.

    Raises `InputError` for a picture, codec or setting that cannot be used, `BudgetError` for a size that is too small
    for the picture, `ModelError` when a model is missing.
    """
    if sum(given is not None for given in (quality, bpp, bytes)) > 1:
        raise InputError("Give only one of quality, bpp and bytes.")
    share = protection.DEFAULT if protect is True else protect
    if share is not False:
        protection.check_share(share)
    chosen = codec if isinstance(codec, Codec) else codecs.codec(codec)
    wanted = chosen.settings(**settings)
    pixels = to_rgb(image)
    height, width, _ = pixels.shape
    if bpp is not None:
        if not 0 < bpp < math.inf:
            raise InputError(f"The size is {bpp} bpp; it must be a number above 0.")
        bytes = math.floor(bpp * height * width / 8)
    writer = chosen.analyse(pixels, wanted)
    if share:
        writer = ProtectedWriter(writer, share, bytes)
    if bytes is not None:
        return rate.fit(writer, bytes)
    return writer.write(writer.step_of(50 if quality is None else quality))


def decode(data: bytes, layers: int | None = None, *, codec: Codec | None = None, **options: Any) -> Decoded:
    """Return the picture in a stream, at its original size.

    `layers` is how many layers to use at most, 0 for the base alone: the enhancement layers of `layered`, the bands of
    tokens of `sqgan`, the coarse picture of `spic`. `codec` is the codec that wrote the stream, where you made it
    yourself. The options are those of the codec's `Options` class. A stream that is cut off or damaged after its first
    section decodes to what is left, with a warning. Raises `StreamError` when nothing is left or the data is no stream,
    `ModelError` when the stream's model is not here, `InputError` for an option that the codec does not know.
    """
    stream = protection.read(data)
    codec = _codec_of(stream.header, codec)
    wanted = codec.options(**options)
    if layers is None:
        return codec.decode(stream, wanted)
    if layers < 0:
        raise InputError(f"The number of layers is {layers}; it must be 0 or more.")
    decoded = codec.decode(replace(stream, sections=stream.sections[: codec.base_sections(stream) + layers]), wanted)
    # The codec misses the sections that nobody asked for; what the whole stream lacks is what counts.
    return replace(decoded, warnings=(*stream.warnings, *codec.describe(stream).warnings))


def inspect(data: bytes, codec: Codec | None = None) -> Info:
    """Return what is in a stream and what each of its bytes is spent on; `codec` and errors are those of `decode`."""
    recovered = protection.recover(data)
    stream = recovered.read()
    header = stream.header
    codec = _codec_of(header, codec)
    spent = {"header": 0, "framing": 0, "lost": 0, "payload": 0}
    for span in container.layout(recovered.stream):
        spent[span.name] += span.length
    contents = codec.describe(stream)
    parts = [
        Part("header", spent["header"], "magic, version, codec, size, model"),
        Part("framing", spent["framing"], "type, length and check of each section"),
        *contents.parts,
    ]
    if recovered.detail:
        parts.append(Part("protection", len(data) - len(recovered.stream), recovered.detail))
    if spent["lost"]:
        parts.append(Part("lost", spent["lost"], "cut off or damaged"))
    return Info(
        codec=codec.name,
        model=codec.model(header),
        width=header.width,
        height=header.height,
        bytes=len(data),
        bpp=8 * len(data) / (header.width * header.height),
        parts=tuple(parts),
        warnings=(*stream.warnings, *contents.warnings),
        detail=contents.detail,
    )


def _codec_of(header: container.Header, given: Codec | None) -> Codec:
    """Return the codec that reads a stream: the one given, if it writes such streams."""
    if given is None:
        return codecs.codec_by_id(header.codec)
    if given.id != header.codec:
        raise InputError(f"The stream was written by codec {header.codec}, not by {given.name}, which is {given.id}.")
    return given
