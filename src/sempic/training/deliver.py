"""From a training run to a model folder: networks, coding tables, a card, and a page for whoever finds it."""

from __future__ import annotations

import json
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sempic
from sempic import datasets, runtime
from sempic.errors import InputError
from sempic.taxonomy import CAMVID11
from sempic.training import config, export, models, sources
from sempic.training.config import STAGES, ImageOptions, Options
from sempic.training.loop import CHECKPOINT, LOG
from sempic.training.recipe_segment import evaluate
from sempic.training.sampler import Source, spread
from sempic.training.sqgan import MapStream

MAPS, FITTED = 400, 300
"""Coding tables of maps, and those of everything else, are fitted on so many pictures of each part of the data."""
MEASURED = 8
"""How many validation pictures are encoded and decoded for the card."""
SUMMARIES = {
    "segmenter": "Pictures into 11 classes: EfficientNet-Lite0 with a feature pyramid.",
    "judge": "Scores decoded pictures and nothing else: EfficientNet-Lite1 with a U-shaped decoder.",
    "sqgan": "SQ-GAN, 11 classes.",
    "layered": "The layered codec's base, 11 classes.",
    "spic": "SPIC's diffusion decoder, 11 classes.",
}
LICENCES = {
    "camvid": "CamVid is for research; cite Brostow et al. 2009.",
    "cityscapes": "Cityscapes is for non-commercial use under its own terms; cite Cordts et al. 2016.",
    "photos": "The photographs in photos/ keep their own licences.",
    "folder": "The pictures were the trainer's own; whoever passes the model on answers for their licence.",
}


@dataclass(frozen=True)
class Delivered:
    """A model that was written, and how much at most each output of its networks differs from PyTorch's."""

    model: runtime.Model
    differences: dict[str, float]


def deliver(run: Path, folder: Path) -> Delivered:
    """Write the averaged weights of a run as a model folder, which must not exist; its name becomes the model's.

    The folder appears when all of it is there. Raises `InputError` for a run that cannot be exported, `ModelError` if
    ONNX Runtime disagrees with PyTorch.
    """
    options = config.of_run(run)
    if folder.exists():
        raise InputError(f"'{folder}' exists; give another name with --out, or remove it.")
    if options.kind == "sqgan-map":
        raise InputError("A map stream is one half of SQ-GAN; export the run of the image stream that uses it.")
    network, step = models.trained(run)
    part = folder.parent / f".{folder.name}.{os.getpid()}.part" / folder.name
    part.mkdir(parents=True)
    try:
        training = _training(run, options, step)
        networks = [network]
        if options.kind in ("segmenter", "judge"):
            kind = options.kind
            differences = models.write_segmenter(part, network, kind)
            training["metrics"] = _reading(network, options)
        else:
            fitted, map_tables = _for_tables(options)
            if isinstance(options, ImageOptions):
                kind = "sqgan"
                map_stream, training["map"] = _map_stream(run, options)
                networks.append(map_stream)
                differences = models.write_sqgan(part, network, map_stream, fitted, map_tables)
            else:
                kind = options.kind
                write = {"layered": models.write_layered, "spic": models.write_spic}[kind]
                differences = write(part, network, fitted, map_tables)
        parameters = export.count_parameters(*networks)
        card = export.write_card(part, kind, SUMMARIES[kind], parameters, training)
        if kind in ("sqgan", "layered", "spic"):
            training["metrics"] = _drawing(part, kind, options)
            card = export.write_card(part, kind, SUMMARIES[kind], parameters, training)
        (part / "README.md").write_text(_page(card))
        part.rename(folder)
    finally:
        shutil.rmtree(part.parent, ignore_errors=True)
    return Delivered(runtime.Model(folder), differences)


def _for_tables(options: Options) -> tuple[list[Source], models.Tables]:
    """Return the pictures to fit a model's coding tables on, and those of maps, which are fitted on more."""
    pools = [pool.sources for pool in sources.pools(options.data, options.longest_side)]
    name = f"segmap-tables-{sources.fingerprint(options.data)[:16]}-{options.longest_side}"
    maps = [source for pool in pools for source in spread(pool, MAPS)]
    tables = sources.cached(name, lambda: models.fit_map_tables(maps))
    return [source for pool in pools for source in spread(pool, FITTED)], tables


