"""What a run can be configured with: a dataclass for every kind of model, which holds its defaults.

Nothing here needs torch: a recipe's mistakes are reported before it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from sempic.errors import InputError
from sempic.taxonomy import Taxonomy

if TYPE_CHECKING:
    from sempic.training.recipe import ModelRecipe

PRECISIONS = ("bf16", "fp16", "fp32")
OTHERS, UNLABELLED = "others", "void"
"""In a mapping by class: the keys of all classes that it does not name, and of pixels without a class."""

PASTED = (
    "sign", "traffic sign", "traffic light", "pedestrian", "person", "bicyclist", "rider", "bicycle", "motorcycle",
)  # fmt: skip
"""The rare classes, by all the names that they have in taxonomies."""

ByClass = Mapping[str, float]
"""A number for each class, by its name. `others` is a must; what the taxonomy does not have is not used."""


MAP_IMPORTANCE: ByClass = {
    "others": 1.0, "sign": 2.0, "traffic sign": 2.0, "traffic light": 2.0, "pedestrian": 2.0, "person": 2.0,
    "bicyclist": 2.0, "rider": 2.0, "bicycle": 2.0, "motorcycle": 2.0, "pole": 1.5, "tree": 0.7, "vegetation": 0.7,
    "sky": 0.7,
}  # fmt: skip
IMPORTANCE: ByClass = {
    "others": 1.0, "sign": 3.0, "traffic sign": 3.0, "traffic light": 3.0, "pedestrian": 3.0, "person": 3.0,
    "bicyclist": 3.0, "rider": 3.0, "bicycle": 3.0, "motorcycle": 3.0, "pole": 2.0, "car": 1.5, "truck": 1.5,
    "bus": 1.5, "train": 1.5, "tree": 0.6, "vegetation": 0.6,
}  # fmt: skip
RELAXATION: ByClass = {"others": 0.0, "tree": 0.15, "vegetation": 0.15}


def by_class(numbers: ByClass, taxonomy: Taxonomy) -> tuple[float, ...]:
    """Return the number of each class of a taxonomy, in its order, and that of void; void is one of the `others`."""
    others = numbers[OTHERS]
    return (*(numbers.get(name, others) for name in taxonomy.classes), numbers.get(UNLABELLED, others))


@dataclass(frozen=True)
class RunOptions:
    """The options of every run."""

    recipe: str = ""
    kind: str = ""
    """What is trained: a key of `KINDS`."""
    taxonomy: str = ""
    """The classes: the name of a taxonomy that comes with Sempic, or a JSON file. Every recipe names one."""
    data: str = "camvid:train=0.65,photos=0.35"
    """A mixture, as `datasets.mixture` reads it."""
    validation: str = ""
    """The pictures for previews and measurements; if empty, what `config.validation` makes of `data`."""
    longest_side: int = 0
    """Larger pictures are shrunk to it on reading; 0 leaves all as they are."""
    init: str = ""
    """The run or model that the first weights come from."""
    crop: int = 128
    batch: int = 8
    """Crops of one process in one step; `accumulate` such batches, one after another, make an update."""
    accumulate: int = 1
    steps: int = 10000
    warm_up: int = 100
    learning_rate: float = 4e-4
    weight_decay: float = 0.01
    ema: float = 0.998
    seed: int = 0
    precision: str = "bf16"
    workers: int = -1
    """Processes that make batches ahead of the steps; -1 for as many as serve an accelerator, and none on a CPU."""
    log_every: int = 50
    checkpoint_minutes: float = 5.0
    tensorboard: bool = False

    cell: ClassVar[int] = 32
    """The sides of crops are multiples of it."""

    @classmethod
    def recipe_type(cls) -> type[ModelRecipe[Any]]:
        """Return the class that trains such a model; this loads torch."""
        raise NotImplementedError(f"{cls.__name__} names no class that trains it.")

    def __post_init__(self) -> None:
        for name in ("crop", "batch", "accumulate", "steps", "log_every", "learning_rate", "chain"):
            if not getattr(self, name, 1) > 0:
                raise InputError(f"'{name}' is {getattr(self, name)}; it must be above 0.")
        if self.crop % self.cell:
            raise InputError(f"'crop' is {self.crop}; crops of this recipe have sides of a multiple of {self.cell}.")
        if self.precision not in PRECISIONS:
            raise InputError(f"The precision can be {', '.join(PRECISIONS)}, not '{self.precision}'.")
        if not 0 <= self.ema < 1:
            raise InputError(f"'ema' is {self.ema}; it must be from 0 to below 1.")
        if any(number < 1 for number in (*getattr(self, "blocks", ()), getattr(self, "layers", 1))):
            raise InputError("'blocks' and 'layers' must be at least 1.")
        if not all(0 <= beta < 1 for beta in getattr(self, "betas", ())):
            raise InputError("'betas' must be from 0 to below 1.")
        if any(width < 16 or width % 16 for width in getattr(self, "widths", ())):
            raise InputError("'widths' must be multiples of 16, for channels are normalised in groups.")
        for name, numbers in self.mappings().items():
            if OTHERS not in numbers:
                raise InputError(f"'{name}' must have a number for '{OTHERS}', the classes that it does not name.")

    def mappings(self) -> dict[str, ByClass]:
        """Return the options that are numbers by class."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Mapping)}


