"""Segmenters: where a picture's segmap comes from when the user does not hand one in."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sempic import runtime
from sempic.errors import InputError, ModelError
from sempic.taxonomy import VOID, Taxonomy

LONGEST_SIDE = 640
"""Larger pictures are segmented at this length: street scenes were learnt at 480×360."""


def segment(image: NDArray[np.uint8], taxonomy: Taxonomy, network: str | Path | None = None) -> NDArray[np.uint8]:
    """Return the segmap of a picture.

    Args:
        image: uint8 H×W×3.
        taxonomy: the classes to find.
        network: an ONNX file that takes the place of the installed segmenter. It gets N×3×h×w RGB in [0,1], sides
            multiples of 32 unless its input has a fixed size, and returns N×classes×h'×w' logits or N×h'×w' ids, in the
            order of the taxonomy; any h'×w' will do.

    Returns:
        uint8 H×W ids.

    Raises:
        ModelError: the network is none that does this, or no segmenter of this taxonomy is installed.
    """
    from PIL import Image

    height, width = image.shape[:2]
    chosen = _own(Path(network)) if network else runtime.default("segmenter", taxonomy.name).network("segmenter")
    scaled_height, scaled_width = _network_size(chosen, height, width)
    scaled = image
    if (scaled_height, scaled_width) != (height, width):
        size = (scaled_width, scaled_height)
        scaled = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX, reducing_gap=3.0))
    padded = np.pad(scaled, ((0, -scaled_height % 32), (0, -scaled_width % 32), (0, 0)), mode="edge")
    fixed = _fixed_size(chosen)
    x = (scaled if fixed else padded).transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    ids = _ids(chosen, x, taxonomy)
    if not fixed:  # crop what the padding added, at whatever scale the network answers
        ids = ids[: -(-ids.shape[0] * scaled_height // x.shape[2]), : -(-ids.shape[1] * scaled_width // x.shape[3])]
    if ids.shape != (height, width):
        ids = np.asarray(Image.fromarray(ids).resize((width, height), Image.Resampling.NEAREST))
    return ids


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


def _fixed_size(network: runtime.Network) -> tuple[int, int] | None:
    """Return the height and width that a network insists on, None if they are free."""
    shapes = list(network.inputs.values())
    if len(shapes) != 1 or len(shapes[0]) != 4 or (shapes[0][1] not in (3, "3") and isinstance(shapes[0][1], int)):
        raise ModelError(f"{network.name} is no segmenter: it must have one input, N×3×H×W.")
    height, width = shapes[0][2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _network_size(network: runtime.Network, height: int, width: int) -> tuple[int, int]:
    """Return the size at which the network sees the picture."""
    if fixed := _fixed_size(network):
        return fixed
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _ids(network: runtime.Network, x: NDArray[np.float32], taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """Run the network and return its class ids, h'×w'."""
    try:
        out = network.run(**{next(iter(network.inputs)): x})[0]
    except Exception as error:
        raise ModelError(f"{network.name} does not run on a picture: {str(error).splitlines()[0]}") from None
    if not isinstance(out, np.ndarray) or out.size == 0:
        raise ModelError(f"{network.name} gives nothing that could be a segmap.")
    if out.ndim == 4 and out.shape[1] == len(taxonomy):
        return np.asarray(out[0].argmax(0).astype(np.uint8))
    if out.ndim == 3 and np.issubdtype(out.dtype, np.integer) and out.min() >= 0 and out.max() < len(taxonomy):
        return np.asarray(out[0].astype(np.uint8))
    raise ModelError(
        f"{network.name} gives {out.dtype} of shape {out.shape}; a segmenter for {taxonomy.name} gives "
        f"N×{len(taxonomy)}×h×w logits or N×h×w class ids."
    )
