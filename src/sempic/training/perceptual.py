"""The perceptual network: a frozen segmenter whose features and predictions decoded pictures are compared by."""

from __future__ import annotations

import warnings

from torch import Tensor, nn

from sempic import runtime
from sempic.errors import ModelError, SempicWarning
from sempic.taxonomy import Taxonomy
from sempic.training import weights
from sempic.training.segmenters import SegmenterNetwork


class PerceptualNetwork(nn.Module):
    """A frozen segmenter: one pass gives features to compare and a prediction to score.

    knows_classes: whether its predictions are of the classes that are trained on.
    """

    def __init__(self, segmenter: SegmenterNetwork, knows_classes: bool = True) -> None:
        super().__init__()
        self.segmenter, self.knows_classes = segmenter.eval().requires_grad_(False), knows_classes

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """N×3×H×W pictures in [0,1] → features at strides 4 to 32, and logits at a quarter of the size."""
        features = self.features(image)
        return features, self.segmenter.decode(features)

    def features(self, image: Tensor) -> list[Tensor]:
        """N×3×H×W pictures in [0,1] → features at strides 4 to 32."""
        return self.segmenter.encoder(image)


def installed(taxonomy: Taxonomy) -> PerceptualNetwork:
    """Return the installed segmenter of a taxonomy; where there is none, that of other classes for its features.

    Raises `ModelError` where no segmenter is installed, or one that is not a `SegmenterNetwork`.
    """
    try:
        model = runtime.default("segmenter", taxonomy.name)
    except ModelError:
        model = runtime.default("segmenter")
        words = f"The segmenter {model.card.name} has other classes: there is no semantic loss."
        warnings.warn(words, SempicWarning, stacklevel=2)
    network = SegmenterNetwork(len(model.taxonomy), pretrained=False)
    weights.restore(network, weights.read(model, ["segmenter"]))
    return PerceptualNetwork(network, model.taxonomy.classes == taxonomy.classes)