@dataclass(frozen=True)
class SegmenterOptions(RunOptions):
    """The options of a segmenter; `learning_rate` is that of the backbone, which starts from ImageNet weights."""

    data: str = "camvid:train"
    crop: int = 256
    weight_decay: float = 0.02
    head_learning_rate: float = 2e-3

    @classmethod
    def recipe_type(cls) -> type[ModelRecipe[Any]]:
        from sempic.training.segmenters import SegmenterRecipe

        return SegmenterRecipe


@dataclass(frozen=True)
class JudgeOptions(SegmenterOptions):
    """The options of a judge."""

    @classmethod
    def recipe_type(cls) -> type[ModelRecipe[Any]]:
        from sempic.training.segmenters import JudgeRecipe

        return JudgeRecipe


@dataclass(frozen=True)
class MapOptions(RunOptions):
    """The options of SQ-GAN's map stream; `widths` are channels at 1/4, 1/8 and 1/16 of the picture's size."""

    cell: ClassVar[int] = 128
    batch: int = 16
    learning_rate: float = 6e-4
    betas: tuple[float, float] = (0.9, 0.95)
    widths: tuple[int, int, int] = (48, 80, 96)
    layers: int = 4
    """De-masking layers, each a residual block and attention."""
    pasted: tuple[str, ...] = PASTED
    """The classes of which pieces are cut out of labelled pictures and pasted into crops."""
    importance: ByClass = field(default_factory=lambda: MAP_IMPORTANCE)
    """The weight of a cell in the cross-entropy, by class."""

    @classmethod
    def recipe_type(cls) -> type[ModelRecipe[Any]]:
        from sempic.training.sqgan import MapRecipe

        return MapRecipe


