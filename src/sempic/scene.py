"""Draws street scenes with exact segmaps: a picture to try things on where no data set is at hand.

The picture is what a dash-camera sees: a ground plane and rows of façades under perspective, then everything that
stands on the street, from far to near. Colour and class id are painted by the same calls on two canvases, so the
segmap is exact.
World coordinates are metres: x to the right of the road's middle, y up, z forward from the camera.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import mul
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from sempic.errors import InputError

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Colour = Sequence[float] | NDArray[np.floating[Any]]
Point = tuple[float, float, float]

CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
"""What the ids of a scene's segmap stand for, in their order."""
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(len(CLASSES))

_SUPER = 2  # canvases are drawn at twice the size; shrinking the picture smooths every edge
_EYE = 1.4
_FAR = 150.0
_CUBIC = Image.Resampling.BICUBIC

# A car's outline from the rear bumper over the roof to the front: (along, up, half width), and what each strip between
# two neighbours is made of.
_CAR = (
    (-2.0, 0.26, 0.80),
    (-2.1, 0.52, 0.84),
    (-2.02, 0.96, 0.83),
    (-1.72, 1.42, 0.62),
    (0.25, 1.46, 0.62),
    (1.1, 0.98, 0.81),
    (1.98, 0.80, 0.78),
    (2.1, 0.52, 0.80),
    (2.02, 0.26, 0.78),
)
_VAN = (
    (-2.3, 0.30, 0.88),
    (-2.4, 0.58, 0.92),
    (-2.38, 1.10, 0.92),
    (-2.3, 2.05, 0.84),
    (1.1, 2.05, 0.84),
    (1.75, 1.20, 0.88),
    (2.3, 1.00, 0.86),
    (2.4, 0.58, 0.88),
    (2.34, 0.30, 0.86),
)
_STRIPS = ("bumper", "tail", "glass", "roof", "glass", "bonnet", "nose", "bumper")
_PAINTS = (
    (34, 36, 40),
    (52, 56, 62),
    (128, 132, 136),
    (168, 171, 174),
    (196, 197, 195),
    (42, 58, 92),
    (112, 30, 30),
    (58, 78, 70),
)
_BRICKS = (
    (112, 88, 70),
    (134, 112, 88),
    (150, 140, 122),
    (172, 166, 152),
    (96, 76, 66),
    (124, 118, 110),
    (188, 180, 160),
)
_FASCIAS = ((34, 60, 46), (120, 30, 34), (36, 46, 86), (40, 38, 38), (170, 150, 90), (24, 92, 96), (188, 184, 176))
_CLOTHES = ((36, 36, 42), (44, 48, 66), (70, 56, 48), (96, 40, 44), (28, 30, 34), (90, 92, 96), (58, 66, 52))


@dataclass(frozen=True)
class Scene:
    """A picture (uint8 H×W×3) and its exact segmap (uint8 H×W, ids of `CLASSES`)."""

    image: Bytes
    segmap: Bytes


def draw(seed: int = 0, width: int = 480, height: int = 360) -> Scene:
    """Draw the street of this seed; the same seed and size always give the same scene."""
    if seed < 0 or min(width, height) < 16:
        raise InputError("A scene needs a seed of at least 0 and at least 16×16 pixels.")
    return _Street(np.random.default_rng(seed), width, height).paint()


@dataclass(frozen=True)
class _Lot:
    """A stretch of one side of the street: a building, or a garden with trees."""

    side: int
    near: float
    far: float
    front: float
    height: float
    garden: bool


