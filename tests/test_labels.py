"""The one door for label pictures: numbers as they are stored, whatever the bits, and what they and colours mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import picture_files as files
import pytest
from numpy.typing import NDArray
from PIL import Image

from sempic import taxonomy
from sempic.errors import InputError
from sempic.labels import BY_ENDING, CAMVID_COLOURS, CITYSCAPES, any_labels, labels_png, read_labels
from sempic.taxonomy import VOID

ELEVEN, NINETEEN = taxonomy.load("camvid11"), taxonomy.load("cityscapes19")
IDS = files.grey() % 11
CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"


@pytest.fixture
def label(tmp_path: Path) -> Path:
    return tmp_path / "a.png"


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_labels_of_any_depth_are_read_as_stored(label: Path, bits: int) -> None:
    ids = np.minimum(IDS, min(2**bits - 1, 255)).astype(np.uint16)
    label.write_bytes(files.png(ids, bits))
    assert np.array_equal(read_labels(label), ids)
    assert np.array_equal(read_labels(label, ELEVEN), ids)
    for white in (0, 1):
        label.write_bytes(files.tiff(ids if bits == 16 else ids.astype(np.uint8), white, bits))
        assert np.array_equal(read_labels(label), ids), white


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_labels_of_any_depth_are_read_as_stored(label: Path, bits: int) -> None:
    ids = np.minimum(IDS, 2**bits - 1).astype(np.uint8)
    label.write_bytes(files.png(ids, bits, 3, palette=bytes(range(255, 255 - 3 * 2 ** min(bits, 6), -1))))
    assert np.array_equal(read_labels(label), ids)
    Image.fromarray(ids).convert("P").save(label.with_suffix(".gif"))
    assert read_labels(label.with_suffix(".gif")).shape == ids.shape


def test_numbers_of_more_bits_are_ids_where_they_are_small_enough(label: Path) -> None:
    label.write_bytes(files.tiff(IDS.astype(np.int32)))
    assert np.array_equal(read_labels(label), IDS)
    for wrong in (IDS.astype(np.int32) - 1, IDS.astype(np.uint16) + 250, IDS.astype(np.uint16) * 257):
        label.write_bytes(files.tiff(wrong))
        with pytest.raises(InputError, match=r"has numbers from -?\d+ to \d+; class ids are 0 to 255"):
            read_labels(label)


def test_labels_turn_upright(label: Path) -> None:
    exif = Image.Exif()
    exif[files.ORIENTATION] = 6
    Image.fromarray(IDS).save(label, exif=exif)
    assert np.array_equal(read_labels(label), np.rot90(IDS, -1))


@pytest.mark.parametrize(
    "stem", ["bonn_0_gtFine_labelIds", "x_labelIds", "X_LABELIDS", "a_gtFine_labelTrainIds", "labelTrainIds"]
)
def test_the_name_of_a_file_says_that_its_numbers_are_those_of_cityscapes(tmp_path: Path, stem: str) -> None:
    numbers = BY_ENDING["labeltrainids" if "train" in stem.lower() else "labelids"]
    assert list(numbers.values()) == list(CITYSCAPES.values()) == list(NINETEEN.classes)
    stored = np.resize(np.array([*numbers, 0 if "train" not in stem.lower() else 19, 255], np.uint8), (20, 21))
    Image.fromarray(stored).save(tmp_path / f"{stem}.png")
    expected = np.resize(np.array([*range(19), VOID, VOID], np.uint8), (20, 21))
    assert np.array_equal(read_labels(tmp_path / f"{stem}.png", NINETEEN), expected)
    assert np.array_equal(read_labels(tmp_path / f"{stem}.png"), stored)


def in_colours(names: list[tuple[int, int, int]]) -> NDArray[np.uint8]:
    return np.resize(np.array(names, np.uint8), (20, len(names), 3))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_of_camvid_are_its_classes(label: Path, mode: str) -> None:
    Image.fromarray(in_colours([*CAMVID_COLOURS])).convert(mode).save(label)
    row = read_labels(label, ELEVEN)[0]
    named = dict(zip(CAMVID_COLOURS, row.tolist(), strict=True))
    assert len(named) == 32
    for colour, name in (
        ((128, 128, 128), "sky"), ((192, 0, 128), "building"), ((128, 0, 192), "road"), ((0, 0, 192), "pavement"),
        ((128, 128, 0), "tree"), ((192, 192, 0), "tree"), ((0, 64, 64), "sign"), ((192, 128, 192), "car"),
        ((128, 64, 64), "car"), ((64, 0, 192), "pedestrian"), ((192, 0, 192), "bicyclist"),
    ):  # fmt: skip
        assert named[colour] == ELEVEN.id_of(name), name
    assert [colour for colour, number in named.items() if number == VOID] == [(0, 0, 0)]
    finer = dict(zip(CAMVID_COLOURS, read_labels(label, NINETEEN)[0].tolist(), strict=True))
    assert finer[192, 128, 192] == VOID, "a bus or a truck, which are two classes there"
    assert finer[0, 64, 64] == NINETEEN.id_of("traffic light")
    assert any_labels(label).shape == (20, 32)


def test_colours_of_the_taxonomy_are_its_classes(label: Path) -> None:
    Image.fromarray(in_colours([*NINETEEN.colours, (0, 0, 0)])).save(label)
    assert read_labels(label, NINETEEN)[0].tolist() == [*range(19), VOID]
    assert any_labels(label).shape == (20, 20)


def test_what_is_no_label_picture_is_named(label: Path) -> None:
    Image.fromarray(files.colours()).save(label)
    with pytest.raises(InputError, match=r"RGB picture with the colour \(13, 146, 53\), which is no class"):
        read_labels(label, ELEVEN)
    with pytest.raises(InputError, match="mode RGB"):
        any_labels(label)
    files.in_mode("RGBA").save(label)
    with pytest.raises(InputError, match="mode RGBA"):
        read_labels(label, ELEVEN)
    label.write_bytes(files.tiff(IDS.astype(np.float32)))
    with pytest.raises(InputError, match="mode F"):
        read_labels(label, ELEVEN)
    Image.fromarray(IDS).save(label, "JPEG")
    with pytest.raises(InputError, match="JPEG file, which does not keep class ids"):
        read_labels(label)
    label.write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match="not a picture that can be read"):
        read_labels(label)


def test_labels_of_ones_own_taxonomy_can_be_used(label: Path) -> None:
    toy = taxonomy.Taxonomy("toy", ("a", "b"), ((1, 2, 3), (4, 5, 6)))
    label.write_bytes(labels_png(IDS % 2, toy))
    assert np.array_equal(any_labels(label), IDS % 2)


def test_a_label_file_that_other_programs_scaled() -> None:
    path = CASES / "label_grey2bit_0_3.png"
    if not path.exists():
        pytest.skip(f"no {path}")
    assert np.unique(read_labels(path, ELEVEN)).tolist() == [0, 3]
