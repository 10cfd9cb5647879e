"""Data sets: data check."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from sempic.cli import common
from sempic.cli.common import AsJson

app = typer.Typer(rich_markup_mode=None, help="Look after data sets.")


@app.command()
def check(
    what: Annotated[str, typer.Argument(metavar="NAME|PATH", help="camvid, cityscapes, photos, or a folder.")],
    as_json: AsJson = False,
) -> None:
    """Say what of a data set is there, what is missing and how to get it; ends with 1 if anything is missing.

    \b
    Examples:
      sempic data check camvid
      sempic data check my-pictures --json
    """
    from sempic import inventory

    found = inventory.check(what)
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
            print(sentence)
    if found.missing:
        raise typer.Exit(1)
