"""Recipes as files, settings on top of them, and the configuration that a run keeps."""

from __future__ import annotations

import json

import pytest

from sempic import taxonomy
from sempic.errors import InputError
from sempic.training import config
from sempic.training.options import KINDS, ImageOptions, LayeredOptions, by_class

CAMVID, CITYSCAPES = taxonomy.load("camvid11"), taxonomy.load("cityscapes19")


def test_each_recipe_loads_and_differs_from_the_defaults_where_it_says_so():
    assert {"segmenter", "judge", "sqgan-map", "sqgan-image", "sqgan", "layered", "spic"} <= set(config.recipes())
    for name in config.recipes():
        options = config.load(name)
        assert options.recipe == name
        assert options.taxonomy == "camvid11"
        assert type(options) is KINDS[options.kind]
    assert config.load("layered").adversarial_from == 0.15
    assert config.load("layered").mse == LayeredOptions().mse == 2.0
    assert config.load("sqgan").predicted
    assert not config.load("sqgan-image").predicted
    assert by_class(config.load("sqgan-map").importance, CAMVID)[CAMVID.id_of("sky")] == 0.7
    assert by_class(config.load("spic").importance, CAMVID)[-1] == 1
    for stages in config.STAGES.values():
        assert set(stages) <= set(config.recipes())


def test_numbers_by_class_are_those_of_the_shipped_models():
    """In the order sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist, void."""
    expected = {
        ("sqgan", "importance"): (1, 1, 2, 1, 1, 0.6, 3, 1, 1.5, 3, 3, 1),
        ("sqgan", "relaxation"): (0, 0, 0, 0, 0, 0.15, 0, 0, 0, 0, 0, 0),
        ("sqgan-map", "importance"): (0.7, 1, 1.5, 1, 1, 0.7, 2, 1, 1, 2, 2, 1),
        ("sqgan-paper", "importance"): (0, 0.15, 0.15, 0.15, 0.15, 0, 1, 0.15, 0.15, 0.55, 0.55, 0.15),
        ("sqgan-paper", "relaxation"): (0.85, 0.425, 0, 0, 0, 0.85, 0, 0, 0, 0, 0, 0),
        ("sqgan-paper-map", "importance"): (0.2, 0.5, 0.5, 0.5, 0.5, 0.2, 1, 0.5, 0.5, 0.85, 0.85, 0.5),
        ("spic-paper", "importance"): (0,) * 12,
    }
    for (recipe, option), numbers in expected.items():
        assert by_class(getattr(config.load(recipe), option), CAMVID) == numbers, recipe


def test_numbers_go_by_the_names_of_classes():
    importance = by_class(config.load("layered", ["taxonomy=cityscapes19"]).importance, CITYSCAPES)
    assert len(importance) == 20
    named = dict(zip((*CITYSCAPES.classes, "void"), importance, strict=True))
    assert (named["traffic sign"], named["person"], named["vegetation"], named["road"]) == (3, 3, 0.6, 1)
    given = config.load("layered", ['importance={others=1, "traffic sign"=7, sky=2, void=0}']).importance
    assert given == {"others": 1.0, "traffic sign": 7.0, "sky": 2.0, "void": 0.0}
    assert by_class(given, CAMVID) == (2, *[1] * 10, 0)
    assert config.load("layered", ['pasted=["sign"]']).pasted == ("sign",)


def test_a_taxonomy_may_be_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"name": "mine", "classes": {"river": [0, 0, 255], "rock": [9, 9, 9]}}))
    options = config.load("layered", [f"taxonomy={path}", "importance={others=1, river=2}"])
    assert by_class(options.importance, taxonomy.load(str(path))) == (2, 1, 1)
    with pytest.raises(InputError, match="has a number for 'river'; camvid11 has sky, building"):
        config.load("layered", ["importance={others=1, river=2}"])


