"""A model's networks on ONNX Runtime: find a model, check its files, run its networks.

A model is a folder: `card.json`, one ONNX file a network, and `tables.npz` with its codebooks and coding tables. The
ones that ship lie in `sempic/models`; those in the folders that SEMPIC_MODELS names (separated as in PATH) come first.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sempic.errors import InputError, ModelError
from sempic.taxonomy import Taxonomy, of_card

SHIPPED = Path(__file__).parent / "models"
TABLES = "tables.npz"
THREADS = "SEMPIC_THREADS"
"""The environment variable with the number of threads that a network may use."""


@dataclass(frozen=True)
class Card:
    """The description of a model. `files` maps each file's name to its SHA-256; `parameters` counts weights."""

    name: str
    kind: str
    """What it is for: "segmenter", "sqgan", "judge", …"""
    summary: str
    taxonomy: Any
    """Its classes: a taxonomy as `Taxonomy.to_json` returns it, or the name of one that comes with Sempic."""
    parameters: int
    files: dict[str, str]
    training: dict[str, Any] = field(default_factory=dict)
    domain: dict[str, Any] = field(default_factory=dict)
    """Of a segmenter: which pictures are of the kind that it was trained for; see `sempic.segmap.domain`."""

    def __post_init__(self) -> None:
        if not (isinstance(self.files, dict) and all(isinstance(digest, str) for digest in self.files.values())):
            raise TypeError("its files are not listed as name: SHA-256")

    @property
    def fingerprint(self) -> int:
        """The number (0..65535) by which a stream names the model: the start of the hash over its files' hashes."""
        digest = sha256("".join(self.files[name] for name in sorted(self.files)).encode()).digest()
        return int.from_bytes(digest[:2], "big")


class Model:
    """A model on disk. Its networks are loaded, and checked against the card, when they are first run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.card = Card(**json.loads((folder / "card.json").read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(f"The model in {folder} has no usable card: {error}.") from None
        self._networks: dict[str, Network] = {}

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The classes of the model; `ModelError` where its card names none that can be used."""
        return of_card(self.card.taxonomy, self.card.name)

    @property
    def size(self) -> int:
        """The size of its files on disk, in bytes."""
        return sum((self.folder / name).stat().st_size for name in self.card.files)

    def network(self, name: str) -> Network:
        """Return one of the model's networks by name."""
        if name not in self._networks:
            self._networks[name] = Network(self._read(f"{name}.onnx"), f"{self.card.name}/{name}")
        return self._networks[name]

    @cached_property
    def tables(self) -> dict[str, NDArray[Any]]:
        """The arrays that ship beside the networks."""
        self._read(TABLES)
        with np.load(self.folder / TABLES) as arrays:
            return dict(arrays)

    def _read(self, name: str) -> bytes:
        path = self.folder / name
        try:
            data = path.read_bytes()
        except OSError:
            raise ModelError(f"The model {self.card.name} lacks its file {path}; install Sempic again.") from None
        if sha256(data).hexdigest() != self.card.files.get(name):
            raise ModelError(f"{path} is damaged or not the file that its card describes; install Sempic again.")
        return data


