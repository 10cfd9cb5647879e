"""Encode, decode and inspect: what `import sempic` offers."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import IO, TypeAlias

from sempic import container, runtime
from sempic.codecs import codec_by_id
from sempic.codecs.base import Codec, Decoded, Info, Options, Part, Reading, Settings, Writer
from sempic.codecs.protected import ProtectedWriter
from sempic.codecs.spec import Spec
from sempic.errors import InputError, SempicWarning
from sempic.link import protection
from sempic.pixels import Picture, to_rgb
from sempic.rate import Target

CODEC = "sqgan"
"""The codec where none is named."""

Data: TypeAlias = "bytes | bytearray | memoryview | str | os.PathLike[str] | IO[bytes]"
"""A stream: its bytes, the path of its file, or a file that is open for reading bytes."""


def encode(
    image: Picture,
    codec: str | Codec | None = None,
    *,
    settings: Settings | None = None,
    quality: float | None = None,
    bpp: float | None = None,
    bytes: int | None = None,
    protect: bool | float = False,
) -> bytes:
    """Return a picture as a stream.

    At most one of `quality`, `bpp` and `bytes` says how big the stream gets.

    Args:
        image: the path of a picture file, the bytes of one, a PIL image or an array (see `sempic.pixels.to_rgb`).
        codec: the name of a codec, with settings behind it if you like ("layered:map=half+layers=2"), or a `Codec` that
            you made; that of the `settings` if left out, else "sqgan". "auto" takes "sqgan" for pictures of the kind
            that it was trained on, and "hevc" for others.
        settings: the codec's `Settings`, such as `sempic.codecs.sqgan.Settings(map="half")`.
        quality: from 0 to 100; 50 if no size is given.
        bpp: a size that the stream comes near to and never exceeds: 8 · bytes / (width · height), everything counted.
        bytes: the same in bytes.
        protect: adds forward error correction against lost packets and wrong bits, more for the first section than for
            later ones: True as much as a quarter of the stream's bytes, a number (up to 1) another share. A size counts
            it.

    Warns:
        SempicWarning: the picture is not of the kind that the codec was trained on, or parts of it are lost.

    Raises:
        InputError: a picture, codec or setting cannot be used.
        BudgetError: the size is too small for the picture.
        ModelError: a model is missing.
    """
    target, share = Target(quality, bpp, bytes), protection.share_of(protect)
    spec = spec_of(codec, settings)
    return encode_as(image, spec, target, share or spec.protect)


def encode_as(image: Picture, spec: Spec, target: Target, share: float = 0.0) -> bytes:
    """Return a picture as a stream, under a `Spec` and a `Target`, with a share of protection; see `encode`.

    What a user should know about the picture is issued as `SempicWarning`s.
    """
    written = target.write(analyse(image, spec, target, share))
    for sentence in written.warnings:
        warnings.warn(sentence, SempicWarning, stacklevel=3)
    return written.data


def analyse(image: Picture, spec: Spec, target: Target, share: float = 0.0) -> Writer:
    """Return the writer of a picture, of which `target.write` makes the stream.

    Args are those of `encode_as`.
    """
    rgb = to_rgb(image)
    writer = spec.codec.analyse(rgb, spec.settings)
    if writer.outside and spec.outside:
        writer = spec.outside.analyse(rgb, spec.outside.Settings())
    limit = target.limit(writer.pixels)
    if share:
        writer = ProtectedWriter(writer, share, limit)
    return writer.within(limit)


def decode(
    data: Data,
    layers: int | None = None,
    *,
    codec: Codec | None = None,
    model: str | None = None,
    options: Options | None = None,
) -> Decoded:
    """Return the picture in a stream, at its original size.

    A stream that is cut off or damaged after its first section decodes to what is left, with a warning.

    Args:
        data: the stream: its bytes, the path of its file, or a file that is open for reading bytes.
        layers: the most layers to use, 0 for the base alone: the fine latents and the enhancement layers of `layered`,
            the bands of tokens of `sqgan`, the coarse picture of `spic`.
        codec: the codec that wrote the stream, where you made it yourself.
        model: a model that the stream may need besides those that are installed, by name, folder or address.
        options: the codec's `Options`, such as `sempic.codecs.spic.Options(steps=4)`.

    Raises:
        StreamError: nothing of the stream is left, or the data is no stream.
        ModelError: the stream's model is not here.
        InputError: the options are those of another codec, or what was handed in cannot be a stream.
    """
    if layers is not None and layers < 0:
        raise InputError(f"The number of layers is {layers}; it must be 0 or more.")
    stream = protection.read(stream_bytes(data))
    made = _codec_of(stream.header, codec)
    options = made.Options() if options is None else options
    if type(options) is not made.Options:  # others extend it
        raise InputError(
            f"The codec {made.name}, which wrote the stream, takes {_name(made.Options)}, not {_name(type(options))}."
        )
    return made.read(stream, _model(model)).draw(options, layers)


def inspect(data: Data, *, codec: Codec | None = None, model: str | None = None) -> Info:
    """Return what is in a stream and what each of its bytes is used for; no network runs.

    Args and Raises are those of `decode`.
    """
    return describe(stream_bytes(data), codec=codec, model=model)[0]


def describe(data: bytes, *, codec: Codec | None = None, model: str | None = None) -> tuple[Info, Reading]:
    """Return what `inspect` returns, and the reading that it is from."""
    recovered = protection.recover(data)
    stream = recovered.read()
    header = stream.header
    codec = _codec_of(header, codec)
    reading = codec.read(stream, _model(model))
    sizes = {"header": 0, "framing": 0, "lost": 0, "payload": 0}
    for span in container.layout(recovered.stream):
        sizes[span.name] += span.length
    parts = [
        Part("header", sizes["header"], "magic, version, codec, size, model"),
        Part("framing", sizes["framing"], "type, length and check of each section"),
        *reading.contents.parts,
    ]
    if recovered.detail:
        parts.append(Part("protection", len(data) - len(recovered.stream), recovered.detail))
    if sizes["lost"]:
        parts.append(Part("lost", sizes["lost"], "cut off or damaged"))
    info = Info(
        codec=codec.name,
        model=reading.model,
        taxonomy=reading.taxonomy.name if reading.taxonomy else "",
        width=header.width,
        height=header.height,
        bytes=len(data),
        bpp=8 * len(data) / (header.width * header.height),
        parts=tuple(parts),
        warnings=reading.contents.warnings,
        detail=reading.contents.detail,
    )
    return info, reading


def spec_of(codec: str | Codec | None, settings: Settings | None) -> Spec:
    """Return the codec and settings that were handed in, of which either may be left out."""
    if codec is None:
        codec = (settings.codec if isinstance(settings, Settings) else "") or CODEC
    if not isinstance(codec, str | Codec):
        raise InputError(f"A codec is its name or a Codec, not {_name(type(codec))}.")
    spec = Spec.parse(codec) if isinstance(codec, str) else Spec.of(codec, {})
    if settings is None:
        return spec
    if not isinstance(settings, spec.codec.Settings):
        name = spec.codec.name
        raise InputError(f"The codec {name} takes {_name(spec.codec.Settings)}, not {_name(type(settings))}.")
    return replace(spec, settings=settings)


def stream_bytes(data: Data) -> bytes:
    """Return a stream's bytes; raise `InputError` for what cannot be one, and for a file that cannot be read."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    found: object
    try:
        found = Path(data).expanduser().read_bytes() if isinstance(data, str | os.PathLike) else data.read()
    except (OSError, ValueError, RuntimeError) as error:  # also of a closed file, or of an unknown ~user
        raise InputError(f"'{data}' cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    except AttributeError:
        found = data
    if not isinstance(found, bytes):
        raise InputError(
            f"A stream is bytes, a path or a file that is open for reading bytes, not {type(found).__name__}."
        )
    return found


def _name(kind: type) -> str:
    """Return a class as a message names it."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _model(name: str | None) -> runtime.Model | None:
    return None if name is None else runtime.model(name)


def _codec_of(header: container.Header, given: Codec | None) -> Codec:
    """Return the codec that reads a stream: the one given, if it writes such streams."""
    if given is None:
        return codec_by_id(header.codec)
    if given.id != header.codec:
        raise InputError(f"The stream was written by codec {header.codec}, not by {given.name}, which is {given.id}.")
    return given
