"""The sampler against distributions whose denoiser is known exactly, and what else drawing by diffusion needs."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from sempic.codecs import sampler


def gaussian(mean, deviation):
    """D(x; σ) of pictures that are normally distributed."""

    def D(x, sigma):
        return mean + (x - mean) * deviation**2 / (deviation**2 + sigma**2)

    return D


def exact(x, mean, deviation, start, end):
    """Where the probability flow of the same leads."""
    return mean + (x - mean) * np.sqrt((deviation**2 + end**2) / (deviation**2 + start**2))


def error(steps, mean, deviation, sigma_max):
    """How far the sampler ends from the exact solution at σ_min, in shares of the way."""
    sigma = sampler.schedule(steps + 1, 0.01, sigma_max)[:-1]  # without the last step, which is of first order
    x = np.array(mean + sigma_max)
    truth = exact(x, mean, deviation, sigma_max, sigma[-1])
    return abs(sampler.dpm_solver(gaussian(mean, deviation), x.copy(), sigma) - truth) / abs(x - truth)


@given(st.floats(-1, 2), st.floats(0.05, 0.5), st.floats(0.3, 5))
@budget(max_examples=50, deadline=None)
def test_errors_fall_with_the_square_of_the_steps(mean, deviation, sigma_max):
    errors = [error(steps, mean, deviation, sigma_max) for steps in (64, 128, 256)]
    assert errors[-1] < 1e-3
    for one, other in pairwise(errors):
        assert one / other > 3.3 or one < 1e-9


def test_single_steps_one_after_another_are_of_first_order():
    def first_order(D, x, sigma):
        for pair in pairwise(sigma):
            x = sampler.dpm_solver(D, x, pair)
        return x

    sigma = [sampler.schedule(n + 1, 0.01, 1.0)[:-1] for n in (64, 128)]
    truth = exact(1.5, 0.5, 0.2, 1.0, 0.01)
    errors = [abs(first_order(gaussian(0.5, 0.2), np.array(1.5), levels) - truth) for levels in sigma]
    assert 1.7 < errors[0] / errors[1] < 2.3


@given(st.integers(20, 50), st.integers(0, 2**32 - 1))
@budget(max_examples=20, deadline=None)
def test_samples_have_the_distribution_that_the_denoiser_knows(steps, seed):
    sigma = sampler.schedule(steps, 0.005, 3.0)
    x = 0.4 + 3.0 * sampler.noise(seed, 48, 48)
    drawn = sampler.dpm_solver(gaussian(0.4, 0.15), x, sigma)
    assert drawn.dtype == np.float32
    assert abs(drawn.mean() - 0.4) < 0.02
    assert abs(drawn.std() / 0.15 - 1) < 0.08


@given(st.integers(2, 50), st.floats(0.001, 0.1), st.floats(0.2, 80))
def test_levels_fall_from_the_highest_to_the_lowest_and_then_to_nothing(steps, low, high):
    sigma = sampler.schedule(steps, low, high)
    assert len(sigma) == steps + 1
    assert sigma == sorted(sigma, reverse=True)
    assert sigma[0] == pytest.approx(high)
    assert sigma[-2:] == [pytest.approx(low), 0]
    roots = np.array(sigma[:-1]) ** (1 / 7)
    assert np.allclose(np.diff(roots), roots[1] - roots[0])


def test_one_step_is_one_look_at_the_highest_level():
    calls, done = [], []

    def D(x, sigma):
        calls.append(sigma)
        return x / 2

    x = np.ones((1, 3, 16, 16), np.float32)
    assert np.array_equal(sampler.dpm_solver(D, x, sampler.schedule(1, 0.1, 0.7), done.append), x / 2)
    assert calls == [pytest.approx(0.7)]
    sampler.dpm_solver(D, x, sampler.schedule(5, 0.1, 0.7), done.append)
    assert len(calls) == 6
    assert done == [1, 1, 2, 3, 4, 5]


def test_guidance_goes_beyond_the_condition_and_costs_nothing_at_1():
    given, null = (lambda x, sigma: x + 1), (lambda x, sigma: x)
    assert sampler.guided(given, null, 1) is given
    for w in (0, 0.5, 2):
        assert sampler.guided(given, null, w)(np.zeros(1), 0.5) == w


def test_noise_is_the_same_in_another_process():
    code = "from sempic.codecs.sampler import noise; print(repr(noise(7, 32, 48)[0, :, 5, 9].tolist()))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = sampler.noise(7, 32, 48)
    assert out.strip() == repr(here[0, :, 5, 9].tolist())
    assert here.dtype == np.float32
    assert abs(here.mean()) < 0.05
    assert abs(here.std() - 1) < 0.05
    assert not np.array_equal(here, sampler.noise(8, 32, 48))


def test_colours_follow_the_guide_and_texture_stays():
    rng = np.random.default_rng(0)
    guide = np.full((1, 3, 64, 80), 0.5, np.float32)
    texture = rng.normal(0, 0.1, guide.shape).astype(np.float32)
    shifted = guide + texture + np.array([0.2, -0.1, 0], np.float32)[:, None, None]
    kept = sampler.keep_colours(shifted, guide)
    assert np.abs((kept - guide).mean((2, 3))).max() < 0.005
    assert np.corrcoef((kept - guide).ravel(), texture.ravel())[0, 1] > 0.98
    assert np.array_equal(sampler.keep_colours(guide, guide), guide)
