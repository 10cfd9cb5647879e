"""Other people's segmenters on the command line: networks that PyTorch exports, and what their classes become."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import stand_in
from command import call as run
from PIL import Image
from stand_in import TAXONOMY, scene

import sempic
from sempic import taxonomy
from sempic.codecs import sqgan
from sempic.taxonomy import VOID

pytestmark = pytest.mark.sqgan
NINETEEN = taxonomy.load("cityscapes19")


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `cityscapes19.onnx`, `camvid11.onnx`, and a list of the first one's names with other ones."""
    folder = tmp_path_factory.mktemp("networks")
    for known in (NINETEEN, TAXONOMY):
        export(folder / f"{known.name}.onnx", known.classes)
    others = {"road": "runway", "car": "aeroplane"}
    (folder / "airport.txt").write_text("\n".join(others.get(name, name) for name in NINETEEN.classes))
    return folder


def export(path: Path, names: tuple[str, ...]) -> None:
    """Export a network of stride 2 that finds each class by the colour of its counterpart in the scenes."""
    import torch

    means = torch.from_numpy(stand_in.colours()[TAXONOMY.ids_of(dict(enumerate(names)))[: len(names)]])
    head = torch.nn.Conv2d(3, len(names), 1)
    head.weight.data, head.bias.data = 2 * means[:, :, None, None], -(means**2).sum(1)
    network = torch.nn.Sequential(torch.nn.AvgPool2d(2), head).eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    free = {"input": {2: torch.export.Dim("h"), 3: torch.export.Dim("w")}}
    torch.onnx.export(network, (torch.zeros(1, 3, 64, 96),), path, dynamic_shapes=free, dynamo=True, verbose=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(scene(3, 160, 120).image).save(tmp_path / "street.png")
    return tmp_path


def encoded(folder: Path, *arguments: object) -> tuple[bytes, CompletedProcess[bytes]]:
    done = run(folder, "encode", "street.png", "-o", "street.smp", "--force", "--json", *arguments)
    assert done.returncode == 0, done.stderr.decode()
    return (folder / "street.smp").read_bytes(), done


def test_networks_of_either_taxonomy_make_the_same_stream(folder, networks):
    streams = []
    for name in ("cityscapes19", "camvid11"):
        data, done = encoded(folder, "--segmenter", networks / f"{name}.onnx", "--classes", name)
        assert done.stderr == b""
        assert json.loads(done.stdout)["warnings"] == []
        streams.append(data)
    assert streams[0] == streams[1]
    assert streams[0] != encoded(folder)[0]
    done = run(folder, "decode", "street.smp", "-o", "out.png", "--segmap-out", "classes.png")
    assert done.returncode == 0, done.stderr.decode()
    decoded = sempic.decode(streams[0])
    assert decoded.taxonomy == TAXONOMY
    assert decoded.image.shape == (120, 160, 3)
    truth = scene(3, 160, 120).segmap
    assert (decoded.segmap == truth)[truth == TAXONOMY.id_of("sky")].mean() > 0.9
    assert len(np.unique(decoded.segmap)) > 3


def test_classes_that_nobody_named_are_assumed_with_a_warning(folder, networks):
    named, _ = encoded(folder, "--segmenter", networks / "cityscapes19.onnx", "--classes", "cityscapes19")
    data, done = encoded(folder, "--segmenter", networks / "cityscapes19.onnx")
    assert data == named
    (said,) = json.loads(done.stdout)["warnings"]
    assert said.endswith("logits of 19 classes, taken for those of cityscapes19; 'classes' names others.")
    assert done.stderr.decode() == f"sempic: warning: {said}\n"


def test_classes_without_a_counterpart_are_void_with_a_warning(folder, networks):
    arguments = ("--segmenter", networks / "cityscapes19.onnx", "--classes", networks / "airport.txt")
    data, done = encoded(folder, *arguments)
    (said,) = json.loads(done.stdout)["warnings"]
    assert said.endswith(f"is void: camvid11 has no counterpart of runway or aeroplane ({networks / 'airport.txt'}).")
    assert done.stderr.decode() == f"sempic: warning: {said}\n"
    ids = np.unique(sempic.decode(data).segmap)
    assert VOID in ids
    assert TAXONOMY.id_of("road") not in ids
    settings = sqgan.Settings(segmenter=networks / "cityscapes19.onnx", classes=networks / "airport.txt")
    with pytest.warns(UserWarning, match="no counterpart of runway or aeroplane"):
        assert sempic.encode(folder / "street.png", settings=settings) == data


def test_a_batch_takes_them_and_says_the_same_of_each_picture(folder, networks):
    data, done = encoded(folder, "--segmenter", networks / "cityscapes19.onnx", "--classes", networks / "airport.txt")
    (said,) = json.loads(done.stdout)["warnings"]
    (folder / "photos").mkdir()
    (folder / "street.png").rename(folder / "photos" / "street.png")
    arguments = ("--segmenter", networks / "cityscapes19.onnx", "--classes", networks / "airport.txt", "--workers", 1)
    done = run(folder, "batch", "encode", "photos", "streams", *arguments)
    assert done.returncode == 0, done.stderr.decode()
    assert (folder / "streams" / "street.png.smp").read_bytes() == data
    assert f"sempic: warning: street.png: {said}" in done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--segmenter", "camvid11.onnx", "--classes", "ade20k"], "'ade20k' is neither a taxonomy (camvid11, "),
        (["--segmenter", "camvid11.onnx", "--classes", "airport.txt"], "and airport.txt has 19 classes"),
        (["--classes", "camvid11"], "name that by 'segmenter'"),
        (["--classes", "camvid11", "--segmap", "street.png"], "name that by 'segmenter'"),
        (["--segmenter", "hf:no such name"], "hf:no such name cannot be fetched"),
    ],
)
def test_mistakes_are_one_sentence(folder, networks, arguments, says):
    for path in networks.iterdir():
        (folder / path.name).symlink_to(path)
    done = run(folder, "encode", "street.png", *arguments)
    assert done.returncode == 1
    assert says in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1
    assert not (folder / "street.smp").exists()
