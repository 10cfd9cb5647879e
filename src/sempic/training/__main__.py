"""`python -m sempic.training`: train a recipe, export it as a model folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.progress import track

from sempic import datasets, runtime
from sempic.errors import SempicError
from sempic.segment import BUILT_IN, segment
from sempic.taxonomy import CAMVID11
from sempic.training import export, models
from sempic.training.loop import Options, Recipe, load_ema, load_run, train
from sempic.training.recipe_layered import LayeredRecipe
from sempic.training.recipe_segment import SegmentRecipe
from sempic.training.recipe_spic import SpicRecipe
from sempic.training.recipe_sqgan import ImageRecipe, MapRecipe
from sempic.training.sampler import Sampler, Source
from sempic.training.segmenters import Segmenter
from sempic.training.sqgan import MapStream

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


def _cached(what: str, make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return arrays that depend on the shipped segmenter alone, from runs/ if they were made before."""
    path = Path("runs") / f"{what}-{runtime.model(BUILT_IN).card.fingerprint:04x}.npz"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        np.savez_compressed(path, **make())
    with np.load(path) as stored:
        return dict(stored)


def _sources() -> tuple[list[Source], list[Source]]:
    """Load CamVid `train` and the photographs, with the maps that the shipped segmenter predicts."""
    groups = datasets.camvid("train"), datasets.photos()
    maps = _cached("predicted", lambda: {f.name: segment(f.image, CAMVID11) for f in track([*groups[0], *groups[1]])})
    street, photos = ([Source(f, maps[f.name]) for f in group] for group in groups)
    return street, photos


def _for_tables() -> tuple[list[Source], dict[str, NDArray[Any]]]:
    """Return the pictures to fit a model's coding tables on, and those of maps, which are fitted on more."""
    street, photos = _sources()
    tables = _cached("segmap-tables", lambda: models.fit_map_tables([*street, *photos[::4]]))
    return [*street, *photos[::6]], tables


def _critic() -> Segmenter:
    """Return the shipped segmenter as a network for losses."""
    network = Segmenter(len(CAMVID11), pretrained=False)
    export.restore(network, export.read_weights(runtime.model(BUILT_IN), ["segmenter"]))
    return network


def _map_stream(init: str | None, map_run: Path | None) -> MapStream | None:
    """Return a trained G_s: of a run, or of the model that training starts from."""
    network = MapStream(len(CAMVID11))
    if map_run:
        load_ema(map_run, network)
    elif init:
        models.restore_stream(network, runtime.model(init), "map")
    else:
        return None
    return network


def _sampler() -> Sampler:
    return Sampler(*_sources(), crop=128, share=0.65)


RECIPES: dict[str, Callable[[str | None, Path | None], Recipe]] = {
    "segmenter": lambda init, map_run: SegmentRecipe(datasets.camvid("train")),
    "judge": lambda init, map_run: SegmentRecipe(datasets.camvid("train"), judge=True),
    "sqgan-map": lambda init, map_run: MapRecipe(_sampler()),
    "sqgan-image": lambda init, map_run: ImageRecipe(_sampler(), _critic(), False, None, adversarial_from=0.4),
    "sqgan": lambda init, map_run: ImageRecipe(
        _sampler(), _critic(), True, _map_stream(init, map_run), adversarial_from=0.05
    ),
    "layered": lambda init, map_run: LayeredRecipe(_sampler(), _critic(), adversarial_from=0.05),
    "spic": lambda init, map_run: SpicRecipe(_sampler(), _critic(), adversarial_from=0.2),
}


@app.command("train")
def train_command(
    recipe: Annotated[str, typer.Argument(help=f"One of {', '.join(RECIPES)}.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished run in it is gone on with.")],
    steps: Annotated[int, typer.Option(help="Length of the whole run; the learning rate follows it.")] = 10000,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop (and save) after so long, to go on another time.")
    ] = None,
    init: Annotated[str | None, typer.Option(help="Start from the weights of an installed model.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Start from the averaged weights of another run.")] = None,
    map_run: Annotated[Path | None, typer.Option(help="For sqgan: the run of G_s, if not that of --init.")] = None,
    seed: int = 0,
    precision: Annotated[str, typer.Option(help="bf16, fp16 or no.")] = "bf16",
) -> None:
    """Train a recipe on the data in SEMPIC_DATA.

    Runs on the CPU or one GPU as it is, on several with `torchrun --nproc-per-node N -m sempic.training train …`.
    """
    if recipe not in RECIPES:
        raise typer.BadParameter(f"'{recipe}' is no recipe; there are {', '.join(RECIPES)}.")
    torch.manual_seed(seed)
    chosen = RECIPES[recipe](init, map_run)
    chosen.networks.to(memory_format=torch.channels_last)
    if weights:
        state = load_run(weights)
        chosen.networks.load_state_dict(state["ema"])
        chosen.adversaries.load_state_dict(state["adversaries"])
    elif init and recipe == "layered":
        models.restore_layered(chosen.networks, runtime.model(init))
    elif init and recipe == "spic":
        models.restore_spic(chosen.networks, runtime.model(init))
    elif init and recipe.startswith("sqgan"):
        models.restore_stream(chosen.networks, runtime.model(init), "map" if recipe == "sqgan-map" else "image")
    done = train(chosen, out, Options(steps, max_minutes, seed, precision))
    typer.echo("done" if done else "stopped by --max-minutes; run the same command to go on")


@app.command("export")
def export_command(
    kind: Annotated[str, typer.Argument(help="segmenter, judge, sqgan, layered or spic.")],
    folder: Annotated[Path, typer.Argument(help="The model folder to write; its name becomes the model's.")],
    run: Annotated[Path, typer.Option(help="The run to export (for sqgan: of the image stream).")],
    map_run: Annotated[Path | None, typer.Option(help="For sqgan: the run of the map stream.")] = None,
) -> None:
    """Write a run's averaged weights as a model folder: ONNX networks, coding tables, card."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind in ("segmenter", "judge"):
        models.export_segmenter(folder, run, kind)
    elif kind == "layered":
        models.export_layered(folder, run, *_for_tables())
    elif kind == "spic":
        models.export_spic(folder, run, *_for_tables())
    elif kind == "sqgan" and map_run:
        models.export_sqgan(folder, run, map_run, *_for_tables())
    else:
        raise typer.BadParameter("say segmenter, judge, layered, spic, or sqgan with --map-run.")
    typer.echo(f"{folder.name}: {runtime.Model(folder).size / 1e6:.1f} MB")


def main() -> None:
    """Run the command line; a user's mistake is one sentence."""
    try:
        app()
    except SempicError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
