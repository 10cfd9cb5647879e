"""Taxonomies: data that travels with models and streams."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stand_in
from codec_cases import street

import sempic
from sempic import taxonomy
from sempic.codecs import sqgan
from sempic.errors import InputError, ModelError
from sempic.runtime import Model
from sempic.taxonomy import Taxonomy

STREETS, CITYSCAPES = taxonomy.load("camvid11"), taxonomy.load("cityscapes19")
TOY = Taxonomy("toy", ("water", "Land", "sky"), ((0, 0, 200), (0, 90, 0), (200, 220, 255)), (7,), {"sea": "water"})


def test_the_known_ones_are_whole() -> None:
    assert taxonomy.names() == ["camvid11", "cityscapes19"]
    for name in taxonomy.names():
        known = taxonomy.load(name)
        assert known.name == name
        assert len(known) == len(known.classes) == len(known.colours) == int(name[-2:])
        assert len(set(known.classes)) == len(set(known.colours)) == len(known)
        assert not set(known.void) & set(range(len(known)))
        assert {*known.merged.values(), *known.nearest.values()} <= set(known.classes)
        assert taxonomy.load(name) is known


@pytest.mark.parametrize("known", [STREETS, CITYSCAPES, TOY], ids=lambda known: known.name)
def test_json_holds_all_of_it(known: Taxonomy, tmp_path: Path) -> None:
    plain = json.loads(json.dumps(known.to_json()))
    assert Taxonomy.from_json(plain) == known
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(plain))
    assert taxonomy.load(str(path)) == known


def test_classes_are_found_by_name_in_any_case() -> None:
    assert TOY.id_of("water") == 0
    assert TOY.id_of(" LAND ") == TOY.id_of("Land") == 1
    with pytest.raises(InputError, match="'sea' is not a class of toy; it knows water, Land, sky"):
        TOY.id_of("sea")


def test_segmaps_are_shown_in_the_colours_of_their_classes() -> None:
    shown = TOY.colourise(np.array([[0, 1, 2, 255]], np.uint8))
    assert shown.tolist() == [[[0, 0, 200], [0, 90, 0], [200, 220, 255], [0, 0, 0]]]
    assert shown.dtype == np.uint8


def test_nineteen_classes_merge_into_eleven() -> None:
    table = STREETS.ids_of(dict(enumerate(CITYSCAPES.classes)))
    assert table.shape == (256,)
    assert table.dtype == np.uint8
    merged = {name: STREETS.classes[table[number]] for number, name in enumerate(CITYSCAPES.classes)}
    assert merged == {
        "road": "road",
        "sidewalk": "pavement",
        "building": "building",
        "wall": "building",
        "fence": "fence",
        "pole": "pole",
        "traffic light": "sign",
        "traffic sign": "sign",
        "vegetation": "tree",
        "terrain": "tree",
        "sky": "sky",
        "person": "pedestrian",
        "rider": "bicyclist",
        "car": "car",
        "truck": "car",
        "bus": "car",
        "train": "car",
        "motorcycle": "bicyclist",
        "bicycle": "bicyclist",
    }
    assert (table[len(CITYSCAPES) :] == 255).all()
    assert set(table[: len(CITYSCAPES)]) == set(range(11))


def test_eleven_classes_of_a_segmenter_have_their_place_among_nineteen() -> None:
    """But not as labels: a sign may be a traffic light."""
    names = dict(enumerate(STREETS.classes))
    table, labels = CITYSCAPES.ids_of(names, nearest=True), CITYSCAPES.ids_of(names)
    found = {name: CITYSCAPES.classes[table[number]] for number, name in names.items()}
    assert found == {name: name for name in ("sky", "building", "pole", "road", "fence", "car")} | {
        "pavement": "sidewalk",
        "tree": "vegetation",
        "sign": "traffic sign",
        "pedestrian": "person",
        "bicyclist": "rider",
    }
    assert {names[number] for number in names if labels[number] == 255} == set(CITYSCAPES.nearest)


@pytest.mark.parametrize(
    "name", ["traffic light", "Traffic Light", "traffic_light", " TRAFFIC-LIGHT ", "traffic  light"]
)
def test_names_are_compared_in_small_letters_and_by_words(name: str) -> None:
    assert CITYSCAPES.ids_of({3: name})[3] == CITYSCAPES.id_of(name) == 6
    assert STREETS.classes[STREETS.ids_of({300: name})[300]] == "sign"
    assert STREETS.ids_of({0: f"{name} s"})[0] == 255


def test_classes_without_a_counterpart_are_void() -> None:
    table = TOY.ids_of({3: "sea", 4: "sky", 9: "castle"})
    assert (table[3], table[4], table[9], table[0]) == (0, 2, 255, 255)
    assert (STREETS.ids_of(dict(enumerate(STREETS.classes)))[:11] == np.arange(11)).all()


def test_labels_that_are_void_or_no_class_become_void() -> None:
    table = STREETS.label_ids()
    assert table[:11].tolist() == list(range(11))
    assert (table[11:] == 255).all()
    assert replace(TOY, void=(0,)).label_ids()[:4].tolist() == [255, 1, 2, 255]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        '"camvid11"',
        '{"name": "x"}',
        '{"classes": {"a": [1, 2, 3]}}',
        '{"name": "x", "classes": {}}',
        '{"name": "x", "classes": ["a", "b"]}',
        '{"name": "x", "classes": {"a": [1, 2]}}',
        '{"name": "x", "classes": {"a": [1, 2, 256]}}',
        '{"name": "x", "classes": {"a": [1, 2, -1]}}',
        '{"name": "x", "classes": {"a": "red"}}',
        '{"name": "x", "classes": {"a": 5}}',
        '{"name": "x", "classes": {"a": [1, 2, 3]}, "void": 5}',
        '{"name": "x", "classes": {"a": [1, 2, 3]}, "void": ["b"]}',
        '{"name": "x", "classes": {"a": [1, 2, 3]}, "merged": "b"}',
        '{"name": "x", "classes": {"a": [1, 2, 3]}, "nearest": ["b"]}',
        '{"name": "x", "classes": {"a b": [1, 2, 3], "A-B": [1, 2, 3]}}',
        json.dumps({"name": "x", "classes": {str(number): [0, 0, 0] for number in range(255)}}),
    ],
)
def test_a_taxonomy_that_makes_no_sense_is_a_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"The taxonomy in .*mine\.json cannot be used: .*\.$"):
        taxonomy.load(str(path))
    if text not in ("", "{", '"camvid11"'):
        with pytest.raises(ModelError, match="The card of the model m names no usable taxonomy: "):
            taxonomy.of_card(json.loads(text), "m")


@pytest.mark.parametrize("name", ["ade20k150", "absent.json", "", "camvid11.json"])
def test_an_unknown_one_is_named_with_the_known_ones(name: str) -> None:
    says = f"'{name}' is not a taxonomy; known are camvid11, cityscapes19, or a JSON file of your own"
    with pytest.raises(InputError, match=says):
        taxonomy.load(name)
    with pytest.raises(ModelError, match=f"The card of the model m names no usable taxonomy: {says}"):
        taxonomy.of_card(name, "m")


# -- in models and streams --------------------------------------------------------------------------------------------


def state(folder: Path, stated: Any) -> None:
    """Write another taxonomy into all cards in a folder."""
    for path in folder.glob("*/card.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"taxonomy": stated}))


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    stand_in.make(folder)
    return folder


@pytest.fixture
def models(stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All models, to be changed."""
    folder = tmp_path / "models"
    shutil.copytree(stand_ins, folder)
    monkeypatch.setenv("SEMPIC_MODELS", str(folder))
    return folder


