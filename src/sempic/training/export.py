"""From a training run to a model folder: networks, coding tables, a card, and a README."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import sempic
from sempic import datasets, runtime
from sempic.codecs.semantic import MAP_FACTORS
from sempic.errors import InputError
from sempic.files import part_name
from sempic.segmap.resample import shrink
from sempic.taxonomy import Taxonomy
from sempic.taxonomy import load as load_taxonomy
from sempic.training import config, recipe, sources, tables, weights
from sempic.training.loop import LOG
from sempic.training.sampler import Pool, Source, spread

Tables = dict[str, NDArray[Any]]

MAPS, FITTED = 400, 300
"""Coding tables of segmaps, and those of everything else, are fitted on so many pictures of each part of the data."""
LICENCES = {
    "camvid": "CamVid is for research; cite Brostow et al. 2009.",
    "cityscapes": "Cityscapes is for non-commercial use under its own terms; cite Cordts et al. 2016.",
    "photos": "The photographs in photos/ keep their own licences.",
    "folder": "The pictures were the trainer's own; whoever passes the model on answers for their licence.",
}


@dataclass(frozen=True)
class Exported:
    """A model that was written, and how much at most each output of its networks differs from PyTorch's."""

    model: runtime.Model
    differences: dict[str, float]


class Export:
    """A run on its way to a model: what a `ModelRecipe` writes it from and with.

    What takes time (the weights, the pictures, tables of segmaps and palettes) is made when it is first asked for.
    """

    def __init__(self, run: Path, folder: Path, progress: sources.Progress = lambda done, total: None) -> None:
        self.run, self.folder, self.options, self._progress = run, folder, config.of_run(run), progress
        self.taxonomy = load_taxonomy(self.options.taxonomy)
        self.differences: dict[str, float] = {}
        self.parameters = 0
        self.training: dict[str, Any] = {}
        """What the card contains about the training, besides what `note` returns."""

    @cached_property
    def trained(self) -> tuple[Any, int]:
        """The network with its averaged weights, and the step that they are from."""
        network, step = recipe.trained(self.run)
        self.parameters += weights.count(network)
        return network, step

    @property
    def network(self) -> Any:
        """The network with its averaged weights."""
        return self.trained[0]

    @cached_property
    def _pools(self) -> list[Pool]:
        return sources.pools(self.options.data, self.taxonomy, self.options.longest_side, progress=self._progress)

    @cached_property
    def sources(self) -> list[Source]:
        """The pictures to fit coding tables on."""
        return [source for pool in self._pools for source in spread(pool.sources, FITTED)]

    @cached_property
    def segmap_tables(self) -> Tables:
        """The lossless coder's tables for every size at which a segmap can travel.

        They are fitted on predictions and on labels: users hand in their own, with void, which no segmenter predicts.
        """
        found = sources.segmenter(self.taxonomy)
        about = sources.fingerprint(self.options.data), self.options.longest_side, self.taxonomy.to_json()
        return sources.cached([*about, found.card.fingerprint if found else None], self._fit_segmaps)

    def _fit_segmaps(self) -> Tables:
        shown = [source for pool in self._pools for source in spread(pool.sources, MAPS)]
        maps = [s.predicted for s in shown] + [s.frame.segmap for s in shown if s.frame.segmap is not None]
        made: Tables = {}
        for factor in MAP_FACTORS.values():
            fitted = tables.fit_segmap([shrink(segmap, factor) for segmap in maps], len(self.taxonomy))
            made |= _named(f"segmap{factor}", fitted.arrays())
        return made

    @property
    def palette_tables(self) -> Tables:
        """The tables of the colours of classes and, where the taxonomy has any, of objects."""
        made = _named("palette", tables.fit_palette([source.levels for source in self.sources]).arrays())
        if self.taxonomy.objects:
            found = (source.objects() for source in self.sources)
            made |= _named("objects", tables.fit_objects(found, len(self.taxonomy)).arrays())
        return made

    def write_network(
        self, name: str, network: nn.Module, inputs: dict[str, Tensor], outputs: list[str], sizes: dict[str, Any]
    ) -> None:
        """Write one of the model's networks, and compare it with PyTorch; see `weights.write`."""
        self.differences |= weights.write(network, self.folder / f"{name}.onnx", inputs, outputs, sizes)

    def write_tables(self, arrays: Mapping[str, NDArray[Any]], **named: Mapping[str, NDArray[Any]]) -> None:
        """Write the arrays that ship beside the networks, those of `named` groups under `GROUP.NAME`."""
        groups = (_named(group, found) for group, found in named.items())
        every = dict(arrays) | {name: array for group in groups for name, array in group.items()}
        np.savez_compressed(self.folder / runtime.TABLES, **every)

    def note(self, run: Path, step: int) -> dict[str, Any]:
        """Return what a card contains about a run."""
        options = config.of_run(run)
        lines = (run / LOG).read_text().splitlines() if (run / LOG).is_file() else []
        names = [name.partition(":")[0] for name, _ in datasets.mixture(options.data)]
        return {
            "recipe": options.recipe,
            "options": asdict(options),
            "steps": step,
            "data_sha256": sources.fingerprint(options.data),
            "hardware": f"{_device()}, {os.cpu_count()} cores",
            "sempic": sempic.__version__,
            "last_log": json.loads(lines[-1]) if lines else {},
            "licences": [LICENCES.get(name, LICENCES["folder"]) for name in dict.fromkeys(names)],
        }


