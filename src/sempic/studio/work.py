"""What the studio does with a picture or a stream, in a process that the clock or the user may stop at any time."""

from __future__ import annotations

import base64
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from multiprocessing.connection import Connection
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import sempic
from sempic import codecs, container, demo, protection, runtime
from sempic.bench import compare, page
from sempic.bench.gallery import Gallery
from sempic.codecs.base import to_rgb
from sempic.errors import InputError, SempicError, sentence
from sempic.files import read_picture, saved
from sempic.pool import depend_on_parent
from sempic.scene import draw
from sempic.taxonomy import CAMVID11

RIVALS = ("hevc", "av1", "jpeg")
"""The codecs whose picture at the same size is shown as well."""
LIMIT_BYTES, LIMIT_S = 20 << 20, 120
"""The largest upload, and the longest time that any work may take, in seconds."""

_PICTURE = "picture"
_SMALLEST = np.zeros((container.MIN_SIDE, container.MIN_SIDE, 3), np.uint8)
_POLL_S = 0.2


@dataclass(frozen=True)
class Upload:
    """A picture's file."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Wish:
    """How a picture is to be coded: in at most `size` bytes, with weights of classes from 0 to 1.

    `layers` is how many enhancement layers are sent, `protect` adds error correction to the stream, and `model` is the
    codec's own where it is empty. What a codec does not know is not handed to it.
    """

    codec: str
    size: int
    keep: Mapping[str, float] = field(default_factory=dict)
    layers: int = 1
    protect: bool = False
    model: str = ""


@dataclass(frozen=True)
class View:
    """How a stream is to be shown: with how many of the layers behind its base, and after how many diffusion steps.

    None leaves the choice to the codec: all layers, and its own number of steps. `models` are folders or addresses of
    models that the stream may need besides those that are installed.
    """

    layers: int | None = None
    steps: int | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """What is being done, and the share of the work, from 0 to 1, that is already done."""

    text: str
    share: float = 0.0


@dataclass(frozen=True)
class Seen:
    """What an upload is: a sentence, its picture as a data URI, and how many pixels it has."""

    text: str
    picture: str
    pixels: int


@dataclass(frozen=True)
class Shown:
    """A title, a page with everything about a stream, the stream itself, and how many layers it has behind its base."""

    title: str
    page: str
    stream: bytes
    layers: int
    codec: str


def usable(models: Sequence[str] = ()) -> dict[str, str]:
    """Return the codecs that work here, and for each its model: the one named for it among `models`, or else its own.

    A codec whose model, package or tool is missing is not among them. Raises `ModelError` for a model that is not
    there, `InputError` for one that no codec uses.
    """
    given = {model.card.kind: name for model, name in ((runtime.model(name), name) for name in models)}
    found = dict[str, str]()
    for name in codecs.CODECS:
        model = given.pop(name, getattr(codecs.codec(name).settings(), "model", ""))
        try:
            if model:
                runtime.model(model, name)
            else:
                sempic.encode(_SMALLEST, name)
        except SempicError:
            continue
        found[name] = model
    if given:
        kind, name = next(iter(given.items()))
        raise InputError(f"The model '{name}' is a {kind}, which the studio has no codec for.")
    return found


def knows(codec: str, option: str) -> bool:
    """Whether a codec has a setting, or its decoder an option, of this name."""
    chosen = codecs.codec(codec)
    kinds = chosen.Settings, getattr(chosen, "Options", None)
    return any(option in (known.name for known in fields(kind)) for kind in kinds if kind is not None)


def drawn_street() -> Upload:
    """Return a picture for those who have none at hand."""
    return Upload("street.png", saved(Image.fromarray(draw(0).image), "PNG"))


def is_stream(data: bytes) -> bool:
    """Whether a file is one of ours rather than a picture's."""
    return protection.may_start(data)


# -- in a process of its own ------------------------------------------------------------------------------------------


def look(upload: Upload) -> Iterator[Seen]:
    """Say what an upload is; raise `InputError` if it is not a picture that can be coded."""
    picture, warnings = read_picture(upload.data, upload.name)
    image, gallery = to_rgb(picture), Gallery()
    gallery.add(Image.fromarray(image))
    text = " ".join((f"{upload.name}, {picture.width} × {picture.height} pixels.", *warnings))
    yield Seen(text, gallery.images[0], image[..., 0].size)


def encode(upload: Upload, wish: Wish, view: View) -> Iterator[Step | Shown]:
    """Code a picture and show what comes of it."""
    steps = 2 + len(RIVALS)
    yield Step(f"Encoding with {wish.codec}")
    picture, _ = read_picture(upload.data, upload.name)
    settings: dict[str, Any] = {"keep": dict(wish.keep), "layers": wish.layers}
    settings |= {"model": wish.model} if wish.model else {}
    settings = {name: value for name, value in settings.items() if knows(wish.codec, name)}
    stream = sempic.encode(picture, wish.codec, bytes=wish.size, protect=wish.protect, **settings)
    for made in show(stream, view, upload):
        yield replace(made, share=(1 + made.share * (steps - 1)) / steps) if isinstance(made, Step) else made


