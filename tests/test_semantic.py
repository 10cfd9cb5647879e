"""What the semantic codecs share: their first section, and the colours of what is drawn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sempic
from sempic.codecs import codec, spic
from sempic.codecs.colours import Colours
from sempic.codecs.semantic import Head
from sempic.coding import palette
from sempic.errors import BudgetError, StreamError
from sempic.scene import draw

SEMANTIC = "sqgan", "layered", "spic"
BYTE = st.integers(0, 255)


@given(st.integers(0, 15), st.integers(0, 15), st.binary(max_size=40), st.none() | BYTE, st.none() | st.binary())
def test_the_first_section_is_read_as_it_was_written(factor, count, segmap, own, colours):
    head = Head(factor, count, segmap, own, colours)
    section = head.section(7)
    assert section.type == 7
    assert Head.read(section.payload, own is not None, colours is not None) == head


def test_the_bytes_of_the_first_section():
    assert Head(4, 3, b"map").section().payload == b"\x34map"
    assert Head(4, 3, b"map", own=200).section().payload == b"\x34\xc8map"
    assert Head(4, 3, b"map", palette=b"rgb").section().payload == b"\x34\x03rgbmap"
    assert Head(4, 3, b"map", 9, b"rgb").section().payload == b"\x34\x09\x03rgbmap"


@pytest.mark.parametrize(
    ("payload", "own", "colours"),
    [
        (b"", False, False),
        (b"\4", True, False),
        (b"\4", False, True),
        (b"\4\2a", False, True),
        (b"\4\1\2a", True, True),
    ],
)
def test_a_first_section_that_ends_too_early_is_refused(payload, own, colours):
    with pytest.raises(StreamError, match="segmap is too short"):
        Head.read(payload, own, colours)


def test_what_is_drawn_past_white_stays_flat_when_colours_are_matched():
    picture = np.random.default_rng(0).uniform(1, 1.2, (3, 16, 16)).astype(np.float32)
    grey = palette.quantise(np.full((1, 3), 200.0))
    matched = Colours.of_classes(np.zeros((4, 4), np.uint8), grey).match(picture)
    assert np.allclose(matched, palette.colours(grey)[0, 0], atol=1e-6)


@pytest.mark.parametrize("name", SEMANTIC)
def test_sizes_too_few_for_a_quarter_of_the_segmap_get_an_eighth(name):
    """What a satellite modem or two LoRa packets hold is enough for a picture; the sender learns what it costs."""
    image = draw(4, 480, 352).image
    with pytest.raises(BudgetError) as caught:
        sempic.encode(image, f"{name}:map=quarter+simplify=1", bytes=60)
    least = int(str(caught.value).split(" has ")[1].split()[0])
    assert sempic.inspect(sempic.encode(image, name, bytes=4 * least)).detail["map"] == "quarter"
    with pytest.warns(sempic.SempicWarning, match="one eighth of the size only"):
        stream = sempic.encode(image, name, bytes=least - 1)
    info = sempic.inspect(stream)
    assert info.bytes < least
    assert info.detail["map"] == "eighth"
    assert sempic.decode(stream).image.shape == image.shape


def test_a_segmap_of_a_size_that_was_asked_for_stays_at_it():
    image = draw(4, 240, 176).image
    floor = len(sempic.encode(image, "sqgan:map=quarter", quality=0))
    with pytest.raises(BudgetError, match=f"has {floor} bytes"):
        sempic.encode(image, "sqgan:map=quarter", bytes=floor - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(sempic.encode(image, "sqgan", bytes=floor)) <= floor


def test_protection_does_not_keep_from_smaller_streams():
    image = draw(4, 240, 176).image
    quarter = len(sempic.encode(image, "sqgan:map=quarter+simplify=1", quality=0, protect=0.3))
    with pytest.warns(sempic.SempicWarning, match="one eighth"):
        assert len(sempic.encode(image, "sqgan", bytes=quarter - 1, protect=0.3)) < quarter


def test_a_coarse_picture_that_does_not_fit_is_said():
    image = draw(4, 240, 176).image
    quarter, simple, eighth, least = codec("spic").analyse(image, spic.Settings()).rungs()
    coarse = len(simple.write(1))
    assert len(eighth.write(1)) < coarse <= len(quarter.write(1))
    with pytest.warns(sempic.SempicWarning) as said:
        sempic.encode(image, "spic", bytes=coarse - 1)
    assert [str(one.message) for one in said] == [
        "So few bytes leave room for the segmap at one eighth of the size only."
    ]
    with pytest.warns(sempic.SempicWarning, match="no room for the coarse picture"):
        sempic.encode(image, "spic", bytes=len(least.write(0)))