def export(run: Path, folder: Path, progress: sources.Progress = lambda done, total: None) -> Exported:
    """Write the averaged weights of a run as a model folder, which must not exist; its name becomes the model's.

    The folder appears when all of it is there. `progress` is called with the number of segmaps predicted and the number
    to predict.

    Raises:
        InputError: the run cannot be exported.
        ModelError: ONNX Runtime disagrees with PyTorch.
    """
    options = config.of_run(run)
    if folder.exists():
        raise InputError(f"'{folder}' exists; give another name with --out, or remove it.")
    part = folder.parent / part_name(folder.name) / folder.name
    part.mkdir(parents=True)
    try:
        made, kind = Export(run, part, progress), options.recipe_type()
        kind.write(made)
        summary = kind.summary.format(classes=len(made.taxonomy))
        training = made.note(run, made.trained[1]) | made.training
        about = part, kind.model_kind, summary, made.taxonomy, made.parameters, training
        write_card(*about)
        training["metrics"] = kind.measure(part, options, made.taxonomy)
        (part / "README.md").write_text(_page(write_card(*about)))
        part.rename(folder)
    finally:
        shutil.rmtree(part.parent, ignore_errors=True)
    return Exported(runtime.Model(folder), made.differences)


def write_card(
    folder: Path, kind: str, summary: str, taxonomy: Taxonomy, parameters: int, training: dict[str, Any]
) -> runtime.Card:
    """Write the card that makes a folder a model: its classes, hashes of all its files, and how it was made."""
    files = [p.name for p in sorted(folder.iterdir()) if p.suffix in (".onnx", ".npz")]
    hashes = runtime.hashes(folder, files)
    card = runtime.Card(folder.name, kind, summary, taxonomy.to_json(), parameters, hashes, training)
    (folder / "card.json").write_text(json.dumps(asdict(card), indent=1) + "\n")
    return card


def _named(group: str, arrays: Mapping[str, NDArray[Any]]) -> Tables:
    return {f"{group}.{name}": array for name, array in arrays.items()}


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()


def _page(card: runtime.Card) -> str:
    """Return the README of a model."""
    training = card.training
    metrics = ", ".join(f"{key} {value}" for key, value in training["metrics"].items() if not isinstance(value, dict))
    return "\n".join(
        [
            f"# {card.name}",
            "",
            card.summary,
            "",
            f"- **Training**: recipe `{training['recipe']}`, {training['steps']} steps on "
            f"`{training['options']['data']}` (SHA-256 of names and sizes {training['data_sha256'][:16]}…), "
            f"{training['hardware']}; Sempic {training['sempic']}.",
            f"- **Measured**: {metrics}.",
            f"- **Licences**: {' '.join(training['licences'])}",
            "",
        ]
    )
