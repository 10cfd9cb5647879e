"""Training data: loading, cropping, pasting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from stand_in import scene

from sempic import datasets
from sempic.datasets import Frame
from sempic.errors import InputError
from sempic.taxonomy import CAMVID11
from sempic.training import data
from sempic.training.recipe_sqgan import random_fractions
from sempic.training.sampler import Pool, Sampler, Source


def frame(seed: int = 0, width: int = 96, height: int = 72) -> Frame:
    drawn = scene(seed, width, height)
    return Frame(f"scene-{seed}", drawn.image, drawn.segmap)


def flat(value: int, label: int | None, size: int = 64) -> Frame:
    segmap = None if label is None else np.full((size, size), label, np.uint8)
    return Frame("flat", np.full((size, size, 3), value, np.uint8), segmap)


def test_camvid_and_photos_load_from_a_folder(tmp_path, monkeypatch):
    camvid = tmp_path / "camvid" / "train"
    for folder in (camvid / "image", camvid / "label", tmp_path / "photos"):
        folder.mkdir(parents=True)
    picture = frame()
    label = np.where(picture.segmap == 0, 11, picture.segmap).astype(np.uint8)
    Image.fromarray(picture.image).save(camvid / "image" / "b.png")
    Image.fromarray(label).save(camvid / "label" / "b.png")
    Image.fromarray(picture.image).save(tmp_path / "photos" / "p.webp", lossless=True)
    monkeypatch.setenv("SEMPIC_DATA", str(tmp_path))
    (street,), (photo,) = ([p.read() for p in datasets.find(name)] for name in ("camvid:train", "photos"))
    assert (street.name, photo.name) == ("b", "p.webp")
    assert np.array_equal(street.image, picture.image)
    assert np.array_equal(photo.image, picture.image)
    assert photo.segmap is None
    assert np.array_equal(street.segmap == 255, picture.segmap == 0)
    monkeypatch.setenv("SEMPIC_DATA", str(tmp_path / "absent"))
    with pytest.raises(InputError, match="SEMPIC_DATA"):
        datasets.data_root()


@pytest.mark.parametrize("size", [32, 64, 100])
def test_crops_keep_picture_and_segmap_together(size):
    ids = np.kron(np.arange(11)[:, None] + np.zeros((1, 8)), np.ones((8, 8))).astype(np.uint8)
    marked = Frame("", np.stack([ids * 20] * 3, 2), ids)
    for seed in range(10):
        image, segmap = data.random_crop(marked, size, (0.5, 2.0), np.random.default_rng(seed))
        assert image.shape == (size, size, 3)
        assert segmap.shape == (size, size)
        assert (np.abs(image[..., 0] / 20 - segmap) < 1.1).all()
        again = data.random_crop(marked, size, (0.5, 2.0), np.random.default_rng(seed))
        assert np.array_equal(image, again[0])


def test_pictures_without_labels_crop_to_void():
    assert (data.random_crop(flat(90, None), 32, (1, 1), np.random.default_rng(0))[1] == 255).all()


def test_jitter_changes_light_and_nothing_else():
    image = frame().image
    jitter = data.random_jitter(0.2, np.random.default_rng(0))
    changed = jitter(image)
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, image)
    assert np.corrcoef(changed.ravel(), image.ravel())[0, 1] > 0.9
    assert np.array_equal(jitter(image[5:7, 3]), changed[5:7, 3])
    assert np.array_equal(data.random_jitter(0, np.random.default_rng(0))(image), image)


def test_tensors_are_in_0_to_1_and_ids_whole():
    images, ids = data.to_tensors([(frame(seed).image, frame(seed).segmap) for seed in range(2)])
    assert images.shape == (2, 3, 72, 96)
    assert images.dtype == torch.float32
    assert 0 <= images.min() <= images.max() <= 1
    assert ids.shape == (2, 72, 96)
    assert ids.dtype == torch.int64


def sampler(share: float, pedestrians: bool = True, crop: int = 64) -> Sampler:
    street = flat(50, 3)
    if pedestrians:
        street.segmap[10:30, 10:20] = CAMVID11.id_of("pedestrian")
        street.image[10:30, 10:20] = 250
    photo = flat(120, None)
    predicted = np.full((64, 64), 4, np.uint8), np.full((64, 64), 5, np.uint8)
    pools = Pool([Source(street, predicted[0])], share), Pool([Source(photo, predicted[1])], 1 - share)
    return Sampler(pools, crop)


def test_street_scenes_have_labels_and_photos_their_prediction():
    rng = np.random.default_rng(0)
    images, send, labels, _ = sampler(0.0).draw(3, False, rng)
    assert images.shape == (3, 3, 64, 64)
    assert (send == 5).all()
    assert (labels == 5).all()
    images, send, labels, _ = sampler(1.0, pedestrians=False).draw(3, True, rng)
    assert (send == 4).all()
    assert (labels == 3).all()
    assert (sampler(1.0, pedestrians=False).draw(3, False, rng)[1] == 3).all()


def test_rare_things_are_pasted_into_the_picture_and_both_maps():
    label = CAMVID11.id_of("pedestrian")
    images, send, labels, _ = sampler(1.0).draw(12, True, np.random.default_rng(0))
    pasted = send == label  # the prediction knows no pedestrian, so these were pasted
    assert pasted.any((1, 2)).sum() >= 4
    assert (labels[pasted] == label).all()
    assert images.mean(1)[pasted].min() > images.mean(1)[labels == 3].max()


def test_palettes_have_the_colours_of_the_whole_picture():
    images, _, _, palettes = sampler(0.0).draw(3, True, np.random.default_rng(0))
    assert palettes.shape == (3, 11, 3)
    assert (palettes[:, 5] - images.mean((2, 3))).abs().max() < 0.04
    assert (palettes[:, :5] - 0.5).abs().max() < 0.2  # classes that are not there are a middle grey, jittered


def test_the_same_generator_draws_the_same_batch():
    one, other = (sampler(0.5).draw(4, True, np.random.default_rng(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_kept_fractions_reach_from_nothing_to_everything():
    fractions = random_fractions(4000, np.random.default_rng(0))
    assert 0.3 < (fractions == 1).float().mean() < 0.36
    assert 0.03 < (fractions == 0).float().mean() < 0.07
    between = fractions[(fractions > 0) & (fractions < 1)]
    assert between.min() > 0.05
    assert 0.45 < between.mean() < 0.6
