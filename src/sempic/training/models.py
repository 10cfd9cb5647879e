"""What a model folder of each kind holds, and how it is made from trained networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from sempic import runtime
from sempic.codecs import layered as codec
from sempic.codecs.generated import MAP_FACTORS
from sempic.coding import grid, latents, palette
from sempic.coding import segmap as segmap_coder
from sempic.coding.resample import shrink
from sempic.taxonomy import CAMVID11
from sempic.training import config, export
from sempic.training.blocks import EXTRA
from sempic.training.layered import CHANNELS, RATES, Layered, at_rate, bounded
from sempic.training.loop import load_ema
from sempic.training.sampler import Source
from sempic.training.segmenters import Judge, Segmenter
from sempic.training.spic import SIGMA_MAX, SIGMA_MIN, Denoiser
from sempic.training.sqgan import CODE_WIDTH, ImageStream, MapStream

CLASSES = len(CAMVID11)
Tables = dict[str, NDArray[Any]]
Differences = dict[str, float]
EXAMPLE = 16, 24
"""The grid on which networks are tried when they are exported; they run on any."""
RATE_STEPS = codec.STEPS_BETWEEN * (RATES - 1) + 1
"""The rates at which the layered codec writes, between and at those that have gains of their own."""


def network(options: config.Options) -> nn.Module:
    """Return the network that a run of these options trains, with random weights."""
    if isinstance(options, config.SegmentOptions):
        return (Judge if options.kind == "judge" else Segmenter)(CLASSES, pretrained=False)
    if isinstance(options, config.MapOptions):
        return MapStream(CLASSES, options.widths, options.layers)
    if isinstance(options, config.ImageOptions):
        return ImageStream(CLASSES, options.widths, options.blocks, options.layers)
    assert isinstance(options, config.LayeredOptions | config.SpicOptions)
    made = Layered if isinstance(options, config.LayeredOptions) else Denoiser
    return made(CLASSES, options.widths, options.blocks)


def trained(run: Path) -> tuple[Any, int]:
    """Return a run's network with its averaged weights, and the step that they are from."""
    made = network(config.of_run(run)).eval()
    return made, load_ema(run, made)


class _FullSize(nn.Module):
    """A segmenter that answers at the picture's size."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return F.interpolate(self.network(image), scale_factor=4, mode="bilinear", align_corners=False)


def write_segmenter(folder: Path, network: nn.Module, kind: str) -> Differences:
    """Write a segmenter or judge as `KIND.onnx`."""
    h, w = 32 * Dim("h", min=1, max=256), 32 * Dim("w", min=1, max=256)
    return export.write_network(
        _FullSize(network),
        folder / f"{kind}.onnx",
        {"image": torch.rand(1, 3, 384, 480)},
        ["logits"],
        {"image": {2: h, 3: w}},
    )


def fit_map_tables(sources: list[Source]) -> Tables:
    """Fit the lossless coder's tables for every size at which a map can travel.

    Maps are predicted ones and labels: users hand in their own, with void, which no segmenter predicts.
    """
    maps = [s.predicted for s in sources] + [s.frame.segmap for s in sources if s.frame.segmap is not None]
    tables: Tables = {}
    for factor in MAP_FACTORS.values():
        fitted = segmap_coder.SegmapTables.fit([shrink(segmap, factor) for segmap in maps], CLASSES)
        tables |= {f"segmap{factor}.{k}": v for k, v in fitted.arrays().items()}
    return tables


def write_sqgan(
    folder: Path, image: ImageStream, segmap: MapStream, sources: list[Source], map_tables: Tables
) -> Differences:
    """Write the four networks of SQ-GAN, codebooks and coding tables; those of tokens are fitted on `sources`."""
    differences = _write_streams(folder, image, segmap)
    tables = map_tables | {
        "image.codebook": image.quantiser.codebook.numpy(),
        "map.codebook": segmap.quantiser.codebook.numpy(),
    }
    image_tokens, map_tokens = _tokens(image, segmap, sources)
    for name, samples, stream in (("image", image_tokens, image), ("map", map_tokens, segmap)):
        grid_tables = grid.GridTables.fit(samples, CLASSES, stream.quantiser.codebook.numpy())
        tables |= {f"{name}.grid.{k}": v for k, v in grid_tables.arrays().items()}
    palette_tables = palette.PaletteTables.fit([source.palette for source in sources])
    tables |= {f"palette.{k}": v for k, v in palette_tables.arrays().items()}
    np.savez_compressed(folder / runtime.TABLES, **tables)
    return differences


def write_layered(folder: Path, network: Layered, sources: list[Source], map_tables: Tables) -> Differences:
    """Write the two networks of the layered codec, its gains and coding tables; latents' are fitted on `sources`."""
    differences = _write_layered(folder, network)
    gains = {name: getattr(network, name).detach().numpy() for name in ("log_gains", "log_returns")}
    palettes = palette.PaletteTables.fit([source.palette for source in sources])
    fitted = latents.LatentTables.fit(_latents(network, sources), CLASSES, RATE_STEPS, codec.LIMIT)
    tables = map_tables | gains | {f"palette.{k}": v for k, v in palettes.arrays().items()}
    np.savez_compressed(folder / runtime.TABLES, **tables, **{f"latents.{k}": v for k, v in fitted.arrays().items()})
    return differences


