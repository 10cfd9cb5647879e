"""Random crops of training pictures, random changes of their colours, and pictures as tensors."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sempic.datasets import Frame
from sempic.taxonomy import VOID

MIDDLE = 0.4
"""The brightness that changes of contrast leave alone."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
TO_YIQ = np.array([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])

Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""A change of uint8 colours (…×3)."""


def random_crop(
    frame: Frame, size: int, scales: tuple[float, float], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut a random square, randomly rescaled and flipped half the time → size×size×3 and its size×size segmap.

    The scale is raised where needed so that the square lies inside the picture. Segmaps scale by nearest neighbour.
    """
    height, width = frame.image.shape[:2]
    low, high = np.log(scales[0]), np.log(scales[1])
    side = min(size / np.exp(rng.uniform(low, high)), height, width)
    left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
    box = (left, top, left + side, top + side)
    image = np.asarray(Image.fromarray(frame.image).resize((size, size), Image.Resampling.BICUBIC, box))
    if frame.segmap is None:
        segmap = np.full((size, size), VOID, np.uint8)
    else:
        segmap = np.asarray(Image.fromarray(frame.segmap).resize((size, size), Image.Resampling.NEAREST, box))
    if rng.random() < 0.5:
        image, segmap = image[:, ::-1], segmap[:, ::-1]
    return image, segmap


def random_jitter(strength: float, rng: np.random.Generator) -> Change:
    """Draw a change of gamma, saturation, contrast and colour balance; `strength` is about its relative size."""
    gamma, saturation, contrast = np.exp(rng.normal(0, strength, 3)).astype(np.float32)
    balance = np.exp(rng.normal(0, strength / 4, 3)).astype(np.float32)

    def change(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
        x = (colours.astype(np.float32) / 255) ** gamma
        grey = x.mean(-1, keepdims=True)
        x = grey + (x - grey) * saturation
        x = ((x - MIDDLE) * contrast + MIDDLE) * balance
        return (x.clip(0, 1) * 255).round().astype(np.uint8)

    return change


def random_hue(rng: np.random.Generator) -> Change:
    """Draw a rotation of hue by any angle, with a saturation of 0.8 to 1.8."""
    angle, saturation = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.8)
    cos, sin = saturation * np.cos(angle), saturation * np.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    matrix = (np.linalg.inv(TO_YIQ) @ turn @ TO_YIQ).T.astype(np.float32)
    return lambda colours: (colours.astype(np.float32) @ matrix).round().clip(0, 255).astype(np.uint8)


def random_tint(rng: np.random.Generator) -> Change:
    """Draw a saturated colour that takes the place of 0.3 to 0.9 of an object's own, at the same brightness."""
    colour = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.5, 1), 1), np.float32)
    share = rng.uniform(0.3, 0.9)

    def change(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
        x = colours.astype(np.float32)
        tinted = (x @ LUMA)[..., None] * (colour / (colour @ LUMA))
        return ((1 - share) * x + share * tinted).round().clip(0, 255).astype(np.uint8)

    return change


def to_tensors(pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> tuple[Tensor, Tensor]:
    """Stack (picture, segmap) pairs → N×3×H×W floats in [0,1] and N×H×W ids (int64)."""
    images = torch.from_numpy(np.stack([p[0] for p in pairs])).permute(0, 3, 1, 2).float() / 255
    return images, torch.from_numpy(np.stack([p[1] for p in pairs])).long()
