"""The classes of other people's segmenters: lists of names, and what they are called in a model's taxonomy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sempic import taxonomy
from sempic.errors import InputError, ModelError
from sempic.taxonomy import VOID, Taxonomy, plain_name

_MOST = 1 << 16
_VOID_NAMES = ("void", "unlabeled", "unlabelled", "ignore")
"""Classes of these names are void in any taxonomy: nobody is warned about them."""
_SHOWN = 8
"""Longer lists of names are cut off in messages."""


@dataclass(frozen=True)
class Segmented:
    """A picture's segmap (uint8 H×W), and a sentence for each thing about it that a user should know.

    outside: what the picture does not look like although the segmenter was trained for nothing else, such as "a street
        scene"; empty where it looks like that, and where the segmenter's card has no such calibration.
    """

    segmap: NDArray[np.uint8]
    warnings: tuple[str, ...] = ()
    outside: str = ""

    def warnings_of(self, codec: str) -> tuple[str, ...]:
        """Return the warnings for a picture that this codec encodes: also of what it does not look like."""
        if not self.outside:
            return self.warnings
        return (
            *self.warnings,
            f"This picture does not look like {self.outside}, which is all that {codec} was trained on: what is "
            "decoded will look like one. Use the codec auto, or a conventional one.",
        )


@dataclass(frozen=True)
class ClassList:
    """The classes that a segmenter finds.

    name: what the list is called in messages: a taxonomy, a file or a model.
    names: the names of the classes by their ids.
    void: ids that mean void, besides 255.
    """

    name: str
    names: Mapping[int, str]
    void: tuple[int, ...] = ()

    def __len__(self) -> int:
        """The number of logits of a pixel."""
        return 1 + max(self.names)

    @classmethod
    def of(cls, known: Taxonomy) -> ClassList:
        """Return the classes of a taxonomy."""
        return cls(known.name, dict(enumerate(known.classes)), known.void)

    @classmethod
    def load(cls, given: str | Path) -> ClassList:
        """Return a list by name or from a file; raise `InputError` for what is neither.

        Args:
            given: the name of a taxonomy that comes with Sempic, or a file: a taxonomy as JSON, a JSON list of names,
                JSON with `id2label` as Hugging Face writes it, or a text with one name a line.
        """
        if str(given) in taxonomy.names():
            return cls.of(taxonomy.load(str(given)))
        try:
            text = Path(given).expanduser().read_text(encoding="utf-8-sig")
        except (OSError, ValueError, RuntimeError):  # also of no text, and of an unknown ~user
            known = ", ".join(taxonomy.names())
            raise InputError(f"'{given}' is neither a taxonomy ({known}) nor a file of class names.") from None
        try:
            return _parsed(text, str(given))
        except ValueError as error:
            raise InputError(
                f"The class list in {given} cannot be used: {error}; write one name a line, or a taxonomy, a list or "
                "id2label as JSON."
            ) from None

    @classmethod
    def assumed(cls, count: int | None, wanted: Taxonomy, found: str) -> tuple[ClassList, tuple[str, ...]]:
        """Return the classes of a network that nobody named, and a sentence if they are not those that are wanted.

        Args:
            count: how many classes it finds; None where it gives ids, which do not show that.
            wanted: the taxonomy that they are for.
            found: what the network gave, for messages.

        Raises:
            ModelError: no taxonomy, or more than one, has as many classes.
        """
        if count in (None, len(wanted)):
            return cls.of(wanted), ()
        known = [taxonomy.load(name) for name in taxonomy.names()]
        fitting = [one for one in known if len(one) == count]
        if len(fitting) == 1:
            return cls.of(fitting[0]), (f"{found}, taken for those of {fitting[0].name}; 'classes' names others.",)
        sizes = ", ".join(f"{one.name} has {len(one)}" for one in known)
        raise ModelError(
            f"{found}, which nobody named ({sizes}): name them by 'classes', or use a network that gives class ids."
        )

    def translate(self, ids: NDArray[Any], to: Taxonomy, network: str) -> Segmented:
        """Return ids of this list as ids of a taxonomy; classes without a counterpart become void.

        Args:
            ids: whole numbers, h×w.
            to: the taxonomy.
            network: what found the ids, for messages.

        Raises:
            InputError: none of the classes has a counterpart.
            ModelError: an id is no class of this list.
        """
        table = to.ids_of(self.names, nearest=True)
        if all(table[number] == VOID for number in self.names):
            raise InputError(f"None of the classes of {self.name} ({_listed([*self.names.values()])}) is in {to.name}.")
        void = {number for number in (VOID, *self.void) if 0 <= number <= VOID} - self.names.keys()
        found, counts = np.unique(ids, return_counts=True)
        if unknown := [int(number) for number in found if number not in self.names and number not in void]:
            raise ModelError(
                f"{network} gives the number {unknown[0]}; class ids of {self.name} are 0 to {len(self) - 1}, and "
                f"{' and '.join(map(str, sorted(void)))} for void. Say by 'classes' which others it finds."
            )
        lost = {
            self.names[number]: count
            for number, count in zip(found.tolist(), counts.tolist(), strict=True)
            if number in self.names and table[number] == VOID and plain_name(self.names[number]) not in _VOID_NAMES
        }
        share, names = 100 * sum(lost.values()) / ids.size, _listed([*lost], "or")
        said = f"{share:.3g} % of the picture is void: {to.name} has no counterpart of {names} ({self.name})."
        return Segmented(table[ids], (said,) if lost else ())


def _parsed(text: str, name: str) -> ClassList:
    """Return the list in a file; raise `ValueError` for one that makes no sense."""
    if text.lstrip()[:1] in ("{", "["):
        plain = json.loads(text)
        if isinstance(plain, dict) and "classes" in plain:
            return ClassList.of(Taxonomy.from_json(plain))
        if isinstance(plain, dict):
            named = plain.get("id2label", plain)
            names = {int(number): name for number, name in (named.items() if isinstance(named, dict) else ())}
        else:
            names = dict(enumerate(plain))
    else:
        names = dict(enumerate(filter(None, map(str.strip, text.splitlines()))))
    if not names:
        raise ValueError("it is empty")
    if not all(isinstance(one, str) and 0 <= number < _MOST for number, one in names.items()):
        raise ValueError("it has more than names by their ids")
    return ClassList(name, names)


def _listed(names: list[str], word: str = "and") -> str:
    """Return names in a row, the first ones of many."""
    if len(names) > _SHOWN:
        return f"{', '.join(names[:_SHOWN])} {word} {len(names) - _SHOWN} more"
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
