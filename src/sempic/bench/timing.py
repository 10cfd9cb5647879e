"""What codecs take: seconds with their networks loaded, the start before that, and memory.

A codec encodes in one process and decodes in another. Both are its own, and nothing else runs beside them:

    start ─▷ first picture ─▷ for each point: a picture that does not count, and then all of them, one by one
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sempic import api, runtime
from sempic.bench.jobs import OperatingPoint, read_stream, write_stream
from sempic.bench.results import Process, Seconds, Timing
from sempic.codecs.spec import Spec
from sempic.link import protection
from sempic.pool import pools
from sempic.rate import Target

PICTURES = 5
"""How many pictures of a data set are timed."""

_Value = TypeVar("_Value")


def measure(spec: Spec, points: Sequence[OperatingPoint], images: Sequence[NDArray[np.uint8]]) -> Timing:
    """Time a codec.

    Args:
        spec: the codec with its settings.
        points: what is asked of it; links that lose packets are not looked at.
        images: the pictures (uint8 H×W×3), at least one.
    """
    asked = {point.text: [(image, spec, point.target) for image in images] for point in points}
    encoding, streams, encoder = _in_a_process(encode, asked)
    decoding, _, decoder = _in_a_process(
        decode, {text: [(data, spec) for data in found] for text, found in streams.items()}
    )
    speed = {text: {"encode": encoding[text], "decode": decoding[text]} for text in asked}
    return Timing(speed, {"encode": encoder, "decode": decoder})


def encode(image: NDArray[np.uint8], spec: Spec, target: Target) -> tuple[bytes, Seconds]:
    """Return a picture's stream, the codec's smallest one where the size asked for is too small, and what it took."""
    writer, analysing = _timed(lambda: api.analyse(image, spec, target, spec.protect))
    encoded, writing = _timed(lambda: write_stream(writer, target))
    return encoded.data, _seconds(spec, coding=writing, other=analysing)


def decode(data: bytes, spec: Spec) -> tuple[None, Seconds]:
    """Decode a stream of a codec; return what it took, and None where `encode` returns a stream."""
    reading, parsing = _timed(lambda: read_stream(protection.read(data), spec))
    _, drawing = _timed(lambda: reading.draw(spec.options))
    return None, _seconds(spec, coding=parsing, other=drawing)


def _timed(call: Callable[[], _Value]) -> tuple[_Value, tuple[float, float]]:
    """Return what a call returns, its seconds, and those of networks among them."""
    with runtime.network_seconds() as networks:
        began = time.perf_counter()
        value = call()
        return value, (time.perf_counter() - began, sum(networks))


def _seconds(spec: Spec, coding: tuple[float, float], other: tuple[float, float]) -> Seconds:
    """Return the sum of two parts, of which one is coding; codecs that are not learnt do all of their work there."""
    return Seconds(coding[0] + other[0], coding[1] + other[1], coding[0] - coding[1] if spec.codec.learnt else 0.0)


def _in_a_process(
    function: Callable[..., tuple[_Value, Seconds]], calls: Mapping[str, Sequence[tuple[Any, ...]]]
) -> tuple[dict[str, Seconds], dict[str, list[_Value]], Process]:
    """Call `encode` or `decode` in a process of its own, one call after the other.

    Returns the medians for each point, by its name; what the calls returned beside the seconds; and the process.
    """
    with pools((1,), os.cpu_count() or 1) as (process,):

        def call(arguments: tuple[Any, ...]) -> tuple[_Value, Seconds]:
            found: tuple[_Value, Seconds] = process.submit(function, *arguments).result()
            return found

        began = time.perf_counter()
        first, *_ = next(iter(calls.values()))
        call(first)
        first_s = time.perf_counter() - began
        found = {}
        for text, arguments in calls.items():
            call(arguments[0])  # some networks may be of this point alone
            found[text] = [call(one) for one in arguments]
        held_mb: float = process.submit(peak_mb).result()
    (_, again), *_ = next(iter(found.values()))
    return (
        {text: median([seconds for _, seconds in one]) for text, one in found.items()},
        {text: [value for value, _ in one] for text, one in found.items()},
        Process(round(max(0.0, first_s - again.whole), 3), held_mb),
    )


def median(found: Sequence[Seconds]) -> Seconds:
    """Return the medians of what several calls took."""
    return Seconds(
        round(statistics.median(one.whole for one in found), 4),
        round(statistics.median(one.networks for one in found), 4),
        round(statistics.median(one.coding for one in found), 4),
    )


def peak_mb() -> float:
    """Return the most memory that this process has held, in MB; 0 where the system does not say."""
    try:
        # Linux passes `ru_maxrss` on to new programs, so a process of Python's would have at least its parent's.
        lines = Path("/proc/self/status").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6, 1)
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def hardware() -> str:
    """Return what the times are of: the cores, the system and the release of Python."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{os.cpu_count()} cores of {model}, {platform.system()}, Python {platform.python_version()}"
