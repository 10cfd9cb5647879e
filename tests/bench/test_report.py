"""The report: what it holds, and what a browser makes of it."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from headless import BROWSER, dump
from PIL import Image, ImageFilter

from sempic import scene, taxonomy
from sempic.bench import gallery, plane, tables
from sempic.bench.report import markdown_tables, write_report
from sempic.bench.results import Point, Process, Result, Row, Seconds, Timing, save
from sempic.errors import InputError

CLASSES = taxonomy.load("camvid11")
PICTURES = [f"frame/{seed:02}" for seed in range(7)]
WIDTH, HEIGHT = 160, 120
RATES = {
    "hevc": (0.02, 0.05, 0.1, 0.2, 0.4),
    "sqgan map=half": (0.021, 0.03, 0.05, 0.08),
    "jpegxl": (0.3, 0.5, 0.8, 1.2),
    "old|<b>": (0.05, 0.1, 0.2, 0.4),
}
GAIN = {"hevc": 0.0, "sqgan map=half": 0.2, "jpegxl": -0.05, "old|<b>": 0.0}


def result(label: str, /, **changes) -> Result:
    """A result with made-up numbers that rise with the rate; "old" is as good as HEVC at 1.25 times the rate."""
    points = []
    for rate in RATES[label]:
        effective = rate / 1.25 if label.startswith("old") else rate
        miou = 0.5 + 0.1 * math.log10(effective) + GAIN[label]
        metrics = {"psnr": 30 + 7 * math.log10(effective), "miou": miou}
        if label.startswith("sqgan"):
            metrics["map_miou"] = 0.6
        size = round(rate * WIDTH * HEIGHT / 8)
        rows = tuple(Row(name, WIDTH, HEIGHT, size, label == "jpegxl" and rate == 0.3, metrics) for name in PICTURES)
        iou = {name: miou + 0.01 * place for place, name in enumerate(CLASSES.classes)}
        points.append(Point(f"{rate:g}", rate, metrics, iou, rows=rows))
    given = {
        "codec": label.split()[0],
        "label": label,
        "settings": {},
        "data": "drawn:test",
        "pictures": len(PICTURES),
        "protocol": "sempic bench drawn:test",
        "hardware": "2 cores",
        "versions": {"sempic": "0.1", "numpy": "2"},
        "ceiling": {"miou": 0.652} | dict.fromkeys(CLASSES.classes, 0.7),
        "points": tuple(points),
        "judge": "judge-toy 0000",
        "taxonomy": CLASSES.to_json(),
        "timing": Timing(
            {point.point: {"encode": Seconds(0.5, 0.3, 0.1), "decode": Seconds(0.25, 0, 0)} for point in points},
            {"encode": Process(1.234, 400.4), "decode": Process(0.5, 0)},
        ),
    }
    return Result(**given | changes)


@pytest.fixture
def results() -> list[Result]:
    missing = {"lpips": "LPIPS needs the package lpips."}
    return [result(label, unavailable=missing) for label in RATES]


def keep(results: list[Result], folder: Path) -> None:
    for place, found in enumerate(results):
        save(found, folder / f"{place}.json")


@pytest.fixture
def run(tmp_path, results) -> Path:
    """The folder of a bench run with its pictures: the coarser the point, the more blurred they are."""
    keep(results, tmp_path)
    for seed, name in enumerate(PICTURES):
        drawn = scene.draw(seed, WIDTH, HEIGHT)
        image = Image.fromarray(drawn.image)
        original = tmp_path / "work" / "originals" / f"{name}.png"
        original.parent.mkdir(parents=True, exist_ok=True)
        image.save(original)
        Image.fromarray(drawn.segmap).save(original.with_name(f"{original.stem}.labels.png"))
        for found in results:
            for point in found.points:
                path = tmp_path / "work" / found.label / point.point / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.filter(ImageFilter.GaussianBlur(0.1 / point.bpp)).save(path)
    return tmp_path


def cells(table: tables.Table, label: str) -> dict[str, str]:
    """The cells of a codec's last row, by the column's first word."""
    row = [row for row in table.rows if row[0].text == label][-1]
    return {head.split()[0]: cell.text for head, cell in zip(table.head, row, strict=True)}


# -- tables -----------------------------------------------------------------------------------------------------------


def test_values_have_a_row_for_each_point_and_the_ceiling(results):
    table = tables.values(results)
    assert len(table.rows) == 1 + sum(map(len, RATES.values()))
    assert table.head == ("codec", "asked for", "bpp", "psnr ↑", "miou ↑", "map_miou ↑")
    assert cells(table, "originals")["miou"] == "0.6520"
    assert cells(table, "hevc") == {
        "codec": "hevc", "asked": "0.4", "bpp": "0.4000", "psnr": "27.21", "miou": "0.4602", "map_miou": "–"
    }  # fmt: skip
    assert table.missing == (
        "jpegxl at 0.3: of 7 pictures, 7 could not be written as small as asked for; the codec's smallest file was "
        "taken.",
    )


def test_deltas_are_against_hevc_and_say_why_there_is_none(results):
    table = tables.rate_deltas(results)
    assert [row[0].text for row in table.rows] == ["sqgan map=half", "jpegxl", "old|<b>"]
    old = cells(table, "old|<b>")
    assert old["psnr"].startswith("+25.0 % (")
    assert "map_miou" not in old
    assert cells(tables.value_deltas(results), "old|<b>")["psnr"].startswith("−0.678")
    assert cells(table, "sqgan map=half")["miou"] == "–"
    (reason,) = (sentence for sentence in table.missing if "The curves share no values" in sentence)
    assert reason.startswith("No number for miou of sqgan map=half: ")


def test_the_anchor_is_hevc_as_it_comes_or_else_the_first():
    tuned = result("hevc", label="hevc scale=full")
    assert tables.anchor([result("jpegxl"), tuned, result("hevc")]).label == "hevc"
    assert tables.anchor([result("jpegxl"), tuned]) is tuned
    assert tables.anchor([result("jpegxl"), result("old|<b>")]).label == "jpegxl"


def test_rates_lie_where_most_codecs_have_points(results):
    assert tables.rates(results, 1) == [0.05]
    found = tables.rates(results)
    assert found == sorted(found)
    assert 0.05 in found
    assert len(found) == 3


def test_classes_are_compared_with_the_originals(results):
    table = tables.classes(results, 0.05)
    assert table is not None
    assert table.head[2:] == CLASSES.classes
    assert cells(table, "originals")["sky"] == "70.0"
    best = {row[0].text for row in table.rows if row[2].best}
    assert best == {"sqgan map=half"}
    assert table.missing == ("jpegxl has no point near; its nearest has 0.300 bpp.",)
    unnamed = [replace(found, judge="", taxonomy={}) for found in results]  # as files of earlier releases
    assert tables.classes(unnamed, 0.05) == table
    bare = [result("hevc", points=(Point("0.1", 0.1, {"psnr": 20.0}),))]
    assert tables.classes(bare, 0.1) is None


def test_classes_that_a_codec_lacks_get_no_number():
    one = result("hevc", points=(Point("0.1", 0.1, {"miou": 0.4}, {"sky": 0.5, "sign": math.nan, "car": math.nan}),))
    other = result("jpegxl", points=(Point("0.1", 0.1, {"miou": 0.4}, {"sky": 0.4, "sign": 0.3}),))
    table = tables.classes([one, other], 0.1)
    assert table is not None
    assert table.head == ("codec", "bpp", "sky", "sign")
    assert cells(table, "hevc") == {"codec": "hevc", "bpp": "0.1000", "sky": "50.0", "sign": "–"}


def test_times_have_a_row_for_each_point_and_a_dash_for_what_a_codec_lacks(results):
    table = tables.times(results)
    assert len(table.rows) == sum(map(len, RATES.values()))
    assert table.head[3:6] == ("encode s", "… networks s", "… entropy coding s")
    assert [cell.text for cell in table.rows[0]] == [
        "hevc",
        "0.02",
        "0.0200",
        "0.500",
        "0.300",
        "0.100",
        "0.250",
        "–",
        "–",
    ]
    assert [cell.text for cell in tables.processes(results).rows[0]] == ["hevc", "1.23", "0.50", "400", "–"]


def test_results_without_times_are_named(results):
    old = replace(results[0], timing=Timing())
    for table in (tables.times([old, *results[1:]]), tables.processes([old, *results[1:]])):
        assert "hevc" not in {row[0].text for row in table.rows}
        assert table.missing == (
            "hevc was measured by an earlier release, which had other times; run the bench again.",
        )
    assert tables.times([old]) is tables.processes([old]) is None


def test_markdown_has_all_tables_and_escapes_bars(results):
    text = markdown_tables(results)
    assert text.count("### ") == len(tables.all_tables(results)) == 5 + len(tables.rates(results))
    assert r"| old\|<b> |" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_one_codec_alone_needs_no_deltas():
    assert "Bjøntegaard" not in markdown_tables([result("hevc")])


NUMBERS = [(0.55412, "0.5541"), (24.314, "24.31"), (0.000123, "0.000123"), (0.0, "0.0000"), (math.nan, "–")]


@pytest.mark.parametrize(("value", "text"), NUMBERS)
def test_numbers(value, text):
    assert tables.number(value) == text


# -- pictures ---------------------------------------------------------------------------------------------------------


def test_densest_centres_what_it_finds():
    mask = np.zeros((100, 200), bool)
    mask[40:46, 60:70] = True
    mask[0, 0] = True
    seen, (x, y, width, height) = gallery.densest(mask)
    assert (width, height) == (0.2, 0.2)
    assert seen == 60 / (20 * 40)
    assert abs(x + width / 2 - 65 / 200) < 0.01
    assert abs(y + height / 2 - 43 / 100) < 0.02
    corner = np.zeros((100, 200), bool)
    corner[-2:, -2:] = True
    assert gallery.densest(corner)[1] == (0.8, 0.8, 0.2, 0.2)
    assert gallery.densest(np.zeros((100, 200), bool))[0] == 0


def test_gallery_takes_pictures_that_all_codecs_have(run, results):
    (run / "work" / "originals" / "frame" / "03.png").unlink()
    found = gallery.gather(results, run / "work")
    assert list(found.originals) == [name for name in PICTURES if name != "frame/03"]
    level = found.levels.index("near 0.050 bpp")
    place, caption = found.tiles[level]["hevc"]["frame/00"]
    assert caption == "120 bytes, 0.050 bpp"
    assert found.images[place].startswith("data:image/webp;base64,")
    assert found.tiles[level]["jpegxl"]["frame/00"][1] == "720 bytes, 0.300 bpp, 6.0 × the size chosen"
    titles = list(dict.fromkeys(crop["title"] for crop in found.crops))
    labels = [Image.open(run / "work" / "originals" / f"{name}.labels.png") for name in found.originals]
    pixels = np.bincount(np.concatenate([np.asarray(ids).reshape(-1) for ids in labels]), minlength=256)
    assert len(titles) == 3
    assert [pixels[CLASSES.id_of(title)] for title in titles] == sorted(pixels[CLASSES.id_of(t)] for t in titles)
    assert pixels[CLASSES.id_of(titles[0])] < 0.1 * pixels.max()


# -- the page ---------------------------------------------------------------------------------------------------------


def test_report_fetches_nothing_and_escapes_what_it_shows(run, results):
    page, *pictures = write_report(run)
    assert [path.name for path in pictures] == ["curves-psnr.png", "curves-miou.png", "curves-map_miou.png"]
    for picture in pictures:
        assert Image.open(picture).width > 800
    text = page.read_text("utf-8")
    assert re.findall(r'(?:src|href|action)="(?!#|data:)([^"]*)"', text) == []
    assert "url(http" not in text
    assert "@import" not in text
    assert "<b>old" not in text
    assert "old|<b>" not in text
    assert "old|&lt;b&gt;" in text
    assert "LPIPS needs the package lpips." in text
    assert "sempic bench drawn:test" in text
    assert "judge-toy 0000, for the classes of camvid11" in text


def test_several_settings_of_a_codec_make_a_plane(tmp_path):
    one, *_ = made = [result(label, codec="spic", settings={"steps": n}) for n, label in enumerate(RATES)]
    assert plane.png([one], "psnr", "miou") is None
    assert plane.png(made, "psnr", "lpips") is None
    assert Image.open(io.BytesIO(plane.png(made, "psnr", "miou"))).width > 800
    keep([replace(found, points=tuple(map(_with_distance, found.points))) for found in made], tmp_path)
    assert (tmp_path / "plane.png") in write_report(tmp_path)


def _with_distance(point: Point) -> Point:
    return replace(point, metrics=point.metrics | {"lite0_frechet": 100 * (1 - point.metrics["miou"])})


def test_report_says_when_codecs_saw_different_pictures(tmp_path):
    keep([result("hevc"), result("jpegxl", pictures=3)], tmp_path)
    text = write_report(tmp_path)[0].read_text("utf-8")
    assert "not measured on the same pictures (hevc 7, jpegxl 3)" in text
    assert "run the bench again to see them" in text  # there is no folder work


def test_results_that_cannot_be_shown_together_are_refused(tmp_path):
    with pytest.raises(InputError, match="no results"):
        write_report(tmp_path)
    keep([result("hevc", points=())], tmp_path)
    with pytest.raises(InputError, match="no points"):
        write_report(tmp_path)
    keep([result("hevc"), result("jpegxl", data="other")], tmp_path)
    with pytest.raises(InputError, match="several data sets"):
        write_report(tmp_path)
    keep([result("hevc"), result("jpegxl", points=(Point("1", 1, {"beauty": 1.0}),))], tmp_path)
    with pytest.raises(InputError, match="beauty"):
        write_report(tmp_path)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    keep([result("hevc")], tmp_path)
    monkeypatch.setattr("sempic.bench.html.find_spec", lambda name: None if name == "matplotlib" else object())
    with pytest.raises(InputError, match="matplotlib: pip install"):
        write_report(tmp_path)
    assert not list(tmp_path.glob("*.html"))


PROBE = """
<script>
addEventListener("load", async () => {
  const wait = (images) => Promise.all([...images].map((image) => image.decode()));
  const all = (selector) => [...document.querySelectorAll(selector)];
  const visible = (selector) => all(selector).filter((e) => getComputedStyle(e).display !== "none");
  const choose = (id, place) => { const s = document.getElementById(id); s.value = place; s.onchange(); };
  const found = {};
  await wait(document.images);
  found.curves = all(".curves figure").map((f) => f.dataset.metric);
  found.points = visible(".point").length;
  found.tiles = all("#tiles img").length;
  found.crops = all("#crops img").length;
  found.cropShape = document.querySelector(".crop").getBoundingClientRect().height > 20;
  document.querySelector("#legend button").click();
  found.pointsWithoutFirst = visible(".point").length;
  found.pressed = document.querySelector("#legend button").getAttribute("aria-pressed");
  const before = document.getElementById("over").src;
  choose("level", 1);
  choose("right", 2);
  found.changed = before !== document.getElementById("over").src;
  found.caption = document.getElementById("over-caption").textContent;
  choose("picture", 5);
  await wait(document.images);
  const slider = document.querySelector(".wipe input");
  slider.value = 25;
  slider.dispatchEvent(new Event("input"));
  found.clip = getComputedStyle(document.getElementById("over")).clipPath;
  const point = visible(".point")[0], spot = point.getBoundingClientRect();
  const near = { clientX: spot.left + 1, clientY: spot.top + 1 };
  point.ownerSVGElement.dispatchEvent(new PointerEvent("pointermove", near));
  found.tip = document.getElementById("tip").textContent;
  found.overflow = document.documentElement.scrollWidth > innerWidth;
  const report = document.body.appendChild(document.createElement("pre"));
  Object.assign(report, { id: "probe", textContent: JSON.stringify(found) });
});
</script>
"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")
def test_report_works_in_a_browser(run):
    page = write_report(run)[0]
    probed = run / "probed.html"
    probed.write_text(page.read_text("utf-8").replace("</body>", PROBE + "</body>"), "utf-8")
    probe = re.search(r'<pre id="probe">(.*?)</pre>', dump(probed, '<pre id="probe">'), re.DOTALL)
    assert probe
    found = json.loads(unescape(probe[1]))
    points = sum(map(len, RATES.values()))
    assert found["curves"] == ["psnr", "miou", "map_miou"]
    assert found["points"] == 2 * points + len(RATES["sqgan map=half"])
    assert found["pointsWithoutFirst"] == found["points"] - 2 * len(RATES["hevc"])
    assert found["pressed"] == "false"
    assert found["tiles"] == 1 + len(RATES)
    assert found["crops"] >= 1 + len(RATES)
    assert found["cropShape"]
    assert found["changed"]
    assert found["caption"].startswith("sqgan map=half: ")
    assert found["clip"] == "inset(0px 0px 0px 25%)"
    assert found["tip"].startswith("sqgan map=half\n0.0210 bpp, psnr")
    assert not found["overflow"]
