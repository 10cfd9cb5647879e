"""Write into a segmenter's card which pictures are of its kind: `sempic calibrate`; see `sempic.segmap.domain`.

Half of the pictures, by a hash of their names, fit a logistic regression; the other half shows how often it is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sempic import datasets, runtime
from sempic.errors import InputError
from sempic.files import whole_file
from sempic.segmap.domain import THIRDS, Domain, layout, logistic
from sempic.segmap.segmenter import logits
from sempic.training.config import RECIPES

STREETS = RECIPES / "streets.txt"
"""The names of photographs that are streets, although their data sets are of other things."""
PENALTY = 10.0
"""The weight of the L2 penalty, in pictures: with smaller ones, the drives of the training frames were fitted."""
WARNED = 0.95
"""The share of the pictures outside, of those to fit on, that the threshold lets be warned about."""
_ROUNDS = 30

Layout = NDArray[np.float64]


@dataclass(frozen=True)
class DomainPictures:
    """The layouts of a data set's pictures: those to fit on, and those to show the error rates on.

    role: "inside", "outside", or "shown", of which none is fitted on.
    """

    data: str
    role: str
    fitted: tuple[Layout, ...]
    held_out: tuple[Layout, ...]

    def warned(self, domain: Domain) -> dict[str, Any]:
        """Return how many pictures there are and which share of them is warned about."""
        found: dict[str, Any] = {"data": self.data, "role": self.role}
        for name, layouts in (("fitted", self.fitted), ("held_out", self.held_out)):
            below = [domain.is_outside(one) for one in layouts]
            found |= {name: len(below), f"{name}_warned": round(float(np.mean(below)), 4) if below else None}
        return found


def calibrate(
    model: runtime.Model,
    name: str,
    inside: str,
    outside: str,
    shown: str = "",
    left_out: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Write into a segmenter's card which pictures are of its kind; return the error rates, a data set each.

    Args:
        model: the segmenter.
        name: what its pictures show, with its article: "a street scene".
        inside: data sets with such pictures, separated by commas.
        outside: data sets with others.
        shown: data sets with such pictures that nothing is fitted on.
        left_out: names of pictures that are not counted.
        progress: is called with the number of pictures done and the number there are.

    Raises:
        InputError: there are no pictures to fit on, or some cannot be read.
        ModelError: the model gives no logits.
    """
    roles = [
        (data, role, [one for one in datasets.find(data) if one.path.stem not in left_out])
        for role, every in (("inside", inside), ("outside", outside), ("shown", shown))
        for data in filter(None, every.split(","))
    ]
    total, done = sum(len(pictures) for *_, pictures in roles), 0
    sets = list[DomainPictures]()
    for data, role, pictures in roles:
        halves: tuple[list[Layout], list[Layout]] = [], []
        for picture in pictures:
            to_show = role == "shown" or crc32(picture.path.stem.encode()) % 2
            halves[bool(to_show)].append(layout(logits(model, picture.read().image)))
            progress(done := done + 1, total)
        sets.append(DomainPictures(data, role, *map(tuple, halves)))
    domain = _domain(name, sets)
    errors = [one.warned(domain) for one in sets]
    weights = np.reshape(domain.weights, (-1, THIRDS)).tolist()
    card = {
        "name": name,
        "threshold": domain.threshold,
        "bias": domain.bias,
        "weights": dict(zip(model.taxonomy.classes, weights, strict=True)),
        "warned": errors,
    }
    path = model.folder / "card.json"
    text = json.dumps(json.loads(path.read_text()) | {"domain": card}, indent=1) + "\n"
    with whole_file(path) as file:
        file.write(text.encode())
    return errors


def _domain(name: str, sets: Sequence[DomainPictures]) -> Domain:
    """Fit a domain to what is to be fitted on, as if there were as many pictures inside as outside."""
    inside, outside = (
        [one for pictures in sets if pictures.role == role for one in pictures.fitted] for role in ("inside", "outside")
    )
    if not (inside and outside):
        raise InputError("There are no pictures to fit on; name more of them, inside and outside.")
    weights, bias = fit(inside, outside)
    domain = Domain(name, tuple(round(float(weight), 4) for weight in weights), round(bias, 4), 0.0)
    threshold = np.quantile([domain.probability(one) for one in outside], WARNED)
    return replace(domain, threshold=round(float(threshold), 4))


def fit(inside: Sequence[Layout], outside: Sequence[Layout]) -> tuple[Layout, float]:
    """Return weights and bias of a logistic regression that separates layouts inside from those outside.

    Both kinds count the same, however many there are of each.
    """
    numbers, wanted = np.array([*inside, *outside]), np.arange(len(inside) + len(outside)) < len(inside)
    counts = np.where(wanted, 0.5 / len(inside), 0.5 / len(outside)) * len(numbers)
    mean, deviation = numbers.mean(0), numbers.std(0) + 1e-6
    x = np.c_[(numbers - mean) / deviation, np.ones(len(numbers))]
    penalty = np.diag([*[PENALTY] * len(mean), 0.0])
    found = np.zeros(x.shape[1])
    for _ in range(_ROUNDS):  # Newton's method
        p = logistic(x @ found)
        gradient = x.T @ (counts * (p - wanted)) + penalty @ found
        found -= np.linalg.solve((x * (counts * p * (1 - p))[:, None]).T @ x + penalty, gradient)
    weights = found[:-1] / deviation
    return weights, float(found[-1] - weights @ mean)
