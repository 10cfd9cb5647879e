"""What a metric is.

A metric collects an array from every pair of pictures and reduces the arrays of a set to one number, so that the work
can be spread over processes and taken up again.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sempic import extras
from sempic.bench import judge
from sempic.errors import ModelError

Picture = NDArray[np.uint8]
Collected = NDArray[np.floating[Any]]


class Metric(ABC):
    """A number for a set of decoded pictures."""

    name: ClassVar[str]
    better: ClassVar[str]
    """"higher" or "lower"."""
    about: ClassVar[str]
    """What is measured and how, in a sentence or two."""
    per_picture: ClassVar[bool] = True
    """Whether a single picture has a value; for a set it is then their mean."""
    needs_labels: ClassVar[bool] = False
    """Whether only pictures with labels can be measured."""

    def unavailable(self) -> str | None:
        """Return why it cannot be measured here, in a sentence; None if it can."""
        return None

    @abstractmethod
    def collect(self, original: Picture, decoded: Picture, labels: NDArray[np.uint8] | None) -> Collected:
        """Return what `reduce` needs of two pictures (uint8 H×W×3), given their true segmap (H×W) if there is one."""

    def reduce(self, collected: Sequence[Collected]) -> float:
        """Return the value for all pictures; NaN where none has one."""
        values = np.array([float(value) for value in collected])
        return float(values[~np.isnan(values)].mean()) if not np.isnan(values).all() else float("nan")


class Judged(Metric):
    """Needs the judge."""

    def unavailable(self) -> str | None:
        try:
            judge.model()
        except ModelError as error:
            return str(error)
        return None


def lacking(title: str, extra: str, *packages: str) -> str | None:
    """Return which of the packages that a metric needs is not installed, in a sentence; None if all are."""
    for package in packages:
        if importlib.util.find_spec(package.replace("-", "_")) is None:
            return f"{title} needs the package {package}: {extras.install(extra)}."
    return None
