"""The command `sempic`: files in, files out, and one sentence when something is wrong."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sempic.channel import PACKET, transmit
from sempic.errors import InputError, sentence
from sempic.files import read_picture, saved, whole_file
from sempic.taxonomy import CAMVID11, VOID

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image
    from rich.console import Console

    from sempic.batch import Task

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
batch = typer.Typer(rich_markup_mode=None)
app.add_typer(batch, name="batch", help="Whole folders and buckets at once.")

Force = Annotated[bool, typer.Option("--force", "-f", help="Replace an output file that exists.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Codec = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="sqgan, layered or spic; or, to compare with: hevc, av1, jpegxl, jpeg2000, webp, jpeg, bpg.",
    ),
]
Quality = Annotated[float | None, typer.Option(metavar="Q", help="From 0 to 100; 50 if no size is given.")]
Bpp = Annotated[float | None, typer.Option(metavar="X", help="At most so many bits a pixel.")]
Bytes = Annotated[int | None, typer.Option("--bytes", metavar="N", help="At most so many bytes.")]
Keep = Annotated[
    str | None, typer.Option(metavar="CLASS=W,...", help="Spend more (towards 1) or less (towards 0) on a class.")
]
Segmenter = Annotated[Path | None, typer.Option(metavar="ONNX", help="Your own segmentation network.")]
Map = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="How the segmap is sent: full, half, quarter (the default) or eighth size; by sqgan also as tokens.",
    ),
]
Perception = Annotated[
    float | None,
    typer.Option(metavar="P", help="For layered: from 0 (close to the original) to 1 (plausible detail)."),
]
Layers = Annotated[
    int | None, typer.Option(metavar="N", help="For layered: how many enhancement layers share the bytes.")
]
Scale = Annotated[
    str | None,
    typer.Option(
        metavar="S",
        help="For spic: how many times the coarse picture is smaller, 3, 4 or 6. For those to compare with: auto, "
        "full, half or quarter.",
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="A model by its name, folder, https://… address or hf:org/name."),
]
Protect = Annotated[
    bool, typer.Option("--protect", help="Add error correction, a quarter of the bytes; a size counts it.")
]
Protection = Annotated[
    float | None, typer.Option(metavar="S", help="The same with another share of the bytes, up to 1.")
]
Workers = Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes; one a core if left out.")]
Ray = Annotated[str | None, typer.Option(metavar="ADDRESS|local", help="Run on a Ray cluster instead.")]
Stream = Annotated[str, typer.Argument(metavar="IN.smp", help="The stream; - reads standard input.")]

_CAMVID_VOID = 11  # how CamVid's own label pictures write void
_INTERRUPTED = 130


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence on standard error, never in a traceback."""
    if isinstance(sys.stdout, TextIOWrapper):  # names and signs that the terminal cannot show are no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except Exception as error:
        words, code = _explain(error)
        if words is None:
            raise
        _say(words)
        _drop_output()
    if code == _INTERRUPTED:
        _say("Interrupted.")
    sys.exit(code)


def _explain(error: Exception) -> tuple[str | None, int]:
    """What to tell the user about an error, and the exit code; no sentence for a mistake of our own."""
    # The usage errors of click, of which some releases of typer bring a private copy: known by what they can do.
    if hasattr(error, "format_message"):
        return str(error.format_message()), 2
    return sentence(error), 1