def test_settings_come_on_top():
    options = config.load(
        "layered", ["steps=7", "learning_rate=1", "bits=[1, 2, 3, 4.5]", "data=folder:x=2,photos", "tensorboard=true"]
    )
    assert (options.steps, options.learning_rate, options.bits) == (7, 1.0, (1.0, 2.0, 3.0, 4.5))
    assert isinstance(options.learning_rate, float)
    assert options.data == "folder:x=2,photos"
    assert options.tensorboard
    assert config.relevant(["steps=7", "bits=[1,2,3,4]"], "sqgan-map") == ["steps=7"]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("stepz=3", "'stepz' is not known; it can be taxonomy, data, "),
        ("kind=spic", "'kind' is not known"),
        ("steps=1.5", "its default is 10000"),
        ("steps=true", "'steps' cannot be true"),
        ("ema=many", "its default is 0.998"),
        ("tensorboard=1", "its default is false"),
        ("bits=[1, 2]", r"its default is \[2.0"),
        ("steps", "say key=value"),
        ("steps=0", "must be above 0"),
        ("learning_rate=nan", "must be above 0"),
        ("precision=fp8", "bf16, fp16, fp32"),
        ("widths=[16, 16, 16, 20]", "multiples of 16"),
        ("crop=100", "multiple of 32"),
        ("ema=1", "below 1"),
        ("blocks=[0, 2]", "at least 1"),
        ("betas=[0.9, 1]", "'betas' must be from 0"),
        ("importance=[1, 2]", "its default is { others = 1.0, sign = 3.0"),
        ("importance={others=1, sign=many}", "cannot be "),
        ("importance={sign=1}", "must have a number for 'others'"),
        ("importance={others=1, sing=3}", "a number for 'sing'; camvid11 has sky, "),
        ("taxonomy=ade", "'ade' is not a taxonomy; known are camvid11, cityscapes19"),
        ("pasted=sign", r"its default is \["),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(setting, sentence):
    with pytest.raises(InputError, match=sentence):
        config.load("layered", [setting])


def test_a_recipe_may_be_a_file_of_ones_own(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text('kind = "sqgan-image"\ntaxonomy = "camvid11"\nwidths = [16, 32, 32, 64]\n')
    expected = ImageOptions(recipe="own", kind="sqgan-image", taxonomy="camvid11", widths=(16, 32, 32, 64))
    assert config.load(str(own)) == expected
    own.write_bytes(b"\xef\xbb\xbf" + own.read_bytes())  # the byte-order mark that editors of Windows write
    assert config.load(str(own)) == expected
    for text, sentence in (
        ('kind = "x"', "of kind 'x'; there are segmenter"),
        ("steps = ", "cannot be read"),
        ('kind = "spic"\nspeed = 3', "'speed' is not known"),
        ('kind = "spic"', "'' is not a taxonomy; known are"),
    ):
        own.write_text(text)
        with pytest.raises(InputError, match=sentence):
            config.load(str(own))
    with pytest.raises(InputError, match=r"no recipe; there are judge, layered"):
        config.load("absent.toml")


def test_a_run_keeps_its_configuration(tmp_path):
    options = config.load("spic", ["steps=3", "widths=[16, 32, 32, 64]"])
    config.save(options, tmp_path / "run")
    assert config.of_run(tmp_path / "run") == options
    assert "widths = [16, 32, 32, 64]" in config.describe(options)
    assert "importance = { others = 1.0, sign = 3.0, " in config.describe(options)
    with pytest.raises(InputError, match="no training run"):
        config.of_run(tmp_path)
    (tmp_path / "run" / config.FILE).write_text(json.dumps({"kind": "spic", "speed": 3}))
    with pytest.raises(InputError, match="no usable"):
        config.of_run(tmp_path / "run")


def test_what_is_described_is_a_recipe(tmp_path):
    options = config.load("layered", ["steps=3", 'importance={others=1, "traffic sign"=2}'])
    (tmp_path / "layered.toml").write_text(config.describe(options))
    assert config.load(str(tmp_path / "layered.toml")) == options


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("camvid=0.65,photos=0.35", "camvid:val"),
        ("photos,cityscapes:train", "cityscapes:val"),
        ("folder:x=2", "folder:x"),
    ],
)
def test_what_is_looked_at_follows_from_the_data(data, expected):
    assert config.validation(config.load("spic", [f"data={data}"])) == expected
    assert config.validation(config.load("spic", [f"data={data}", "validation=photos"])) == "photos"
