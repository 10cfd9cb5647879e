"""What the commands share: options, files, and what they print (of `terminal`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sempic import container, extras
from sempic.cli.terminal import about as about
from sempic.cli.terminal import line as line
from sempic.cli.terminal import progress as progress
from sempic.cli.terminal import report as report
from sempic.cli.terminal import say as say
from sempic.cli.terminal import table as table
from sempic.cli.terminal import warn as warn
from sempic.codecs import CODECS
from sempic.codecs.spec import AUTO, INSIDE, OUTSIDE, PROTECT, Spec
from sempic.errors import InputError
from sempic.files import saved, whole_file
from sempic.link import protection
from sempic.link.presets import LINKS
from sempic.pixels import PixelSize, format_of, opened, read_picture
from sempic.rate import Target, bytes_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors alone, and what --json or -o - asks for.")]


def _parser(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Return a function that reads an option's value; a value that makes no sense is wrong usage."""

    def parsed(value: Any) -> Any:
        try:
            return parse(value) if isinstance(value, str) else value
        except InputError as error:
            raise typer.BadParameter(str(error)) from None

    return parsed


BYTES = _parser(bytes_of)
IN_BYTES = "k is 1000 (2.5kB), Ki is 1024"
Quality = Annotated[float | None, typer.Option(metavar="Q", help="From 0 to 100; 50 if no size is given.")]
Bpp = Annotated[float | None, typer.Option(metavar="X", help="At most so many bits a pixel.")]
Size = Annotated[
    int | None, typer.Option("--bytes", metavar="N", parser=BYTES, help=f"At most so many bytes; {IN_BYTES}.")
]
Within = Annotated[
    PixelSize | None,
    typer.Option(
        "--size",
        metavar="WxH",
        parser=_parser(PixelSize.parse),
        help="Scale larger pictures down until they fit into so many pixels, such as 480x360; their shape is kept.",
    ),
]
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
LinkName = Annotated[
    str | None,
    typer.Option(
        "--link",
        metavar="NAME[:VARIANT]",
        help=f"A link: {', '.join(LINKS)}; behind a colon its variant, such as us915, or a number of bits a second.",
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


def read_image(source: str, within: PixelSize | None = None) -> NDArray[np.uint8]:
    """Return the picture in a file as `to_rgb` does, with a warning on standard error if there is more in it.

    A picture that is larger than `within` is scaled down.
    """
    return picture_of(read(source), source, within)


def picture_of(data: bytes, source: str, within: PixelSize | None = None) -> NDArray[np.uint8]:
    """Return the picture in a file's bytes as `read_image` does."""
    if data.startswith((container.MAGIC, protection.MAGIC)):
        raise InputError(f"'{source}' is a Sempic stream, not a picture; did you mean decode?")
    picture, warnings = read_picture(data, source)
    warn(warnings)
    return within.shrink(picture) if within else picture


def read_stream(source: str) -> bytes:
    """Return the stream in a file; raise `InputError` for a picture in another format."""
    data = read(source)
    if not protection.may_start(data) and (form := format_of(data)):
        raise InputError(f"'{source}' is a {form} picture, not a Sempic stream; did you mean encode?")
    return data


def output_name(source: str, output: str | None, suffix: str, force: bool) -> str:
    """Return the name to write to; checked before the work, so that a name that is taken costs no time."""
    if output is None:
        output = "-" if source == "-" else str(Path(source).with_suffix(suffix))
    if output != "-":
        path = Path(output)
        if source != "-" and path.exists() and Path(source).exists() and path.samefile(source):
            raise InputError(f"'{output}' is the input itself; give another name with -o.")
        if path.is_dir():
            raise InputError(f"The output '{output}' is a folder; name a file, or '{path}/' to write into it.")
        if not path.parent.is_dir():
            raise InputError(f"The folder '{path.parent}' does not exist.")
        if path.is_file() and not force:
            raise InputError(f"'{output}' exists; give another name with -o, or --force to replace it.")
    return output


def further_outputs(source: str, force: bool, output: str, *more: Path | None) -> None:
    """Check the names of what is written besides the output, as `output_name` does; no two may be the same."""
    names = [output, *(str(path) for path in more if path is not None)]
    for name in names[1:]:
        output_name(source, name, "", force)
    if len({Path(name).resolve() for name in names}) < len(names):
        raise typer.BadParameter(f"Each output needs a name of its own: {', '.join(names)}.")


def picture_format(target: str) -> str:
    """Return the picture format that a file's suffix asks for; raise `InputError` where it cannot be written."""
    from PIL import Image

    suffix = ".png" if target == "-" else Path(target).suffix.lower()
    form = Image.registered_extensions().get(suffix)
    if form is None or form not in Image.SAVE:
        raise InputError(f"'{target}' has no suffix of a picture format that can be written, such as .png.")
    trial = Image.new("RGB", (300, 200))  # some formats take other modes or sizes alone, or need what is not installed
    data = saved(trial, form)
    if form in Image.OPEN:
        with opened(data, target) as found:
            if found.size != trial.size:
                raise InputError(f"'{target}' has the suffix of a format that has sizes of its own; take .png.")
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
            output_name("-", target, "", force)  # it may have come into being meanwhile
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from error


def training(module: str) -> Any:
    """Return a module of `sempic.training`, which needs the packages of the extra `train`."""
    try:
        return import_module(f"sempic.training.{module}")
    except ModuleNotFoundError as error:
        raise InputError(f"Training needs the package {error.name}: {extras.install('train')}.") from None
