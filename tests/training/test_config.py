"""Recipes as files, settings on top of them, and the configuration that a run keeps."""

from __future__ import annotations

import json

import pytest

from sempic.errors import InputError
from sempic.taxonomy import CAMVID11
from sempic.training import config
from sempic.training.config import ImageOptions, LayeredOptions


def test_each_recipe_loads_and_differs_from_the_defaults_where_it_says_so():
    assert {"segmenter", "judge", "sqgan-map", "sqgan-image", "sqgan", "layered", "spic"} <= set(config.recipes())
    for name in config.recipes():
        options = config.load(name)
        assert options.recipe == name
        assert type(options) is config.KINDS[options.kind]
    assert config.load("layered").adversarial_from == 0.15
    assert config.load("layered").squares == LayeredOptions().squares == 2.0
    assert config.load("sqgan").predicted
    assert not config.load("sqgan-image").predicted
    assert config.load("sqgan-map").importance[CAMVID11.id_of("sky")] == 0.7
    assert config.load("spic").importance[-1] == 1
    for stages in config.STAGES.values():
        assert set(stages) <= set(config.recipes())


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
        ("stepz=3", "'stepz' is not known; it can be data, "),
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
        ("importance=[1, 2]", r"its default is \[1.0, 1.0, 2.0"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(setting, sentence):
    with pytest.raises(InputError, match=sentence):
        config.load("layered", [setting])


def test_a_recipe_may_be_a_file_of_ones_own(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text('kind = "sqgan-image"\nwidths = [16, 32, 32, 64]\n')
    assert config.load(str(own)) == ImageOptions(recipe="own", kind="sqgan-image", widths=(16, 32, 32, 64))
    for text, sentence in (
        ('kind = "x"', "of kind 'x'; there are segmenter"),
        ("steps = ", "cannot be read"),
        ('kind = "spic"\nspeed = 3', "'speed' is not known"),
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
    with pytest.raises(InputError, match="no training run"):
        config.of_run(tmp_path)
    (tmp_path / "run" / config.FILE).write_text(json.dumps({"kind": "spic", "speed": 3}))
    with pytest.raises(InputError, match="no usable"):
        config.of_run(tmp_path / "run")


def test_what_is_described_is_a_recipe(tmp_path):
    options = config.load("layered", ["steps=3"])
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