class Network:
    """One ONNX network on the best device there is (CUDA, CoreML, DirectML, else the CPU)."""

    PREFERRED = ("CUDAExecutionProvider", "CoreMLExecutionProvider", "DmlExecutionProvider", "CPUExecutionProvider")

    def __init__(self, model: bytes | Path, name: str) -> None:
        import onnxruntime

        available = onnxruntime.get_available_providers()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Without the arena, a large picture's memory goes back when its network is done.
        options.enable_cpu_mem_arena = False
        options.intra_op_num_threads = threads()
        try:
            self.session = onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else str(model),
                options,
                providers=[p for p in self.PREFERRED if p in available],
            )
        except Exception as error:  # ONNX Runtime has a class of its own for every kind of bad file
            reason = str(error).splitlines()[0]
            raise ModelError(f"{name} is not a network that ONNX Runtime can load: {reason}") from None
        self.name = name

    @property
    def inputs(self) -> dict[str, list[int | str]]:
        """Each input's name with its shape; sizes that vary are strings."""
        return {i.name: i.shape for i in self.session.get_inputs()}

    def run(self, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """Run the network on named arrays and return its outputs in order."""
        began = time.perf_counter()
        outputs: list[NDArray[Any]] = self.session.run(None, inputs)
        if (durations := _durations.get()) is not None:
            durations.append(time.perf_counter() - began)
        return outputs


_durations: ContextVar[list[float] | None] = ContextVar("_durations", default=None)


@contextmanager
def network_seconds() -> Iterator[list[float]]:
    """Yield a list to which each run of a network in the block adds the seconds that it took."""
    durations: list[float] = []
    token = _durations.set(durations)
    try:
        yield durations
    finally:
        _durations.reset(token)


def threads() -> int:
    """Return how many threads a network may use; 0 for one a core."""
    wanted = os.environ.get(THREADS) or "0"
    if not wanted.isdecimal():
        raise InputError(f"{THREADS} is '{wanted}'; it must be a number of threads.")
    return int(wanted)


def model(name: str, kind: str = "") -> Model:
    """Return a model.

    Args:
        name: its name, folder, https address or `hf:org/name`; empty for the one of the `kind` that comes with Sempic.
        kind: what it must be for, where that matters.

    Raises:
        ModelError: there is no such model (the known ones are listed), or it is of another kind.
    """
    if not name:
        return default(kind)
    found = _find(name)
    if kind and found.card.kind != kind:
        raise ModelError(f"The model '{name}' is of kind {found.card.kind}; a {kind} is needed.")
    return found


def default(kind: str, taxonomy: str = "") -> Model:
    """Return the model of a kind (and taxonomy, if that is named) to use where none is asked for.

    Those that come with Sempic are looked at first, by name; then those in SEMPIC_MODELS. Raises `ModelError` where
    none is installed.
    """
    shipped = [folder.parent.name for folder in sorted(SHIPPED.glob("*/card.json"))]
    installed = models()
    for found in (*filter(lambda m: m.card.name in shipped, installed), *installed):
        if found.card.kind == kind and taxonomy in ("", found.taxonomy.name):
            return found
    classes = f" for the classes of {taxonomy}" if taxonomy else ""
    raise ModelError(f"No {kind}{classes} is installed; name the folder or address of one.")


def _find(name: str) -> Model:
    for folder in _folders():
        if folder.name == name:
            return _load(folder)
    from sempic import fetch

    folder = fetch.fetch(name) if fetch.is_address(name) else Path(name)
    if (folder / "card.json").is_file():
        return _load(folder.resolve())
    known = ", ".join(sorted({folder.name for folder in _folders()})) or "none"
    raise ModelError(f"There is no model '{name}', nor a folder with a model of that name; installed are: {known}.")


def model_of_stream(kind: str, fingerprint: int, given: Model | None = None) -> Model:
    """Return the model that a stream names: the `given` one, or one of those that are installed.

    Raises `ModelError` where it is none of them.
    """
    for candidate in (*([given] if given else []), *map(_load, _folders(hidden=True))):
        if candidate.card.kind == kind and candidate.card.fingerprint == fingerprint:
            return candidate
    raise ModelError(
        f"The stream needs a {kind} model with the fingerprint {fingerprint:04x}, which is not installed; "
        "name the model that it was made with (--model), or get the release that had it."
    )


def models() -> list[Model]:
    """Return all installed models, sorted by name."""
    return sorted((_load(folder) for folder in _folders()), key=lambda m: m.card.name)


def hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of files in a folder, as a card lists them."""
    return {name: sha256((folder / name).read_bytes()).hexdigest() for name in names}


def _folders(hidden: bool = False) -> Iterator[Path]:
    """Yield the folders of installed models; with `hidden`, also those that another of the same name hides."""
    seen = set()
    for root in [*map(Path, filter(None, os.environ.get("SEMPIC_MODELS", "").split(os.pathsep))), SHIPPED]:
        for card in sorted(root.glob("*/card.json")):
            if hidden or card.parent.name not in seen:
                seen.add(card.parent.name)
                yield card.parent


@cache
def _load(folder: Path) -> Model:
    return Model(folder)
