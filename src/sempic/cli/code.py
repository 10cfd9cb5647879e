"""Pictures and streams: encode, decode, inspect, compare."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from sempic import api, marks
from sempic.cli import common, several
from sempic.cli.common import (
    AsJson,
    Bpp,
    Classes,
    CodecName,
    Force,
    Keep,
    LinkName,
    ModelName,
    Protect,
    Quality,
    Quiet,
    Segmenter,
    Size,
    Stream,
    Within,
)
from sempic.codecs import CODECS
from sempic.codecs import codec as codec_of
from sempic.codecs.base import Decoded
from sempic.codecs.spec import Spec, options_of, parse_all
from sempic.errors import InputError
from sempic.files import saved
from sempic.labels import labels_png
from sempic.link import presets
from sempic.provenance import shares, summary


def encode(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="IN…", help="Pictures, or patterns such as 'photos/*.jpg'; - reads standard input."),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT.smp|DIR",
            help="IN.smp if left out; - is standard output. Of several inputs, the folder for the streams.",
        ),
    ] = None,
    codec: CodecName = api.CODEC,
    settings: common.Settings = None,
    quality: Quality = None,
    bpp: Bpp = None,
    size: Size = None,
    within: Within = None,
    keep: Keep = None,
    segmap: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG",
            help="Class ids as a palette or grey PNG of the picture's size; short for --set segmap=…",
        ),
    ] = None,
    segmenter: Segmenter = None,
    classes: Classes = None,
    model: ModelName = None,
    protect: Protect = False,
    link: LinkName = None,
    preview: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Also decode the stream, and write what its receiver will see.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a picture as a stream, or each of several pictures.

    Every codec has settings of its own, which `sempic codecs NAME` lists. They are given by --codec or --set.

    \b
    Examples:
      sempic encode street.jpg
      sempic encode street.jpg -o small.smp --bytes 1kB --size 480x360
      sempic encode 'photos/*.jpg' extra.png -o streams --bytes 900
      sempic encode street.jpg --keep "pedestrian=1,sky=0" --bpp 0.03 --force
      sempic encode street.jpg --codec layered --set layers=4 --bpp 0.3 -o street-layered.smp
      sempic encode street.jpg --codec spic:scale=6+map=half --bpp 0.09 -o street-spic.smp
      sempic encode street.jpg --codec hevc --quality 20 -o street-hevc.smp
      sempic encode any.jpg --codec auto --bytes 2000
      sempic encode street.jpg --model my-model -o street-mine.smp
      sempic encode street.jpg --segmenter net.onnx --classes names.txt -o street-own.smp
      sempic encode street.jpg --bytes 800 --protect -o street-safe.smp
      sempic encode street.jpg --bytes 600 --link lora-sf7bw125 -o street-lora.smp
      sempic encode street.jpg --bytes 400 --preview seen.png -o street-400.smp
      cat street.jpg | sempic encode - > street.smp
    """
    target, over = common.target_of(quality, bpp, size), presets.find(link) if link else None
    jobs = several.Jobs.of(sources, output, ".smp")
    spec = common.spec_of(
        codec, settings, protect, keep=keep, segmap=segmap, segmenter=segmenter, classes=classes, model=model
    )
    jobs.only_alone(segmap=getattr(spec.settings, "segmap", None), preview=preview)

    def work(source: str, output: str | None) -> tuple[dict[str, Any], str]:
        output = common.output_name(source, output, ".smp", force)
        common.further_outputs(source, force, output, preview)
        preview_form = common.picture_format(str(preview)) if preview else ""
        picture = common.read_image(source, within)
        start = time.perf_counter()
        with common.progress(source, transient=True, quiet=quiet):
            data, warnings = target.write(api.analyse(picture, spec, target, spec.protect))
        seconds = time.perf_counter() - start
        common.write(output, data, force)
        height, width = picture.shape[:2]
        bits = 8 * len(data) / (width * height)
        name = api.inspect(data, model=spec.model).codec if spec.outside else spec.codec.name
        report = {"output": output, "codec": name, "width": width, "height": height, "bytes": len(data), "bpp": bits}
        text = f"{output}: {len(data)} bytes, {bits:.4f} bpp ({name}, {width} × {height}) in {seconds:.2f} s"
        report |= {"seconds": round(seconds, 3), "warnings": list(warnings)}
        if over:
            airtime = over.airtime_of(len(data))
            report["airtime"], text = airtime.to_json(), f"{text}\n{airtime}"
        if preview:
            from PIL import Image

            seen = api.decode(data, model=spec.model)
            common.write(str(preview), saved(Image.fromarray(seen.image), preview_form), force)
            origins, about = _origins(seen)
            report |= {"preview": str(preview), **origins}
            text += f"\n{preview}: what the receiver will see{about}"
        return report, text

    jobs.run(work, as_json, quiet)