def show(stream: bytes, view: View, upload: Upload | None = None) -> Iterator[Step | Shown]:
    """Decode a stream and show it, beside its original and what other codecs make of that where there is one."""
    yield Step("Decoding")
    for model in view.models:
        runtime.model(model)  # which streams may name from now on
    info, read = sempic.inspect(stream), protection.read(stream)
    base = codecs.codec(info.codec).base_sections(read)
    used = stream
    if view.layers is not None:
        used = container.write(read.header, read.sections[: base + view.layers])
    options: dict[str, Any] = {"steps": view.steps} if view.steps is not None and knows(info.codec, "steps") else {}
    decoded = sempic.decode(stream, view.layers, **options)
    title = f"{info.codec}: {len(used)} bytes, {8 * len(used) / decoded.image[..., 0].size:.3f} bpp"
    panels: dict[str, tuple[NDArray[np.uint8], str]] = {}
    gallery, cannot = Gallery(), list[tuple[str, str]]()
    original = decoded.image
    if upload is None:
        gallery.first = info.codec
    else:
        picture, _ = read_picture(upload.data, upload.name)
        original = to_rgb(picture)
        panels[info.codec] = decoded.image, compare.Shown.of(info.codec, original, decoded.image, len(used)).caption
    if decoded.segmap is not None:
        panels["segmap"] = CAMVID11.colourise(decoded.segmap), "as decoded"
    if info.codec == "sqgan":
        from sempic.codecs.sqgan import sent_mask

        mask = sent_mask(used)
        panels["relevance"] = demo.relevance(original, mask), f"tokens sent: {mask.mean():.0%} of the grid"
    rivals = [name for name in RIVALS if name != info.codec] if upload is not None else []
    for place, name in enumerate(rivals, 1):
        yield Step(f"The same picture in the same bytes: {name}", place / (len(rivals) + 1))
        (rival,) = compare.compare(original, len(used), [name])
        if rival.image is None:
            cannot.append((name, rival.why))
        else:
            panels[name] = rival.image, rival.caption
    gallery.originals[_PICTURE] = gallery.add(Image.fromarray(original))
    gallery.levels.append(title)
    gallery.tiles.append(
        {name: {_PICTURE: (gallery.add(Image.fromarray(image)), caption)} for name, (image, caption) in panels.items()}
    )
    seen = [] if decoded.segmap is None else [i for i in np.unique(decoded.segmap) if i < len(CAMVID11)]
    text = page.render(
        "studio.html",
        title=title,
        gallery=asdict(gallery),
        legend=[(CAMVID11.classes[i], "rgb({}, {}, {})".format(*CAMVID11.colours[i])) for i in seen],
        parts=info.parts,
        total=info.bytes,
        cannot=cannot,
        warnings=decoded.warnings,
        name=f"{PurePath(upload.name).stem if upload else 'stream'}-{info.codec}.smp",
        stream="data:application/octet-stream;base64," + base64.b64encode(stream).decode(),
    )
    yield Shown(title, text, stream, len(read.sections) - base, info.codec)


# -- and around it ----------------------------------------------------------------------------------------------------


def run(work: Callable[..., Iterator[Any]], *arguments: Any, limit_s: float = LIMIT_S) -> Iterator[Any]:
    """Yield what a generator function yields in a process of its own, and None while it takes its time.

    The process ends when this generator does, whether it is used up, closed or forgotten. Raises `SempicError` for what
    goes wrong in it, and when it takes longer than `limit_s`.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(theirs, work, arguments), daemon=True)
    deadline = time.monotonic() + limit_s
    process.start()
    theirs.close()  # so that the end of the process is the end of what can be read
    try:
        while True:
            if ours.poll(_POLL_S):
                found, error = ours.recv()
                if error:
                    raise SempicError(error)
                if found is None:
                    return
                yield found
            elif time.monotonic() > deadline:
                raise InputError(
                    f"This took more than {limit_s:g} seconds and was stopped; a smaller picture takes less."
                )
            else:
                yield None
    except EOFError:
        raise SempicError(
            "The work ended too early, for want of memory perhaps; a smaller picture takes less."
        ) from None
    finally:
        process.kill()
        process.join()
        ours.close()


def _send(pipe: Connection, work: Callable[..., Iterator[Any]], arguments: tuple[Any, ...]) -> None:
    """Send what a generator function yields, as pairs with the sentence of an error, and None at the end."""
    depend_on_parent()
    try:
        for found in work(*arguments):
            pipe.send((found, ""))
        pipe.send((None, ""))
    except Exception as error:
        words = sentence(error)
        pipe.send((None, words or f"{type(error).__name__}, a fault of Sempic's."))
        if words is None:
            raise
