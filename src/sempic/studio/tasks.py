"""What the studio does with a picture or a stream. Long tasks are generator functions, which `Worker` runs."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import api, container, demo, marks, provenance, runtime
from sempic.bench import compare, html
from sempic.bench.gallery import Gallery
from sempic.codecs import CODECS, codec
from sempic.codecs.base import Info, Options, Reading
from sempic.codecs.spec import AUTO, INSIDE, OUTSIDE, PROTECT, Field, Spec, about
from sempic.errors import InputError, ModelError, SempicError
from sempic.files import saved
from sempic.link import protection
from sempic.pixels import read_picture
from sempic.provenance import Provenance
from sempic.rate import Target
from sempic.scene import draw
from sempic.taxonomy import VOID

RIVALS = ("hevc", "av1", "jpeg")
"""The codecs whose picture at the same size is shown as well."""
LIMIT_BYTES = 20 << 20
"""The largest upload."""

_PICTURE = "picture"
_SMALLEST = np.zeros((container.MIN_SIDE, container.MIN_SIDE, 3), np.uint8)


@dataclass(frozen=True)
class Upload:
    """A picture's file."""

    name: str
    data: bytes


@dataclass(frozen=True)
class DisplayRequest:
    """How a stream is to be shown.

    layers: the most layers to use; None for all.
    options: the codec's options of decoding; None for its defaults.
    models: models that the stream may need besides those that are installed, by name, folder or address.
    warnings: what was said when the stream was made.
    marked: whether the picture has marks on what was sent, invented, or lost.
    """

    layers: int | None = None
    options: Options | None = None
    models: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    marked: bool = False


@dataclass(frozen=True)
class Progress:
    """What is being done, and the share of the work, from 0 to 1, that is already done."""

    text: str
    share: float = 0.0


@dataclass(frozen=True)
class UploadInfo:
    """What an upload is: a sentence, its picture as a data URI, and how many pixels it has."""

    text: str
    picture: str
    pixels: int


@dataclass(frozen=True)
class DisplayedStream:
    """A stream as it is shown: a title, a page with everything about it, the stream, how many layers it has behind its
    base, the name of its codec, and what was said when it was made."""

    title: str
    page: str
    stream: bytes
    layers: int
    codec: str
    warnings: tuple[str, ...] = ()


@runtime_checkable
class _SendsSomeTokens(Protocol):
    """A reading of a codec that sends the tokens of some places only."""

    def sent(self, layers: int | None = None) -> NDArray[np.bool_]: ...


# -- codecs and their settings ----------------------------------------------------------------------------------------


def usable(models: Sequence[str] = ()) -> dict[str, str]:
    """Return the codecs that work here, each with the model named for it among `models`; empty for the default one.

    A codec whose model, package or tool is missing is not among them. Raises `ModelError` for a model that is not
    there, `InputError` for one that no codec uses.
    """
    given = {model.card.kind: name for model, name in ((runtime.model(name), name) for name in models)}
    found = dict[str, str]()
    for name in CODECS:
        model = given.pop(name, "")
        try:
            if codec(name).learnt:
                runtime.model(model, name)
            else:
                api.encode(_SMALLEST, name)
        except SempicError:
            continue
        found[name] = model
    if INSIDE in found and OUTSIDE in found:
        found[AUTO] = found[INSIDE]
    if given:
        kind, name = next(iter(given.items()))
        raise InputError(f"The model '{name}' is a {kind}, which the studio has no codec for.")
    return found


def knows(name: str, field: str) -> bool:
    """Whether a codec has a setting, or an option of decoding, of this name."""
    info = about(name)
    return any(field == known.name for known in (*info.settings, *info.options))


def classes(name: str, model: str) -> tuple[str, ...]:
    """Return the classes whose weights can be set for a codec with a model (empty for the default one)."""
    return runtime.model(model, Spec.parse(name).codec.name).taxonomy.classes if knows(name, "keep") else ()


def text_settings(name: str) -> list[Field]:
    """Return the settings of a codec that a visitor may write as text: numbers and words.

    Files and models are not among them: they are those of the machine on which the studio runs.
    """
    return [one for one in about(name).settings if isinstance(one.default, int | float | str) and one.name != "model"]


def spec_of(name: str, controls: Mapping[str, Any], text: str = "") -> Spec:
    """Return a codec with settings.

    Args:
        name: the codec's name.
        controls: values of controls by the names of settings and options; what the codec does not have is left out.
        text: further settings, such as "map=half+simplify=0.3"; they take the place of controls.

    Raises:
        InputError: the text has a setting that a visitor may not set, or a value that makes no sense.
    """
    offered = [one.name for one in text_settings(name)]
    for item in filter(None, map(str.strip, text.split("+"))):
        if (asked := item.partition("=")[0].strip()) not in offered:
            known = ", ".join(offered)
            raise InputError(f"'{asked}' is not a setting that the studio takes for {name}; it takes {known}.")
    own = {field: value for field, value in controls.items() if field == PROTECT or knows(name, field)}
    return Spec.parse(name, own | Spec.parse(f"{name}:{text}").given)


# -- pictures and streams ---------------------------------------------------------------------------------------------


def drawn_street() -> Upload:
    """Return a picture for those who have none at hand."""
    return Upload("street.png", saved(Image.fromarray(draw(0).image), "PNG"))


def is_stream(data: bytes) -> bool:
    """Whether a file is one of ours rather than a picture's."""
    return protection.may_start(data)


