"""Training pictures by name, with the maps that the shipped segmenter predicts for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from sempic import datasets, runtime
from sempic.datasets import Frame, Picture
from sempic.segment import BUILT_IN, segment
from sempic.taxonomy import CAMVID11
from sempic.training.processes import processes
from sempic.training.sampler import Pool, Source

CACHE = Path("runs") / "maps"
"""Where predicted maps are kept, for all runs that are started in one folder."""
HELD = 2 << 30
"""A data set of at most so many bytes, decoded, is held in memory; a larger one is read picture by picture."""


class Pictures(Sequence[Source]):
    """Pictures with their predicted maps. Sides longer than `longest_side` are shrunk to it; 0 leaves them alone."""

    def __init__(self, pictures: Sequence[Picture], longest_side: int = 0) -> None:
        self.pictures, self.longest_side = pictures, longest_side
        self._maps = [
            CACHE / f"{runtime.model(BUILT_IN).card.fingerprint:04x}" / _key(p, longest_side) for p in pictures
        ]
        self._predict()
        self._held: list[Source] | None = None
        if _decoded_bytes(pictures, longest_side) <= HELD:
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

    def _read(self, index: int) -> Source:
        with Image.open(self._maps[index]) as predicted:
            return Source(shrunk(self.pictures[index].read(), self.longest_side), np.array(predicted))

    def _predict(self) -> None:
        """Predict the maps that are not in the cache: each process its share, then what no other has finished."""
        state = processes()
        every = list(zip(self.pictures, self._maps, strict=True))
        for share in (every[state.process_index :: state.num_processes], every):
            absent = [(picture, path) for picture, path in share if not path.exists()]
            for picture, path in track(absent, "segmenting", disable=not (absent and state.is_main_process)):
                _write(segment(shrunk(picture.read(), self.longest_side).image, CAMVID11), path)


def pools(data: str, longest_side: int = 0, limit: int | None = None) -> list[Pool]:
    """Return the pictures of a mixture (see `datasets.mixture`) with their weights, of each part `limit` at most."""
    return [
        Pool(Pictures(datasets.find(name)[:limit], longest_side), weight) for name, weight in datasets.mixture(data)
    ]


def fingerprint(data: str) -> str:
    """Return a SHA-256 over the names and sizes of all files of a mixture: whether two runs had the same data."""
    digest = sha256()
    for name, _ in datasets.mixture(data):
        for picture in datasets.find(name):
            for path in filter(None, (picture.path, picture.label)):
                digest.update(f"{picture.name} {path.stat().st_size}\n".encode())
    return digest.hexdigest()


def cached(name: str, make: Callable[[], dict[str, NDArray[np.generic]]]) -> dict[str, NDArray[np.generic]]:
    """Return arrays from the cache if they were made before."""
    path = CACHE / f"{name}.npz"
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
    """Name the cached map of a picture after the file that it was predicted from."""
    about = picture.path.stat()
    named = f"{picture.path.resolve()} {about.st_size} {about.st_mtime_ns} {longest_side}"
    return f"{sha256(named.encode()).hexdigest()[:24]}.png"


def _decoded_bytes(pictures: Sequence[Picture], longest_side: int) -> int:
    """Estimate what pictures and their two maps take in memory, from the first of them."""
    if not pictures:
        return 0
    frame = shrunk(pictures[0].read(), longest_side)
    return 5 * frame.image[..., 0].size * len(pictures)


def _write(segmap: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    Image.fromarray(segmap).save(part, "PNG")
    part.replace(path)
