"""One picture or stream: encode, decode, inspect, channel, compare."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from sempic import api
from sempic.cli import common
from sempic.cli.common import (
    AsJson,
    Bpp,
    Classes,
    CodecName,
    Force,
    Keep,
    ModelName,
    Protect,
    Quality,
    Segmenter,
    Size,
    Stream,
)
from sempic.codecs import CODECS
from sempic.codecs import codec as codec_of
from sempic.codecs.base import Decoded
from sempic.codecs.spec import Spec, options_of, parse_all
from sempic.errors import InputError
from sempic.files import saved
from sempic.labels import labels_png
from sempic.link.channel import PACKET, transmit
from sempic.provenance import shares, sheet, summary


def encode(
    source: Annotated[str, typer.Argument(metavar="IN", help="The picture; - reads standard input.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="OUT.smp", help="IN.smp if left out; - is standard output.")
    ] = None,
    codec: CodecName = api.CODEC,
    settings: common.Settings = None,
    quality: Quality = None,
    bpp: Bpp = None,
    size: Size = None,
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
    preview: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Also decode the stream, and write what its receiver will see.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write a picture as a stream.

    Every codec has settings of its own, which `sempic codecs NAME` lists. They are given by --codec or --set.

    \b
    Examples:
      sempic encode street.jpg
      sempic encode street.jpg -o small.smp --bytes 600
      sempic encode street.jpg --keep "pedestrian=1,sky=0" --bpp 0.03 --force
      sempic encode street.jpg --codec layered --set layers=4 --bpp 0.3 -o street-layered.smp
      sempic encode street.jpg --codec spic:scale=6+map=half --bpp 0.09 -o street-spic.smp
      sempic encode street.jpg --codec hevc --quality 20 -o street-hevc.smp
      sempic encode any.jpg --codec auto --bytes 2000
      sempic encode street.jpg --model my-model -o street-mine.smp
      sempic encode street.jpg --segmenter net.onnx --classes names.txt -o street-own.smp
      sempic encode street.jpg --bytes 800 --protect -o street-safe.smp
      sempic encode street.jpg --bytes 400 --preview seen.png -o street-400.smp
      cat street.jpg | sempic encode - > street.smp
    """
    target = common.target_of(quality, bpp, size)
    output = common.output_name(source, output, ".smp", force)
    common.further_outputs(force, output, preview)
    preview_form = common.picture_format(str(preview)) if preview else ""
    spec = common.spec_of(
        codec, settings, protect, keep=keep, segmap=segmap, segmenter=segmenter, classes=classes, model=model
    )
    picture = common.read_image(source)
    start = time.perf_counter()
    writer = api.analyse(picture, spec, target, spec.protect)
    data = target.write(writer)
    seconds = time.perf_counter() - start
    common.write(output, data, force)
    common.warn(writer.warnings)
    height, width = picture.shape[:2]
    bits = 8 * len(data) / (width * height)
    name = api.inspect(data, model=spec.model).codec if spec.outside else spec.codec.name
    report = {"output": output, "codec": name, "width": width, "height": height, "bytes": len(data), "bpp": bits}
    text = f"{output}: {len(data)} bytes, {bits:.4f} bpp ({name}, {width} × {height}) in {seconds:.2f} s"
    report |= {"seconds": round(seconds, 3), "warnings": list(writer.warnings)}
    if preview:
        from PIL import Image

        seen = api.decode(data, model=spec.model)
        common.write(str(preview), saved(Image.fromarray(seen.image), preview_form), force)
        origins, about = _origins(seen)
        report |= {"preview": str(preview), **origins}
        text += f"\n{preview}: what the receiver will see{about}"
    common.report(report, text, as_json, output, preview)


