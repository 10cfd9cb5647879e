"""Data sets by name: what is found, what labels mean, and what is said of files that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sempic import datasets, inventory, taxonomy
from sempic.errors import InputError
from sempic.labels import classes_of
from sempic.taxonomy import VOID, Taxonomy

ELEVEN, NINETEEN = taxonomy.load("camvid11"), taxonomy.load("cityscapes19")


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def test_a_folder_of_pictures_has_no_labels(tmp_path, picture):
    write(tmp_path / "b.png", picture)
    write(tmp_path / "a.png", picture[..., 0])
    frames = [found.read() for found in datasets.find(str(tmp_path))]
    assert [frame.name for frame in frames] == ["a.png", "b.png"]
    assert np.array_equal(frames[1].image, picture)
    assert frames[0].image.shape == picture.shape
    assert all(frame.segmap is None for frame in frames)


def test_a_folder_with_labels_is_read_as_ids_of_the_taxonomy(tmp_path, picture):
    labels = np.arange(24 * 32, dtype=np.uint8).reshape(24, 32)
    write(tmp_path / "image" / "one.png", picture)
    write(tmp_path / "image" / "two.png", picture)
    write(tmp_path / "label" / "one.png", labels)
    one, two = (found.read(ELEVEN) for found in datasets.find(str(tmp_path)))
    assert np.array_equal(one.segmap, np.where(labels < 11, labels, VOID))
    assert two.segmap is None
    with_void = Taxonomy("toy", ("a", "b", "c"), ((1, 1, 1),) * 3, void=(1,))
    segmap = datasets.find(str(tmp_path))[0].read(with_void).segmap
    assert np.array_equal(segmap, np.where((labels < 3) & (labels != 1), labels, VOID))
    assert datasets.find(str(tmp_path))[0].read().segmap is None


def test_camvid_is_found_by_its_split(tmp_path, picture, monkeypatch):
    monkeypatch.setenv("SEMPIC_DATA", str(tmp_path))
    write(tmp_path / "camvid" / "val" / "image" / "one.png", picture)
    write(tmp_path / "camvid" / "val" / "label" / "one.png", np.full((24, 32), 11, np.uint8))
    (found,) = datasets.find("camvid:val")
    assert (found.read(ELEVEN).segmap == VOID).all()
    with pytest.raises(InputError, match="no pictures in 'camvid:tset'"):
        datasets.find("camvid:tset")


def test_cityscapes_labels_become_ids_of_the_taxonomy(tmp_path, picture, monkeypatch):
    monkeypatch.setenv("SEMPIC_DATA", str(tmp_path))
    root, name = tmp_path / "cityscapes", "bonn_000001_000019"
    labels = np.zeros((24, 32), np.uint8)
    labels[:8], labels[8:16] = 26, 24
    write(root / "leftImg8bit" / "val" / "bonn" / f"{name}_leftImg8bit.png", picture)
    write(root / "gtFine" / "val" / "bonn" / f"{name}_gtFine_labelIds.png", labels)
    (root / "leftImg8bit" / "val" / "bonn" / f"._{name}_leftImg8bit.png").write_bytes(b"x")
    (found,) = datasets.find("cityscapes:val")
    for classes, names in ((ELEVEN, ("car", "pedestrian")), (NINETEEN, ("car", "person"))):
        frame = found.read(classes)
        assert frame.name == name
        assert (frame.segmap[:8] == classes.id_of(names[0])).all()
        assert (frame.segmap[8:16] == classes.id_of(names[1])).all()
        assert (frame.segmap[16:] == VOID).all()


def test_what_cannot_be_read_is_an_error_that_names_it(tmp_path, picture):
    write(tmp_path / "image" / "fits-not.png", picture)
    write(tmp_path / "label" / "fits-not.png", np.zeros((5, 5), np.uint8))
    (tmp_path / "image" / "text.png").write_text("no picture")
    unfit, text = datasets.find(str(tmp_path))
    with pytest.raises(InputError, match="fits-not"):
        unfit.read(ELEVEN)
    with pytest.raises(InputError, match=r"text cannot be read"):
        text.read()
    with pytest.raises(InputError, match="no pictures"):
        datasets.find(str(tmp_path / "nowhere"))


def test_labels_may_lie_beside_their_pictures(tmp_path, picture):
    write(tmp_path / "a.png", picture)
    write(tmp_path / "a.label.png", np.full((24, 32), 5, np.uint8))
    write(tmp_path / "b.png", picture)
    (tmp_path / ".hidden").write_text("")
    a, b = (found.read(ELEVEN) for found in datasets.find(f"folder:{tmp_path}"))
    assert (a.name, b.name) == ("a.png", "b.png")
    assert (a.segmap == 5).all()
    assert b.segmap is None


def test_full_names_tell_pictures_of_one_stem_apart(tmp_path, picture):
    other = picture[:, ::-1].copy()
    write(tmp_path / "image" / "f0.png", picture)
    write(tmp_path / "image" / "f0.jpg", other)
    write(tmp_path / "image" / "f1.webp", picture)
    for label, value in (("f0.png", 3), ("f1.png", 4)):
        write(tmp_path / "label" / label, np.full((24, 32), value, np.uint8))
    found = {frame.name: frame for frame in (one.read(ELEVEN) for one in datasets.find(str(tmp_path)))}
    assert list(found) == ["f0.jpg", "f0.png", "f1"]
    assert found["f0.jpg"].segmap is None
    assert (found["f0.png"].segmap == 3).all()
    assert (found["f1"].segmap == 4).all()
    assert np.array_equal(found["f0.png"].image, picture)
    (tmp_path / "image" / "f0.png").rename(tmp_path / "image" / "f0.tif.webp")
    write(tmp_path / "image" / "f0.tif", picture)
    (part,) = inventory.check(str(tmp_path)).parts
    assert (part.pictures, part.labelled, part.unused) == (4, 1, ("f0.png",)), "nothing says whose label f0.png is"
    write(tmp_path / "label" / "f0.jpg.png", np.full((24, 32), 5, np.uint8))
    assert (datasets.find(str(tmp_path))[0].read(ELEVEN).segmap == 5).all()


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("c7.png", "c7_L.png"),
        ("c7.PNG", "c7.PNG"),
        ("c7.JPG", "c7.png"),
        ("C7.jpg", "c7.PNG"),
        ("c7_L.png", "c7_L.png"),
        ("c7.webp", "c7.label.png"),
        ("c7.jpg", "c7_gtFine_labelIds.png"),
        ("c7_leftImg8bit.png", "c7_gtFine_labelIds.png"),
        ("c7_leftImg8bit.png", "c7_gtFine_labelTrainIds.png"),
        ("c7.tif", "c7_labelTrainIds.png"),
        ("c7.jpg", "c7.jpg.png"),
    ],
)
def test_labels_are_found_under_the_names_that_data_sets_give_them(tmp_path, picture, image, label):
    kind = classes_of(label) or dict(enumerate(NINETEEN.classes))
    stored = next(number for number, name in kind.items() if name == "car")
    write(tmp_path / "two" / "image" / image, picture)
    write(tmp_path / "two" / "label" / label, np.full((24, 32), stored, np.uint8))
    (found,) = datasets.find(str(tmp_path / "two"))
    assert (found.read(NINETEEN).segmap == NINETEEN.id_of("car")).all()
    assert inventory.check(str(tmp_path / "two")).missing == ()
    if image.lower() != label.lower() and label != "c7.jpg.png" and label.lower() != "c7.png":
        write(tmp_path / "one" / image, picture)
        write(tmp_path / "one" / label, np.full((24, 32), stored, np.uint8))
        (found,) = datasets.find(str(tmp_path / "one"))
        assert (found.read(NINETEEN).segmap == NINETEEN.id_of("car")).all()


def test_a_picture_may_have_the_name_of_a_label(tmp_path, picture):
    write(tmp_path / "left_L.png", picture)
    write(tmp_path / "right_R.png", picture)
    assert [(one.name, one.label) for one in datasets.find(str(tmp_path))] == [
        ("left_L.png", None),
        ("right_R.png", None),
    ]


@pytest.mark.parametrize("layout", [".", "image"])
def test_hidden_files_and_files_of_other_kinds_are_no_pictures(tmp_path, picture, layout):
    write(tmp_path / layout / "a.png", picture)
    for name in (".DS_Store", "._a.png", ".hidden.png", "Thumbs.db", "notes.txt", "a.json"):
        (tmp_path / layout / name).write_bytes(b"x")
    (tmp_path / layout / "folder.png").mkdir()
    assert [one.path.name for one in datasets.find(str(tmp_path))] == ["a.png"]
    assert inventory.check(str(tmp_path)).missing == ()


def test_colours_of_camvid_are_labels(tmp_path, picture):
    write(tmp_path / "image" / "a.png", picture)
    write(tmp_path / "label" / "a_L.png", np.full((24, 32, 3), (64, 0, 128), np.uint8))
    assert inventory.check(str(tmp_path)).missing == ()
    assert (datasets.find(str(tmp_path))[0].read(ELEVEN).segmap == ELEVEN.id_of("car")).all()


def test_pictures_are_compared_with_their_labels_upright(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / "phone.jpg", exif=exif)
    write(tmp_path / "phone.label.png", np.zeros((32, 24), np.uint8))
    assert datasets.find(str(tmp_path))[0].read(ELEVEN).segmap.shape == (32, 24)
    found = inventory.check(str(tmp_path))
    assert found.missing == ()
    assert found.parts[0].smallest == (24, 32)


def test_the_check_refuses_what_reading_refuses(tmp_path, picture):
    write(tmp_path / "cut.png", picture)
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    write(tmp_path / "tiny.png", picture[:8])
    write(tmp_path / "deep.tif", picture[..., 0].astype(np.int32))
    write(tmp_path / "good.png", picture)
    write(tmp_path / "photo.png", picture)
    write(tmp_path / "photo.label.png", picture)
    Image.new("1", (9000, 9000)).save(tmp_path / "huge.png")
    refused = {}
    for one in datasets.find(str(tmp_path)):
        try:
            one.read(ELEVEN)
        except InputError as error:
            refused[one.name] = str(error)
    calls = []
    (part,) = inventory.check(str(tmp_path), lambda done, total: calls.append((done, total))).parts
    assert list(part.unreadable) == list(refused) == ["cut.png", "deep.tif", "huge.png", "photo.png", "tiny.png"]
    assert all(name in sentence for name, sentence in zip(part.unreadable, part.reasons, strict=True))
    assert calls == [(number, 6) for number in range(1, 7)]


def test_an_unknown_home_folder_is_named():
    for wrong in ("~nobody-of-that-name/a", "folder:~nobody-of-that-name"):
        for look in (datasets.find, inventory.check):
            with pytest.raises(InputError, match="no home folder for '~nobody-of-that-name'"):
                look(wrong)


def test_a_mixture_names_data_and_weights():
    assert datasets.mixture("camvid:train=3, photos=0.5") == [("camvid:train", 3), ("photos", 0.5)]
    assert datasets.mixture("cityscapes,folder:my/pictures") == [("cityscapes:train", 1), ("folder:my/pictures", 1)]
    for wrong in ("camvid=0", "camvid=-1", "camvid=many", "", "photos,", "=3", "photos=inf"):
        with pytest.raises(InputError, match="NAME=WEIGHT"):
            datasets.mixture(wrong)


# -- what is there ----------------------------------------------------------------------------------------------------


def test_a_complete_folder_lacks_nothing(tmp_path, picture):
    write(tmp_path / "a.png", picture)
    write(tmp_path / "b.png", picture[:20])
    write(tmp_path / "b.label.png", np.zeros((20, 32), np.uint8))
    found = inventory.check(str(tmp_path))
    assert (found.kind, found.missing, found.how) == ("folder", (), "")
    (part,) = found.parts
    assert (part.pictures, part.labelled, part.smallest, part.largest) == (2, 1, (32, 20), (32, 24))


def test_what_a_folder_lacks_is_said(tmp_path, picture):
    write(tmp_path / "a.png", picture)
    write(tmp_path / "a.label.png", np.zeros((5, 5), np.uint8))
    (tmp_path / "b.png").write_text("no picture")
    found = inventory.check(f"folder:{tmp_path}")
    assert found.parts[0].unreadable == ("a.png", "b.png")
    assert "cannot be used: a.png, b.png" in found.missing[0]
    assert str(tmp_path) in found.how
    with pytest.raises(InputError, match="no folder"):
        inventory.check(str(tmp_path / "nowhere"))


def test_known_data_sets_are_counted_by_split(tmp_path, picture, monkeypatch):
    monkeypatch.setenv("SEMPIC_DATA", str(tmp_path))
    monkeypatch.setitem(inventory.EXPECTED, "camvid", {"train": 1, "val": 2})
    write(tmp_path / "camvid" / "train" / "image" / "one.png", picture)
    write(tmp_path / "camvid" / "train" / "label" / "one.png", np.zeros((24, 32), np.uint8))
    assert inventory.check("camvid:train").missing == ()
    found = inventory.check("camvid")
    assert [part.pictures for part in found.parts] == [1, 0]
    assert found.missing == ("val has no pictures.",)
    assert "SegNet" in found.how
    write(tmp_path / "camvid" / "val" / "image" / "one.png", picture)
    assert inventory.check(str(tmp_path / "camvid")).missing == (
        "val has 1 of 2 pictures.",
        "val has no labels for 1 of 1 pictures.",
    )


def test_a_data_set_that_is_not_here_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMPIC_DATA", str(tmp_path))
    found = inventory.check("cityscapes")
    assert found.missing == ("train has no pictures.", "val has no pictures.", "test has no pictures.")
    assert "Register at https://www.cityscapes-dataset.com" in found.how
    assert str(tmp_path / "cityscapes") in found.how
    monkeypatch.setenv("SEMPIC_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="set SEMPIC_DATA to the folder that holds"):
        inventory.check("cityscapes")


def test_cityscapes_without_its_labels_says_which_archive_holds_them(tmp_path, picture):
    write(tmp_path / "leftImg8bit" / "val" / "bonn" / "bonn_0_leftImg8bit.png", picture)
    found = inventory.check(str(tmp_path))
    assert found.kind == "cityscapes"
    assert "val has 1 of 500 pictures." in found.missing
    assert "val has no labels for 1 of 1 pictures." in found.missing
    assert "gtFine_trainvaltest.zip" in found.how
