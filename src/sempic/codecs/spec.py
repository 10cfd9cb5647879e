"""A codec with its settings as text: what every command, the bench and the studio understand.

    sqgan                                  a codec as it is
    sqgan:map=eighth+simplify=0.3          with settings, joined by +
    spic:scale=6+steps=4                   the options of decoding beside them, where no setting has the name
    hevc:protect=0.25                      and the share of error correction, which every codec has
    auto:map=half                          one codec or another, by the picture, with settings of the first

Names and types are read from the fields of a codec's `Settings` and `Options`: a new codec needs nothing here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from sempic.codecs import CODECS, codec
from sempic.codecs.base import Codec, Options, Settings
from sempic.errors import InputError
from sempic.link import protection

AUTO = "auto"
"""The name that stands for the codec `INSIDE` where a picture is of the kind that this was trained on, else for
`OUTSIDE`."""
INSIDE, OUTSIDE = "sqgan", "hevc"
PROTECT = "protect"
_Kind = TypeVar("_Kind", bound="Settings | Options")


@dataclass(frozen=True)
class Field:
    """A setting or an option of a codec: its name, type, default, and what it does."""

    name: str
    type: str
    default: Any
    about: str


@dataclass(frozen=True)
class CodecInfo:
    """A codec: its name, one line about it, whether it needs a model, its settings and its options of decoding."""

    name: str
    about: str
    learnt: bool
    settings: tuple[Field, ...]
    options: tuple[Field, ...]


@dataclass(frozen=True)
class Spec:
    """A codec with settings, options of decoding and a share of protection; `text` is what was parsed.

    outside: the codec, with its default settings, that takes the place of `codec` for pictures that are not of the kind
        that this was trained on; None if `codec` is to take all.
    """

    text: str
    codec: Codec
    settings: Settings
    options: Options = field(default_factory=Options)
    protect: float = 0.0
    outside: Codec | None = None

    @classmethod
    def parse(cls, text: str, more: Iterable[str] | Mapping[str, Any] = ()) -> Spec:
        """Read a text as above, with further settings on top: `key=value` texts, or values by name.

        Raises `InputError` for a codec, a setting or a value that is unknown, with a list of what is known.
        """
        name, _, rest = text.strip().partition(":")
        given = _pairs(filter(None, rest.split("+")))
        given |= dict(more) if isinstance(more, Mapping) else _pairs(more)
        if name != AUTO:
            return cls.of(codec(name), given)
        spec = cls.of(codec(INSIDE), given)
        return replace(spec, text=AUTO + spec.text.removeprefix(INSIDE), outside=codec(OUTSIDE))

    @classmethod
    def of(cls, codec: Codec, given: Mapping[str, Any]) -> Spec:
        """Return a codec with settings by name, as values or as texts; raise `InputError` as `parse` does."""
        known = {one.name for one in fields(codec.Settings)}
        decodes = {one.name for one in _of_user(codec.Options)} - known
        share = given.get(PROTECT, False)
        if isinstance(share, str):
            share = _value(share, PROTECT, (float,))
        if unknown := sorted(given.keys() - known - decodes - {PROTECT}):
            names = ", ".join((*sorted(known), *sorted(decodes), PROTECT))
            raise InputError(f"'{unknown[0]}' is not a setting of the codec {codec.name}; it knows {names}.")
        text = codec.name + "".join(
            f"{'+' if place else ':'}{name}={value}" for place, (name, value) in enumerate(given.items())
        )
        return cls(
            text,
            codec,
            _made(codec.Settings, {name: value for name, value in given.items() if name in known}),
            _made(codec.Options, {name: value for name, value in given.items() if name in decodes}),
            protection.share_of(share),
        )

    def with_settings(self, **given: Any) -> Spec:
        """Return the same with settings replaced; those that the codec does not have are left out."""
        known = {one.name for one in fields(self.settings)}
        return replace(self, settings=replace(self.settings, **{k: v for k, v in given.items() if k in known}))

    @property
    def label(self) -> str:
        """The text with spaces, as a title and as the name of files, without the slashes of paths."""
        name, _, rest = self.text.partition(":")
        return " ".join((name, *filter(None, rest.split("+")))).replace("/", "_")

    @property
    def given(self) -> dict[str, Any]:
        """What the text sets beside the codec, by name and in its order: numbers as such, all else as text."""
        _, _, rest = self.text.partition(":")
        return {name: _number(value) for name, value in _pairs(filter(None, rest.split("+"))).items()}

    @property
    def model(self) -> str | None:
        """The model that the settings name; None for the default one, and for a codec without models."""
        return getattr(self.settings, "model", "") or None


def options_of(codec: Codec, given: Iterable[str]) -> Options:
    """Return a codec's options of decoding from `key=value` texts; raise `InputError` as `Spec.parse` does."""
    options, known = _pairs(given), [one.name for one in _of_user(codec.Options)]
    if unknown := sorted(options.keys() - known):
        raise InputError(
            f"'{unknown[0]}' is not an option of decoding of the codec {codec.name}; "
            f"it knows {', '.join(known) or 'none'}."
        )
    return _made(codec.Options, options)


