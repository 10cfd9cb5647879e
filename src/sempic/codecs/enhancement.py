"""Enhancement layers: HEVC pictures that bring planes closer to the original, one after another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sempic.codecs import detail
from sempic.codecs.classic import yuv
from sempic.codecs.classic.hevc import Hevc
from sempic.codecs.classic.picture import scaled
from sempic.errors import StreamError

STRENGTHS = 63
"""The highest strength of detail, as it is sent."""
QP, QP_OCTAVE = 34, 5
"""The quantiser at which detail may cost what was asked for, and after how much more of it this doubles."""


@dataclass(frozen=True)
class Layer:
    """The picture after a layer: its planes, and how much of a drawn picture's detail they take (0 to STRENGTHS)."""

    planes: yuv.Planes
    strength: int
    scale: int

    @classmethod
    def read(cls, payload: bytes, before: yuv.Planes) -> Layer:
        """Return the layer that `write` made a payload of; raise `StreamError` where it cannot be decoded."""
        scale = scale_of(payload)
        height, width = before[0].shape
        coded = yuv.resize(Hevc().expand(payload[1:], *scaled(width, height, scale)), width, height)
        return cls([_add(*pair) for pair in zip(before, coded, strict=True)], payload[0] >> 2, scale)

    @classmethod
    def code(cls, wanted: yuv.Planes, before: yuv.Planes, scale: int, qp: int) -> tuple[bytes, Layer]:
        """Code what planes lack of the wanted ones, scaled down and at a QP; return the HEVC picture and the layer."""
        height, width = before[0].shape
        missing = [_subtract(*pair) for pair in zip(wanted, before, strict=True)]
        data = Hevc().compress(yuv.resize(missing, *scaled(width, height, scale)), qp)
        return data, cls.read(bytes((scale.bit_length() - 1,)) + data, before)

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The picture without any detail but its own."""
        height, width = self.planes[0].shape
        return yuv.enlarge(self.planes, width, height)

    def shown(self, drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the picture with its share of a drawn picture's detail."""
        picture = self.rgb
        share = np.float32(self.strength / STRENGTHS)
        return detail.add(picture, share * detail.missing_detail(picture, drawn))

    def is_own(self, picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return where (H×W) a picture that `shown` returned has no detail but the layer's own."""
        own: NDArray[np.bool_] = (picture == self.rgb).all(2)
        return own


def scale_of(payload: bytes) -> int:
    """Return how many times smaller than the picture a layer is; raise `StreamError` for a scale that is unknown."""
    if not payload or payload[0] & 3 == 3:
        raise StreamError("it has no scale that this release knows")
    return 1 << (payload[0] & 3)


def decode(payloads: list[bytes], width: int, height: int) -> tuple[Layer | None, tuple[str, ...]]:
    """Return the last of some layers, over those before it, and a sentence where one cannot be decoded.

    It is then the last one before that; None where there is none.
    """
    layer, planes = None, nothing(width, height)
    for number, payload in enumerate(payloads, 1):
        try:
            layer = Layer.read(payload, planes)
        except StreamError as error:
            return layer, (f"Layer {number} and all after it cannot be used: {error}",)
        planes = layer.planes
    return layer, ()


def encode(
    image: NDArray[np.uint8], drawn: NDArray[np.uint8], steps: list[tuple[int, int]], decibels: float
) -> list[bytes]:
    """Return the payloads of layers at these scales and QPs, each of which refines those before.

    Each takes as much of the drawn picture's detail as costs it so many decibels of PSNR at `QP`, more where it is
    coarse and less where it is fine: the less detail it has of its own, the more it pays for that in meaning.
    """
    height, width, _ = image.shape
    wanted, planes, payloads = yuv.shrink(image, width, height), nothing(width, height), []
    for scale, qp in steps:
        data, layer = Layer.code(wanted, planes, scale, qp)
        picture, planes = layer.rgb, layer.planes
        cost = decibels * 2 ** ((qp - QP) / QP_OCTAVE)
        share = detail.strength(image, picture, detail.missing_detail(picture, drawn), cost)
        payloads.append(bytes((scale.bit_length() - 1 | round(STRENGTHS * share) << 2,)) + data)
    return payloads


def nothing(width: int, height: int) -> yuv.Planes:
    """Return the planes before the first layer: grey, so that what they lack is the picture itself."""
    return [np.full((rows, columns), 128, np.uint8) for columns, rows in yuv.plane_sizes(width, height)]


def _subtract(plane: yuv.Plane, known: yuv.Plane) -> yuv.Plane:
    """Return what is missing in a plane, 128 where nothing is."""
    return (plane.astype(np.int16) - known + 128).clip(0, 255).astype(np.uint8)


def _add(known: yuv.Plane, missing: yuv.Plane) -> yuv.Plane:
    """Undo `_subtract`, as nearly as 8 bits allow."""
    return (known.astype(np.int16) + missing - 128).clip(0, 255).astype(np.uint8)
