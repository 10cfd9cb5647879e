"""What a user's type checker sees of the package: types, and those that arrays need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

RIGHT = """
import numpy as np
import sempic
from numpy.typing import NDArray
from typing_extensions import assert_type

pixels = np.zeros((64, 64, 3), np.uint8)
data = sempic.encode(pixels, bytes=500, keep={"pedestrian": 1})
assert_type(data, bytes)
decoded = sempic.decode(data, layers=0)
assert_type(decoded.image, NDArray[np.uint8])
assert_type(decoded.segmap, NDArray[np.uint8] | None)
assert_type(sempic.inspect(data).parts, tuple[sempic.Part, ...])
"""
CACHE = Path(__file__).resolve().parents[1] / ".mypy_cache" / "users"


@pytest.mark.parametrize(
    ("script", "complaint"),
    [(RIGHT, ""), (RIGHT + "sempic.decode(pixels)\n", 'expected "bytes"'), (RIGHT + "decoded.segmap.shape\n", "None")],
)
def test_mypy_in_its_strictest_mode(script, complaint, tmp_path):
    (tmp_path / "user.py").write_text(script)
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={CACHE}", "--no-error-summary", "user.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode == 0) == (not complaint), done.stdout
    assert complaint in done.stdout
