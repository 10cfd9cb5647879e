"""What the bench's processes do: encode a picture, decode a stream and measure the decoded picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, Generic, TypeVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import container, datasets, runtime
from sempic.bench import judge, metrics
from sempic.codecs.base import Reading, Writer
from sempic.codecs.protected import ProtectedWriter
from sempic.codecs.spec import Spec
from sempic.errors import BudgetError, InputError, StreamError
from sempic.link import protection
from sempic.link.channel import LOSSLESS, PACKET, Losses, transmit
from sempic.rate import Target

Arrays = dict[str, NDArray[Any]]
_Value = TypeVar("_Value")

TRANSMISSIONS = 5
"""How many times each stream is sent over a link that loses packets."""
GREY = 128
"""The picture that a receiver shows who can decode nothing."""


@dataclass(frozen=True)
class OperatingPoint:
    """What is asked of a codec at one point of its curve.

    text: the point's name in results and in the names of files.
    target: the quality or the size.
    losses: which packets the link loses.
    """

    text: str
    target: Target
    losses: Losses = LOSSLESS

    @classmethod
    def parse(cls, text: str) -> OperatingPoint:
        """Read "0.05" (bpp), "600B" or "1kB" (bytes) or "q30" (quality); raise `InputError` for anything else."""
        return cls(text.strip(), Target.parse(text))

    def over(self, losses: Losses) -> OperatingPoint:
        """Return the same point behind a link; its name has what differs from `LOSSLESS`."""
        if not losses.erase:
            return self
        packet = f" packet={losses.packet}" if losses.packet != PACKET else ""
        burst = f" burst={losses.burst:g}" if losses.burst > 1 else ""
        return replace(self, text=f"{self.text}{packet}{burst} erase={losses.erase:g}", losses=losses)

    @staticmethod
    def parse_all(points: str, erase: str = "", packet: int = PACKET, burst: float = 1.0) -> list[OperatingPoint]:
        """Return points ("0.05,q30"), each without losses and at each of the probabilities of a loss ("0.02,0.1").

        Args:
            points: what is asked for, with commas.
            erase: the probabilities of a packet's loss, with commas.
            packet: the bytes of a packet.
            burst: how many packets in a row are lost on average, as in `Losses`.

        Raises:
            InputError: a point makes no sense, a loss is no number from 0 to 1, or no link can have such losses.
        """
        links = [Losses(0.0, packet, burst)]
        for text in filter(None, erase.split(",")):
            try:
                links.append(Losses(float(text), packet, burst))
            except ValueError:
                raise InputError(f"'{text}' is no share of packets; write 0.1 for a tenth.") from None
        asked = [OperatingPoint.parse(text) for text in points.split(",")]
        return [point.over(losses) for point in asked for losses in dict.fromkeys(links)]


@dataclass(frozen=True)
class Encoded:
    """A stream.

    above: whether it is bigger than the size asked for, since the codec has no smaller one.
    """

    data: bytes
    above: bool


@dataclass(frozen=True)
class Measured:
    """What a decoding process measured.

    png: the decoded picture as PNG; the first one where the stream was sent several times.
    collected: what each metric collected, once for each time that the stream was sent.
    detail: the numbers among what the stream reveals.
    """

    png: bytes
    collected: list[Arrays]
    detail: dict[str, float]


class _Last(Generic[_Value]):
    """Keeps the value that was made last: the same one is often asked for several times in a row."""

    def __init__(self) -> None:
        self._kept: tuple[Any, _Value] | None = None

    def get(self, key: Any, make: Callable[[], _Value]) -> _Value:
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # for its memory, before there is another
            self._kept = key, make()
        return self._kept[1]


_encoded = _Last[Encoded]()  # the same stream goes over several links
_analysed = _Last[Writer]()  # a picture's points follow one another


# -- encoding ---------------------------------------------------------------------------------------------------------


def encode_picture(image: NDArray[np.uint8], spec: Spec, point: OperatingPoint) -> Encoded:
    """Encode a picture as a user would; the codec's smallest stream where the size asked for is too small."""
    return _encoded.get((spec.label, point.target, image.tobytes()), lambda: _encode(image, spec, point.target))


def _encode(image: NDArray[np.uint8], spec: Spec, target: Target) -> Encoded:
    settings = {name: value for name, value in spec.given.items() if hasattr(spec.settings, name)}
    key = (spec.codec.name, settings, image.tobytes())
    writer = _analysed.get(key, lambda: spec.codec.analyse(image, spec.settings))
    limit = target.limit(writer.pixels)
    if spec.protect:
        writer = ProtectedWriter(writer, spec.protect, limit)
    return write_stream(writer.within(limit), target)