def write_spic(folder: Path, network: Denoiser, sources: list[Source], map_tables: Tables) -> Differences:
    """Write SPIC's denoiser, the noise levels that it knows, and the colours of classes where nothing else is known."""
    sigma = np.array([SIGMA_MIN, SIGMA_MAX], np.float32)
    np.savez_compressed(folder / runtime.TABLES, **map_tables, sigma=sigma, colours=_mean_colours(sources))
    rows, columns = EXAMPLE
    h, w = Dim("h", min=1, max=512), Dim("w", min=1, max=512)
    fine, quarter = {2: 16 * h, 3: 16 * w}, {2: 4 * h, 3: 4 * w}
    return export.write_network(
        network,
        folder / "denoiser.onnx",
        {
            "noisy": torch.rand(1, 3, 16 * rows, 16 * columns),
            "coarse": torch.rand(1, 3, 4 * rows, 4 * columns),
            "segmap": torch.rand(1, CLASSES, 4 * rows, 4 * columns),
            "sigma": torch.ones(1),
        },
        ["image"],
        {"noisy": fine, "coarse": quarter, "segmap": quarter, "sigma": {}},
    )


def _mean_colours(sources: list[Source]) -> NDArray[np.float32]:
    """Return the mean colour of each class over all pictures, classes×3 in [0,1]; grey where a class has none."""
    sums, counts = np.zeros((CLASSES, 3)), np.zeros((CLASSES, 1))
    for source in sources:
        ids = source.predicted.ravel()
        for channel in range(3):
            sums[:, channel] += np.bincount(ids, source.frame.image[..., channel].ravel(), 256)[:CLASSES]
        counts[:, 0] += np.bincount(ids, minlength=256)[:CLASSES]
    colours = np.where(counts, sums / counts.clip(1) / 255, 0.5)
    return colours.astype(np.float32)


def restore_picture(network: Layered | Denoiser, model: runtime.Model) -> None:
    """Load what a shipped model of any codec has of a network (a SQ-GAN: encoder and decoder), to train on from it."""
    kept = network.state_dict()
    shipped = export.read_weights(model, ["denoiser"] if model.card.kind == "spic" else ["encoder", "decoder"])
    gains = {k: torch.from_numpy(model.tables[k]) for k in ("log_gains", "log_returns") if k in model.tables}
    if gains and isinstance(network, Denoiser):  # it has no gains, but sees what goes through those of the highest rate
        through = (gains["log_gains"] + gains["log_returns"])[-1].exp()
        shipped["project.weight"] = shipped["project.weight"].reshape(len(through), -1) * through[:, None]
        shipped["project.bias"] *= through
    shipped |= gains
    export.restore(network, kept | {k: v for k, v in shipped.items() if k in kept})


def restore_stream(network: nn.Module, model: runtime.Model, stream: str) -> None:
    """Load the "image" or "map" stream of a shipped SQ-GAN for training to go on from."""
    names = ["encoder", "decoder"] if stream == "image" else ["map_encoder", "map_decoder"]
    export.restore(network, export.read_weights(model, names))


