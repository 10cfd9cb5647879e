"""Lists of classes with their colours: what the numbers in a segmap mean.

A taxonomy is data. A model's card holds the one that the model was trained with; `taxonomies/` has those that training
and data sets know by name, and a JSON file of the same form is as good.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sempic.errors import InputError, ModelError

VOID = 255
"""The id of pixels without a class, in every taxonomy."""
FOLDER = Path(__file__).parent / "taxonomies"
_MOST = 254


@dataclass(frozen=True)
class Taxonomy:
    """A named, ordered list of classes; the id of a class is its place in the list.

    colours: the RGB colour (0 to 255) in which each class is shown.
    void: ids below 255 that mean void in label pictures, as some data sets have them.
    merged: what classes of other taxonomies are called here, by their names there.
    nearest: the same for classes that are wider than any here, by the class that most of their pixels are of: good
        enough for what a segmenter finds, not for labels.
    objects: the classes whose things have colours of their own.
    """

    name: str
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    void: tuple[int, ...] = ()
    merged: Mapping[str, str] = field(default_factory=dict, hash=False)
    objects: tuple[str, ...] = ()
    nearest: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __len__(self) -> int:
        return len(self.classes)

    def id_of(self, name: str) -> int:
        """Return the id of a class by its name; raise `InputError` that lists the known ones."""
        try:
            return list(map(plain_name, self.classes)).index(plain_name(name))
        except ValueError:
            raise InputError(f"'{name}' is not a class of {self.name}; it knows {', '.join(self.classes)}.") from None

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The ids of the classes whose things have colours of their own."""
        return tuple(map(self.classes.index, self.objects))

    def ids_of(self, names: Mapping[int, str], nearest: bool = False) -> NDArray[np.uint8]:
        """Return a table from the ids of another list of classes to the ids here; void for what has no class.

        Args:
            names: the other list's class names by id. A class is found by its own name, or by `merged`; names in
                capitals, or with underscores or hyphens for spaces, are the same names.
            nearest: whether `nearest` counts, too.

        Returns:
            uint8, 256 entries, or as many as the other list's ids need.
        """
        own = {plain_name(name): number for number, name in enumerate(self.classes)}
        declared = {**(self.nearest if nearest else {}), **self.merged}
        found = own | {plain_name(name): own.get(plain_name(here), VOID) for name, here in declared.items()}
        table = np.full(max((255, *names)) + 1, VOID, np.uint8)
        for number, name in names.items():
            table[number] = found.get(plain_name(name), VOID)
        return table

    def label_ids(self) -> NDArray[np.uint8]:
        """Return a table (256) from the numbers in label pictures to ids; what is in `void` or no class is void."""
        own = {number: name for number, name in enumerate(self.classes) if number not in self.void}
        return self.ids_of(own)

    def colourise(self, segmap: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a segmap (H×W ids) as a picture (uint8 H×W×3); void is black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self)] = self.colours
        return palette[segmap]

    def to_json(self) -> dict[str, Any]:
        """Return the taxonomy as plain dicts, lists and texts: what `from_json` takes."""
        colours = {name: list(colour) for name, colour in zip(self.classes, self.colours, strict=True)}
        plain: dict[str, Any] = {"name": self.name, "classes": colours}
        more = {
            "void": list(self.void),
            "merged": dict(self.merged),
            "nearest": dict(self.nearest),
            "objects": list(self.objects),
        }
        return plain | {name: value for name, value in more.items() if value}

    @classmethod
    def from_json(cls, plain: Any) -> Taxonomy:
        """Return the taxonomy that a card or a file describes; raise `ValueError` for one that makes no sense."""
        try:
            classes = {str(name): tuple(map(int, colour)) for name, colour in plain["classes"].items()}
            void, objects = tuple(map(int, plain.get("void", ()))), tuple(map(str, plain.get("objects", ())))
            merged, nearest = (
                {str(there): str(here) for there, here in plain.get(key, {}).items()} for key in ("merged", "nearest")
            )
            colours = tuple(classes.values())
            made = cls(str(plain["name"]), tuple(classes), colours, void, merged, objects, nearest)  # type: ignore[arg-type]
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"it has no classes with their colours ({error})") from None
        if unknown := set(made.objects) - set(made.classes):
            raise ValueError(f"its objects are of '{min(unknown)}', which is no class")
        if len(set(map(plain_name, made.classes))) < len(made):
            raise ValueError("two of its classes have the same name")
        if not 0 < len(made) <= _MOST:
            raise ValueError(f"it has {len(made)} classes; there can be 1 to {_MOST}")
        if any(len(colour) != 3 or not all(0 <= value <= 255 for value in colour) for colour in made.colours):
            raise ValueError("a colour is not three numbers from 0 to 255")
        return made


def plain_name(name: str) -> str:
    """Return a class name as names are compared: in small letters, with single spaces for `_` and `-`."""
    return " ".join(re.split(r"[\s_-]+", name.lower())).strip()


def names() -> list[str]:
    """Return the names of the taxonomies that come with Sempic."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@cache
def load(name: str) -> Taxonomy:
    """Return a taxonomy by its name, or from a JSON file; raise `InputError` that lists the known ones."""
    path = FOLDER / f"{name}.json" if name in names() else Path(name)
    if path.suffix != ".json" or not path.is_file():
        raise InputError(f"'{name}' is not a taxonomy; known are {', '.join(names())}, or a JSON file of your own.")
    try:
        return Taxonomy.from_json(json.loads(path.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError) as error:
        raise InputError(f"The taxonomy in {path} cannot be used: {error}.") from None


def of_card(stated: Any, model: str) -> Taxonomy:
    """Return the taxonomy that the card of a model states, whole or by name; raise `ModelError` for an unknown one."""
    try:
        return load(stated) if isinstance(stated, str) else Taxonomy.from_json(stated)
    except (InputError, ValueError) as error:
        raise ModelError(f"The card of the model {model} names no usable taxonomy: {error}") from None
