"""Training data: loading, cropping, pasting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from stand_in import scene

from sempic import datasets
from sempic.coding import palette
from sempic.datasets import Frame
from sempic.errors import InputError
from sempic.taxonomy import load as load_taxonomy
from sempic.training import data
from sempic.training.options import PASTED
from sempic.training.sampler import CropSampler, Pool, Source, colour_planes
from sempic.training.sqgan import random_fractions

TAXONOMY = load_taxonomy("camvid11")
CAR, PEDESTRIAN = TAXONOMY.id_of("car"), TAXONOMY.id_of("pedestrian")


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
    (street,), (photo,) = ([p.read(TAXONOMY) for p in datasets.find(name)] for name in ("camvid:train", "photos"))
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


def sampler(share: float, pedestrians: bool = True, crop: int = 64, **colours: float) -> CropSampler:
    street = flat(50, 3)
    if pedestrians:
        street.segmap[10:30, 10:20] = PEDESTRIAN
        street.image[10:30, 10:20] = 250
    photo = flat(120, None)
    predicted = np.full((64, 64), 4, np.uint8), np.full((64, 64), 5, np.uint8)
    of_street, of_photo = Source(street, predicted[0], TAXONOMY), Source(photo, predicted[1], TAXONOMY)
    pools = Pool([of_street], share), Pool([of_photo], 1 - share)
    return CropSampler(pools, TAXONOMY, crop, PASTED, **colours)


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
    images, send, labels, _ = sampler(1.0).draw(12, True, np.random.default_rng(0))
    pasted = send == PEDESTRIAN  # the prediction knows no pedestrian, so these were pasted
    assert pasted.any((1, 2)).sum() >= 4
    assert (labels[pasted] == PEDESTRIAN).all()
    assert images.mean(1)[pasted].min() > images.mean(1)[labels == 3].max()


def two_halves() -> tuple[np.ndarray, np.ndarray]:
    """A road, dark on the left and light on the right, and what its segmap calls it."""
    image = np.full((64, 64, 3), 40, np.uint8)
    image[:, 32:] = 200
    return image, np.full((64, 64), 3, np.uint8)


@pytest.mark.parametrize("hue", [0.0, 1.0])
def test_colours_are_those_of_classes_in_the_whole_picture(hue):
    image, segmap = two_halves()
    source = Source(Frame("", image, None), segmap, TAXONOMY)
    drawn = CropSampler([Pool([source], 1.0)], TAXONOMY, 16, hue=hue).draw(4, True, np.random.default_rng(0))
    assert drawn.colours.shape == (4, 3, 4, 4)
    assert drawn.colours.dtype == torch.float32
    assert drawn.colours.std((2, 3)).max() < 1e-6
    whole = data.random_jitter(0, np.random.default_rng(0))(image).mean((0, 1)) / 255
    assert abs(drawn.colours.mean() - whole.mean()) < 0.15  # jittered
    assert drawn.images.std((2, 3)).max() > 0.1  # while crops are of one half or the other


def test_planes_have_the_colours_of_objects_and_grey_for_void():
    image, segmap = two_halves()
    segmap[8:24, 8:24] = segmap[8:24, 40:56] = CAR
    image[8:24, 8:24], image[8:24, 40:56] = (150, 70, 60), (60, 80, 150)
    segmap[60:, 60:] = CAR  # one cell is no object
    segmap[:4] = 255
    levels = palette.quantise(np.full((11, 3), 64.0))
    plain = colour_planes(image, segmap, levels)
    assert plain.shape == (3, 16, 16)
    assert np.allclose(plain[:, 1:], palette.colours(levels)[0, 0])
    assert (plain[:, 0] == 0.5).all()
    planes = colour_planes(image, segmap, levels, [CAR])
    changed = (planes != plain).any(0)
    assert changed[2:6, 2:6].all()
    assert changed[2:6, 10:14].all()
    assert changed.sum() == 32
    assert np.abs(planes[:, 3, 3] * 255 - (150, 70, 60)).max() <= 10
    assert np.abs(planes[:, 3, 11] * 255 - (60, 80, 150)).max() <= 10


def test_crops_have_the_colours_of_objects_as_often_as_asked():
    image, segmap = two_halves()
    segmap[:, :28] = segmap[:, 36:] = CAR  # a dark one and a light one
    source = Source(Frame("", image, None), segmap, TAXONOMY)
    for share in (0.0, 1.0):
        made = CropSampler([Pool([source], 1.0)], TAXONOMY, 32, object_colours=share)
        images, send, _, colours = made.draw(8, True, np.random.default_rng(0))
        cells = torch.nn.functional.avg_pool2d(images, 4)
        cars = (torch.nn.functional.avg_pool2d((send == CAR).float()[:, None], 4) == 1).expand(-1, 3, -1, -1)
        assert cars.any()
        assert ((cells - colours)[cars].abs().max() < 0.05) == bool(share)


def test_tints_colour_what_is_pasted_and_cars_where_they_are():
    def saturation(images: torch.Tensor, places: torch.Tensor) -> float:
        return float((images.amax(1) - images.amin(1))[places].mean())

    for tint, least, most in ((0.0, 0.0, 0.15), (1.0, 0.3, 1.0)):
        images, send, _, _ = sampler(1.0, tint=tint).draw(12, True, np.random.default_rng(0))
        assert least <= saturation(images, send == PEDESTRIAN) <= most
        frame = flat(150, 3)
        frame.segmap[20:50, 20:50] = CAR
        source = Source(frame, frame.segmap, TAXONOMY)
        made = CropSampler([Pool([source], 1.0)], TAXONOMY, 64, PASTED, tint=tint)
        images, send, _, _ = made.draw(12, True, np.random.default_rng(0))
        assert least / 2 <= saturation(images, send == CAR) <= most
        assert saturation(images, send == 3) < 0.1


def test_a_rotation_of_hue_keeps_grey_and_brightness_and_turns_colours():
    greys = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[:, None], 3, 1)
    colours = np.array([[120, 90, 100], [90, 120, 110]], np.uint8)
    turned = []
    for seed in range(6):
        hue = data.random_hue(np.random.default_rng(seed))
        assert np.abs(hue(greys).astype(int) - greys).max() <= 1
        assert np.abs((hue(colours) - colours.astype(float)) @ data.LUMA).max() < 2
        turned.append(hue(colours))
    assert np.std(turned, 0).max() > 10


def test_a_tint_keeps_brightness():
    colours = np.full((1, 3), 100, np.uint8)
    tinted = [data.random_tint(np.random.default_rng(seed))(colours)[0] for seed in range(20)]
    unclipped = [colour for colour in tinted if colour.max() < 255]
    assert np.abs(np.array(unclipped) @ data.LUMA - 100).max() < 2
    assert np.ptp(tinted, 1).min() > 20


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