def look(upload: Upload) -> Iterator[UploadInfo]:
    """Say what an upload is; raise `InputError` if it is not a picture that can be coded."""
    (image, warnings), gallery = read_picture(upload.data, upload.name), Gallery()
    gallery.add(Image.fromarray(image))
    height, width = image.shape[:2]
    text = " ".join((f"{upload.name}, {width} × {height} pixels.", *warnings))
    yield UploadInfo(text, gallery.images[0], width * height)


def encode(
    upload: Upload, spec: Spec, size: int, models: tuple[str, ...] = (), marked: bool = False
) -> Iterator[Progress | DisplayedStream]:
    """Encode a picture in at most `size` bytes and show the stream; `models` and `marked` are a `DisplayRequest`'s."""
    steps = 2 + len(RIVALS)
    yield Progress(f"Encoding with {spec.codec.name}")
    picture, _ = read_picture(upload.data, upload.name)
    target = Target(size=size)
    stream, warnings = target.write(api.analyse(picture, spec, target, spec.protect))
    request = DisplayRequest(options=spec.options, models=models, warnings=warnings, marked=marked)
    for made in show(stream, request, upload):
        yield replace(made, share=(1 + made.share * (steps - 1)) / steps) if isinstance(made, Progress) else made


def show(stream: bytes, request: DisplayRequest, upload: Upload | None = None) -> Iterator[Progress | DisplayedStream]:
    """Decode a stream and show it; where there is an original, beside that and what other codecs make of it."""
    yield Progress("Decoding")
    info, reading = _described(stream, request.models)
    options = codec(info.codec).Options() if request.options is None else request.options
    # All layers that are here stand for all there are, so that those that did not arrive are marked as losses.
    layers = request.layers if request.layers is not None and request.layers < reading.layers else None
    decoded = reading.draw(options, layers)
    size = _bytes_used(stream, reading, layers)
    title = f"{info.codec}: {size} bytes, {8 * size / decoded.image[..., 0].size:.3f} bpp"
    panels: dict[str, tuple[NDArray[np.uint8], str]] = {}
    gallery, cannot = Gallery(), list[tuple[str, str]]()
    shown = original = decoded.image
    meanings = list[tuple[str, str]]()
    if request.marked and decoded.provenance is not None:
        shown = marks.overlay(decoded.image, decoded.provenance)
        meanings = [(text, _swatch(kind)) for kind, text in provenance.legend(decoded.provenance).items()]
    if upload is None:
        gallery.first = info.codec
    else:
        original, _ = read_picture(upload.data, upload.name)
        panels[info.codec] = shown, compare.Compared.of(info.codec, original, decoded.image, size).caption
    legend = list[tuple[str, str]]()
    if decoded.segmap is not None and decoded.taxonomy is not None:
        panels["segmap"] = decoded.taxonomy.colourise(decoded.segmap), "as decoded"
        for i in np.unique(decoded.segmap[decoded.segmap != VOID]).tolist():
            legend.append((decoded.taxonomy.classes[i], "rgb({}, {}, {})".format(*decoded.taxonomy.colours[i])))
    if isinstance(reading, _SendsSomeTokens):
        mask = reading.sent(layers)
        panels["relevance"] = demo.relevance(original, mask), f"tokens sent: {mask.mean():.0%} of the grid"
    rivals = [name for name in RIVALS if name != info.codec] if upload is not None else []
    for place, name in enumerate(rivals, 1):
        yield Progress(f"The same picture in the same bytes: {name}", place / (len(rivals) + 1))
        (rival,) = compare.compare(original, size, [Spec.parse(name)])
        if rival.image is None:
            cannot.append((name, rival.why))
        else:
            panels[name] = rival.image, rival.caption
    gallery.originals[_PICTURE] = gallery.add(Image.fromarray(shown if upload is None else original))
    gallery.levels.append(title)
    gallery.tiles.append(
        {name: {_PICTURE: (gallery.add(Image.fromarray(image)), caption)} for name, (image, caption) in panels.items()}
    )
    text = html.render(
        "studio.html",
        title=title,
        gallery=asdict(gallery),
        legend=legend,
        marks=meanings,
        parts=info.parts,
        total=info.bytes,
        cannot=cannot,
        warnings=(*request.warnings, *decoded.warnings),
        name=f"{PurePath(upload.name).stem if upload else 'stream'}-{info.codec}.smp",
        stream="data:application/octet-stream;base64," + base64.b64encode(stream).decode(),
    )
    yield DisplayedStream(title, text, stream, reading.layers, info.codec, request.warnings)


def _swatch(kind: Provenance) -> str:
    """Return the background of a kind's mark in a legend, in CSS."""
    if kind not in marks.MARKS:
        return "none"
    tint, is_striped = marks.MARKS[kind]
    colour = "rgb({}, {}, {})".format(*tint)
    return f"repeating-linear-gradient(135deg, {colour} 0 3px, #222 3px 4px)" if is_striped else colour


@lru_cache(maxsize=1)
def _described(stream: bytes, models: tuple[str, ...]) -> tuple[Info, Reading]:
    """Read a stream, once for all the times that it is drawn in a row."""
    *others, last = (*models, None)
    for model in others:
        try:
            return api.describe(stream, model=model)
        except ModelError:
            continue  # it may need the next one
    return api.describe(stream, model=last)


def _bytes_used(stream: bytes, reading: Reading, layers: int | None) -> int:
    """Return the size of a stream without the layers that are not used, and then without protection."""
    left_out = 0 if layers is None else max(reading.layers - layers, 0)
    if not left_out:
        return len(stream)
    read = protection.read(stream)
    return len(container.write(read.header, read.sections[: len(read.sections) - left_out]))
