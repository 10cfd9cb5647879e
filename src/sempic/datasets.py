"""The pictures that codecs are trained on and measured with: CamVid, Cityscapes, photographs and your own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sempic.errors import InputError
from sempic.files import expanded
from sempic.labels import CAMVID, any_labels, read_labels
from sempic.pixels import is_picture_name, to_rgb
from sempic.taxonomy import Taxonomy

_ADDED = (".label", "_L", "_gtFine_labelIds", "_gtFine_labelTrainIds", "_labelIds", "_labelTrainIds")
"""What the name of a label picture may add to that of its picture: ours, CamVid's and Cityscapes'."""
_CAMERA = "_leftImg8bit"
"""What Cityscapes' pictures add to their names, and their labels do not have."""
_PNG = ".png"
_OTHER = ("_gtFine_color", "_gtFine_instanceIds")
"""What Cityscapes has besides pictures and labels."""


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
        if taxonomy is None:
            return self._read(None)
        return self._read(lambda label: taxonomy.label_ids()[read_labels(label, taxonomy, self.classes)])

    def size(self) -> tuple[int, int]:
        """Return the width and height; raise `InputError` as `read` does, if no taxonomy fits the labels."""
        height, width, _ = self._read(any_labels).image.shape
        return width, height

    def _read(self, ids_in: Callable[[Path], NDArray[np.uint8]] | None) -> Frame:
        try:
            image = to_rgb(self.path)
            segmap = ids_in(self.label) if ids_in and self.label else None
        except InputError as error:
            raise InputError(f"{self.name} cannot be read: {error}") from None
        if segmap is not None and segmap.shape != image.shape[:2]:
            (height, width), (high, wide) = image.shape[:2], segmap.shape
            raise InputError(f"{self.name} has {width}×{height} pixels, and its labels have {wide}×{high}.")
        return Frame(self.name, image, segmap)


def find(data: str) -> list[Picture]:
    """Return the pictures of `camvid:SPLIT`, `cityscapes:SPLIT`, `photos` or a folder, in the order of their names.

    `photos:PATTERN` are those whose names match, such as `photos:road-*`.

    A folder, as PATH or `folder:PATH`, holds pictures. Labels are class ids of the taxonomy that is asked for, and lie
    beside them as `NAME.label.png`, or pictures and labels are in `image/` and `label/`, as in a split of CamVid.
    Raises `InputError` where there are no pictures.
    """
    kind, _, rest = data.partition(":")
    if kind == "camvid" and rest:
        pictures, _ = in_folder(data_root() / "camvid" / rest, CAMVID)
    elif kind == "cityscapes" and rest:
        pictures = cityscapes(data_root() / "cityscapes", rest)
    elif kind == "photos":
        pictures = [one for one in in_folder(data_root() / "photos")[0] if fnmatch(one.name, rest or "*")]
    else:
        pictures, _ = in_folder(folder_of(data))
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


def in_folder(folder: Path, classes: Mapping[int, str] | None = None) -> tuple[list[Picture], list[str]]:
    """Return the pictures in a folder with their labels, and the names of label files that belong to none of them.

    Hidden files and files of other kinds are left out. Names of labels are compared without regard to capitals. Where
    pictures differ in their suffix alone, a label is that of the picture whose whole name it has.

    Args:
        folder: has pictures with labels beside them, or the folders `image` and `label`.
        classes: what the numbers in label files stand for; the names of the files say it where it is left out.
    """
    beside = not (folder / "image").is_dir()
    paths = _pictures_in(folder if beside else folder / "image")
    stems = Counter(path.stem.casefold() for path in paths)
    labels = [path for path in paths if _is_label(path, stems)] if beside else _pictures_in(folder / "label")
    paths = [path for path in paths if path not in labels] if beside else paths
    stems = Counter(path.stem.casefold() for path in paths)
    exact = {path.stem + path.suffix.lower(): path for path in labels}
    folded = {path.name.casefold(): path for path in labels}
    pictures, expected = list[Picture](), set[Path]()
    for path in paths:
        names = [path.name + added for added in _ADDED]
        alone = stems[path.stem.casefold()] == 1
        if not beside:
            names += [path.name, *([path.stem] if alone or path.suffix.lower() == _PNG else [])]
        if alone:
            names += [stem + added for stem in (path.stem, path.stem.removesuffix(_CAMERA)) for added in _ADDED]
        wanted = [exact.get(name + _PNG) or (folded.get(name.casefold() + _PNG) if alone else None) for name in names]
        own = [label for label in wanted if label is not None]
        expected.update(own)
        name = path.stem if alone and not beside else path.name
        pictures.append(Picture(name, path, own[0] if own else None, classes))
    return pictures, [path.name for path in labels if path not in expected]


def folder_of(data: str) -> Path:
    """Return the folder that PATH or `folder:PATH` names; raise `InputError` for an unknown `~user`."""
    return expanded(data.removeprefix("folder:"))


def _pictures_in(folder: Path) -> list[Path]:
    """Return the picture files in a folder, except those that Cityscapes has besides pictures and labels."""
    paths = (path for path in sorted(folder.glob("*")) if is_picture_name(path) and path.is_file())
    return [path for path in paths if not path.stem.endswith(_OTHER)]


def _is_label(path: Path, stems: Container[str]) -> bool:
    """Whether a file among pictures has the name of a label; `_L` may be the end of a picture's own name, too."""
    stem = path.stem.casefold()
    added = next((added.casefold() for added in _ADDED if stem.endswith(added.casefold())), None)
    return path.suffix.lower() == _PNG and added is not None and (added != "_l" or stem.removesuffix(added) in stems)


def cityscapes(root: Path, split: str) -> list[Picture]:
    """Find Cityscapes as it is handed out: leftImg8bit/SPLIT/CITY/… and gtFine/SPLIT/CITY/…_labelIds.png.

    Where there are no `labelIds`, `labelTrainIds` are taken.
    """
    found = []
    for path in sorted((root / "leftImg8bit" / split).glob(f"*/*{_CAMERA}.png")):
        if is_picture_name(path):
            name = path.stem.removesuffix(_CAMERA)
            folder = root / "gtFine" / split / path.parent.name
            labels = (folder / f"{name}_gtFine_{kind}.png" for kind in ("labelIds", "labelTrainIds"))
            found.append(Picture(name, path, next((label for label in labels if label.exists()), None)))
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
