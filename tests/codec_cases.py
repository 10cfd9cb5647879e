"""What the tests of `sqgan`, `layered` and `spic` share: two sets of weights, drawn streets, and short ways to code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_in import scene

import sempic
from sempic import api, container, runtime
from sempic.codecs import codec, codec_by_id, enhancement
from sempic.codecs.base import Codec, Reading
from sempic.codecs.classic import yuv
from sempic.codecs.layered import LayeredReading
from sempic.codecs.semantic import MAP_FACTORS as FACTORS
from sempic.codecs.semantic import OBJECTS_TYPE
from sempic.codecs.spec import Spec
from sempic.container import Header
from sempic.errors import ModelError, SempicError

__all__ = [
    "FACTORS",
    "check_foreign",
    "decode_with",
    "encode_at",
    "encode_with",
    "ends",
    "noise",
    "objects_in",
    "on_both_weights",
    "planes_of",
    "psnr",
    "read",
    "street",
    "survive",
]


def on_both_weights(kind: str, *makers: Callable[[Path], None]) -> Any:
    """Return a fixture that runs a module's tests on stand-ins for the weights and, where they are, on shipped ones.

    Which weights these are is what SEMPIC_MODELS and its absence lead to; `makers` write the stand-ins.
    """

    @pytest.fixture(scope="module", params=["stand-in", "shipped"], autouse=True)
    def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            if request.param == "shipped":
                patch.delenv("SEMPIC_MODELS", raising=False)
                if not any(model.card.kind == kind for model in runtime.models()):
                    pytest.skip(f"no weights of {kind} in {runtime.SHIPPED}")
            else:
                folder = tmp_path_factory.mktemp("models")
                for make in makers:
                    make(folder)
                patch.setenv("SEMPIC_MODELS", str(folder))
            yield request.param

    return weights


# -- pictures ---------------------------------------------------------------------------------------------------------


def street(width: int, height: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a drawn picture with its segmap."""
    drawn = scene(seed, width, height)
    return drawn.image, drawn.segmap


def noise(width: int, height: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a picture of noise with a segmap of random blocks, void among them."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    segmap = rng.choice([0, 3, 10, 255], (-(-height // 5), -(-width // 5))).astype(np.uint8)
    return image, segmap.repeat(5, 0).repeat(5, 1)[:height, :width]


def psnr(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio of two pictures in dB."""
    return float(-10 * np.log10(np.square(image.astype(float) - other).mean() / 255**2))


# -- streams ----------------------------------------------------------------------------------------------------------


def encode_with(
    image: Any,
    chosen: str | Codec,
    *,
    quality: float | None = None,
    bpp: float | None = None,
    bytes: int | None = None,
    protect: bool | float = False,
    **settings: Any,
) -> bytes:
    """Encode a picture with settings by name."""
    made = codec(chosen) if isinstance(chosen, str) else chosen
    spec = Spec.of(made, settings)
    return sempic.encode(image, made, settings=spec.settings, quality=quality, bpp=bpp, bytes=bytes, protect=protect)


def encode_at(image: Any, name: str, qualities: Sequence[float], **settings: Any) -> list[bytes]:
    """Return a picture's streams at several qualities; the networks run once."""
    made = codec(name)
    writer = made.analyse(image, Spec.of(made, settings).settings)
    return [writer.write(writer.step_of(quality)) for quality in qualities]


def decode_with(data: bytes, chosen: Codec | None = None, **options: Any) -> sempic.Decoded:
    """Decode a stream with options by name."""
    made = chosen or codec_by_id(container.read_header(data).codec)
    return sempic.decode(data, codec=chosen, options=made.Options(**options))


def read(data: bytes) -> Any:
    """Return the reading of a stream: of which codec, a test knows."""
    reading = api.describe(data)[1]
    assert isinstance(reading, Reading)
    return reading


def planes_of(reading: LayeredReading) -> list[yuv.Plane]:
    """Return the planes of the picture after each layer, decoded from HEVC."""
    width, height = reading.header.width, reading.header.height
    layers = [enhancement.decode(reading.payloads[: n + 1], width, height)[0] for n in range(len(reading.payloads))]
    return [plane for layer in layers if layer is not None for plane in layer.planes]


def ends(data: bytes) -> list[int]:
    """Return where each section ends."""
    spans = container.layout(data)
    last = {span.section: span.offset + span.length for span in spans if span.section is not None}
    return [last[section] for section in sorted(last)]


def objects_in(data: bytes) -> int:
    """Return 1 for a stream that has a section with the colours of objects, which is always the second; else 0."""
    return int(any(section.type == OBJECTS_TYPE for section in container.read(data).sections))


def survive(data: bytes, **options: Any) -> sempic.Decoded | None:
    """Decode and inspect a stream; both raise the same kind of error (then None), or none."""
    try:
        decoded = decode_with(data, **options)
    except SempicError:
        with pytest.raises(SempicError):
            sempic.inspect(data)
        return None
    info = sempic.inspect(data)
    assert sum(part.bytes for part in info.parts) == len(data)
    assert decoded.image.shape == (info.height, info.width, 3)
    assert decoded.segmap is not None
    assert decoded.segmap.shape == (info.height, info.width)
    return decoded


def check_foreign(data: bytes) -> None:
    """Check that a stream is refused when it says that another model wrote it."""
    stream = container.read(data)
    header = Header(stream.header.codec, stream.header.width, stream.header.height, stream.header.fingerprint ^ 1)
    foreign = container.write(header, stream.sections)
    for verb in (sempic.decode, sempic.inspect):
        with pytest.raises(ModelError, match=f"{header.fingerprint:04x}"):
            verb(foreign)