def _drop_output() -> None:
    """Forget what standard output did not take, or Python complains of it once more while it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(words: str) -> None:
    print("sempic:", " ".join(words.split()), file=sys.stderr)


# -- commands ---------------------------------------------------------------------------------------------------------


@app.callback(invoke_without_command=True)
def _sempic(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Semantic image compression: pictures as files of a few hundred bytes that keep what the picture means."""
    if version:
        from importlib.metadata import version as version_of

        print("sempic", version_of("sempic"))
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def encode(
    source: Annotated[str, typer.Argument(metavar="IN", help="The picture; - reads standard input.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="OUT.smp", help="IN.smp if left out; - is standard output.")
    ] = None,
    codec: Codec = "sqgan",
    quality: Quality = None,
    bpp: Bpp = None,
    size: Bytes = None,
    keep: Keep = None,
    segmap: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Class ids as a palette or grey PNG of the picture's size.")
    ] = None,
    segmenter: Segmenter = None,
    map: Map = None,
    perception: Perception = None,
    layers: Layers = None,
    scale: Scale = None,
    model: ModelName = None,
    protect: Protect = False,
    protection: Protection = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write a picture as a stream.

    \b
    Examples:
      sempic encode street.jpg
      sempic encode street.jpg -o small.smp --bytes 600
      sempic encode street.jpg --keep "pedestrian=1,sky=0" --bpp 0.03 --force
      sempic encode street.jpg --codec layered --bpp 0.3 --layers 4 -o street-layered.smp
      sempic encode street.jpg --codec spic --bpp 0.09 -o street-spic.smp
      sempic encode street.jpg --codec hevc --quality 20 -o street-hevc.smp
      sempic encode street.jpg --model my-model -o street-mine.smp
      sempic encode street.jpg --bytes 800 --protect -o street-safe.smp
      cat street.jpg | sempic encode - > street.smp
    """
    _one_size(quality, bpp, size)
    target = _output(source, output, ".smp", force)
    picture = _picture(source)
    settings = _settings(
        keep=keep, segmenter=segmenter, map=map, perception=perception, layers=layers, scale=scale, model=model
    )
    if segmap is not None:
        settings["segmap"] = _label_picture(segmap)

    import sempic

    start = time.perf_counter()
    share = _share(protect, protection)
    data = sempic.encode(picture, codec, quality=quality, bpp=bpp, bytes=size, protect=share, **settings)
    seconds = time.perf_counter() - start
    _write(target, data, force)
    width, height = picture.size
    bits = 8 * len(data) / (width * height)
    report = {"output": target, "codec": codec, "width": width, "height": height, "bytes": len(data), "bpp": bits}
    text = f"{target}: {len(data)} bytes, {bits:.4f} bpp ({codec}, {width} × {height}) in {seconds:.2f} s"
    _report(report | {"seconds": round(seconds, 3)}, text, as_json, target)


@app.command()
def decode(
    source: Stream,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="OUT.png", help="IN.png if left out; - is standard output.")
    ] = None,
    segmap_out: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Also write the segmap, as a palette PNG of class ids.")
    ] = None,
    layers: Annotated[
        str, typer.Option(metavar="base|N|all", help="How many of the layers behind the base to use.")
    ] = "all",
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="For spic: 1 (fast) to 50 steps of drawing; 0 shows the coarse picture."),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(metavar="W", help="For spic: how far the map leads, 0 to 20; above 1, beyond training."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="For spic: another number, another drawing of the same.")
    ] = None,
    model: ModelName = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write the picture in a stream.

    What is missing or damaged in the stream is told on standard error; the picture shows what is left.

    \b
    Examples:
      sempic decode street.smp -o decoded.png
      sempic decode street.smp -o decoded.png --segmap-out classes.png
      sempic decode street.smp -o base.png --layers base
      sempic decode street-spic.smp --steps 1
      sempic decode street-mine.smp --model my-model
    """
    if layers not in ("base", "all") and not layers.isdecimal():
        raise typer.BadParameter(f"The layers can be base, all or a number, not '{layers}'.")
    target = _output(source, output, ".png", force)
    if segmap_out is not None:
        _output(source, str(segmap_out), ".png", force)
        if Path(target).resolve() == segmap_out.resolve():
            raise typer.BadParameter("The picture and the segmap need two names.")
    data = _read(source)

    from PIL import Image

    import sempic

    form = _format(target)
    count = None if layers == "all" else 0 if layers == "base" else int(layers)
    options: dict[str, Any] = {"steps": steps, "guidance": guidance, "seed": seed}
    given = {name: value for name, value in options.items() if value is not None}
    if model is not None:
        from sempic import runtime

        runtime.model(model)  # which streams may name from now on
    start = time.perf_counter()
    with _passes() as progress:
        decoded = sempic.decode(data, count, progress=progress, **given)
    seconds = time.perf_counter() - start
    if segmap_out is not None:
        if decoded.segmap is None:
            raise InputError("The stream carries no segmap; leave --segmap-out away.")
        _write(str(segmap_out), saved(_palette_picture(decoded.segmap), "PNG"), force)
    picture = Image.fromarray(decoded.image)
    _write(target, saved(picture, form), force)
    for warning in decoded.warnings:
        _say(f"warning: {warning}")
    report = {"output": target, "width": picture.width, "height": picture.height, "seconds": round(seconds, 3)}
    text = f"{target}: {picture.width} × {picture.height} in {seconds:.2f} s"
    _report(report | {"warnings": list(decoded.warnings)}, text, as_json, target)


@app.command()
def inspect(source: Stream, as_json: AsJson = False) -> None:
    """Show what every byte of a stream is spent on.

    \b
    Examples:
      sempic inspect street.smp
      sempic inspect street.smp --json
    """
    data = _read(source)

    import sempic

    info = sempic.inspect(data)
    if as_json:
        print(json.dumps(info.to_json(), indent=2))
        return
    made = f"{info.codec} {info.model}".strip()
    rows = [(part.name, str(part.bytes), f"{100 * part.bytes / info.bytes:.1f} %", part.detail) for part in info.parts]
    rows.append(("total", str(info.bytes), "100.0 %", f"{info.bpp:.4f} bpp"))
    _table(f"{made}, {info.width} × {info.height}", ("part", "bytes", "share", ""), rows)
    for name, value in info.detail.items():
        print(f"{name}: {value}")
    for warning in info.warnings:
        _say(f"warning: {warning}")


@app.command()
def channel(
    source: Stream,
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT.smp", help="What arrives; - is stdout.")],
    erase: Annotated[float, typer.Option(metavar="P", help="The probability that a packet is lost.")] = 0.0,
    bit_errors: Annotated[float, typer.Option(metavar="P", help="The probability that a bit arrives wrong.")] = 0.0,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed loses the same packets.")] = 0,
    packet: Annotated[int, typer.Option(metavar="N", help="Bytes a packet.")] = PACKET,
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
    target = _output(source, output, ".smp", force)
    received = transmit(_read(source), erase, bit_errors, seed, packet)
    _write(target, received.data, force)
    report = {"output": target, "packets": received.packets, "lost": received.lost, "flips": received.flips}
    text = f"{target}: {received.lost} of {received.packets} packets lost, {received.flips} bits flipped"
    _report(report, text, as_json, target)


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the models that come with Sempic.

    \b
    Examples:
      sempic models
      sempic models --json
    """
    from sempic import runtime

    found = [
        {
            "name": model.card.name,
            "kind": model.card.kind,
            "parameters": model.card.parameters,
            "bytes": model.size,
            "fingerprint": f"{model.card.fingerprint:04x}",
            "summary": model.card.summary,
        }
        for model in runtime.models()
    ]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    rows = [tuple(f"{v:,}" if isinstance(v, int) else str(v) for v in list(model.values())[:-1]) for model in found]
    _table("models", ("name", "kind", "parameters", "bytes", "fingerprint"), rows)
    for model in found:
        print(f"{model['name']}: {model['summary']}")


@app.command()
def demo(
    image: Annotated[str | None, typer.Argument(metavar="IMAGE", help="A scene is drawn if left out.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where demo.png goes.")] = Path(
        "demo-out"
    ),
    sizes: Annotated[
        list[int] | None, typer.Option("--bytes", metavar="N", help="At most so many bytes; may be given again.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Which scene to draw.")] = 0,
) -> None:
    """Encode and decode a picture beside HEVC at the same size, and write one PNG that shows all of it.

    The files of an earlier demo in the same folder are replaced.

    \b
    Examples:
      sempic demo
      sempic demo street.jpg --bytes 600 --bytes 1500
    """
    from PIL import Image

    from sempic import demo as shown
    from sempic import scene
    from sempic.codecs.base import to_rgb

    picture = to_rgb(_picture(image)) if image else scene.draw(seed).image
    rows, sheet, streams = shown.run(picture, sizes or [])
    output.mkdir(parents=True, exist_ok=True)
    files = {"demo.png": saved(sheet, "PNG"), **streams}
    if image is None:
        files["scene.png"] = saved(Image.fromarray(picture), "PNG")
    for name, data in files.items():
        _write(str(output / name), data, force=True)
    _table(f"{picture.shape[1]} × {picture.shape[0]}", shown.COLUMNS, rows)
    print("wrote", ", ".join(str(output / name) for name in files))


Source = Annotated[str, typer.Argument(metavar="SOURCE", help="A folder, or an address such as s3://bucket/streets.")]
Dest = Annotated[str, typer.Argument(metavar="DEST", help="Another, which gets the same folders; made if need be.")]
Anew = Annotated[bool, typer.Option("--force", "-f", help="Do all anew, and replace what is there.")]


@batch.command("encode")
def batch_encode(
    source: Source,
    dest: Dest,
    codec: Codec = "sqgan",
    quality: Quality = None,
    bpp: Bpp = None,
    size: Bytes = None,
    keep: Keep = None,
    segmenter: Segmenter = None,
    map: Map = None,
    perception: Perception = None,
    layers: Layers = None,
    scale: Scale = None,
    model: ModelName = None,
    protect: Protect = False,
    protection: Protection = None,
    workers: Workers = None,
    ray: Ray = None,
    force: Anew = False,
    as_json: AsJson = False,
) -> None:
    """Write every picture below SOURCE as a stream: a/b.jpg becomes a/b.jpg.smp, so no two can meet in one name.

    Streams that are in DEST, and whole, are not written again: an interrupted run goes on where it stopped. Hidden
    files and those without the suffix of a picture are left out. What went wrong is told at the end, and the exit code
    is 1.

    \b
    Examples:
      sempic batch encode photos streams --bytes 1000
      sempic batch encode photos streams --bytes 1000 --protect
      sempic batch encode photos streams --bytes 1000 --model my-model
      sempic batch encode s3://bucket/streets s3://bucket/streams --bpp 0.03 --workers 8
    """
    from sempic.batch import Encoding

    _one_size(quality, bpp, size)
    settings = _settings(
        keep=keep, segmenter=segmenter, map=map, perception=perception, layers=layers, scale=scale, model=model
    )
    task = Encoding(codec, quality, bpp, size, settings, _share(protect, protection))
    _batch(task, source, dest, workers, ray, force, as_json)


@batch.command("decode")
def batch_decode(
    source: Source,
    dest: Dest,
    model: ModelName = None,
    workers: Workers = None,
    ray: Ray = None,
    force: Anew = False,
    as_json: AsJson = False,
) -> None:
    """Write the picture in every stream below SOURCE: a/b.jpg.smp becomes a/b.jpg.png.

    Pictures that are in DEST, and whole, are not written again: an interrupted run goes on where it stopped. Files
    without the suffix .smp are left out. What went wrong is told at the end, and the exit code is 1.

    \b
    Examples:
      sempic batch decode streams pictures
      sempic batch decode streams pictures --model my-model
    """
    from sempic.batch import Decoding

    _batch(Decoding(model), source, dest, workers, ray, force, as_json)


def _batch(
    task: Task, source: str, dest: str, workers: int | None, ray: str | None, force: bool, as_json: bool
) -> None:
    from sempic import batch as batches

    start = time.perf_counter()
    with _progress(f"{source} to {dest}") as progress:
        found = batches.run(
            task, source, dest, workers=workers or os.cpu_count() or 1, ray_address=ray, force=force, progress=progress
        )
    seconds = time.perf_counter() - start
    for name, warnings in found.warnings.items():
        for warning in warnings:
            _say(f"warning: {_about(name, warning)}")
    for name, why in found.failed.items():
        _say(f"failed: {_about(name, why)}")
    text = f"{found.written} written, {found.finished} finished before, {len(found.failed)} failed in {seconds:.1f} s"
    _report(found.to_json() | {"seconds": round(seconds, 3)}, text, as_json, dest)
    if found.failed:
        raise typer.Exit(1)


@app.command()
def bench(
    data: Annotated[str, typer.Argument(metavar="DATA", help="camvid:test, cityscapes:val or a folder of pictures.")],
    contenders: Annotated[
        str, typer.Option("--codecs", metavar="A,B", help="Codecs, with settings as sqgan:map=half+denoise=0.3.")
    ] = "sqgan,hevc",
    points: Annotated[
        str, typer.Option(metavar="P,Q", help="Sizes in bpp (0.05) or bytes (600B), or qualities (q30).")
    ] = "0.02,0.03,0.05,0.1,0.2,0.35",
    erase: Annotated[
        str | None, typer.Option(metavar="P,Q", help="Send each file over links that lose such shares of packets, too.")
    ] = None,
    metrics: Annotated[str | None, typer.Option(metavar="M,N", help="All there are, if left out.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="N pictures, evenly spread over DATA.")] = None,
    output: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where results and files go.")] = Path(
        "bench-out"
    ),
    workers: Workers = None,
    ray: Ray = None,
) -> None:
    """Measure codecs: encode to real files, decode each in another process, compare with the originals.

    Writes one JSON file a codec to DIR. Work that a run before this one finished is not done again.

    \b
    Examples:
      sempic bench camvid:test --codecs sqgan,hevc,jpegxl --points 0.03,0.05,0.1 --out results
      sempic bench photos/ --codecs sqgan,av1 --points 600B,1200B --limit 24
      sempic bench camvid:test --codecs sqgan,sqgan:protect=0.25,jpeg --points 0.05 --erase 0.02,0.1 --metrics miou
    """
    from sempic import datasets
    from sempic.bench import metrics as known
    from sempic.bench import report as tables
    from sempic.bench import results, runner
    from sempic.bench.jobs import Contender, Target

    chosen = [Contender.parse(text) for text in contenders.split(",")]
    targets = Target.behind([Target.parse(text) for text in points.split(",")], erase or "")
    wanted = known.chosen(metrics)
    missing = {metric.name: why for metric in wanted if (why := metric.unavailable())}
    names = [metric.name for metric in wanted if metric.name not in missing]
    pictures = datasets.find(data)
    if limit is not None and limit < len(pictures):
        pictures = [pictures[i * len(pictures) // limit] for i in range(limit)]
    output.mkdir(parents=True, exist_ok=True)
    with _progress(f"{len(chosen)} codecs on {data}") as progress:
        found = runner.run(
            data,
            pictures,
            chosen,
            targets,
            names,
            output,
            workers=workers or os.cpu_count() or 1,
            ray_address=ray,
            unavailable=missing,
            command=shlex.join(["sempic", *sys.argv[1:]]),
            progress=progress,
        )
    for result in found:
        results.save(result, output / f"{result.label.replace(' ', '-')}.json")
    print(tables.markdown_tables(found))
    for name, why in missing.items():
        _say(f"{name} was not measured: {why}")
    for name, why in found[0].unread.items():
        _say(f"left out: {_about(name, why)}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder of a bench.")],
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also put the tables into a Markdown file, between its marks.")
    ] = None,
) -> None:
    """Write report.html, one page with everything in it, and the curves as PNG, into the folder of a bench.

    \b
    Examples:
      sempic report bench-out
    """
    from sempic.bench import report as page
    from sempic.bench import results

    for path in page.write_report(folder):
        print("wrote", path)
    if markdown is not None:
        page.update_markdown(markdown, results.load_all(folder))
        print("wrote", markdown)


@app.command()
def compare(
    source: Annotated[str, typer.Argument(metavar="IMAGE", help="The picture; - reads standard input.")],
    size: Annotated[int, typer.Option("--bytes", metavar="N", help="At most so many bytes.")],
    names: Annotated[
        str | None, typer.Option("--codecs", metavar="A,B", help="All that there are, if left out.")
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
    """
    target = _output(source, str(output), ".png", force)
    form = _format(target) if output.suffix != ".html" else None
    picture = _picture(source)

    from sempic.bench import compare as shown
    from sempic.codecs import CODECS
    from sempic.codecs.base import to_rgb

    image = to_rgb(picture)
    found = shown.compare(image, size, [name.strip() for name in names.split(",")] if names else list(CODECS))
    data = saved(shown.sheet(image, found), form) if form else shown.page(image, found, size).encode()
    _write(target, data, force)
    rows = [(one.codec, str(one.bytes) if one.bytes else "-", one.why or one.caption) for one in found]
    _table(f"at most {size} bytes", ("codec", "bytes", ""), rows)
    print("wrote", target)


@app.command()
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


@app.command()
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
        float | None, typer.Option(metavar="M", min=0, help="Stop (and save) after so long, to go on another time.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(metavar="DIR", help="Go on with the run in DIR.")] = None,
    init: Annotated[
        str | None, typer.Option(metavar="NAME", help="Start from the weights of a model or run; short for init=…")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the configuration, and what time and memory a step takes.")
    ] = False,
) -> None:
    """Train a model; needs pip install 'sempic[train]'.

    Runs on the CPU or one GPU as it is, on several by torchrun --nproc-per-node N --no-python sempic train …

    \b
    Examples:
      sempic train sqgan --data camvid:train=2,folder:my-pictures=1 --max-minutes 60
      sempic train layered steps=2000 batch=16 adversarial_from=0.2 --init sqgan-camvid11
      sempic train spic --dry-run
      sempic train --resume runs/sqgan
    """
    given = list(settings or [])
    given += [f"{key}={value}" for key, value in (("data", mixture), ("init", init)) if value is not None]
    if resume is not None and (recipe is not None or given or output is not None or dry_run):
        raise typer.BadParameter("A run goes on as it was started; give --resume only --max-minutes.")
    if recipe is None and resume is None:
        raise typer.BadParameter("Name a recipe, or a run to go on with by --resume.")

    from sempic.training import config

    if recipe is not None:
        options = config.load(recipe, given)  # what is wrong with it is said before torch is loaded
    run = _training("run")
    if dry_run:
        print(config.describe(options))
        took = run.rehearse(recipe, given)
        megabytes = took.memory / 1e6
        print(f"# {took.parameters:,} parameters; a step takes {took.seconds:.2f} s and {megabytes:,.0f} MB of memory")
        return
    folder = resume or output or Path("runs") / options.recipe
    if recipe is not None:
        run.start(folder, recipe, given)
    done = run.go_on(folder, max_minutes)
    if not run.is_main():
        return
    if done:
        print(f"{folder}: done; sempic export {folder} makes a model of it")
    else:
        print(f"{folder}: stopped by --max-minutes; sempic train --resume {folder} goes on")


@app.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a training run.")],
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="The model's folder and so its name; RUN/model if left out."),
    ] = None,
) -> None:
    """Make a model of a training run: its averaged weights as ONNX networks, coding tables and a card.

    \b
    Examples:
      sempic export runs/sqgan --out my-model
      sempic encode street.jpg --model my-model
    """
    done = _training("deliver").deliver(source, output or source / "model")
    for name, share in done.differences.items():
        print(f"{name}: differs from PyTorch by at most {share:.3%} of its largest value")
    card, size = done.model.card, done.model.size / 1e6
    told = ", ".join(f"{k} {v}" for k, v in card.training["metrics"].items() if not isinstance(v, dict))
    print(f"{done.model.folder}: {card.kind}, {card.parameters:,} parameters, {size:.1f} MB; {told}")