def _write_streams(folder: Path, image: ImageStream, segmap: MapStream) -> Differences:
    rows, columns = EXAMPLE
    h, w = Dim("h", min=1, max=512), Dim("w", min=1, max=512)
    wide_h, wide_w = 8 * Dim("rows", min=1, max=64), 8 * Dim("columns", min=1, max=64)
    quarter = torch.rand(1, CLASSES, 4 * rows, 4 * columns)
    codes, kept = torch.randn(1, CODE_WIDTH, rows, columns), torch.ones(1, 1, rows, columns)
    grid_of = {2: wide_h, 3: wide_w}
    found = export.write_network(
        export.Method(image, "encode"),
        folder / "encoder.onnx",
        {"image": torch.rand(1, 3, 16 * rows, 16 * columns), "segmap": quarter},
        ["vectors", "relevance"],
        {"image": {2: 16 * h, 3: 16 * w}, "segmap": {2: 4 * h, 3: 4 * w}},
    )
    found |= export.write_network(
        export.Method(image, "decode"),
        folder / "decoder.onnx",
        {"codes": codes, "kept": kept, "layout": torch.rand(1, CLASSES + EXTRA, 4 * rows, 4 * columns)},
        ["image"],
        {"codes": grid_of, "kept": grid_of, "layout": {2: 4 * wide_h, 3: 4 * wide_w}},
    )
    found |= export.write_network(
        export.Method(segmap, "encode"),
        folder / "map_encoder.onnx",
        {"segmap": quarter},
        ["vectors", "relevance"],
        {"segmap": {2: 4 * h, 3: 4 * w}},
    )
    found |= export.write_network(
        export.Method(segmap, "decode"),
        folder / "map_decoder.onnx",
        {"codes": codes, "kept": kept},
        ["logits"],
        {"codes": grid_of, "kept": grid_of},
    )
    return found


def _write_layered(folder: Path, network: Layered) -> Differences:
    rows, columns = EXAMPLE
    h, w = Dim("h", min=1, max=512), Dim("w", min=1, max=512)
    quarter, fine = {2: 4 * h, 3: 4 * w}, {2: 16 * h, 3: 16 * w}
    found = export.write_network(
        export.Method(network, "encode"),
        folder / "encoder.onnx",
        {"image": torch.rand(1, 3, 16 * rows, 16 * columns), "segmap": torch.rand(1, CLASSES, 4 * rows, 4 * columns)},
        ["latents"],
        {"image": fine, "segmap": quarter},
    )
    found |= export.write_network(
        export.Method(network, "decode"),
        folder / "decoder.onnx",
        {
            "latents": torch.randn(1, CHANNELS, rows, columns),
            "strength": torch.ones(1),
            "layout": torch.rand(1, CLASSES + EXTRA, 4 * rows, 4 * columns),
        },
        ["image"],
        {"latents": {2: h, 3: w}, "strength": {}, "layout": quarter},
    )
    return found


@torch.no_grad()
def _latents(network: Layered, sources: list[Source]) -> Iterator[tuple[NDArray[np.int8], NDArray[np.uint8], int]]:
    """Yield the latents, classes and rate of each picture, at two rates that are drawn."""
    rng = np.random.default_rng(0)
    for source in sources:
        pixels, one_hot, classes = _inputs(source)
        raw = network.encode(pixels, one_hot)
        for step in rng.integers(RATE_STEPS, size=2):
            gains = at_rate(network.log_gains, torch.tensor([float(step)]) / codec.STEPS_BETWEEN)
            yield bounded(raw * gains)[0].round().numpy().astype(np.int8), classes, int(step)


def _inputs(source: Source) -> tuple[Tensor, Tensor, NDArray[np.uint8]]:
    """Return a picture and its predicted map as encoders take them, and the class under each place of the grid."""
    height, width = (side - side % 16 for side in source.predicted.shape)
    quarter = shrink(source.predicted[:height, :width], 4)
    one_hot = torch.from_numpy(np.equal(quarter, np.arange(CLASSES)[:, None, None])[None].astype(np.float32))
    pixels = torch.from_numpy(source.frame.image[:height, :width].copy()).permute(2, 0, 1)[None].float() / 255
    return pixels, one_hot, shrink(quarter, 4)


@torch.no_grad()
def _tokens(image: ImageStream, segmap: MapStream, sources: list[Source]) -> tuple[list[Any], list[Any]]:
    """Return (tokens, classes, relevance) of each picture, for the image and for the map stream."""
    of_image: list[Any] = []
    of_map: list[Any] = []
    for source in sources:
        pixels, one_hot, classes = _inputs(source)
        unknown = np.full_like(classes, 255)
        for samples, stream, inputs, known in (
            (of_image, image, (pixels, one_hot), classes),
            (of_map, segmap, (one_hot,), unknown),
        ):
            vectors, relevance = stream.encode(*inputs)
            indices = stream.quantiser(vectors).indices[0]
            samples.append((indices.numpy().astype(np.int32), known, relevance[0, 0].numpy()))
    return of_image, of_map
