"""Result files are JSON that every parser takes, whatever numbers and names are in them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sempic import datasets
from sempic.bench import results
from sempic.bench.jobs import Encoded, Measured
from sempic.bench.results import Point, Result, Row
from sempic.bench.store import Store

NAN, NONE = float("nan"), {"psnr": float("nan"), "miou": float("inf"), "agreement": 0.5}


def strict(path: Path) -> Any:
    """Return what is in a JSON file; raise for NaN and Infinity, which Python's parser takes and others do not."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_what_is_no_number_is_null_and_comes_back_as_nan(tmp_path: Path) -> None:
    row = Row("vöid\udcff", 16, 16, 9, False, NONE)
    point = Point("0.5", 0.5, NONE, {"car": NAN}, {"scale": NAN}, (row,))
    about = {"settings": {}, "data": "d", "protocol": "p", "hardware": "h", "versions": {}, "pictures": 1}
    made = Result("hevc", "hevc", **about, ceiling={"miou": NAN}, points=(point,))  # type: ignore[arg-type]
    results.save(made, tmp_path / "hevc.json")
    plain = strict(tmp_path / "hevc.json")
    assert plain["ceiling"] == {"miou": None}
    assert plain["points"][0]["metrics"] == {"psnr": None, "miou": None, "agreement": 0.5}
    assert plain["points"][0]["rows"][0]["picture"] == row.picture
    found = results.load(tmp_path / "hevc.json")
    read = found.points[0]
    for numbers in (found.ceiling, read.iou, read.detail):
        assert all(map(math.isnan, numbers.values()))
    assert [math.isnan(value) for value in read.metrics.values()] == [True, True, False]
    assert read.rows[0].picture == row.picture


@pytest.mark.parametrize("side", [16, 200])
def test_what_is_kept_of_a_picture_is_json(side: int, tmp_path: Path) -> None:
    image = np.zeros((side, side, 3), np.uint8)
    frame = datasets.Frame("white", image, np.full((side, side), 255, np.uint8))
    store = Store(tmp_path, ["psnr", "ms_ssim"], {"hevc": ""}, "", None)
    measured = Measured(b"", [{"psnr": np.array(np.inf), "ms_ssim": np.array(np.nan)}], {"scale": NAN})
    place = Path("hevc") / "0.5" / "white"
    store.keep(place, frame, Encoded(b"123", False), measured)
    plain = strict(tmp_path / "hevc" / "0.5" / "white.json")
    assert plain["row"]["metrics"] == {"psnr": None, "ms_ssim": None}
    assert plain["detail"] == {"scale": None}
    assert store.has(place, frame)
