"""What the commands share: options, files, reports, tables and progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sempic.codecs import CODECS
from sempic.codecs.spec import AUTO, INSIDE, OUTSIDE, PROTECT, Spec
from sempic.errors import InputError
from sempic.files import whole_file
from sempic.link import protection
from sempic.pixels import read_picture
from sempic.rate import Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

Force = Annotated[bool, typer.Option("--force", "-f", help="Replace an output file that exists.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
CodecName = Annotated[
    str,
    typer.Option(
        "--codec",
        metavar="NAME[:KEY=VALUE+…]",
        help=f"A codec, with settings behind it if you like: {', '.join(CODECS)}; or {AUTO}, which is {INSIDE} for "
        f"pictures of the kind that it was trained on and {OUTSIDE} for others. "
        "`sempic codecs NAME` lists its settings.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the codec (see `sempic codecs`); may be repeated."),
]
Quality = Annotated[float | None, typer.Option(metavar="Q", help="From 0 to 100; 50 if no size is given.")]
Bpp = Annotated[float | None, typer.Option(metavar="X", help="At most so many bits a pixel.")]
Size = Annotated[int | None, typer.Option("--bytes", metavar="N", help="At most so many bytes.")]
Keep = Annotated[
    str | None,
    typer.Option(
        metavar="CLASS=W,…", help="More bytes (W towards 1) or fewer (towards 0) for a class; short for --set keep=…"
    ),
]
Segmenter = Annotated[
    str | None,
    typer.Option(
        metavar="ONNX|hf:NAME",
        help="Your own segmentation network, as an ONNX file or by its name on the Hugging Face Hub; short for "
        "--set segmenter=…",
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="The classes that this network finds: a taxonomy's name, or a file of names; short for --set classes=…",
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="A model by its name, folder, https://… address or hf:org/name."),
]
Protect = Annotated[
    bool,
    typer.Option(
        "--protect",
        help="Add error correction, a quarter of the bytes; a size counts it. Short for --set protect=0.25.",
    ),
]
Workers = Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes; one per core if left out.")]
Ray = Annotated[str | None, typer.Option(metavar="ADDRESS|local", help="Run on a Ray cluster instead.")]
Stream = Annotated[str, typer.Argument(metavar="IN.smp", help="The stream; - reads standard input.")]


def target_of(quality: float | None, bpp: float | None, size: int | None) -> Target:
    """Return the size that was asked for; two of them are wrong usage."""
    if sum(given is not None for given in (quality, bpp, size)) > 1:
        raise typer.BadParameter("Give only one of --quality, --bpp and --bytes.")
    return Target(quality, bpp, size)


def spec_of(codec: str, settings: list[str] | None, protect: bool, **short: str | Path | None) -> Spec:
    """Return a codec with the settings in its own text, those that have options of their own, and those of --set.

    The last one counts. Raises `InputError` for options of decoding, which would have no effect.
    """
    more = [f"{name}={value}" for name, value in short.items() if value is not None]
    if protect:
        more.append(f"{PROTECT}={protection.DEFAULT}")
    spec = Spec.parse(codec, [*more, *(settings or [])])
    plain = spec.codec.Options()
    for one in fields(plain):
        if getattr(spec.options, one.name) != getattr(plain, one.name):
            raise InputError(f"'{one.name}' is an option of decoding; give it to decode.")
    return spec


# -- files ------------------------------------------------------------------------------------------------------------


def read(source: str) -> bytes:
    """Return what is in a file, or on standard input."""
    return sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()


def read_image(source: str) -> NDArray[np.uint8]:
    """Return the picture in a file as `to_rgb` does, with a warning on standard error if there is more in it."""
    picture, warnings = read_picture(read(source), source)
    warn(warnings)
    return picture


def output_name(source: str, output: str | None, suffix: str, force: bool) -> str:
    """Return the name to write to; checked before the work, so that a name that is taken costs no time."""
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


def further_outputs(force: bool, output: str, *more: Path | None) -> None:
    """Check the names of what is written besides the output, as `output_name` does; no two may be the same."""
    names = [output, *(str(path) for path in more if path is not None)]
    for name in names[1:]:
        output_name("", name, "", force)
    if len({Path(name).resolve() for name in names}) < len(names):
        raise typer.BadParameter(f"Each output needs a name of its own: {', '.join(names)}.")


def picture_format(target: str) -> str:
    """Return the picture format that a file's suffix asks for."""
    from PIL import Image

    suffix = ".png" if target == "-" else Path(target).suffix.lower()
    form = Image.registered_extensions().get(suffix)
    if form is None or form not in Image.SAVE:
        raise InputError(f"'{target}' has no suffix of a picture format that can be written, such as .png.")
    return form


def write(target: str, data: bytes, force: bool) -> None:
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
            output_name(target, target, "", force)  # it may have come into being meanwhile
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from error


# -- what is printed --------------------------------------------------------------------------------------------------


def say(words: str) -> None:
    """Print a sentence on standard error."""
    print("sempic:", " ".join(words.split()), file=sys.stderr)


def warn(warnings: Sequence[str]) -> None:
    """Print warnings on standard error."""
    for warning in warnings:
        say(f"warning: {warning}")


def about(name: str, why: str) -> str:
    """Return a sentence that names the file it is about."""
    return why if name in why else f"{name}: {why}"


def training(module: str) -> Any:
    """Return a module of `sempic.training`, which needs the packages of the extra `train`."""
    try:
        return import_module(f"sempic.training.{module}")
    except ModuleNotFoundError as error:
        raise InputError(f"Training needs {error.name}; install it with: pip install 'sempic[train]'.") from None


def report(values: dict[str, Any], text: str, as_json: bool, *outputs: str | Path | None) -> None:
    """Print what was done, away from the data if one of the outputs is standard output."""
    on_stdout = "-" in [str(output) for output in outputs]
    print(json.dumps(values) if as_json else text, file=sys.stderr if on_stdout else sys.stdout)


def table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table; columns of numbers are aligned to the right, and the last column may be long."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for place, name in enumerate(columns):
        numbers = all(row[place][:1].isdigit() for row in rows)
        last = place == len(columns) - 1
        made.add_column(name, justify="right" if numbers else "left", overflow="fold", no_wrap=not last)
    for row in rows:
        made.add_row(*row)
    _console().print(made)


@contextmanager
def progress(title: str, transient: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error; yield the function to call with the number of things done and of all.

    A transient bar is shown on terminals only, from the first call on, and goes at the end.
    """
    if transient and not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress("{task.description}", *columns, console=_console(stderr=True), transient=transient) as bar:
        task = bar.add_task(title, total=None, visible=not transient)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr)