def parse_all(text: str) -> list[Spec]:
    """Read specs that are separated by commas, each of one codec."""
    parts = re.split(rf",\s*(?=(?:{'|'.join((*CODECS, AUTO))})\s*(?:[:,]|$))|,(?![^:,]*=)", text)
    specs = [Spec.parse(one) for one in parts]
    if any(spec.outside for spec in specs):
        raise InputError(f"{AUTO} is another codec for each kind of picture; name {INSIDE} or {OUTSIDE} here.")
    return specs


def codecs() -> list[CodecInfo]:
    """Return all codecs with their settings and options of decoding."""
    return [about(name) for name in CODECS]


def about(name: str) -> CodecInfo:
    """Return a codec with its settings and options; raise `InputError` for an unknown name."""
    if name == AUTO:
        return replace(about(INSIDE), name=AUTO, about=f"{INSIDE} for what it was trained on, {OUTSIDE} for the rest.")
    made = codec(name)
    settings = _fields(made.Settings, [one.name for one in fields(made.Settings)])
    options = _fields(made.Options, [one.name for one in _of_user(made.Options)])
    summary = (inspect.getdoc(type(made)) or "").partition("\n")[0]
    return CodecInfo(name, summary, made.learnt, settings, options)


def _of_user(options: type[Options]) -> list[Any]:
    """Return the fields of options that a text can hold: not what is for programs, such as `progress`."""
    base = {one.name for one in fields(Options)}
    return [one for one in fields(options) if one.name not in base]


def _fields(kind: type[Any], names: list[str]) -> tuple[Field, ...]:
    texts = _documented(kind)
    return tuple(
        Field(one.name, str(one.type), None if one.default is MISSING else one.default, texts.get(one.name, ""))
        for one in fields(kind)
        if one.name in names
    )


def _documented(kind: type[Any]) -> dict[str, str]:
    """Return the text about each field in the docstring of a dataclass, in paragraphs such as `name: text`."""
    found: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(kind) or "").splitlines():
        if start := re.fullmatch(r"(\w+): (.*)", line):
            name = start[1]
            found[name] = start[2]
        elif name and line.startswith("    "):
            found[name] += " " + line.strip()
        else:
            name = ""
    return found


def _pairs(texts: Iterable[str]) -> dict[str, Any]:
    """Return the names and values in `key=value` texts; the last one of a name counts."""
    found = {}
    for text in texts:
        key, given, value = text.partition("=")
        if not given:
            raise InputError(f"'{text}' is no setting; write key=value.")
        found[key.strip()] = value.strip()
    return found


def _number(text: str) -> Any:
    """Return a text as a number if it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _made(kind: type[_Kind], given: Mapping[str, Any]) -> _Kind:
    """Return settings or options, with texts turned into what their fields hold."""
    hints = get_type_hints(kind)
    return kind(
        **{
            name: _value(value, name, get_args(hints[name]) or (hints[name],)) if isinstance(value, str) else value
            for name, value in given.items()
        }
    )


def _value(text: str, name: str, kinds: tuple[Any, ...]) -> Any:
    """Return a text as a value of one of the types."""
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                continue
    if bool in kinds and text in ("true", "false"):
        return text == "true"
    if any(isinstance(kind, type) and issubclass(kind, str | Path) for kind in kinds):
        return text
    names = {int: "a whole number", float: "a number", bool: "true or false"}
    takes = " or ".join(names[kind] for kind in kinds if kind in names)
    raise InputError(f"'{text}' is no value of {name}; it takes {takes}.")
