"""Pictures as planes of Y, Cb and Cr, the latter two at half size, for the video coders of PyAV."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic.codecs.classic.picture import PictureCodec, Rgb, scaled
from sempic.errors import InputError

Plane = NDArray[np.uint8]
Planes = list[Plane]
"""Y, Cb and Cr (BT.601, full range); the chroma planes have half the columns and rows, rounded up."""


class YuvCodec(PictureCodec[Planes]):
    """A coder that takes planes. Each plane is scaled on its own, straight from the size it has to the size it gets."""

    def shrink(self, image: Rgb, width: int, height: int) -> Planes:
        """Scale down by Lanczos."""
        return shrink(image, width, height)

    def enlarge(self, pixels: Planes, width: int, height: int) -> Rgb:
        """Scale up by bicubic interpolation."""
        return enlarge(pixels, width, height)

    def encoded(self, planes: Planes, coder: str, options: dict[str, str]) -> bytes:
        """Return one picture, of even width and height, as a video coder writes it."""
        height, width = planes[0].shape
        context = self._context(coder, "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = Fraction(1, 25)
        context.options = options
        stacked = np.concatenate([plane.ravel() for plane in planes]).reshape(-1, width)
        frame = av.VideoFrame.from_ndarray(stacked, format="yuv420p")
        frame.pts = 0
        return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])

    def decoded(self, data: bytes, decoder: str, width: int, height: int) -> Planes:
        """Return the planes of a byte stream that must hold one picture of this size, which is even."""
        context = self._context(decoder, "r")
        context.thread_count = 1
        context.options = {"err_detect": "explode"}
        try:
            frames = [*context.decode(av.Packet(data)), *context.decode(None)]
        except av.FFmpegError as error:
            raise self.damaged(f"{error.strerror}") from None
        if len(frames) != 1 or frames[0].is_corrupt or (frames[0].width, frames[0].height) != (width, height):
            raise self.damaged("it does not decode to one whole picture")
        flat = frames[0].to_ndarray().ravel()
        luma, chroma = width * height, width * height // 4
        return [
            flat[:luma].reshape(height, width),
            flat[luma : luma + chroma].reshape(height // 2, width // 2),
            flat[luma + chroma :].reshape(height // 2, width // 2),
        ]

    def _context(self, coder: str, mode: Literal["r", "w"]) -> Any:
        try:
            return av.CodecContext.create(coder, mode)
        except ValueError:
            raise InputError(
                f"The codec {self.name} needs {coder}, which this build of PyAV lacks. Install PyAV's wheel."
            ) from None


def shrink(image: Rgb, width: int, height: int) -> Planes:
    """Return a picture as planes of this many columns and rows of luma."""
    planes = []
    for plane, size in zip(Image.fromarray(image).convert("YCbCr").split(), plane_sizes(width, height), strict=True):
        fits = plane if plane.size == size else plane.resize(size, Image.Resampling.LANCZOS)
        planes.append(np.asarray(fits))
    return planes


def enlarge(planes: Planes, width: int, height: int) -> Rgb:
    """Return planes of any size as a picture of this size."""
    bands = [Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC) for plane in planes]
    return np.array(Image.merge("YCbCr", bands).convert("RGB"))


def resize(planes: Planes, width: int, height: int) -> Planes:
    """Return planes of this many columns and rows of luma: by Lanczos on the way down, by bicubic interpolation up."""
    resized = []
    for plane, size in zip(planes, plane_sizes(width, height), strict=True):
        down = size[0] < plane.shape[1] or size[1] < plane.shape[0]
        filter = Image.Resampling.LANCZOS if down else Image.Resampling.BICUBIC
        fits = plane.shape == size[::-1]
        resized.append(plane if fits else np.asarray(Image.fromarray(plane).resize(size, filter)))
    return resized


def pad(planes: Planes, width: int, height: int) -> Planes:
    """Return planes that repeat their last columns and rows up to a size."""
    sizes = plane_sizes(width, height)
    return [
        np.pad(plane, ((0, rows - plane.shape[0]), (0, columns - plane.shape[1])), mode="edge")
        for plane, (columns, rows) in zip(planes, sizes, strict=True)
    ]


def crop(planes: Planes, width: int, height: int) -> Planes:
    """Return the top left of planes; undoes `pad`."""
    sizes = plane_sizes(width, height)
    return [np.ascontiguousarray(plane[:rows, :columns]) for plane, (columns, rows) in zip(planes, sizes, strict=True)]


def plane_sizes(width: int, height: int) -> tuple[tuple[int, int], ...]:
    """Return the columns and rows of Y, Cb and Cr."""
    chroma = scaled(width, height, 2)
    return (width, height), chroma, chroma
