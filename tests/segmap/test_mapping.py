"""The classes of other people's segmenters: how they are named, read and mapped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import stand_in
from onnx import TensorProto, helper
from stand_in import TAXONOMY, scene

from sempic import taxonomy
from sempic.errors import InputError, ModelError
from sempic.segmap.mapping import ClassList
from sempic.segmap.segmenter import find_segmap
from sempic.taxonomy import VOID, Taxonomy

NINETEEN = taxonomy.load("cityscapes19")
NAMES = ["road", "sky", "traffic light"]


@pytest.mark.parametrize(
    "text",
    [
        "road\nsky\ntraffic light",
        "\ufeffroad\r\n\r\n sky \r\ntraffic light\r\n\r\n",
        json.dumps(NAMES),
        json.dumps({"0": "road", "2": "traffic light", "1": "sky"}),
        json.dumps({"model_type": "segformer", "id2label": dict(enumerate(NAMES))}),
        json.dumps(Taxonomy("mine", tuple(NAMES), ((0, 0, 0),) * 3).to_json(), indent=1),
    ],
)
def test_a_class_list_may_be_written_in_many_ways(tmp_path: Path, text: str) -> None:
    path = tmp_path / "classes"
    path.write_bytes(text.encode())
    for given in (path, str(path)):
        assert ClassList.load(given).names == dict(enumerate(NAMES))
    assert len(ClassList.load(path)) == 3


@pytest.mark.parametrize("name", taxonomy.names())
def test_the_taxonomies_are_class_lists(name: str) -> None:
    found = ClassList.load(name)
    assert (*found.names.values(),) == taxonomy.load(name).classes
    assert found.void == taxonomy.load(name).void


def test_a_taxonomys_void_ids_are_those_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(replace(NINETEEN, name="mine", void=(19, 20)).to_json()))
    assert ClassList.load(path).void == (19, 20)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "[]",
        "{}",
        "{",
        '["road"',
        '["road", 7]',
        '{"road": 1}',
        '{"-1": "road"}',
        '{"99999999999": "road"}',
        '{"0": ["road"]}',
        '{"id2label": {}}',
        '{"id2label": null}',
        '{"id2label": 5}',
        '{"classes": ["road"]}',
    ],
)
def test_a_class_list_that_makes_no_sense_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=r"The class list in .*mine\.txt cannot be used: .*; write one name a line"):
        ClassList.load(path)


@pytest.mark.parametrize("given", ["ade20k", "absent.txt", ".", "~nobody/names.txt", "a\0b", "street.png"])
def test_what_names_no_classes_is_named_with_the_known_taxonomies(tmp_path, monkeypatch, given: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "street.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"is neither a taxonomy \(camvid11, cityscapes19\) nor a file of class names"):
        ClassList.load(given)


# -- ids to ids -------------------------------------------------------------------------------------------------------


def test_what_has_no_counterpart_becomes_void_and_is_named() -> None:
    listed = ClassList("mine", {0: "Sofa", 1: "SKY", 2: "vegetation", 3: "lamp", 4: "cat", 5: "void", 6: "unlabeled"})
    ids = np.array([[0, 1, 2, 255, 3, 5, 6, 1]])
    found = listed.translate(ids, TAXONOMY, "net.onnx")
    assert found.segmap.dtype == np.uint8
    assert found.segmap.tolist() == [[VOID, 0, TAXONOMY.id_of("tree"), VOID, VOID, VOID, VOID, 0]]
    assert found.warnings == ("25 % of the picture is void: camvid11 has no counterpart of Sofa or lamp (mine).",)
    assert listed.translate(ids[:, 1:3], TAXONOMY, "net.onnx").warnings == ()


def test_a_long_row_of_names_is_cut_off() -> None:
    listed = ClassList("mine", {0: "sky"} | {number: f"thing {number}" for number in range(1, 300)})
    (said,) = listed.translate(np.arange(300)[None], TAXONOMY, "net.onnx").warnings
    assert said == (
        "99.7 % of the picture is void: camvid11 has no counterpart of thing 1, thing 2, thing 3, thing 4, thing 5, "
        "thing 6, thing 7, thing 8 or 291 more (mine)."
    )


def test_a_list_without_any_counterpart_is_refused() -> None:
    with pytest.raises(InputError, match=r"None of the classes of mine \(LABEL_0 and LABEL_1\) is in camvid11\."):
        ClassList("mine", {0: "LABEL_0", 1: "LABEL_1"}).translate(np.zeros((2, 2), int), TAXONOMY, "net.onnx")


def test_void_of_the_list_is_void_unless_it_is_a_class() -> None:
    names = dict(enumerate(f"thing {number}" for number in range(300))) | {255: "sky"}
    found = ClassList("mine", names, (7, 400, -1)).translate(np.array([[255]]), TAXONOMY, "net.onnx")
    assert found.segmap.tolist() == [[0]]
    found = ClassList.of(TAXONOMY).translate(np.array([[11, 255, 3]]), NINETEEN, "net.onnx")
    assert found.segmap.tolist() == [[VOID, VOID, NINETEEN.id_of("road")]]


@pytest.mark.parametrize("number", [-1, 12, 254, 256, 1 << 40])
def test_an_id_that_is_no_class_is_an_error(number: int) -> None:
    says = f"net.onnx gives the number {number}; class ids of camvid11 are 0 to 10, and 11 and 255 for void"
    with pytest.raises(ModelError, match=says):
        ClassList.of(TAXONOMY).translate(np.array([[number]]), TAXONOMY, "net.onnx")


# -- networks ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def nineteen(tmp_path: Path) -> Path:
    """A network of 19 classes, each in the colour of the one that it is merged into."""
    path = tmp_path / "nineteen.onnx"
    path.write_bytes(network_of(NINETEEN.classes))
    return path


def network_of(names: tuple[str, ...]) -> bytes:
    """Return a network of classes by name, each found by the colour of its counterpart in the scenes."""
    means = stand_in.colours()[TAXONOMY.ids_of(dict(enumerate(names)))[: len(names)]]
    constants = {"weight": 2 * means[:, :, None, None], "bias": -(means**2).sum(1)}
    node = helper.make_node("Conv", ["image", "weight", "bias"], ["logits"])
    outputs = [("logits", TensorProto.FLOAT, ["n", len(names), "h", "w"])]
    return stand_in.network([node], {"image": ["n", 3, "h", "w"]}, outputs, constants)


def own(folder: Path) -> Path:
    """Return a network of the taxonomy's own classes that finds the same."""
    path = folder / "eleven.onnx"
    path.write_bytes(network_of(TAXONOMY.classes))
    return path


