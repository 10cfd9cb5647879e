"""Small picture files of every kind, made here: formats, modes, bits, profiles, EXIF data, transparency."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

WIDTH, HEIGHT = 48, 32
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F")
ORIENTATION, X_RESOLUTION = 0x0112, 0x011A


def grey() -> NDArray[np.uint8]:
    """Return values from 13 to 240 (H×W) that rise to the right and below."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (13 + 2 * x + y * 133 // (HEIGHT - 1)).astype(np.uint8)


def colours() -> NDArray[np.uint8]:
    """Return a picture (H×W×3) without symmetries."""
    return np.dstack([grey(), grey()[::-1], grey()[:, ::-1] // 2])


def in_mode(mode: str) -> Image.Image:
    """Return that picture as a PIL image of any mode."""
    picture = Image.fromarray(colours())
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB")
        assert converted is not None
        return converted
    for step in {"I;16": "L I I;16", "PA": "P PA", "La": "LA La", "RGBa": "RGBA RGBa"}.get(mode, mode).split():
        picture = picture.convert(step)
    if mode in ("LA", "RGBA"):
        picture.putalpha(Image.fromarray(grey()[::-1]))
    return picture


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    """Return a picture as a file."""
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def tiff(values: NDArray[Any], photometric: int = 1, bits: int = 0, **tags: int) -> bytes:
    """Return grey values (H×W) as a TIFF file.

    Args:
        values: whole numbers or floats.
        photometric: 0 where zero is white, 1 where it is black.
        bits: of a value; those of the array if left out. 12 and less are packed.
        tags: the numbers of more tags after a `t`, with their values: `t274=6`.
    """
    height, width = values.shape
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    if bits and bits < values.itemsize * 8:
        digits = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(height, width, 2), axis=-1)[..., 16 - bits :]
        data = np.packbits(digits.reshape(height, -1), axis=1).tobytes()
    entries = {256: width, 257: height, 258: bits or values.itemsize * 8, 259: 1, 262: photometric, 273: 0, 277: 1,
               278: height, 279: len(data), 339: kind}  # fmt: skip
    entries |= {int(name[1:]): value for name, value in tags.items()}
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4) + data


def exif(orientation: int, resolution: tuple[int, int, bytes] = (5, 1, struct.pack("<II", 72, 1))) -> bytes:
    """Return EXIF data with an orientation and a resolution, which may be of any type, count and contents."""
    kind, count, value = resolution
    entries = struct.pack("<HHIHxx", ORIENTATION, 3, 1, orientation)
    entries += struct.pack("<HHII", X_RESOLUTION, kind, count, 8 + 2 + 24 + 4)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4) + value


ODD_RESOLUTIONS = (
    (5, 1, struct.pack("<II", 72, 0)),
    (5, 1, bytes(8)),
    (10, 1, struct.pack("<ii", -1, 0)),
    (2, 8, b"72 dpi\0\0"),
    (11, 2, struct.pack("<ff", float("nan"), 1)),
    (7, 8, b"\xff" * 8),
    (5, 1, b""),
)
"""Resolutions that break Pillow when it writes EXIF data anew."""


