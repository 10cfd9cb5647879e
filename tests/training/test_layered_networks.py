"""The networks of the layered codec, and what its recipe does with their bits."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from sempic.codecs import layered as codec
from sempic.codecs.layered import LIMIT
from sempic.training import layered
from sempic.training.blocks import EXTRA, draw_layout, shrink
from sempic.training.layered import (
    CHANNELS,
    RATES,
    LayeredNetwork,
    LayeredRecipe,
    RateModel,
    at_rate,
    bits_of,
    interpolation,
    random_rates,
    soft_clip,
    strength_of,
)
from sempic.training.options import LayeredOptions


@pytest.fixture(scope="module")
def network() -> LayeredNetwork:
    torch.manual_seed(0)
    return LayeredNetwork(11).eval()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def scene(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    segmap = shrink(torch.randint(0, 12, (1, 64, 96)).repeat_interleave(count, 0), 11)
    layout = draw_layout(segmap, torch.rand(1, 3, 16, 24).expand(count, -1, -1, -1), torch.zeros(count, 1, 16, 24))
    return torch.rand(count, 3, 64, 96), segmap, layout


@torch.no_grad()
def test_pictures_come_back_at_every_rate(network):
    image, segmap, layout = scene(4)
    rate = torch.tensor([-1.0, 0.0, 1.5, 3.0])
    sent = network(image, segmap, layout, rate)
    assert sent.picture.shape == image.shape
    assert sent.latents.shape == sent.levels.shape == (4, CHANNELS, 4, 6)
    assert sent.bits.shape == (4, CHANNELS, 2 * LIMIT + 1, 4, 6)
    assert sent.levels.round().abs().max() <= LIMIT
    assert torch.equal(sent.bits, network.rate_model(sent.levels.round(), segmap, rate))


@torch.no_grad()
def test_nothing_sent_says_nothing_of_the_picture(network):
    image, segmap, layout = scene(2)
    sent = network(image, segmap, layout, torch.tensor([3.0, 3.0])).picture
    nothing = network(image, segmap, layout, torch.tensor([-1.0, -1.0])).picture
    assert not torch.equal(sent[0], sent[1])
    assert torch.allclose(nothing[0], nothing[1], atol=1e-5)


def test_gradients_reach_gains_and_encoder_through_the_rounding(network):
    image, segmap, layout = scene(1)
    network(image, segmap, layout, torch.tensor([2.5])).picture.sum().backward()
    for parameter in (network.project.weight, network.log_gains, network.log_inverse_gains):
        assert parameter.grad.abs().sum() > 0
    network.zero_grad()


def test_a_run_of_an_earlier_release_is_loaded(network):
    state = dict(network.state_dict())
    for new, old in (("log_inverse_gains", "log_returns"), ("rate_model.before", "pricing.before")):
        state[old] = state.pop(new) + 1
    fresh = LayeredNetwork(11)
    fresh.load_state_dict(state)
    assert torch.equal(fresh.log_inverse_gains, network.log_inverse_gains + 1)
    assert torch.equal(fresh.rate_model.before, network.rate_model.before + 1)


def test_it_has_at_most_20_million_parameters(network):
    assert sum(p.numel() for p in network.parameters()) <= 20e6
    assert network.decoder.embed4.body[0].in_channels == 11 + EXTRA


def test_the_codec_has_the_same_gains_and_strengths(network):
    tables = {"log_gains": torch.randn(RATES, CHANNELS).numpy()}
    theirs = codec.LayeredWeights(SimpleNamespace(tables=tables))
    for step in range(1, theirs.rates + 1):
        rate = torch.tensor([(step - 1) / codec.STEPS_BETWEEN])
        ours = at_rate(torch.from_numpy(tables["log_gains"]), rate)[0]
        assert np.allclose(ours.numpy(), theirs.at_rate("log_gains", step), rtol=1e-5)
        assert np.allclose(strength_of(rate).numpy(), theirs.strength(step))
    assert strength_of(torch.tensor([-1.0])).item() == theirs.strength(0)[0] == 0


def test_clipped_numbers_round_to_the_levels():
    values = soft_clip(torch.linspace(-100, 100, 1001))
    assert values.round().abs().max() == LIMIT
    assert torch.allclose(soft_clip(torch.tensor(0.01)), torch.tensor(0.01), rtol=1e-3)


# -- bits -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rate_model() -> RateModel:
    torch.manual_seed(1)
    made = RateModel(11)
    torch.nn.init.normal_(made.before)
    return made


@torch.no_grad()
def test_bits_are_those_of_a_distribution(rate_model):
    values = torch.randint(-LIMIT, LIMIT + 1, (2, CHANNELS, 5, 7)).float()
    bits = rate_model(values, torch.rand(2, 11, 20, 28), torch.tensor([0.0, 2.0]))
    assert torch.allclose((0.5**bits).sum(2), torch.ones(2, CHANNELS, 5, 7), atol=1e-5)


@torch.no_grad()
def test_no_bits_depend_on_what_is_coded_later(rate_model):
    segmap, rate = torch.rand(1, 11, 20, 28), torch.tensor([1.0])
    values = torch.zeros(1, CHANNELS, 5, 7)
    before = rate_model(values, segmap, rate)
    values[0, 3, 2, 3] = 2
    changed = (rate_model(values, segmap, rate) != before).any(2)[0]
    allowed = torch.zeros(CHANNELS, 5, 7, dtype=torch.bool)
    allowed[4:, 2, 3] = True  # later channels of the place
    allowed[:, 2, 4] = allowed[:, 3, 2:5] = True  # the places whose W, NE, N or NW it is
    assert torch.equal(changed, allowed)


def test_bits_are_interpolated_between_levels():
    bits = torch.arange(2 * LIMIT + 1).float().square()[None, None, :, None, None]
    for level in range(-LIMIT, LIMIT + 1):
        assert bits_of(bits, torch.full((1, 1, 1, 1), float(level))).item() == (level + LIMIT) ** 2
    level = torch.full((1, 1, 1, 1), 0.25, requires_grad=True)
    read = bits_of(bits, level)
    assert read.item() == pytest.approx(0.75 * 9 + 0.25 * 16)
    read.backward()
    assert level.grad.item() == 7


def test_rates_are_interpolated():
    rate = torch.tensor([-1.0, 0.0, 0.25, 3.0, 9.0])
    expected = [[1, 0, 0, 0], [1, 0, 0, 0], [0.75, 0.25, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    assert interpolation(rate).tolist() == expected


def test_rates_reach_from_nothing_to_the_highest():
    rates = random_rates(4000, np.random.default_rng(0))
    assert 0.03 < (rates == -1).float().mean() < 0.07
    sent = rates[rates >= 0]
    assert sent.max() <= RATES - 1
    assert 1.4 < sent.mean() < 1.6


def test_lambdas_rise_for_rates_that_take_too_many_bits():
    options = LayeredOptions()
    made = SimpleNamespace(adversaries=SimpleNamespace(log_lambdas=torch.full((RATES,), -7.0)), options=options)
    rate = torch.arange(RATES).float()
    bits = torch.tensor(options.bits) * torch.tensor([2.0, 1.0, 0.5, 1.5])
    LayeredRecipe._update_lambdas(made, bits, rate, interpolation(rate), Accelerator(cpu=True))
    change = made.adversaries.log_lambdas + 7
    assert change[0] > change[3] > 0
    assert change[1] == 0
    assert change[2] < 0
    for _ in range(4000):
        LayeredRecipe._update_lambdas(made, bits, rate, interpolation(rate), Accelerator(cpu=True))
    low, high = np.log(layered.LAMBDA_RANGE)
    assert made.adversaries.log_lambdas.tolist() == pytest.approx([high, -7, low, high], abs=1e-4)