def decode(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="IN.smp…", help="Streams, or patterns such as 'streams/*.smp'; - reads standard input."),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT.png|DIR",
            help="IN.decoded.png if left out; - is standard output. Of several inputs, the folder for the pictures.",
        ),
    ] = None,
    segmap_out: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Also write the segmap, as a palette PNG of class ids.")
    ] = None,
    provenance: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Also write the picture with marks on what was sent, invented, or lost."),
    ] = None,
    layers: Annotated[
        str, typer.Option(metavar="base|N|all", help="How many of the layers behind the base to use.")
    ] = "all",
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="An option of decoding of the stream's codec (see `sempic codecs`); may be repeated.",
        ),
    ] = None,
    model: ModelName = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the picture in a stream, or in each of several streams.

    A sentence on standard error names each part of the stream that is missing or damaged; the picture shows what is
    left.

    \b
    Examples:
      sempic decode street.smp
      sempic decode street.smp -o decoded.png
      sempic decode 'streams/*.smp' -o pictures
      sempic decode street.smp -o decoded.png --segmap-out classes.png
      sempic decode street.smp -o decoded.png --provenance marked.png
      sempic decode street.smp -o base.png --layers base
      sempic decode street-spic.smp --set steps=4 --set guidance=1.5
      sempic decode street-mine.smp --model my-model
    """
    if layers not in ("base", "all") and not layers.isdecimal():
        raise typer.BadParameter(f"The layers can be base, all or a number, not '{layers}'.")
    count = None if layers == "all" else 0 if layers == "base" else int(layers)
    jobs = several.Jobs.of(sources, output, ".decoded.png")
    jobs.only_alone(segmap=segmap_out, provenance=provenance)

    def work(source: str, output: str | None) -> tuple[dict[str, Any], str]:
        output = common.output_name(source, output, ".decoded.png", force)
        common.further_outputs(source, force, output, segmap_out, provenance)
        if segmap_out is not None and segmap_out.suffix.lower() not in ("", ".png"):
            raise InputError(f"The segmap is written as PNG; give '{segmap_out}' the suffix .png.")
        marked_form = common.picture_format(str(provenance)) if provenance else ""
        data, form = common.read_stream(source), common.picture_format(output)

        from PIL import Image

        start = time.perf_counter()
        with common.progress(source, transient=True, quiet=quiet) as progress:
            info, reading = api.describe(data, model=model)
            chosen = options_of(codec_of(info.codec), options or [])
            decoded = reading.draw(replace(chosen, progress=progress), count)
        seconds = time.perf_counter() - start
        picture = Image.fromarray(decoded.image)
        made = saved(picture, form)
        if segmap_out is not None:
            if decoded.segmap is None or decoded.taxonomy is None:
                raise InputError("The stream carries no segmap; leave --segmap-out away.")
            common.write(str(segmap_out), labels_png(decoded.segmap, decoded.taxonomy), force)
        if provenance:
            if decoded.provenance is None:
                raise InputError(
                    f"The codec {info.codec} does not say what is sent and what is not; leave --provenance away."
                )
            marked = marks.sheet(decoded.image, decoded.provenance)
            common.write(str(provenance), saved(marked, marked_form), force)
        common.write(output, made, force)
        report = {"output": output, "width": picture.width, "height": picture.height, "seconds": round(seconds, 3)}
        report |= {name: str(path) for name, path in (("segmap", segmap_out), ("marked", provenance)) if path}
        origins, about = _origins(decoded)
        text = f"{output}: {picture.width} × {picture.height} in {seconds:.2f} s{about}"
        return report | {**origins, "warnings": list(decoded.warnings)}, text

    jobs.run(work, as_json, quiet)


def _origins(decoded: Decoded) -> tuple[dict[str, Any], str]:
    """Return the shares of pixels that were sent, drawn or invented, for a report and as the end of a sentence; nothing
    for a codec that does not say."""
    if decoded.provenance is None:
        return {}, ""
    return {"provenance": shares(decoded.provenance)}, f"; {summary(decoded.provenance)}"


def inspect(
    source: Stream, model: ModelName = None, link: LinkName = None, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Show what every byte of a stream is used for, and how long it is on the air over a link.

    \b
    Examples:
      sempic inspect street.smp
      sempic inspect street.smp --json
      sempic inspect street.smp --link lora-sf9bw125:us915
      sempic inspect street-mine.smp --model my-model
    """
    over = presets.find(link) if link else None
    data = common.read_stream(source)
    with common.progress(source, transient=True, quiet=quiet):
        info = api.inspect(data, model=model)
    airtime = over.airtime_of(info.bytes) if over else None
    if as_json:
        print(json.dumps(info.to_json() | ({"airtime": airtime.to_json()} if airtime else {}), indent=2))
        return
    rows = [(part.name, str(part.bytes), f"{100 * part.bytes / info.bytes:.1f} %", part.detail) for part in info.parts]
    rows.append(("total", str(info.bytes), "100.0 %", f"{info.bpp:.4f} bpp"))
    made = f"{info.codec} {info.model}".strip()
    common.table(f"{made}, {info.width} × {info.height}", ("part", "bytes", "share", ""), rows)
    if info.taxonomy:
        common.line(f"taxonomy: {info.taxonomy}")
    for name, value in info.detail.items():
        common.line(f"{name}: {value}")
    if airtime:
        common.line(str(airtime))
    common.warn(info.warnings)


