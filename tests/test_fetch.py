"""Models from an address: fetched once, checked, and never half there."""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import stand_in

from sempic import fetch, runtime
from sempic.errors import ModelError

PLACE = "https://models.example/seg"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder that stands at PLACE; what was asked for is listed in `asked`."""
    stand_in.make_segmenter(tmp_path)
    folder = tmp_path / stand_in.SEGMENTER
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def opened(address: str, timeout: float) -> BytesIO:
        asked.append(address)
        path = folder / address.removeprefix(f"{PLACE}/")
        if not path.is_file():
            raise OSError("HTTP Error 404")
        return BytesIO(path.read_bytes())

    monkeypatch.setattr(fetch, "urlopen", opened)
    asked.clear()
    return folder


asked: list[str] = []


def kept(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "sempic" / "models").iterdir())


def test_a_model_is_fetched_once_and_known_to_streams(served, tmp_path):
    model = runtime.model(PLACE, "segmenter")
    assert model.network("segmenter").inputs
    count = len(asked)
    assert runtime.model(PLACE) is model
    assert len(asked) == count == 2
    assert runtime.model_of_stream("segmenter", model.card.fingerprint, model) is model
    with pytest.raises(ModelError, match="not installed"):
        runtime.model_of_stream("segmenter", model.card.fingerprint ^ 1, model)
    assert len(kept(tmp_path)) == 1
    with pytest.raises(ModelError, match="of kind segmenter; a sqgan is needed"):
        runtime.model(PLACE, "sqgan")


def test_a_card_may_be_pinned(served, tmp_path):
    digest = sha256((served / "card.json").read_bytes()).hexdigest()
    assert fetch.fetch(f"{PLACE}/#sha256={digest}").is_dir()
    with pytest.raises(ModelError, match="not the one that the address names"):
        fetch.fetch(f"{PLACE}#sha256={digest[::-1]}")


def test_what_is_not_what_it_should_be_leaves_nothing_behind(served, tmp_path):
    card = json.loads((served / "card.json").read_text())
    (served / "segmenter.onnx").write_bytes(b"something else")
    with pytest.raises(ModelError, match="not the file that its card describes"):
        fetch.fetch(PLACE)
    for name in ("../evil.onnx", "a/b.onnx", "card.json"):
        (served / "card.json").write_text(json.dumps(card | {"files": {name: ""}}))
        with pytest.raises(ModelError, match="no plain file name"):
            fetch.fetch(PLACE)
    (served / "card.json").write_text("[]")
    with pytest.raises(ModelError, match="no model's card"):
        fetch.fetch(PLACE)
    (served / "card.json").unlink()
    with pytest.raises(ModelError, match=r"cannot be fetched: HTTP Error 404"):
        fetch.fetch(PLACE)
    assert kept(tmp_path) == []
    assert not (tmp_path / "evil.onnx").exists()


def test_addresses_that_nobody_can_trust_are_refused(served):
    with pytest.raises(ModelError, match="give an https address"):
        runtime.model("http://models.example/seg")
    assert asked == []


def test_the_hub_is_asked_through_its_own_package(served, monkeypatch):
    def snapshot(repository, revision, allow_patterns):
        if repository != "org/seg":
            raise RuntimeError("Repository Not Found\nand more")
        assert revision == "v1"
        assert "card.json" in allow_patterns
        return str(served)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot))
    assert runtime.model("hf:org/seg@v1").card.kind == "segmenter"
    with pytest.raises(ModelError, match=r"hf:org/other cannot be fetched: Repository Not Found$"):
        runtime.model("hf:org/other")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match="pip install huggingface_hub"):
        runtime.model("hf:org/seg")
