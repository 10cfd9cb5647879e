"""What the bench's processes do: encode a picture, decode a stream and measure what came out."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import codecs, container, datasets, rate
from sempic.bench import metrics
from sempic.codecs.base import Options, Writer
from sempic.errors import BudgetError, InputError

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Contender:
    """A codec under a choice of settings, and of options of decoding where no setting has the name."""

    codec: str
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Contender:
        """Read "sqgan", "sqgan:map=half+denoise=0.3" or "spic:steps=8".

        Raises `InputError` for a codec or setting that is unknown.
        """
        name, _, rest = text.strip().partition(":")
        settings = {}
        for item in filter(None, rest.split("+")):
            key, _, value = item.partition("=")
            settings[key] = _value(value)
        contender = cls(name, settings)
        encoding, decoding = contender.split()
        codecs.codec(name).settings(**encoding)
        codecs.codec(name).options(**decoding)
        return contender

    def split(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is for the encoder and what for the decoder."""
        codec = codecs.codec(self.codec)
        others = {one.name for one in (*fields(Options), *fields(codec.Settings))}
        names = {one.name for one in fields(codec.Options)} - others
        decoding = {name: value for name, value in self.settings.items() if name in names}
        return {name: value for name, value in self.settings.items() if name not in names}, decoding

    @property
    def label(self) -> str:
        """The name of its curve, and of its files."""
        return " ".join([self.codec, *(f"{k}={v}" for k, v in self.settings.items())])


@dataclass(frozen=True)
class Target:
    """A point of a curve: a quality, or a size in bpp or bytes that no file exceeds."""

    text: str
    quality: float | None = None
    bpp: float | None = None
    bytes: int | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read "0.05" (bpp), "600B" (bytes) or "q30" (quality); raise `InputError` for anything else."""
        text = text.strip()
        try:
            if text.startswith("q"):
                return cls(text, quality=float(text[1:]))
            if text.endswith("B"):
                return cls(text, bytes=int(text[:-1]))
            return cls(text, bpp=float(text))
        except ValueError:
            raise InputError(f"'{text}' is no point; write 0.05 (bpp), 600B (bytes) or q30 (quality).") from None

    def limit(self, pixels: int) -> int | None:
        """Return the most bytes that a file of so many pixels may have; None for a quality."""
        return int(self.bpp * pixels / 8) if self.bpp is not None else self.bytes


@dataclass(frozen=True)
class Encoded:
    """A stream, whether it is above the size asked for, the seconds for all and for entropy coding, and the options to
    decode it with."""

    data: bytes
    above: bool
    seconds: float
    write_s: float
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """What a decoding process found: the picture as PNG, what each metric collected, times and memory."""

    png: bytes
    collected: Arrays
    seconds: float
    read_s: float
    peak_mb: float
    detail: dict[str, float]


def encode_picture(image: NDArray[np.uint8], contender: Contender, target: Target) -> Encoded:
    """Encode a picture as a user would; the codec's smallest file where the size asked for is too small."""
    codec = codecs.codec(contender.codec)
    writer, analysis = _analysed(contender, image.tobytes(), image.shape)
    began = time.perf_counter()
    limit, above = target.limit(writer.pixels), False
    try:
        if limit is not None:
            data = rate.fit(writer, limit)
        else:
            data = writer.write(writer.step_of(50 if target.quality is None else target.quality))
    except BudgetError:
        data, above = writer.write(0), True
    seconds = analysis + time.perf_counter() - began
    began = time.perf_counter()
    if codec.model(container.read(data).header):  # other codecs have no step that is entropy coding alone
        writer.write(writer.steps // 2)
        return Encoded(data, above, seconds, time.perf_counter() - began, contender.split()[1])
    return Encoded(data, above, seconds, 0.0, contender.split()[1])


_last: dict[tuple[str, bytes], tuple[Writer, float]] = {}
"""The picture analysed last, since a picture's points follow one another; its seconds count at each point."""


def _analysed(contender: Contender, pixels: bytes, shape: tuple[int, ...]) -> tuple[Writer, float]:
    key = contender.label, pixels
    if key not in _last:
        codec = codecs.codec(contender.codec)
        began = time.perf_counter()
        writer = codec.analyse(np.frombuffer(pixels, np.uint8).reshape(shape), codec.settings(**contender.split()[0]))
        seconds = time.perf_counter() - began
        _last.clear()
        _last[key] = writer, seconds
    return _last[key]


def measure_picture(frame: datasets.Frame, encoded: Encoded, names: Sequence[str]) -> Measured:
    """Decode a stream in this process and measure what came out."""
    began = time.perf_counter()
    stream = container.read(encoded.data)
    codec = codecs.codec_by_id(stream.header.codec)
    decoded = codec.decode(stream, codec.options(**encoded.options))
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    detail = codec.describe(stream).detail  # of a learned codec it reads all sections and runs no network
    read_s = time.perf_counter() - began if codec.model(stream.header) else 0.0
    numbers = {k: float(v) for k, v in detail.items() if isinstance(v, int | float)}
    collected = _collect(frame, decoded.image, names)
    if decoded.segmap is not None and frame.segmap is not None and "miou" in names:
        collected["map_miou"] = metrics.confusion(frame.segmap, decoded.segmap)
    return Measured(_png(decoded.image), collected, seconds, read_s, _peak_mb(), numbers)


def measure_original(frame: datasets.Frame) -> Measured:
    """Let the judge read the original: the ceiling."""
    names = ["miou"] if frame.segmap is not None else []
    return Measured(_png(frame.image), _collect(frame, frame.image, names), 0, 0, 0, {})


def _collect(frame: datasets.Frame, image: NDArray[np.uint8], names: Sequence[str]) -> Arrays:
    found = {}
    for name in names:
        if name == "miou" and frame.segmap is None:
            continue
        found[name] = np.asarray(metrics.METRICS[name].collect(frame.image, image, frame.segmap))
    return found


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _png(image: NDArray[np.uint8]) -> bytes:
    out = BytesIO()
    Image.fromarray(image).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _peak_mb() -> float:
    """Return the most memory that this process has held so far; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