def _map_stream(run: Path, options: ImageOptions) -> tuple[MapStream, dict[str, Any]]:
    """Return the map stream that belongs to an image stream, and what the card says of it."""
    for candidate in (*(run / stage for stage in STAGES.get(options.recipe, ())[:1]), Path(options.maps)):
        if (candidate / CHECKPOINT).is_file():
            network, step = models.trained(candidate)
            return network, _training(candidate, config.of_run(candidate), step)
    name = options.maps or options.init
    if not name or (Path(name) / CHECKPOINT).is_file():
        raise InputError(f"The run '{run}' names no map stream; train it with maps=RUN, or by `sempic train sqgan`.")
    network = MapStream(models.CLASSES).eval()
    models.restore_stream(network, runtime.model(name, "sqgan"), "map")
    return network, {"from": name}


def _training(run: Path, options: Options, step: int) -> dict[str, Any]:
    """Return what a card says of a run."""
    lines = (run / LOG).read_text().splitlines() if (run / LOG).is_file() else []
    names = [name.partition(":")[0] for name, _ in datasets.mixture(options.data)]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return {
        "recipe": options.recipe,
        "options": asdict(options),
        "steps": step,
        "data_sha256": sources.fingerprint(options.data),
        "hardware": f"{device}, {os.cpu_count()} cores",
        "sempic": sempic.__version__,
        "last_log": json.loads(lines[-1]) if lines else {},
        "licences": [LICENCES.get(name, LICENCES["folder"]) for name in dict.fromkeys(names)],
    }


def _reading(network: torch.nn.Module, options: Options) -> dict[str, Any]:
    """Return the mIoU of a segmenter over the labelled validation pictures."""
    data = config.validation(options)
    frames = [sources.shrunk(picture.read(), options.longest_side) for picture in datasets.find(data)]
    frames = [frame for frame in frames if frame.segmap is not None]
    if not frames:
        return {"data": data, "pictures": 0}
    miou, per_class = evaluate(network, frames)
    iou = {name: round(float(value), 4) for name, value in zip(CAMVID11.classes, per_class, strict=True)}
    return {"data": data, "pictures": len(frames), "miou": round(miou, 4), "iou": iou}


def _drawing(folder: Path, codec: str, options: Options) -> dict[str, Any]:
    """Return the mean size and PSNR of a few validation pictures, encoded and decoded by the model itself."""
    data = config.validation(options)
    found = datasets.find(data)
    count = min(MEASURED, len(found))
    rates, psnrs = [], []
    for picture in (found[i * len(found) // count] for i in range(count)):
        image = sources.shrunk(picture.read(), options.longest_side).image
        stream = sempic.encode(image, codec, model=str(folder))
        error = sempic.decode(stream).image.astype(np.float64) - image
        rates.append(8 * len(stream) / image[..., 0].size)
        psnrs.append(10 * np.log10(255**2 / max(np.square(error).mean(), 1e-3)))
    means = {"bpp": round(float(np.mean(rates)), 4), "psnr_db": round(float(np.mean(psnrs)), 2)}
    return {"data": data, "pictures": count, "quality": 50, **means}


def _page(card: runtime.Card) -> str:
    """Return the README of a model."""
    told = card.training
    metrics = ", ".join(f"{key} {value}" for key, value in told["metrics"].items() if not isinstance(value, dict))
    return "\n".join(
        [
            f"# {card.name}",
            "",
            card.summary,
            "",
            f"- **Training**: recipe `{told['recipe']}`, {told['steps']} steps on `{told['options']['data']}` "
            f"(SHA-256 of names and sizes {told['data_sha256'][:16]}…), {told['hardware']}; Sempic {told['sempic']}.",
            f"- **Measured**: {metrics}.",
            f"- **Licences**: {' '.join(told['licences'])}",
            "",
        ]
    )
