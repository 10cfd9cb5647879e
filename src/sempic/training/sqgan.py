"""SQ-GAN (Pezone, Barbarossa, Caire 2025), shrunk to run everywhere.

    picture, segmap ─ Encoder ─ Samm ─ top-k ─ Quantiser ─▷ tokens ─▷ Demasker ─ Decoder(segmap) ─ picture
    segmap ──── MapEncoder ─ Samm ─ top-k ─ Quantiser ─▷ tokens ─▷ Demasker ─ MapDecoder ─ segmap

It is trained in three stages: the map stream G_s, the image stream G_x on original segmaps, and G_x on the segmaps that
a decoder has. All segmaps here are one-hot at a quarter of the picture's size, and void is the zero vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.export import Dim

from sempic import runtime
from sempic.errors import InputError
from sempic.segmap import resample
from sempic.taxonomy import VOID, Taxonomy
from sempic.training import config, losses, preview, tables, weights
from sempic.training.blocks import (
    BLOCKS,
    EXTRA,
    WIDTHS,
    Blocks,
    PictureDecoder,
    PictureEncoder,
    ResBlock,
    Widths,
    draw_layout,
    draw_noise,
    one_hot,
    shrink,
)
from sempic.training.gan import PictureRecipe, encoder_inputs
from sempic.training.loop import Panels, clip_gradients
from sempic.training.options import ImageOptions, MapOptions, by_class
from sempic.training.recipe import ModelRecipe, is_run, trained
from sempic.training.sampler import CropSampler, Pool, Source
from sempic.training.tokens import (
    CODE_WIDTH,
    LAYERS,
    WINDOW,
    Demasker,
    Quantised,
    Quantiser,
    Samm,
    keep_most_relevant,
    perplexity,
)

if TYPE_CHECKING:
    from sempic.training.export import Export

MapWidths = tuple[int, int, int]
MAP_WIDTHS: MapWidths = (48, 80, 96)
"""Channels of the map stream at a quarter, an eighth and a sixteenth of the picture's size."""
DEVIATION = 0.5
"""The standard deviation that the variance-covariance loss asks of codes (even use of the lattice: 0.56)."""
FRACTIONS = {"all tokens": 1.0, "30 % of the tokens": 0.3}
"""What previews show."""
LEAST_THROUGH_TOKENS = 0.4
"""At least so many of the tokens of a segmap are kept where the image stream is trained on what comes out."""


# -- networks ---------------------------------------------------------------------------------------------------------


class MapEncoder(nn.Module):
    """E_s: one-hot segmap → N×MAP_WIDTHS[-1]×h×w latents."""

    def __init__(self, classes: int, widths: MapWidths = MAP_WIDTHS) -> None:
        super().__init__()
        fine, middle, deep = widths
        self.body = nn.Sequential(
            nn.Conv2d(classes, fine, 3, padding=1), ResBlock(fine), nn.Conv2d(fine, middle, 3, 2, 1),
            ResBlock(middle), nn.Conv2d(middle, deep, 3, 2, 1), ResBlock(deep), ResBlock(deep),
        )  # fmt: skip

    def forward(self, segmap: Tensor) -> Tensor:
        y: Tensor = self.body(segmap)
        return y


