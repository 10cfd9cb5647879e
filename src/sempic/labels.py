"""The one door for label pictures: what their numbers and colours mean, and segmaps as PNG files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sempic import taxonomy as taxonomies
from sempic.errors import InputError
from sempic.pixels import SPREAD, contents, opened, raw_mode, upright
from sempic.taxonomy import VOID, Taxonomy

CAMVID = dict(
    enumerate(
        ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
    )
)
"""The classes of CamVid's label ids; all others are void."""
CITYSCAPES = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck",
    28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""The classes of Cityscapes' label ids; all others are void."""
BY_ENDING = {"labelids": CITYSCAPES, "labeltrainids": dict(enumerate(CITYSCAPES.values()))}
"""What numbers mean in files whose names end so, in small letters and without their suffix."""
CAMVID_COLOURS = {
    (128, 128, 128): "sky", (128, 0, 0): "building", (192, 0, 128): "building", (0, 128, 64): "building",
    (64, 0, 64): "building", (64, 192, 0): "wall", (192, 192, 128): "pole", (0, 0, 64): "pole",
    (128, 64, 128): "road", (128, 0, 192): "road", (192, 0, 64): "road", (0, 0, 192): "sidewalk",
    (64, 192, 128): "pavement", (128, 128, 192): "pavement", (128, 128, 0): "vegetation", (192, 192, 0): "tree",
    (192, 128, 128): "traffic sign", (128, 128, 64): "sign", (0, 64, 64): "traffic light", (64, 64, 128): "fence",
    (64, 0, 128): "car", (64, 128, 192): "car", (192, 128, 192): "truck/bus", (128, 64, 64): "car/truck/train",
    (192, 64, 128): "train", (64, 64, 0): "person", (192, 128, 64): "person", (64, 0, 192): "pedestrian",
    (64, 128, 64): "pedestrian", (0, 128, 192): "bicyclist", (192, 0, 192): "motorcycle", (0, 0, 0): "void",
}  # fmt: skip
"""What the colours of CamVid's 32 classes are called in coarser taxonomies; where two names are not the same class, the
pixels are void."""
_BLACK = (0, 0, 0)
_TAXONOMY = "taxonomy"
"""The text chunk of a PNG that holds the taxonomy of its class ids, as JSON."""
_SPREAD = SPREAD | {"1": 255}
"""The same for labels; single bits, too, where Pillow holds them as bytes."""


def read_labels(
    path: str | os.PathLike[str], taxonomy: Taxonomy | None = None, classes: Mapping[int, str] | None = None
) -> NDArray[np.uint8]:
    """Return the class ids in a label picture (uint8 H×W), upright.

    They are the numbers that are stored, whatever the picture's bits and palette, with two exceptions: numbers of
    other classes are translated, and so are colours, those of the taxonomy or of CamVid's 32 classes.

    Args:
        path: a palette or grey picture of ids, or one of colours.
        taxonomy: the classes that the ids are taken for. A picture that `labels_png` wrote must have the same ones;
            others do not say which they have. Where it is left out, nothing is translated.
        classes: the names of the classes that the stored numbers stand for; left out, Cityscapes' for files whose name
            ends with `labelIds` or `labelTrainIds`, and those of the taxonomy for others.

    Raises:
        InputError: there is no picture, none of ids, or one of other classes.
    """
    name = os.fspath(path)
    with opened(contents(path), name) as picture:
        stored = raw_mode(picture)
        picture.load()
        stated = picture.info.get(_TAXONOMY)
        form, mode = picture.format, picture.mode
        values = upright(picture, _stored(np.array(picture), stored))
    if mode == "RGBA" and (values[..., 3] == 255).all():
        values = values[..., :3]
    if form == "JPEG":
        raise InputError(f"'{name}' is a JPEG file, which does not keep class ids exactly; save labels as PNG.")
    if values.ndim == 3 and values.shape[2] == 3 and taxonomy is not None:
        return _ids_of_colours(values.astype(np.uint8), taxonomy, name)
    if values.ndim != 2 or values.dtype.kind == "f":
        raise InputError(f"'{name}' is not a palette or grey picture of class ids, but of mode {mode}.")
    if values.min() < 0 or values.max() > VOID:
        raise InputError(f"'{name}' has numbers from {values.min()} to {values.max()}; class ids are 0 to {VOID}.")
    ids = values.astype(np.uint8)
    if taxonomy is None:
        return ids
    if stated is not None:
        _check_taxonomy(stated, taxonomy, name)
        return ids
    classes = classes or classes_of(name)
    return taxonomy.ids_of(classes)[ids] if classes else ids


