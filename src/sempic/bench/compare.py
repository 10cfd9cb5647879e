"""One picture through many codecs at the same size, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import api
from sempic import sheet as paper
from sempic.bench import html
from sempic.bench.gallery import Gallery
from sempic.bench.metrics import METRICS
from sempic.codecs.spec import Spec
from sempic.errors import SempicError
from sempic.pixels import to_rgb
from sempic.rate import Target

_PICTURE = "picture"


@dataclass(frozen=True)
class Compared:
    """A picture after a codec, or a sentence that says why there is none.

    codec: the codec with its settings.
    image: the decoded picture (uint8 H×W×3), None where there is none; `why` then has the reason.
    psnr: in dB, over all RGB samples.
    """

    codec: str
    image: NDArray[np.uint8] | None = None
    bytes: int = 0
    bpp: float = 0.0
    psnr: float = 0.0
    why: str = ""

    @classmethod
    def of(cls, codec: str, original: NDArray[np.uint8], decoded: NDArray[np.uint8], size_bytes: int) -> Compared:
        """Return a decoded picture with its size and its closeness to the original."""
        psnr, pixels = METRICS["psnr"], original.shape[0] * original.shape[1]
        fidelity = psnr.reduce([psnr.collect(original, decoded, None)])
        return cls(codec, decoded, size_bytes, 8 * size_bytes / pixels, fidelity)

    @property
    def caption(self) -> str:
        """The size of the stream, and how near the picture comes to the original."""
        if self.image is None:
            return "cannot"
        return f"{self.bytes} bytes, {self.bpp:.3f} bpp, {self.psnr:.2f} dB"


def compare(
    image: NDArray[np.uint8],
    size_bytes: int,
    specs: Sequence[Spec],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Compared]:
    """Return what each codec makes of a picture in at most `size_bytes`, in the order of the specs.

    A codec that cannot, because its smallest stream is bigger or its package or model is not here, takes part with a
    sentence. `progress` is called with the number of codecs done and the number there are. Raises `InputError` for a
    picture that cannot be used and a size below 1.
    """
    pixels, target, found = to_rgb(image), Target(size=size_bytes), list[Compared]()
    for spec in specs:
        progress(len(found), len(specs))
        found.append(_compared(pixels, target, spec))
    return found


def _compared(image: NDArray[np.uint8], target: Target, spec: Spec) -> Compared:
    try:
        data = api.encode_as(image, spec, target, spec.protect)
    except SempicError as error:
        return Compared(spec.label, why=str(error))
    decoded = api.decode(data, codec=spec.codec, model=spec.model, options=spec.options)
    return Compared.of(spec.label, image, decoded.image, len(data))


def sheet(image: NDArray[np.uint8], compared: Sequence[Compared]) -> Image.Image:
    """Return the original and what the codecs made of it on one sheet, with captions."""
    pixels = to_rgb(image)
    panels: list[tuple[str, NDArray[np.uint8] | str]] = [("original", pixels)]
    for one in compared:
        panels.append((f"{one.codec}: {one.caption}", one.why if one.image is None else one.image))
    return paper.sheet(panels)


def page(image: NDArray[np.uint8], compared: Sequence[Compared], size_bytes: int) -> str:
    """Return the same as a self-contained web page with a slider between any two of the pictures."""
    pixels = to_rgb(image)
    gallery = Gallery()
    gallery.originals[_PICTURE] = gallery.add(Image.fromarray(pixels))
    gallery.levels.append(f"at most {size_bytes} bytes")
    gallery.tiles.append(
        {
            one.codec: {_PICTURE: (gallery.add(Image.fromarray(one.image)), one.caption)}
            for one in compared
            if one.image is not None
        }
    )
    return html.render(
        "compare.html",
        title=f"{pixels.shape[1]} × {pixels.shape[0]} pixels in at most {size_bytes} bytes",
        cannot=[(one.codec, one.why) for one in compared if one.image is None],
        gallery=asdict(gallery),
    )
