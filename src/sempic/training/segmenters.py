"""The segmenter and the judge that scores decoded pictures: two architectures on purpose, trained alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from sempic import datasets, runtime
from sempic.bench.judge import Score
from sempic.efficientnet import TAPPED_CHANNELS, EfficientNetLite
from sempic.errors import InputError
from sempic.segmap.segmenter import segment
from sempic.taxonomy import VOID, Taxonomy, load, names
from sempic.training import config, data, preview, sources, weights
from sempic.training.loop import Panels
from sempic.training.options import SegmenterOptions
from sempic.training.recipe import ModelRecipe
from sempic.training.sampler import LOOKED_AT, Pool, Source, spread

if TYPE_CHECKING:
    from sempic.training.export import Export


# -- networks ---------------------------------------------------------------------------------------------------------


def _conv_norm(channels_in: int, channels_out: int, kernel: int = 3, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _grow(x: Tensor, factor: int = 2) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class SegmenterNetwork(nn.Module):
    """EfficientNet-Lite0 with a feature-pyramid head (Lin et al. 2017).

    N×3×H×W pictures in [0,1], H and W multiples of 32 → N×classes×H/4×W/4 logits.
    """

    def __init__(self, classes: int, width: int = 96, pretrained: bool = True) -> None:
        super().__init__()
        self.encoder = EfficientNetLite("lite0", pretrained)
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in TAPPED_CHANNELS)
        self.smooth = nn.ModuleList(_conv_norm(width, width) for _ in TAPPED_CHANNELS[:3])
        self.head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(width, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encoder(x))

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return logits from the encoder's features, so that losses can share one pass over the encoder."""
        levels = [lateral(f) for lateral, f in zip(self.lateral, features, strict=True)]
        x = levels[3]
        for level, smooth in zip(levels[2::-1], list(self.smooth)[::-1], strict=True):
            x = smooth(level + _grow(x))
        logits: Tensor = self.head(x)
        return logits


