"""A run becomes a model that the codec uses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from PIL import Image
from stand_in import scene

import sempic
from sempic import runtime
from sempic.errors import InputError, ModelError
from sempic.training import config, export, recipe, tables, weights
from sempic.training.loop import train
from sempic.training.sqgan import ImageRecipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of scenes and a tiny run on them, whose tables take no time to fit."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "mine").mkdir()
    for seed in range(2):
        Image.fromarray(scene(seed, 192, 144).image).save(folder / "mine" / f"{seed}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = ["init=", "data=folder:mine", "steps=1", "batch=1", "crop=64"]
        settings += ["precision=fp32", "widths=[16,16,16,16]"]
        options = config.load("spic", settings)
        config.save(options, folder / "run")
        train(recipe.build(options), folder / "run", options)
    return folder


@pytest.fixture(autouse=True)
def _quick(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = tables.fit_network
    monkeypatch.setattr(tables, "fit_network", lambda *given, **more: fit(*given, **more | {"steps": 10, "width": 16}))
    monkeypatch.chdir(folder)


@pytest.mark.slow
def test_a_run_becomes_a_model_that_encodes_and_decodes(folder):
    done = export.export(Path("run"), Path("my-model"))
    assert list(done.differences) == ["denoiser/image"]
    assert done.differences["denoiser/image"] < weights.TOLERANCE
    card = runtime.Model(folder / "my-model").card
    assert (card.name, card.kind) == ("my-model", "spic")
    training = card.training
    assert card.taxonomy["classes"]["sky"] == [128, 178, 230]
    assert training["options"]["widths"] == [16, 16, 16, 16]
    assert (training["steps"], training["metrics"]["pictures"]) == (1, 2)
    assert training["metrics"]["psnr_db"] > 5
    assert len(training["data_sha256"]) == 64
    page = Path("my-model/README.md").read_text()
    assert "answers for their licence" in page
    assert "psnr_db" in page
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["mine", "my-model", "run", "runs"]

    image = scene(3, 192, 144).image
    data = sempic.encode(image, "spic:model=my-model")
    assert sempic.decode(data, model="my-model").image.shape == image.shape
    assert sempic.inspect(data, model="my-model").model == "my-model"
    with pytest.raises(ModelError, match="a sqgan is needed"):
        sempic.encode(image, "sqgan:model=my-model")
    with pytest.raises(InputError, match="exists"):
        export.export(Path("run"), Path("my-model"))


def test_a_model_that_answers_otherwise_is_not_exported(monkeypatch):
    def spoilt(graph: onnx.GraphProto) -> None:
        for weight in graph.initializer:
            array = numpy_helper.to_array(weight)
            if array.size > 1000:
                weight.CopyFrom(numpy_helper.from_array(np.zeros_like(array), weight.name))

    monkeypatch.setattr(weights, "_halve", spoilt)
    layer, x = torch.nn.Conv2d(16, 64, 3), torch.rand(1, 16, 8, 8)
    with pytest.raises(ModelError, match="answers otherwise than PyTorch: y differs"):
        weights.write(layer, Path("layer.onnx"), {"input": x}, ["y"], {"input": {}})


def test_what_cannot_be_exported_is_one_sentence(folder):
    config.save(config.load("sqgan-map"), folder / "half")
    with pytest.raises(InputError, match="one half of SQ-GAN"):
        export.export(Path("half"), Path("model"))
    with pytest.raises(InputError, match="no training run"):
        export.export(Path("absent"), Path("model"))
    config.save(config.load("layered"), folder / "empty")
    with pytest.raises(InputError, match="holds no checkpoint"):
        export.export(Path("empty"), Path("model"))
    options = config.load("spic", ["widths=[16,16,16,32]"])
    config.save(options, folder / "other")
    (folder / "other" / "state.pt").write_bytes((folder / "run" / "state.pt").read_bytes())
    with pytest.raises(InputError, match="of another network"):
        export.export(Path("other"), Path("model"))
    assert not Path("model").exists()


def test_a_map_stream_is_found_or_asked_for(folder, tmp_path):
    config.save(config.load("sqgan"), tmp_path)
    with pytest.raises(InputError, match="names no map stream; train it with maps=RUN"):
        ImageRecipe.write(export.Export(tmp_path, tmp_path / "model"))


def test_the_hardware_and_the_last_line_of_the_log_are_noted(folder):
    noted = export.Export(Path("run"), Path("model")).note(Path("run"), 1)
    assert noted["last_log"] == json.loads((folder / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert "cores" in noted["hardware"]
