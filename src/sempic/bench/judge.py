"""The judge: a segmentation network that no codec was trained with reads decoded pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sempic import runtime
from sempic.taxonomy import CAMVID11, VOID

MODEL = "judge-camvid11"


def read(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the judge's segmap (uint8 H×W) of a picture (uint8 H×W×3), at the picture's own size."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 32), (0, -width % 32), (0, 0)), mode="edge")
    x = padded.transpose(2, 0, 1)[None].astype(np.float32) / 255
    (logits,) = runtime.model(MODEL).network("judge").run(image=x)
    return np.asarray(logits[0].argmax(0)[:height, :width].astype(np.uint8))


class Score:
    """Intersection over union, pooled over all pixels of all pictures added; void in the truth is not scored."""

    def __init__(self) -> None:
        self.confusion = np.zeros((len(CAMVID11), len(CAMVID11) + 1), np.int64)
        """Pixels by true class (rows) and guess (columns, the last is void)."""

    def add(self, truth: NDArray[np.uint8], guess: NDArray[np.uint8]) -> None:
        """Count a picture: two segmaps (H×W) of the same size; a guess of void is wrong everywhere."""
        classes = len(CAMVID11)
        scored = truth != VOID
        pairs = truth[scored].astype(np.int64) * (classes + 1) + np.minimum(guess[scored], classes)
        self.confusion += np.bincount(pairs, minlength=self.confusion.size).reshape(self.confusion.shape)

    def per_class(self) -> NDArray[np.float64]:
        """Return each class's IoU, NaN for one that neither occurs nor was guessed."""
        hits = np.diag(self.confusion)
        union = self.confusion.sum(0)[:-1] + self.confusion.sum(1) - hits
        return np.where(union > 0, hits / np.maximum(union, 1), np.nan)

    def miou(self) -> float:
        """Return the mean of the classes' IoU."""
        return float(np.nanmean(self.per_class()))
