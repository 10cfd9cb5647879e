"""Pictures of how far a run has come."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sempic.taxonomy import VOID, Taxonomy
from sempic.training.blocks import shrink
from sempic.training.sampler import Source, colour_planes

STEP, LARGEST = 128, (256, 384)
"""Previews are of a picture's middle: multiples of STEP pixels, which all networks take, at most LARGEST."""


def window(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the middle of a picture or segmap (H×W…), edges repeated where it is smaller than STEP."""
    for axis, most in enumerate(LARGEST):
        length = plane.shape[axis]
        wanted = min(max(length // STEP * STEP, STEP), most)
        first = (length - wanted) // 2
        places = np.arange(first, first + wanted).clip(0, length - 1)
        plane = plane.take(places, axis)
    return plane


def inputs(source: Source) -> tuple[Tensor, Tensor, Tensor]:
    """Return a picture (1×3×H×W), its predicted segmap (one-hot at a quarter) and its colour planes (1×3×H/4×W/4),
    in which objects have their own colours."""
    pixels, predicted = window(source.frame.image), window(source.predicted)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    segmap = shrink(torch.from_numpy(predicted)[None].long(), len(source.taxonomy))
    planes = colour_planes(pixels, predicted, source.levels, source.taxonomy.object_ids)
    return image, segmap, torch.from_numpy(planes)[None]


def pixels(image: Tensor) -> NDArray[np.uint8]:
    """Return 1×3×H×W in [0,1] as uint8 H×W×3."""
    scaled = (image[0].float().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(scaled.permute(1, 2, 0).cpu().numpy())


def coloured(one_hot: Tensor, taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """Return a one-hot segmap (1×classes×h×w) in the colours of its classes; void is black."""
    ids = torch.where(one_hot.sum(1) > 0, one_hot.argmax(1), VOID)[0]
    return taxonomy.colourise(ids.to(torch.uint8).cpu().numpy())
