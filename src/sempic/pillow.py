"""Sempic as a format of Pillow's: after `import sempic.pillow`, `Image.open` reads streams and `save` writes them.

    Image.open("street.smp").show()
    picture.save("street.smp", bytes=1000, keep={"pedestrian": 1})

`save` takes the codec (with settings behind it if you like), a size and a share of protection as `sempic.encode` does,
and the codec's settings by name. Opening reads the header; the picture is decoded when its pixels are asked for.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import IO, Any

from PIL import Image, ImageFile

import sempic
from sempic import api, container
from sempic.codecs import codec_by_id
from sempic.codecs.base import Codec
from sempic.codecs.spec import Spec
from sempic.errors import SempicError, StreamError
from sempic.link import protection
from sempic.rate import Target

FORMAT = "SMP"


class StreamImageFile(ImageFile.ImageFile):
    """A stream that Pillow has opened; `info` has the codec's name under "codec"."""

    format = FORMAT
    format_description = "Sempic stream"

    def _open(self) -> None:
        assert self.fp is not None, "Pillow has opened the file"
        self._stream: bytes | None = self.fp.read()
        try:
            bare = protection.recover(self._stream).stream
        except StreamError as error:  # of what has a whole header of ours
            raise OSError(str(error)) from error
        try:
            header = container.read_header(bare)
            self.info["codec"] = codec_by_id(header.codec).name
        except StreamError as error:  # of two magic bytes alone, another format's file may have the same
            raise SyntaxError(str(error)) from error
        self._mode, self._size = "RGB", (header.width, header.height)

    def load(self) -> Any:
        """Decode the picture, the first time; raise `OSError` with the sentence of what is wrong with the stream."""
        if self._stream is not None:
            try:
                decoded = sempic.decode(self._stream)
            except SempicError as error:
                raise OSError(str(error)) from error
            for warning in decoded.warnings:
                warnings.warn(warning, stacklevel=2)
            if self.fp is not None and self._exclusive_fp:
                self.fp.close()
            self._stream, self.fp = None, BytesIO(decoded.image.tobytes())
            self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, "RGB")]
        return super().load()


def _save(image: Image.Image, file: IO[bytes], name: str | bytes) -> None:
    try:
        file.write(_encoded(image, **image.encoderinfo))
    except SempicError as error:
        raise OSError(str(error)) from error


def _encoded(
    image: Image.Image,
    codec: str | Codec = api.CODEC,
    quality: float | None = None,
    bpp: float | None = None,
    bytes: int | None = None,
    **settings: Any,
) -> bytes:
    spec = Spec.parse(codec, settings) if isinstance(codec, str) else Spec.of(codec, settings)
    return api.encode_as(image, spec, Target(quality, bpp, bytes), spec.protect)


Image.register_open(FORMAT, StreamImageFile, protection.may_start)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".smp")