class JudgeNetwork(nn.Module):
    """EfficientNet-Lite1 with pyramid pooling and a concatenating U-shaped decoder; shapes as of `SegmenterNetwork`."""

    def __init__(self, classes: int, pretrained: bool = True) -> None:
        super().__init__()
        self.encoder = EfficientNetLite("lite1", pretrained)
        quarter, eighth, sixteenth, deepest = TAPPED_CHANNELS
        self.context = _conv_norm(2 * deepest, 160, 1)
        self.up = nn.ModuleList(
            nn.Sequential(_conv_norm(deep + skip, out, 1), _conv_norm(out, out, 5, groups=out), _conv_norm(out, out, 1))
            for deep, skip, out in ((160, sixteenth, 128), (128, eighth, 96), (96, quarter, 64))
        )
        self.head = nn.Conv2d(64, classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        *skips, deep = self.encoder(x)
        whole = deep.mean((2, 3), keepdim=True).expand_as(deep)
        y = self.context(torch.cat([deep, whole], 1))
        for up, skip in zip(self.up, skips[::-1], strict=True):
            y = up(torch.cat([_grow(y), skip], 1))
        logits: Tensor = self.head(y)
        return logits


class FullSize(nn.Module):
    """A segmenter whose logits have the picture's size."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return F.interpolate(self.network(image), scale_factor=4, mode="bilinear", align_corners=False)


# -- training ---------------------------------------------------------------------------------------------------------


class SegmenterRecipe(ModelRecipe[SegmenterOptions]):
    """Cross-entropy with rare classes weighted up, on random crops of strongly varied scale and light."""

    model_kind = "segmenter"
    summary = "Pictures into {classes} classes: EfficientNet-Lite0 with a feature pyramid."
    architecture: ClassVar[type[SegmenterNetwork | JudgeNetwork]] = SegmenterNetwork

    def __init__(self, options: SegmenterOptions, taxonomy: Taxonomy, pools: Sequence[Pool]) -> None:
        shares = np.array([pool.weight for pool in pools])
        self.shares = shares / shares.sum()
        self.pools, self.options, self.taxonomy = pools, options, taxonomy
        self.networks, self.adversaries = self.architecture(len(taxonomy)), nn.Module()
        # The first stages, of edges and textures, stay as ImageNet left them, which saves a third of a step.
        self.frozen = nn.ModuleList([self.networks.encoder.stem, *self.networks.encoder.stages[:2]])
        self.frozen.requires_grad_(False).eval()
        of_encoder = {id(p) for p in self.networks.encoder.parameters()}
        body = [p for p in self.networks.encoder.parameters() if p.requires_grad]
        head = [p for p in self.networks.parameters() if id(p) not in of_encoder]
        rates = (body, options.learning_rate), (head, options.head_learning_rate)
        groups = [{"params": parameters, "lr": rate} for parameters, rate in rates]
        self.optimisers = [torch.optim.AdamW(groups, weight_decay=options.weight_decay)]
        counts = _counts([source for pool in pools for source in spread(pool.sources, LOOKED_AT)], len(taxonomy))
        # The bounded inverse-log weighting of ENet (Paszke et al. 2016).
        self.weights = torch.tensor(1 / np.log(1.1 + counts / np.sum(counts)), dtype=torch.float32)

    @classmethod
    def network(cls, options: SegmenterOptions, taxonomy: Taxonomy) -> nn.Module:
        return cls.architecture(len(taxonomy), pretrained=False)

    @classmethod
    def restore(cls, network: nn.Module, model: runtime.Model) -> None:
        if model.card.kind != cls.model_kind:
            raise cls.cannot_start(model)
        weights.restore(network, weights.read(model, [cls.model_kind]))

    @classmethod
    def restore_other(cls, network: nn.Module, model: runtime.Model, taxonomy: Taxonomy) -> None:
        """Load all weights of a model; each class starts as the one of the model that it is merged into, if any."""
        other = cls.architecture(len(model.taxonomy), pretrained=False)
        cls.restore(other, model)
        state, own = other.state_dict(), network.state_dict()
        parents = model.taxonomy.ids_of(dict(enumerate(taxonomy.classes)))[: len(taxonomy)].astype(np.int64)
        known = torch.from_numpy(parents < len(model.taxonomy))
        for name, value in state.items():
            if value.shape != own[name].shape:  # the last layer, which has a row for each class
                rows = value[torch.from_numpy(parents.clip(max=len(value) - 1))]
                state[name] = torch.where(known.reshape(-1, *[1] * (value.ndim - 1)), rows, own[name])
        network.load_state_dict(state)

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
        while len(pairs) < self.options.batch:
            shown = self.pools[rng.choice(len(self.pools), p=self.shares)].sources
            frame = shown[rng.integers(len(shown))].frame
            if frame.segmap is None:  # nothing to learn from; `_counts` has made sure that not all are like that
                continue
            image, segmap = data.random_crop(frame, self.options.crop, (0.75, 1.6), rng)
            pairs.append((data.random_jitter(0.2, rng)(image), segmap))
        return data.to_tensors(pairs)

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        images, labels = batch
        with accelerator.autocast():
            logits = self.networks(images.contiguous(memory_format=torch.channels_last))
        logits = F.interpolate(logits.float(), scale_factor=4, mode="bilinear", align_corners=False)
        loss = F.cross_entropy(logits, labels, self.weights.to(logits.device), ignore_index=VOID)
        optimiser = self.optimisers[0]
        accelerator.backward(loss)
        optimiser.step()
        optimiser.zero_grad()
        right = (logits.argmax(1) == labels)[labels != VOID].float().mean()
        return {"loss": loss.detach(), "accuracy": right}

    def preview(self, networks: nn.Module, source: Source) -> Panels:
        image, _, _ = preview.inputs(source)
        labels = source.frame.segmap
        shown = "no labels" if labels is None else self.taxonomy.colourise(preview.window(labels))
        predicted = FullSize(networks)(image)[0].argmax(0).to(torch.uint8).numpy()
        return [
            ("original", preview.pixels(image)),
            ("labels", shown),
            ("predicted", self.taxonomy.colourise(predicted)),
        ]

    # Models.

    @classmethod
    def write(cls, export: Export) -> None:
        h, w = 32 * Dim("h", min=1, max=256), 32 * Dim("w", min=1, max=256)
        inputs = {"image": torch.rand(1, 3, 384, 480)}
        network = FullSize(export.network)
        export.write_network(cls.model_kind, network, inputs, ["logits"], {"image": {2: h, 3: w}})

    @classmethod
    def measure(cls, folder: Path, options: SegmenterOptions, taxonomy: Taxonomy) -> dict[str, Any]:
        """Return the mIoU over the labelled validation pictures, as the bench computes it."""
        named = config.validation(options)
        pictures = [picture for picture in datasets.find(named) if picture.label is not None]
        if not pictures:
            return {"data": named, "pictures": 0}
        frames = (sources.shrunk(picture.read(taxonomy), options.longest_side) for picture in pictures)
        score = evaluate(folder / f"{cls.model_kind}.onnx", frames, taxonomy)
        iou = {
            name: None if np.isnan(value) else round(float(value), 4)
            for name, value in zip(taxonomy.classes, score.per_class(), strict=True)
        }
        classes = dict(enumerate(taxonomy.classes))
        coarser = [other for other in map(load, names()) if len(other) < len(taxonomy)]
        merged = {
            other.name: round(score.merged(other).miou(), 4)
            for other in coarser
            if VOID not in other.ids_of(classes)[: len(taxonomy)]
        }
        found = {"data": named, "pictures": len(pictures), "miou": round(score.miou(), 4), "iou": iou}
        return found | {"merged": merged} if merged else found


class JudgeRecipe(SegmenterRecipe):
    """The same for the judge."""

    model_kind = "judge"
    summary = "Scores decoded pictures and nothing else: EfficientNet-Lite1 with a U-shaped decoder."
    architecture = JudgeNetwork


def evaluate(network: Path, frames: Iterable[datasets.Frame], taxonomy: Taxonomy) -> Score:
    """Return the score of a segmenter (an ONNX file) on labelled pictures."""
    score = Score(taxonomy)
    for frame in frames:
        assert frame.segmap is not None
        score.add(frame.segmap, segment(frame.image, taxonomy, network))
    return score


def _counts(shown: list[Source], classes: int) -> NDArray[np.int64]:
    """Return how many pixels of each class are labelled; raise `InputError` where none are."""
    counts = np.zeros(256, np.int64)
    for source in shown:
        if source.frame.segmap is not None:
            counts += np.bincount(source.frame.segmap.ravel(), minlength=256)
    if not counts[:classes].any():
        raise InputError("None of the pictures has labels, and a segmenter learns from nothing else.")
    return counts[:classes]
