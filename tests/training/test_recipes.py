"""Recipes and the loop: a step of each, and exact resumption."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from stand_in import scene
from torch import nn

from sempic.datasets import Frame
from sempic.errors import InputError
from sempic.taxonomy import CAMVID11
from sempic.training import recipe_segment
from sempic.training.loop import Options, Recipe, learning_rate, load_ema, train
from sempic.training.recipe_layered import LayeredRecipe
from sempic.training.recipe_segment import SegmentRecipe, evaluate, predict
from sempic.training.recipe_spic import SpicRecipe
from sempic.training.recipe_sqgan import ImageRecipe, MapRecipe
from sempic.training.sampler import Sampler, Source
from sempic.training.segmenters import Judge, Segmenter
from sempic.training.sqgan import MapStream


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _without_imagenet(monkeypatch):
    """Random weights do here, and load faster."""
    for name, network in (("Segmenter", Segmenter), ("Judge", Judge)):
        monkeypatch.setattr(recipe_segment, name, lambda classes, made=network: made(classes, pretrained=False))


def frames(width: int = 96, height: int = 72) -> list[Frame]:
    drawn = [scene(seed, width, height) for seed in range(2)]
    return [Frame(f"scene-{i}", s.image, s.segmap) for i, s in enumerate(drawn)]


def sampler(crop: int = 128) -> Sampler:
    labelled, photo = frames(192, 144)
    photo = Frame("photo", photo.image, None)
    predicted = np.where(labelled.segmap == 255, 3, labelled.segmap).astype(np.uint8)
    return Sampler([Source(labelled, predicted)], [Source(photo, predicted)], crop, 0.65)


def segmenter() -> Segmenter:
    return Segmenter(len(CAMVID11), pretrained=False)


def recipe(name: str) -> Recipe:
    torch.manual_seed(0)
    if name in ("segmenter", "judge"):
        return SegmentRecipe(frames(), judge=name == "judge", batch_size=2, crop=64)
    if name == "sqgan-map":
        return MapRecipe(sampler(), batch_size=2)
    if name == "layered":
        return LayeredRecipe(sampler(), segmenter(), batch_size=2)
    if name == "spic":
        return SpicRecipe(sampler(), segmenter(), batch_size=2)
    map_stream = MapStream(len(CAMVID11)) if name == "sqgan-predicted" else None
    return ImageRecipe(sampler(), segmenter(), name == "sqgan-predicted", map_stream, batch_size=1)


@pytest.mark.parametrize(
    "name", ["segmenter", "judge", "sqgan-map", "sqgan-image", "sqgan-predicted", "layered", "spic"]
)
def test_a_step_of_each_recipe_changes_the_weights_and_reports(name):
    made = recipe(name)
    before = {key: value.clone() for key, value in made.networks.state_dict().items()}
    adversaries = {key: value.clone() for key, value in made.adversaries.state_dict().items()}
    batch = list(made.batch(np.random.default_rng(0)))
    if name == "sqgan-predicted":
        batch[-1] = torch.tensor(0.1)  # through the map's own tokens
    scalars = made.step(batch, 0.5, Accelerator(mixed_precision="no", cpu=True))
    assert scalars
    for key, value in scalars.items():
        assert value.isfinite(), key
        assert value.shape == (), key
        assert not value.requires_grad, key
    after = made.networks.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    learnt = [key for key, parameter in made.networks.named_parameters() if parameter.requires_grad]
    changed = [key for key in learnt if not torch.equal(before[key], after[key])]
    assert len(changed) > 0.9 * len(learnt)
    if name in ("sqgan-image", "sqgan-predicted", "layered", "spic"):
        assert scalars["balance"] > 0
        assert any(not torch.equal(adversaries[key], value) for key, value in made.adversaries.state_dict().items())


def test_the_critic_is_never_trained():
    made = recipe("sqgan-image")
    critic = {key: value.clone() for key, value in made.critic.state_dict().items()}
    made.step(made.batch(np.random.default_rng(0)), 0.0, Accelerator(mixed_precision="no", cpu=True))
    assert all(torch.equal(critic[key], value) for key, value in made.critic.state_dict().items())


def test_the_discriminator_waits_for_its_turn():
    made = recipe("sqgan-image")
    made.adversarial_from = 0.4
    before = {key: value.clone() for key, value in made.adversaries.state_dict().items()}
    scalars = made.step(made.batch(np.random.default_rng(0)), 0.3, Accelerator(mixed_precision="no", cpu=True))
    assert "fooling" not in scalars
    assert all(torch.equal(before[key], value) for key, value in made.adversaries.state_dict().items())


def test_a_sampler_without_rare_things_or_photos_works():
    frame = Frame("plain", np.full((64, 64, 3), 90, np.uint8), np.full((64, 64), 3, np.uint8))
    for photos in ([], [Source(Frame("photo", frame.image, None), frame.segmap)]):
        plain = Sampler([Source(frame, frame.segmap)], photos, 32, 0.5)
        images, _, labels, _ = plain.draw(8, False, np.random.default_rng(0))
        assert images.shape == (8, 3, 32, 32)
        assert (labels == 3).all()


# -- the loop ---------------------------------------------------------------------------------------------------------


class Tiny(Recipe):
    """A recipe that costs nothing, with everything that a checkpoint has to keep."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.networks = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 1, 1))
        self.adversaries = nn.Linear(1, 1)
        self.optimisers = [
            torch.optim.AdamW(self.networks.parameters(), lr=1e-2),
            torch.optim.AdamW(self.adversaries.parameters(), lr=1e-2),
        ]
        self.rates: list[float] = []

    def batch(self, rng):
        return [torch.from_numpy(rng.normal(size=(2, 3, 8, 8)).astype(np.float32))]

    def step(self, batch, progress, accelerator):
        self.rates.append(self.optimisers[0].param_groups[0]["lr"])
        out = self.networks(batch[0]).mean().reshape(1)
        loss = (self.adversaries(out) - 1).square().mean() + out.square().mean()
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        accelerator.backward(loss)
        for optimiser in self.optimisers:
            optimiser.step()
        return {"loss": loss.detach(), "one": torch.tensor(1.0)}


