"""The pictures that codecs are trained on and measured with: CamVid and Cityscapes with labels, folders without."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic.codecs.base import to_rgb
from sempic.errors import InputError
from sempic.taxonomy import CAMVID11, VOID

CITYSCAPES = {
    7: "road", 8: "pavement", 11: "building", 12: "building", 13: "fence", 17: "pole", 19: "sign", 20: "sign",
    21: "tree", 22: "tree", 23: "sky", 24: "pedestrian", 25: "bicyclist", 26: "car", 27: "car", 28: "car", 31: "car",
    32: "bicyclist", 33: "bicyclist",
}  # fmt: skip
"""Which class stands for each of Cityscapes' label ids; all others are void."""


@dataclass(frozen=True)
class Frame:
    """One picture (uint8 H×W×3) with its segmap (uint8 H×W), or None where nobody labelled it."""

    name: str
    image: NDArray[np.uint8]
    segmap: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Picture:
    """A picture's file and that of its labels, not read yet; `ids` (256) says what the label file's numbers mean."""

    name: str
    path: Path
    label: Path | None = None
    ids: tuple[int, ...] = ()

    def read(self) -> Frame:
        """Return the picture; raise `InputError` for one that cannot be read, or whose labels do not fit."""
        try:
            image = to_rgb(Image.open(self.path))
            if self.label is None:
                return Frame(self.name, image, None)
            segmap = np.array(self.ids, np.uint8)[np.asarray(Image.open(self.label))]
        except (OSError, SyntaxError, ValueError, IndexError) as error:
            raise InputError(f"{self.name} cannot be read: {error}.") from None
        if segmap.shape != image.shape[:2]:
            raise InputError(f"{self.name} has {image.shape[:2]} pixels and labels for {segmap.shape}.")
        return Frame(self.name, image, segmap)


def find(data: str) -> list[Picture]:
    """Return the pictures of `camvid:SPLIT`, `cityscapes:SPLIT` or a folder, in the order of their names.

    A folder holds pictures, or `image/` and `label/` as a split of CamVid does; then labels are class ids of the CamVid
    taxonomy. Raises `InputError` where there are no pictures.
    """
    kind, _, split = data.partition(":")
    if kind == "camvid" and split:
        pictures = _with_labels(data_root() / "camvid" / split)
    elif kind == "cityscapes" and split:
        pictures = _cityscapes(data_root() / "cityscapes", split)
    elif (Path(data) / "image").is_dir():
        pictures = _with_labels(Path(data))
    else:
        pictures = [Picture(path.name, path) for path in sorted(Path(data).glob("*")) if path.is_file()]
    if not pictures:
        raise InputError(f"There are no pictures in '{data}'; say camvid:test, cityscapes:val or a folder of pictures.")
    return pictures


def _with_labels(folder: Path) -> list[Picture]:
    ids = (*range(len(CAMVID11)), *[VOID] * (256 - len(CAMVID11)))
    labels = {path.stem: path for path in folder.glob("label/*.png")}
    return [Picture(path.stem, path, labels.get(path.stem), ids) for path in sorted(folder.glob("image/*"))]


def _cityscapes(root: Path, split: str) -> list[Picture]:
    """Find Cityscapes as it is handed out: leftImg8bit/SPLIT/CITY/… and gtFine/SPLIT/CITY/…_labelIds.png."""
    ids = [VOID] * 256
    for number, name in CITYSCAPES.items():
        ids[number] = CAMVID11.id_of(name)
    found = []
    for path in sorted((root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png")):
        name = path.name.removesuffix("_leftImg8bit.png")
        label = root / "gtFine" / split / path.parent.name / f"{name}_gtFine_labelIds.png"
        found.append(Picture(name, path, label if label.exists() else None, tuple(ids)))
    return found


def data_root() -> Path:
    """Return the data folder from SEMPIC_DATA, or `../shared/data` beside the repository."""
    root = Path(os.environ.get("SEMPIC_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not root.is_dir():
        raise InputError(f"No training data at {root}; set SEMPIC_DATA to the folder that holds camvid/ and photos/.")
    return root


def camvid(split: str, root: Path | None = None) -> list[Frame]:
    """Load a split of CamVid (`train`, `val` or `test`)."""
    folder = (root or data_root()) / "camvid" / split
    return [picture.read() for picture in _with_labels(folder)]


def photos(root: Path | None = None) -> list[Frame]:
    """Load the unlabelled photographs."""
    return [Picture(p.stem, p).read() for p in sorted(((root or data_root()) / "photos").glob("*.webp"))]
