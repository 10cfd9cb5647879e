"""`sempic bench`, `report` and `compare` as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sempic.scene import draw


def sempic(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from sempic.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "streets"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(draw(seed, 192, 176).image).save(folder / f"street-{seed}.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_bench_and_report_in_one_go(pictures):
    ran = sempic(
        "bench", pictures, "--codecs", "hevc,webp", "--points", "0.1,q70", "--metrics", "psnr,ms_ssim", "--workers", 2,
        cwd=pictures.parent,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "psnr" in ran.stdout
    assert "notes.txt cannot be read" in ran.stderr
    out = pictures.parent / "bench-out"
    assert sorted(path.name for path in out.glob("*.json")) == ["hevc.json", "webp.json"]
    assert json.loads((out / "webp.json").read_text())["pictures"] == 3
    tables = pictures.parent / "tables.md"
    tables.write_text("# Results\n\n<!-- tables -->\nold\n<!-- end of tables -->\nThat was all.\n")
    ran = sempic("report", "bench-out", "--markdown", tables, cwd=pictures.parent)
    assert ran.returncode == 0, ran.stderr
    assert {path.name for path in out.glob("*.png")} == {"curves-psnr.png", "curves-ms_ssim.png"}
    assert (out / "report.html").stat().st_size > 10_000
    text = tables.read_text()
    assert "webp" in text
    assert "old" not in text
    assert text.endswith("<!-- end of tables -->\nThat was all.\n")
    (pictures.parent / "bare.md").write_text("no marks")
    ran = sempic("report", "bench-out", "--markdown", "bare.md", cwd=pictures.parent)
    assert ran.returncode == 1
    assert "has no lines '<!-- tables -->'" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere",), "no pictures in 'nowhere'"),
        (("{}", "--codecs", "gif"), "known are sqgan, layered, spic, hevc"),
        (("{}", "--codecs", "hevc", "--points", "tiny"), "'tiny' is no point"),
        (("{}", "--codecs", "hevc", "--metrics", "beauty"), "known are psnr"),
        (("{}", "--codecs", "hevc:colour=1"), "'colour' is not a setting"),
        (("{}", "--codecs", "hevc", "--erase", "much"), "'much' is no share of packets"),
    ],
)
def test_a_mistake_is_one_sentence(pictures, arguments, says):
    ran = sempic("bench", *(pictures if a == "{}" else a for a in arguments), cwd=pictures.parent)
    assert ran.returncode == 1
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


def test_compare_writes_a_sheet_or_a_page(pictures, tmp_path):
    source = pictures / "street-0.png"
    ran = sempic("compare", source, "--bytes", 700, "--codecs", "hevc,webp,bpg", "-o", "sheet.png", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "bpgenc" in ran.stdout
    assert Image.open(tmp_path / "sheet.png").size[0] > 900
    ran = sempic("compare", source, "--bytes", 700, "--codecs", "hevc,webp", "-o", "page.html", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "<html" in (tmp_path / "page.html").read_text()
    ran = sempic("compare", source, "--bytes", 700, "-o", "page.html", cwd=tmp_path)
    assert ran.returncode == 1
    assert "exists" in ran.stderr