def _training(module: str) -> Any:
    """The module of this name, which needs what the extra `train` brings."""
    from importlib import import_module

    try:
        return import_module(f"sempic.training.{module}")
    except ModuleNotFoundError as error:
        raise InputError(f"Training needs {error.name}; install it with: pip install 'sempic[train]'.") from None


data = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Look after data sets.")
app.add_typer(data, name="data")


@data.command()
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
    from dataclasses import asdict

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
        _table(f"{found.kind} in {found.root}", ("part", "pictures", "labelled", "size"), rows)
        for sentence in (*found.missing, *filter(None, [found.how])):
            print(sentence)
    if found.missing:
        raise typer.Exit(1)


# -- options ----------------------------------------------------------------------------------------------------------


def _one_size(quality: float | None, bpp: float | None, size: int | None) -> None:
    if sum(given is not None for given in (quality, bpp, size)) > 1:
        raise typer.BadParameter("Give only one of --quality, --bpp and --bytes.")


def _settings(**given: Any) -> dict[str, Any]:
    """The codec's settings that were given on the command line, paths as texts and scales like "4" as numbers."""
    settings = {k: str(value) if isinstance(value, Path) else value for k, value in given.items() if value is not None}
    if settings.get("scale", "").isdecimal():
        settings["scale"] = int(settings["scale"])
    return settings


