"""What a run is told: a dataclass a kind of recipe holds every default, a TOML file what one recipe does otherwise.

Nothing here needs torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from sempic.errors import InputError
from sempic.taxonomy import CAMVID11

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).parent / "recipes"
FILE = "config.json"
"""A run's own configuration, in its folder."""
PRECISIONS = ("bf16", "fp16", "fp32")
STAGES = {
    "sqgan": ("sqgan-map", "sqgan-image"),
    "sqgan-paper": ("sqgan-paper-map", "sqgan-paper-image"),
}
"""What is trained first, in folders of these names inside the run's, where a recipe is given nothing to start from:
the map's stream, then the picture's."""


def _by_class(others: float, **named: float) -> tuple[float, ...]:
    """Return a number for each class of the taxonomy, in its order, and one for void."""
    return (*(named.get(name, others) for name in CAMVID11.classes), others)


MAP_IMPORTANCE = _by_class(1.0, sign=2.0, pedestrian=2.0, bicyclist=2.0, pole=1.5, tree=0.7, sky=0.7)
IMPORTANCE = _by_class(1.0, sign=3.0, pedestrian=3.0, bicyclist=3.0, pole=2.0, car=1.5, tree=0.6)
RELAXATION = _by_class(0.0, tree=0.15)


@dataclass(frozen=True)
class Options:
    """What every run is told."""

    recipe: str = ""
    kind: str = ""
    """What is trained: a key of `KINDS`."""
    data: str = "camvid:train=0.65,photos=0.35"
    """A mixture, as `datasets.mixture` reads it."""
    validation: str = ""
    """What pictures are shown and measured; if empty, what `validation` makes of `data`."""
    longest_side: int = 0
    """Larger pictures are shrunk to it on reading; 0 leaves all as they are."""
    init: str = ""
    """The run or model that the weights come from at first."""
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
    """What the sides of crops must be multiples of."""

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


@dataclass(frozen=True)
class SegmentOptions(Options):
    """Of a segmenter or judge; `learning_rate` is the body's, which knows ImageNet."""

    data: str = "camvid:train"
    crop: int = 256
    weight_decay: float = 0.02
    head_learning_rate: float = 2e-3


@dataclass(frozen=True)
class MapOptions(Options):
    """Of SQ-GAN's map stream; `widths` are channels at a quarter, an eighth and a sixteenth of the picture's size."""

    cell: ClassVar[int] = 128
    batch: int = 16
    learning_rate: float = 6e-4
    betas: tuple[float, float] = (0.9, 0.95)
    widths: tuple[int, int, int] = (48, 80, 96)
    layers: int = 4
    """Of the de-masking, each a residual block and attention."""
    importance: tuple[float, ...] = MAP_IMPORTANCE
    """How much a cell of each class counts, and one of void."""


@dataclass(frozen=True)
class PictureOptions(Options):
    """Of all that draws pictures. Losses are weighted against 1 for L1.

    `widths` are channels at half, a quarter, an eighth and a sixteenth of the picture's size; `blocks` are residual
    blocks at each of the last three, of the encoder and of the decoder.
    """

    betas: tuple[float, float] = (0.5, 0.9)
    widths: tuple[int, int, int, int] = (48, 96, 160, 256)
    blocks: tuple[int, int] = (2, 2)
    importance: tuple[float, ...] = IMPORTANCE
    """How much a pixel of each class counts in L1, and one of void."""
    discriminator_learning_rate: float = 3e-4
    adversarial: float = 0.5
    """The share of the gradient at the picture that the discriminator gets, against fidelity's 1."""
    adversarial_from: float = 0.3
    """The share of the run after which the discriminator joins; 1 for never."""
    features: float = 0.15
    meaning: float = 0.1
    colour: float = 1.0
    squares: float = 0.0
    matching: float = 0.0


@dataclass(frozen=True)
class ImageOptions(PictureOptions):
    """Of SQ-GAN's image stream, on original maps or on the `predicted` ones that a decoder has."""

    cell: ClassVar[int] = 128
    predicted: bool = False
    maps: str = ""
    """The run or model of the map stream, for `predicted` maps that travel as tokens."""
    through_tokens: float = 0.2
    """The share of batches whose `predicted` maps do."""
    layers: int = 4
    """Of the de-masking, each a residual block and attention."""
    relaxation: tuple[float, ...] = RELAXATION
    """By class: how far the picture is pulled towards the original before anybody criticises it."""
    crowding: float = 0.5


@dataclass(frozen=True)
class LayeredOptions(PictureOptions):
    """Of the layered codec's base."""

    squares: float = 2.0
    matching: float = 0.1
    crowding: float = 0.1
    bits: tuple[float, float, float, float] = (2.0, 5.0, 8.5, 12.0)
    """The bits of a 16×16 cell that each rate aims at: 172 to 1,035 bytes of a picture of 480×360."""


