"""Training pictures by name, with the segmaps that the installed segmenter predicts for them."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import datasets, runtime
from sempic.datasets import Frame, Picture
from sempic.errors import InputError, ModelError, SempicWarning
from sempic.labels import read_labels
from sempic.segmap.segmenter import segment
from sempic.taxonomy import Taxonomy
from sempic.training.processes import processes
from sempic.training.sampler import Pool, Source

_Given = TypeVar("_Given")
_Found = TypeVar("_Found")
Progress = Callable[[int, int], None]
"""What is called with the number of things done and the number there are."""
CACHE = Path("runs") / "maps"
"""Where predicted segmaps are kept, for all runs that are started in one folder."""
HELD = 2 << 30
"""A data set of at most so many bytes, decoded, is held in memory; a larger one is read picture by picture."""


class Pictures(Sequence[Source]):
    """Pictures with their predicted segmaps. Those that cannot be read are left out; `left_out` says why, by name.

    Args:
        pictures: their files.
        taxonomy: the classes. Where no segmenter of these is installed, labels take the place of predictions.
        longest_side: longer sides are shrunk to it; 0 leaves them alone.
        progress: is called with the number of segmaps predicted and the number to predict.

    Raises:
        InputError: a picture has no labels, and there is no segmenter; or none of the pictures can be read.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        taxonomy: Taxonomy,
        longest_side: int = 0,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self.pictures, self.taxonomy, self.longest_side = pictures, taxonomy, longest_side
        self.left_out: dict[str, str] = {}
        self._maps: list[Path] = []
        if model := segmenter(taxonomy):
            folder = CACHE / f"{model.card.fingerprint:04x}"
            self._maps = [folder / _key(picture, longest_side) for picture in pictures]
            self._predict(progress)
        elif unlabelled := [picture.name for picture in pictures if picture.label is None]:
            raise InputError(
                f"{unlabelled[0]} has no labels, and no segmenter for the classes of {taxonomy.name} is installed that "
                "could predict its segmap: train one first, or leave pictures without labels away."
            )
        self._held: list[Source] | None = None
        if self._decoded_bytes() <= HELD:
            found = [self._tried(picture, self._read, i) for i, picture in enumerate(self.pictures)]
            self._held = [source for source in found if source is not None]
        self._drop()
        if pictures and not self.pictures:
            raise InputError(f"None of the pictures could be used; the first one: {next(iter(self.left_out.values()))}")

    def __len__(self) -> int:
        return len(self.pictures)

    @overload
    def __getitem__(self, index: int) -> Source: ...
    @overload
    def __getitem__(self, index: slice) -> list[Source]: ...
    def __getitem__(self, index: int | slice) -> Source | list[Source]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._held[index] if self._held is not None else self._read(index)

    def _frame(self, picture: Picture) -> Frame:
        return shrunk(picture.read(self.taxonomy), self.longest_side)

    def _read(self, index: int) -> Source:
        frame = self._frame(self.pictures[index])
        if not self._maps:
            assert frame.segmap is not None
            return Source(frame, frame.segmap, self.taxonomy)
        return Source(frame, read_labels(self._maps[index]), self.taxonomy)

    def _predict(self, progress: Progress) -> None:
        """Predict the segmaps that are not in the cache: each process its share, then what no other has finished."""
        state = processes()
        every = list(zip(self.pictures, self._maps, strict=True))
        for share in (every[state.process_index :: state.num_processes], every):
            absent = [(picture, path) for picture, path in share if not path.exists()]
            for done, (picture, path) in enumerate(absent, 1):
                if frame := self._tried(picture, self._frame, picture):
                    _write(segment(frame.image, self.taxonomy), path)
                progress(done, len(absent))
        self._drop()

    def _decoded_bytes(self) -> int:
        """Estimate what pictures and their two segmaps take in memory, from the first one that can be read."""
        frames = filter(None, (self._tried(picture, self._frame, picture) for picture in self.pictures))
        return next((5 * frame.image[..., 0].size * len(self.pictures) for frame in frames), 0)

    def _tried(self, picture: Picture, read: Callable[[_Given], _Found], given: _Given) -> _Found | None:
        """Return what is read of a picture; None for one that cannot be read, which is to be left out."""
        try:
            return read(given)
        except InputError as error:
            self.left_out[picture.name] = str(error)
            return None

    def _drop(self) -> None:
        """Leave out the pictures that could not be read."""
        kept = [place for place, picture in enumerate(self.pictures) if picture.name not in self.left_out]
        self.pictures = [self.pictures[place] for place in kept]
        self._maps = [self._maps[place] for place in kept] if self._maps else []


