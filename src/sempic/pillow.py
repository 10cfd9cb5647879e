"""Sempic as a format of Pillow's: after `import sempic.pillow`, `Image.open` reads streams and `save` writes them.

    Image.open("street.smp").show()
    picture.save("street.smp", bytes=1000, keep={"pedestrian": 1})

What `save` takes beside a name is what `sempic.encode` takes. Opening reads the header; the picture is decoded when its
pixels are asked for.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import IO, Any

from PIL import Image, ImageFile

import sempic
from sempic import codecs, container, protection
from sempic.errors import SempicError, StreamError

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
            self.info["codec"] = codecs.codec_by_id(header.codec).name
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
        file.write(sempic.encode(image, **image.encoderinfo))
    except SempicError as error:
        raise OSError(str(error)) from error


Image.register_open(FORMAT, StreamImageFile, protection.may_start)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".smp")
