"""The bench behind links that lose packets: what is sent, what counts, and what is shown of it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sempic import datasets
from sempic.bench import jobs, links, report, results, runner, tables, timing
from sempic.bench.jobs import Measured, OperatingPoint, encode_picture, measure_picture
from sempic.codecs.spec import Spec
from sempic.errors import InputError
from sempic.link import protection
from sempic.link.channel import LOSSLESS, Losses
from sempic.scene import draw

BARE, SAFE = Spec.parse("hevc"), Spec.parse("hevc:protect=0.25")
POINTS = OperatingPoint.parse_all("700B", "0,0.05,0.3")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[results.Result], list[str]]:
    """What a run of four streets found, and the files that a report of it has."""
    root = tmp_path_factory.mktemp("losses")
    for seed in range(4):
        Image.fromarray(draw(seed, 128, 96).image).save(root / f"street-{seed}.png")
    pictures, out = datasets.find(str(root)), root / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "measure", lambda *arguments: results.Timing())
        made = runner.run(str(root), pictures, [BARE, SAFE], POINTS, ["psnr"], out, workers=1)
    for result in made:
        results.save(result, out / f"{result.label}.json")
    assert results.load_all(out) == made[::-1]
    return made, [path.name for path in report.write_report(out)]


def test_each_point_is_sent_over_each_link_and_once_without_losses():
    assert [point.text for point in POINTS] == ["700B", "700B erase=0.05", "700B erase=0.3"]
    assert [point.losses.erase for point in POINTS] == [0, 0.05, 0.3]
    assert {point.target.size for point in POINTS} == {700}
    assert OperatingPoint.parse_all("q5") == [OperatingPoint.parse("q5")]
    for wrong in ("much", "0.1,2", "-0.1"):
        with pytest.raises(InputError, match=r"no share|from 0 to 1"):
            OperatingPoint.parse_all("700B", wrong)


def test_a_point_says_over_which_link_it_went():
    points = OperatingPoint.parse_all("700B", "0,0.1", packet=51, burst=3)
    assert [point.text for point in points] == ["700B", "700B packet=51 burst=3 erase=0.1"]
    assert [point.losses for point in points] == [LOSSLESS, Losses(0.1, 51, 3)]
    for packet, burst in ((0, 1), (16, 0), (16, 1.05)):
        with pytest.raises(InputError, match=r"at least 1|from 1|too short"):
            OperatingPoint.parse_all("700B", "0.1", packet, burst)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hevc:protect", "write key=value"),
        ("hevc:protect=lots", "it takes a number"),
        ("hevc:protect=2", "share of protection"),
        ("hevc:protect=0", "share of protection"),
    ],
)
def test_protection_is_a_share_of_the_bytes(text, says):
    with pytest.raises(InputError, match=says):
        Spec.parse(text)


def test_protection_counts_in_the_size():
    image = draw(0, 128, 96).image
    bare, safe = (encode_picture(image, spec, POINTS[0]).data for spec in (BARE, SAFE))
    assert bare != safe
    assert protection.recover(safe).detail
    assert len(protection.recover(safe).stream) < len(safe) <= 700
    assert len(bare) <= 700


def measure(frame: datasets.Frame, point: OperatingPoint) -> Measured:
    data = encode_picture(frame.image, BARE, point).data
    return measure_picture(frame, data, BARE, ["psnr"], point.losses)


def test_what_arrives_is_what_is_measured():
    frame = datasets.Frame("street", draw(0, 128, 96).image, None)
    measured, again, clean = (measure(frame, point) for point in (POINTS[1], POINTS[1], POINTS[0]))
    grey = 10 * np.log10(255**2 / np.mean((frame.image.astype(float) - jobs.GREY) ** 2))
    values = [float(arrays["psnr"]) for arrays in measured.collected]
    assert values == [float(arrays["psnr"]) for arrays in again.collected]
    assert len(values) == jobs.TRANSMISSIONS
    for value in values:
        assert value == pytest.approx(grey) or value == pytest.approx(float(clean.collected[0]["psnr"]))
    assert measured.detail["undecodable"] == np.mean(np.isclose(values, grey)) > 0


def test_pictures_lose_different_packets():
    image = draw(0, 128, 96).image
    shares = {measure(datasets.Frame(name, image, None), POINTS[1]).detail["undecodable"] for name in "abcdef"}
    assert len(shares) > 1


def test_protection_pays_where_packets_are_lost(found):
    (bare, safe), _ = found
    for result in (bare, safe):
        assert [point.erase for point in result.points] == [0, 0.05, 0.3]
        assert len({point.bpp for point in result.points}) == 1
        assert [point.point for point in result.lossless.points] == ["700B"]
    assert "Losses: packets of 16 bytes, independently; each file is sent 5 times" in bare.protocol
    clean, few, many = (point.metrics["psnr"] for point in safe.points)
    assert bare.points[0].metrics["psnr"] >= clean >= few > many
    assert few > bare.points[1].metrics["psnr"]
    shares = [result.points[1].detail["undecodable"] for result in (bare, safe)]
    assert shares[0] > 0.5 > 0.2 > shares[1]


def test_the_report_shows_losses_apart(found):
    (bare, safe), files = found
    assert "losses-psnr.png" in files
    table = tables.losses([bare, safe])
    assert table.head[2:] == ("bpp", "0% lost", "5% lost", "30% lost")
    assert [row[0].text for row in table.rows] == ["hevc", "hevc protect=0.25"]
    assert table.rows[1][4].text.endswith("%)")
    assert any("hevc at 700B: nothing could be decoded" in sentence for sentence in table.missing)
    every = tables.all_tables([bare, safe])
    assert every[0] == table
    assert tables.values([bare.lossless, safe.lossless]) in every
    assert tables.losses([bare.lossless]) is None
    assert links.png([bare.lossless], "psnr") is None
