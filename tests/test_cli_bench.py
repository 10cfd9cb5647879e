"""`sempic bench`, `report` and `compare` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import call
from PIL import Image

from sempic.scene import draw


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "streets"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(draw(seed, 192, 176).image).save(folder / f"street-{seed}.png")
    (folder / "broken.png").write_text("not a picture")
    return folder


def test_bench_and_report_in_one_go(pictures):
    asked = ("--codecs", "hevc,webp", "--points", "0.1,q70", "--metrics", "psnr,ms_ssim", "--workers", 2)
    ran = call(pictures.parent, "bench", pictures, *asked)
    assert ran.returncode == 0, ran.stderr
    assert "psnr" in ran.stdout.decode()
    assert "broken.png cannot be read" in ran.stderr.decode()
    out = pictures.parent / "bench-out"
    assert sorted(path.name for path in out.glob("*.json")) == ["hevc.json", "webp.json"]
    measured = json.loads((out / "webp.json").read_text())
    assert measured["pictures"] == 3
    assert (
        measured["timing"]["speed"]["q70"]["decode"]["whole"] > 0 < measured["timing"]["processes"]["decode"]["peak_mb"]
    )
    assert "### Time" in ran.stdout.decode()
    tables = pictures.parent / "tables.md"
    tables.write_text("# Results\n\n<!-- tables -->\nold\n<!-- end of tables -->\nThat was all.\n")
    ran = call(pictures.parent, "report", "bench-out", "--markdown", tables)
    assert ran.returncode == 0, ran.stderr
    assert {path.name for path in out.glob("*.png")} == {"curves-psnr.png", "curves-ms_ssim.png"}
    assert (out / "report.html").stat().st_size > 10_000
    text = tables.read_text()
    assert "webp" in text
    assert "old" not in text
    assert text.endswith("<!-- end of tables -->\nThat was all.\n")
    (pictures.parent / "bare.md").write_text("no marks")
    ran = call(pictures.parent, "report", "bench-out", "--markdown", "bare.md")
    assert ran.returncode == 1
    assert "has no lines '<!-- tables -->'" in ran.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere",), "no pictures in 'nowhere'"),
        (("{}", "--codecs", "gif"), "known are sqgan, layered, spic, hevc"),
        (("{}", "--codecs", "hevc", "--points", "tiny"), "'tiny' is no size"),
        (("{}", "--codecs", "hevc", "--metrics", "beauty"), "known are psnr"),
        (("{}", "--codecs", "hevc:colour=1"), "'colour' is not a setting"),
        (("{}", "--codecs", "hevc", "--erase", "much"), "'much' is no share of packets"),
        (("{}", "--codecs", "hevc", "--erase", "0.1", "--burst", "0"), "mean length of a burst is 0"),
        (("{}", "--codecs", "hevc", "--packet", "0"), "must have at least 1"),
        (("{}", "--codecs", "hevc", "--judge", "nobody"), "no model 'nobody'"),
        (("{}", "--codecs", "hevc", "--judge", "segmenter-camvid11"), "is of kind segmenter; a judge is needed"),
    ],
)
def test_a_mistake_is_one_sentence(pictures, arguments, says):
    ran = call(pictures.parent, "bench", *(pictures if a == "{}" else a for a in arguments))
    assert ran.returncode == 1
    assert says in ran.stderr.decode()
    assert "Traceback" not in ran.stderr.decode()


def test_results_say_which_links_files_were_sent_over(pictures, tmp_path):
    asked = ("--codecs", "hevc,hevc:protect=0.25", "--points", "700B", "--metrics", "psnr", "--erase", "0.2")
    (tmp_path / "street").mkdir()
    Image.open(pictures / "street-0.png").save(tmp_path / "street" / "street-0.png")
    ran = call(tmp_path, "bench", "street", *asked, "--packet", 51, "--burst", 3, "--workers", 1)
    assert ran.returncode == 0, ran.stderr
    assert "| 700B packet=51 burst=3 |" in ran.stdout.decode()
    for name in ("hevc", "hevc-protect=0.25"):
        measured = json.loads((tmp_path / "bench-out" / f"{name}.json").read_text())
        assert "Losses: packets of 51 bytes, in bursts of 3 packets on average; each file" in measured["protocol"]
        links = [(point["point"], point["erase"], point["packet"], point["burst"]) for point in measured["points"]]
        assert links == [("700B", 0, 16, 1), ("700B packet=51 burst=3 erase=0.2", 0.2, 51, 3)]
        assert 0 <= measured["points"][1]["detail"]["undecodable"] <= 1


def test_compare_writes_a_sheet_or_a_page(pictures, tmp_path):
    source = pictures / "street-0.png"
    ran = call(tmp_path, "compare", source, "--bytes", 700, "--codecs", "hevc,hevc:scale=half,bpg", "-o", "sheet.png")
    assert ran.returncode == 0, ran.stderr
    assert "bpgenc" in ran.stdout.decode()
    assert "hevc scale=half" in ran.stdout.decode()
    assert Image.open(tmp_path / "sheet.png").size[0] > 900
    ran = call(tmp_path, "compare", source, "--bytes", 700, "--codecs", "hevc,webp", "-o", "page.html")
    assert ran.returncode == 0, ran.stderr
    assert "<html" in (tmp_path / "page.html").read_text()
    ran = call(tmp_path, "compare", source, "--bytes", 700, "--codecs", "hevc:scale=half,hevc:colour=1")
    assert ran.returncode == 1
    assert "'colour' is not a setting" in ran.stderr.decode()
    ran = call(tmp_path, "compare", source, "--bytes", 700, "-o", "page.html")
    assert ran.returncode == 1
    assert "exists" in ran.stderr.decode()
