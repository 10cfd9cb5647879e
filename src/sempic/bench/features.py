"""Features of pictures by networks. The last few pictures are kept, since several metrics need the same features."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sempic.bench import judge

if TYPE_CHECKING:
    from sempic.lpips import Lpips

Pixels = NDArray[np.uint8]

PATCH, STRIDE = 128, 64
"""Pixels that a feature of `lite0_frechet` and `lite0_kernel` describes, and from one to the next."""
INCEPTION_PATCH, INCEPTION_STRIDE = 256, 128
"""The same for `fid` and `kid`, as in HiFiC (Mentzer et al. 2020)."""


def segmap(picture: Pixels) -> NDArray[np.uint8]:
    """Return the judge's segmap of a picture."""
    return _segmap(picture.tobytes(), picture.shape, judge.model().card.fingerprint)


@lru_cache(maxsize=4)
def _segmap(pixels: bytes, shape: tuple[int, ...], fingerprint: int) -> NDArray[np.uint8]:
    """Run the judge, whose fingerprint tells its segmaps from another's."""
    return judge.segment(np.frombuffer(pixels, np.uint8).reshape(shape))


def lite0(picture: Pixels) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a picture's EfficientNet-Lite0 features at four strides (channels × h × w, unit length), and those of its
    windows (windows × 320)."""
    return _lite0(picture.tobytes(), picture.shape)


@lru_cache(maxsize=4)
def _lite0(pixels: bytes, shape: tuple[int, ...]) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Run the network once over the whole picture, padded to whole cells of 32 pixels by repeating its edge; windows
    are averages over the cells of the last stride that lie within the picture."""
    import torch

    height, width = shape[:2]
    picture = np.frombuffer(pixels, np.uint8).reshape(shape)
    padded = np.pad(picture, ((0, -height % 32), (0, -width % 32), (0, 0)), mode="edge")
    with torch.inference_mode():
        features = [f[0].numpy() for f in _lite0_network()(tensor(padded))]
    windows = _patches(features[-1][:, : height // 32, : width // 32], PATCH // 32, STRIDE // 32)
    return [f / np.maximum(np.linalg.norm(f, axis=0), 1e-6) for f in features], windows.mean((2, 3))


def inception(picture: Pixels) -> NDArray[np.float32]:
    """Return Inception's 2048 features of each patch of a picture; none for a picture smaller than a patch."""
    return _inception(picture.tobytes(), picture.shape)


@lru_cache(maxsize=4)
def _inception(pixels: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
    import torch

    picture = np.frombuffer(pixels, np.uint8).reshape(shape).transpose(2, 0, 1)
    patches = _patches(picture, INCEPTION_PATCH, INCEPTION_STRIDE)
    if not len(patches):
        return np.zeros((0, 2048), np.float32)
    with torch.inference_mode():
        (features,) = _inception_network()(torch.from_numpy(np.ascontiguousarray(patches)))
    return np.asarray(features.numpy())


def _patches(picture: NDArray[Any], size: int, stride: int) -> NDArray[Any]:
    """Return all square patches (patches × channels × size × size) of a picture (channels × H × W), in raster order."""
    if min(picture.shape[1:]) < size:
        return picture[:0].reshape(0, len(picture), size, size)
    windows = np.lib.stride_tricks.sliding_window_view(picture, (size, size), (1, 2))[:, ::stride, ::stride]
    return windows.transpose(1, 2, 0, 3, 4).reshape(-1, len(picture), size, size)


def tensor(picture: Pixels) -> Any:
    """Return a picture as PyTorch takes it: 1×3×H×W in [0,1]."""
    import torch

    return torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float32) / 255)


@cache
def _lite0_network() -> Any:
    from sempic.efficientnet import EfficientNetLite

    return EfficientNetLite("lite0").eval()


@cache
def lpips_network() -> Any:
    """Return LPIPS on AlexNet."""
    from lpips import LPIPS

    return LPIPS(net="alex", verbose=False).eval()


@cache
def lpips_squeeze_network() -> Lpips:
    """Return LPIPS on SqueezeNet; raise `InputError` where its weights are not there."""
    from sempic.lpips import Lpips

    return Lpips()


@cache
def dists_network() -> Any:
    """Return DISTS."""
    from DISTS_pytorch import DISTS

    return DISTS().eval()


@cache
def _inception_network() -> Any:
    from torch_fidelity import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3("inception", ["2048"]).eval()
