"""The teacher of 19 classes: its weights fit, it reads streets, and labels of 11 classes become labels of 19."""

from __future__ import annotations

import numpy as np
import pytest
from command import call
from PIL import Image

from sempic import datasets
from sempic.bench.judge import Score
from sempic.errors import InputError
from sempic.taxonomy import VOID, load
from sempic.training import teacher

COARSE, FINE = load("camvid11"), load("cityscapes19")


@pytest.fixture(scope="module")
def network() -> teacher.ESPNetv2:
    try:
        return teacher.load()
    except InputError as absent:
        pytest.skip(str(absent))


def test_it_reads_streets(network, camvid):
    score, merged = Score(COARSE), COARSE.ids_of(dict(enumerate(FINE.classes)))
    for path in sorted((camvid / "val" / "image").glob("*.webp"))[::50]:
        labels = COARSE.label_ids()[np.asarray(Image.open(camvid / "val" / "label" / f"{path.stem}.png"))]
        shares = teacher.probabilities(network, np.asarray(Image.open(path).convert("RGB")))
        score.add(labels, merged[shares.argmax(0)])
        finer = teacher.children(shares, labels, COARSE, FINE)
        assert np.array_equal(finer == VOID, labels == VOID)
        assert np.array_equal(merged[finer], labels)
    assert score.miou() > 0.5


def test_labels_are_refined_by_the_command_line(network, camvid, tmp_path):
    source = tmp_path / "coarse"
    for folder, path in (("image", camvid / "val" / "image"), ("label", camvid / "val" / "label")):
        (source / folder).mkdir(parents=True)
        first = min(path.iterdir())
        (source / folder / first.name).write_bytes(first.read_bytes())
    done = call(tmp_path, "data", "refine", "coarse", COARSE.name, FINE.name, "-o", "fine")
    assert (done.returncode, done.stderr) == (0, b"")
    (before,), (after,) = datasets.find(str(source)), datasets.find(str(tmp_path / "fine"))
    coarse, fine = before.read(COARSE), after.read(FINE)
    assert np.array_equal(fine.image, coarse.image)
    merged = COARSE.ids_of(dict(enumerate(FINE.classes)))
    assert np.array_equal(merged[fine.segmap], coarse.segmap)
    again = call(tmp_path, "data", "refine", "coarse", COARSE.name, FINE.name, "-o", "fine")
    assert again.returncode == 1
    assert b"exists" in again.stderr


def test_children_are_those_that_are_merged_into_the_true_class():
    labels = np.full((8, 8), COARSE.id_of("sign"), np.uint8)
    labels[:, 4:], labels[0] = COARSE.id_of("road"), VOID
    shares = np.zeros((20, 8, 8), np.float32)
    shares[FINE.id_of("car")] = 0.9  # impossible under these labels
    shares[FINE.id_of("traffic light")], shares[FINE.id_of("traffic sign")] = 0.07, 0.03
    found = teacher.children(shares, labels, COARSE, FINE)
    assert (found[0] == VOID).all()
    assert (found[1:, :4] == FINE.id_of("traffic light")).all()
    assert (found[1:, 4:] == FINE.id_of("road")).all()


def test_absent_weights_are_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMPIC_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match="espnetv2"):
        teacher.load()
