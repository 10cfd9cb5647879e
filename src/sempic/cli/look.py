"""What there is, and what it looks like: codecs, models, demo, studio."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sempic import runtime
from sempic.cli import common
from sempic.cli.common import AsJson, Quiet, Within
from sempic.codecs import spec
from sempic.codecs.spec import CodecInfo
from sempic.files import saved


def codecs(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this one, with all its settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the codecs, or the settings and options of decoding of one.

    Settings are given to encode, options to decode: by --set KEY=VALUE, or behind the codec's name where codecs are
    compared (sqgan:map=half+simplify=0.3).

    \b
    Examples:
      sempic codecs
      sempic codecs sqgan
      sempic codecs --json
    """
    found = spec.codecs() if name is None else [spec.about(name)]
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    elif name is None:
        rows = [(one.name, "yes" if one.learnt else "no", one.about) for one in found]
        common.table("codecs", ("name", "model", ""), rows)
        common.line(f"{spec.AUTO}: {spec.about(spec.AUTO).about}")
        common.line("sempic codecs NAME lists the settings of one.")
    else:
        _show(found[0])


def _show(codec: CodecInfo) -> None:
    """Print the settings and options of a codec."""
    common.line(f"{codec.name}: {codec.about}")
    for title, fields in (("settings (encode)", codec.settings), ("options of decoding (decode)", codec.options)):
        rows = [(one.name, one.type, "" if one.default is None else str(one.default), one.about) for one in fields]
        if rows:
            common.table(title, ("name", "type", "default", ""), rows)
    common.line("Every codec also takes protect: the share of bytes to add for error correction, above 0 and up to 1.")


def models(as_json: AsJson = False) -> None:
    """List the models that are installed.

    \b
    Examples:
      sempic models
      sempic models --json
    """
    installed = runtime.models()
    if as_json:
        found = [
            {
                "name": model.card.name,
                "kind": model.card.kind,
                "taxonomy": model.taxonomy.name,
                "parameters": model.card.parameters,
                "bytes": model.size,
                "fingerprint": f"{model.card.fingerprint:04x}",
                "summary": model.card.summary,
            }
            for model in installed
        ]
        print(json.dumps(found, indent=2))
        return
    rows = [
        (
            model.card.name,
            model.card.kind,
            model.taxonomy.name,
            f"{model.card.parameters:,}",
            f"{model.size / 1e6:.1f}",
            f"{model.card.fingerprint:04x}",
        )
        for model in installed
    ]
    common.table("models", ("name", "kind", "taxonomy", "parameters", "MB", "fingerprint"), rows)
    for model in installed:
        common.line(f"{model.card.name}: {model.card.summary}")


def demo(
    image: Annotated[str | None, typer.Argument(metavar="IMAGE", help="A scene is drawn if left out.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where demo.png goes.")] = Path(
        "demo-out"
    ),
    sizes: Annotated[
        list[int] | None,
        typer.Option(
            "--bytes",
            metavar="N",
            parser=common.BYTES,
            help=f"At most so many bytes; may be given again. {common.IN_BYTES}.",
        ),
    ] = None,
    within: Within = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Which scene to draw.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Encode and decode a picture beside HEVC at the same size, and write one PNG that shows all of it.

    The files of an earlier demo in the same folder are replaced. A scene is drawn with the --size that is given.

    \b
    Examples:
      sempic demo
      sempic demo street.jpg --bytes 600 --bytes 1500
    """
    from PIL import Image

    from sempic import demo as work
    from sempic import scene

    picture = common.read_image(image, within) if image else scene.draw(seed, *(within or ())).image
    with common.progress("demo", transient=True, quiet=quiet) as progress:
        rows, sheet, streams = work.run(picture, sizes or [], progress)
    output.mkdir(parents=True, exist_ok=True)
    files = {"demo.png": saved(sheet, "PNG"), **streams}
    if image is None:
        files["scene.png"] = saved(Image.fromarray(picture), "PNG")
    for name, data in files.items():
        common.write(common.output_name(image or "-", str(output / name), "", force=True), data, force=True)
    if not quiet:
        common.table(f"{picture.shape[1]} × {picture.shape[0]}", work.COLUMNS, rows)
        common.line(f"wrote {', '.join(str(output / name) for name in files)}")


def studio(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; only this machine reaches the default.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=65535, help="7860 or the next if left out.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="A model to use for its codec, as of encode; may be given again."),
    ] = None,
) -> None:
    """Show a web page on which a picture is coded and looked at, until Ctrl-C.

    It offers the codecs whose models and packages are here.

    \b
    Examples:
      sempic studio
      sempic studio --model my-model
    """
    from sempic.studio import page

    page.serve(host, port, browser, models or [])
