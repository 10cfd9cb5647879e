"""Recipes and the loop: a step of each, and exact resumption."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from stand_in import scene
from torch import nn
from torch.export import Dim

from sempic import taxonomy
from sempic.datasets import Frame
from sempic.errors import InputError, TrainingError
from sempic.training import gan, perceptual, preview, segmenters, weights
from sempic.training.loop import Recipe, learning_rate, load_ema, train
from sempic.training.options import KINDS, PASTED, RunOptions, SegmenterOptions
from sempic.training.sampler import CropSampler, Pool, Source
from sempic.training.segmenters import JudgeRecipe, SegmenterNetwork, SegmenterRecipe, evaluate
from sempic.training.spic import SIGMA_MAX, SIGMA_MIN
from sempic.training.sqgan import MapStream

TAXONOMY = taxonomy.load("camvid11")
SMALL = (16, 16, 32, 32)
"""Widths that make no picture, but every layer's gradients, in a fraction of the time."""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _random_weights(monkeypatch):
    """Random weights do here, and load faster."""
    for kind in (SegmenterRecipe, JudgeRecipe):
        monkeypatch.setattr(kind, "architecture", partial(kind.architecture, pretrained=False))
    network = perceptual.PerceptualNetwork(SegmenterNetwork(len(TAXONOMY), pretrained=False))
    monkeypatch.setattr(gan.perceptual, "installed", lambda taxonomy: network)


def frames(width: int = 96, height: int = 72) -> list[Frame]:
    drawn = [scene(seed, width, height) for seed in range(2)]
    return [Frame(f"scene-{i}", s.image, s.segmap) for i, s in enumerate(drawn)]


def pools() -> list[Pool]:
    return [Pool([Source(frame, frame.segmap, TAXONOMY) for frame in frames()], 1.0)]


def mixed() -> list[Pool]:
    """A labelled picture and one without labels."""
    labelled, photo = frames(192, 144)
    photo = Frame("photo", photo.image, None)
    predicted = np.where(labelled.segmap == 255, 3, labelled.segmap).astype(np.uint8)
    return [Pool([Source(frame, predicted, TAXONOMY)], share) for frame, share in ((labelled, 0.65), (photo, 0.35))]


def recipe(name: str, **given) -> Recipe:
    """Make a small recipe of a kind; "sqgan-predicted" is the image stream on predicted segmaps."""
    torch.manual_seed(0)
    predicted = name == "sqgan-predicted"
    kind = KINDS["sqgan-image" if predicted else name]
    small = {"widths": (16, 16, 32) if name == "sqgan-map" else SMALL} if hasattr(kind, "widths") else {}
    if issubclass(kind, SegmenterOptions):
        return kind.recipe_type()(kind(kind=name, batch=2, crop=64, **given), TAXONOMY, pools())
    more = (
        {"adversarial_from": 0.0, "predicted": predicted, "batch": 1} if "image" in name or predicted else {"batch": 2}
    )
    made = kind.recipe_type()(kind(**small | more | given), TAXONOMY, mixed())
    if predicted:
        made.map_stream = MapStream(len(TAXONOMY), (16, 16, 32)).eval().requires_grad_(False)
    return made


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


def test_chains_of_spic_start_with_most_noise_and_noised_originals_stand_alone():
    made, rng = recipe("spic"), np.random.default_rng(0)
    drawn = [made.batch(rng)[-1] for _ in range(30)]
    assert {len(levels) for levels in drawn} == {1, 2, 3}
    for levels in drawn:
        assert (levels[0] == SIGMA_MAX).all()
        assert (levels[:-1] > levels[1:]).all()
        assert (levels >= SIGMA_MIN).all()
    made.options = replace(made.options, chain=1)
    alone = torch.stack([made.batch(rng)[-1] for _ in range(30)])
    assert alone.shape == (30, 1, 2)
    assert 0.4 < (alone == SIGMA_MAX).float().mean() < 0.8


def test_later_passes_of_spic_see_what_the_earlier_ones_drew():
    made, seen = recipe("spic"), []
    made.networks.register_forward_hook(lambda network, given, drawn: seen.append((given, drawn.detach())))
    *shown, _ = made.batch(np.random.default_rng(0))
    levels = torch.tensor([[SIGMA_MAX] * 2, [0.1] * 2, [0.05] * 2])
    made.step([*shown, levels], 0.0, Accelerator(mixed_precision="no", cpu=True))
    assert len(seen) == 3
    passes = zip(levels, seen, strict=True)
    for (sigma, ((before, *_), drawn)), (lower, ((after, *_), _)) in pairwise(passes):
        fall = (lower / sigma).reshape(-1, 1, 1, 1)
        assert torch.allclose(after, drawn + fall * (before - drawn), atol=1e-6)


