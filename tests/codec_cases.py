"""What the tests of `sqgan`, `layered` and `spic` share: two sets of weights, drawn streets, and a measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_in import scene

import sempic
from sempic import container, runtime
from sempic.codecs.generated import MAP_FACTORS as FACTORS
from sempic.container import Header
from sempic.errors import ModelError, SempicError

__all__ = ["FACTORS", "check_foreign", "noise", "on_both_weights", "psnr", "street", "survive"]


def on_both_weights(model: str, *makers: Callable[[Path], None]) -> Any:
    """Return a fixture that runs a module's tests on stand-ins for the weights and, where they are, on shipped ones.

    Which weights these are is what SEMPIC_MODELS and its absence lead to; `makers` write the stand-ins.
    """

    @pytest.fixture(scope="module", params=["stand-in", "shipped"], autouse=True)
    def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            if request.param == "shipped":
                if not (runtime.SHIPPED / model / "card.json").is_file():
                    pytest.skip(f"no weights of {model} in {runtime.SHIPPED}")
                patch.delenv("SEMPIC_MODELS", raising=False)
            else:
                folder = tmp_path_factory.mktemp("models")
                for make in makers:
                    make(folder)
                patch.setenv("SEMPIC_MODELS", str(folder))
            yield request.param

    return weights


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


def survive(data: bytes, **options: Any) -> sempic.Decoded | None:
    """Decode and inspect a stream; both raise the same kind of error (then None), or none."""
    try:
        decoded = sempic.decode(data, **options)
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


def psnr(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio of two pictures in dB."""
    return float(-10 * np.log10(np.square(image.astype(float) - other).mean() / 255**2))
