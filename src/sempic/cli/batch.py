"""Whole folders and buckets: batch encode, batch decode."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from sempic import api
from sempic.cli import common
from sempic.cli.command import Command, CommandGroup
from sempic.cli.common import (
    AsJson,
    Bpp,
    Classes,
    CodecName,
    Keep,
    ModelName,
    Protect,
    Quality,
    Quiet,
    Ray,
    Segmenter,
    Size,
    Within,
    Workers,
)

if TYPE_CHECKING:
    from sempic.batch import Task

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="A folder, or an address such as s3://bucket/streets.")]
Dest = Annotated[str, typer.Argument(metavar="DEST", help="Another, which gets the same folders; made if need be.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Do all anew, and replace what is there.")]

app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, help="Whole folders and buckets at once.")


@app.command(cls=Command)
def encode(
    source: Source,
    dest: Dest,
    codec: CodecName = api.CODEC,
    settings: common.Settings = None,
    quality: Quality = None,
    bpp: Bpp = None,
    size: Size = None,
    within: Within = None,
    keep: Keep = None,
    segmenter: Segmenter = None,
    classes: Classes = None,
    model: ModelName = None,
    protect: Protect = False,
    workers: Workers = None,
    ray: Ray = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write every picture below SOURCE as a stream: a/b.jpg becomes a/b.jpg.smp, so no two can meet in one name.

    Streams that are in DEST, and whole, are not written again: an interrupted run goes on where it stopped. Hidden
    files, those without the suffix of a picture, pipes and devices are left out and counted. Failures are listed at
    the end, and the exit code is then 1.

    \b
    Examples:
      sempic batch encode photos streams --bytes 1000
      sempic batch encode photos streams --bytes 1000 --protect
      sempic batch encode photos streams --bytes 1000 --codec layered:layers=2
      sempic batch encode s3://bucket/streets s3://bucket/streams --bpp 0.03 --workers 8
    """
    target = common.target_of(quality, bpp, size)
    spec = common.spec_of(codec, settings, protect, keep=keep, segmenter=segmenter, classes=classes, model=model)

    from sempic.batch import Encoding

    _run(Encoding(spec, target, within), source, dest, workers, ray, force, as_json, quiet)


@app.command(cls=Command)
def decode(
    source: Source,
    dest: Dest,
    model: ModelName = None,
    workers: Workers = None,
    ray: Ray = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the picture in every stream below SOURCE: a/b.jpg.smp becomes a/b.jpg.png, and a/b.smp a/b.decoded.png.

    Pictures that are in DEST, and whole, are not written again: an interrupted run goes on where it stopped. Files
    without the suffix .smp are left out and counted. Failures are listed at the end, and the exit code is then 1.

    \b
    Examples:
      sempic batch decode streams pictures
      sempic batch decode streams pictures --model my-model
    """
    from sempic.batch import Decoding

    _run(Decoding(model), source, dest, workers, ray, force, as_json, quiet)


def _run(
    task: Task,
    source: str,
    dest: str,
    workers: int | None,
    ray: str | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Do a task to a tree of files and report what became of them."""
    from sempic import batch

    start = time.perf_counter()
    with common.progress(f"{source} to {dest}", quiet=quiet) as progress:
        found = batch.run(
            task, source, dest, workers=workers or os.cpu_count() or 1, ray_address=ray, force=force, progress=progress
        )
    seconds = time.perf_counter() - start
    for warning, names in found.by_warning().items():
        first = common.about(names[0], warning)
        common.warn([first if len(names) == 1 else f"{len(names)} files, the first of them {first}"])
    for name, why in found.failed.items():
        common.say(f"failed: {common.about(name, why)}")
    text = (
        f"{found.written} written, {found.finished} finished before, {found.left_out} left out, "
        f"{len(found.failed)} failed in {seconds:.1f} s"
    )
    common.report(found.to_json() | {"seconds": round(seconds, 3)}, text, as_json, dest, quiet)
    if found.failed:
        raise typer.Exit(1)
