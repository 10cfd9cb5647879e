"""One picture through many codecs at the same size, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import sempic
from sempic import codecs
from sempic import sheet as paper
from sempic.bench import page as pages
from sempic.bench.gallery import Gallery
from sempic.bench.metrics import METRICS
from sempic.codecs.base import to_rgb
from sempic.errors import InputError, SempicError

_PICTURE = "picture"


@dataclass(frozen=True)
class Shown:
    """A picture after a codec, or a sentence that says why there is none."""

    codec: str
    image: NDArray[np.uint8] | None = None
    bytes: int = 0
    bpp: float = 0.0
    psnr: float = 0.0
    why: str = ""

    @classmethod
    def of(cls, codec: str, original: NDArray[np.uint8], decoded: NDArray[np.uint8], size_bytes: int) -> Shown:
        """Return a decoded picture with its size and its closeness to the original."""
        psnr, pixels = METRICS["psnr"], original.shape[0] * original.shape[1]
        fidelity = psnr.reduce([psnr.collect(original, decoded, None)])
        return cls(codec, decoded, size_bytes, 8 * size_bytes / pixels, fidelity)

    @property
    def caption(self) -> str:
        """What the picture took and how near it comes to the original."""
        if self.image is None:
            return "cannot"
        return f"{self.bytes} bytes, {self.bpp:.3f} bpp, {self.psnr:.2f} dB"


def compare(image: NDArray[np.uint8], size_bytes: int, codec_names: Sequence[str]) -> list[Shown]:
    """Return what each codec makes of a picture in at most `size_bytes`, in the order of the names.

    A codec that cannot, because its smallest file is bigger or its package or model is not here, takes part with its
    sentence. Raises `InputError` for a picture that cannot be used, a size below 1 or a name that is no codec's.
    """
    pixels = to_rgb(image)
    if size_bytes < 1:
        raise InputError(f"The size is {size_bytes} bytes; it must be above 0.")
    if unknown := [name for name in codec_names if name not in codecs.CODECS]:
        raise InputError(f"'{unknown[0]}' is not a codec; known are {', '.join(codecs.CODECS)}.")
    return [_shown(pixels, size_bytes, name) for name in codec_names]


def _shown(image: NDArray[np.uint8], size_bytes: int, codec: str) -> Shown:
    try:
        data = sempic.encode(image, codec, bytes=size_bytes)
    except SempicError as error:
        return Shown(codec, why=str(error))
    return Shown.of(codec, image, sempic.decode(data).image, len(data))


def sheet(image: NDArray[np.uint8], shown: Sequence[Shown]) -> Image.Image:
    """Return the original and what the codecs made of it on one sheet, with captions."""
    pixels = to_rgb(image)
    panels: list[tuple[str, NDArray[np.uint8] | str]] = [("original", pixels)]
    for one in shown:
        panels.append((f"{one.codec}: {one.caption}", one.why if one.image is None else one.image))
    return paper.sheet(panels)


def page(image: NDArray[np.uint8], shown: Sequence[Shown], size_bytes: int) -> str:
    """Return the same as a self-contained web page with a slider between any two of the pictures."""
    pixels = to_rgb(image)
    gallery = Gallery()
    gallery.originals[_PICTURE] = gallery.add(Image.fromarray(pixels))
    gallery.levels.append(f"at most {size_bytes} bytes")
    gallery.tiles.append(
        {
            one.codec: {_PICTURE: (gallery.add(Image.fromarray(one.image)), one.caption)}
            for one in shown
            if one.image is not None
        }
    )
    return pages.render(
        "compare.html",
        title=f"{pixels.shape[1]} × {pixels.shape[0]} pixels in at most {size_bytes} bytes",
        cannot=[(one.codec, one.why) for one in shown if one.image is None],
        gallery=asdict(gallery),
    )