def test_a_card_may_name_a_known_taxonomy_or_hold_one(models: Path) -> None:
    state(models, "cityscapes19")
    assert Model(models / stand_in.SQGAN).taxonomy == CITYSCAPES
    state(models, TOY.to_json())
    assert Model(models / stand_in.SQGAN).taxonomy == TOY


@pytest.mark.parametrize("name", ["sqgan", "layered", "spic"])
def test_a_model_of_an_unknown_taxonomy_is_a_model_error(models: Path, name: str) -> None:
    state(models, "ade20k150")
    image, _ = street(64, 48)
    with pytest.raises(ModelError, match=f"of the model {name}-camvid11 names no usable taxonomy: 'ade20k150' is not"):
        sempic.encode(image, f"{name}:model={models / f'{name}-camvid11'}")


@pytest.mark.parametrize("name", ["sqgan", "layered", "spic"])
def test_the_classes_of_a_stream_are_those_of_its_model(models: Path, name: str) -> None:
    mine = Taxonomy("mine", tuple(f"Thing {n}" for n in range(11)), tuple((n, 0, 0) for n in range(11)), (200,))
    state(models, mine.to_json())
    image, labels = street(64, 48)
    data = sempic.encode(image, name)  # the segmenter of these classes is found
    decoded = sempic.decode(data)
    assert decoded.taxonomy == mine
    assert sempic.inspect(data).taxonomy == "mine"
    assert decoded.segmap.max() < len(mine)
    with pytest.raises(InputError, match="the class 11; mine knows 0 to 10"):
        sempic.encode(image, settings=sqgan.Settings(segmap=np.full_like(labels, 11)))
    void = sempic.encode(image, settings=sqgan.Settings(segmap=np.full_like(labels, 200), keep="thing 3=1"))
    assert (sempic.decode(void).segmap == 255).all()
    with pytest.raises(InputError, match="'sky' is not a class of mine; it knows Thing 0, Thing 1"):
        sempic.encode(image, settings=sqgan.Settings(keep={"sky": 1}))
    shutil.rmtree(models / stand_in.SEGMENTER)
    with pytest.raises(ModelError, match="No segmenter for the classes of mine is installed"):
        sempic.encode(image, name)


def test_a_codec_without_segmaps_has_no_classes() -> None:
    data = sempic.encode(street(64, 48)[0], "hevc")
    assert sempic.decode(data).taxonomy is None
    assert sempic.inspect(data).taxonomy == ""
