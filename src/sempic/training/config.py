"""Recipes and configurations of runs: TOML files, `key=value` settings on top of them, and what a run keeps.

Nothing here needs torch: a recipe's mistakes are reported before it is loaded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from sempic import taxonomy
from sempic.errors import InputError
from sempic.training.options import KINDS, OTHERS, UNLABELLED, RunOptions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).parent / "recipes"
FILE = "config.json"
"""A run's own configuration, in its folder."""
STAGES = {
    "sqgan": {"sqgan-map": "maps", "sqgan-image": "init"},
    "sqgan-paper": {"sqgan-paper-map": "maps", "sqgan-paper-image": "init"},
}
"""The recipes that are trained first where a recipe is given nothing to start from, in folders of these names inside
the run's, and the option that then names the stage's run."""


def recipes() -> list[str]:
    """Return the names of the recipes that come with Sempic."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load(recipe: str, settings: Sequence[str] = ()) -> RunOptions:
    """Return the options of a recipe.

    Args:
        recipe: its name, or a TOML file of your own.
        settings: `key=value` texts that come on top; values are as in TOML, texts need no quotation marks.

    Raises:
        InputError: a recipe, key, taxonomy or class is not known (what is known is listed), or a value does not fit.
    """
    path = RECIPES / f"{recipe}.toml" if recipe in recipes() else Path(recipe)
    if path.suffix != ".toml" or not path.is_file():
        raise InputError(f"'{recipe}' is no recipe; there are {', '.join(recipes())}, or a TOML file of your own.")
    try:
        stated = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The recipe {path} cannot be read: {error}.") from None
    kind = stated.pop("kind", None)
    if kind not in KINDS:
        raise InputError(f"The recipe {path} is of kind '{kind}'; there are {', '.join(KINDS)}.")
    given = {key: _parsed(key, value, KINDS[kind]) for key, value in map(_split, settings)}
    fitted = {key: _fitted(key, value, KINDS[kind]) for key, value in (stated | given).items()}
    options = KINDS[kind](recipe=path.stem, kind=kind, **fitted)
    _check_classes(options)
    return options


def relevant(settings: Sequence[str], recipe: str) -> list[str]:
    """Return the `key=value` settings whose keys a recipe has."""
    known = _defaults(KINDS[load(recipe).kind])
    return [setting for setting in settings if _split(setting)[0] in known]


def save(options: RunOptions, run: Path) -> None:
    """Write a run's configuration."""
    run.mkdir(parents=True, exist_ok=True)
    (run / FILE).write_text(json.dumps(asdict(options), indent=1) + "\n")


def of_run(run: Path) -> RunOptions:
    """Return the configuration of a run; raise `InputError` where there is none that this release understands."""
    try:
        stored = json.loads((run / FILE).read_text())
        kind = KINDS[stored["kind"]]
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in stored.items()})
    except FileNotFoundError:
        raise InputError(f"There is no training run in '{run}': it has no {FILE}.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The run in '{run}' has no usable {FILE}: {error}.") from None


def validation(options: RunOptions) -> str:
    """Return the data for previews and measurements: `options.validation`, else `val` of the first part of the mixture
    that is split so, else its first part."""
    if options.validation:
        return options.validation
    from sempic.datasets import mixture

    names = [name for name, _ in mixture(options.data)]
    split = [name for name in names if name.startswith(("camvid:", "cityscapes:"))]
    return split[0].partition(":")[0] + ":val" if split else names[0]


def describe(options: RunOptions) -> str:
    """Return all options as TOML, the way a recipe of one's own could state them."""
    return "\n".join(f"{key} = {_toml(value)}" for key, value in asdict(options).items() if key != "recipe")


def _toml(value: Any) -> str:
    """Return a value as TOML has it; but for inline tables, that is as JSON has it."""
    if isinstance(value, Mapping):
        pairs = (f"{key if key.isalnum() else json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }"
    return json.dumps(value)


def _defaults(kind: type[RunOptions]) -> Mapping[str, Any]:
    """Return the keys that a user may set, with their defaults."""
    return {
        f.name: f.default if f.default_factory is MISSING else f.default_factory()
        for f in fields(kind)
        if f.name not in ("recipe", "kind")
    }


def _split(setting: str) -> tuple[str, str]:
    key, given, value = setting.partition("=")
    if not given:
        raise InputError(f"'{setting}' is no setting; say key=value.")
    return key.strip(), value.strip()


def _parsed(key: str, value: str, kind: type[RunOptions]) -> Any:
    """Read a value from the command line as TOML does, but texts without quotation marks."""
    if isinstance(_defaults(kind).get(key, ""), str):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _fitted(key: str, value: Any, kind: type[RunOptions]) -> Any:
    """Return a value as the type of its key's default; raise `InputError` where it is of another."""
    known = _defaults(kind)
    if key not in known:
        raise InputError(f"'{key}' is not known; it can be {', '.join(known)}.")
    default = known[key]
    if isinstance(default, Mapping) and isinstance(value, Mapping):
        if all(_is(number, 0.0) for number in value.values()):
            return {name: float(number) for name, number in value.items()}
    elif isinstance(default, tuple) and isinstance(value, list):
        wanted = default if not isinstance(default[0], str) else default[:1] * len(value)  # names: as many as you like
        if len(value) == len(wanted) and all(map(_is, value, wanted)):
            return tuple(type(one)(given) for one, given in zip(wanted, value, strict=True))
    elif _is(value, default):
        return type(default)(value)
    example = list(default) if isinstance(default, tuple) else default
    raise InputError(f"'{key}' cannot be {json.dumps(value, default=str)}; its default is {_toml(example)}.")


def _is(value: Any, default: Any) -> bool:
    """Whether a value can stand where a default does; a whole number can stand for any number."""
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def _check_classes(options: RunOptions) -> None:
    """Raise `InputError` for a taxonomy that is not known, and for a class that no taxonomy has."""
    chosen = taxonomy.load(options.taxonomy)
    known = {OTHERS, UNLABELLED, *chosen.classes}.union(*(taxonomy.load(name).classes for name in taxonomy.names()))
    for key, numbers in options.mappings().items():
        for name in numbers:
            if name not in known:
                raise InputError(f"'{key}' has a number for '{name}'; {chosen.name} has {', '.join(chosen.classes)}.")
