"""The pictures that codecs are trained on and measured with: CamVid, Cityscapes, photographs and your own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic.errors import InputError
from sempic.pixels import to_rgb
from sempic.taxonomy import Taxonomy

CAMVID = dict(
    enumerate(
        ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
    )
)
"""The classes of CamVid's label ids; all others are void."""
CITYSCAPES = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck",
    28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""The classes of Cityscapes' label ids; all others are void."""

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
    """A picture's file and that of its labels, not read yet.

    `classes` has the name of the class for each number in the label file; where it is None, the numbers are ids of
    whatever taxonomy is asked for.
    """

    name: str
    path: Path
    label: Path | None = None
    classes: Mapping[int, str] | None = None

    def read(self, taxonomy: Taxonomy | None = None) -> Frame:
        """Return the picture, with its labels as ids of a taxonomy; without them where None is asked for.

        Raises `InputError` for one that cannot be read, or whose labels do not fit.
        """
        try:
            image = to_rgb(Image.open(self.path))
            if self.label is None or taxonomy is None:
                return Frame(self.name, image, None)
            ids = taxonomy.label_ids() if self.classes is None else taxonomy.ids_of(self.classes)
            segmap = ids[np.asarray(Image.open(self.label))]
        except (OSError, SyntaxError, ValueError, IndexError) as error:
            raise InputError(f"{self.name} cannot be read: {error}.") from None
        if segmap.shape != image.shape[:2]:
            raise InputError(f"{self.name} has {image.shape[:2]} pixels and labels for {segmap.shape}.")
        return Frame(self.name, image, segmap)


def find(data: str) -> list[Picture]:
    """Return the pictures of `camvid:SPLIT`, `cityscapes:SPLIT`, `photos` or a folder, in the order of their names.

    A folder, as PATH or `folder:PATH`, holds pictures. Labels are class ids of the taxonomy that is asked for, and lie
    beside them as `NAME.label.png`, or pictures and labels are in `image/` and `label/`, as in a split of CamVid.
    Raises `InputError` where there are no pictures.
    """
    kind, _, rest = data.partition(":")
    if kind == "camvid" and rest:
        pictures = _with_labels(data_root() / "camvid" / rest, CAMVID)
    elif kind == "cityscapes" and rest:
        pictures = cityscapes(data_root() / "cityscapes", rest)
    elif data == "photos":
        pictures = _folder(data_root() / "photos")
    else:
        pictures = _folder(Path(rest if kind == "folder" else data).expanduser())
    if not pictures:
        raise InputError(
            f"There are no pictures in '{data}'; say camvid:test, cityscapes:val, photos or a folder of pictures "
            "(sempic data check lists what of each is here, and how to get the rest)."
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
    return [Picture(path.name, path, labels.get(path.stem)) for path in pictures]


def _with_labels(folder: Path, classes: Mapping[int, str] | None = None) -> list[Picture]:
    labels = {path.stem: path for path in folder.glob("label/*.png")}
    return [Picture(path.stem, path, labels.get(path.stem), classes) for path in sorted(folder.glob("image/*"))]


def cityscapes(root: Path, split: str) -> list[Picture]:
    """Find Cityscapes as it is handed out: leftImg8bit/SPLIT/CITY/… and gtFine/SPLIT/CITY/…_labelIds.png."""
    found = []
    for path in sorted((root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png")):
        name = path.name.removesuffix("_leftImg8bit.png")
        label = root / "gtFine" / split / path.parent.name / f"{name}_gtFine_labelIds.png"
        found.append(Picture(name, path, label if label.exists() else None, CITYSCAPES))
    return found


def data_root() -> Path:
    """Return the data folder from SEMPIC_DATA, or `../shared/data` beside the repository."""
    root = Path(os.environ.get("SEMPIC_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not root.is_dir():
        raise InputError(
            f"There is no data at {root}; set SEMPIC_DATA to the folder that holds camvid/, cityscapes/ or photos/, or "
            "to an empty one: sempic data check camvid then shows how to fill it."
        )
    return root
