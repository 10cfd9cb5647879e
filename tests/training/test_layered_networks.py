"""The networks of the layered codec, and what its recipe does with their bits."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from sempic.codecs import layered_latents as codec
from sempic.codecs.layered_latents import LIMIT, STEPS_BETWEEN
from sempic.segmap import resample
from sempic.taxonomy import VOID
from sempic.taxonomy import load as load_taxonomy
from sempic.training import layered
from sempic.training.blocks import EXTRA, draw_layout, shrink
from sempic.training.latents import (
    CHANNELS,
    GAINS,
    RATES,
    RateModel,
    at_rate,
    bits_of,
    interpolation,
    rates_of,
    soft_clip,
    strength_of,
)
from sempic.training.layered import LayeredNetwork, LayeredRecipe, random_rates
from sempic.training.options import LayeredOptions


@pytest.fixture(scope="module")
def network() -> LayeredNetwork:
    torch.manual_seed(0)
    made = LayeredNetwork(11).eval()
    torch.nn.init.normal_(made.enter_fine[-1].weight, std=0.1)  # as if it were trained
    return made


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def scene(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    segmap = shrink(torch.randint(0, 12, (1, 64, 96)).repeat_interleave(count, 0), 11)
    layout = draw_layout(segmap, torch.rand(1, 3, 16, 24).expand(count, -1, -1, -1), torch.zeros(count, 1, 16, 24))
    return torch.rand(count, 3, 64, 96), segmap, layout


@torch.no_grad()
def test_pictures_come_back_at_every_rate(network):
    rate = torch.tensor([-1.0, 0.0, 1.5, 3.0, 4.0, 5.5, 7.0])
    image, segmap, layout = scene(len(rate))
    out = network(image, segmap, layout, rate)
    assert out.picture.shape == image.shape
    kinds = (out.base, network.base, (4, 6)), (out.fine, network.fine, (8, 12))
    for (sent, coder, size), own_rate in zip(kinds, rates_of(rate), strict=True):
        assert sent.latents.shape == sent.levels.shape == sent.received.shape == (len(rate), CHANNELS, *size)
        assert sent.bits.shape == (len(rate), CHANNELS, 2 * LIMIT + 1, *size)
        assert sent.levels.round().abs().max() <= LIMIT
        assert torch.equal(sent.bits, coder.rate_model(sent.levels.round(), segmap, own_rate))
        expected = sent.levels.round() * at_rate(coder.log_inverse_gains, own_rate)
        is_sent = own_rate >= 0
        assert torch.allclose(sent.received[is_sent], expected[is_sent])
        assert not sent.received[~is_sent].any()


@torch.no_grad()
def test_nothing_sent_says_nothing_of_the_picture(network):
    image, segmap, layout = scene(2)
    sent = network(image, segmap, layout, torch.tensor([3.0, 3.0])).picture
    nothing = network(image, segmap, layout, torch.tensor([-1.0, -1.0])).picture
    assert not torch.equal(sent[0], sent[1])
    assert torch.allclose(nothing[0], nothing[1], atol=1e-5)


@torch.no_grad()
def test_fine_latents_change_the_picture_where_they_are_sent(network):
    image, segmap, layout = scene(2)
    layout = layout[:1].expand(2, -1, -1, -1)
    base, fine = (network(image, segmap, layout, torch.full((2,), rate)) for rate in (3.0, 7.0))
    assert torch.equal(base.base.received, fine.base.received)
    assert (base.picture - fine.picture).abs().amax() > 1e-3
    strengths = strength_of(torch.full((2,), 3.0)), torch.zeros(2)
    unsent = network.decode(base.base.received, fine.fine.received, *strengths, layout)
    assert torch.allclose(unsent, base.picture, atol=1e-5)


@torch.no_grad()
def test_fine_latents_add_nothing_before_they_are_trained():
    fresh = LayeredNetwork(11).eval()
    image, segmap, layout = scene(1)
    base, fine = (fresh(image, segmap, layout, torch.tensor([rate])).picture for rate in (3.0, 7.0))
    assert torch.allclose(base, fine, atol=1e-6)


@pytest.mark.parametrize(("part", "rate"), [("base", 2.5), ("fine", 6.5)])
def test_gradients_reach_gains_and_encoder_through_the_rounding(network, part, rate):
    image, segmap, layout = scene(1)
    network(image, segmap, layout, torch.tensor([rate])).picture.sum().backward()
    coder = getattr(network, part)
    for parameter in (coder.project.weight, coder.log_gains, coder.log_inverse_gains):
        assert parameter.grad.abs().sum() > 0
    network.zero_grad()


def test_it_has_at_most_20_million_parameters(network):
    assert sum(p.numel() for p in network.parameters()) <= 20e6
    assert network.decoder.embed4.body[0].in_channels == 11 + EXTRA


def test_the_codec_has_the_same_gains_and_strengths(network):
    gains = {name: torch.randn(RATES, CHANNELS) for name in GAINS}
    theirs = codec.LayeredWeights(SimpleNamespace(tables={name: gain.numpy() for name, gain in gains.items()}))
    latents = 3 * torch.randn(1, CHANNELS, 4, 6)
    for step in range(1, theirs.rates + 1):
        rate = torch.tensor([(step - 1) / STEPS_BETWEEN])
        for name, gain in gains.items():
            assert np.allclose(at_rate(gain, rate)[0].numpy(), theirs.at_rate(*name.split("."), step), rtol=1e-5)
        assert np.allclose(strength_of(rate).numpy(), theirs.strength(step))
        for part in codec.PLACES:
            levels = soft_clip(latents * at_rate(gains[f"{part}.log_gains"], rate))[0].numpy()
            assert np.abs(theirs.quantise(part, latents[0].numpy(), step) - levels).max() < 0.5 + 1e-4
    assert theirs.rates == layered.RATE_STEPS
    assert strength_of(torch.tensor([-1.0])).item() == theirs.strength(0)[0] == 0


def test_clipped_numbers_round_to_the_levels():
    values = soft_clip(torch.linspace(-100, 100, 1001))
    assert values.round().abs().max() == LIMIT
    assert torch.allclose(soft_clip(torch.tensor(0.01)), torch.tensor(0.01), rtol=1e-3)


# -- bits -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rate_model() -> RateModel:
    torch.manual_seed(1)
    made = RateModel(11, 4)
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


def test_rates_of_the_codec_are_those_of_the_base_and_then_of_fine_latents():
    base, fine = rates_of(torch.tensor([-1.0, 0.0, 2.5, 3.0, 4.0, 5.5, 7.0]))
    assert base.tolist() == [-1, 0, 2.5, 3, 3, 3, 3]
    assert fine.tolist() == [-1, -1, -1, -1, 0, 1.5, 3]


def test_rates_reach_from_nothing_to_the_highest():
    rates = random_rates(4000, np.random.default_rng(0))
    assert layered.NOTHING - 0.02 < (rates == -1).float().mean() < layered.NOTHING + 0.02
    base, fine = rates[(rates >= 0) & (rates < RATES)], rates[rates >= RATES]
    assert len(base) + len(fine) + (rates == -1).sum() == len(rates)
    assert layered.BASE - 0.03 < len(base) / len(rates) < layered.BASE + 0.03
    assert base.max() <= RATES - 1
    assert 1.4 < base.mean() < 1.6
    assert fine.max() <= 2 * RATES - 1
    assert 5.4 < fine.mean() < 5.6


@pytest.mark.parametrize("number", [0, 1])
def test_lambdas_rise_for_rates_that_take_too_many_bits(number):
    options = LayeredOptions()
    made = SimpleNamespace(adversaries=SimpleNamespace(log_lambdas=torch.full((2, RATES), -7.0)), options=options)
    targets = (options.bits, options.fine_bits)[number]
    # The last picture is sent without these latents: it does not count.
    rate = torch.tensor([0.0, 1.0, 2.0, 3.0, -1.0])
    bits = torch.tensor([*targets, 0.0]) * torch.tensor([2.0, 1.0, 0.5, 1.5, 0.0])
    for _ in range(2):
        LayeredRecipe._update_lambdas(made, bits, rate, targets, number, Accelerator(cpu=True))
    change = made.adversaries.log_lambdas[number] + 7
    assert change[0] > change[3] > 0
    assert change[1] == 0
    assert change[2] < 0
    for _ in range(4000):
        LayeredRecipe._update_lambdas(made, bits, rate, targets, number, Accelerator(cpu=True))
    low, high = np.log(layered.LAMBDA_RANGE)
    assert made.adversaries.log_lambdas[number].tolist() == pytest.approx([high, -7, low, high], abs=1e-4)
    assert (made.adversaries.log_lambdas[1 - number] == -7).all()


@pytest.mark.parametrize("number", [0, 1])
def test_bits_count_for_16x16_pixels_and_only_where_latents_are_sent(network, number):
    rate = torch.tensor([1.0, 6.0, -1.0])
    out = network(*scene(3), rate)
    sent, own_rate = out[1 + number], rates_of(rate)[number]
    lambdas = torch.full((2, RATES), -7.0)
    made = SimpleNamespace(adversaries=SimpleNamespace(log_lambdas=lambdas), options=LayeredOptions())
    loss, bits = LayeredRecipe._rate_loss(made, sent, own_rate, number)
    whole = (sent.levels.round() + LIMIT).long()[:, :, None]
    every = sent.bits.gather(2, whole).sum((1, 2, 3, 4)) / (4 * 6)  # the picture has 4×6 squares of 16×16
    assert torch.allclose(bits, every * (own_rate >= 0), rtol=1e-4)
    assert (bits > 0).tolist() == [not number, True, False]
    loss.backward()
    coder = (network.base, network.fine)[number]
    assert coder.rate_model.around[0].weight.grad.abs().sum() > 0
    assert coder.project.weight.grad.abs().sum() > 0
    network.zero_grad()


def test_tables_are_fitted_on_latents_with_the_classes_under_them(network):
    rng, classes = np.random.default_rng(0), load_taxonomy("camvid11")
    predicted = rng.integers(0, 12, (5, 7)).repeat(16, 0).repeat(16, 1).astype(np.uint8)
    predicted[predicted == 11] = VOID
    frame = SimpleNamespace(image=rng.integers(0, 256, (80, 112, 3), np.uint8))
    source = SimpleNamespace(predicted=predicted, frame=frame, taxonomy=classes)
    base, fine = layered._samples(network, [source, source])
    for found, factor in ((base, 16), (fine, 8)):
        assert len(found) == 4
        for levels, ids, rate in found:
            assert levels.shape == (CHANNELS, 80 // factor, 112 // factor)
            assert np.abs(levels).max() <= LIMIT
            assert np.array_equal(ids, resample.shrink(predicted, factor))
            assert 0 <= rate < layered.RATE_STEPS
