"""Whether a picture is of the kind that a segmenter was trained for, by the logits of the run that segments it.

    logits ─ softmax ─ log share of each class in the upper, middle and lower third ─ logistic regression ─▷ probability

Only where the classes are counts: a street has its road below and its sky above, wherever the camera stood. How sure
the segmenter is of them says less: it is as unsure of streets of other towns as of photographs of anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sempic import runtime
from sempic.errors import ModelError
from sempic.taxonomy import Taxonomy

THIRDS = 3
_LEAST = 1e-3
"""Shares much smaller than this count as none."""
_SIDE = 128
"""Larger answers are thinned to about this many rows or columns."""


@dataclass(frozen=True)
class Domain:
    """The kind of picture that a segmenter was trained for, as its card describes it.

    name: what such a picture shows, with its article: "a street scene".
    weights: what each of the `layout`'s numbers adds to the log-odds.
    bias: the log-odds without them.
    threshold: the probability below which a picture is outside.
    """

    name: str
    weights: tuple[float, ...]
    bias: float
    threshold: float

    @classmethod
    def of_card(cls, plain: Mapping[str, Any], taxonomy: Taxonomy) -> Domain:
        """Return what the `domain` of a card describes; raise `ValueError` for what makes no sense."""
        try:
            weights = np.array([plain["weights"][name] for name in taxonomy.classes], np.float64)
            name, bias, threshold = str(plain["name"]), float(plain["bias"]), float(plain["threshold"])
        except (TypeError, KeyError) as error:
            raise ValueError(f"it lacks {error}") from None
        if weights.shape != (len(taxonomy), THIRDS) or not np.isfinite([*weights.ravel(), bias, threshold]).all():
            raise ValueError(f"it has not {THIRDS} weights for each class")
        return cls(name, tuple(weights.ravel().tolist()), bias, threshold)

    def probability(self, numbers: NDArray[np.float64]) -> float:
        """Return the probability that a picture with these numbers, which `layout` returned, is inside."""
        return float(logistic(np.dot(self.weights, numbers) + self.bias))

    def is_outside(self, numbers: NDArray[np.float64]) -> bool:
        """Whether a picture with these numbers, which `layout` returned, is to be warned about."""
        return self.probability(numbers) < self.threshold


@cache
def of_model(model: runtime.Model) -> Domain | None:
    """Return a segmenter's domain, None where its card has none; raise `ModelError` for one that makes no sense."""
    if not model.card.domain:
        return None
    try:
        return Domain.of_card(model.card.domain, model.taxonomy)
    except ValueError as error:
        raise ModelError(f"The domain in the card of {model.card.name} cannot be used: {error}.") from None


def layout(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the logarithms of each class's share of the upper, middle and lower third (3 numbers a class, in order).

    Args:
        logits: classes×h×w.
    """
    step = max(1, max(logits.shape[1:]) // _SIDE)
    thin = logits[:, ::step, ::step].astype(np.float32)
    shares = np.exp(thin - thin.max(0))
    rows = (shares / shares.sum(0)).mean(2, dtype=np.float64)
    # Each row three times over, so that any number of rows has thirds.
    thirds = rows.repeat(THIRDS, 1).reshape(len(rows), THIRDS, -1).mean(2)
    return np.asarray(np.log(thirds + _LEAST).ravel())


def logistic(log_odds: Any) -> Any:
    """Return probabilities for log-odds, which may be of any size."""
    return 0.5 + 0.5 * np.tanh(0.5 * log_odds)
