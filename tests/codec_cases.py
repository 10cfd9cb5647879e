"""What the tests of `sqgan`, `layered` and `spic` share: two sets of weights, drawn streets, and a measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_in import scene

from sempic import runtime
from sempic.codecs.generated import MAP_FACTORS as FACTORS

__all__ = ["FACTORS", "on_both_weights", "psnr", "street"]


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


def psnr(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio of two pictures in dB."""
    return float(-10 * np.log10(np.square(image.astype(float) - other).mean() / 255**2))
