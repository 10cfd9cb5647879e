"""Data sets: data check and data refine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sempic.cli import common
from sempic.cli.command import Command, CommandGroup
from sempic.cli.common import AsJson, Quiet

app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, help="Look after data sets.")


@app.command(cls=Command)
def check(
    what: Annotated[str, typer.Argument(metavar="NAME|PATH", help="camvid, cityscapes, photos, or a folder.")],
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what of a data set is there, what is missing and how to get it; ends with 1 if anything is missing.

    \b
    Examples:
      sempic data check camvid
      sempic data check my-pictures --json
    """
    from sempic import inventory

    with common.progress("reading", transient=True, quiet=quiet) as done:
        found = inventory.check(what, done)
    if as_json:
        print(json.dumps(asdict(found) | {"root": str(found.root)}))
    else:
        rows = [
            (
                part.name,
                str(part.pictures),
                str(part.labelled),
                " to ".join(f"{w} × {h}" for w, h in dict.fromkeys(filter(None, (part.smallest, part.largest)))),
            )
            for part in found.parts
        ]
        common.table(f"{found.kind} in {found.root}", ("part", "pictures", "labelled", "size"), rows)
        for sentence in (*found.missing, *filter(None, [found.how])):
            common.line(sentence)
        for part in found.parts:
            if part.others:
                common.line(f"{part.name}: files of other kinds that are left out: {part.others}.")
    if found.missing:
        raise typer.Exit(1)


@app.command(cls=Command)
def refine(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Labelled pictures: camvid:train or a folder.")],
    labels: Annotated[str, typer.Argument(metavar="FROM", help="The taxonomy of the labels.")],
    taxonomy: Annotated[str, typer.Argument(metavar="TO", help="The finer taxonomy.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="A new folder for pictures and labels.")],
    quiet: Quiet = False,
) -> None:
    """Split labels into more classes, to train segmenters on; needs the extra `train`.

    A pretrained network (ESPNetv2, from SEMPIC_WEIGHTS) chooses among the classes that are merged into the true one.

    \b
    Examples:
      sempic data refine streets coarse.json fine.json -o refined
    """
    from sempic import datasets
    from sempic import taxonomy as taxonomies
    from sempic.errors import InputError

    coarse, fine = taxonomies.load(labels), taxonomies.load(taxonomy)
    pictures = [picture for picture in datasets.find(data) if picture.label is not None]
    if not pictures:
        raise InputError(f"None of the pictures in '{data}' has labels.")
    if out.exists():
        raise InputError(f"'{out}' exists; choose another folder.")
    teacher = common.training("teacher")
    network = teacher.load()
    with common.progress("refining", transient=True, quiet=quiet) as done:
        for number, picture in enumerate(pictures, 1):
            teacher.refine(network, picture, coarse, fine, out)
            done(number, len(pictures))
    if not quiet:
        common.line(f"{out}: {len(pictures)} pictures with labels of {fine.name}")