def pools(
    data: str,
    taxonomy: Taxonomy,
    longest_side: int = 0,
    limit: int | None = None,
    progress: Progress = lambda done, total: None,
) -> list[Pool]:
    """Return the pictures of a mixture (see `datasets.mixture`) with their weights, of each part `limit` at most.

    Raises `InputError` as `Pictures` does, and for data that is not there. What is left out is named in a warning.
    """
    if segmenter(taxonomy) is None and processes().is_main_process:
        words = f"No segmenter for {taxonomy.name} is installed: labels are used as predictions."
        warnings.warn(words, SempicWarning, stacklevel=2)
    found = list[Pool]()
    for name, weight in datasets.mixture(data):
        pictures = Pictures(datasets.find(name)[:limit], taxonomy, longest_side, progress)
        if (lost := pictures.left_out) and processes().is_main_process:
            count = f"{len(lost)} of {len(lost) + len(pictures)} pictures of {name} are left out"
            warnings.warn(f"{count}; the first one: {next(iter(lost.values()))}", SempicWarning, stacklevel=2)
        found.append(Pool(pictures, weight))
    return found


def segmenter(taxonomy: Taxonomy) -> runtime.Model | None:
    """Return the installed segmenter of a taxonomy, None where there is none."""
    try:
        return runtime.default("segmenter", taxonomy.name)
    except ModelError:
        return None


def fingerprint(data: str) -> str:
    """Return a SHA-256 over the names and sizes of all files of a mixture: whether two runs had the same data."""
    digest = sha256()
    for name, _ in datasets.mixture(data):
        for picture in datasets.find(name):
            for path in filter(None, (picture.path, picture.label)):
                digest.update(f"{picture.name} {path.stat().st_size}\n".encode())
    return digest.hexdigest()


def cached(about: Any, make: Callable[[], dict[str, NDArray[np.generic]]]) -> dict[str, NDArray[np.generic]]:
    """Return arrays from the cache if they were made before from the same things, which `about` names (as JSON)."""
    path = CACHE / f"tables-{sha256(json.dumps(about).encode()).hexdigest()[:24]}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **make())
    with np.load(path) as stored:
        return dict(stored)


def shrunk(frame: Frame, longest_side: int) -> Frame:
    """Return a picture and its labels with sides of at most `longest_side`; 0 leaves them as they are."""
    height, width = frame.image.shape[:2]
    if not longest_side or max(height, width) <= longest_side:
        return frame
    scale = longest_side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    image = np.asarray(Image.fromarray(frame.image).resize(size, Image.Resampling.BOX))
    if frame.segmap is None:
        return Frame(frame.name, image, None)
    return Frame(frame.name, image, np.asarray(Image.fromarray(frame.segmap).resize(size, Image.Resampling.NEAREST)))


def _key(picture: Picture, longest_side: int) -> str:
    """Name the cached segmap of a picture after the file that it was predicted from."""
    about = picture.path.stat()
    named = f"{picture.path.resolve()} {about.st_size} {about.st_mtime_ns} {longest_side}"
    return f"{sha256(named.encode()).hexdigest()[:24]}.png"


def _write(segmap: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    Image.fromarray(segmap).save(part, "PNG")
    part.replace(path)
