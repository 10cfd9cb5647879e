"""Models on disk: found by name, folder or fingerprint, and checked before they run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import stand_in

from sempic import runtime
from sempic.errors import InputError, ModelError
from sempic.runtime import Card, Model

NETWORK = stand_in.segmenter_network(stride=2)


def install(root: Path, name: str, kind: str = "segmenter", content: bytes = NETWORK) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "segmenter.onnx").write_bytes(content)
    np.savez(folder / runtime.TABLES, codes=np.arange(6))
    stand_in.write_card(folder, kind)
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that SEMPIC_MODELS names; nothing else is installed."""
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setenv("SEMPIC_MODELS", str(folder))
    monkeypatch.setattr(runtime, "SHIPPED", tmp_path / "shipped")
    return folder


def test_a_model_runs_and_brings_its_tables(root):
    folder = install(root, "one")
    model = runtime.model("one")
    assert model.folder == folder
    assert model.card.kind == "segmenter"
    assert model.size == sum((folder / name).stat().st_size for name in model.card.files)
    assert list(model.tables["codes"]) == [0, 1, 2, 3, 4, 5]
    network = model.network("segmenter")
    assert network is model.network("segmenter")
    assert network.inputs == {"image": ["n", 3, "h", "w"]}
    (logits,) = network.run(image=np.zeros((1, 3, 8, 6), np.float32))
    assert logits.shape == (1, 11, 4, 3)


def test_a_folder_is_as_good_as_a_name(root, tmp_path):
    folder = install(tmp_path / "elsewhere", "two")
    assert runtime.model(str(folder)).card.name == "two"
    assert runtime.models() == []


def test_an_unknown_model_is_an_error_that_lists_the_known_ones(root):
    with pytest.raises(ModelError, match="installed are: none"):
        runtime.model("absent")
    install(root, "b")
    install(root, "a")
    with pytest.raises(ModelError, match=r"'absent'.*installed are: a, b"):
        runtime.model("absent")


def test_own_models_come_before_the_shipped_ones_in_the_order_of_the_variable(root, tmp_path, monkeypatch):
    shipped = install(runtime.SHIPPED, "same", content=b"shipped")
    install(runtime.SHIPPED, "only-shipped")
    first, second = tmp_path / "first", tmp_path / "second"
    later = install(second, "same", content=b"second")
    assert runtime.model("same").folder == shipped
    monkeypatch.setenv("SEMPIC_MODELS", os.pathsep.join(["", str(first), str(second)]))
    assert runtime.model("same").folder == later
    earlier = install(first, "same", content=b"first")
    assert runtime.model("same").folder == earlier
    assert [m.card.name for m in runtime.models()] == ["only-shipped", "same"]
    assert runtime.model("only-shipped").folder.parent == runtime.SHIPPED


def test_streams_find_their_model_by_kind_and_fingerprint(root):
    install(root, "a", kind="judge")
    mark = runtime.model("a").card.fingerprint
    assert runtime.model_of_stream("judge", mark).card.name == "a"
    for kind, number in (("sqgan", mark), ("judge", mark ^ 1)):
        with pytest.raises(ModelError, match=f"{kind}.*{number:04x}"):
            runtime.model_of_stream(kind, number)


def test_a_stream_finds_its_model_behind_another_of_the_same_name(root):
    install(runtime.SHIPPED, "same", content=b"the one that the stream was made with")
    mark = Model(runtime.SHIPPED / "same").card.fingerprint
    install(root, "same", content=b"a newer one")
    assert runtime.model("same").folder.parent == root
    assert runtime.model_of_stream("segmenter", mark).folder.parent == runtime.SHIPPED


def test_a_stream_finds_the_model_that_is_handed_over(root, tmp_path):
    folder = install(tmp_path / "elsewhere", "mine")
    given = runtime.model(str(folder))
    with pytest.raises(ModelError, match=r"not installed; name the model that it was made with \(--model\)"):
        runtime.model_of_stream("segmenter", given.card.fingerprint)
    assert runtime.model_of_stream("segmenter", given.card.fingerprint, given) is given
    with pytest.raises(ModelError):  # it is not remembered
        runtime.model_of_stream("segmenter", given.card.fingerprint)
    with pytest.raises(ModelError, match="needs a sqgan model"):
        runtime.model_of_stream("sqgan", given.card.fingerprint, given)