def decode(
    source: Stream,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="OUT.png", help="IN.png if left out; - is standard output.")
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
) -> None:
    """Write the picture in a stream.

    A sentence on standard error names each part of the stream that is missing or damaged; the picture shows what is
    left.

    \b
    Examples:
      sempic decode street.smp -o decoded.png
      sempic decode street.smp -o decoded.png --segmap-out classes.png
      sempic decode street.smp -o decoded.png --provenance marked.png
      sempic decode street.smp -o base.png --layers base
      sempic decode street-spic.smp --set steps=4 --set guidance=1.5
      sempic decode street-mine.smp --model my-model
    """
    if layers not in ("base", "all") and not layers.isdecimal():
        raise typer.BadParameter(f"The layers can be base, all or a number, not '{layers}'.")
    count = None if layers == "all" else 0 if layers == "base" else int(layers)
    output = common.output_name(source, output, ".png", force)
    common.further_outputs(force, output, segmap_out, provenance)
    marked_form = common.picture_format(str(provenance)) if provenance else ""
    data, form = common.read(source), common.picture_format(output)

    from PIL import Image

    start = time.perf_counter()
    info, reading = api.describe(data, model=model)
    chosen = options_of(codec_of(info.codec), options or [])
    with common.progress("network passes", transient=True) as progress:
        decoded = reading.draw(replace(chosen, progress=progress), count)
    seconds = time.perf_counter() - start
    if segmap_out is not None:
        if decoded.segmap is None or decoded.taxonomy is None:
            raise InputError("The stream carries no segmap; leave --segmap-out away.")
        common.write(str(segmap_out), labels_png(decoded.segmap, decoded.taxonomy), force)
    if provenance:
        if decoded.provenance is None:
            raise InputError(
                f"The codec {info.codec} does not say what is sent and what is not; leave --provenance away."
            )
        marked = sheet(decoded.image, decoded.provenance)
        common.write(str(provenance), saved(marked, marked_form), force)
    picture = Image.fromarray(decoded.image)
    common.write(output, saved(picture, form), force)
    common.warn(decoded.warnings)
    report = {"output": output, "width": picture.width, "height": picture.height, "seconds": round(seconds, 3)}
    origins, about = _origins(decoded)
    report |= {**origins, "warnings": list(decoded.warnings)}
    text = f"{output}: {picture.width} × {picture.height} in {seconds:.2f} s{about}"
    common.report(report, text, as_json, output, segmap_out, provenance)


def _origins(decoded: Decoded) -> tuple[dict[str, Any], str]:
    """Return the shares of pixels that were sent, drawn or invented, for a report and as the end of a sentence; nothing
    for a codec that does not say."""
    if decoded.provenance is None:
        return {}, ""
    return {"provenance": shares(decoded.provenance)}, f"; {summary(decoded.provenance)}"


def inspect(source: Stream, model: ModelName = None, as_json: AsJson = False) -> None:
    """Show what every byte of a stream is used for.

    \b
    Examples:
      sempic inspect street.smp
      sempic inspect street.smp --json
      sempic inspect street-mine.smp --model my-model
    """
    info = api.inspect(common.read(source), model=model)
    if as_json:
        print(json.dumps(info.to_json(), indent=2))
        return
    rows = [(part.name, str(part.bytes), f"{100 * part.bytes / info.bytes:.1f} %", part.detail) for part in info.parts]
    rows.append(("total", str(info.bytes), "100.0 %", f"{info.bpp:.4f} bpp"))
    made = f"{info.codec} {info.model}".strip()
    common.table(f"{made}, {info.width} × {info.height}", ("part", "bytes", "share", ""), rows)
    if info.taxonomy:
        print(f"taxonomy: {info.taxonomy}")
    for name, value in info.detail.items():
        print(f"{name}: {value}")
    common.warn(info.warnings)


def channel(
    source: Stream,
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT.smp", help="What arrives; - is stdout.")],
    erase: Annotated[float, typer.Option(metavar="P", help="The probability that a packet is lost.")] = 0.0,
    bit_errors: Annotated[float, typer.Option(metavar="P", help="The probability that a bit arrives wrong.")] = 0.0,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed loses the same packets.")] = 0,
    packet: Annotated[int, typer.Option(metavar="N", help="Bytes per packet.")] = PACKET,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Send a stream over a simulated link that loses packets and flips bits.

    A lost packet leaves zeros in its place, as at a receiver that misses its number.

    \b
    Examples:
      sempic channel street.smp -o received.smp --erase 0.1 --seed 1
      sempic channel street.smp -o received.smp --bit-errors 1e-4 --packet 64
    """
    output = common.output_name(source, output, ".smp", force)
    received = transmit(common.read(source), erase, bit_errors, seed, packet)
    common.write(output, received.data, force)
    report = {"output": output, "packets": received.packets, "lost": received.lost, "flips": received.flips}
    text = f"{output}: {received.lost} of {received.packets} packets lost, {received.flips} bits flipped"
    common.report(report, text, as_json, output)


def compare(
    source: Annotated[str, typer.Argument(metavar="IMAGE", help="The picture; - reads standard input.")],
    size: Annotated[int, typer.Option("--bytes", metavar="N", help="At most so many bytes.")],
    codecs: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Codecs, with settings as sqgan:map=half+simplify=0.3; all if left out."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="A picture, or a page if it ends in .html.")
    ] = Path("compare.png"),
    force: Force = False,
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
    image = common.read_image(source)

    from sempic.bench import compare as side_by_side

    found = side_by_side.compare(image, size, specs)
    data = saved(side_by_side.sheet(image, found), form) if form else side_by_side.page(image, found, size).encode()
    common.write(target, data, force)
    rows = [(one.codec, str(one.bytes) if one.bytes else "-", one.why or one.caption) for one in found]
    common.table(f"at most {size} bytes", ("codec", "bytes", ""), rows)
    print("wrote", target)
