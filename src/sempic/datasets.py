"""The pictures that codecs are trained on and measured with: CamVid, Cityscapes, photographs and your own."""

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

LABEL = ".label.png"
"""How the name of a label picture ends that lies beside its picture: `a.jpg`, `a.label.png`."""


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
    """Return the pictures of `camvid:SPLIT`, `cityscapes:SPLIT`, `photos` or a folder, in the order of their names.

    A folder, as PATH or `folder:PATH`, holds pictures. Labels are class ids of the CamVid taxonomy, and lie beside them
    as `NAME.label.png`, or pictures and labels are in `image/` and `label/`, as in a split of CamVid. Raises
    `InputError` where there are no pictures.
    """
    kind, _, rest = data.partition(":")
    if kind == "camvid" and rest:
        pictures = _with_labels(data_root() / "camvid" / rest)
    elif kind == "cityscapes" and rest:
        pictures = cityscapes(data_root() / "cityscapes", rest)
    elif data == "photos":
        pictures = _folder(data_root() / "photos")
    else:
        pictures = _folder(Path(rest if kind == "folder" else data).expanduser())
    if not pictures:
        raise InputError(
            f"There are no pictures in '{data}'; say camvid:test, cityscapes:val, photos or a folder of pictures "
            "(sempic data check tells what of each is here, and how to get the rest)."
        )
    return pictures


def mixture(data: str) -> list[tuple[str, float]]:
    """Return the names and weights in `camvid:train=3,photos=1`; a weight that is left out is 1.

    `camvid` and `cityscapes` without a split mean `train`. Raises `InputError` for weights that are no numbers above 0.
    """
    found = []
    for part in data.split(","):
        name, given, weight = part.strip().rpartition("=")
        name = name if given else weight
        try:
            share = float(weight) if given else 1.0
        except ValueError:
            share = 0.0
        if not (0 < share < float("inf") and name):
            raise InputError(f"'{part}' is no part of a mixture; say NAME=WEIGHT with a weight above 0.")
        found.append((f"{name}:train" if name in ("camvid", "cityscapes") else name, share))
    return found


def _folder(folder: Path) -> list[Picture]:
    if (folder / "image").is_dir():
        return _with_labels(folder)
    paths = [path for path in sorted(folder.glob("*")) if path.is_file() and not path.name.startswith(".")]
    labels = {path.name.removesuffix(LABEL): path for path in paths if path.name.endswith(LABEL)}
    pictures = [path for path in paths if not path.name.endswith(LABEL)]
    return [Picture(path.name, path, labels.get(path.stem), _camvid_ids()) for path in pictures]


def _camvid_ids() -> tuple[int, ...]:
    """What the numbers in a label picture of CamVid mean: everything beyond the classes is void."""
    return (*range(len(CAMVID11)), *[VOID] * (256 - len(CAMVID11)))


def _with_labels(folder: Path) -> list[Picture]:
    labels = {path.stem: path for path in folder.glob("label/*.png")}
    return [Picture(path.stem, path, labels.get(path.stem), _camvid_ids()) for path in sorted(folder.glob("image/*"))]


def cityscapes(root: Path, split: str) -> list[Picture]:
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
        raise InputError(
            f"There is no data at {root}; set SEMPIC_DATA to the folder that holds camvid/, cityscapes/ or photos/, or "
            "to an empty one: sempic data check camvid then tells how to fill it."
        )
    return root