def test_a_model_of_another_kind_is_refused(root):
    install(root, "one")
    assert runtime.model("one", "segmenter").card.name == "one"
    with pytest.raises(ModelError, match="The model 'one' is of kind segmenter; a sqgan is needed"):
        runtime.model("one", "sqgan")


def test_the_default_model_of_a_kind_is_the_shipped_one_before_others(root):
    with pytest.raises(ModelError, match="No segmenter is installed; name the folder or address of one"):
        runtime.default("segmenter")
    install(root, "a-first-by-name")
    assert runtime.model("", "segmenter").card.name == "a-first-by-name"
    install(runtime.SHIPPED, "shipped")
    assert runtime.default("segmenter").folder == runtime.SHIPPED / "shipped"
    own = install(root, "shipped", content=stand_in.segmenter_network())
    assert runtime.default("segmenter").folder == own
    assert runtime.default("segmenter", "camvid11").folder == own
    with pytest.raises(ModelError, match="No segmenter for the classes of cityscapes19 is installed"):
        runtime.default("segmenter", "cityscapes19")
    card = json.loads((root / "a-first-by-name" / "card.json").read_text())
    other = install(root, "other")
    (other / "card.json").write_text(json.dumps(card | {"name": "other", "taxonomy": "cityscapes19"}))
    assert runtime.default("segmenter", "cityscapes19").folder == other


def test_the_fingerprint_is_of_the_files_alone():
    files = {"b.onnx": "22" * 32, "a.onnx": "11" * 32}
    card = Card("x", "sqgan", "", "camvid11", 5, files)
    assert card.fingerprint == 0xCA90  # written into streams: it never changes
    other = Card("y", "judge", "else", "camvid11", 6, dict(sorted(files.items())), {"steps": 3})
    assert other.fingerprint == card.fingerprint
    assert Card("x", "sqgan", "", "camvid11", 5, {**files, "b.onnx": "23" * 32}).fingerprint != card.fingerprint


CARD = {"name": "x", "kind": "sqgan", "summary": "", "taxonomy": "camvid11", "parameters": 1, "files": {}}
BAD_CARDS = [CARD | {"more": 1}, CARD | {"files": ["a"]}, CARD | {"files": {"a": 1}}, {"name": "x"}, {}, [], 7]


@pytest.mark.parametrize("text", [None, "", "{", b"\xff\xfe\x00", *map(json.dumps, BAD_CARDS)])
def test_a_bad_card_is_a_model_error(tmp_path, text):
    if isinstance(text, bytes):
        (tmp_path / "card.json").write_bytes(text)
    elif text is not None:
        (tmp_path / "card.json").write_text(text)
    with pytest.raises(ModelError, match="card"):
        Model(tmp_path)


@pytest.mark.parametrize("name", ["segmenter.onnx", "tables.npz"])
@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "unlisted"])
def test_a_damaged_file_is_refused(root, name, harm):
    folder = install(root, "one")
    path = folder / name
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif harm == "cut":
        path.write_bytes(data[:-1])
    elif harm == "gone":
        path.unlink()
    else:
        card = json.loads((folder / "card.json").read_text())
        del card["files"][name]
        (folder / "card.json").write_text(json.dumps(card))
    model = Model(folder)
    with pytest.raises(ModelError, match=name):
        _ = model.tables if name == runtime.TABLES else model.network("segmenter")


def test_a_file_that_is_no_network_is_refused_by_name(root):
    install(root, "one", content=b"not a network")
    with pytest.raises(ModelError, match="one/segmenter"):
        runtime.model("one").network("segmenter")
    with pytest.raises(ModelError, match=r"absent\.onnx"):
        runtime.Network(root / "absent.onnx", "absent.onnx")


@pytest.mark.sqgan
def test_the_shipped_models_are_whole():
    for model in map(Model, sorted(p.parent for p in runtime.SHIPPED.glob("*/card.json"))):
        assert model.card.name == model.folder.name
        assert runtime.hashes(model.folder, model.card.files) == model.card.files


def test_threads_that_are_no_number_are_named(monkeypatch):
    monkeypatch.setenv(runtime.THREADS, "many")
    with pytest.raises(InputError, match="'many'; it must be a number"):
        runtime.Network(b"", "none")