def _share(protect: bool, protection: float | None) -> float | bool:
    """What `sempic.encode` takes as `protect`: the share alone says enough."""
    return protect if protection is None else protection


# -- files ------------------------------------------------------------------------------------------------------------


def _read(source: str) -> bytes:
    return sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()


def _picture(source: str) -> Image.Image:
    """The picture in a file; that there is more in it is told."""
    picture, warnings = read_picture(_read(source), source)
    for warning in warnings:
        _say(f"warning: {warning}")
    return picture


def _label_picture(path: Path) -> NDArray[np.uint8]:
    """The class ids in a label picture, void as `VOID`."""
    import numpy as np

    picture = _picture(str(path))
    if picture.mode not in ("L", "P"):
        raise InputError(f"'{path}' is not a palette or grey picture of class ids, but of mode {picture.mode}.")
    segmap = np.array(picture, np.uint8)
    segmap[segmap == _CAMVID_VOID] = VOID
    return segmap


def _palette_picture(segmap: NDArray[np.uint8]) -> Image.Image:
    """A picture whose pixel values are class ids and whose palette shows the classes' colours."""
    import numpy as np
    from PIL import Image

    picture = Image.frombytes("P", (segmap.shape[1], segmap.shape[0]), segmap.tobytes())
    picture.putpalette(CAMVID11.colourise(np.arange(256, dtype=np.uint8)[None]).tobytes())
    return picture


