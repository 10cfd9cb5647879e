"""Colours of classes, objects and accents: measured at the encoder, laid out and matched at the decoder."""

from __future__ import annotations

import numpy as np
import pytest

import sempic
from sempic import runtime
from sempic.codecs.colours import Colours, measure
from sempic.codecs.tiles import cell_means
from sempic.coding import palette
from sempic.segmap import objects

ROAD, CAR = 0, 1


def _street() -> tuple[np.ndarray, np.ndarray, objects.Objects]:
    """A grey road with a green car, and a grey one with a red lamp; its picture, segmap and objects."""
    cells = np.full((12, 24), ROAD, np.uint8)
    cells[3:8, 2:9] = cells[3:8, 14:21] = CAR
    colours = np.full((12, 24, 3), 96, np.uint8)
    colours[3:8, 2:9] = (20, 120, 60)
    colours[3:8, 14:21] = (90, 90, 90)
    colours[4:6, 15:17] = (230, 20, 20)
    return colours.repeat(4, 0).repeat(4, 1), cells, objects.find(cells, [CAR])


def _colours(image: np.ndarray, cells: np.ndarray, found: objects.Objects) -> Colours:
    levels = palette.measure(image, cells, 2)
    return Colours.of_classes(cells, levels).with_objects(found, measure(cell_means(image), found, levels))


def test_each_car_and_the_lamp_have_their_colour():
    image, cells, found = _street()
    planes = (_colours(image, cells, found).planes() + 0.5).transpose(1, 2, 0) * 255
    near = np.abs(planes - cell_means(image)).max(2)
    assert near.max() <= 1.5 * palette.STEP
    lamp, housing = planes[4, 15], planes[7, 20]
    assert lamp[0] > 200
    assert lamp[1] < 60
    assert np.ptp(housing) < 2 * palette.STEP, "the lamp does not tint the rest"


def test_matching_brings_a_grey_drawing_to_these_colours():
    image, cells, found = _street()
    colours = _colours(image, cells, found)
    drawn = np.full((3, *image.shape[:2]), 0.4, np.float32)
    matched = colours.match(drawn).transpose(1, 2, 0) * 255
    assert np.abs(matched[20, 20] - image[20, 20]).max() <= 1.5 * palette.STEP
    assert matched[20, 63][0] > 150 > 80 > matched[20, 63][1]


def test_an_object_in_the_colour_of_its_class_is_sent_as_such():
    image, cells, found = _street()
    levels = palette.measure(image, cells, 2)
    levels[CAR] = palette.quantise(np.array([[20, 120, 60]]))[0]
    own = measure(cell_means(image), found, levels).levels
    assert own[0].tolist() == [palette.ABSENT] * 3
    assert own[1, 0] != palette.ABSENT


def test_void_has_no_colour():
    image, cells, _ = _street()
    cells[:2] = 255
    found = objects.find(cells, [CAR])
    colours = _colours(image, cells, found)
    assert not colours.planes()[:, :2].any()
    assert not colours.padded(3, 5).planes()[:, :2].any()
    assert colours.padded(3, 5).planes().shape == (3, 15, 29)


def test_cell_means():
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
    assert np.allclose(cell_means(image), image.reshape(4, 4, 6, 4, 3).mean((1, 3)))


@pytest.fixture(params=["sqgan", "layered"])
def codec(request) -> str:
    try:
        model = runtime.default(request.param)
    except sempic.ModelError as absent:
        pytest.skip(str(absent))
    if "objects.brightness" not in model.tables:
        pytest.skip(f"{model.card.name} has no tables for the colours of objects")
    return request.param


@pytest.mark.parametrize("size", [400, 800])
def test_a_red_light_is_red(camvid, codec, size):
    street = camvid / "test" / "image" / "Seq05VD_f02400.webp"
    drawn = sempic.decode(sempic.encode(street, codec, bytes=size)).image.astype(int)
    red, green, blue = drawn[41:51, 140:146].reshape(-1, 3).mean(0)
    assert red > 140
    assert red - max(green, blue) > 90


def test_a_green_car_is_green_and_a_red_one_red(camvid, codec):
    street = camvid / "test" / "image" / "Seq05VD_f04140.webp"
    drawn = sempic.decode(sempic.encode(street, codec, bytes=500)).image.astype(int)
    red, green, _ = drawn[205:245, 70:140].reshape(-1, 3).mean(0)
    assert green - red > 10
    red, green, _ = drawn[180:210, 290:320].reshape(-1, 3).mean(0)
    assert red - green > 2
