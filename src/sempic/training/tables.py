"""Fitting of coding tables: the integer context models of `sempic.coding`, learnt in floats and then rounded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sempic.coding import grid, latents, net, objects, palette, ranges
from sempic.coding import segmap as segmap_coder
from sempic.errors import InputError
from sempic.segmap.objects import Objects

Array = NDArray[Any]
Ints = NDArray[np.integer]

BATCH = 4096
"""Samples of one step."""
LEARNING_RATE, LAST_LEARNING_RATE = 4e-3, 1e-5
MAX_SAMPLES, MAX_BORDER_PIXELS = 1_000_000, 1_500_000
"""A network is trained on so many samples at most, chosen at random; that of segmaps on so many."""


def fit_network(
    features: Ints,
    targets: Ints,
    sizes: Sequence[int],
    n_symbols: int,
    *,
    groups: Ints | None = None,
    n_groups: int = 1,
    width: int = 48,
    steps: int = 2000,
    seed: int = 0,
) -> net.IntegerNet:
    """Learn to predict symbols, by Adam on the cross-entropy, and round the weights to integers.

    Args:
        features: n×f, feature k in 0..sizes[k]-1.
        targets: n symbols, 0..n_symbols-1.
        sizes: the number of values of each feature.
        n_symbols: how many symbols there are.
        groups: n numbers of the matrix that each sample is predicted by, 0..n_groups-1; the first if left out.
        n_groups: how many such matrices there are.
        width: the size of the first layer; the second has half of it.
        steps: steps of `BATCH` samples.
        seed: of first weights and of the order of samples.
    """
    rng = np.random.default_rng(seed)
    groups = np.zeros(len(targets), np.int64) if groups is None else groups.astype(np.int64)
    targets = targets.astype(np.int64)
    weights = [
        rng.normal(0, (2 / len(sizes)) ** 0.5, (sum(sizes), width)),
        rng.normal(0, (2 / width) ** 0.5, (width + 1, width // 2)),
        rng.normal(0, 0.5 * (width // 2) ** -0.5, (n_groups, width // 2 + 1, n_symbols)),
    ]
    weights[1][-1] = 0
    weights[2][:, -1] = np.log(_shares(groups, targets, n_groups, n_symbols))
    first, hidden, out = parameters = [torch.from_numpy(w.astype(np.float32)).requires_grad_() for w in weights]
    begins = torch.from_numpy(net.begins(np.array(sizes)))
    optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE, betas=(0.9, 0.99))
    for step, chosen in enumerate(_minibatches(len(targets), min(BATCH, len(targets)), steps, rng)):
        chosen = chosen[np.argsort(groups[chosen], kind="stable")]
        columns = torch.from_numpy(features[chosen].astype(np.int64)) + begins
        one_hot = torch.zeros(len(chosen), len(first)).scatter_(1, columns, 1.0)
        a = F.relu(one_hot @ first)
        b = F.relu(a @ hidden[:-1] + hidden[-1])
        present, counts = np.unique(groups[chosen], return_counts=True)
        parts = zip(torch.split(b, counts.tolist()), present.tolist(), strict=True)
        scores = torch.cat([part @ out[group, :-1] + out[group, -1] for part, group in parts])
        (group,) = optimiser.param_groups
        group["lr"] = LEARNING_RATE * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + LAST_LEARNING_RATE
        loss = F.cross_entropy(scores, torch.from_numpy(targets[chosen]))
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimiser.step()
    return net.IntegerNet(np.array(sizes, np.int32), _fixed(first), _fixed(hidden), _fixed(out / math.log(2)))


def fit_segmap(
    maps: Iterable[segmap_coder.Segmap], n_classes: int, *, width: int = 64, steps: int = 4000
) -> segmap_coder.SegmapTables:
    """Learn the tables of segmaps (H×W, ids 0..n_classes-1 or 255) of the scale that they are meant for.

    Raises `InputError` where there are no segmaps.
    """
    n_symbols, parts = n_classes + 1, segmap_coder.PARTS
    counts = np.zeros((n_symbols * parts * parts, n_symbols), np.int64)
    features, targets = [], []
    for segmap in maps:
        for _, symbols, (near, place, seen) in segmap_coder.contexts(segmap, n_classes):
            border = segmap_coder.borders(near, n_classes)
            features.append(segmap_coder.features(near[:, border], place[border], seen[border]))
            targets.append(symbols[border])
            inside = np.delete(np.arange(len(symbols)), border)
            rows = near[0, inside].astype(np.int64) * parts * parts + place[inside]
            np.add.at(counts, (rows, symbols[inside]), 1)
    if not features:
        raise InputError("Segmap tables need at least one segmap to learn from.")
    x, y = np.concatenate(features), np.concatenate(targets)
    chosen = np.random.default_rng(0).permutation(len(x))[:MAX_BORDER_PIXELS]
    sizes = segmap_coder.feature_sizes(n_classes)
    border_network = fit_network(x[chosen], y[chosen], sizes, n_symbols, width=width, steps=steps)
    smooth = _smooth(counts.reshape(n_symbols, parts, parts, n_symbols))
    return segmap_coder.SegmapTables(n_classes, smooth, border_network)


def fit_grid(
    samples: Iterable[tuple[grid.Tokens, grid.Classes, Array]],
    n_classes: int,
    codebook: NDArray[np.floating],
    *,
    width: int = 48,
    steps: int = 1500,
    seed: int = 0,
) -> grid.GridTables:
    """Learn the tables of token grids.

    Each grid is cut into bands at random, for rates are chosen when a picture is encoded.

    Args:
        samples: tokens (0..n_codes-1), classes (0..n_classes-1, or 255 for unknown) and relevance, each h×w. The higher
            the relevance, the earlier a token is sent.
        n_classes: how many classes there are.
        codebook: n_codes×D, what the tokens stand for.
        width, steps, seed: as in `fit_network`.
    """
    rng = np.random.default_rng(seed)
    place_of = _clustered(np.asarray(codebook, np.float64))
    size, shapes = grid.cluster_size(len(place_of)), grid.shapes(len(place_of), n_classes)
    none = np.zeros(0, np.int64)
    nothing = np.zeros((0, len(shapes[0].sizes)), np.uint8), none, none
    data: list[list[tuple[Ints, Ints, Ints]]] = [[nothing] for _ in shapes]
    for tokens, classes, relevance in samples:
        for sent, chosen in _random_bands(relevance, rng):
            for stage, sample in grid.stages(place_of[tokens], chosen, sent, classes, n_classes, size):
                data[stage].append(sample)

    def learnt(shape: grid.NetShape, found: list[tuple[Ints, Ints, Ints]]) -> net.IntegerNet:
        features, symbols, groups = (np.concatenate(column) for column in zip(*found, strict=True))
        kept = rng.permutation(len(symbols))[:MAX_SAMPLES]
        return fit_network(
            features[kept], symbols[kept], shape.sizes, shape.n_symbols,
            groups=groups[kept], n_groups=shape.n_groups, width=width, steps=steps, seed=seed,
        )  # fmt: skip

    mask, cluster, member = map(learnt, shapes, data)
    return grid.GridTables(n_classes, place_of, (mask, cluster, member))


def fit_latents(
    samples: Iterable[tuple[latents.Values, latents.Classes, int]],
    n_classes: int,
    n_rates: int,
    limit: int,
    *,
    width: int = 64,
    steps: int = 3000,
    seed: int = 0,
) -> latents.LatentTables:
    """Learn the tables of latents.

    Args:
        samples: latents (C×h×w, -limit..limit), classes (h×w, 0..n_classes-1, others are unknown) and rate.
        n_classes: how many classes there are.
        n_rates: rates are 0..n_rates-1.
        limit: the largest latent.
        width, steps, seed: as in `fit_network`.

    Raises:
        InputError: there are no samples.
    """
    features, symbols, channels = [], [], []
    n_channels, n_levels = 0, 2 * limit + 1
    for values, classes, rate in samples:
        n_channels = len(values)
        view = latents.LatentView(classes, rate, n_channels, n_classes, n_rates, n_levels)
        view.write(values.astype(np.int64) + limit)
        for cells, channel in view.order(at_least=latents.BATCH):
            features.append(view.features(cells, channel))
            symbols.append(view.levels[channel, cells])
            channels.append(channel)
    if not features:
        raise InputError("Tables of latents need at least one sample to learn from.")
    x, y, groups = np.concatenate(features), np.concatenate(symbols), np.concatenate(channels)
    kept = np.random.default_rng(seed).permutation(len(y))[:MAX_SAMPLES]
    sizes = latents.feature_sizes(n_channels, n_classes, n_rates, n_levels)
    network = fit_network(
        x[kept], y[kept], sizes, n_levels, groups=groups[kept], n_groups=n_channels, width=width, steps=steps, seed=seed
    )
    return latents.LatentTables(n_classes, n_channels, n_rates, limit, network)


def fit_palette(palettes: Sequence[Array]) -> palette.PaletteTables:
    """Count the levels (classes×3) of many pictures; neighbours of a level that occurs are nearly as likely."""
    classes = np.arange(len(palettes[0]))
    return palette.PaletteTables(*_count_levels([(classes, levels) for levels in palettes], len(classes)))


def fit_objects(samples: Iterable[tuple[Objects, objects.ObjectColours]], n_classes: int) -> objects.ObjectTables:
    """Count the levels of objects, and how many of each class have an accent, in many pictures."""
    found = list(samples)
    brightness, tints = _count_levels([(pieces.classes, colours.levels) for pieces, colours in found], n_classes)
    accents = np.ones((n_classes, 2), np.int64)
    for pieces, colours in found:
        accents[:, 1] += np.bincount(pieces.classes[colours.accented], minlength=n_classes)
        accents[:, 0] += np.bincount(np.delete(pieces.classes, colours.accented), minlength=n_classes)
    return objects.ObjectTables(brightness, tints, ranges.normalise(accents))


def _count_levels(samples: Sequence[tuple[Array, Array]], n_classes: int) -> tuple[Array, Array]:
    """Return the frequencies of brightness (classes×33) and of both tints (classes×2×32) in pairs of n class ids and
    n×3 levels."""
    absent = np.zeros((n_classes, 1), np.int64)
    counts = np.zeros((n_classes, 3, palette.LEVELS), np.int64)
    for classes, levels in samples:
        there = levels[:, 0] != palette.ABSENT
        np.add.at(absent[:, 0], classes[~there], 1)
        for channel in range(3):
            np.add.at(counts, (classes[there], channel, levels[there, channel]), 1)
    padded = np.pad(counts, ((0, 0), (0, 0), (2, 2)), mode="edge")
    smooth = sum(w * padded[..., k : k + palette.LEVELS] for k, w in enumerate((1, 2, 4, 2, 1)))
    smooth = 100 * smooth + counts.sum(2, keepdims=True) + 1
    # Ten times the weights of the smoothing, and of the floor, which is spread over all levels.
    brightness = np.concatenate([smooth[:, 0], 1000 * absent + palette.LEVELS * absent + 1], 1)
    tints = ranges.normalise(smooth[:, 1:].reshape(-1, palette.LEVELS)).reshape(-1, 2, palette.LEVELS)
    return ranges.normalise(brightness), tints


def _shares(groups: Ints, targets: Ints, n_groups: int, n_symbols: int) -> NDArray[np.float64]:
    """Return the share of each symbol among the targets of its group, never zero."""
    counts = np.bincount(groups * n_symbols + targets, minlength=n_groups * n_symbols).reshape(n_groups, n_symbols)
    shares: NDArray[np.float64] = (counts + 0.1) / (counts + 0.1).sum(axis=1, keepdims=True)
    return shares


def _fixed(weights: torch.Tensor) -> NDArray[np.int16]:
    """Return weights in the fixed point of `IntegerNet`."""
    scaled = np.rint(weights.detach().numpy() * net.ONE)
    fixed: NDArray[np.int16] = scaled.clip(-(1 << 15), (1 << 15) - 1).astype(np.int16)
    return fixed


def _minibatches(n: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield `steps` random batches, each pass over the data in a new order."""
    order, at = rng.permutation(n), 0
    for _ in range(steps if n else 0):
        if at + batch > n:
            order, at = rng.permutation(n), 0
        yield order[at : at + batch]
        at += batch