def compare(
    source: Annotated[str, typer.Argument(metavar="IMAGE", help="The picture; - reads standard input.")],
    size: Annotated[
        int,
        typer.Option("--bytes", metavar="N", parser=common.BYTES, help=f"At most so many bytes; {common.IN_BYTES}."),
    ],
    codecs: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Codecs, with settings as sqgan:map=half+simplify=0.3; all if left out."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="A picture, or a page if it ends in .html.")
    ] = Path("compare.png"),
    within: Within = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Show what each codec makes of a picture in the same number of bytes.

    \b
    Examples:
      sempic compare street.jpg --bytes 900
      sempic compare street.jpg --bytes 900 --codecs sqgan,hevc,av1 -o street.html
      sempic compare street.jpg --bytes 900 --codecs spic,spic:scale=6,spic:steps=4
    """
    target = common.output_name(source, str(output), ".png", force)
    form = common.picture_format(target) if output.suffix != ".html" else None
    specs = parse_all(codecs) if codecs else [Spec.parse(name) for name in CODECS]
    image = common.read_image(source, within)

    from sempic.bench import compare as side_by_side

    with common.progress(source, transient=True, quiet=quiet) as progress:
        found = side_by_side.compare(image, size, specs, progress)
    data = saved(side_by_side.sheet(image, found), form) if form else side_by_side.page(image, found, size).encode()
    common.write(target, data, force)
    rows = [(one.codec, str(one.bytes) if one.bytes else "-", one.why or one.caption) for one in found]
    if not quiet:
        common.table(f"at most {size} bytes", ("codec", "bytes", ""), rows)
        common.line(f"wrote {target}")