class MapDecoder(nn.Module):
    """D_s: N×MAP_WIDTHS[-1]×h×w features → N×(classes+1)×4h×4w logits; the last class is void."""

    def __init__(self, classes: int, widths: MapWidths = MAP_WIDTHS) -> None:
        super().__init__()
        fine, middle, deep = widths
        self.body = nn.Sequential(
            ResBlock(deep), nn.Conv2d(deep, 4 * middle, 1), nn.PixelShuffle(2),
            ResBlock(middle), nn.Conv2d(middle, 4 * fine, 1), nn.PixelShuffle(2),
            ResBlock(fine), nn.GroupNorm(16, fine), nn.SiLU(), nn.Conv2d(fine, classes + 1, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y


class ImageStream(nn.Module):
    """G_x: the picture's own tokens."""

    def __init__(self, classes: int, widths: Widths = WIDTHS, blocks: Blocks = BLOCKS, layers: int = LAYERS) -> None:
        super().__init__()
        self.encoder, self.samm = PictureEncoder(classes, widths, blocks[0]), Samm(widths[-1], classes)
        self.quantiser = Quantiser()
        self.demasker, self.decoder = Demasker(widths[-1], layers), PictureDecoder(classes, widths, blocks[1])

    def encode(self, image: Tensor, segmap: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors to quantise and their relevance."""
        vectors, relevance = self.samm(self.encoder(image, segmap), segmap)
        return vectors, relevance

    def decode(self, codes: Tensor, kept: Tensor, layout: Tensor) -> Tensor:
        """Return the picture from its kept codes and what `draw_layout` made of the segmap."""
        picture: Tensor = self.decoder(self.demasker(codes, kept), layout)
        return picture

    def forward(
        self, image: Tensor, segmap: Tensor, layout: Tensor, fraction: Tensor
    ) -> tuple[Tensor, Quantised, Tensor]:
        """Send `fraction` (N) of each picture's tokens → picture, quantised tokens, mask."""
        vectors, relevance = self.encode(image, segmap)
        kept = keep_most_relevant(relevance, fraction)
        quantised = self.quantiser(vectors)
        return self.decode(quantised.codes, kept, layout), quantised, kept


class MapStream(nn.Module):
    """G_s: the segmap's own tokens."""

    def __init__(self, classes: int, widths: MapWidths = MAP_WIDTHS, layers: int = LAYERS) -> None:
        super().__init__()
        self.encoder, self.samm = MapEncoder(classes, widths), Samm(widths[-1], classes)
        self.quantiser = Quantiser()
        self.demasker, self.decoder = Demasker(widths[-1], layers), MapDecoder(classes, widths)

    def encode(self, segmap: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors to quantise and their relevance."""
        vectors, relevance = self.samm(self.encoder(segmap), segmap)
        return vectors, relevance

    def decode(self, codes: Tensor, kept: Tensor) -> Tensor:
        """Return the segmap's logits from its kept codes."""
        logits: Tensor = self.decoder(self.demasker(codes, kept))
        return logits

    def forward(self, segmap: Tensor, fraction: Tensor) -> tuple[Tensor, Quantised, Tensor]:
        """Send `fraction` (N) of each segmap's tokens → logits, quantised tokens, mask."""
        vectors, relevance = self.encode(segmap)
        kept = keep_most_relevant(relevance, fraction)
        quantised = self.quantiser(vectors)
        return self.decode(quantised.codes, kept), quantised, kept


# -- training ---------------------------------------------------------------------------------------------------------


def random_fractions(count: int, rng: np.random.Generator) -> Tensor:
    """Draw kept fractions: a third everything, a few nothing, the rest uniform, so that one model serves every rate."""
    kind, fraction = rng.random(count), rng.uniform(0.05, 1, count)
    return torch.tensor(np.where(kind < 0.33, 1.0, np.where(kind < 0.38, 0.0, fraction)), dtype=torch.float32)


class MapRecipe(ModelRecipe[MapOptions]):
    """Stage 1: the map stream, under a cross-entropy that is weighted by class."""

    model_kind, summary = "sqgan", ""

    def __init__(self, options: MapOptions, taxonomy: Taxonomy, pools: Sequence[Pool]) -> None:
        self.options, self.taxonomy = options, taxonomy
        self.sampler = CropSampler(pools, taxonomy, options.crop, options.pasted)
        self.networks, self.adversaries = self.network(options, taxonomy), nn.Module()
        self.optimisers = [
            torch.optim.AdamW(
                self.networks.parameters(),
                lr=options.learning_rate,
                betas=options.betas,
                weight_decay=options.weight_decay,
            )
        ]
        self.weights = torch.tensor(by_class(options.importance, taxonomy))

    @classmethod
    def network(cls, options: MapOptions, taxonomy: Taxonomy) -> MapStream:
        return MapStream(len(taxonomy), options.widths, options.layers)

    @classmethod
    def restore(cls, network: nn.Module, model: runtime.Model) -> None:
        if model.card.kind != cls.model_kind:
            raise cls.cannot_start(model)
        weights.restore(network, weights.read(model, ["map_encoder", "map_decoder"]))

    def batch(self, rng: np.random.Generator) -> list[Tensor]:
        _, send, *_ = self.sampler.draw(self.options.batch, bool(rng.random() < 0.7), rng)
        return [shrink(send, len(self.taxonomy)), random_fractions(self.options.batch, rng)]

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        segmap, fraction = batch
        with accelerator.autocast():
            logits, quantised, _ = self.networks(segmap, fraction)
        truth = torch.where(segmap.sum(1) > 0, segmap.argmax(1), len(self.taxonomy))
        entropy = F.cross_entropy(logits.float(), truth, self.weights.to(logits.device))
        accelerator.backward(entropy)
        clip_gradients(self.networks, accelerator)
        self.optimisers[0].step()
        self.optimisers[0].zero_grad()
        return {"cross_entropy": entropy.detach(), "codes": perplexity(quantised.indices)}

    def preview(self, networks: nn.Module, source: Source) -> Panels:
        _, segmap, _ = preview.inputs(source)
        panels: Panels = [("segmap", preview.coloured(segmap, self.taxonomy))]
        for caption, fraction in FRACTIONS.items():
            logits, _, _ = networks(segmap, segmap.new_full((1,), fraction))
            decoded = one_hot(logits.argmax(1), len(self.taxonomy))
            panels.append((caption, preview.coloured(decoded, self.taxonomy)))
        return panels

    @classmethod
    def write(cls, export: Export) -> None:
        raise InputError("A map stream is one half of SQ-GAN; export the run of the image stream that uses it.")


class ImageRecipe(PictureRecipe[ImageOptions]):
    """Stages 2 and 3: the image stream under the losses of `PictureRecipe`.

    Stage 2 sends original segmaps, stage 3 (`predicted`) the ones that a decoder will have.
    """

    model_kind, summary = "sqgan", "SQ-GAN, {classes} classes."

    def __init__(self, options: ImageOptions, taxonomy: Taxonomy, pools: Sequence[Pool]) -> None:
        super().__init__(options, taxonomy, pools)
        self.relaxation = by_class(options.relaxation, taxonomy)
        # A model that training starts from has a map stream as well; a run has one network.
        name = options.maps or ("" if is_run(options.init) else options.init)
        found = _map_stream(name, taxonomy) if options.predicted and name else None
        self.map_stream = found.eval().requires_grad_(False) if found is not None else None

    @classmethod
    def network(cls, options: ImageOptions, taxonomy: Taxonomy) -> ImageStream:
        return ImageStream(len(taxonomy), options.widths, options.blocks, options.layers)

    def batch(self, rng: np.random.Generator) -> list[Tensor]:
        count = self.options.batch
        crops = self.sampler.draw(count, self.options.predicted, rng)
        return [*crops, random_fractions(count, rng), torch.tensor(rng.random())]

    def step(self, batch: list[Tensor], progress: float, accelerator: Accelerator) -> dict[str, Tensor]:
        images, send, labels, colours, fraction, chance = batch
        images = images.contiguous(memory_format=torch.channels_last)
        segmap = shrink(send, self.classes)
        with accelerator.autocast():
            if self.map_stream is not None and chance < self.options.through_tokens:
                segmap = self._through_tokens(segmap, fraction)
            layout = draw_layout(segmap, colours, draw_noise(segmap))
            decoded, quantised, _ = self.networks(images, segmap, layout, fraction)
            decoded = decoded.float()
            spread = losses.variance_covariance(quantised.codes, DEVIATION)
        relaxed = decoded + losses.per_pixel(self.relaxation, labels) * (images - decoded)
        loss = self.options.variance_covariance * spread
        scalars = self.update(decoded, relaxed, images, labels, loss, progress, accelerator)
        return scalars | {"variance_covariance": spread.detach(), "codes": perplexity(quantised.indices)}

    def preview(self, networks: nn.Module, source: Source) -> Panels:
        image, segmap, colours = preview.inputs(source)
        panels: Panels = [("original", preview.pixels(image))]
        for caption, fraction in FRACTIONS.items():
            layout = draw_layout(segmap, colours, draw_noise(segmap))
            decoded, _, _ = networks(image, segmap, layout, image.new_full((1,), fraction))
            panels.append((caption, preview.pixels(decoded)))
        return panels

    @torch.no_grad()
    def _through_tokens(self, segmap: Tensor, fraction: Tensor) -> Tensor:
        """Return segmaps as a decoder has them when they travel as tokens."""
        assert self.map_stream is not None
        logits, _, _ = self.map_stream.to(segmap.device)(segmap, fraction.clamp(min=LEAST_THROUGH_TOKENS))
        return one_hot(logits.argmax(1), self.classes)

    @classmethod
    def write(cls, export: Export) -> None:
        map_stream = _map_stream_of_run(export)
        image, classes = export.network, len(export.taxonomy)
        export.parameters += weights.count(map_stream)
        _write_networks(export, image, map_stream)
        samples = _samples(image, map_stream, export.sources)
        named: dict[str, dict[str, Any]] = {}
        for name, stream, found in zip(("image", "map"), (image, map_stream), samples, strict=True):
            codebook = stream.quantiser.codebook.numpy()
            named[name] = {"codebook": codebook}
            named[f"{name}.grid"] = tables.fit_grid(found, classes, codebook).arrays()
        export.write_tables(export.segmap_tables | export.palette_tables, **named)


def _map_stream(name: str, taxonomy: Taxonomy) -> MapStream:
    """Return the map stream of a run or of a shipped model."""
    if is_run(name):
        return trained(Path(name))[0]
    network = MapStream(len(taxonomy)).eval()
    MapRecipe.restore(network, runtime.model(name))
    return network


def _map_stream_of_run(export: Export) -> MapStream:
    """Return the map stream that belongs to a run of an image stream, and note in the card where it is from."""
    options, stages = export.options, config.STAGES.get(export.options.recipe, {})
    own = [str(export.run / stage) for stage, option in stages.items() if option == "maps"]
    for candidate in (*own, options.maps):
        if not is_run(candidate):
            continue
        network, step = trained(Path(candidate))
        export.training["map"] = export.note(Path(candidate), step)
        return network
    name = options.maps or options.init
    if not name or is_run(name):
        raise InputError(
            f"The run '{export.run}' names no map stream; train it with maps=RUN, or by `sempic train sqgan`."
        )
    export.training["map"] = {"from": name}
    return _map_stream(name, export.taxonomy)


def _write_networks(export: Export, image: ImageStream, segmap: MapStream) -> None:
    rows, columns = weights.EXAMPLE
    h, w = Dim("h", min=1, max=512), Dim("w", min=1, max=512)
    whole = {2: WINDOW * Dim("rows", min=1, max=64), 3: WINDOW * Dim("columns", min=1, max=64)}
    cells = {side: 4 * size for side, size in whole.items()}
    classes, quarter_size = len(export.taxonomy), (4 * rows, 4 * columns)
    quarter, quarter_dims = torch.rand(1, classes, *quarter_size), {2: 4 * h, 3: 4 * w}
    codes, kept = torch.randn(1, CODE_WIDTH, rows, columns), torch.ones(1, 1, rows, columns)
    export.write_network(
        "encoder",
        weights.Method(image, "encode"),
        {"image": torch.rand(1, 3, 16 * rows, 16 * columns), "segmap": quarter},
        ["vectors", "relevance"],
        {"image": {2: 16 * h, 3: 16 * w}, "segmap": quarter_dims},
    )
    export.write_network(
        "decoder",
        weights.Method(image, "decode"),
        {"codes": codes, "kept": kept, "layout": torch.rand(1, classes + EXTRA, *quarter_size)},
        ["image"],
        {"codes": whole, "kept": whole, "layout": cells},
    )
    export.write_network(
        "map_encoder",
        weights.Method(segmap, "encode"),
        {"segmap": quarter},
        ["vectors", "relevance"],
        {"segmap": quarter_dims},
    )
    export.write_network(
        "map_decoder",
        weights.Method(segmap, "decode"),
        {"codes": codes, "kept": kept},
        ["logits"],
        {"codes": whole, "kept": whole},
    )


@torch.no_grad()
def _samples(image: ImageStream, segmap: MapStream, sources: Sequence[Source]) -> tuple[list[Any], list[Any]]:
    """Return (tokens, classes, relevance) of each picture, for the image and for the map stream."""
    of_image: list[Any] = []
    of_map: list[Any] = []
    for source in sources:
        pixels, quarter, ids = encoder_inputs(source)
        classes = resample.shrink(ids, 4)
        unknown = np.full_like(classes, VOID)
        for samples, stream, inputs, known in (
            (of_image, image, (pixels, quarter), classes),
            (of_map, segmap, (quarter,), unknown),
        ):
            vectors, relevance = stream.encode(*inputs)
            indices = stream.quantiser(vectors).indices[0]
            samples.append((indices.numpy().astype(np.int32), known, relevance[0, 0].numpy()))
    return of_image, of_map
