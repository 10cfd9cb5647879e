"""Codecs with settings as text: every field can be set, and what is unknown is named together with what is known."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

import sempic
from sempic.codecs import CODECS, base, codec, layered, spic, sqgan
from sempic.codecs.spec import CodecInfo, Spec, about, options_of, parse_all
from sempic.errors import InputError

VALUES: dict[str, tuple[str, Any]] = {
    "map": ("half", "half"),
    "map_kept": ("0.4", 0.4),
    "simplify": ("0.2", 0.2),
    "keep": ("pedestrian=1,sky=0", "pedestrian=1,sky=0"),
    "model": ("folder/of/mine", "folder/of/mine"),
    "segmenter": ("hf:org/name@v1", "hf:org/name@v1"),
    "classes": ("names.txt", "names.txt"),
    "segmap": ("labels.png", "labels.png"),
    "layers": ("3", 3),
    "seed": ("7", 7),
    "steps": ("4", 4),
    "guidance": ("1.5", 1.5),
}
"""A text for each setting and option, and what it stands for."""


def value_of(name: str, field: str) -> tuple[str, Any]:
    if field == "scale":
        return ("6", 6) if name == "spic" else ("half", "half")
    return VALUES[field]


@pytest.mark.parametrize("name", CODECS)
def test_every_setting_can_be_written_as_text(name: str) -> None:
    info = about(name)
    assert [one.name for one in info.settings] == [one.name for one in fields(codec(name).Settings)]
    for one in info.settings:
        text, value = value_of(name, one.name)
        assert value != one.default
        spec = Spec.parse(f"{name}:{one.name}={text}")
        assert getattr(spec.settings, one.name) == value
        assert spec == Spec.parse(f" {name} ", [f"{one.name} = {text}"])
        assert Spec.parse(name, {one.name: value}).settings == spec.settings
        assert Spec.of(codec(name), {one.name: text}).settings == spec.settings
        assert all(getattr(spec.settings, other.name) is other.default for other in info.settings if other != one)
        assert spec.options == codec(name).Options()


@pytest.mark.parametrize("name", CODECS)
def test_every_option_of_decoding_can_be_written_as_text(name: str) -> None:
    info, made = about(name), codec(name)
    for_programs = {one.name for one in fields(base.Options)}
    assert [one.name for one in info.options] == [
        one.name for one in fields(made.Options) if one.name not in for_programs
    ]
    for one in info.options:
        text, value = value_of(name, one.name)
        options = options_of(made, [f"{one.name}={text}"])
        assert type(options) is made.Options
        assert getattr(options, one.name) == value
        if one.name not in [setting.name for setting in info.settings]:
            assert Spec.parse(f"{name}:{one.name}={text}").options == options


def test_every_field_says_what_it_does() -> None:
    for info in sempic.codecs():
        assert info.about
        for one in (*info.settings, *info.options):
            assert len(one.about) > 20, f"{info.name}: {one.name}"
            assert one.type


def test_codecs_are_listed_with_their_settings() -> None:
    found = sempic.codecs()
    assert all(isinstance(one, CodecInfo) for one in found)
    assert [one.name for one in found] == list(CODECS)
    assert [one.name for one in found if one.learnt] == ["sqgan", "layered", "spic"]
    (seed,) = [one for one in about("spic").settings if one.name == "seed"]
    assert (seed.type, seed.default) == ("int", 0)
    assert seed.about == "what the noise is made from, 0 to 255, unless the decoder chooses another."
    (kept,) = [one for one in about("sqgan").settings if one.name == "keep"]
    assert kept.about.endswith("towards 0 fewer.")


def test_settings_options_and_protection_stand_beside_each_other() -> None:
    spec = Spec.parse("spic:map=eighth+simplify=0.3+steps=4+protect=0.25+seed=9", ["steps=5", "guidance=2"])
    assert spec.settings == spic.Settings(map="eighth", simplify=0.3, seed=9)
    assert spec.options == spic.Options(steps=5, guidance=2.0)
    assert spec.protect == 0.25
    assert spec.codec is codec("spic")
    assert spec.text == "spic:map=eighth+simplify=0.3+steps=5+protect=0.25+seed=9+guidance=2"
    assert spec.label == "spic map=eighth simplify=0.3 steps=5 protect=0.25 seed=9 guidance=2"
    assert spec.given == {"map": "eighth", "simplify": 0.3, "steps": 5, "protect": 0.25, "seed": 9, "guidance": 2}


def test_a_label_names_a_file() -> None:
    assert Spec.parse("sqgan:segmenter=hf:org/net+classes=/my/names.txt").label == (
        "sqgan segmenter=hf:org_net classes=_my_names.txt"
    )


def test_a_name_alone_has_all_defaults() -> None:
    spec = Spec.parse("layered")
    assert (spec.text, spec.label, spec.protect, spec.model) == ("layered", "layered", 0.0, None)
    assert spec.settings == layered.Settings()
    assert spec.options == base.Options()


def test_a_model_is_what_the_settings_name() -> None:
    assert Spec.parse("sqgan:model=mine").model == "mine"
    assert Spec.parse("sqgan").model is None
    assert Spec.parse("hevc").model is None


def test_settings_can_be_replaced_where_the_codec_has_them() -> None:
    spec = Spec.parse("sqgan:map=half").with_settings(model="mine", layers=3)
    assert spec.settings == sqgan.Settings(map="half", model="mine")
    assert Spec.parse("hevc").with_settings(model="mine") == Spec.parse("hevc")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("jpg", "'jpg' is not a codec; known are sqgan, layered, spic, hevc"),
        ("", "'' is not a codec"),
        ("sqgan:mapp=half", "'mapp' is not a setting of the codec sqgan; it knows classes, keep, map, map_kept, model"),
        ("hevc:map=half", "'map' is not a setting of the codec hevc; it knows scale, protect."),
        ("layered:steps=3", "'steps' is not a setting of the codec layered"),
        ("sqgan:progress=1", "'progress' is not a setting"),
        ("sqgan:map", "'map' is no setting; write key=value."),
        (
            "sqgan:map=sixteenth",
            "The segmap's size can be auto, full, half, quarter, eighth or tokens, not 'sixteenth'.",
        ),
        ("layered:map=tokens", "can be auto, full, half, quarter or eighth, not 'tokens'"),
        ("sqgan:simplify=much", "'much' is no value of simplify; it takes a number."),
        ("layered:layers=2.5", "'2.5' is no value of layers; it takes a whole number."),
        ("layered:layers=9", "not 9"),
        ("spic:steps=much", "'much' is no value of steps; it takes a whole number."),
        ("spic:steps=51", "from 0 to 50"),
        ("spic:seed=x", "'x' is no value of seed; it takes a whole number."),
        ("hevc:scale=eighth", "not 'eighth'"),
        ("hevc:protect=much", "'much' is no value of protect; it takes a number."),
        ("hevc:protect=2", "share of protection is 2.0"),
    ],
)
def test_what_is_unknown_is_named(text: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        Spec.parse(text)
    with pytest.raises(InputError, match=re.escape(says)):
        parse_all(f"hevc,{text}" if text else text)


def test_options_of_decoding_that_are_unknown_are_named() -> None:
    with pytest.raises(InputError, match=r"'step' is not an option .* spic; it knows steps, guidance, seed"):
        options_of(codec("spic"), ["step=3"])
    with pytest.raises(InputError, match=r"'map' is not an option .* sqgan; it knows none"):
        options_of(codec("sqgan"), ["map=half"])
    with pytest.raises(InputError, match="from 0 to 50"):
        options_of(codec("spic"), ["steps=51"])


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("sqgan", ["sqgan"]),
        ("sqgan,hevc", ["sqgan", "hevc"]),
        ("sqgan, hevc ,jpeg2000", ["sqgan", "hevc", "jpeg2000"]),
        ("sqgan:keep=car=1,sky=0,hevc", ["sqgan:keep=car=1,sky=0", "hevc"]),
        ("hevc,sqgan:keep=car=1,sky=0", ["hevc", "sqgan:keep=car=1,sky=0"]),
        ("sqgan:keep=car=1,sky=0+map=half,hevc:scale=half", ["sqgan:keep=car=1,sky=0+map=half", "hevc:scale=half"]),
        ("spic:steps=2,spic:steps=4", ["spic:steps=2", "spic:steps=4"]),
    ],
)
def test_several_are_separated_by_commas(text: str, texts: list[str]) -> None:
    assert [spec.text for spec in parse_all(text)] == texts


def test_a_codec_of_ones_own_is_parsed_like_the_others() -> None:
    """Names and types are read from the fields: nothing else has to know them."""

    @dataclass(frozen=True)
    class Settings(base.Settings):
        """How to.

        depth: how deep, in pixels,
            from above.
        """

        depth: int = 3
        exact: bool = False
        file: Path | None = None

    @dataclass(frozen=True)
    class Options(base.Options):
        tint: float | None = None

    class Own(type(codec("hevc"))):  # type: ignore[misc]
        name = "own"

    Own.Settings, Own.Options = Settings, Options
    spec = Spec.of(Own(), {"depth": "5", "exact": "true", "file": "a.bin", "tint": "2", "protect": "0.5"})
    assert spec.settings == Settings(5, True, "a.bin")  # type: ignore[arg-type]
    assert spec.options == Options(tint=2.0)
    assert spec.text == "own:depth=5+exact=true+file=a.bin+tint=2+protect=0.5"
    with pytest.raises(InputError, match="'maybe' is no value of exact; it takes true or false"):
        Spec.of(Own(), {"exact": "maybe"})
    with pytest.raises(InputError, match="it knows depth, exact, file, tint, protect"):
        Spec.of(Own(), {"width": 3})
