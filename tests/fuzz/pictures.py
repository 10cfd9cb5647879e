"""Damaged picture files of all formats that Pillow reads, and the bounds that opening them must keep."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from picture_files import every_kind

from sempic import taxonomy
from sempic.errors import InputError
from sempic.labels import read_labels
from sempic.pixels import read_picture

SECONDS = 5.0
"""The most CPU time for a small file, whatever it declares: the largest picture that is allowed takes a few."""
EDGES = (0, 1, 0x7F, 0x80, 0xFF)
CLASSES = taxonomy.load(taxonomy.names()[0])


def seeds() -> list[bytes]:
    """Return small good files: a few of each format."""
    return every_kind()


def mutate(data: bytes, chance: Random, others: list[bytes]) -> bytes:
    """Return a file with one to four of: other bytes, a bit flipped, a piece cut out, repeated or from another file."""
    made = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        # Half of all changes are near the start, where most headers are.
        at = chance.randrange(min(len(made), 128) if chance.random() < 0.5 else len(made)) if made else 0
        length = min(chance.choice((1, 2, 4, 4, 16, 64)), len(made) - at)
        match chance.randrange(7):
            case 0:
                made[at : at + length] = chance.randbytes(length)
            case 1:
                made[at : at + length] = bytes([chance.choice(EDGES)]) * length
            case 2 if made:
                made[at] ^= 1 << chance.randrange(8)
            case 3:
                del made[at : at + length]
            case 4:
                made[at:at] = made[at : at + length]
            case 5:
                other = chance.choice(others)
                made[at : at + length] = other[at : at + length]
            case 6:
                del made[max(at, 4) :]
    return bytes(made)


def check(data: bytes) -> bool:
    """Open a file as a picture and as labels; return whether it is a picture, and raise where a bound is broken."""
    start = time.process_time()
    try:
        pixels, _ = read_picture(data, "a.png")
    except InputError:
        accepted = False
    else:
        accepted = True
        assert pixels.dtype == np.uint8, pixels.dtype
        assert pixels.ndim == 3, pixels.shape
        assert pixels.shape[2] == 3, pixels.shape
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.png")
        path.write_bytes(data)
        try:
            ids = read_labels(path, CLASSES)
            assert ids.dtype == np.uint8, ids.dtype
            assert ids.ndim == 2, ids.shape
        except InputError:
            pass
    seconds = time.process_time() - start
    assert seconds <= SECONDS, f"{seconds:.1f} s for a file of {len(data)} bytes"
    return accepted
