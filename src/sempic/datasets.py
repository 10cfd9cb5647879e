"""The pictures that codecs are trained on and measured with: CamVid with labels, and photographs without."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic.errors import InputError
from sempic.taxonomy import VOID

CAMVID_VOID = 11
"""CamVid's files call void 11; everywhere else in Sempic it is 255."""


@dataclass(frozen=True)
class Frame:
    """One picture (uint8 H×W×3) with its segmap (uint8 H×W), or None where nobody labelled it."""

    name: str
    image: NDArray[np.uint8]
    segmap: NDArray[np.uint8] | None


def data_root() -> Path:
    """Return the data folder from SEMPIC_DATA, or `../shared/data` beside the repository."""
    root = Path(os.environ.get("SEMPIC_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not root.is_dir():
        raise InputError(f"No training data at {root}; set SEMPIC_DATA to the folder that holds camvid/ and photos/.")
    return root


def camvid(split: str, root: Path | None = None) -> list[Frame]:
    """Load a split of CamVid (`train`, `val` or `test`)."""
    folder = (root or data_root()) / "camvid" / split
    return [_labelled(path, folder / "label" / f"{path.stem}.png") for path in sorted((folder / "image").iterdir())]


def photos(root: Path | None = None) -> list[Frame]:
    """Load the unlabelled photographs."""
    return [Frame(p.stem, _pixels(p), None) for p in sorted(((root or data_root()) / "photos").glob("*.webp"))]


def _pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def _labelled(path: Path, label: Path) -> Frame:
    segmap = np.array(Image.open(label))
    segmap[segmap == CAMVID_VOID] = VOID
    return Frame(path.stem, _pixels(path), segmap)
