"""Training: train, export, calibrate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sempic.cli import common


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="sqgan, layered, spic, segmenter, judge, sqgan-paper, spic-paper, or a TOML file of your own.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="What to change of the recipe.")
    ] = None,
    mixture: Annotated[
        str | None,
        typer.Option("--data", metavar="A=W,B=W", help="Data sets or folder:PATH, with weights; short for data=…"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="The run's folder; runs/RECIPE if left out.")
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(metavar="M", min=0, help="Stop (and save) after so long, to be resumed later.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(metavar="DIR", help="Resume the run in DIR.")] = None,
    init: Annotated[
        str | None, typer.Option(metavar="NAME", help="Start from the weights of a model or run; short for init=…")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the configuration, and the time and memory of a step.")
    ] = False,
    quiet: common.Quiet = False,
) -> None:
    """Train a model; needs the extra `train`.

    Runs on the CPU or one GPU as it is, on several by torchrun --nproc-per-node N --no-python sempic train …

    \b
    Examples:
      sempic train sqgan --data camvid:train=2,folder:mine=1 --max-minutes 60
      sempic train layered steps=2000 batch=16 adversarial_from=0.2 --init sqgan-camvid11
      sempic train spic --dry-run
      sempic train --resume runs/sqgan
    """
    given = list(settings or [])
    given += [f"{key}={value}" for key, value in (("data", mixture), ("init", init)) if value is not None]
    if resume is not None and (recipe is not None or given or output is not None or dry_run):
        raise typer.BadParameter("A run is resumed as it was started; give --resume only --max-minutes.")
    if recipe is None and resume is None:
        raise typer.BadParameter("Name a recipe, or a run to --resume.")

    from sempic.training import config

    if recipe is not None:
        options = config.load(recipe, given)  # a mistake in it is reported before torch is imported
    run = common.training("run")
    if dry_run:
        print(config.describe(options))
        step = run.dry_run(recipe, given)
        print(
            f"# {step.parameters:,} parameters; "
            f"a step takes {step.seconds:.2f} s and {step.memory / 1e6:,.0f} MB of memory"
        )
        return
    folder = resume or output or Path("runs") / options.recipe
    if recipe is not None:
        run.start(folder, recipe, given)
    done = run.resume(folder, max_minutes, quiet)
    if quiet or not run.is_main():
        return
    if done:
        common.line(f"{folder}: done; sempic export {folder} makes a model of it")
    else:
        common.line(f"{folder}: stopped by --max-minutes; sempic train --resume {folder} resumes it")


def export(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a training run.")],
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="The model's folder and so its name; RUN/model if left out."),
    ] = None,
    quiet: common.Quiet = False,
) -> None:
    """Make a model of a training run: its averaged weights as ONNX networks, coding tables and a card.

    \b
    Examples:
      sempic export runs/sqgan --out my-model
      sempic encode street.jpg --model my-model
    """
    work = common.training("export")
    with common.progress(str(source), transient=True, quiet=quiet) as progress:
        done = work.export(source, output or source / "model", progress)
    if quiet:
        return
    for name, share in done.differences.items():
        common.line(f"{name}: differs from PyTorch by at most {share:.3%} of its largest value")
    card, size = done.model.card, done.model.size / 1e6
    metrics = ", ".join(f"{k} {v}" for k, v in card.training["metrics"].items() if not isinstance(v, dict))
    common.line(f"{done.model.folder}: {card.kind}, {card.parameters:,} parameters, {size:.1f} MB; {metrics}")


def calibrate(
    segmenter: Annotated[str, typer.Argument(metavar="MODEL", help="A segmenter, by its name or folder.")],
    inside: Annotated[
        str, typer.Option(metavar="A,B", help="Data sets with pictures of the kind that it was trained for.")
    ] = "camvid:val,photos:road-*",
    outside: Annotated[
        str, typer.Option(metavar="A,B", help="Data sets with other pictures.")
    ] = "photos:imagenet-*,photos:bsds-*",
    shown: Annotated[
        str, typer.Option(metavar="A,B", help="Data sets of the first kind for error rates alone.")
    ] = "camvid:test",
    left_out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Names of pictures in no count; streets among the photos if left out."),
    ] = None,
    name: Annotated[str, typer.Option(metavar="WORDS", help="What the first kind shows.")] = "a street scene",
    as_json: common.AsJson = False,
    quiet: common.Quiet = False,
) -> None:
    """Write into a segmenter's card which pictures are of its kind: encoders warn about others.

    Half of the pictures, by a hash of their names, are learnt from; the other half shows how often that is wrong.

    \b
    Examples:
      sempic calibrate my-segmenter
      sempic calibrate my-segmenter --inside my-aerials --outside photos --shown "" --name "an aerial picture"
    """
    from sempic import runtime

    work = common.training("calibrate")
    model = runtime.model(segmenter, "segmenter")
    names = (left_out or work.STREETS).read_text(encoding="utf-8").split()
    with common.progress(model.card.name, quiet=quiet) as progress:
        found = work.calibrate(model, name, inside, outside, shown, names, progress)
    if as_json:
        print(json.dumps(found))
    if as_json or quiet:
        return
    rows = [(one["data"], one["role"], *(_warned(one, half) for half in ("fitted", "held_out"))) for one in found]
    common.table(f"warned about by {model.card.name}", ("data", "kind", "learnt from", "held out"), rows)


def _warned(found: dict[str, Any], half: str) -> str:
    """Return how many pictures of one half are warned about."""
    share = found[f"{half}_warned"]
    return "" if share is None else f"{share:.1%} of {found[half]}"
