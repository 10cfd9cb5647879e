"""Drawing by diffusion: noise, a solver of few steps, guidance, and colours that stay.

A picture is noised as x = picture + σ·n with n of variance 1, and a denoiser D(x; σ) gives the picture to be expected
under the noise: the notation is that of Karras, Aittala, Aila and Laine, "Elucidating the Design Space of
Diffusion-Based Generative Models" (2022). Pictures are 1×3×H×W in [0,1]; noised ones go beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import expm1, log
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sempic.codecs.tiles import CELL, enlarged

RHO = 7
"""How much the noise levels crowd towards the small ones."""
PART = 1 << 18
"""Values that a step changes at a time, which bounds its memory."""

Array = NDArray[Any]
Denoise = Callable[[Array, float], Array]
"""D(x; σ): the picture to be expected from a noised one, at its noise level."""


def noise(seed: int, height: int, width: int) -> NDArray[np.float32]:
    """Return noise of variance 1 for a picture, the same for a seed (0 or more) on every machine."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    return generator.standard_normal((1, 3, height, width), np.float32)


def schedule(steps: int, sigma_min: float, sigma_max: float) -> list[float]:
    """Return the noise levels of so many steps, 1 or more: from σ_max down to σ_min, evenly in σ^(1/7), and then 0."""
    ends = sigma_max ** (1 / RHO), sigma_min ** (1 / RHO)
    return [*(np.linspace(*ends, steps) ** RHO).tolist(), 0.0]


class Sampler(Protocol):
    """What takes the noise away."""

    def __call__(self, D: Denoise, x: Array, sigma: Sequence[float], callback: Callable[[int], None]) -> Array:
        """Return a noised picture, x = x(σ₀), at the last of falling noise levels, of which the last is 0.

        `callback` is called after each step with the number of steps done. x may be overwritten.
        """


def dpm_solver(
    D: Denoise, x: Array, sigma: Sequence[float], callback: Callable[[int], None] = lambda done: None
) -> Array:
    """Take the noise away as described in `Sampler`.

    This is DPM-Solver++(2M) of Lu et al. (2022) for noise that is added (α = 1, λ = -log σ): a multistep method of
    second order with one call of D a step. The first step, which has no predecessor, and the one to σ = 0 are of first
    order. For a large picture's memory, x is overwritten.
    """
    before: tuple[Array, float] | None = None  # D and h of the step before
    for i, (s, t) in enumerate(pairwise(sigma)):
        if t == 0:
            before = None
            x = D(x, s)
        else:
            D_i, h = D(x, s), log(s / t)
            _advance(x, D_i, t / s, h, before)
            before = D_i, h
        callback(i + 1)
    return x


def _advance(x: Array, D: Array, fall: float, h: float, before: tuple[Array, float] | None) -> None:
    """Take a step in place: σ becomes `fall` times what it was, which is e^-h."""
    flat, D_flat = x.reshape(-1), D.reshape(-1)
    for start in range(0, len(flat), PART):
        part = slice(start, start + PART)
        D_h = D_flat[part]  # D in the middle of the step, as the straight line through the last two of them has it
        if before is not None:
            r = before[1] / h
            D_h = (1 + 1 / (2 * r)) * D_h - 1 / (2 * r) * before[0].reshape(-1)[part]
        flat[part] = fall * flat[part] - expm1(-h) * D_h


def guided(given: Denoise, null: Denoise, w: float) -> Denoise:
    """Return classifier-free guidance (Ho and Salimans, 2022): from what is drawn without the condition, w times the
    way to what is drawn with it. At w = 1 that is the latter, and the former need not run."""
    if w == 1:
        return given

    def D(x: Array, sigma: float) -> Array:
        without = null(x, sigma)
        drawn = given(x, sigma)
        drawn -= without
        drawn *= w
        drawn += without
        return drawn

    return D


def keep_colours(picture: Array, guide: Array) -> Array:
    """Shift a picture (1×3×H×W, sides multiples of 16), smoothly and in place, so that its means of 16×16 pixels follow
    those of a guide (1×3×h×w), enlarged to its size.

    Few steps shift colours; the coarse picture has the right ones.
    """
    height, width = picture.shape[2:]
    for plane, wanted in zip(picture[0], guide[0], strict=True):  # one by one, for a large one's memory
        missing = enlarged(wanted[None], height, width)[0] - plane
        cells = missing.reshape(height // CELL, CELL, width // CELL, CELL).mean((1, 3))
        plane += enlarged(cells[None], height, width)[0]
    return picture