def run(made: Recipe, out: Path, steps: int, stop_after: int | None = None, **options) -> bool:
    """Train; `stop_after` ends the run as --max-minutes does, after so many steps of this call."""
    counted = made.step
    left = [stop_after]

    def step(*arguments):
        if left[0] is not None:
            left[0] -= 1
            if left[0] == 0:
                clock[0] += 1e6
        return counted(*arguments)

    clock = [0.0]
    made.step = step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sempic.training.loop.time.monotonic", lambda: clock[0])
        minutes = None if stop_after is None else 1.0
        return train(made, out, Options(steps, minutes, precision="no", **options), say=lambda line: None)


def equal(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return one == other


@pytest.mark.parametrize("name", ["tiny", "segmenter", "sqgan-map", "sqgan-predicted"])
def test_a_run_that_was_stopped_goes_on_exactly(tmp_path, name):
    steps = 4 if name != "sqgan-predicted" else 2
    whole, halves = tmp_path / "whole", tmp_path / "halves"

    def made() -> Recipe:
        return Tiny() if name == "tiny" else recipe(name)

    assert run(made(), whole, steps)
    assert not run(made(), halves, steps, stop_after=steps // 2)
    assert torch.load(halves / "state.pt", weights_only=True)["step"] == steps // 2
    assert run(made(), halves, steps)
    one, other = (torch.load(folder / "state.pt", weights_only=True) for folder in (whole, halves))
    for part in ("step", "networks", "ema", "adversaries", "optimisers"):
        assert equal(one[part], other[part]), part


def test_a_finished_run_is_left_as_it_is(tmp_path):
    assert run(Tiny(), tmp_path, 3)
    state = (tmp_path / "state.pt").read_bytes()
    assert run(Tiny(), tmp_path, 3)
    assert (tmp_path / "state.pt").read_bytes() == state


def test_a_run_goes_on_only_with_the_same_steps_and_seed(tmp_path):
    run(Tiny(), tmp_path, 3)
    for steps, seed in ((4, 0), (3, 1)):
        with pytest.raises(InputError, match="go on with the same"):
            run(Tiny(), tmp_path, steps, seed=seed)


def test_the_log_averages_over_the_steps_that_it_names(tmp_path):
    run(Tiny(), tmp_path, 10, stop_after=3, log_every=4)
    run(Tiny(), tmp_path, 10, log_every=4)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [4, 8, 10]
    assert [row["one"] for row in rows] == [1, 1, 1]


def test_the_averaged_weights_follow_and_can_be_loaded(tmp_path):
    made = Tiny()
    start = [p.clone() for p in made.networks.parameters()]
    run(made, tmp_path, 5)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    fresh = Tiny().networks
    assert load_ema(tmp_path, fresh) == 5
    for averaged, first, (name, last) in zip(
        fresh.parameters(), start, [(n, state["networks"][n]) for n, _ in fresh.named_parameters()], strict=True
    ):
        assert not torch.equal(averaged, first), name
        assert (averaged - last).norm() < (first - last).norm(), name
    assert torch.equal(fresh[1].running_mean, state["networks"]["1.running_mean"])


def test_the_learning_rate_warms_up_and_falls_and_survives_a_stop(tmp_path):
    rates = [learning_rate(step, 1000, 2.0) for step in range(1000)]
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) == pytest.approx(2.0, rel=0.03)
    assert rates.index(max(rates)) in (99, 100)
    assert 0.04 <= rates[-1] < 0.041
    whole, first, second = Tiny(), Tiny(), Tiny()
    run(whole, tmp_path / "whole", 6)
    run(first, tmp_path / "halves", 6, stop_after=3)
    run(second, tmp_path / "halves", 6)
    assert first.rates + second.rates == whole.rates


# -- measuring --------------------------------------------------------------------------------------------------------


class Perfect(nn.Module):
    """Reads the class off the red channel, at a quarter of the size."""

    def forward(self, x):
        ids = (x[:, 0, ::4, ::4] * 255 / 20).round().long()
        return nn.functional.one_hot(ids, 11).movedim(-1, 1).float()


def test_miou_is_1_for_a_perfect_guess_and_void_does_not_count():
    ids = np.kron(np.arange(11)[:, None] + np.zeros((1, 2)), np.ones((16, 16))).astype(np.uint8)
    image = np.stack([ids * 20] * 3, 2)
    assert np.array_equal(predict(Perfect(), image)[8::16], ids[8::16])
    inner = np.full_like(ids, 255)
    inner[6::16] = ids[6::16]  # away from borders, where the answer is interpolated
    miou, iou = evaluate(Perfect(), [Frame("", image, inner)])
    assert miou == 1
    assert (iou == 1).all()
    inner[6] = 5  # one of eleven rows is labelled wrong
    miou, iou = evaluate(Perfect(), [Frame("", image, inner)])
    assert iou[0] == 0
    assert iou[5] == 0.5
    assert miou == pytest.approx(9.5 / 11)


def test_the_command_line_helps():
    done = subprocess.run([sys.executable, "-m", "sempic.training", "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
    assert "export" in done.stdout


def test_a_run_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="holds no checkpoint"):
        load_ema(tmp_path, MapStream(11))
