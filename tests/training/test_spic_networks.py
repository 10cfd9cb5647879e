"""The denoiser of SPIC, and the coarse pictures that its recipe makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from stand_in import scene

from sempic import runtime
from sempic.training.spic import SIGMA_DATA, SIGMA_MAX, SIGMA_MIN, DenoiserNetwork, SpicRecipe, coarse_pictures


@pytest.fixture
def network() -> DenoiserNetwork:
    torch.manual_seed(0)
    return DenoiserNetwork(11).eval()


def inputs(count: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    segmap = F.one_hot(torch.randint(0, 11, (count, 16, 24)), 11).movedim(-1, 1).float()
    return torch.rand(count, 3, 64, 96), torch.rand(count, 3, 16, 24), segmap


def test_it_has_at_most_20_million_parameters(network):
    assert sum(p.numel() for p in network.parameters()) <= 20e6


@torch.no_grad()
def test_without_noise_the_picture_is_itself(network):
    noisy, coarse, segmap = inputs()
    assert torch.allclose(network(noisy, coarse, segmap, torch.tensor([1e-6])), noisy, atol=1e-3)


@torch.no_grad()
def test_in_noise_alone_the_picture_hardly_counts(network):
    noisy, coarse, segmap = inputs()
    wide = F.interpolate(coarse, scale_factor=4, mode="bilinear")
    share = SIGMA_DATA**2 / (SIGMA_MAX**2 + SIGMA_DATA**2)
    assert share < 0.03
    one, other = (network(wide + n, coarse, segmap, torch.tensor([1e3])) for n in (noisy - wide, wide - noisy))
    assert (one - other).abs().mean() < 0.01 * (noisy - wide).abs().mean()
    assert SIGMA_MIN < SIGMA_DATA / 2


@torch.no_grad()
def test_at_the_highest_level_no_noise_passes(network):
    noisy, coarse, segmap = inputs()
    wide = F.interpolate(coarse, scale_factor=4, mode="bilinear")
    network._draw = lambda *given: wide
    assert torch.equal(network(noisy, coarse, segmap, torch.tensor([SIGMA_MAX])), wide)
    assert torch.equal(network(noisy, coarse, segmap, torch.tensor([1e3])), wide)


@torch.no_grad()
def test_each_picture_has_its_own_noise_level_and_map(network):
    torch.nn.init.normal_(network.known.weight, std=0.1)
    noisy, coarse, segmap = inputs(2)
    segmap[1] = 0
    together = network(noisy, coarse, segmap, torch.tensor([0.05, 0.4]))
    for n, sigma in enumerate((0.05, 0.4)):
        alone = network(noisy[n : n + 1], coarse[n : n + 1], segmap[n : n + 1], torch.tensor([sigma]))
        assert torch.allclose(together[n : n + 1], alone, atol=1e-4)


def test_training_can_start_from_the_encoder_and_decoder_of_another_codec(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    SpicRecipe.restore(network, runtime.default("sqgan"))
    after = network.state_dict()
    assert not torch.equal(before["encoder.stem.weight"], after["encoder.stem.weight"])
    assert not torch.equal(before["decoder.out.weight"], after["decoder.out.weight"])
    assert torch.equal(before["at16.weight"], after["at16.weight"])


@pytest.mark.parametrize("scale", [3, 4, 6])
def test_coarse_pictures_are_small_pictures(scale):
    pixels = np.stack([scene(seed, 96, 64).image for seed in range(3)])
    coarse = coarse_pictures(pixels, scale, 20)
    assert coarse.shape == (3, 3, 16, 24)
    means = pixels.reshape(3, 16, 4, 24, 4, 3).mean((2, 4)).transpose(0, 3, 1, 2) / 255
    assert np.abs(coarse.numpy() - means).mean() < 0.06
    assert 0 <= coarse.min() <= coarse.max() <= 1
