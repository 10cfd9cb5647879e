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
from sempic.taxonomy import CAMVID11

MATTER = ("sign", "pedestrian", "bicyclist")
"""The small classes that a driver must not lose: the page zooms in on them."""

_PICTURES = 6
_CROPS = 3  # of each class
_CROP_SIDE = 5  # a crop is a picture's fifth, and so are its sides
_CROP_SEEN = 0.02  # the share of a crop that the class must fill
_QUALITY, _WIDEST = 90, 1600  # WebP's own losses are far below any codec's at the rates shown


@dataclass
class Gallery:
    """What a page's viewer shows, ready for JSON.

    `images` are data URIs; `tiles` say at each level, for each codec and picture, which image it is and what stands
    below it. `crops` are parts of a picture: its name, a title, x, y, width and height as
    shares of its sides, and the ratio of the crop's own sides. `first` is what the originals are called.
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
        with Image.open(work / "originals" / f"{name}.png") as image:
            gallery.originals[name] = gallery.add(image)
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
                    with Image.open(path) as image:
                        places[path] = gallery.add(image)
                level[result.label][name] = places[path], _caption(rows[name], point.bpp / rate)
        gallery.levels.append(f"near {rate:.3f} bpp")
        gallery.tiles.append(level)
    gallery.crops = _crops(names, work)
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


def _crops(names: Sequence[str], work: Path) -> list[dict[str, Any]]:
    """Return for each class that matters the crops that hold the most of it, at most one a picture."""
    crops = []
    for label in MATTER:
        found = []
        for name in names:
            path = work / "originals" / f"{name}.labels.png"
            if path.is_file():
                with Image.open(path) as picture:
                    seen, box = densest(np.asarray(picture) == CAMVID11.id_of(label))
                    aspect = box[2] * picture.width / (box[3] * picture.height)
                if seen >= _CROP_SEEN:
                    found.append((seen, {"picture": name, "title": label, "box": box, "aspect": aspect}))
        crops += [crop for _, crop in sorted(found, key=lambda pair: -pair[0])[:_CROPS]]
    return crops


def densest(mask: NDArray[np.bool_]) -> tuple[float, tuple[float, float, float, float]]:
    """Return the share of a crop that a mask fills where it fills the most, and that crop's x, y, width and height as
    shares of the mask's sides. The crop has what it shows in its middle, as far as the borders allow."""
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
    seen = mask[top : top + high, left : left + wide].mean()
    return float(seen), (float(left / width), float(top / height), wide / width, high / height)