class _Street:
    """One street: its layout, drawn from the generator, and the two canvases."""

    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self.rng = rng
        self.width, self.height = width * _SUPER, height * _SUPER
        self.focal = 1.15 * self.height
        self.horizon = self.height * rng.uniform(0.43, 0.48)
        self.centre = self.width * rng.uniform(0.42, 0.58)
        self.kerb = rng.uniform(4.3, 5.6)
        self.front = self.kerb + rng.uniform(2.2, 3.4)
        self.eye_x = -0.45 * self.kerb  # traffic keeps to the left
        self.sun = int(rng.choice((-1, 1)))
        self.cast = rng.uniform(0.35, 0.75)  # metres of shadow to a metre of height
        self.warmth = np.asarray((1.04, 1.0, 0.94), np.float32)
        self.haze = np.asarray((196, 206, 214), np.float32)
        self.noise = _fractal(rng, 512)
        self.grain = rng.random((512, 512), dtype=np.float32)
        self.stop_line = rng.uniform(8, 14) if rng.random() < 0.5 else -1.0
        self.repair = rng.uniform(0, 31)
        self.lots = [lot for side in (-1, 1) for lot in self._lots(side)]
        self.things = self._things()
        self.image = Image.new("RGB", (self.width, self.height))
        self.labels = Image.new("L", (self.width, self.height))

    def paint(self) -> Scene:
        self._sky()
        self._street_end()
        self._ground()
        for lot in sorted(self.lots, key=lambda lot: -lot.far):
            if lot.garden:
                self._garden(lot)
            else:
                self._building(lot)
        for _, paint in sorted(self.things, key=lambda thing: -thing[0]):
            paint()
        segmap = np.asarray(self.labels)[::_SUPER, ::_SUPER].copy()
        return Scene(self._camera(), segmap)

    # -- layout ----------------------------------------------------------------------------------------------

    def _lots(self, side: int) -> list[_Lot]:
        rng, lots, near = self.rng, [], float(self.rng.uniform(-6, 2))
        while near < _FAR:
            garden = near > 8 and rng.random() < 0.24
            far = near + rng.uniform(7, 15)
            setback = rng.choice((0.0, 0.0, 0.6, 1.6))
            lots.append(
                _Lot(side, max(near, 0.5), far, self.front + setback, 3.4 + 2.9 * rng.integers(1, 4) + 0.5, garden)
            )
            near = far
        return lots

    def _things(self) -> list[tuple[float, Callable[[], None]]]:
        """Everything that stands on the street, each with its distance."""
        rng, things = self.rng, list[tuple[float, Callable[[], None]]]()
        self.shadows: list[list[Point]] = []

        def add(z: float, paint: Callable[..., None], *args: object) -> None:
            things.append((z, lambda: paint(*args)))

        def car(x: float, z: float, heading: float) -> None:
            add(z, self._car, x, z, heading, rng.integers(1 << 30))
            self.shadows.append(
                [(x - 1.05, 0, z - 2.3), (x + 1.05, 0, z - 2.3), (x + 1.05, 0, z + 2.3), (x - 1.05, 0, z + 2.3)]
            )

        lane = self.kerb / 2
        z = rng.uniform(11, 17)
        while z < 110:
            car(-lane + rng.normal(0, 0.2), z, 0.0)
            z += rng.uniform(12, 40)
        z = rng.uniform(9, 22)
        while z < 110:
            car(lane - 0.4 + rng.normal(0, 0.2), z, math.pi)
            z += rng.uniform(14, 40)
        for side in (-1, 1):
            z = rng.uniform(14, 26) if side < 0 else rng.uniform(7.5, 12)
            for _ in range(int(rng.integers(1, 5))):  # a row of parked cars
                car(side * (self.kerb - 0.75), z, rng.normal(0, 0.02) + (math.pi if side > 0 else 0))
                z += rng.uniform(5.2, 9)
            for z in np.arange(rng.uniform(9, 16), 110, 24.0):
                add(z, self._lamp, side, float(z))
            for z in rng.uniform(7.5, 40, int(rng.integers(1, 4))):
                add(z, self._sign, side, float(z), int(rng.integers(4)))
            for z in rng.uniform(9, 70, int(rng.integers(4, 9))):
                x = side * rng.uniform(self.kerb + 0.6, self.front - 0.5)
                add(z, self._pedestrian, x, float(z), rng.integers(1 << 30))
            if rng.random() < 0.7:
                near = float(rng.uniform(9, 22))
                add(near + 4, self._railing, side * (self.kerb + 0.35), near, near + rng.uniform(7, 14))
            for z in rng.uniform(14, 80, int(rng.integers(1, 6))):
                add(z, self._tree, side * (self.kerb + 0.9), float(z), rng.uniform(5.5, 9))
        for side, heading in ((-1, 0.0), (1, math.pi)):
            if rng.random() < 0.75:
                z = rng.uniform(8, 24)
                add(z - 0.5, self._bicyclist, side * (self.kerb - 1.9), z, heading + rng.normal(0, 0.12))
        return things

    # -- painting --------------------------------------------------------------------------------------------

    def _project(self, point: Point) -> tuple[float, float]:
        x, y, z = point
        z = max(z, 0.4)
        return self.centre + (x - self.eye_x) * self.focal / z, self.horizon + (_EYE - y) * self.focal / z

    def _tint(self, colour: Colour, z: float, light: float = 1.0) -> tuple[int, int, int]:
        """The colour as seen from afar: lit, then veiled by the air between."""
        air = 1 - math.exp(-max(z, 0) / 260)
        r, g, b = np.clip(np.asarray(colour, np.float32) * light * (1 - air) + self.haze * air, 0, 255).astype(int)
        return int(r), int(g), int(b)

    def _polygon(self, points: Sequence[Point], colour: Colour, label: int, light: float = 1.0) -> None:
        flat = [self._project(point) for point in points]
        z = sum(point[2] for point in points) / len(points)
        ImageDraw.Draw(self.image).polygon(flat, fill=self._tint(colour, z, light))
        ImageDraw.Draw(self.labels).polygon(flat, fill=label)

    def _limb(self, a: Point, b: Point, thick: float, colour: Colour, label: int, light: float = 1.0) -> None:
        """A rod of `thick` metres from a to b, with rounded ends."""
        (ax, ay), (bx, by) = self._project(a), self._project(b)
        w = max(thick * self.focal / max(a[2], 0.4), 1.0)
        for canvas, fill in ((self.image, self._tint(colour, a[2], light)), (self.labels, label)):
            pen = ImageDraw.Draw(canvas)
            pen.line([ax, ay, bx, by], fill=fill, width=round(w))
            for x, y in ((ax, ay), (bx, by)) if w > 3 else ():
                pen.ellipse([x - w / 2, y - w / 2, x + w / 2, y + w / 2], fill=fill)

    def _paste(self, colour: Floats, mask: NDArray[np.bool_], left: int, top: int, label: int) -> None:
        stencil = Image.fromarray(mask.astype(np.uint8) * 255)
        self.image.paste(Image.fromarray(_bytes(colour)), (left, top), stencil)
        self.labels.paste(label, (left, top, left + mask.shape[1], top + mask.shape[0]), stencil)

    # -- backdrop --------------------------------------------------------------------------------------------

    def _sky(self) -> None:
        rows = np.arange(int(self.horizon) + 1, dtype=np.float32)[:, None, None] / self.height
        top, low = np.asarray((204, 226, 244), np.float32), np.asarray((244, 246, 245), np.float32)
        blue = top + (low - top) * np.minimum(rows / 0.42, 1)
        # Clouds flatten towards the horizon: sample the noise on a plane above the street.
        depth = 1 / (0.16 + np.maximum(0.46 - rows[..., 0], 0))
        across = (np.arange(self.width, dtype=np.float32) - self.centre) / self.width
        cloud = self.noise[(depth * 60).astype(int) % 512, (across * depth * 95).astype(int) % 512]
        cover = np.clip((cloud - self.rng.uniform(0.42, 0.58)) * 3.5, 0, 1)[..., None]
        white = 252 - 22 * np.clip(cloud - 0.6, 0, 1)[..., None]
        self.image.paste(Image.fromarray(_bytes(blue + (white - blue) * cover)))
        self.labels.paste(SKY, (0, 0, self.width, self.height))

    def _street_end(self) -> None:
        rng, x = self.rng, -90.0
        while x < 90:
            wide, tall = rng.uniform(9, 20), rng.uniform(6, 12)
            z, wall = _FAR * 1.3, _BRICKS[rng.integers(len(_BRICKS))]
            self._polygon([(x, 0, z), (x, tall, z), (x + wide, tall, z), (x + wide, 0, z)], wall, BUILDING, 0.8)
            x += wide
        for x in rng.uniform(-40, 40, 12):
            self._foliage((float(x), 4.0, _FAR * 1.2), rng.uniform(4, 8), 4.5)

    def _ground(self) -> None:
        top = int(self.horizon) + 1
        rows, cols = np.arange(top, self.height, dtype=np.float32)[:, None], np.arange(self.width, dtype=np.float32)
        z = _EYE * self.focal / (rows - self.horizon)
        x = (cols - self.centre) * z / self.focal + self.eye_x
        side, away = np.sign(x), np.abs(x)
        coarse = self.noise[(z * 18).astype(int) % 512, (x * 34).astype(int) % 512]
        fine = self.grain[(z * 42).astype(int) % 512, (x * 70).astype(int) % 512]
        near = 1 / (1 + z / 14)

        road = 106 + 34 * (coarse - 0.5) + 44 * (fine - 0.5) * near
        lane = np.abs(np.abs(away - self.kerb / 2) - 0.75)
        road -= 9 * np.exp(-((lane / 0.28) ** 2)) - 6 * np.exp(-((away / 0.5) ** 2))
        patch = (np.abs(x + 0.5 * self.kerb - 0.9) < 0.6) & ((z + self.repair) % 31 < 4.5)
        road = np.where(patch, road - 7, road)

        worn = 0.55 + 0.45 * np.clip(coarse * 2.4 - 0.35, 0, 1)
        dash = (away < 0.07) & ((z + 1.0) % 6.0 < 3.6)
        stop = (np.abs(z - self.stop_line) < 0.18) & (x < -0.1) & (away < self.kerb - 0.3)
        white = (dash | stop) & (fine > 0.06)
        yellow = ((np.abs(away - self.kerb + 0.32) < 0.05) | (np.abs(away - self.kerb + 0.52) < 0.05)) & (
            side == self.sun
        )
        colour = np.stack((road * 0.99, road, road * 1.03), -1)
        colour = _mix(colour, (206, 206, 200), white * worn)
        colour = _mix(colour, (176, 152, 74), yellow * worn * 0.8)

        slab = 128 + 30 * (coarse - 0.5) + 22 * (fine - 0.5) * near
        joint = ((z % 0.75 < 0.04) | ((away - self.kerb) % 0.62 < 0.03)) & (z < 22)
        slab = np.where(joint, slab - 26, slab)
        stone = np.where(z % 0.9 < 0.04, 110, 156 + 24 * (coarse - 0.5))
        slab = np.where(away < self.kerb + 0.18, stone, slab)
        paved = away > self.kerb
        colour = np.where(paved[..., None], np.stack((slab, slab * 0.98, slab * 0.95), -1), colour)
        gutter = np.abs(away - self.kerb + 0.06) < 0.06
        colour = np.where(gutter[..., None], colour * 0.62, colour)

        # The sun stands over one row of houses, whose shadow falls across the street.
        sunny_side = [lot for lot in self.lots if lot.side == self.sun and not lot.garden]
        tall = np.zeros_like(z)
        for lot in sunny_side:
            tall = np.where((z + 2.5 >= lot.near) & (z + 2.5 < lot.far), lot.height, tall)
        reach = self.front - self.cast * tall
        dark = np.clip((x * self.sun - reach) / (0.12 + 0.01 * z) + 0.5, 0, 1)
        colour *= (1.18 - 0.62 * dark)[..., None] * (self.warmth + (1 - self.warmth) * 1.8 * dark[..., None])
        air = (1 - np.exp(-z / 260))[..., None]
        colour = colour * (1 - air) + self.haze * air
        self.image.paste(Image.fromarray(_bytes(colour)), (0, top))
        self.labels.paste(Image.fromarray(np.where(paved, PAVEMENT, ROAD).astype(np.uint8)), (0, top))

        soft = Image.new("L", (self.width, self.height))
        for outline in self.shadows:
            ImageDraw.Draw(soft).polygon([self._project(point) for point in outline], fill=190)
        soft = soft.filter(ImageFilter.BoxBlur(self.height / 90))
        self.image.paste((20, 21, 24), (0, 0), soft)

    # -- along the street ------------------------------------------------------------------------------------

    def _light(self, side: float) -> float:
        """How bright a wall facing the street from this side is."""
        return 0.5 if side == self.sun else 1.16

    def _building(self, lot: _Lot) -> None:
        rng, side = self.rng, lot.side
        light = self._light(side) * rng.uniform(0.9, 1.1)
        wall = np.asarray(_BRICKS[rng.integers(len(_BRICKS))], np.float32)
        roof = np.asarray((74, 70, 70), np.float32) + rng.uniform(-14, 14)
        front, back, ridge = side * lot.front, side * (lot.front + 9), side * (lot.front + 4.5)
        peak = lot.height + rng.choice((0.0, 2.2, 2.8))
        gable = [
            (front, 0.0, lot.near),
            (front, lot.height, lot.near),
            (ridge, peak, lot.near),
            (back, lot.height, lot.near),
        ]
        if lot.near > 3:
            if peak > lot.height:
                low, high, z = peak - 1, peak + 1.3, lot.near
                stack = [(ridge - 0.5, low, z), (ridge - 0.5, high, z), (ridge + 0.5, high, z), (ridge + 0.5, low, z)]
                self._polygon(stack, wall * 0.8, BUILDING, 0.6)
            self._polygon([*gable, (back, 0, lot.near)], wall, BUILDING, 0.62)
        eaves = [(front, lot.height, lot.near), (front, lot.height, lot.far)]
        self._polygon([*eaves, (ridge, peak, lot.far), (ridge, peak, lot.near)], roof, BUILDING, light)

        # The façade: every column of pixels has one distance, so its texture is (along the street) × (height).
        reach = abs(front - self.eye_x)
        edges = sorted(self.centre + side * reach * self.focal / z for z in (lot.near, lot.far))
        left, right = max(math.floor(edges[0]), 0), min(math.ceil(edges[1]) + 1, self.width)
        if left >= right:
            return
        offset = np.maximum(np.abs(np.arange(left, right, dtype=np.float32) - self.centre), 1e-3)
        z = reach * self.focal / offset
        top = int(max(self.horizon - (lot.height - _EYE) * self.focal / z.min(), 0))
        bottom = int(min(self.horizon + _EYE * self.focal / z.min() + 2, self.height))
        up = _EYE + (self.horizon - np.arange(top, bottom, dtype=np.float32)[:, None]) * z / self.focal
        mask = (up > -0.02) & (up <= lot.height) & (z >= lot.near) & (z <= lot.far)
        self._paste(self._facade(lot, wall, z, up, light), mask, left, top, BUILDING)

    def _facade(self, lot: _Lot, wall: Floats, z: Floats, up: Floats, light: float) -> Floats:
        rng = self.rng
        along, pitch = z - lot.near, rng.uniform(1.9, 2.9)
        bay, storey = np.floor(along / pitch).astype(int), np.floor((up - 3.4) / 2.9).astype(int)
        u, v = along / pitch - bay, (up - 3.4) / 2.9 - storey
        speckle = self.grain[(up * 14).astype(int) % 512, (along * 5).astype(int) % 512]
        stain = self.noise[(up * 9).astype(int) % 512, (along * 9 + 77).astype(int) % 512]
        colour = wall * (0.86 + 0.16 * speckle + 0.3 * (stain - 0.5))[..., None]
        trim = np.clip(wall * 1.35 + 22, 0, 235)

        upper = (storey >= 0) & (up < lot.height - 0.7)
        frame = upper & (np.abs(u - 0.5) < 0.27) & (v > 0.2) & (v < 0.82)
        glass = frame & (np.abs(u - 0.5) < 0.22) & (v > 0.25) & (v < 0.79)
        bars = glass & ((np.abs(u - 0.5) < 0.016) | (np.abs(v - 0.52) < 0.018))
        pane = rng.random((8, 64), dtype=np.float32)[storey % 8, bay % 64]
        pane = 26 + 92 * pane**2.2 + 34 * (v - 0.3) * (lot.side == self.sun) + 16 * (stain - 0.5)
        colour = np.where(frame[..., None], trim, colour)
        colour = np.where(glass[..., None], pane[..., None] * np.asarray((0.94, 1.0, 1.08), np.float32), colour)
        colour = np.where(bars[..., None], trim * 0.9, colour)

        ground = up < 3.4
        if rng.random() < 0.65:  # a row of shops: a sign board above, glass with wares behind it, pillars between
            shop = np.floor(along / 5.0).astype(int) % 16
            boards = np.asarray(_FASCIAS, np.float32)[rng.integers(len(_FASCIAS), size=16)][shop]
            letters = (np.abs(up - 3.02) < 0.13) & (np.abs(along % 5.0 - 2.5) < 1.5) & (along % 0.34 < 0.2)
            window = ground & (up > 0.5) & (up < 2.62) & (along % 5.0 > 0.4) & (along % 1.6 > 0.09)
            wares = self.grain[(up * 3.1).astype(int) % 512, (along * 2.3).astype(int) % 512]
            inside = 20 + 120 * np.clip(wares - 0.62, 0, 1) * (up < 1.9) + 26 * (stain > 0.55)
            tone = 0.6 + 0.8 * rng.random((64, 3), dtype=np.float32)[(along * 2.3).astype(int) % 64]
            colour = np.where(ground[..., None], boards * 0.7, colour)
            colour = np.where(((up > 2.7) & ground)[..., None], boards, colour)
            colour = np.where((letters & ground)[..., None], 216 - boards * 0.4, colour)
            colour = np.where(window[..., None], inside[..., None] * tone, colour)
        else:  # a house: a door in every third bay, windows in the others
            door = ground & (bay % 3 == 1) & (np.abs(u - 0.5) < 0.2) & (up < 2.2)
            frame = ground & (bay % 3 != 1) & (np.abs(u - 0.5) < 0.28) & (up > 0.85) & (up < 2.5)
            glass = frame & (np.abs(u - 0.5) < 0.23) & (up > 0.95) & (up < 2.4) & (np.abs(u - 0.5) > 0.015)
            colour = np.where(
                door[..., None], np.asarray(_FASCIAS, np.float32)[rng.integers(len(_FASCIAS))] * 0.8, colour
            )
            colour = np.where(frame[..., None], trim, colour)
            colour = np.where(glass[..., None], pane[..., None], colour)
        course = (np.abs(up - 3.42) < 0.07) | (up > lot.height - 0.35)
        colour = np.where(course[..., None], trim * 0.82, colour)
        seam = (along < 0.1) | (up < 0.12)
        lit = light * np.where(seam, 0.6, 1.0) * (0.84 + 0.16 * np.clip(up / 6, 0, 1))
        air = (1 - np.exp(-z / 260))[:, None]
        shaded: Floats = colour * lit[..., None] * (self.warmth if light > 0.8 else 2 - self.warmth)
        return np.asarray(shaded * (1 - air) + self.haze * air, np.float32)

    def _garden(self, lot: _Lot) -> None:
        side, step = lot.side, 2.4
        for z in np.arange(lot.far, lot.near, -step):
            self._foliage((side * (lot.front + 5), 4.4, float(z)), self.rng.uniform(2.6, 4), self.rng.uniform(3, 5.4))
        for z in np.arange(lot.far, lot.near, -1.5):
            self._foliage((side * (lot.front + 1.5), 0.7, float(z)), 1.0, 1.2)
        self._railing(side * (lot.front + 0.1), lot.near, lot.far)

    def _foliage(self, middle: Point, across: float, up: float) -> None:
        """A crown of leaves: an ellipse whose rim and light are broken up by noise."""
        rng, scale = self.rng, self.focal / middle[2]
        cx, cy = self._project(middle)
        rx, ry = across * scale, up * scale
        left, right = int(max(cx - rx * 1.3, 0)), int(min(cx + rx * 1.3, self.width))
        top, bottom = int(max(cy - ry * 1.3, 0)), int(min(cy + ry * 1.3, self.height))
        if right - left < 2 or bottom - top < 2:
            return
        u = (np.arange(left, right, dtype=np.float32) - cx) / rx
        v = (np.arange(top, bottom, dtype=np.float32)[:, None] - cy) / ry
        dx, dy = rng.integers(512, size=2)
        iu, iv = u * across, v * up
        lump = self.noise[(iv * 22 + dy).astype(int) % 512, (iu * 22 + dx).astype(int) % 512]
        leaf = self.noise[(iv * 90 + dx).astype(int) % 512, (iu * 90 + dy).astype(int) % 512]
        speck = self.grain[(iv * 26 + dx).astype(int) % 512, (iu * 26 + dy).astype(int) % 512]
        rim = u**2 + v**2 + 1.3 * (lump - 0.5) + 0.8 * (leaf - 0.5) + 0.25 * (speck - 0.5)
        sunlit = np.clip(0.5 + 0.35 * u * self.sun - 0.3 * v, 0, 1)
        light = (0.18 + 0.62 * lump + 0.45 * (leaf - 0.4) + 0.5 * (speck - 0.5)) * (0.45 + 1.0 * sunlit)
        autumn = rng.uniform(-8, 14)
        base = np.asarray((104 + autumn, 116 + 0.2 * autumn, 66), np.float32) * rng.uniform(0.8, 1.15)
        air = 1 - math.exp(-middle[2] / 260)
        colour = np.clip(base * light[..., None] * 1.25, 12, 210) * (1 - air) + self.haze * air
        self._paste(colour.astype(np.float32), (rim < 0.86) & (iv < middle[1]), left, top, TREE)

    def _tree(self, x: float, z: float, tall: float) -> None:
        bark = (62, 54, 46)
        self._limb((x, 0, z), (x, tall * 0.55, z), 0.28, bark, TREE, self._light(-self.sun))
        for lean in (-0.9, 0.8, 0.1):
            self._limb((x, tall * 0.42, z), (x + lean, tall * 0.75, z), 0.13, bark, TREE)
        for _ in range(4):
            spot = (x + self.rng.normal(0, 0.7), tall * self.rng.uniform(0.62, 0.85), z)
            self._foliage(spot, self.rng.uniform(1.1, 1.9), self.rng.uniform(1.0, 1.8))

    # -- street furniture ------------------------------------------------------------------------------------

    def _lamp(self, side: int, z: float) -> None:
        x, grey = side * (self.kerb + 0.5), (70, 73, 76)
        self._limb((x, 0, z), (x, 1.2, z), 0.2, grey, POLE)
        self._limb((x, 1.2, z), (x, 7.6, z), 0.12, grey, POLE)
        self._limb((x, 7.6, z), (x - side * 1.5, 7.9, z), 0.08, grey, POLE)
        self._limb((x - side * 1.2, 7.85, z), (x - side * 1.7, 7.9, z), 0.2, (150, 150, 146), POLE)

    def _sign(self, side: int, z: float, kind: int) -> None:
        x = side * (self.kerb + 0.6)
        self._limb((x, 0, z), (x, 3.0, z), 0.09, (84, 86, 88), POLE)
        if kind == 0:  # traffic light
            self._panel(x, 2.5, z, 0.2, 0.52, (22, 24, 24))
            lamps = ((2.84, (210, 40, 30)), (2.5, (60, 44, 16)), (2.16, (16, 44, 30)))
            for y, lamp in lamps:
                self._disc(x, y, z, 0.11, lamp, SIGN)
        elif kind == 1:  # no entry
            self._disc(x, 2.7, z, 0.36, (178, 32, 36), SIGN)
            self._panel(x, 2.7, z, 0.24, 0.06, (222, 222, 220))
        elif kind == 2:  # give way
            rim = [(x - 0.45, 3.05, z), (x + 0.45, 3.05, z), (x, 2.28, z)]
            self._polygon(rim, (184, 36, 40), SIGN)
            self._polygon([(x - 0.27, 2.95, z), (x + 0.27, 2.95, z), (x, 2.5, z)], (220, 220, 216), SIGN)
        else:  # direction board
            self._panel(x, 2.7, z, 0.75, 0.42, (222, 222, 220))
            self._panel(x, 2.7, z, 0.7, 0.37, (24, 66, 140))
            for y in (2.86, 2.62):
                self._panel(x - 0.05, y, z, 0.5, 0.055, (216, 218, 220))

    def _panel(self, x: float, y: float, z: float, half: float, tall: float, colour: Colour) -> None:
        corners = [(x - half, y - tall, z), (x - half, y + tall, z), (x + half, y + tall, z), (x + half, y - tall, z)]
        self._polygon(corners, colour, SIGN)

    def _disc(self, x: float, y: float, z: float, radius: float, colour: Colour, label: int) -> None:
        turns = np.linspace(0, 2 * math.pi, 20, endpoint=False)
        self._polygon([(x + radius * math.cos(t), y + radius * math.sin(t), z) for t in turns], colour, label)

    def _railing(self, x: float, near: float, far: float) -> None:
        """Bars along the kerb; like the labels of real data, the segmap takes the gaps between them as fence too."""
        outline = [self._project(point) for point in ((x, 0.05, near), (x, 1.1, near), (x, 1.1, far), (x, 0.05, far))]
        ImageDraw.Draw(self.labels).polygon(outline, fill=FENCE)
        for z in np.arange(far, near, -0.16):
            self._limb((x, 0.1, float(z)), (x, 1.05, float(z)), 0.025, (58, 60, 60), FENCE)
        for y, thick in ((0.14, 0.04), (1.07, 0.06)):
            steps = np.linspace(far, near, 9)
            for a, b in pairwise(steps):
                self._limb((x, y, float(b)), (x, y, float(a)), thick, (72, 74, 74), FENCE)

    # -- traffic ---------------------------------------------------------------------------------------------

    def _car(self, x: float, z: float, heading: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        outline = _VAN if rng.random() < 0.15 else _CAR
        paint = np.asarray(_PAINTS[rng.integers(len(_PAINTS))], np.float32)
        size = rng.uniform(0.94, 1.04)
        cos, sin = math.cos(heading) * size, math.sin(heading) * size

        def place(across: float, y: float, along: float) -> Point:
            return x + across * cos + along * sin, y * size, z - across * sin + along * cos

        def face(points: Sequence[Point], colour: Colour, light: float) -> None:
            flat = np.asarray([self._project(point) for point in points])
            turn = np.roll(flat, -1, 0)
            if float((flat[:, 0] * turn[:, 1] - turn[:, 0] * flat[:, 1]).sum()) > 0:  # faces the camera
                self._polygon(points, colour, CAR, light)

        for across in (-0.68, 0.68):  # tyres, as seen below the bumper
            for along in (-1.3, 1.3):
                a, b = place(across, 0.0, along), place(across, 0.4, along)
                self._limb(a, b, 0.2, (18, 18, 19), CAR)

        for side in (-1, 1):
            light = (0.62 if x < self.eye_x else 0.78) + 0.3 * (side * math.cos(heading) != self.sun)
            order = -1 if side < 0 else 1
            body = [place(side * w, y, a) for a, y, w in (*outline[:3], *outline[5:])]
            face(body[::order], paint, light)
            cabin = [place(side * w, y, a) for a, y, w in outline[2:6]]
            face(cabin[::order], paint, light * 0.9)
            for start, end in ((0.07, 0.46), (0.5, 0.93)):
                pane = _inset((cabin[0], cabin[1], cabin[2], cabin[3]), start, end, 0.1, 0.88)
                face(pane[::order], (44, 52, 60), 0.9 + 0.3 * (side != self.sun))
            for along in (-1.28, 1.3):
                for radius, colour in ((0.37, (14, 14, 15)), (0.31, (24, 24, 25)), (0.19, (122, 124, 126))):
                    turns = np.linspace(0, 2 * math.pi, 18, endpoint=False)
                    rim = [
                        place(side * 0.835, 0.31 + radius * math.sin(t), along + radius * math.cos(t)) for t in turns
                    ]
                    face(rim[::-order], colour, 0.8)

        lights = {"bumper": 0.55, "tail": 0.82, "nose": 0.86, "glass": 1.0, "roof": 1.25, "bonnet": 1.2}
        for ((a0, y0, w0), (a1, y1, w1)), part in zip(pairwise(outline), _STRIPS, strict=True):
            quad = [place(-w0, y0, a0), place(-w1, y1, a1), place(w1, y1, a1), place(w0, y0, a0)]
            face(quad, (40, 47, 54) if part == "glass" else paint * (0.75 if part == "bumper" else 1), lights[part])
            if part == "glass":
                face(_inset(quad, 0.06, 0.94, 0.1, 0.92), (34, 40, 46), 1.0)
                face(_inset(quad, 0.1, 0.9, 0.62, 0.9), (78, 88, 98), 1.0)
            elif part == "tail":
                for u0, u1 in ((0.02, 0.17), (0.83, 0.98)):
                    face(_inset(quad, u0, u1, 0.3, 0.95), (168, 26, 26), 1.1)
                    face(_inset(quad, u0 + 0.02, u1 - 0.02, 0.34, 0.5), (206, 150, 120), 1.0)
                face(_inset(quad, 0.36, 0.64, 0.16, 0.42), (206, 176, 60), 1.0)
            elif part == "nose":
                face(_inset(quad, 0.24, 0.76, 0.25, 0.75), (26, 27, 29), 1.0)
                for u0, u1 in ((0.02, 0.2), (0.8, 0.98)):
                    face(_inset(quad, u0, u1, 0.2, 0.75), (224, 226, 222), 1.05)
                face(_inset(quad, 0.37, 0.63, 0.7, 0.98), (212, 212, 206), 1.0)
            elif part == "bumper":
                face(_inset(quad, 0.1, 0.9, 0.1, 0.5), (24, 24, 26), 1.0)

    def _pedestrian(self, x: float, z: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        coat, legs = (_CLOTHES[i] for i in rng.integers(len(_CLOTHES), size=2))
        tall, stride, lean = rng.uniform(0.92, 1.06), rng.uniform(0.05, 0.26), rng.uniform(-0.05, 0.05)
        light = 0.8 if abs(x - self.sun * self.front) < self.front else 1.15
        hip, shoulder = 0.9 * tall, 1.42 * tall
        for foot in (-stride, stride):
            self._limb((x + foot * 0.25, hip, z), (x + foot, 0.06, z), 0.15, legs, PEDESTRIAN, light * 0.85)
        trunk = [(x - 0.17, hip - 0.06, z), (x - 0.22 + lean, shoulder, z), (x - 0.1 + lean, shoulder + 0.08, z)]
        trunk += [(x + 0.1 + lean, shoulder + 0.08, z), (x + 0.22 + lean, shoulder, z), (x + 0.17, hip - 0.06, z)]
        self._polygon(trunk, coat, PEDESTRIAN, light)
        for arm in (-1, 1):
            elbow = (x + arm * (0.21 + stride * 0.3), hip - 0.02, z)
            self._limb((x + lean + arm * 0.19, shoulder - 0.03, z), elbow, 0.1, coat, PEDESTRIAN, light * 0.9)
        self._disc(x + lean, shoulder + 0.22, z, 0.125, (54, 44, 38), PEDESTRIAN)
        self._disc(x + lean, shoulder + 0.19, z, 0.095, (164, 128, 108), PEDESTRIAN)

    def _bicyclist(self, x: float, z: float, heading: float) -> None:
        cos, sin = math.cos(heading), math.sin(heading)
        coat, legs = (_CLOTHES[i] for i in self.rng.integers(len(_CLOTHES), size=2))

        def place(along: float, y: float, across: float = 0.0) -> Point:
            return x + across * cos + along * sin, y, z - across * sin + along * cos

        for hub in (0.52, -0.52):
            turns = np.linspace(0, 2 * math.pi, 24)
            rim = [place(hub + 0.34 * math.cos(t), 0.34 + 0.34 * math.sin(t)) for t in turns]
            ImageDraw.Draw(self.labels).polygon([self._project(point) for point in rim], fill=BICYCLIST)
            for a, b in pairwise(rim):
                self._limb(a, b, 0.05, (20, 20, 21), BICYCLIST)
        for start, end in (((-0.52, 0.34), (-0.15, 0.85)), ((-0.1, 0.35), (0.4, 0.85)), ((0.52, 0.34), (0.4, 1.0))):
            self._limb(place(*start), place(*end), 0.05, (86, 30, 30), BICYCLIST)
        self._limb(place(0.42, 1.02, -0.27), place(0.42, 1.02, 0.27), 0.05, (26, 26, 27), BICYCLIST)
        for across, knee, foot in ((-0.13, 0.78, 0.45), (0.13, 0.62, 0.2)):
            self._limb(place(-0.2, 0.98, across), place(0.15, knee, across), 0.17, legs, BICYCLIST)
            self._limb(place(0.15, knee, across), place(-0.02, foot, across), 0.13, legs, BICYCLIST)
        for across in (-0.22, 0.22):
            self._limb(place(0.12, 1.42, across * 0.85), place(0.42, 1.06, across), 0.1, coat, BICYCLIST)
        back = [place(-0.25, 0.92, -0.16), place(0.12, 1.46, -0.21), place(0.12, 1.46, 0.21), place(-0.25, 0.92, 0.16)]
        self._polygon(back, coat, BICYCLIST, 1.1)
        self._limb(place(-0.22, 0.98), place(0.1, 1.4), 0.3, coat, BICYCLIST, 1.1)
        self._limb(place(0.2, 1.6), place(0.2, 1.66), 0.2, (158, 122, 102), BICYCLIST)
        self._limb(place(0.2, 1.7), place(0.2, 1.72), 0.23, (196, 198, 60), BICYCLIST)

    def _camera(self) -> Bytes:
        """What the lens and the sensor add: a glow of the sky, darker corners, contrast, noise."""
        small = self.image.reduce(_SUPER).filter(ImageFilter.GaussianBlur(0.4 * self.height / 720))
        glow = small.filter(ImageFilter.BoxBlur(self.height / 24))
        picture = np.asarray(small, np.float32) * 0.93 + np.asarray(glow, np.float32) * 0.09
        high, wide, _ = picture.shape
        v, u = np.linspace(-1, 1, high, dtype=np.float32)[:, None], np.linspace(-1, 1, wide, dtype=np.float32)
        picture = np.asarray(picture * (1 - 0.09 * (u**2 + v**2))[..., None], np.float32)
        tone: Floats = np.asarray(255 * np.clip(picture / 250, 0, 1) ** 1.1, np.float32)
        noise = self.rng.standard_normal(picture.shape, dtype=np.float32)
        return _bytes(tone + noise * (1.4 + 0.012 * tone))


def _inset(quad: Sequence[Point], u0: float, u1: float, v0: float, v1: float) -> list[Point]:
    """The part of a quad between two shares of its width (from edge 0-1 to edge 3-2) and of its height."""
    low_left, high_left, high_right, low_right = quad

    def at(u: float, v: float) -> Point:
        weights = ((1 - u) * (1 - v), (1 - u) * v, u * v, u * (1 - v))
        x, y, z = (
            sum(map(mul, weights, axis)) for axis in zip(low_left, high_left, high_right, low_right, strict=True)
        )
        return x, y, z

    return [at(u0, v0), at(u0, v1), at(u1, v1), at(u1, v0)]


def _bytes(colour: NDArray[np.floating[Any]]) -> Bytes:
    return np.asarray(np.clip(colour, 0, 255), np.uint8)


def _mix(colour: Floats, over: Colour, amount: Floats) -> Floats:
    return colour + (np.asarray(over, np.float32) - colour) * amount[..., None].astype(np.float32)


def _fractal(rng: np.random.Generator, size: int) -> Floats:
    """Smooth noise in 0…1 with detail at every scale, which tiles without a seam."""
    total = np.zeros((size, size), np.float32)
    for octave in range(2, 9):
        cells = 1 << octave
        wrapped = Image.fromarray(np.pad(rng.random((cells, cells), dtype=np.float32), 2, mode="wrap"))
        total += np.asarray(wrapped.resize((size, size), _CUBIC, (2, 2, cells + 2, cells + 2))) / octave**1.6
    low, high = np.quantile(total, (0.01, 0.99))
    return np.asarray(np.clip((total - low) / (high - low), 0, 1), np.float32)
