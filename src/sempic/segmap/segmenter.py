"""Segmenters: where a picture's segmap comes from when the user does not hand one in.

picture ─ the built-in segmenter, an ONNX file or a model of the Hub ─▷ class ids ─ ClassList.translate ─▷ segmap
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import runtime
from sempic.errors import InputError, ModelError
from sempic.fetch import HUB
from sempic.segmap import huggingface
from sempic.segmap.domain import layout, of_model
from sempic.segmap.mapping import ClassList, Segmented
from sempic.taxonomy import VOID, Taxonomy

LONGEST_SIDE = 640
"""Larger pictures are segmented at this length: street scenes were learnt at 480×360."""
_STRIDE = 32
"""Free sides are padded to multiples of this, which suits nearly every network."""
_LONGEST_SHAPE = 4
"""Where a network leaves one side free, it gets at most so many times the other one."""
_PIXELS = {"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(double)": "f8", "tensor(uint8)": "u1"}
"""NumPy's names of the types that a picture may be handed to a network in."""


def segment(
    image: NDArray[np.uint8],
    taxonomy: Taxonomy,
    network: str | Path | None = None,
    classes: str | Path | None = None,
) -> NDArray[np.uint8]:
    """Return the segmap of a picture (uint8 H×W ids): that of `find_segmap`, without its warnings."""
    return find_segmap(image, taxonomy, network, classes).segmap


def find_segmap(
    image: NDArray[np.uint8],
    taxonomy: Taxonomy,
    network: str | Path | None = None,
    classes: str | Path | None = None,
) -> Segmented:
    """Return the segmap of a picture, with what a user should know about it.

    Args:
        image: uint8 H×W×3.
        taxonomy: the classes of the segmap.
        network: what takes the place of the installed segmenter: an ONNX file, or `hf:NAME`, a model of the Hugging
            Face Hub or a folder with one. The ONNX network gets 1×3×h×w RGB, from 0 to 1 as floats of its own precision
            or from 0 to 255 as uint8; its sides may be fixed, and free ones are multiples of 32. It returns
            1×classes×h'×w' logits, or 1×h'×w' or 1×1×h'×w' ids; any h'×w' will do.
        classes: the classes that the network finds, see `ClassList.load`. Left out, those of a model of the Hub are
            its own, and those of an ONNX file are the taxonomy's, or another one's that comes with Sempic if that alone
            has as many.

    Returns:
        The segmap, where classes without a counterpart in the taxonomy are void, and sentences that name them.

    Raises:
        InputError: the classes cannot be read, or none of them is in the taxonomy.
        ModelError: the network is none that does this, or no segmenter of this taxonomy is installed.
    """
    if classes and not network:
        raise InputError("'classes' are those that a segmenter of your own finds; name that by 'segmenter'.")
    named = ClassList.load(classes) if classes else None
    height, width = image.shape[:2]
    if str(network).startswith(HUB):
        name, model, domain = str(network), huggingface.load(str(network).removeprefix(HUB)), None
        named = named or model.classes
        answer = _Answer.read(model.logits(image, _scaled(height, width)), name, named)
    else:
        installed = None if network else runtime.default("segmenter", taxonomy.name)
        domain = installed and of_model(installed)
        run = installed.network("segmenter") if installed else _own(Path(network or ""))
        name, answer = run.name, _run(run, image, named or ClassList.of(taxonomy))
    known, warnings = (named, ()) if named else ClassList.assumed(answer.classes, taxonomy, f"{name} gives {answer}")
    if answer.classes not in (None, len(known)):
        raise ModelError(f"{name} gives {answer}, and {known.name} has {len(known)} classes; 'classes' names them all.")
    found = known.translate(answer.ids, taxonomy, name)
    rows, columns = (
        ((np.arange(side) + 0.5) * extent / side).astype(np.intp)
        for side, extent in zip((height, width), answer.extent, strict=True)
    )
    is_outside = domain and answer.logits is not None and domain.is_outside(layout(answer.logits))
    outside = domain.name if domain and is_outside else ""
    return Segmented(found.segmap[:, columns][rows], warnings + found.warnings, outside)


