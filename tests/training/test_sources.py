"""Training pictures with predicted segmaps, and the mixtures that they are drawn in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stand_in import scene

from sempic import datasets, runtime, taxonomy
from sempic.datasets import Frame
from sempic.errors import InputError, ModelError, SempicWarning
from sempic.training import sources
from sempic.training.sampler import CropSampler, Pool, Source

TAXONOMY = taxonomy.load("camvid11")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures, one with labels; what the segmenter is asked for is counted."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    for seed in range(3):
        drawn = scene(seed, 96, 72)
        Image.fromarray(drawn.image).save(folder / f"{seed}.png")
    Image.fromarray(scene(0, 96, 72).segmap).save(folder / "0.label.png")
    return folder


def labelled(folder: Path) -> str:
    """Label the other two pictures as well."""
    for seed in (1, 2):
        Image.fromarray(scene(seed, 96, 72).segmap).save(folder / f"{seed}.label.png")
    return str(folder)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of all pictures that were segmented, as class 4 all over."""
    shapes: list[tuple[int, ...]] = []

    def predicted(image, taxonomy):
        shapes.append(image.shape)
        return np.full(image.shape[:2], 4, np.uint8)

    monkeypatch.setattr(sources, "segment", predicted)
    return shapes


def test_maps_are_predicted_once(folder, asked):
    for _ in range(2):
        ((pictures, weight),) = sources.pools(f"folder:{folder}=2", TAXONOMY)
    assert asked == 3 * [(72, 96, 3)]
    assert weight == 2
    assert len(pictures) == 3
    assert all((source.predicted == 4).all() for source in pictures)
    assert [source.frame.segmap is None for source in pictures] == [False, True, True]
    assert [source.frame.name for source in pictures[1:]] == ["1.png", "2.png"]


def test_the_cache_depends_on_the_segmenter(folder, asked, monkeypatch):
    sources.pools(str(folder), TAXONOMY)
    card = runtime.default("segmenter").card
    monkeypatch.setattr(type(card), "fingerprint", card.fingerprint ^ 1)
    sources.pools(str(folder), TAXONOMY)
    assert len(asked) == 6


def test_without_a_segmenter_labels_take_the_place_of_predictions(folder, asked, monkeypatch):
    def none(kind, taxonomy=""):
        raise ModelError("none is installed")

    monkeypatch.setattr(runtime, "default", none)
    with pytest.raises(InputError, match=r"1.png has no labels, and no segmenter for the classes of camvid11"):
        sources.Pictures(datasets.find(str(folder)), TAXONOMY)
    with pytest.warns(SempicWarning, match="labels are used as predictions"):
        ((pictures, _),) = sources.pools(labelled(folder), TAXONOMY)
    assert not asked
    for source in pictures:
        assert source.predicted is source.frame.segmap


@pytest.mark.parametrize("held", [sources.HELD, 0])
def test_pictures_that_cannot_be_read_are_left_out_and_counted(folder, asked, monkeypatch, held):
    monkeypatch.setattr(sources, "HELD", held)
    (folder / "0.png").write_bytes(b"no picture")
    Image.new("L", (5, 5)).save(folder / "2.label.png")
    steps = []
    with pytest.warns(SempicWarning, match=r"2 of 3 pictures of .* are left out; the first one: 0.png cannot be read"):
        ((pictures, _),) = sources.pools(str(folder), TAXONOMY, progress=lambda *at: steps.append(at))
    assert [source.frame.name for source in pictures] == ["1.png"]
    assert list(pictures.left_out) == ["0.png", "2.png"]
    assert steps[-1][0] == steps[-1][1]
    (folder / "1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"None of the pictures could be used; the first one: 0.png cannot be read"):
        sources.pools(str(folder), TAXONOMY)


def test_large_sets_are_read_picture_by_picture(folder, asked, monkeypatch):
    ((held, _),) = sources.pools(str(folder), TAXONOMY)
    monkeypatch.setattr(sources, "HELD", 0)
    ((read, _),) = sources.pools(str(folder), TAXONOMY)
    assert held[1] is held[1]
    assert read[1] is not read[1]
    assert np.array_equal(held[1].frame.image, read[1].frame.image)
    assert np.array_equal(held[1].levels, read[1].levels)


def test_pictures_and_labels_shrink_to_the_longest_side(folder, asked):
    ((pictures, _),) = sources.pools(str(folder), TAXONOMY, longest_side=48, limit=2)
    assert len(pictures) == 2
    assert asked == 2 * [(36, 48, 3)]
    assert pictures[0].frame.image.shape == (36, 48, 3)
    assert pictures[0].frame.segmap.shape == pictures[0].predicted.shape == (36, 48)
    frame = Frame("", np.zeros((4, 90, 3), np.uint8), None)
    assert sources.shrunk(frame, 90) is frame
    assert sources.shrunk(frame, 10).image.shape == (1, 10, 3)


def test_another_file_is_other_data(folder):
    before = sources.fingerprint(str(folder))
    assert sources.fingerprint(f"folder:{folder}=3") == before
    Image.fromarray(scene(5, 96, 72).image).save(folder / "9.png")
    assert sources.fingerprint(str(folder)) != before


def test_weights_are_shares_of_what_is_drawn():
    pools = []
    for value, weight in ((50, 3.0), (120, 1.0), (200, 0.0001)):
        frame = Frame("", np.full((32, 32, 3), value, np.uint8), None)
        pools.append(Pool([Source(frame, np.full((32, 32), value // 50, np.uint8), TAXONOMY)], weight))
    _, send, *_ = CropSampler(pools, TAXONOMY, 32).draw(400, True, np.random.default_rng(0))
    counts = np.bincount(send[:, 0, 0].numpy(), minlength=len(TAXONOMY))
    assert counts[1] + counts[2] == 400
    assert 270 < counts[1] < 330


def test_cityscapes_is_drawn_from_as_it_is_handed_out(tmp_path, asked, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEMPIC_DATA", str(tmp_path))
    drawn, name = scene(0, 192, 96), "bonn_000001_000019"
    picture = tmp_path / "cityscapes" / "leftImg8bit" / "train" / "bonn" / f"{name}_leftImg8bit.png"
    labels = tmp_path / "cityscapes" / "gtFine" / "train" / "bonn" / f"{name}_gtFine_labelIds.png"
    for path, pixels in ((picture, drawn.image), (labels, np.full((96, 192), 7, np.uint8))):
        path.parent.mkdir(parents=True)
        Image.fromarray(pixels).save(path)
    drawn_from = CropSampler(sources.pools("cityscapes", TAXONOMY, 128), TAXONOMY, 32)
    images, send, labels, _ = drawn_from.draw(2, True, np.random.default_rng(0))
    assert images.shape == (2, 3, 32, 32)
    assert asked == [(64, 128, 3)]
    assert (send == 4).all()
    assert (labels == TAXONOMY.id_of("road")).all()
    ((own, _),) = sources.pools("cityscapes", taxonomy.load("cityscapes19"), 128)
    assert (own[0].frame.segmap == 0).all()  # in the other taxonomy, roads come first
