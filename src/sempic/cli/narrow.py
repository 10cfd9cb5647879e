"""Pictures over a narrow link: packets, join; and over a simulated one: channel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sempic import api
from sempic import narrow as link_api
from sempic.cli import common
from sempic.cli.common import AsJson, Classes, CodecName, Force, Keep, LinkName, ModelName, Quiet, Segmenter, Stream
from sempic.errors import InputError, StreamError
from sempic.files import saved
from sempic.link import presets, protection
from sempic.link.channel import PACKET, transmit
from sempic.link.packets import IDS, MAX_COUNT, MAX_SIZE, numbered

_STREAM = ".smp"


def packets(
    source: Annotated[str, typer.Argument(metavar="IN", help="A picture or a stream; - reads standard input.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Gets a file for each packet; made if need be.")
    ],
    count: Annotated[int, typer.Option(metavar="N", help=f"How many packets there are, up to {MAX_COUNT}.")],
    size: Annotated[
        int | None,
        typer.Option(metavar="BYTES", help=f"At most so many bytes a packet, up to {MAX_SIZE}; as --link allows."),
    ] = None,
    survive: Annotated[
        int | None, typer.Option(metavar="K", help="Any K of the packets may be missing; 1 if left out.")
    ] = None,
    link: LinkName = None,
    id: Annotated[
        int | None,
        typer.Option(
            "--id", metavar="N", help=f"The number of the picture, below {IDS}; made from its stream if left out."
        ),
    ] = None,
    codec: CodecName = api.CODEC,
    settings: common.Settings = None,
    keep: Keep = None,
    segmap: Annotated[Path | None, typer.Option(metavar="PNG", help="As for encode.")] = None,
    segmenter: Segmenter = None,
    classes: Classes = None,
    model: ModelName = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a picture as packets for a narrow link, which may arrive in any order, without some of them.

    A picture is encoded to fit; a stream is sent as it is. Any K of the packets may be missing, and the same picture is
    decoded. If more are missing, its segmap may still arrive. `sempic join` puts together what arrives.

    \b
    Examples:
      sempic packets street.jpg -o out --size 222 --count 3
      sempic packets street.jpg -o out --link lora-sf9bw125 --count 10 --survive 2 --id 7
      sempic packets street.jpg -o out --link iridium-sbd --count 2 --codec spic
      sempic packets street.smp -o out --size 51 --count 20 --survive 4
    """
    over = presets.find(link) if link else None
    most = _size(size, over)
    spec = common.spec_of(
        codec, settings, False, keep=keep, segmap=segmap, segmenter=segmenter, classes=classes, model=model
    )
    data = common.read(source)
    if protection.may_start(data):
        if spec.text != api.CODEC:
            raise InputError(link_api.ENCODED)
        writer = link_api.writer_of_stream(data)
    else:
        writer = link_api.writer_of(common.picture_of(data, source), spec)
    with common.progress(source, transient=True, quiet=quiet):
        plan, stream, warnings = link_api.fit(writer, most, count, survive)
    plan = numbered(plan, stream, id)
    made = plan.split(stream)
    names = [output / f"{plan.id:04}-{number:02}of{plan.count:02}.pkt" for number in range(1, plan.count + 1)]
    output.mkdir(parents=True, exist_ok=True)
    for name in names:
        common.output_name(source, str(name), "", force)
    for name, packet in zip(names, made, strict=True):
        common.write(str(name), packet, force)
    common.warn(warnings)
    report = {
        "output": list(map(str, names)), "id": plan.id, "packets": plan.count, "packet_bytes": len(made[0]),
        "stream_bytes": len(stream), "survive": plan.count - plan.need, "survive_first": plan.count - plan.need_first,
        "warnings": list(warnings),
    }  # fmt: skip
    text = (
        f"{output}: picture {plan.id}, {plan.count} packets of {len(made[0])} bytes with a stream of {len(stream)}; "
        f"any {plan.need} of them are enough, and any {plan.need_first} for its first section"
    )
    if over:
        airtime = over.airtime([len(packet) for packet in made])
        report["airtime"], text = airtime.to_json(), f"{text}\n{airtime}"
    common.report(report, text, as_json, str(output), quiet)