def any_labels(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Return the ids in a label picture (uint8 H×W); for colours, those of the first taxonomy of Sempic's that fits.

    Raises `InputError` for one whose numbers are no ids, or whose colours mean nothing.
    """
    try:
        return read_labels(path)
    except InputError as error:
        for name in taxonomies.names():
            with suppress(InputError):
                return read_labels(path, taxonomies.load(name))
        raise error


def classes_of(name: str | PurePath) -> Mapping[int, str] | None:
    """Return what the numbers in a label file stand for by its name; None for those of the taxonomy asked for."""
    stem = PurePath(name).stem.lower()
    return next((classes for ending, classes in BY_ENDING.items() if stem.endswith(ending)), None)


def labels_png(segmap: NDArray[np.uint8], taxonomy: Taxonomy) -> bytes:
    """Return a segmap (uint8 H×W ids) as a palette PNG that shows the classes' colours and holds their taxonomy."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    picture, about, out = Image.fromarray(segmap, "L"), PngInfo(), BytesIO()
    picture.putpalette(taxonomy.colourise(np.arange(256, dtype=np.uint8)[None]).tobytes())
    about.add_text(_TAXONOMY, json.dumps(taxonomy.to_json()))
    picture.save(out, "PNG", pnginfo=about)
    return out.getvalue()


def _stored(values: NDArray[Any], mode: str) -> NDArray[Any]:
    """Return a picture's values as they are in its file, whose `raw_mode` is given: neither spread nor inverted."""
    plain = mode.removesuffix("R")  # the order of bits, which Pillow has taken care of
    if plain.endswith("I") and values.ndim == 2 and values.dtype in (np.uint8, np.bool_):
        values = ~values
        plain = plain.removesuffix("I").removesuffix(";")
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    return values // _SPREAD[plain] if plain in _SPREAD else values


def _ids_of_colours(colours: NDArray[np.uint8], taxonomy: Taxonomy, name: str) -> NDArray[np.uint8]:
    """Return the ids that the colours of a label picture (uint8 H×W×3) stand for in a taxonomy."""
    packed = (colours.astype(np.uint32) << np.array([16, 8, 0], np.uint32)).sum(-1, dtype=np.uint32)
    found, places = np.unique(packed, return_inverse=True)
    used = [(int(one) >> 16, int(one) >> 8 & 255, int(one) & 255) for one in found]
    own = {_BLACK: VOID, **{colour: number for number, colour in enumerate(taxonomy.colours)}}
    for known in (own, _camvid_ids(taxonomy)):
        if known.keys() >= set(used) != {_BLACK}:  # a black picture shows no class, and is a mistake
            table = np.array([known[colour] for colour in used], np.uint8)
            return table[places.reshape(packed.shape)]
    other = next((colour for colour in used if colour not in CAMVID_COLOURS), _BLACK)
    raise InputError(
        f"'{name}' is an RGB picture with the colour {other}, which is no class of a label picture's; labels are "
        "palette or grey pictures of class ids."
    )


def _camvid_ids(taxonomy: Taxonomy) -> dict[tuple[int, int, int], int]:
    """Return the id of each colour of CamVid's; where a colour has more than one, it is void."""
    found = {}
    for colour, names in CAMVID_COLOURS.items():
        ids = set(taxonomy.ids_of(dict(enumerate(names.split("/"))))[: names.count("/") + 1].tolist())
        found[colour] = ids.pop() if len(ids) == 1 else VOID
    return found


def _check_taxonomy(stated: Any, taxonomy: Taxonomy, name: str) -> None:
    """Raise `InputError` unless the classes that a label picture states are those of a taxonomy."""
    try:
        own = Taxonomy.from_json(json.loads(stated))
    except (ValueError, TypeError) as error:
        raise InputError(f"The taxonomy in '{name}' cannot be used: {error}.") from None
    if own.classes != taxonomy.classes:
        raise InputError(f"The class ids in '{name}' are those of {own.name}, but the model knows {taxonomy.name}.")