def _smooth(counts: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Return counts by place, strengthened by those of the class anywhere and scaled to 16 bits."""
    by_class = counts.sum(axis=(1, 2), keepdims=True) + 0.02
    mixed = counts + 200 * by_class / by_class.sum(axis=-1, keepdims=True)
    scaled: NDArray[np.uint16] = np.rint(mixed * (65535 / mixed.max(axis=-1, keepdims=True))).astype(np.uint16)
    return scaled


def _random_bands(relevance: Array, rng: np.random.Generator) -> list[tuple[grid.Mask, grid.Mask]]:
    """Return (sent before, chosen) of one to four bands of random sizes, most relevant first."""
    ranks = np.empty(relevance.shape, np.int64)
    ranks.flat[np.argsort(relevance, axis=None, kind="stable")[::-1]] = np.arange(relevance.size)
    shares = np.sort(rng.random(rng.integers(1, 4)))
    ends = [0, *(np.rint(shares * relevance.size).astype(int)), relevance.size]
    return [(ranks < begin, (ranks >= begin) & (ranks < end)) for begin, end in pairwise(ends) if end > begin]


def _clustered(codebook: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return for each code (n_codes×D) cluster · size + member number, by halving the codebook again and again."""
    parts = [np.arange(len(codebook))]
    while len(parts) < grid.CLUSTERS:
        parts = [half for part in parts for half in _halved(codebook, part)]
    size = grid.cluster_size(len(codebook))
    place_of = np.empty(len(codebook), np.int32)
    for number, part in enumerate(parts):
        place_of[part] = number * size + np.arange(len(part))
    return place_of


def _halved(codebook: NDArray[np.float64], part: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split the codes of a part in two at the median of their widest direction."""
    if len(part) < 2:
        return part, part[:0]
    centred = codebook[part] - codebook[part].mean(axis=0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    ordered = part[np.argsort(centred @ direction, kind="stable")]
    middle = -(-len(part) // 2)
    return np.sort(ordered[:middle]), np.sort(ordered[middle:])
