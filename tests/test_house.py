"""The rules of the house that the source itself shows: who imports whom, how long files are, which names are used."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "sempic"
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST, LONGEST_COMMANDS = 400, 350
LONG_FILES = {"scene.py"}
"""Files that may be longer: the drawn streets are one long list of things to draw."""


def name_of(path: Path) -> str:
    """Return the name of a module."""
    parts = ("sempic", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def short(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


MODULES = {name_of(path): path for path in FILES}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(nodes: Iterator[ast.AST] | list[ast.stmt]) -> Iterator[str]:
    """Yield the modules that statements import; of sempic's, the modules that the names come from."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in MODULES else node.module


@cache
def when_loaded(path: Path) -> frozenset[str]:
    """The modules that a file imports when it is loaded itself."""
    return frozenset(imports(tree_of(path).body))


@cache
def at_any_time(path: Path) -> frozenset[str]:
    """The modules that a file imports anywhere, those for types among them."""
    return frozenset(imports(ast.walk(tree_of(path))))


def room(module: str) -> str:
    """The folder or file of sempic's that a module is in."""
    return [*module.split("."), ""][1]


# -- imports ----------------------------------------------------------------------------------------------------------

FLOORS = {
    **dict.fromkeys(("errors", "extras"), 0),
    **dict.fromkeys(("container", "taxonomy", "files", "fetch", "scene", "sheet"), 1),
    **dict.fromkeys(("coding", "pixels", "labels", "runtime", "efficientnet", "lpips", "tree"), 2),
    **dict.fromkeys(("provenance", "marks"), 2),
    **dict.fromkeys(("segmap", "link", "pool", "datasets"), 3),
    **dict.fromkeys(("codecs", "inventory"), 4),
    **dict.fromkeys(("rate",), 5),
    **dict.fromkeys(("api",), 6),
    **dict.fromkeys(("batch", "demo", "narrow", "pillow"), 7),
    **dict.fromkeys(("bench",), 8),
    **dict.fromkeys(("training", "studio"), 9),
    **dict.fromkeys(("cli", "__main__"), 10),
}
"""The rooms from the ground up; `sempic` itself hands on what the API offers."""


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in MODULES if module != "sempic"} == FLOORS.keys()


@pytest.mark.parametrize("path", [path for path in FILES if name_of(path) != "sempic"], ids=short)
def test_imports_point_down(path: Path) -> None:
    here = FLOORS[room(name_of(path))]
    for module in when_loaded(path):
        if module.partition(".")[0] == "sempic" and module != "sempic":
            assert FLOORS[room(module)] <= here, f"{short(path)} imports {module}"
        if module == "sempic":
            assert here > FLOORS["api"], f"{short(path)} imports the package as a whole"


def test_there_is_no_circle() -> None:
    graph = {
        name: {module for module in when_loaded(path) if module in MODULES and module != name}
        for name, path in MODULES.items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


@pytest.mark.parametrize("lower", ["container", "coding"])
def test_what_turns_integers_into_bits_knows_no_codec(lower: str) -> None:
    for name, path in MODULES.items():
        if room(name) == lower:
            rooms = {room(module) for module in at_any_time(path) if module.startswith("sempic")}
            assert rooms <= {"", "coding", "errors", "taxonomy"}, short(path)


def test_the_bench_imports_nothing_of_training() -> None:
    for name, path in MODULES.items():
        if room(name) == "bench":
            assert "training" not in {room(module) for module in at_any_time(path)}, short(path)


WITH_TORCH = {"training", "efficientnet", "lpips"}
"""The rooms with torch; the latter two are networks that training and metrics of the bench have in common."""


def test_only_training_imports_torch_when_it_is_loaded() -> None:
    for name, path in MODULES.items():
        if room(name) not in WITH_TORCH:
            assert not WITH_TORCH & {room(module) for module in when_loaded(path)}, short(path)
            packages = {module.partition(".")[0] for module in when_loaded(path)}
            assert not packages & {"torch", "accelerate", "onnx", "onnxscript"}, short(path)


OPENERS = {
    "pixels.py",  # the one door
    "codecs/classic/picture.py",  # what is in streams, whose format and size are known
}
"""Files that may call Pillow's `Image.open`."""


def test_pictures_are_opened_by_one_door() -> None:
    found = set()
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "Image.open":
                found.add(short(path))
    assert found == OPENERS


# -- files and names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=short)
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if short(path) not in LONG_FILES:
        assert lines <= (LONGEST_COMMANDS if room(name_of(path)) == "cli" else LONGEST)


def test_every_class_has_a_name_of_its_own() -> None:
    """But for the settings and options of codecs, which are named alike so that they are found alike."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(short(path))
    for name in ("Settings", "Options"):
        assert all(path.startswith("codecs/") for path in found.pop(name)), name
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


# -- taxonomies -------------------------------------------------------------------------------------------------------

DATA_SETS = {
    "datasets.py",  # reads the data set
    "labels.py",  # what its ids and colours mean
    "inventory.py",  # checks its files
    "cli/data.py",  # help texts that name data sets
    "cli/measure.py",
    "cli/train.py",
    "training/config.py",  # which part of a mixture is a split of a data set
    "training/export.py",  # licences of data sets
    "training/options.py",  # the data that recipes take if nothing else is asked for
}
"""Python files that may name the data set CamVid."""
DATA = ("models/", "taxonomies/", "training/recipes/")
"""Folders of data: models with their cards and logs, taxonomies, recipes."""


def lines_with(word: str) -> Iterator[tuple[str, str]]:
    """Yield the file and the text of each line in the source that has a word."""
    for path in sorted(SOURCE.rglob("*")):
        if path.is_file() and path.suffix not in (".onnx", ".npz", ".pyc", ".png"):
            for line in path.read_text(encoding="utf-8").splitlines():
                if re.search(word, line, re.IGNORECASE):
                    yield short(path), line


def test_only_data_and_data_sets_name_camvid() -> None:
    named = {path for path, _ in lines_with("camvid") if not path.startswith(DATA)}
    assert named <= DATA_SETS


def test_no_code_names_a_taxonomy() -> None:
    """Which classes are meant is in a model's card or a recipe's options."""
    code = [(path, line) for path, line in lines_with(r"camvid11|cityscapes19") if not path.startswith(DATA)]
    assert [path for path, line in code if "--init" not in line] == []