def write_stream(writer: Writer, target: Target) -> Encoded:
    """Return the stream that is asked for, or the writer's smallest one."""
    try:
        return Encoded(target.write(writer).data, above=False)
    except BudgetError:
        return Encoded(writer.write(0), above=True)


# -- decoding ---------------------------------------------------------------------------------------------------------


def measure_picture(
    frame: datasets.Frame,
    data: bytes,
    spec: Spec,
    names: Sequence[str],
    losses: Losses = LOSSLESS,
    judged_by: str = "",
) -> Measured:
    """Decode a stream in this process and measure the decoded picture.

    Args:
        frame: the original, with labels as ids of the judge's taxonomy.
        data: the stream.
        spec: which codec decodes, with which options.
        names: the metrics.
        losses: which packets are lost; where any can be, the stream is sent several times.
        judged_by: the judge, as in `judge.using`.
    """
    with judge.using(judged_by):
        if losses.erase:
            return _measure_losses(frame, data, spec, names, losses)
        return _measure_decoded(frame, data, spec, names)


def _measure_decoded(frame: datasets.Frame, data: bytes, spec: Spec, names: Sequence[str]) -> Measured:
    """Decode a stream as it was sent, and measure the decoded picture and its segmap."""
    reading = read_stream(protection.read(data), spec)
    decoded = reading.draw(spec.options)
    collected = _collect(frame, decoded.image, names)
    if decoded.segmap is not None and frame.segmap is not None and "miou" in names:
        assert decoded.taxonomy is not None, "a segmap's classes are known"
        collected["map_miou"] = metrics.confusion(frame.segmap, judge.translate(decoded.segmap, decoded.taxonomy))
    numbers = {k: float(v) for k, v in reading.contents.detail.items() if isinstance(v, int | float)}
    return Measured(_png(decoded.image), [collected], numbers)


def _measure_losses(frame: datasets.Frame, data: bytes, spec: Spec, names: Sequence[str], losses: Losses) -> Measured:
    """Send a stream several times, decode what arrives and measure it; a grey picture where nothing can be decoded.

    The lost packets depend on the picture's name: they are the same for all codecs, others for each picture.
    """
    found: dict[tuple[container.Section, ...], tuple[bytes, Arrays]] = {}  # what arrives is one of a few streams

    def measure(image: NDArray[np.uint8]) -> tuple[bytes, Arrays]:
        return _png(image), _collect(frame, image, names)

    received = []
    for number in range(TRANSMISSIONS):
        seed = crc32(frame.name.encode()) * TRANSMISSIONS + number
        link = transmit(data, losses.erase, seed=seed, packet=losses.packet, burst=losses.burst)
        try:
            stream = protection.read(link.data)
            sections = stream.sections
            if sections not in found:
                found[sections] = measure(read_stream(stream, spec).draw(spec.options).image)
        except StreamError:
            sections = ()
            if sections not in found:
                found[sections] = measure(np.full_like(frame.image, GREY))
        received.append(sections)
    undecodable = sum(not sections for sections in received) / TRANSMISSIONS
    collected = [found[sections][1] for sections in received]
    return Measured(found[received[0]][0], collected, {"undecodable": undecodable})


def measure_original(frame: datasets.Frame, judged_by: str = "") -> Measured:
    """Let the judge (as in `judge.using`) segment the original: its mIoU there is the ceiling."""
    names = ["miou"] if frame.segmap is not None else []
    with judge.using(judged_by):
        return Measured(_png(frame.image), [_collect(frame, frame.image, names)], {})


def read_stream(stream: container.Stream, spec: Spec) -> Reading:
    """Return what a stream of a codec contains."""
    return spec.codec.read(stream, runtime.model(spec.model) if spec.model else None)


def _collect(frame: datasets.Frame, image: NDArray[np.uint8], names: Sequence[str]) -> Arrays:
    found = {}
    for name in names:
        metric = metrics.METRICS[name]
        if metric.needs_labels and frame.segmap is None:
            continue
        found[name] = np.asarray(metric.collect(frame.image, image, frame.segmap))
    return found


def _png(image: NDArray[np.uint8]) -> bytes:
    out = BytesIO()
    Image.fromarray(image).save(out, "PNG", compress_level=1)
    return out.getvalue()
