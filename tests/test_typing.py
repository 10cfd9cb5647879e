"""What a user's type checker sees of the package: types, those that arrays need, and mistakes in settings."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

SCRIPT = """
from pathlib import Path

import numpy as np
import sempic
from numpy.typing import NDArray
from sempic.codecs import layered, spic, sqgan
from sempic.codecs.base import Options
from sempic.codecs.spec import CodecInfo
from sempic.codecs.spic import Spic
from typing_extensions import assert_type

pixels = np.zeros((64, 64, 3), np.uint8)
data = sempic.encode(pixels, bytes=500, settings=sqgan.Settings(map="half", keep={"pedestrian": 1}))
assert_type(data, bytes)
for picture in ("street.png", Path("street.png"), b"\\x89PNG"):
    data = sempic.encode(picture, "layered:layers=2", bpp=0.05, protect=0.25)
data = sempic.encode(pixels, Spic(), settings=spic.Settings(seed=3), quality=30)
decoded = sempic.decode(data, layers=0, options=spic.Options(steps=4), model="mine")
for stream in (data, bytearray(data), memoryview(data), "street.smp", Path("street.smp"), open("street.smp", "rb")):
    decoded = sempic.decode(stream, options=Options(progress=print))
    info = sempic.inspect(stream)
assert_type(decoded.image, NDArray[np.uint8])
assert_type(decoded.segmap, NDArray[np.uint8] | None)
assert_type(info.parts, tuple[sempic.Part, ...])
assert_type(sempic.codecs(), list[CodecInfo])
if decoded.taxonomy is not None:
    assert_type(decoded.taxonomy.classes, tuple[str, ...])

sempic.decode(pixels)  # wrong: "decode" has incompatible type
sempic.decode(open("street.smp"))  # wrong: "decode" has incompatible type
decoded.segmap.shape  # wrong: has no attribute "shape"
decoded.taxonomy.name  # wrong: has no attribute "name"
sqgan.Settings(mapp="half")  # wrong: Unexpected keyword argument "mapp"
sqgan.Settings(layers=2)  # wrong: Unexpected keyword argument "layers"
sqgan.Settings(map=4)  # wrong: "map" to "Settings" has incompatible type "int"; expected "str"
sqgan.Settings(simplify="much")  # wrong: expected "float"
layered.Settings(layers=2.5)  # wrong: expected "int"
layered.Settings(segmap=[[0]])  # wrong: "segmap" to "Settings" has incompatible type
spic.Settings(scale="half")  # wrong: expected "int"
spic.Options(step=3)  # wrong: Unexpected keyword argument "step"
spic.Options(seed="x")  # wrong: expected "int | None"
sempic.encode(pixels, map="half")  # wrong: Unexpected keyword argument "map"
sempic.encode(pixels, settings={"map": "half"})  # wrong: "settings" to "encode" has incompatible type
sempic.encode(pixels, settings=spic.Options())  # wrong: "settings" to "encode" has incompatible type
sempic.encode(pixels, quality="high")  # wrong: "quality" to "encode" has incompatible type
sempic.encode(5)  # wrong: "encode" has incompatible type "int"
sempic.decode(data, options=spic.Settings())  # wrong: "options" to "decode" has incompatible type
sempic.decode(data, steps=3)  # wrong: Unexpected keyword argument "steps"
sempic.decode(data, codec="spic")  # wrong: "codec" to "decode" has incompatible type "str"
"""
CACHE = Path(__file__).resolve().parents[1] / ".mypy_cache" / "users"


def test_mypy_in_its_strictest_mode(tmp_path: Path) -> None:
    """One run for all: what is right passes, and each line that is marked as wrong is complained of as it says."""
    (tmp_path / "user.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={CACHE}", "--no-error-summary", "user.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    complaints: dict[int, str] = {}
    for line in done.stdout.splitlines():
        found = re.fullmatch(r"user\.py:(\d+): error: (.*)", line)
        if found:
            complaints[int(found[1])] = complaints.get(int(found[1]), "") + found[2]
        else:
            assert line.startswith("user.py:"), done.stdout + done.stderr
    expected = {
        number: line.partition("# wrong: ")[2]
        for number, line in enumerate(SCRIPT.splitlines(), 1)
        if "# wrong" in line
    }
    assert complaints.keys() == expected.keys(), done.stdout + done.stderr
    for number, complaint in expected.items():
        assert complaint in complaints[number]