def png(
    values: NDArray[Any], bits: int, colour: int = 0, clear: bytes = b"", palette: bytes = b"", before: bytes = b""
) -> bytes:
    """Return values (H×W or H×W×3) as a PNG file of any depth.

    Args:
        values: whole numbers below 2 to the power of `bits`.
        bits: of a value.
        colour: PNG's own number for grey (0), RGB (2) or a palette (3).
        clear: the contents of `tRNS`.
        palette: those of `PLTE`.
        before: chunks that come first.
    """
    height, width = values.shape[:2]
    digits = np.unpackbits(values.astype(">u2").reshape(height, -1, 1).view(np.uint8), axis=-1)[..., 16 - bits :]
    rows = np.packbits(digits.reshape(height, -1), axis=1)
    lines = np.hstack([np.zeros((height, 1), np.uint8), rows]).tobytes()
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)) + before
    out += chunk(b"PLTE", palette) if palette else b""
    out += chunk(b"tRNS", clear) if clear else b""
    return out + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def red_and_blue_swapped() -> bytes:
    """Return a colour profile like sRGB's, but for what its first and its last channel stand for."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return plain.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def every_kind() -> list[bytes]:
    """Return a file of each format that Pillow reads, in each mode that it writes, and of other kinds."""
    Image.init()
    files = {}
    for form in sorted(set(Image.OPEN) & set(Image.SAVE) - {"SMP"}):
        for mode in MODES:
            if form == "AVIF" and mode not in ("L", "RGBA"):  # takes long
                continue
            with suppress(Exception):  # that this format does not have this mode
                data = saved(in_mode(mode), form)
                with Image.open(io.BytesIO(data)) as read:
                    read.load()
                    files.setdefault((form, read.mode), data)
    return [*files.values(), *_rare_formats(), *_rare_kinds(), *_heif()]


def _heif() -> list[bytes]:
    """HEIF files, where the package that writes them is installed."""
    try:
        import pillow_heif
    except ImportError:
        return []
    files = []
    for mode in ("L", "RGB", "RGBA"):
        out = io.BytesIO()
        pillow_heif.from_pillow(in_mode(mode)).save(out, exif=exif(6))
        files.append(out.getvalue())
    return files


def _rare_kinds() -> list[bytes]:
    """Files of common formats with what is rare in them."""
    plain, frames = Image.fromarray(colours()), [Image.fromarray(np.roll(colours(), 5 * i, 1)) for i in range(3)]
    profile, values = red_and_blue_swapped(), grey()
    files = [saved(plain, "JPEG", exif=exif(6, odd), icc_profile=profile) for odd in ODD_RESOLUTIONS]
    files += [saved(plain, form, exif=exif(6)[6:]) for form in ("PNG", "WEBP", "TIFF")]
    files += [saved(plain, form, icc_profile=profile) for form in ("PNG", "WEBP", "TIFF", "JPEG2000")]
    several = ("GIF", "TIFF", "WEBP", "PNG", "MPO")
    files += [saved(frames[0], form, save_all=True, append_images=frames[1:]) for form in several]
    files += [saved(plain, "JPEG", progressive=True, quality=50), saved(plain, "GIF", interlace=1)]
    files += [saved(plain, "TIFF", compression=way) for way in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")]
    files += [saved(in_mode("1"), "TIFF", compression="group4")]
    files += [tiff(values.astype(kind), white) for kind in ("u2", "i2", "u4", "i4", "f4") for white in (0, 1)]
    files += [tiff(values >> 8 - bits, white, bits) for bits in (1, 2, 4) for white in (0, 1)]
    files += [tiff(values.astype(np.uint16) << 4, 1, 12), tiff(values, t274=6)]
    files += [png(values >> 8 - bits, bits, clear=b"\0\1") for bits in (1, 2, 4, 8)]
    files += [png(values.astype(np.uint16) << 8, 16, clear=b"\x20\0"), png(colours(), 8, 2, b"\0\1\0\2\0\3")]
    files += [png(values >> 6, 2, 3, b"\0\x80", bytes(range(12))), saved(in_mode("RGBA"), "TGA", compression="tga_rle")]
    return files


def _rare_formats() -> list[bytes]:
    """Files of formats that Pillow reads and does not write."""
    size, rgb, one = (WIDTH, HEIGHT), colours().tobytes(), grey().tobytes()
    ico = saved(Image.fromarray(colours()), "ICO", sizes=[size], bitmap_format="bmp")
    pcx = saved(Image.fromarray(colours()), "PCX")
    cards = "".join(f"{card:80}" for card in ("SIMPLE  =  T", "BITPIX  =  8", "NAXIS   =  2", f"NAXIS1  =  {WIDTH}",
                                              f"NAXIS2  =  {HEIGHT}", "END"))  # fmt: skip
    rows = "".join(f'"{"ab" * (WIDTH // 2)}",\n' for _ in range(HEIGHT))
    area = struct.pack(">64i", 0, 4, *[0] * 6, HEIGHT, WIDTH, 1, 1, 1, 0, *[0] * 18, 0, 256, *[0] * 30)
    flic = struct.pack("<IHHHHHH", 0, 0xAF11, 1, *size, 8, 3).ljust(128, b"\0")
    lines = b"".join(struct.pack("<BbB", 1, WIDTH, line) for line in range(HEIGHT))
    frame = struct.pack("<IHH8xIH", 16 + 6 + len(lines), 0xF1FA, 1, 6 + len(lines), 15) + lines
    return [
        b"\0\0\2\0" + ico[4:],
        struct.pack("<5I", 0x3ADE68B1, 12, 0, 0, 0)[:12] + pcx,
        cards.ljust(2880).encode() + one,
        flic + frame,
        b"FTEX" + struct.pack("<i2i2i2ii", 0, *size, 1, 1, 1, 32, len(rgb)) + rgb,
        struct.pack(">5I", 20, 1, *size, 1) + one,
        b"\x80\xe8\0\0".ljust(416, b"\0") + struct.pack("<HH4xHH", HEIGHT, WIDTH, 14, 2).ljust(608, b"\0") + rgb,
        b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHHIII", 3, HEIGHT, WIDTH, 8, 3, 0, 0, 0) + b"\0\0" + rgb,
        struct.pack(">8I", 0x59A66A95, *size, 24, len(rgb), 1, 0, 0) + rgb,
        f'/* XPM */\nstatic char *a[] = {{\n"{WIDTH} {HEIGHT} 2 1",\n"a c #102030",\n"b c #fef",\n{rows}}};'.encode(),
        f"P7 332\n#END\n{WIDTH} {HEIGHT} 255\n".encode() + one,
        f"*\nwidth {WIDTH}\nheight {HEIGHT}\n\x0c".encode() + one,
        area + one,
        b"\0\0\1\xb3" + bytes([WIDTH >> 4, (WIDTH & 15) << 4 | HEIGHT >> 8, HEIGHT & 255]) + bytes(64),
        b"\x1c\x03\x3c\0\2\1\0\x1c\x03\x14\0\1\0" + bytes(64),
        bytes(2048) + b"PCD_IPI" + bytes(4096),
    ]
