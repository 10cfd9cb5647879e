"""Segmenters of the Hugging Face Hub: a small SegFormer of random weights, made here, stands for all of them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from stand_in import TAXONOMY, scene

from sempic.errors import InputError, ModelError
from sempic.extras import install
from sempic.segmap import huggingface
from sempic.segmap.segmenter import find_segmap
from sempic.taxonomy import VOID

IMAGE = scene(0, 96, 64).image
NAMES = ("road", "Traffic_Light", "sofa")


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    return pytest.importorskip("transformers", reason="no transformers: pip install 'sempic[hf]'")


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    huggingface.load.cache_clear()


@pytest.fixture(scope="module")
def folder(transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the Hub has them, with three classes."""
    return write(transformers, tmp_path_factory.mktemp("hub") / "tiny", "SegformerForSemanticSegmentation")


def write(transformers: Any, folder: Path, kind: str, **prepare: Any) -> Path:
    import torch

    config = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3], strides=[4, 2],
        num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, id2label=dict(enumerate(NAMES)),
        label2id={name: number for number, name in enumerate(NAMES)},
    )  # fmt: skip
    torch.manual_seed(1)
    with huggingface._quiet():
        getattr(transformers, kind)(config).save_pretrained(folder)
        transformers.SegformerImageProcessor(**{"size": {"height": 64, "width": 64}} | prepare).save_pretrained(folder)
    return folder


def expected(folder: Path, image: np.ndarray) -> np.ndarray:
    """The segmap as transformers makes it, as ids of the taxonomy."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    processor = AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        out = AutoModelForSemanticSegmentation.from_pretrained(folder)(**processor(images=image, return_tensors="pt"))
    (ids,) = processor.post_process_semantic_segmentation(out, target_sizes=[image.shape[:2]])
    return np.array([TAXONOMY.id_of("road"), TAXONOMY.id_of("sign"), VOID])[ids.numpy()]


def test_a_folder_of_transformers_finds_the_classes_that_it_names(folder, capfd):
    found = find_segmap(IMAGE, TAXONOMY, f"hf:{folder}")
    assert found.segmap.dtype == np.uint8
    assert np.array_equal(found.segmap, expected(folder, IMAGE))
    lost = 100 * (found.segmap == VOID).mean()
    assert 0 < lost < 100
    (said,) = found.warnings
    assert said == f"{lost:.3g} % of the picture is void: camvid11 has no counterpart of sofa (hf:{folder})."
    huggingface.load.cache_clear()
    capfd.readouterr()
    find_segmap(IMAGE, TAXONOMY, f"hf:{folder}")
    assert capfd.readouterr() == ("", "")


def test_classes_may_be_named_anew(folder, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("sky\nsky\nsky\n")
    found = find_segmap(IMAGE, TAXONOMY, f"hf:{folder}", names)
    assert (found.segmap == 0).all()
    assert found.warnings == ()
    with pytest.raises(ModelError, match="logits of 3 classes, and camvid11 has 11 classes"):
        find_segmap(IMAGE, TAXONOMY, f"hf:{folder}", "camvid11")


def test_a_model_is_loaded_once_for_all_pictures(folder, monkeypatch):
    made = []
    load = huggingface.HubSegmenter.__init__
    monkeypatch.setattr(huggingface.HubSegmenter, "__init__", lambda *given: (made.append(given[1]), load(*given))[1])
    for size in ((64, 48), (16, 700)):
        assert find_segmap(scene(1, *size).image, TAXONOMY, f"hf:{folder}").segmap.shape == size[::-1]
    assert made == [str(folder)]


def test_pictures_that_a_model_takes_at_any_size_are_segmented_small(transformers, tmp_path):
    path = write(transformers, tmp_path / "free", "SegformerForSemanticSegmentation", do_resize=False)
    assert find_segmap(IMAGE, TAXONOMY, f"hf:{path}").segmap.shape == (64, 96)
    large = np.zeros((900, 20, 3), np.uint8)
    assert find_segmap(large, TAXONOMY, f"hf:{path}").segmap.shape == (900, 20)


def test_a_repository_is_fetched_by_name_and_revision(folder, tmp_path, monkeypatch):
    asked = []

    def snapshot(repository, revision, allow_patterns):
        asked.append((repository, revision, tuple(allow_patterns)))
        return str(folder if repository == "org/tiny" else tmp_path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot))
    monkeypatch.chdir(tmp_path)
    assert find_segmap(IMAGE, TAXONOMY, "hf:org/tiny@v1").segmap.shape == (64, 96)
    assert asked == [("org/tiny", "v1", ("*.json", "*.safetensors"))]
    with pytest.raises(ModelError, match="hf:org/none is no segmenter that transformers can load"):
        find_segmap(IMAGE, TAXONOMY, "hf:org/none")
    assert asked[1:] == [("org/none", None, ("*.json", kind)) for kind in ("*.safetensors", "*.bin")]


# -- what cannot be used ----------------------------------------------------------------------------------------------


def test_a_name_that_the_hub_does_not_have_is_a_sentence(transformers, monkeypatch):
    def snapshot(repository, revision, allow_patterns):
        raise OSError("Repository Not Found\nand more")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot))
    with pytest.raises(ModelError, match=r"hf:org/other cannot be fetched: Repository Not Found$"):
        find_segmap(IMAGE, TAXONOMY, "hf:org/other")


def test_a_backbone_that_was_not_trained_to_segment_is_refused(transformers, tmp_path):
    path = write(transformers, tmp_path / "backbone", "SegformerForImageClassification")
    with pytest.raises(ModelError, match="was not trained to segment: it has no weights 'decode_head"):
        find_segmap(IMAGE, TAXONOMY, f"hf:{path}")


def test_a_model_whose_weights_are_no_numbers_is_an_error(folder, monkeypatch):
    model = huggingface.load(str(folder))
    next(model._network.parameters()).data.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"gives float32 of shape 1×3×64×96 with NaN or infinity"):
        find_segmap(IMAGE, TAXONOMY, f"hf:{folder}")


def test_a_model_of_other_things_is_refused(folder, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("LABEL_0\nLABEL_1\nLABEL_2\n")
    with pytest.raises(InputError, match="None of the classes of"):
        find_segmap(IMAGE, TAXONOMY, f"hf:{folder}", names)


@pytest.mark.parametrize("package", ["transformers", "torch"])
def test_without_the_packages_the_extra_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=re.escape(install("hf"))):
        find_segmap(IMAGE, TAXONOMY, "hf:org/tiny")
