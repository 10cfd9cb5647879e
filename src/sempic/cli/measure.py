"""Measuring codecs: bench, report."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from sempic.cli import common
from sempic.cli.common import Quiet, Ray, Workers
from sempic.codecs.spec import parse_all
from sempic.link.channel import PACKET


def bench(
    data: Annotated[str, typer.Argument(metavar="DATA", help="camvid:test, cityscapes:val or a folder of pictures.")],
    codecs: Annotated[
        str, typer.Option(metavar="A,B", help="Codecs, with settings as sqgan:map=half+simplify=0.3.")
    ] = "sqgan,hevc",
    points: Annotated[
        str, typer.Option(metavar="P,Q", help="Sizes in bpp (0.05) or bytes (600B, 1kB), or qualities (q30).")
    ] = "0.02,0.03,0.05,0.1,0.2,0.35",
    erase: Annotated[
        str | None, typer.Option(metavar="P,Q", help="Send each file over links that lose such shares of packets, too.")
    ] = None,
    packet: Annotated[int, typer.Option(metavar="N", help="Bytes per packet of these links.")] = PACKET,
    burst: Annotated[
        float, typer.Option(metavar="N", help="Mean length of their bursts of losses, in packets; 1: independent.")
    ] = 1.0,
    metrics: Annotated[str | None, typer.Option(metavar="M,N", help="All there are, if left out.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="N pictures, evenly spread over DATA.")] = None,
    judge: Annotated[str, typer.Option(metavar="MODEL", help="The judge, in whose classes labels are read.")] = "",
    output: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where results and files go.")] = Path(
        "bench-out"
    ),
    workers: Workers = None,
    ray: Ray = None,
    quiet: Quiet = False,
) -> None:
    """Measure codecs: encode to real files, decode each in another process, compare with the originals.

    Writes one JSON file for each codec to DIR. Work that an earlier run finished is not done again. A codec may have
    settings, and options of decoding, behind its name; `sempic codecs NAME` lists them.

    \b
    Examples:
      sempic bench camvid:test --codecs sqgan,hevc,jpegxl --points 0.03,0.05,0.1 --out results
      sempic bench photos/ --codecs sqgan,av1 --points 600B,1200B --limit 24
      sempic bench camvid:test --codecs spic,spic:scale=6+steps=4 --points 0.05
      sempic bench camvid:test --codecs sqgan,sqgan:protect=0.25,jpeg --points 0.05 --erase 0.02,0.1 --metrics miou
      sempic bench photos/ --codecs sqgan:protect=0.25 --points 900B --erase 0.1 --packet 51 --burst 3
      sempic bench streets/ --judge models/my-judge --codecs sqgan,hevc --points 0.03
    """
    from sempic import datasets
    from sempic.bench import judge as judges
    from sempic.bench import metrics as measures
    from sempic.bench import report as tables
    from sempic.bench import results, runner
    from sempic.bench.jobs import OperatingPoint

    specs = parse_all(codecs)
    chosen = OperatingPoint.parse_all(points, erase or "", packet, burst)
    wanted = measures.chosen(metrics)
    with judges.using(judge):
        missing = {metric.name: why for metric in wanted if (why := metric.unavailable())}
    pictures = datasets.find(data)
    if limit is not None:
        pictures = runner.spread(pictures, limit)
    output.mkdir(parents=True, exist_ok=True)
    with common.progress(f"{len(specs)} codecs on {data}", quiet=quiet) as progress:
        found = runner.run(
            data,
            pictures,
            specs,
            chosen,
            [metric.name for metric in wanted if metric.name not in missing],
            output,
            workers=workers or os.cpu_count() or 1,
            ray_address=ray,
            judge=judge,
            unavailable=missing,
            command=shlex.join(["sempic", *sys.argv[1:]]),
            progress=progress,
        )
    for result in found:
        results.save(result, output / f"{result.label.replace(' ', '-')}.json")
    if not quiet:
        print(tables.markdown_tables(found))
    common.warn(f"{name} was not measured: {why}" for name, why in missing.items())
    unread = found[0].unread
    common.warn(f"left out: {common.about(name, why)}" for name, why in unread.items())
    if unread:
        common.warn([f"{len(unread)} of {len(pictures)} pictures were left out."])


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder of a bench.")],
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also put the tables into a Markdown file, between its marks.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write report.html, one page with everything in it, and the curves as PNG, into the folder of a bench.

    \b
    Examples:
      sempic report bench-out
    """
    from sempic.bench import report as page
    from sempic.bench import results

    with common.progress(str(folder), transient=True, quiet=quiet):
        written = page.write_report(folder)
        if markdown is not None:
            page.update_markdown(markdown, results.load_all(folder))
            written.append(markdown)
    if not quiet:
        for path in written:
            print("wrote", path)
