"""Segmenters: the built-in one's place, any ONNX file's, and segmaps that are handed in."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import stand_in
from onnx import TensorProto, helper, numpy_helper
from stand_in import TAXONOMY, scene

from sempic import runtime
from sempic.errors import InputError, ModelError
from sempic.segmap.segmenter import LONGEST_SIDE, check_segmap, segment


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in.make_segmenter(tmp_path)
    monkeypatch.setenv("SEMPIC_MODELS", str(tmp_path))


def onnx_file(folder: Path, data: bytes) -> Path:
    path = folder / "network.onnx"
    path.write_bytes(data)
    return path


def bands(height: int, width: int, classes: tuple[int, int, int] = (3, 8, 0)) -> tuple[np.ndarray, np.ndarray]:
    """A picture of class colours in three upright bands, and its segmap."""
    segmap = np.full((height, width), classes[0], np.uint8)
    segmap[:, width // 3 :] = classes[1]
    segmap[:, 2 * width // 3 :] = classes[2]
    return (stand_in.colours()[segmap] * 255).round().astype(np.uint8), segmap


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 33), (75, 100), (120, 160), (640, 33), (700, 900)])
def test_the_built_in_segmenter_answers_at_the_pictures_size(models, height, width):
    image, segmap = bands(height, width)
    found = segment(image, TAXONOMY)
    assert found.shape == (height, width)
    assert found.dtype == np.uint8
    assert (found == segmap).mean() > (0.9 if width > 64 else 0.6)  # it sees blocks of 4×4 pixels


def test_a_built_in_segmenter_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMPIC_MODELS", str(tmp_path))
    monkeypatch.setattr(runtime, "SHIPPED", tmp_path)
    with pytest.raises(ModelError, match="No segmenter for the classes of camvid11 is installed"):
        segment(scene(0, 32, 32).image, TAXONOMY)


def test_an_own_network_is_loaded_once_for_all_pictures(tmp_path, monkeypatch):
    made = []
    load = runtime.Network.__init__
    monkeypatch.setattr(
        runtime.Network, "__init__", lambda self, *arguments: (made.append(arguments[1]), load(self, *arguments))[1]
    )
    path = onnx_file(tmp_path, stand_in.segmenter_network())
    image, segmap = bands(75, 100)
    for given in (path, str(path), path):
        assert (segment(image, TAXONOMY, given) == segmap).mean() > 0.9
    assert made == [str(path)]
    path.write_bytes(stand_in.segmenter_network(stride=2))  # another file of the same name
    os.utime(path, (0, 0))
    segment(image, TAXONOMY, path)
    assert made == [str(path)] * 2


@pytest.mark.parametrize("stride", [1, 2, 8])
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("size", [("h", "w"), (64, 96), (None, None)])
def test_a_network_may_answer_in_logits_or_ids_at_any_scale(tmp_path, stride, ids, size):
    path = onnx_file(tmp_path, stand_in.segmenter_network(size, stride, ids=ids))
    image, segmap = bands(75, 100)
    found = segment(image, TAXONOMY, path)
    assert found.shape == (75, 100)
    assert found.dtype == np.uint8
    assert (found == segmap).mean() > 0.9


def test_the_padding_does_not_shift_the_answer(tmp_path):
    path = onnx_file(tmp_path, stand_in.segmenter_network(stride=1))
    image, segmap = bands(75, 100)
    assert np.array_equal(segment(image, TAXONOMY, path), segmap)


@pytest.mark.parametrize(
    ("size", "given"),
    [
        (("h", "w"), (96, 128)),
        ((45, "w"), (45, 64)),
        (("h", 50), (64, 50)),
        ((45, 50), (45, 50)),
        (("h", 100), (96, 100)),
        (("h", 10), (32, 10)),
    ],
)
def test_free_sides_keep_the_shape_and_fixed_ones_need_no_multiple(tmp_path, monkeypatch, size, given):
    seen = []
    run = runtime.Network.run
    monkeypatch.setattr(runtime.Network, "run", lambda self, **x: (seen.append(x["image"].shape), run(self, **x))[1])
    path = onnx_file(tmp_path, stand_in.segmenter_network(size, stride=1))
    image, segmap = bands(75, 100)
    assert (segment(image, TAXONOMY, path) == segmap).mean() > (0.9 if 10 not in size else 0.8)
    assert seen == [(1, 3, *given)]


def test_a_free_side_is_bounded(tmp_path):
    path = onnx_file(tmp_path, stand_in.segmenter_network((64, "w"), stride=1))
    for shape in ((16, 4000), (4000, 16)):
        assert segment(bands(*shape)[0], TAXONOMY, path).shape == shape


KINDS = {"float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def recast(data: bytes, takes: int, gives: int) -> bytes:
    """Return a segmenter with other types of its input (uint8 from 0 to 255) and of its output."""
    model = onnx.load_from_string(data)
    graph = model.graph
    given, made = graph.input[0], graph.output[0]
    first, last = given.name, made.name
    given.name, made.name = "given", "made"
    given.type.tensor_type.elem_type, made.type.tensor_type.elem_type = takes, gives
    scale = numpy_helper.from_array(np.float32(255 if takes == TensorProto.UINT8 else 1), "scale")
    graph.initializer.append(scale)
    nodes = [
        helper.make_node("Cast", ["given"], ["plain"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["plain", "scale"], [first]),
        *graph.node,
        helper.make_node("Cast", [last], ["made"], to=gives),
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    changed: bytes = model.SerializeToString()
    return changed


@pytest.mark.parametrize("takes", [*KINDS.values(), TensorProto.UINT8])
@pytest.mark.parametrize("gives", KINDS.values())
def test_the_precision_of_a_network_is_its_own_affair(tmp_path, takes, gives):
    path = onnx_file(tmp_path, recast(stand_in.segmenter_network(stride=1), takes, gives))
    image, segmap = bands(64, 96, (5, 8, 0))
    assert np.array_equal(segment(image, TAXONOMY, path), segmap)


@pytest.mark.parametrize("gives", [*KINDS.values(), TensorProto.UINT8, TensorProto.INT16, TensorProto.INT32])
def test_ids_may_be_of_any_type(tmp_path, gives):
    path = onnx_file(tmp_path, recast(stand_in.segmenter_network(stride=1, ids=True), TensorProto.FLOAT, gives))
    image, segmap = bands(64, 96)
    assert np.array_equal(segment(image, TAXONOMY, path), segmap)


def ids_network(shape: list[int | str], *more: onnx.NodeProto, keep: int = 0, **constants: np.ndarray) -> bytes:
    """Return a network whose ids are 0 where a pixel is red and 1 where it is green, `more` nodes make `y` of `ids`."""
    nodes = [helper.make_node("ArgMax", ["x"], ["ids"], axis=1, keepdims=keep), *more]
    name, kind = ("y", TensorProto.FLOAT) if more else ("ids", TensorProto.INT64)
    return stand_in.network(nodes, {"x": shape}, [(name, kind, [None] * (3 + keep))], constants)


def red_and_green() -> np.ndarray:
    image = np.zeros((32, 64, 3), np.uint8)
    image[:, :32, 0] = image[:, 32:, 1] = 255
    return image


@pytest.mark.parametrize("void", [255, 11])
def test_void_ids_become_void(tmp_path, void):
    """255 is void anywhere, and so are the ids that the taxonomy declares."""
    nodes = [
        helper.make_node("Cast", ["ids"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "void"], ["y"]),
    ]
    path = onnx_file(tmp_path, ids_network(["n", 3, "h", "w"], *nodes, void=np.array(float(void))))
    found = segment(red_and_green(), TAXONOMY, path)
    assert (found[:, :32] == 0).all()
    assert (found[:, 32:] == 255).all()


def test_ids_may_have_an_axis_of_one_class(tmp_path):
    path = onnx_file(tmp_path, ids_network([1, 3, "h", "w"], keep=1))
    found = segment(red_and_green(), TAXONOMY, path)
    assert (found[:, :32] == 0).all()
    assert (found[:, 32:] == 1).all()


def test_large_pictures_are_segmented_small(tmp_path, monkeypatch):
    seen = []
    run = runtime.Network.run
    monkeypatch.setattr(runtime.Network, "run", lambda self, **x: (seen.append(x["image"].shape), run(self, **x))[1])
    path = onnx_file(tmp_path, stand_in.segmenter_network())
    for height, width in ((1024, 2048), (3000, 16), (LONGEST_SIDE, 480)):
        image, segmap = bands(height, width)
        found = segment(image, TAXONOMY, path)
        assert found.shape == (height, width)
        if width > 16:
            assert (found == segmap).mean() > 0.95
    assert [shape[2:] for shape in seen] == [(320, 640), (640, 32), (640, 480)]


def test_pixels_reach_the_network_as_rgb_from_0_to_1(tmp_path):
    constants = {"weight": np.zeros((11, 3, 1, 1)), "bias": np.zeros(11)}
    constants["weight"][5, 0] = 1  # class 5 where there is red, class 6 where there is more blue
    constants["weight"][6, 2] = 1
    constants["bias"][:5] = 0.5
    constants["bias"][7:] = 0.5
    node = helper.make_node("Conv", ["x", "weight", "bias"], ["y"])
    outputs = [("y", TensorProto.FLOAT, ["n", 11, "h", "w"])]
    path = onnx_file(tmp_path, stand_in.network([node], {"x": ["n", 3, "h", "w"]}, outputs, constants))
    image = np.zeros((32, 96, 3), np.uint8)
    image[:, :32, 0], image[:, 32:64, 2], image[:, 64:] = 255, 255, 100
    found = segment(image, TAXONOMY, path)
    assert (found[:, :32] == 5).all()
    assert (found[:, 32:64] == 6).all()
    assert (found[:, 64:] == 0).all()


# -- networks that are no segmenters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [1, 10, 12, 20])
def test_a_network_of_other_classes_is_refused(tmp_path, classes):
    path = onnx_file(tmp_path, stand_in.segmenter_network(classes=classes))
    with pytest.raises(ModelError, match=f"{classes}.*camvid11"):
        segment(scene(0, 64, 48).image, TAXONOMY, path)


def identity(kind: str, shape: list[int | str], to: int = TensorProto.FLOAT) -> bytes:
    node = helper.make_node("Cast", ["x"], ["y"], to=to) if kind == "Cast" else helper.make_node(kind, ["x"], ["y"])
    return stand_in.network([node], {"x": shape}, [("y", to, [None] * len(shape))], {})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "network"),
        (b"\x89PNG\r\n\x1a\n", "network"),
        (identity("Relu", ["n", 1, "h", "w"]), "no segmenter"),
        (identity("Relu", ["n", 3]), "no segmenter"),
        (identity("Relu", ["n", 3, "h", "w"]), "class ids"),
        (identity("Cast", ["n", 3, "h", "w"], TensorProto.INT64), "class ids"),
        (
            identity("Relu", [2, 3, "h", "w"]),
            r"takes tensor\(float\) of shape 2×3×h×w; a picture is one input, 1×3×h×w",
        ),
        (identity("Relu", ["n", "h", "w", 3]), r"takes tensor\(float\) of shape n×h×w×3; a picture is one input"),
        (identity("Relu", ["n", 3, "h", "w"]), "gives float32 of shape 1×3×64×64, logits of 3 classes, which nobody"),
        (identity("Relu", ["n", 3, 32, 40]), "of shape 1×3×32×40, logits of 3 classes"),
        (identity("Acosh", ["n", 3, "h", "w"]), "gives float32 of shape 1×3×64×64 with NaN or infinity"),
    ],
)
def test_a_network_that_is_no_segmenter_is_refused(tmp_path, data, says):
    with pytest.raises(ModelError, match=says):
        segment(scene(0, 64, 48).image, TAXONOMY, onnx_file(tmp_path, data))


def test_ids_beyond_the_classes_are_refused(tmp_path):
    node = helper.make_node("ArgMax", ["x"], ["y"], axis=3, keepdims=0)  # the column of the maximum, 0..63
    data = stand_in.network([node], {"x": ["n", 3, "h", "w"]}, [("y", TensorProto.INT64, ["n", 3, "h"])], {})
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 40] = 255
    with pytest.raises(ModelError, match="class ids"):
        segment(image, TAXONOMY, onnx_file(tmp_path, data))


def test_an_empty_answer_is_refused(tmp_path):
    nodes = [
        helper.make_node("ArgMax", ["x"], ["ids"], axis=1, keepdims=0),
        helper.make_node("Cast", ["zero"], ["index"], to=TensorProto.INT64),
        helper.make_node("Slice", ["ids", "index", "index", "index"], ["y"]),
    ]
    outputs = [("y", TensorProto.INT64, ["n", "h", "w"])]
    data = stand_in.network(nodes, {"x": ["n", 3, "h", "w"]}, outputs, {"zero": np.zeros(1)})
    with pytest.raises(ModelError):
        segment(scene(0, 64, 48).image, TAXONOMY, onnx_file(tmp_path, data))


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(ModelError, match=path.name):
            segment(scene(0, 64, 48).image, TAXONOMY, path)


# -- segmaps handed in ------------------------------------------------------------------------------------------------


def test_a_segmap_that_fits_is_taken_as_it_is():
    image, segmap = scene(0, 64, 48).image, scene(0, 64, 48).segmap.copy()
    segmap[0] = 255
    assert check_segmap(segmap, image, TAXONOMY) is segmap


def test_void_ids_of_the_taxonomy_become_void():
    image, segmap = scene(0, 64, 48).image, scene(0, 64, 48).segmap.copy()
    segmap[:5] = 11
    given = segmap.copy()
    found = check_segmap(segmap, image, TAXONOMY)
    assert TAXONOMY.void == (11,)
    assert (found[:5] == 255).all()
    assert np.array_equal(found[5:], segmap[5:])
    assert np.array_equal(segmap, given)
    other = replace(TAXONOMY, void=(0, 200))
    segmap[:5] = 200
    found = check_segmap(segmap, image, other)
    assert (found == 255).sum() == (segmap == 0).sum() + segmap[:5].size
    with pytest.raises(InputError, match="class 11"):
        check_segmap(given, image, other)


@pytest.mark.parametrize(
    ("segmap", "says"),
    [
        (np.zeros((64, 48), np.uint8), "shape"),
        (np.zeros((48, 64, 3), np.uint8), "shape"),
        (np.zeros(48, np.uint8), "shape"),
        (np.zeros((48, 64), np.float32), "float32"),
        (np.zeros((48, 64), bool), "bool"),
        ([[0] * 64] * 48, "int"),
        (np.full((48, 64), 12, np.uint8), "class 12"),
        (np.full((48, 64), 254, np.uint8), "class 254"),
        ("labels.png", "shape"),
    ],
)
def test_a_segmap_that_does_not_fit_is_refused(segmap, says):
    with pytest.raises(InputError, match=says):
        check_segmap(segmap, np.zeros((48, 64, 3), np.uint8), TAXONOMY)
