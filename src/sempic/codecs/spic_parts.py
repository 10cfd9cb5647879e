"""The parts of SPIC that can be replaced: what each of them must do, and what does it otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sempic.codecs.classic.hevc import Hevc
from sempic.codecs.classic.picture import PictureCodec
from sempic.codecs.semantic import Weights
from sempic.codecs.tiles import CELL, blend_tiled
from sempic.coding import segmap as segmap_coder
from sempic.taxonomy import Taxonomy

Array = NDArray[Any]


class Segmenter(Protocol):
    """What finds the classes; `sempic.segmap.segmenter.segment` is the built-in one."""

    def __call__(self, image: NDArray[np.uint8], taxonomy: Taxonomy) -> NDArray[np.uint8]:
        """Return the segmap (uint8 H×W, 255: void) of a picture (uint8 H×W×3)."""


class MapCoder(Protocol):
    """What codes the segmap."""

    def encode(self, segmap: NDArray[np.uint8], factor: int) -> bytes:
        """Return a segmap that is `factor` times smaller than the picture as bytes."""

    def decode(self, data: bytes, height: int, width: int, factor: int) -> NDArray[np.uint8]:
        """Return what `encode` was given, exactly; raise `StreamError` for bytes that it cannot have written."""


class CoarseCoder(Protocol):
    """What codes the coarse picture."""

    levels: Sequence[int]
    """What the coder calls quality, in its own numbers, from coarse to fine."""

    def encode(self, picture: NDArray[np.uint8], level: int) -> bytes:
        """Return a small picture (uint8 h×w×3, sides from 3 pixels) as bytes, at one of the levels."""

    def decode(self, data: bytes, height: int, width: int) -> NDArray[np.uint8]:
        """Return nearly what `encode` was given; raise `StreamError` for bytes that it cannot have written."""


class Denoiser(Protocol):
    """What draws."""

    sigmas: tuple[float, float]
    """The lowest and the highest noise level, σ_min and σ_max."""

    def denoise(self, noisy: Array, coarse: Array, segmap: Array, sigma: float) -> Array:
        """Return the picture to be expected (a new array, 1×3×H×W float32, like `noisy`) under noise of a level.

        H and W are multiples of 16; the coarse picture (1×3×H/4×W/4) and the segmap (1×classes×H/4×W/4, one-hot, zeros
        for void or for no segmap) are those of the whole stream. Pictures are in [0,1], `noisy` beyond.
        """


class LearntMapCoder:
    """The integer context model of a model's tables."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def encode(self, segmap: NDArray[np.uint8], factor: int) -> bytes:
        """Code a segmap with the tables of its scale."""
        return segmap_coder.encode(segmap, self._weights.map_tables(factor))

    def decode(self, data: bytes, height: int, width: int, factor: int) -> NDArray[np.uint8]:
        """Undo `encode`."""
        return segmap_coder.decode(data, height, width, self._weights.map_tables(factor))


class ClassicCoarseCoder:
    """Any of the classic codecs, HEVC unless another is given, with its own levels."""

    def __init__(self, codec: PictureCodec[Any] | None = None) -> None:
        self._codec = codec or Hevc()
        self.levels = self._codec.levels

    def encode(self, picture: NDArray[np.uint8], level: int) -> bytes:
        """Code a picture."""
        return self._codec.compress(self._codec.shrink(picture, picture.shape[1], picture.shape[0]), level)

    def decode(self, data: bytes, height: int, width: int) -> NDArray[np.uint8]:
        """Undo `encode`, as nearly as its level allows."""
        return self._codec.enlarge(self._codec.expand(data, width, height), width, height)


class NetworkDenoiser:
    """A model's own network, in tiles where the picture is large."""

    def __init__(self, weights: Weights) -> None:
        self._network = weights.model.network("denoiser")
        low, high = weights.model.tables["sigma"].tolist()
        self.sigmas = low, high

    def denoise(self, noisy: Array, coarse: Array, segmap: Array, sigma: float) -> Array:
        """Run the network once, or once a tile."""
        level = np.array([sigma], np.float32)
        grid = noisy.shape[2] // CELL, noisy.shape[3] // CELL
        return blend_tiled(self._network, *grid, noisy=noisy, coarse=coarse, segmap=segmap, sigma=level)[None]