def test_a_segmenter_learns_from_labelled_pictures_alone():
    photo = Frame("photo", frames()[0].image, None)
    mixed = [*pools(), Pool([Source(photo, np.zeros((72, 96), np.uint8), TAXONOMY)], 9.0)]
    made = SegmenterRecipe(SegmenterOptions(batch=4, crop=64), TAXONOMY, mixed)
    _, labels = made.batch(np.random.default_rng(0))
    assert (labels != 255).any((1, 2)).all()
    with pytest.raises(InputError, match="None of the pictures has labels"):
        SegmenterRecipe(SegmenterOptions(), TAXONOMY, mixed[1:])


def test_the_perceptual_network_is_never_trained():
    made = recipe("sqgan-image")
    before = {key: value.clone() for key, value in made.perceptual.state_dict().items()}
    made.step(made.batch(np.random.default_rng(0)), 0.0, Accelerator(mixed_precision="no", cpu=True))
    assert all(torch.equal(before[key], value) for key, value in made.perceptual.state_dict().items())


def test_the_discriminator_waits_for_its_turn():
    made = recipe("sqgan-image", adversarial_from=0.4)
    before = {key: value.clone() for key, value in made.adversaries.state_dict().items()}
    scalars = made.step(made.batch(np.random.default_rng(0)), 0.3, Accelerator(mixed_precision="no", cpu=True))
    assert "generator" not in scalars
    assert all(torch.equal(before[key], value) for key, value in made.adversaries.state_dict().items())


def test_what_is_drawn_past_white_is_pulled_back_but_never_pushed_further():
    made = recipe("sqgan-image", adversarial_from=1.0, perceptual=0.0, semantic=0.0, colour=0.0)
    decoded = torch.tensor([1.1, 0.5, 1.1]).reshape(1, 3, 1, 1).expand(1, 3, 64, 64).clone().requires_grad_()
    labels = torch.zeros(1, 64, 64, dtype=torch.long)
    accelerator = Accelerator(mixed_precision="no", cpu=True)
    for original, wanted in ((1.0, 0), (0.4, 1)):
        decoded.grad = None
        images = torch.full((1, 3, 64, 64), original)
        made.update(decoded, decoded, images, labels, decoded.sum() * 0, 0.0, accelerator)
        assert decoded.grad is not None
        assert (decoded.grad[:, [0, 2]].sign() == wanted).all()


def test_a_sampler_without_rare_things_or_photos_works():
    frame = Frame("plain", np.full((64, 64, 3), 90, np.uint8), np.full((64, 64), 3, np.uint8))
    for photos in ([], [Source(Frame("photo", frame.image, None), frame.segmap, TAXONOMY)]):
        found = [Pool([Source(frame, frame.segmap, TAXONOMY)], 1), *[Pool([photo], 1) for photo in photos]]
        plain = CropSampler(found, TAXONOMY, 32, PASTED, tint=1.0)
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
        accelerator.backward(loss)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()
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
        return train(made, out, RunOptions(steps=steps, precision="fp32", **options), minutes)


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


def test_workers_draw_the_same_batches(tmp_path):
    for workers in (0, 1):
        run(recipe("sqgan-map"), tmp_path / str(workers), 3, workers=workers)
    one, other = (torch.load(tmp_path / n / "state.pt", weights_only=True) for n in ("0", "1"))
    assert equal(one["networks"], other["networks"])