def join(
    sources: Annotated[list[str], typer.Argument(metavar="FILES…", help="The packets, in any order.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="OUT", help="A stream if it ends in .smp or is -, else a picture."),
    ] = None,
    missing: Annotated[bool, typer.Option("--missing", help="List the packets that should be sent again.")] = False,
    id: Annotated[
        int | None, typer.Option("--id", metavar="N", help="The picture's number, if there are several.")
    ] = None,
    model: ModelName = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put together the packets of a picture that arrived.

    Packets that are there twice, of other pictures or of somebody else do no harm; of several pictures the most
    complete one is taken. If too many are missing, the picture shows what is there, with a warning.

    \b
    Examples:
      sempic join got/*.pkt -o street.png
      sempic join got/*.pkt -o street.smp --id 7
      sempic join got/*.pkt --missing --json
    """
    if output is None and not missing:
        raise typer.BadParameter("Name an output by -o, or ask for what is --missing.")
    is_stream = output is not None and (output == "-" or output.endswith(_STREAM))
    if output is not None:
        common.output_name("", output, "", force)
    form = common.picture_format(output) if output is not None and not is_stream else ""
    joined = link_api.join(sources, id)
    warnings = joined.warnings
    if output is not None:
        if not joined.stream:
            raise StreamError(warnings[-1])
        data = joined.stream
        if not is_stream:
            from PIL import Image

            decoded = api.decode(data, model=model)
            data, warnings = saved(Image.fromarray(decoded.image), form), (*warnings, *decoded.warnings)
        common.write(output, data, force)
    common.warn(warnings)
    arrived = joined.count - len(joined.missing)
    text = f"picture {joined.id}: {arrived} of {joined.count} packets, {len(joined.stream)} bytes of its stream"
    if missing:
        text += f"\n{_again(joined.lacking, joined.missing)}"
    report = {
        "output": output, "id": joined.id, "packets": joined.count, "arrived": arrived, "whole": joined.whole,
        "missing": list(joined.missing), "lacking": joined.lacking, "left_out": joined.left_out,
        "stream_bytes": len(joined.stream), "warnings": list(warnings),
    }  # fmt: skip
    common.report(report, text, as_json, output or "", quiet)


def _size(size: int | None, link: presets.Link | None) -> int:
    """Return the most bytes of a packet: what was asked for, or what the link carries."""
    if link is None:
        if size is None:
            raise typer.BadParameter("Say how big packets may be, by --size or --link.")
        return size
    if size is not None and size > link.size:
        raise InputError(f"The link {link.name} carries packets of up to {link.size} bytes, not {size}.")
    return link.size if size is None else size


def _again(lacking: int, missing: tuple[int, ...]) -> str:
    """Return which packets should be sent again."""
    if not lacking:
        return "nothing has to be sent again"
    numbers = ", ".join(map(str, missing))
    return f"send again: {numbers}" if lacking == len(missing) else f"send again any {lacking} of: {numbers}"


def channel(
    source: Stream,
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT.smp", help="What arrives; - is stdout.")],
    erase: Annotated[float, typer.Option(metavar="P", help="The probability that a packet is lost.")] = 0.0,
    bit_errors: Annotated[float, typer.Option(metavar="P", help="The probability that a bit arrives wrong.")] = 0.0,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed loses the same packets.")] = 0,
    packet: Annotated[int, typer.Option(metavar="N", help="Bytes per packet.")] = PACKET,
    burst: Annotated[
        float, typer.Option(metavar="N", help="Mean length of a burst of losses, in packets; 1: independent losses.")
    ] = 1.0,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Send a stream over a simulated link that loses packets and flips bits.

    A lost packet leaves zeros in its place, as at a receiver that misses its number.

    \b
    Examples:
      sempic channel street.smp -o received.smp --erase 0.1 --seed 1
      sempic channel street.smp -o received.smp --bit-errors 1e-4 --packet 64
      sempic channel street.smp -o received.smp --erase 0.1 --packet 51 --burst 3
    """
    output = common.output_name(source, output, ".smp", force)
    received = transmit(common.read(source), erase, bit_errors, seed, packet, burst)
    common.write(output, received.data, force)
    report = {"output": output, "packets": received.packets, "lost": received.lost, "flips": received.flips}
    text = f"{output}: {received.lost} of {received.packets} packets lost, {received.flips} bits flipped"
    common.report(report, text, as_json, output, quiet)