def _output(source: str, output: str | None, suffix: str, force: bool) -> str:
    """The name to write to; asked for before the work, so that a name that is taken costs no time."""
    if output is None:
        output = "-" if source == "-" else str(Path(source).with_suffix(suffix))
    if output != "-":
        path = Path(output)
        if path.is_dir():
            raise InputError(f"The output '{output}' is a folder; name a file.")
        if not path.parent.is_dir():
            raise InputError(f"The folder '{path.parent}' does not exist.")
        if path.is_file() and not force:
            raise InputError(f"'{output}' exists; give another name with -o, or --force to replace it.")
    return output


def _format(target: str) -> str:
    """The picture format that a file's suffix asks for."""
    from PIL import Image

    suffix = ".png" if target == "-" else Path(target).suffix.lower()
    form = Image.registered_extensions().get(suffix)
    if form is None or form not in Image.SAVE:
        raise InputError(f"'{target}' has no suffix of a picture format that can be written, such as .png.")
    return form


def _write(target: str, data: bytes, force: bool) -> None:
    """Write a file that appears under its name only when it is whole."""
    if target == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    path = Path(target).resolve()  # so that a link goes on pointing to the file
    try:
        if path.exists() and not path.is_file():  # a device or pipe, which must not be replaced by a file
            path.write_bytes(data)
            return
        with whole_file(path) as file:
            file.write(data)
            _output(target, target, "", force)  # it may have come into being meanwhile
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from error


def _about(name: str, why: str) -> str:
    """A sentence that names the file it is about."""
    return why if name in why else f"{name}: {why}"


def _report(values: dict[str, Any], text: str, as_json: bool, target: str) -> None:
    """Print what was done, away from the data if that goes to standard output."""
    print(json.dumps(values) if as_json else text, file=sys.stderr if target == "-" else sys.stdout)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error; yield what is to be told how many are done, and of how many."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress("{task.description}", *columns, console=_console(stderr=True)) as progress:
        bar = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for place, name in enumerate(columns):
        numbers = all(row[place][:1].isdigit() for row in rows)
        last = place == len(columns) - 1  # the one that may be long
        table.add_column(name, justify="right" if numbers else "left", overflow="fold", no_wrap=not last)
    for row in rows:
        table.add_row(*row)
    _console().print(table)


@contextmanager
def _passes() -> Iterator[Callable[[int, int], None] | None]:
    """What to tell of network passes, which a bar on standard error shows while they run; None without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress("{task.description}", *columns, console=_console(stderr=True), transient=True) as bar:
        task = bar.add_task("network passes", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr)