def test_batches_accumulate_until_an_update(tmp_path):
    """Two batches of one weigh as one batch of their mean gradient, and an update follows the last of them alone."""

    class Plain(Tiny):
        def __init__(self):
            super().__init__()
            self.networks = nn.Conv2d(3, 1, 8)
            self.optimisers = [torch.optim.SGD(self.networks.parameters(), lr=0.1)]

        def batch(self, rng):
            drawn.append(torch.from_numpy(rng.normal(size=(1, 3, 8, 8)).astype(np.float32)))
            return drawn[-1:]

        def step(self, batch, progress, accelerator):
            before.append(self.networks.weight.detach().clone())
            accelerator.backward(self.networks(batch[0]).square().mean())
            self.optimisers[0].step()
            self.optimisers[0].zero_grad()
            return {"loss": torch.tensor(float(len(drawn)))}

    drawn, before = [], []
    made = Plain()
    first = copy.deepcopy(made.networks)
    run(made, tmp_path, 1, accumulate=2, warm_up=0)
    assert torch.equal(before[0], before[1])
    sum(first(x).square().mean() / 2 for x in drawn).backward()
    assert torch.allclose(made.networks.weight, first.weight - 0.1 * first.weight.grad, atol=1e-6)
    (row,) = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())
    assert row["loss"] == 1.5


@pytest.mark.parametrize("what", ["loss", "weight"])
def test_what_is_no_longer_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path, what):
    run(Tiny(), tmp_path, 6, stop_after=3)
    good = (tmp_path / "state.pt").read_bytes()
    made = Tiny()
    inner = made.step

    def step(batch, progress, accelerator):
        scalars = inner(batch, progress, accelerator)
        if what == "weight":
            with torch.no_grad():
                made.networks[0].weight[0] = torch.nan
            return {"loss": torch.tensor(1.0)}
        return scalars | {"loss": torch.tensor(torch.inf)}

    made.step = step
    with pytest.raises(TrainingError, match=r"no longer a finite number at step 6; the last good checkpoint"):
        run(made, tmp_path, 6)
    assert (tmp_path / "state.pt").read_bytes() == good
    with pytest.raises(TrainingError, match="there is no checkpoint yet"):
        run(made, tmp_path / "new", 6)


@pytest.mark.parametrize("name", ["segmenter", "sqgan-map", "sqgan-image", "layered", "spic"])
def test_a_preview_has_three_panels_of_one_shape(name):
    drawn = frames(150, 100)[0]
    source = Source(drawn, np.where(drawn.segmap == 255, 3, drawn.segmap).astype(np.uint8), TAXONOMY)
    made = recipe(name)
    with torch.no_grad():
        panels = made.preview(made.networks.eval(), source)
    assert len(panels) == 3
    for _, picture in panels:
        assert picture.dtype == np.uint8
        assert picture.shape[:2] in ((128, 128), (32, 32))


def test_a_preview_is_of_the_middle_of_a_picture():
    plane = np.arange(100)[:, None] + 1000 * np.arange(900)[None]
    middle = preview.window(plane)
    assert middle.shape == (128, 384)
    assert (middle[0, 0], middle[-1, -1]) == (258000, 641099)
    assert (middle[:14, 0] == 258000).all()


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
        ids = (x[:, 0, ::4, ::4] * 255 / 20).round().long().clamp(max=10)
        return nn.functional.one_hot(ids, 11).movedim(-1, 1).float()


def test_miou_is_1_for_a_perfect_guess_and_void_does_not_count(tmp_path):
    ids = np.kron(np.arange(11)[:, None] + np.zeros((1, 2)), np.ones((16, 16))).astype(np.uint8)
    image = np.stack([ids * 20] * 3, 2)
    h, w = 32 * Dim("h", min=1, max=256), 32 * Dim("w", min=1, max=256)
    perfect = tmp_path / "perfect.onnx"
    weights.write(
        segmenters.FullSize(Perfect()),
        perfect,
        {"image": torch.rand(1, 3, 64, 96)},
        ["logits"],
        {"image": {2: h, 3: w}},
    )
    inner = np.full_like(ids, 255)
    inner[6::16] = ids[6::16]  # away from borders, where the answer is interpolated
    score = evaluate(perfect, [Frame("", image, inner)], TAXONOMY)
    assert score.miou() == 1
    assert (score.per_class() == 1).all()
    inner[6] = 5  # one of eleven rows is labelled wrong
    score = evaluate(perfect, [Frame("", image, inner)], TAXONOMY)
    assert score.per_class()[0] == 0
    assert score.per_class()[5] == 0.5
    assert score.miou() == pytest.approx(9.5 / 11)
    inner[:] = 255
    inner[6] = 0  # of the classes that are not there, nothing is counted
    assert evaluate(perfect, [Frame("", image, inner)], TAXONOMY).miou() == 1


def test_a_run_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="holds no checkpoint"):
        load_ema(tmp_path, MapStream(11))
