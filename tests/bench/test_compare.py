"""One picture through many codecs: the ones that can, and the ones that cannot."""

from __future__ import annotations

import re

import numpy as np
import pytest
from headless import BROWSER, dump
from PIL import Image

import sempic
from sempic import scene
from sempic.bench import compare
from sempic.codecs import CODECS
from sempic.codecs.base import Codec, Settings
from sempic.codecs.spec import Spec, parse_all
from sempic.errors import InputError

IMAGE = scene.draw(3, 160, 120).image


class Absent(Codec):
    """A codec whose package is not installed."""

    name, id, Settings = "absent", 250, Settings

    def analyse(self, image, settings):
        raise InputError("The codec absent needs the package <nothing>: pip install nothing.")

    def read(self, stream, model=None):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _absent(monkeypatch):
    monkeypatch.setitem(CODECS, "absent", (__name__, "Absent"))


def test_all_take_part_at_the_same_size():
    good, absent = compare.compare(IMAGE, 700, parse_all("hevc,absent"))
    assert good.image is not None
    assert good.image.shape == IMAGE.shape
    stream = sempic.encode(IMAGE, "hevc", bytes=700)
    assert good.bytes == len(stream) <= 700
    assert np.array_equal(good.image, sempic.decode(stream).image)
    assert good.bpp == pytest.approx(8 * good.bytes / IMAGE[..., 0].size)
    error = np.mean((IMAGE.astype(float) - good.image) ** 2)
    assert good.psnr == pytest.approx(10 * np.log10(255**2 / error))
    assert good.caption == f"{good.bytes} bytes, {good.bpp:.3f} bpp, {good.psnr:.2f} dB"
    assert (absent.image, absent.caption) == (None, "cannot")
    assert "pip install nothing" in absent.why


def test_settings_options_and_protection_are_those_of_the_spec():
    plain, safe = compare.compare(IMAGE, 700, parse_all("hevc:scale=half,hevc:scale=half+protect=0.25"))
    assert (plain.codec, safe.codec) == ("hevc scale=half", "hevc scale=half protect=0.25")
    assert plain.bytes == len(sempic.encode(IMAGE, "hevc:scale=half", bytes=700))
    assert safe.bytes == len(sempic.encode(IMAGE, "hevc:scale=half", bytes=700, protect=0.25))


def test_a_codec_whose_floor_is_above_says_so():
    (shown,) = compare.compare(IMAGE, 10, [Spec.parse("hevc")])
    assert shown.image is None
    assert re.search(r"the smallest stream of this picture has \d+ bytes", shown.why)


def test_mistakes_of_the_caller_are_raised():
    with pytest.raises(InputError, match="'jpeg3000' is not a codec"):
        compare.compare(IMAGE, 700, parse_all("hevc,jpeg3000"))
    with pytest.raises(InputError, match="above 0"):
        compare.compare(IMAGE, 0, [Spec.parse("hevc")])
    with pytest.raises(InputError, match="float64"):
        compare.compare(IMAGE / 255, 700, [Spec.parse("hevc")])


def test_sheet_has_a_panel_for_each():
    shown = compare.compare(IMAGE, 700, parse_all("hevc,absent"))
    one, two = compare.sheet(IMAGE, shown), compare.sheet(IMAGE, [*shown, *shown])
    assert one.width == two.width > 3 * 480
    assert one.height < two.height < 2 * one.height
    panel = one.crop((14, 44, 14 + 480, 44 + 360))
    assert np.array_equal(panel, Image.fromarray(IMAGE).resize((480, 360), Image.Resampling.LANCZOS))
    sentence = np.asarray(one.convert("L"))[100:350, 2 * 494 + 30 : 2 * 494 + 470]
    rows, columns = np.nonzero(sentence < 128)
    assert np.ptp(rows) + np.ptp(columns) > 30
    assert columns.min() > 5
    assert columns.max() < 435


@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")
@pytest.mark.parametrize("names", [["hevc", "absent"], ["absent"]])
def test_page_works_in_a_browser(tmp_path, names):
    shown = compare.compare(IMAGE, 700, [Spec.parse(name) for name in names])
    text = compare.page(IMAGE, shown, 700)
    assert re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', text) == []
    (tmp_path / "page.html").write_text(text, "utf-8")
    found = dump(tmp_path / "page.html", "<figcaption>")
    tiles = [("original", "")] + [(one.codec, f" {one.caption}") for one in shown if one.image is not None]
    assert re.findall(r"<figcaption><b>(.*?)</b>(.*?)<", found) == tiles
    assert "absent: The codec absent needs the package &lt;nothing&gt;" in found
