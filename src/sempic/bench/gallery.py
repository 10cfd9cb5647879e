"""Pictures for a page: originals and what codecs made of them, small enough to lie in the page itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic.bench import tables
from sempic.bench.results import Result, Row
from sempic.labels import read_labels
from sempic.pixels import to_rgb

_PICTURES = 6
_CROPPED, _CROPS = 3, 3  # how many classes the page zooms in on, and how often on each
_CROP_SIDE = 5  # a crop is a picture's fifth, and so are its sides
_LEAST = 0.02  # the share of a crop that the class must fill
_QUALITY, _WIDEST = 90, 1600  # WebP's own losses are far below any codec's at the rates shown


@dataclass
class Gallery:
    """What a page's viewer shows, ready for JSON.

    `images` are data URIs; `tiles` say at each level, for each codec and picture, which image it is and what stands
    below it. `crops` are parts of a picture: its name, a title, x, y, width and height as shares of its sides, and the
    ratio of the crop's own sides. `first` is what the originals are called.
    """

    originals: dict[str, int] = field(default_factory=dict)
    levels: list[str] = field(default_factory=list)
    tiles: list[dict[str, dict[str, tuple[int, str]]]] = field(default_factory=list)
    crops: list[dict[str, Any]] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    first: str = "original"

    def add(self, image: Image.Image) -> int:
        """Keep a picture as WebP, scaled down if it is wider than a screen; return its place in `images`."""
        out, image = BytesIO(), image.convert("RGB")
        image.thumbnail((_WIDEST, _WIDEST))
        image.save(out, "WEBP", quality=_QUALITY)
        self.images.append("data:image/webp;base64," + base64.b64encode(out.getvalue()).decode())
        return len(self.images) - 1


def gather(results: Sequence[Result], work: Path) -> Gallery:
    """Return a few pictures, evenly spread over those that all codecs have, from the work folder of a bench run.

    Each codec is shown at its point nearest to each of `tables.rates`. The gallery is empty if the pictures are gone.
    """
    gallery = Gallery()
    names = _chosen(results, work)
    if not names:
        return gallery
    for name in names:
        gallery.originals[name] = gallery.add(Image.fromarray(to_rgb(work / "originals" / f"{name}.png")))
    places: dict[Path, int] = {}
    for rate in tables.rates(results):
        level: dict[str, dict[str, tuple[int, str]]] = {}
        for result in results:
            point = tables.nearest(result, rate)
            rows = {row.picture: row for row in point.rows}
            level[result.label] = {}
            for name in names:
                path = work / result.label / point.point / f"{name}.png"
                if name not in rows or not path.is_file():
                    continue
                if path not in places:
                    places[path] = gallery.add(Image.fromarray(to_rgb(path)))
                level[result.label][name] = places[path], _caption(rows[name], point.bpp / rate)
        gallery.levels.append(f"near {rate:.3f} bpp")
        gallery.tiles.append(level)
    gallery.crops = _crops(names, work, results[0].classes)
    return gallery


def _chosen(results: Sequence[Result], work: Path) -> list[str]:
    common = set.intersection(*({row.picture for row in point.rows} for r in results for point in r.points))
    names = sorted(name for name in common if (work / "originals" / f"{name}.png").is_file())
    spread = np.linspace(0, len(names) - 1, min(_PICTURES, len(names))).round().astype(int)
    return [names[place] for place in spread]


def _caption(row: Row, ratio: float) -> str:
    """Say how big a picture's file is, and so that no one is misled, how far the codec's rate is from the others'."""
    text = f"{row.bytes} bytes, {8 * row.bytes / (row.width * row.height):.3f} bpp"
    if ratio > 1.2 or ratio < 1 / 1.2:
        text += f", {ratio:.1f} × the size chosen"
    return text


def _crops(names: Sequence[str], work: Path, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the crops that hold the most of a class, at most one a picture, for each of the rarest classes.

    What is rare is small, and is lost first: signs and people in the street.
    """
    labels = {name: _labels(work / "originals" / f"{name}.labels.png") for name in names}
    pixels = sum((np.bincount(ids.reshape(-1), minlength=256) for ids in labels.values()), np.zeros(256, np.int64))
    crops, cropped = list[dict[str, Any]](), 0
    for number in sorted(range(len(classes)), key=lambda number: pixels[number]):
        found = []
        for name, ids in labels.items():
            if ids.size and (dense := densest(ids == number))[0] >= _LEAST:
                share, box = dense
                aspect = box[2] * ids.shape[1] / (box[3] * ids.shape[0])
                found.append((share, {"picture": name, "title": classes[number], "box": box, "aspect": aspect}))
        if found:
            crops += [crop for _, crop in sorted(found, key=lambda pair: -pair[0])[:_CROPS]]
            cropped += 1
        if cropped == _CROPPED:
            break
    return crops


def _labels(path: Path) -> NDArray[np.uint8]:
    """Return a picture's labels (H×W ids); nothing (0×0) where it has none."""
    return read_labels(path) if path.is_file() else np.zeros((0, 0), np.uint8)


def densest(mask: NDArray[np.bool_]) -> tuple[float, tuple[float, float, float, float]]:
    """Return the share of a crop that a mask (H×W) fills where it fills the most, and that crop's x, y, width and
    height as shares of the mask's sides. The crop has what it shows in its middle, as far as the borders allow."""
    height, width = mask.shape
    high, wide = -(-height // _CROP_SIDE), -(-width // _CROP_SIDE)
    sums = np.pad(mask, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    boxes = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    top, left = np.unravel_index(boxes.argmax(), boxes.shape)
    rows, columns = np.nonzero(mask[top : top + high, left : left + wide])
    if not len(rows):
        return 0.0, (0.0, 0.0, wide / width, high / height)
    top = np.clip(top + round(rows.mean()) - high // 2, 0, height - high)
    left = np.clip(left + round(columns.mean()) - wide // 2, 0, width - wide)
    share = mask[top : top + high, left : left + wide].mean()
    return float(share), (float(left / width), float(top / height), wide / width, high / height)