def logits(model: runtime.Model, image: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
    """Return the logits that an installed segmenter gives for a picture (uint8 H×W×3): classes×h×w, without padding.

    Raises `ModelError` for one that gives ids.
    """
    found = _run(model.network("segmenter"), image, ClassList.of(model.taxonomy)).logits
    if found is None:
        raise ModelError(f"{model.card.name} gives class ids; logits are needed here.")
    return found


def check_segmap(segmap: NDArray[np.uint8], image: NDArray[np.uint8], taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """Return a segmap that was handed in, if it fits the picture and the taxonomy; else raise `InputError`."""
    segmap = np.asarray(segmap)
    if segmap.shape != image.shape[:2]:
        raise InputError(f"The segmap has the shape {segmap.shape}; the picture needs {image.shape[:2]}.")
    if segmap.dtype != np.uint8:
        raise InputError(f"The segmap's values are {segmap.dtype}; hand in uint8 class ids.")
    void = np.isin(segmap, taxonomy.void)
    if void.any():
        segmap = np.where(void, np.uint8(VOID), segmap)
    unknown = np.unique(segmap[(segmap >= len(taxonomy)) & (segmap != VOID)])
    if len(unknown):
        raise InputError(
            f"The segmap has the class {unknown[0]}; {taxonomy.name} knows 0 to {len(taxonomy) - 1}, and 255 is void."
        )
    return segmap


def _own(path: Path) -> runtime.Network:
    """Return a user's network, which is loaded once for all pictures, until its file changes."""
    try:
        about = path.stat()
    except OSError as error:
        raise ModelError(f"{path} is not a network that can be read: {error.strerror}.") from None
    return _loaded(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4)
def _loaded(path: Path, changed: int, size: int) -> runtime.Network:
    return runtime.Network(path, str(path))


@dataclass(frozen=True)
class _Answer:
    """What a network gave: ids (h×w), the number of its classes if it gave logits, and what that looked like.

    extent: how many rows and columns of the ids the picture covers; the last one perhaps in part.
    logits: classes×h×w, None where it gave ids.
    """

    ids: NDArray[Any]
    extent: tuple[float, float]
    classes: int | None
    about: str
    logits: NDArray[Any] | None = None

    def __str__(self) -> str:
        return self.about

    @classmethod
    def read(cls, out: Any, name: str, wanted: ClassList) -> _Answer:
        """Return what is in a network's output; raise `ModelError` for what is no segmap of the `wanted` classes."""
        if not isinstance(out, np.ndarray) or out.size == 0:
            raise ModelError(f"{name} gives nothing that could be a segmap.")
        about, is_number = f"{out.dtype} of shape {_shape(out.shape)}", np.issubdtype(out.dtype, np.number)
        if is_number and not np.isfinite(out).all():
            raise ModelError(f"{name} gives {about} with NaN or infinity in it; logits are finite numbers.")
        if is_number and out.ndim == 4 and out.shape[0] == 1 and out.shape[1] > 1:
            about += f", logits of {out.shape[1]} classes"
            return cls(out[0].argmax(0), out.shape[2:], out.shape[1], about, out[0])
        ids = out[:, 0] if out.ndim == 4 and out.shape[1] == 1 else out
        if is_number and ids.ndim == 3 and ids.shape[0] == 1 and (ids == np.rint(ids)).all():
            return cls(ids[0].astype(np.int64), ids.shape[1:], None, about)
        raise ModelError(
            f"{name} gives {about}; a segmenter for {wanted.name} gives 1×{len(wanted)}×h×w logits, or class ids, "
            "whole numbers in 1×h×w or 1×1×h×w."
        )


def _run(network: runtime.Network, image: NDArray[np.uint8], wanted: ClassList) -> _Answer:
    """Return what an ONNX network finds in a picture."""
    given = network.session.get_inputs()
    batch, channels, *sides = given[0].shape if len(given) == 1 and len(given[0].shape) == 4 else (0, 0)
    colours_last = channels != 3 and sides[-1:] == [3]
    if colours_last or not (_may_be(1, batch) and _may_be(3, channels) and given[0].type in _PIXELS):
        takes = " and ".join(f"{one.type} of shape {_shape(one.shape)}" for one in given)
        raise ModelError(
            f"{network.name} is no segmenter: it takes {takes or 'nothing'}; a picture is one input, 1×3×h×w of float, "
            "float16 or uint8."
        )
    fixed = [side if isinstance(side, int) else None for side in sides]
    height, width = size = _network_size(image.shape[:2], fixed)
    scaled = image
    if size != image.shape[:2]:
        scaled = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX, reducing_gap=3.0))
    missing = [0 if side else -length % _STRIDE for side, length in zip(fixed, size, strict=True)]
    x = np.pad(scaled, (*((0, more) for more in missing), (0, 0)), mode="edge").transpose(2, 0, 1)[None]
    if (kind := np.dtype(_PIXELS[given[0].type])) != np.uint8:
        x = (x.astype(np.float32) / np.float32(255)).astype(kind)
    try:
        out = network.run(**{given[0].name: x})[0]
    except Exception as error:
        raise ModelError(
            f"{network.name} does not run on {kind} of shape {_shape(x.shape)}: {str(error).splitlines()[0]}"
        ) from None
    answer = _Answer.read(out, network.name, wanted)
    # Leave out what the padding added, at whatever scale the network answers.
    rows, columns = answer.ids.shape[0] * height / x.shape[2], answer.ids.shape[1] * width / x.shape[3]
    whole = ..., slice(ceil(rows)), slice(ceil(columns))
    logits = None if answer.logits is None else answer.logits[whole]
    return replace(answer, ids=answer.ids[whole], extent=(rows, columns), logits=logits)


def _network_size(size: tuple[int, ...], fixed: list[int | None]) -> tuple[int, int]:
    """Return the size at which an ONNX network gets a picture, before padding; `fixed` are the sides it insists on."""
    height, width = size
    if fixed[0] is not None and fixed[1] is not None:
        return fixed[0], fixed[1]
    if fixed[0] is not None:
        return fixed[0], _free(width, height, fixed[0])
    if fixed[1] is not None:
        return _free(height, width, fixed[1]), fixed[1]
    return _scaled(height, width)


def _free(side: int, other: int, fixed: int) -> int:
    """Return the length of a free side where the other one has a fixed length."""
    return max(1, min(round(side * fixed / other), _LONGEST_SHAPE * fixed))


def _scaled(height: int, width: int) -> tuple[int, int]:
    """Return the size at which a picture is segmented where any size would do."""
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _may_be(size: int, given: int | str | None) -> bool:
    """Whether an axis of a network can have a size: one that is not fixed has a name, or none."""
    return given == size or not isinstance(given, int)


def _shape(shape: Any) -> str:
    return "×".join(map(str, shape))
