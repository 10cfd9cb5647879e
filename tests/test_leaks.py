"""Pictures one after another, through all codecs in turn: no memory stays behind.

`SEMPIC_PICTURES=4000 pytest -s tests/test_leaks.py` tries more of them than fit into a test run.
"""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import sempic
from sempic import codecs
from sempic.scene import draw

COUNT = int(os.environ.get("SEMPIC_PICTURES", "200"))
WARM_UP = 60
"""Pictures until libraries have what they keep: tables, caches, threads, pools of small pieces."""
ALLOWED = 6 << 20
"""Less than if each picture left its float32 behind."""
SIDES = (48, 64)


def resident() -> int:
    """Return the bytes of memory that the process holds."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says how much memory a process holds")
def test_pictures_one_after_another_leave_nothing_behind():
    scenes = [draw(seed, width, height) for seed in range(3) for width in SIDES for height in SIDES]
    usable = []
    for name in codecs.CODECS:
        try:
            sempic.encode(scenes[0].image, name)
        except (sempic.InputError, sempic.ModelError):  # packages and weights that are not here
            continue
        usable.append(name)
    before = 0
    for number in range(WARM_UP + COUNT):
        if number == WARM_UP:
            before = resident()
        scene, name = scenes[number % len(scenes)], usable[number % len(usable)]
        learnt = {"segmap": scene.segmap} if hasattr(codecs.codec(name).Settings, "segmap") else {}
        data = sempic.encode(scene.image, name, quality=number % 101, protect=number % 16 < 2, **learnt)
        decoded = sempic.decode(data)
        assert decoded.image.shape == scene.image.shape
        damaged = bytearray(data)
        damaged[int(np.random.default_rng(number).integers(len(data)))] ^= 255
        with suppress(sempic.SempicError):
            sempic.decode(bytes(damaged))
    grown = resident() - before
    print(f"{COUNT} pictures, {len(usable)} codecs: {grown / 1e6:+.1f} MB on {before / 1e6:.0f} MB")
    assert grown <= ALLOWED
