"""The judge: a segmentation network that no codec was trained with segments decoded pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sempic import runtime
from sempic.taxonomy import VOID, Taxonomy

_chosen: ContextVar[str] = ContextVar("_chosen", default="")


@contextmanager
def using(name: str) -> Iterator[None]:
    """Let another model judge in the block: its name, folder or address; empty for the one that comes with Sempic."""
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def model() -> runtime.Model:
    """Return the judge, whose taxonomy is the one that the bench counts in; `ModelError` where there is none."""
    return runtime.model(_chosen.get(), "judge")


def segment(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the judge's segmap (uint8 H×W) of a picture (uint8 H×W×3), at the picture's own size."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 32), (0, -width % 32), (0, 0)), mode="edge")
    x = padded.transpose(2, 0, 1)[None].astype(np.float32) / 255
    (logits,) = model().network("judge").run(image=x)
    return np.asarray(logits[0].argmax(0)[:height, :width].astype(np.uint8))


def translate(segmap: NDArray[np.uint8], taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """Return a segmap of a taxonomy as ids of the judge's; void for classes that the judge does not know."""
    table = model().taxonomy.ids_of(dict(enumerate(taxonomy.classes)))
    return np.asarray(table[segmap])


def iou_per_class(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """Return each class's intersection over union; NaN for a class that neither occurs nor was guessed.

    Args:
        confusion: pixels by true class (rows) and guess (columns, the last is void).
    """
    hits = np.diag(confusion)
    union = confusion.sum(0)[:-1] + confusion.sum(1) - hits
    return np.where(union > 0, hits / np.maximum(union, 1), np.nan)


class Score:
    """Intersection over union of the classes of a taxonomy, pooled over all pixels of all pictures added; pixels that
    are void in the truth are not scored."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.taxonomy = taxonomy
        self.confusion = np.zeros((len(taxonomy), len(taxonomy) + 1), np.int64)
        """Pixels by true class (rows) and guess (columns, the last is void)."""

    def add(self, truth: NDArray[np.uint8], guess: NDArray[np.uint8]) -> None:
        """Count a picture: two segmaps (H×W ids) of the same size; a guess of void is wrong everywhere."""
        classes = len(self.taxonomy)
        scored = truth != VOID
        pairs = truth[scored].astype(np.int64) * (classes + 1) + np.minimum(guess[scored], classes)
        self.confusion += np.bincount(pairs, minlength=self.confusion.size).reshape(self.confusion.shape)

    def merged(self, taxonomy: Taxonomy) -> Score:
        """Return the score of the same pictures in a taxonomy that these classes are merged into; void for the rest."""
        ids = taxonomy.ids_of(dict(enumerate(self.taxonomy.classes)))[: len(self.taxonomy)]
        rows = np.minimum(ids.astype(np.int64), len(taxonomy))
        counts = np.zeros((len(taxonomy) + 1, len(taxonomy) + 1), np.int64)
        np.add.at(counts, (rows[:, None], np.append(rows, len(taxonomy))), self.confusion)
        found = Score(taxonomy)
        found.confusion = counts[:-1]
        return found

    def per_class(self) -> NDArray[np.float64]:
        """Return each class's IoU; NaN for a class that neither occurs nor was guessed."""
        return iou_per_class(self.confusion)

    def miou(self) -> float:
        """Return the mean of the classes' IoU, without those that are NaN."""
        return float(np.nanmean(self.per_class()))
