"""Training pictures by name, with the segmaps that the installed segmenter predicts for them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from sempic import datasets, runtime
from sempic.datasets import Frame, Picture
from sempic.errors import InputError, ModelError
from sempic.labels import read_labels
from sempic.segmap.segmenter import segment
from sempic.taxonomy import Taxonomy
from sempic.training.processes import processes
from sempic.training.sampler import Pool, Source

CACHE = Path("runs") / "maps"
"""Where predicted segmaps are kept, for all runs that are started in one folder."""
HELD = 2 << 30
"""A data set of at most so many bytes, decoded, is held in memory; a larger one is read picture by picture."""


class Pictures(Sequence[Source]):
    """Pictures with their predicted segmaps.

    Args:
        pictures: their files.
        taxonomy: the classes. Where no segmenter of these is installed, labels take the place of predictions.
        longest_side: longer sides are shrunk to it; 0 leaves them alone.

    Raises:
        InputError: a picture has no labels, and there is no segmenter.
    """

    def __init__(self, pictures: Sequence[Picture], taxonomy: Taxonomy, longest_side: int = 0) -> None:
        self.pictures, self.taxonomy, self.longest_side = pictures, taxonomy, longest_side
        self._maps: list[Path] = []
        if model := segmenter(taxonomy):
            folder = CACHE / f"{model.card.fingerprint:04x}"
            self._maps = [folder / _key(picture, longest_side) for picture in pictures]
            self._predict()
        elif unlabelled := [picture.name for picture in pictures if picture.label is None]:
            raise InputError(
                f"{unlabelled[0]} has no labels, and no segmenter for the classes of {taxonomy.name} is installed that "
                "could predict its segmap: train one first, or leave pictures without labels away."
            )
        self._held: list[Source] | None = None
        if self._decoded_bytes() <= HELD:
            self._held = [self._read(i) for i in range(len(pictures))]

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

    def _predict(self) -> None:
        """Predict the segmaps that are not in the cache: each process its share, then what no other has finished."""
        state = processes()
        every = list(zip(self.pictures, self._maps, strict=True))
        for share in (every[state.process_index :: state.num_processes], every):
            absent = [(picture, path) for picture, path in share if not path.exists()]
            for picture, path in track(absent, "segmenting", disable=not (absent and state.is_main_process)):
                _write(segment(self._frame(picture).image, self.taxonomy), path)

    def _decoded_bytes(self) -> int:
        """Estimate what pictures and their two segmaps take in memory, from the first of them."""
        if not self.pictures:
            return 0
        return 5 * self._frame(self.pictures[0]).image[..., 0].size * len(self.pictures)


def pools(data: str, taxonomy: Taxonomy, longest_side: int = 0, limit: int | None = None) -> list[Pool]:
    """Return the pictures of a mixture (see `datasets.mixture`) with their weights, of each part `limit` at most.

    Raises `InputError` as `Pictures` does, and for data that is not there.
    """
    if segmenter(taxonomy) is None and processes().is_main_process:
        print(f"No segmenter for {taxonomy.name} is installed: labels are used as predictions.", file=sys.stderr)
    return [
        Pool(Pictures(datasets.find(name)[:limit], taxonomy, longest_side), weight)
        for name, weight in datasets.mixture(data)
    ]


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
