"""From weights to ONNX and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.export import Dim

from sempic import runtime, taxonomy
from sempic.errors import InputError, ModelError
from sempic.training import export, weights
from sempic.training.latents import GAINS
from sempic.training.layered import LayeredNetwork, LayeredRecipe
from sempic.training.segmenters import FullSize, JudgeNetwork, JudgeRecipe, SegmenterNetwork, SegmenterRecipe
from sempic.training.spic import DenoiserNetwork, SpicRecipe
from sempic.training.sqgan import ImageRecipe, ImageStream, MapRecipe, MapStream

TAXONOMY = taxonomy.load("camvid11")


@pytest.fixture(scope="module")
def segmenter() -> SegmenterNetwork:
    """A segmenter whose running statistics are not those of a fresh one."""
    torch.manual_seed(0)
    network = SegmenterNetwork(11, pretrained=False)
    with torch.no_grad():
        network(torch.rand(2, 3, 64, 64))
    return network.eval()


@pytest.fixture(scope="module")
def exported(segmenter: SegmenterNetwork, tmp_path_factory: pytest.TempPathFactory) -> runtime.Model:
    folder = tmp_path_factory.mktemp("models") / "segmenter-test"
    folder.mkdir()
    h, w = 32 * Dim("h", min=1, max=256), 32 * Dim("w", min=1, max=256)
    weights.write(
        FullSize(segmenter),
        folder / "segmenter.onnx",
        {"image": torch.rand(1, 3, 96, 128)},
        ["logits"],
        {"image": {2: h, 3: w}},
    )
    export.write_card(folder, "segmenter", "A test's.", TAXONOMY, weights.count(segmenter), {"steps": 1})
    return runtime.Model(folder)


@pytest.mark.parametrize("size", [(32, 32), (64, 160)])
@pytest.mark.slow
def test_onnx_runtime_answers_as_torch_does(segmenter, exported, size):
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        expected = FullSize(segmenter)(image).numpy()
    network = exported.network("segmenter")
    assert list(network.inputs) == ["image"]
    (logits,) = network.run(image=image.numpy())
    assert logits.shape == (1, 11, *size)
    assert logits.dtype == np.float32
    assert np.abs(logits - expected).max() < 0.01 * np.abs(expected).max() + 1e-3


def test_big_weights_are_stored_in_half_precision_and_all_on_file(segmenter, exported):
    graph = onnx.load(str(exported.folder / "segmenter.onnx")).graph
    large = [w for w in graph.initializer if numpy_helper.to_array(w).size >= weights.HALVED_FROM]
    assert large
    assert all(numpy_helper.to_array(w).dtype != np.float32 for w in large)
    count = sum(p.numel() for p in segmenter.parameters())
    assert exported.size < 2.2 * count
    assert str(Path(__file__).parents[2]).encode() not in (exported.folder / "segmenter.onnx").read_bytes()
    assert exported.card.parameters == count
    assert exported.card.training == {"steps": 1}
    assert list(exported.card.files) == ["segmenter.onnx"]
    assert exported.card.taxonomy == TAXONOMY.to_json()
    assert exported.taxonomy == TAXONOMY


def test_exported_weights_come_back(segmenter, exported):
    network = SegmenterNetwork(11, pretrained=False).eval()
    weights.restore(network, weights.read(exported, ["segmenter"]))
    for name, value in segmenter.state_dict().items():
        if value.is_floating_point():
            got = network.state_dict()[name]
            assert torch.allclose(got, value, rtol=1e-3, atol=1e-6), name
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(network(image), segmenter(image), atol=1e-2)


def test_a_model_of_another_network_is_not_restored(exported):
    with pytest.raises(ModelError, match="lacks"):
        weights.restore(MapStream(11), weights.read(exported, ["segmenter"]))


class Doubled(nn.Module):
    """A layer under a method of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(8, 40, 1)

    def twice(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return 2 * self.layer(x), x.mean(1, keepdim=True)


def test_a_method_is_exported_with_the_names_of_its_network(tmp_path):
    network = Doubled()
    sizes = {"x": {2: 2 * Dim("h", min=1, max=64), 3: Dim("w", min=1, max=64)}}
    path = tmp_path / "doubled.onnx"
    weights.write(weights.Method(network, "twice"), path, {"x": torch.rand(1, 8, 6, 5)}, ["y", "mean"], sizes)
    export.write_card(tmp_path, "test", "", TAXONOMY, 1, {})
    model = runtime.Model(tmp_path)
    x = np.random.default_rng(0).random((1, 8, 4, 9), np.float32)
    y, mean = model.network("doubled").run(x=x)
    assert y.shape == (1, 40, 4, 9)
    assert np.isfinite(y).all()
    assert np.allclose(mean, x.mean(1, keepdims=True), atol=1e-6)
    restored = Doubled()
    weights.restore(restored, weights.read(model, ["doubled"]))
    assert torch.allclose(restored.layer.weight, network.layer.weight, rtol=1e-3, atol=1e-6)
    assert torch.equal(restored.layer.bias, network.layer.bias)
    with torch.no_grad():
        network.layer.weight[0, 0] = 1e6  # beyond half precision
    with pytest.raises(ModelError, match="answers otherwise than PyTorch: y differs by 93"):
        weights.write(weights.Method(network, "twice"), path, {"x": torch.ones(1, 8, 6, 5)}, ["y", "mean"], sizes)
    wide = Doubled()
    wide.layer = nn.Conv2d(8, 48, 1)
    with pytest.raises(ModelError, match="of another size than what is trained, such as layer"):
        weights.restore(wide, weights.read(model, ["doubled"]))


def write_weights(folder: Path, kind: str, names: tuple[str, ...], network: nn.Module) -> None:
    """Write a network's weights alone, as exported files hold them, without the time that an export takes."""
    stored = [numpy_helper.from_array(value.numpy(), f"network.{key}") for key, value in network.state_dict().items()]
    for name in names:
        graph = onnx.helper.make_graph([], name, [], [], stored)
        onnx.save(onnx.helper.make_model(graph), str(folder / f"{name}.onnx"))
    export.write_card(folder, kind, "", TAXONOMY, 1, {})


def test_a_stream_is_restored(tmp_path: Path):
    torch.manual_seed(0)
    original = MapStream(11)
    write_weights(tmp_path, "sqgan", ("map_encoder", "map_decoder"), original)
    restored = MapStream(11)
    MapRecipe.restore(restored, runtime.Model(tmp_path))
    for key, value in original.named_parameters():
        assert torch.equal(restored.state_dict()[key], value), key


def test_the_layered_codec_starts_from_itself_or_from_an_sq_gan(tmp_path: Path):
    torch.manual_seed(0)
    original, stream = LayeredNetwork(11), ImageStream(11)
    with torch.no_grad():
        original.base.log_gains += 1
        original.fine.log_inverse_gains -= 1
    for name, network in (("layered", original), ("sqgan", stream)):
        (tmp_path / name).mkdir()
        gains = {key: value.numpy() for key, value in network.state_dict().items() if key in GAINS}
        assert set(gains) == (set(GAINS) if name == "layered" else set())
        np.savez(tmp_path / name / runtime.TABLES, image=np.zeros(1), **gains)
        write_weights(tmp_path / name, name, ("encoder", "decoder"), network)
        restored = LayeredNetwork(11)
        fresh = restored.enter[0].weight.clone()
        LayeredRecipe.restore(restored, runtime.Model(tmp_path / name))
        for key, value in restored.named_parameters():
            if (name == "layered" and ".rate_model." not in key) or key.startswith(("encoder.", "decoder.")):
                assert torch.equal(network.state_dict()[key], value), key
        assert torch.equal(restored.enter[0].weight, fresh) == (name == "sqgan")


def test_the_denoiser_starts_from_the_base_of_the_layered_codec_at_its_highest_rate(tmp_path: Path):
    torch.manual_seed(0)
    original, restored = LayeredNetwork(11), DenoiserNetwork(11)
    with torch.no_grad():
        original.base.log_gains += torch.randn(original.base.log_gains.shape)
    np.savez(tmp_path / runtime.TABLES, **{name: original.state_dict()[name].numpy() for name in GAINS})
    write_weights(tmp_path, "layered", ("encoder", "decoder"), original)
    SpicRecipe.restore(restored, runtime.Model(tmp_path))
    features = torch.rand(1, 256, 3, 4)
    with torch.no_grad():
        passed = original.base.project(features)
        for gains in (original.base.log_gains, original.base.log_inverse_gains):
            passed = passed * gains[-1].exp()[:, None, None]
        assert torch.allclose(restored.project(features), passed, rtol=1e-4, atol=1e-5)
    for key, value in original.state_dict().items():
        if key.startswith(("encoder.", "decoder.", "enter.")):
            assert torch.equal(restored.state_dict()[key], value), key


def everything_is(network: nn.Module, model: runtime.Model, *names: str) -> bool:
    """Whether all parameters of a network are those in files of a model."""
    stored = weights.read(model, list(names))
    return all(torch.equal(value, stored[key].reshape(value.shape)) for key, value in network.named_parameters())


def test_every_kind_starts_from_the_model_that_comes_with_sempic():
    shipped = {kind: runtime.Model(runtime.default(kind).folder) for kind in ("judge", "segmenter", "sqgan", "spic")}
    for recipe, network, kind, names in (
        (SegmenterRecipe, SegmenterNetwork(11, pretrained=False), "segmenter", ("segmenter",)),
        (JudgeRecipe, JudgeNetwork(11, pretrained=False), "judge", ("judge",)),
        (MapRecipe, MapStream(11), "sqgan", ("map_encoder", "map_decoder")),
        (ImageRecipe, ImageStream(11), "sqgan", ("encoder", "decoder")),
        (SpicRecipe, DenoiserNetwork(11), "spic", ("denoiser",)),
    ):
        recipe.restore(network, shipped[kind])
        assert everything_is(network, shipped[kind], *names), recipe
    network, layered = LayeredNetwork(11), runtime.default("layered")
    LayeredRecipe.restore(network, layered)
    stored = weights.read(layered, ["encoder", "decoder"])
    assert set(GAINS) <= {key for key, _ in network.named_parameters()}
    for key, value in network.named_parameters():
        if key in GAINS:
            assert np.array_equal(value.detach().numpy(), layered.tables[key])
        elif ".rate_model." not in key:
            assert torch.equal(value, stored[key].reshape(value.shape)), key


@pytest.mark.parametrize("kind", ["sqgan", "layered", "spic"])
def test_whatever_draws_pictures_starts_from_any_model_that_does(kind):
    model = runtime.default(kind)
    stored = weights.read(model, ["denoiser"] if kind == "spic" else ["encoder", "decoder"])
    for recipe, network in (
        (ImageRecipe, ImageStream(11)),
        (LayeredRecipe, LayeredNetwork(11)),
        (SpicRecipe, DenoiserNetwork(11)),
    ):
        recipe.restore(network, model)
        for key in ("encoder.stem.weight", "decoder.out.weight"):
            assert torch.equal(network.state_dict()[key], stored[key].reshape(network.state_dict()[key].shape))


def test_a_model_of_another_kind_is_one_sentence():
    judge, sqgan = runtime.default("judge"), runtime.default("sqgan")
    for recipe, network, model in (
        (SpicRecipe, DenoiserNetwork(11), judge),
        (MapRecipe, MapStream(11), judge),
        (SegmenterRecipe, SegmenterNetwork(11, pretrained=False), judge),
        (JudgeRecipe, JudgeNetwork(11, pretrained=False), sqgan),
    ):
        with pytest.raises(InputError, match=f"cannot start from '.*', which is a {model.card.kind}"):
            recipe.restore(network, model)


def test_a_segmenter_starts_from_one_of_fewer_classes():
    fine, coarse = taxonomy.load("cityscapes19"), runtime.default("segmenter", TAXONOMY.name)
    network, parent = (
        SegmenterNetwork(len(fine), pretrained=False).eval(),
        SegmenterNetwork(11, pretrained=False).eval(),
    )
    SegmenterRecipe.restore(parent, coarse)
    SegmenterRecipe.restore_other(network, coarse, fine)
    image = torch.rand(1, 3, 64, 64)
    parents = coarse.taxonomy.ids_of(dict(enumerate(fine.classes)))[: len(fine)].tolist()
    with torch.no_grad():
        assert torch.equal(network(image), parent(image)[:, parents])
