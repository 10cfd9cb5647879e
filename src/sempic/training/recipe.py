"""What every kind of model has to offer: how it is trained, started from a shipped model, and written as one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import nn

import sempic
from sempic import datasets, runtime
from sempic.codecs import codec
from sempic.codecs.spec import Spec
from sempic.errors import InputError
from sempic.taxonomy import Taxonomy
from sempic.taxonomy import load as load_taxonomy
from sempic.training import config, sources
from sempic.training.loop import CHECKPOINT, Recipe, load_ema, load_run
from sempic.training.options import RunOptions
from sempic.training.sampler import Pool, spread

if TYPE_CHECKING:
    from sempic.training.export import Export

MEASURED = 8
"""How many validation pictures are encoded and decoded for the card."""

AnyOptions = TypeVar("AnyOptions", bound=RunOptions)


class ModelRecipe(Recipe, Generic[AnyOptions]):
    """A recipe of a kind of model, which the `RunOptions` of that kind name as their `recipe_type`.

    A subclass is made of options, a taxonomy and pools of pictures. Its constructor sets `networks`, made by `network`,
    `adversaries` and `optimisers`.
    """

    model_kind: ClassVar[str]
    """The `kind` in the card of the models that are made of it."""
    summary: ClassVar[str]
    """The sentence in that card; {classes} is the number of classes."""
    left_out: int = 0
    """How many pictures of the data could not be read."""

    @abstractmethod
    def __init__(self, options: AnyOptions, taxonomy: Taxonomy, pools: Sequence[Pool]) -> None: ...

    @classmethod
    @abstractmethod
    def network(cls, options: AnyOptions, taxonomy: Taxonomy) -> nn.Module:
        """Return the network that such a run trains, with random weights."""

    @classmethod
    @abstractmethod
    def restore(cls, network: nn.Module, model: runtime.Model) -> None:
        """Load the weights of a shipped model of the same taxonomy into a network.

        Raises `InputError` for a model of a kind that has no such weights, `ModelError` for one of other sizes.
        """

    @classmethod
    @abstractmethod
    def write(cls, export: Export) -> None:
        """Write the networks and tables of a trained model; raise `InputError` where it cannot be one."""

    @classmethod
    def restore_other(cls, network: nn.Module, model: runtime.Model, taxonomy: Taxonomy) -> None:
        """Load the weights of a shipped model of another taxonomy into a network of `taxonomy`, where that makes sense.

        Raises `InputError` where it does not.
        """
        raise InputError(
            f"'{model.card.name}' has the classes of {model.taxonomy.name}; with those of {taxonomy.name}, start from "
            "another model, or from nothing: 'init='."
        )

    @classmethod
    def measure(cls, folder: Path, options: AnyOptions, taxonomy: Taxonomy) -> dict[str, Any]:
        """Return the card's measurements of a model: here, of a codec on a few validation pictures.

        They are encoded and decoded by the model itself; bpp and PSNR are means.
        """
        data = config.validation(options)
        pictures = sources.Pictures(spread(datasets.find(data), MEASURED), taxonomy, options.longest_side)
        spec = Spec.of(codec(cls.model_kind), {"model": str(folder)})
        rates, psnrs = [], []
        for source in pictures:
            image = source.frame.image
            settings = spec.with_settings(segmap=source.predicted).settings
            stream = sempic.encode(image, spec.codec, settings=settings)
            error = sempic.decode(stream, model=str(folder)).image.astype(np.float64) - image
            rates.append(8 * len(stream) / image[..., 0].size)
            psnrs.append(10 * np.log10(255**2 / max(np.square(error).mean(), 1e-3)))
        means = {"bpp": round(float(np.mean(rates)), 4), "psnr_db": round(float(np.mean(psnrs)), 2)}
        return {"data": data, "pictures": len(pictures), "quality": 50, **means}

    @classmethod
    def cannot_start(cls, model: runtime.Model) -> InputError:
        """Return the error for a model of a kind whose weights are of no use here."""
        return InputError(f"A {cls.model_kind} cannot start from '{model.card.name}', which is a {model.card.kind}.")


def build(
    options: RunOptions, limit: int | None = None, progress: sources.Progress = lambda done, total: None
) -> ModelRecipe[Any]:
    """Return a run's recipe with its data (`limit` pictures of each part of it at most) and its first weights.

    `progress` is called with the number of segmaps predicted and the number to predict.

    Raises `InputError` or `ModelError` for data, runs and models that are not there or do not fit.
    """
    torch.manual_seed(options.seed)
    taxonomy = load_taxonomy(options.taxonomy)
    pools = sources.pools(options.data, taxonomy, options.longest_side, limit, progress)
    made = options.recipe_type()(options, taxonomy, pools)
    made.left_out = sum(len(pool.sources.left_out) for pool in pools if isinstance(pool.sources, sources.Pictures))
    made.networks.to(memory_format=torch.channels_last)
    if is_run(options.init):
        load_ema(Path(options.init), made.networks)
        made.adversaries.load_state_dict(load_run(Path(options.init))["adversaries"], strict=False)
    elif options.init:
        model = runtime.model(options.init)
        if model.taxonomy.classes != taxonomy.classes:
            made.restore_other(made.networks, model, taxonomy)
        else:
            made.restore(made.networks, model)
    return made


def trained(run: Path) -> tuple[Any, int]:
    """Return a run's network with its averaged weights, and the step that they are from."""
    options = config.of_run(run)
    network = options.recipe_type().network(options, load_taxonomy(options.taxonomy)).eval()
    return network, load_ema(run, network)


def is_run(name: str) -> bool:
    """Whether this names a training run that has a checkpoint."""
    return bool(name) and (Path(name) / CHECKPOINT).is_file()