def test_nineteen_classes_are_mapped_to_eleven(nineteen: Path, tmp_path: Path) -> None:
    image = scene(3, 96, 64).image
    expected = find_segmap(image, TAXONOMY, own(tmp_path))
    found = find_segmap(image, TAXONOMY, nineteen, "cityscapes19")
    assert np.array_equal(found.segmap, expected.segmap)
    assert found.warnings == expected.warnings == ()


def test_eleven_classes_are_mapped_to_nineteen(tmp_path: Path) -> None:
    image, path = scene(3, 96, 64).image, own(tmp_path)
    found = find_segmap(image, NINETEEN, path, "camvid11")
    merged = TAXONOMY.ids_of(dict(enumerate(NINETEEN.classes)))
    assert np.array_equal(merged[found.segmap], find_segmap(image, TAXONOMY, path).segmap)
    assert found.warnings == ()


def test_a_known_number_of_classes_is_assumed_and_said(nineteen: Path, tmp_path: Path) -> None:
    image = scene(3, 96, 64).image
    found = find_segmap(image, TAXONOMY, nineteen)
    assert np.array_equal(found.segmap, find_segmap(image, TAXONOMY, nineteen, "cityscapes19").segmap)
    (said,) = found.warnings
    assert said.endswith(
        "gives float32 of shape 1×19×64×96, logits of 19 classes, taken for those of cityscapes19; "
        "'classes' names others."
    )
    assert find_segmap(image, NINETEEN, nineteen).warnings == ()
    path = tmp_path / "five.onnx"
    path.write_bytes(network_of(TAXONOMY.classes[:5]))
    with pytest.raises(ModelError, match=r"5 classes, which nobody named \(camvid11 has 11, cityscapes19 has 19\)"):
        find_segmap(image, TAXONOMY, path)


def test_a_file_of_names_says_what_a_network_finds(tmp_path: Path) -> None:
    image, names = scene(3, 96, 64).image, ("Pavement", "sidewalk", "sky", "CAR", "background")
    path, listed = tmp_path / "five.onnx", tmp_path / "names.txt"
    path.write_bytes(network_of((*names[:4], "tree")))
    listed.write_text("\n".join(names))
    found = find_segmap(image, TAXONOMY, path, listed)
    assert set(np.unique(found.segmap)) <= {0, 4, 8, VOID}
    assert [said.partition(": ")[2] for said in found.warnings] == [
        f"camvid11 has no counterpart of background ({listed})."
    ]
    listed.write_text("\n".join(names[:3]))
    with pytest.raises(
        ModelError, match=r"logits of 5 classes, and .*names\.txt has 3 classes; 'classes' names them all"
    ):
        find_segmap(image, TAXONOMY, path, listed)


def test_classes_are_those_of_a_segmenter() -> None:
    with pytest.raises(InputError, match="name that by 'segmenter'"):
        find_segmap(scene(3, 96, 64).image, TAXONOMY, classes="camvid11")
