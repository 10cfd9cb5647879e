"""The papers' presets, from a folder that is laid out as Cityscapes to a stream that another process decodes.

Widths and pictures are small here, for the time that a test has. Steps are taken at the full depth, exports made of
shallow networks: each block, and above all each layer of attention in windows, takes its time to export.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from typer.testing import CliRunner

import sempic
from sempic import datasets, labels, runtime
from sempic.cli import app
from sempic.scene import draw
from sempic.taxonomy import VOID
from sempic.taxonomy import load as load_taxonomy
from sempic.training import config, tables
from sempic.training.sampler import Pool, Source
from sempic.training.spic import SpicRecipe

TAXONOMY = load_taxonomy("camvid11")

SMALL = ("batch=1", "accumulate=1", "steps=1", "crop=128", "precision=fp32", "workers=0")
PICTURE = "widths=[16,16,16,32]"
SHALLOW = ("blocks=[1,1]", "layers=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, with one street each in Cityscapes' splits `train` and `val`."""
    folder = tmp_path_factory.mktemp("paper")
    ids, known = np.zeros(256, np.uint8), TAXONOMY.ids_of(labels.CITYSCAPES)
    for number in labels.CITYSCAPES:
        ids[known[number]] = number
    for seed, split in enumerate(("train", "val")):
        drawn, name = draw(seed, 256, 128), f"bonn_{seed:06}_000019"
        for kind, ending, pixels in (
            ("leftImg8bit", "leftImg8bit", drawn.image),
            ("gtFine", "gtFine_labelIds", np.where(drawn.segmap == VOID, 0, ids[drawn.segmap])),
        ):
            path = folder / "cityscapes" / kind / split / "bonn" / f"{name}_{ending}.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


@pytest.fixture(autouse=True)
def _in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SEMPIC_DATA", str(folder))
    monkeypatch.setenv("SEMPIC_MODELS", str(folder / "models"))
    fit = tables.fit_network  # coding tables that know less take less time
    monkeypatch.setattr(tables, "fit_network", lambda *given, **more: fit(*given, **more | {"steps": 10, "width": 16}))


def run(*arguments: str) -> str:
    """Run a command in this process, which has loaded torch already."""
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def other_process(*arguments: str) -> str:
    command = [sys.executable, "-c", "from sempic.cli import main; main()", *arguments]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def round_trip(spec: str, model: str) -> None:
    """Encode a picture here and decode it in another process, which must draw the same."""
    image = draw(5, 200, 120).image
    stream = sempic.encode(image, spec)
    Path(f"{model}.smp").write_bytes(stream)
    other_process("decode", f"{model}.smp", "-o", f"{model}.png")
    drawn = np.asarray(Image.open(f"{model}.png"))
    assert drawn.shape == image.shape
    assert np.array_equal(drawn, sempic.decode(stream).image)


@pytest.mark.parametrize(
    ("recipe", "millions"), [("sqgan-paper-map", 77.3), ("sqgan-paper", 96.2), ("spic-paper", 332.2)]
)
def test_they_have_the_size_that_the_page_on_training_says(recipe, millions):
    with torch.device("meta"):
        options = config.load(recipe)
        network = options.recipe_type().network(options, TAXONOMY)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_sqgan_paper_takes_a_step_at_its_full_depth(folder):
    run("train", "sqgan-paper-image", *SMALL, PICTURE, "--out", "deep")
    saved = torch.load("deep/state.pt", weights_only=True)
    assert saved["step"] == 1
    assert sum(key.endswith("qkv.weight") for key in saved["networks"]) == 8
    assert sum(key.startswith("decoder.blocks8") and key.endswith("conv1.weight") for key in saved["networks"]) == 3
    for group in saved["optimisers"][0]["param_groups"]:
        assert (group["betas"], group["weight_decay"], group["peak"]) == ((0.5, 0.9), 0, 3.75e-4)


@pytest.mark.slow
def test_sqgan_paper_trains_and_goes_round(folder):
    run("train", "sqgan-paper-map", *SMALL, "widths=[16,16,32]", SHALLOW[1], "--out", "map")
    config.save(config.load("sqgan-paper", [*SMALL, PICTURE, *SHALLOW, "maps=map"]), Path("both"))
    run("train", "--resume", "both")  # stage 3 at once, without the other two inside its folder
    assert Image.open("both/step-000001.png").width > 100
    run("export", "both", "--out", "models/sqgan-tiny")
    training = runtime.model("sqgan-tiny", "sqgan").card.training
    assert (training["recipe"], training["options"]["through_tokens"]) == ("sqgan-paper", 1)
    assert training["map"]["recipe"] == "sqgan-paper-map"
    round_trip("sqgan:map=tokens+model=sqgan-tiny", "sqgan-tiny")

    printed = other_process(
        "bench", "cityscapes:val", "--codecs", "sqgan:model=sqgan-tiny", "--points", "q50",
        "--metrics", "psnr,miou", "--workers", "1",
    )  # fmt: skip
    assert "miou" in printed


@pytest.mark.slow
def test_spic_paper_trains_and_goes_round(folder):
    run("train", "spic-paper", *SMALL, PICTURE, SHALLOW[0], "--out", "spic")
    run("export", "spic", "--out", "models/spic-tiny")
    round_trip("spic:model=spic-tiny", "spic-tiny")


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_spic_paper_learns_from_the_error_in_the_noise_alone(noise):
    options = replace(config.load("spic-paper", [*SMALL, PICTURE]), noise=noise)
    drawn = draw(0, 128, 128)
    source = Source(datasets.Frame("", drawn.image, drawn.segmap), drawn.segmap, TAXONOMY)
    made = SpicRecipe(replace(options, crop=64), TAXONOMY, [Pool([source], 1.0)])
    before = [parameter.clone() for parameter in made.networks.parameters()]
    scalars = made.step(made.batch(np.random.default_rng(0)), 0.999, Accelerator(mixed_precision="no", cpu=True))
    assert scalars["noise"] > 0
    assert "generator" not in scalars
    after = made.networks.parameters()
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True)) == (noise > 0)