@dataclass(frozen=True)
class PictureOptions(RunOptions):
    """The options of all models that draw pictures. Weights of losses are relative to 1 for L1.

    `widths` are channels at 1/2, 1/4, 1/8 and 1/16 of the picture's size; `blocks` are residual blocks at each of the
    last three, of the encoder and of the decoder.
    """

    betas: tuple[float, float] = (0.5, 0.9)
    widths: tuple[int, int, int, int] = (48, 96, 160, 256)
    blocks: tuple[int, int] = (2, 2)
    importance: ByClass = field(default_factory=lambda: IMPORTANCE)
    """The weight of a pixel in L1 and in the generator loss, by class."""
    pasted: tuple[str, ...] = PASTED
    """The classes of which pieces are cut out of labelled pictures and pasted into crops."""
    hue: float = 0.25
    """The share of crops of which the hue is rotated."""
    tint: float = 0.5
    """The share of crops in which the objects of the taxonomy are tinted, and of pasted pieces that are."""
    object_colours: float = 0.8
    """The share of crops whose layout has the colours of objects and accents in place of those of their classes."""
    discriminator_learning_rate: float = 3e-4
    adversarial: float = 0.5
    """The norm of the generator loss's gradient at the picture, as a share of that of all other losses."""
    adversarial_from: float = 0.3
    """The share of the run after which the discriminator joins; 1 for never."""
    perceptual: float = 0.15
    """The weight of the distance between the segmenter's features."""
    lpips: float = 0.0
    """The weight of LPIPS, which needs the weights in SEMPIC_WEIGHTS."""
    semantic: float = 0.1
    """The weight of the segmenter's cross-entropy on the decoded picture."""
    colour: float = 1.0
    """The weight of the difference between mean colours of 4×4 pixels."""
    mse: float = 0.0
    """The weight of the mean squared error."""
    feature_matching: float = 0.0
    """The weight of the distance between the discriminator's features."""


@dataclass(frozen=True)
class ImageOptions(PictureOptions):
    """The options of SQ-GAN's image stream, on original segmaps or on the `predicted` ones that a decoder has."""

    cell: ClassVar[int] = 128
    predicted: bool = False
    maps: str = ""
    """The run or model of the map stream, for `predicted` segmaps that travel as tokens."""
    through_tokens: float = 0.2
    """The share of batches whose `predicted` segmaps do."""
    layers: int = 4
    """De-masking layers, each a residual block and attention."""
    relaxation: ByClass = field(default_factory=lambda: RELAXATION)
    """By class: how far the picture is moved towards the original before any loss but that of colours sees it."""
    variance_covariance: float = 0.5
    """The weight of the variance-covariance loss of codes."""

    @classmethod
    def recipe_type(cls) -> type[ModelRecipe[Any]]:
        from sempic.training.sqgan import ImageRecipe

        return ImageRecipe


@dataclass(frozen=True)
class LayeredOptions(PictureOptions):
    """The options of the layered codec's generator."""

    mse: float = 2.0
    feature_matching: float = 0.1
    variance_covariance: float = 0.1
    """The weight of the variance-covariance loss of latents."""
    bits: tuple[float, float, float, float] = (2.0, 5.0, 8.5, 12.0)
    """The target of each rate in bits for 16×16 pixels: 172 to 1,035 bytes of a picture of 480×360."""
    fine_bits: tuple[float, float, float, float] = (4.0, 10.0, 22.0, 44.0)
    """The same of fine latents, which come on top of all others: 337 to 3,712 bytes."""

    @classmethod
    def recipe_type(cls) -> type[ModelRecipe[Any]]:
        from sempic.training.layered import LayeredRecipe

        return LayeredRecipe


@dataclass(frozen=True)
class SpicOptions(PictureOptions):
    """The options of SPIC's denoiser."""

    mse: float = 2.0
    feature_matching: float = 0.1
    noise: float = 0.0
    """The weight of the squared error of the noise: of the picture's error in units of the noise level."""
    chain: int = 3
    """At most so many passes, one after another from the coarse picture, of which the last is trained; 1 for single
    passes over noised originals."""
    no_map: float = 0.2
    no_coarse: float = 0.05
    """How often the segmap is left out, for guidance, and how often the coarse picture is, as in a cut stream."""

    @classmethod
    def recipe_type(cls) -> type[ModelRecipe[Any]]:
        from sempic.training.spic import SpicRecipe

        return SpicRecipe


KINDS: dict[str, type[RunOptions]] = {
    "segmenter": SegmenterOptions,
    "judge": JudgeOptions,
    "sqgan-map": MapOptions,
    "sqgan-image": ImageOptions,
    "layered": LayeredOptions,
    "spic": SpicOptions,
}
"""What can be trained, by the name that recipes give as their `kind`."""
