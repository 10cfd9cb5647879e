"""What the bench's processes do: encode a picture, decode a stream and measure what came out."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from io import BytesIO
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import codecs, container, datasets, protection, rate
from sempic.bench import metrics
from sempic.channel import check_probability, transmit
from sempic.codecs.base import Options, Writer
from sempic.codecs.protected import ProtectedWriter
from sempic.errors import BudgetError, InputError, StreamError

Arrays = dict[str, NDArray[Any]]

PROTECT = "protect"
"""The setting that every codec has in the bench."""
SENT = 5
"""How many times each stream is sent over a link that loses packets."""
GREY = 128
"""The picture that a receiver shows who can decode nothing."""


@dataclass(frozen=True)
class Contender:
    """A codec under a choice of settings, and of options of decoding where no setting has the name.

    Beside the codec's own, every codec has the setting `protect`: the share of bytes that go into error correction.
    """

    codec: str
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Contender:
        """Read "sqgan", "sqgan:map=half+denoise=0.3", "spic:steps=8" or "hevc:protect=0.25".

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
        if PROTECT in settings:
            if isinstance(settings[PROTECT], str):
                raise InputError(f"'{settings[PROTECT]}' is no share of protection; write protect=0.25, for example.")
            protection.check_share(contender.protect)
        return contender

    @property
    def protect(self) -> float:
        """The share of bytes for protection; 0 for none."""
        return float(self.settings.get(PROTECT, 0))

    def split(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is for the encoder and what for the decoder."""
        codec = codecs.codec(self.codec)
        others = {one.name for one in (*fields(Options), *fields(codec.Settings))}
        names = {one.name for one in fields(codec.Options)} - others
        own = {name: value for name, value in self.settings.items() if name != PROTECT}
        decoding = {name: value for name, value in own.items() if name in names}
        return {name: value for name, value in own.items() if name not in names}, decoding

    @property
    def label(self) -> str:
        """The name of its curve, and of its files."""
        return " ".join([self.codec, *(f"{k}={v}" for k, v in self.settings.items())])


@dataclass(frozen=True)
class Target:
    """A point of a curve: a quality, or a size in bpp or bytes that no file exceeds; and the share of packets that are
    lost on the way."""

    text: str
    quality: float | None = None
    bpp: float | None = None
    bytes: int | None = None
    erase: float = 0.0

    def over(self, erase: float) -> Target:
        """Return the same point behind a link that loses packets with a probability."""
        return replace(self, text=f"{self.text} erase={erase:g}", erase=erase) if erase else self

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

    @staticmethod
    def behind(targets: Sequence[Target], losses: str) -> list[Target]:
        """Return these points and, for each of the losses ("0.02,0.1"), the same behind links that lose as much.

        Raises `InputError` for a loss that is no number from 0 to 1.
        """
        erased = [0.0]
        for text in filter(None, losses.split(",")):
            try:
                erased.append(check_probability(float(text), "packet's loss"))
            except ValueError:
                raise InputError(f"'{text}' is no share of packets; write 0.1 for a tenth.") from None
        return [target.over(erase) for target in targets for erase in dict.fromkeys(erased)]

    def limit(self, pixels: int) -> int | None:
        """Return the most bytes that a file of so many pixels may have; None for a quality."""
        return int(self.bpp * pixels / 8) if self.bpp is not None else self.bytes


@dataclass(frozen=True)
class Encoded:
    """A stream, whether it is above the size asked for, the seconds for all and for entropy coding, the options to
    decode it with, and the share of its packets that is lost before."""

    data: bytes
    above: bool
    seconds: float
    write_s: float
    options: dict[str, Any] = field(default_factory=dict)
    erase: float = 0.0


@dataclass(frozen=True)
class Measured:
    """What a decoding process found: the picture as PNG, what each metric collected (for each time that the stream was
    sent, and the first of these is the picture's), times and memory."""

    png: bytes
    collected: list[Arrays]
    seconds: float
    read_s: float
    peak_mb: float
    detail: dict[str, float]


def encode_picture(image: NDArray[np.uint8], contender: Contender, target: Target) -> Encoded:
    """Encode a picture as a user would; the codec's smallest file where the size asked for is too small."""
    key = contender.label, image.tobytes(), replace(target, text="", erase=0.0)
    if key not in _written:
        encoded = _encode(image, contender, target)
        _written.clear()
        _written[key] = encoded
    return replace(_written[key], erase=target.erase)


_written: dict[tuple[str, bytes, Target], Encoded] = {}
"""The file written last, since the same one goes over several links."""


def _encode(image: NDArray[np.uint8], contender: Contender, target: Target) -> Encoded:
    codec = codecs.codec(contender.codec)
    writer, analysis = _analysed(contender, image.tobytes(), image.shape)
    if contender.protect:
        writer = ProtectedWriter(writer, contender.protect, target.limit(writer.pixels))
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
    write_s = 0.0
    if codec.model(protection.read(data).header):  # other codecs have no step that is entropy coding alone
        writer.write(writer.steps // 2)
        write_s = time.perf_counter() - began
    return Encoded(data, above, seconds, write_s, contender.split()[1])


_last: dict[tuple[str, bytes], tuple[Writer, float]] = {}
"""The picture analysed last, since a picture's points follow one another; its seconds count at each point."""


def _analysed(contender: Contender, pixels: bytes, shape: tuple[int, ...]) -> tuple[Writer, float]:
    key = replace(contender, settings=contender.split()[0]).label, pixels
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
    if encoded.erase:
        return _measure_losses(frame, encoded, names)
    began = time.perf_counter()
    stream = protection.read(encoded.data)
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
    return Measured(_png(decoded.image), [collected], seconds, read_s, _peak_mb(), numbers)


def _measure_losses(frame: datasets.Frame, encoded: Encoded, names: Sequence[str]) -> Measured:
    """Send a stream several times, decode what arrives and measure what came out; a grey picture where nothing did.

    The losses are those of the picture's name: the same for all codecs, others for each picture.
    """
    began = time.perf_counter()
    found: dict[tuple[container.Section, ...], tuple[bytes, Arrays]] = {}  # what arrives is one of a few streams

    def measure(image: NDArray[np.uint8]) -> tuple[bytes, Arrays]:
        return _png(image), _collect(frame, image, names)

    received = []
    for number in range(SENT):
        link = transmit(encoded.data, encoded.erase, seed=crc32(frame.name.encode()) * SENT + number)
        try:
            stream = protection.read(link.data)
            sections = stream.sections
            if sections not in found:
                codec = codecs.codec_by_id(stream.header.codec)
                found[sections] = measure(codec.decode(stream, codec.options(**encoded.options)).image)
        except StreamError:
            sections = ()
            if sections not in found:
                found[sections] = measure(np.full_like(frame.image, GREY))
        received.append(sections)
    seconds = (time.perf_counter() - began) / SENT
    undecodable = sum(not sections for sections in received) / SENT
    collected = [found[sections][1] for sections in received]
    return Measured(found[received[0]][0], collected, seconds, 0.0, _peak_mb(), {"undecodable": undecodable})


def measure_original(frame: datasets.Frame) -> Measured:
    """Let the judge read the original: the ceiling."""
    names = ["miou"] if frame.segmap is not None else []
    return Measured(_png(frame.image), [_collect(frame, frame.image, names)], 0, 0, 0, {})


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
