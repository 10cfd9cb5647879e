"""From a run's options to its networks and its recipe, with the weights that they start from."""

from __future__ import annotations

from pathlib import Path

import torch

from sempic import runtime
from sempic.errors import InputError
from sempic.segment import BUILT_IN
from sempic.training import export, models, sources
from sempic.training.config import ImageOptions, LayeredOptions, MapOptions, Options, SegmentOptions, SpicOptions
from sempic.training.loop import CHECKPOINT, Recipe, load_ema, load_run
from sempic.training.recipe_layered import LayeredRecipe
from sempic.training.recipe_segment import SegmentRecipe
from sempic.training.recipe_spic import SpicRecipe
from sempic.training.recipe_sqgan import ImageRecipe, MapRecipe
from sempic.training.sampler import CLASSES, Pool, Sampler
from sempic.training.segmenters import Segmenter
from sempic.training.sqgan import MapStream


def recipe(options: Options, limit: int | None = None) -> Recipe:
    """Return a run's recipe with its data (`limit` pictures of each part of it at most) and its first weights.

    Raises `InputError` or `ModelError` for data, runs and models that are not there or do not fit.
    """
    torch.manual_seed(options.seed)
    pools = sources.pools(options.data, options.longest_side, limit)
    made = _made(options, pools)
    made.networks.to(memory_format=torch.channels_last)
    if options.init:
        _start(made, options)
    return made


def _made(options: Options, pools: list[Pool]) -> Recipe:
    if isinstance(options, SegmentOptions):
        return SegmentRecipe(pools, options)
    sampler = Sampler(pools, options.crop)
    if isinstance(options, MapOptions):
        return MapRecipe(sampler, options)
    if isinstance(options, LayeredOptions):
        return LayeredRecipe(sampler, _critic(), options)
    if isinstance(options, SpicOptions):
        return SpicRecipe(sampler, _critic(), options)
    assert isinstance(options, ImageOptions)
    return ImageRecipe(sampler, _critic(), options, _map_stream(options))


def _critic() -> Segmenter:
    """Return the shipped segmenter as a network for losses."""
    critic = Segmenter(CLASSES, pretrained=False)
    export.restore(critic, export.read_weights(runtime.model(BUILT_IN), ["segmenter"]))
    return critic


def _map_stream(options: ImageOptions) -> MapStream | None:
    """Return a trained G_s for maps that travel as tokens; None where none was named."""
    # A model that training starts from has a map stream as well; a run has one network.
    name = options.maps or ("" if _is_run(Path(options.init)) else options.init)
    if not (options.predicted and name):
        return None
    if _is_run(Path(name)):
        return models.trained(Path(name))[0]
    made = MapStream(CLASSES)
    models.restore_stream(made, runtime.model(name), "map")
    return made


def _start(made: Recipe, options: Options) -> None:
    """Load the weights of the run or model that training starts from."""
    run = Path(options.init)
    if _is_run(run):
        load_ema(run, made.networks)
        made.adversaries.load_state_dict(load_run(run)["adversaries"], strict=False)
        return
    model = runtime.model(options.init)
    if options.kind in ("layered", "spic"):
        models.restore_picture(made.networks, model)
    elif options.kind.startswith("sqgan"):
        models.restore_stream(made.networks, model, options.kind.removeprefix("sqgan-"))
    elif options.kind == model.card.kind:
        export.restore(made.networks, export.read_weights(model, [options.kind]))
    else:
        raise InputError(f"A {options.kind} cannot start from '{options.init}', which is a {model.card.kind}.")


def _is_run(folder: Path) -> bool:
    return (folder / CHECKPOINT).is_file()