@dataclass(frozen=True)
class SpicOptions(PictureOptions):
    """Of SPIC's denoiser."""

    squares: float = 2.0
    matching: float = 0.1
    noise: float = 0.0
    """The weight of the error in the noise, squared: of the picture's error in units of the noise level."""
    chain: int = 3
    """At most so many passes, one after another from the coarse picture, of which the last is trained; 1 for single
    passes over noised originals."""
    no_map: float = 0.2
    no_coarse: float = 0.05
    """How often the map is left out, for guidance, and how often the coarse picture is, as in a stream that was cut."""


KINDS: dict[str, type[Options]] = {
    "segmenter": SegmentOptions,
    "judge": SegmentOptions,
    "sqgan-map": MapOptions,
    "sqgan-image": ImageOptions,
    "layered": LayeredOptions,
    "spic": SpicOptions,
}


def recipes() -> list[str]:
    """Return the names of the recipes that come with Sempic."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load(recipe: str, settings: Sequence[str] = ()) -> Options:
    """Return the options of a recipe, by its name or as a TOML file of your own, with `key=value` settings on top.

    Raises `InputError` for what is not known, with a list of what is, and for values that do not fit.
    """
    path = RECIPES / f"{recipe}.toml" if recipe in recipes() else Path(recipe)
    if path.suffix != ".toml" or not path.is_file():
        raise InputError(f"'{recipe}' is no recipe; there are {', '.join(recipes())}, or a TOML file of your own.")
    try:
        stated = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The recipe {path} cannot be read: {error}.") from None
    kind = stated.pop("kind", None)
    if kind not in KINDS:
        raise InputError(f"The recipe {path} is of kind '{kind}'; there are {', '.join(KINDS)}.")
    given = {key: _parsed(key, value, KINDS[kind]) for key, value in map(_split, settings)}
    fitted = {key: _fitted(key, value, KINDS[kind]) for key, value in (stated | given).items()}
    return KINDS[kind](recipe=path.stem, kind=kind, **fitted)


def relevant(settings: Sequence[str], recipe: str) -> list[str]:
    """Return the `key=value` settings whose keys a recipe knows."""
    known = _known(KINDS[load(recipe).kind])
    return [setting for setting in settings if _split(setting)[0] in known]


def save(options: Options, run: Path) -> None:
    """Write a run's configuration."""
    run.mkdir(parents=True, exist_ok=True)
    (run / FILE).write_text(json.dumps(asdict(options), indent=1) + "\n")


def of_run(run: Path) -> Options:
    """Return the configuration of a run; raise `InputError` where there is none that this release understands."""
    try:
        stored = json.loads((run / FILE).read_text())
        kind = KINDS[stored["kind"]]
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in stored.items()})
    except FileNotFoundError:
        raise InputError(f"There is no training run in '{run}': it has no {FILE}.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The run in '{run}' has no usable {FILE}: {error}.") from None


def validation(options: Options) -> str:
    """Return which data to look at: as told, else `val` of CamVid or Cityscapes, else the first part of the mixture."""
    if options.validation:
        return options.validation
    from sempic.datasets import mixture

    names = [name for name, _ in mixture(options.data)]
    known = [name for name in names if name.startswith(("camvid:", "cityscapes:"))]
    return known[0].partition(":")[0] + ":val" if known else names[0]


def describe(options: Options) -> str:
    """Return all options as TOML, the way a recipe of one's own could say them."""
    lines = []
    for key, value in asdict(options).items():
        if key != "recipe":
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines)


def _known(kind: type[Options]) -> Mapping[str, Any]:
    """Return the keys that a user may set, with their defaults."""
    return {f.name: f.default for f in fields(kind) if f.name not in ("recipe", "kind")}


def _split(setting: str) -> tuple[str, str]:
    key, given, value = setting.partition("=")
    if not given:
        raise InputError(f"'{setting}' is no setting; say key=value.")
    return key.strip(), value.strip()


def _parsed(key: str, value: str, kind: type[Options]) -> Any:
    """Read a value from the command line as TOML does, but texts without quotation marks."""
    if isinstance(_known(kind).get(key, ""), str):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _fitted(key: str, value: Any, kind: type[Options]) -> Any:
    """Return a value as the type of its key's default; raise `InputError` if it is none."""
    known = _known(kind)
    if key not in known:
        raise InputError(f"'{key}' is not known; it can be {', '.join(known)}.")
    default = known[key]
    if isinstance(default, tuple) and isinstance(value, list) and len(value) == len(default):
        if all(_is(one, wanted) for one, wanted in zip(value, default, strict=True)):
            return tuple(type(wanted)(one) for one, wanted in zip(value, default, strict=True))
    elif _is(value, default):
        return type(default)(value)
    example = list(default) if isinstance(default, tuple) else default
    raise InputError(f"'{key}' cannot be {json.dumps(value, default=str)}; its default is {json.dumps(example)}.")


def _is(value: Any, default: Any) -> bool:
    """Whether a value can stand where a default does; a whole number can stand for any number."""
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)
