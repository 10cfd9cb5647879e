"""Pictures one after another, through all codecs in turn: no memory stays behind.

`SEMPIC_PICTURES=4000 pytest -s tests/test_leaks.py` tries more of them than fit into a test run.
"""

from __future__ import annotations

import gc
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import sempic
from sempic.codecs import CODECS
from sempic.codecs.spec import Spec
from sempic.scene import draw

COUNT = int(os.environ.get("SEMPIC_PICTURES", "160"))
WINDOWS = 8
"""What leaks does so all the time; what libraries keep once, they take in some of the windows only."""
ALLOWED = 4000
"""Bytes a picture in the best window, which is less than the smallest picture."""
SIDES = (48, 64)


def resident() -> int:
    """Return the bytes of memory that the process holds."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))


def held_after_pictures() -> list[int]:
    """Return the bytes that this process holds at the start and after each window of pictures."""
    scenes = [draw(seed, width, height) for seed in range(3) for width in SIDES for height in SIDES]
    usable = []
    for name in CODECS:
        with suppress(sempic.InputError, sempic.ModelError):  # packages and weights that are not here
            sempic.encode(scenes[0].image, name)
            usable.append(name)
    held = [resident()]
    for number in range(COUNT):
        scene, name = scenes[number % len(scenes)], usable[number % len(usable)]
        settings = Spec.parse(name).with_settings(segmap=scene.segmap).settings  # where the codec sends one
        data = sempic.encode(scene.image, name, settings=settings, quality=number % 101, protect=number % 16 < 2)
        decoded = sempic.decode(data)
        assert decoded.image.shape == scene.image.shape
        damaged = bytearray(data)
        damaged[int(np.random.default_rng(number).integers(len(data)))] ^= 255
        with suppress(sempic.SempicError):
            sempic.decode(bytes(damaged))
        if (number + 1) % (COUNT // WINDOWS) == 0:
            held.append(resident())
    return held


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says how much memory a process holds")
@pytest.mark.slow
def test_pictures_one_after_another_leave_nothing_behind():
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:  # what other tests left in memory would blur it
        held = fresh.submit(held_after_pictures).result()
    print(f"{COUNT} pictures, MB held: {', '.join(f'{size / 1e6:.2f}' for size in held)}")
    assert min(after - before for before, after in pairwise(held)) <= ALLOWED * (COUNT // WINDOWS)
