"""Streams as files of Pillow's."""

from __future__ import annotations

import subprocess
import sys
import warnings
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import sempic
import sempic.pillow
from sempic.scene import draw

PICTURE = Image.fromarray(draw(0, 160, 120).image)
STREAM = sempic.encode(PICTURE, "hevc", quality=30)


def test_saved_and_opened_by_name(tmp_path):
    PICTURE.save(tmp_path / "street.smp", codec="hevc", quality=30)
    assert (tmp_path / "street.smp").read_bytes() == STREAM
    with Image.open(tmp_path / "street.smp") as opened:
        assert (opened.format, opened.mode, opened.size) == ("SMP", "RGB", (160, 120))
        assert opened.info["codec"] == "hevc"
        assert np.array_equal(np.asarray(opened), sempic.decode(STREAM).image)
        assert opened.getpixel((3, 4)) == tuple(sempic.decode(STREAM).image[4, 3])


def test_a_size_is_met_and_any_file_object_will_do():
    out = BytesIO()
    PICTURE.convert("L").save(out, "SMP", codec="hevc", bytes=400, protect=True)
    assert 300 < len(out.getvalue()) <= 400
    assert Image.open(out).convert("L").size == (160, 120)


def test_settings_are_given_by_name_or_behind_the_codec():
    expected = sempic.encode(PICTURE, "hevc:scale=half", quality=30)
    for options in ({"codec": "hevc", "scale": "half"}, {"codec": "hevc:scale=full", "scale": "half"}):
        out = BytesIO()
        PICTURE.save(out, "SMP", quality=30, **options)
        assert out.getvalue() == expected
    assert expected != STREAM


def test_opening_decodes_nothing(monkeypatch):
    asked = []
    decode = sempic.decode
    monkeypatch.setattr(sempic, "decode", lambda data: asked.append(data) or decode(data))
    opened = Image.open(BytesIO(STREAM))
    assert opened.size == (160, 120)
    assert asked == []
    opened.load()
    opened.load()
    assert asked == [STREAM]
    assert opened.copy().resize((80, 60)).size == (80, 60)


@pytest.mark.parametrize("data", [STREAM[:1], STREAM[:5], b"\xd5S\x09" + STREAM[3:], b"\xd5S\x01\xfa" + STREAM[4:]])
def test_what_is_no_stream_is_not_identified(data):
    with pytest.raises(UnidentifiedImageError):
        Image.open(BytesIO(data))


def test_a_damaged_stream_says_what_is_wrong():
    opened = Image.open(BytesIO(STREAM[:40]))
    with pytest.raises(OSError, match="first section cannot be used"):
        opened.load()


def test_protected_streams_are_opened_whatever_packets_are_lost():
    data = sempic.encode(PICTURE, "hevc", quality=30, protect=True)
    for received in (data, bytes(8) + data[8:], data[:-16]):
        opened = Image.open(BytesIO(received))
        assert opened.info["codec"] == "hevc"
        assert np.array_equal(np.asarray(opened), sempic.decode(STREAM).image)
    with pytest.raises(OSError, match="damaged beyond correction"):
        Image.open(BytesIO(data[: len(data) // 2]))


def test_losses_are_warned_of():
    opened = Image.open(BytesIO(STREAM + b"more"))
    with pytest.warns(UserWarning, match="the last 4 bytes are dropped"):
        opened.load()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Image.open(BytesIO(STREAM)).load()


@pytest.mark.parametrize(
    ("options", "says"),
    [({"bytes": 5}, "too few"), ({"colour": 1}, "'colour' is not a setting"), ({"quality": 101}, "0 to 100")],
)
def test_what_cannot_be_saved_says_why_and_leaves_no_file(tmp_path, options, says):
    with pytest.raises(OSError, match=says):
        PICTURE.save(tmp_path / "street.smp", codec="hevc", **options)
    assert list(tmp_path.iterdir()) == []


def test_pillow_is_left_alone_until_asked():
    script = "import sempic; from PIL import Image; Image.init(); assert 'SMP' not in Image.OPEN"
    subprocess.run([sys.executable, "-c", script], check=True)
