"""Whether a picture is of the kind that a segmenter was trained for: the score, and how it is calibrated."""

from __future__ import annotations

import json
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import stand_in
from command import call
from PIL import Image
from stand_in import TAXONOMY

from sempic import datasets, runtime
from sempic.errors import InputError, ModelError
from sempic.scene import draw
from sempic.segmap.domain import Domain, layout, of_model
from sempic.segmap.segmenter import find_segmap, logits


def plain(**more: object) -> dict[str, object]:
    """What a card may say: the more road there is below, the likelier a street."""
    weights = {name: [0.0, 0.0, 6.0 if name == "road" else 0.0] for name in TAXONOMY.classes}
    return {"name": "a street scene", "threshold": 0.5, "bias": -3.0, "weights": weights} | more


@pytest.fixture
def segmenter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a segmenter that knows nothing of its domain."""
    stand_in.make_segmenter(tmp_path)
    monkeypatch.setenv("SEMPIC_MODELS", str(tmp_path))
    return tmp_path / stand_in.SEGMENTER


# -- the score --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (3, 4), (64, 48), (90, 120), (400, 700)])
def test_a_layout_has_the_shares_in_each_third(height, width):
    ids = np.zeros((height, width), int)
    ids[height // 2 :] = 3
    sure = 30.0 * (ids == np.arange(len(TAXONOMY))[:, None, None])
    found = np.exp(layout(sure.astype(np.float32)).reshape(-1, 3))
    assert found.shape == (len(TAXONOMY), 3)
    assert found.sum(0) == pytest.approx([1, 1, 1], abs=0.02)
    assert found[3, 2] == pytest.approx(1, abs=0.01)
    if height > 1:
        assert found[0, 0] == pytest.approx(1, abs=0.01)
        assert height < 9 or found[3, 1] == pytest.approx(0.5, abs=0.05)


def test_the_probability_follows_the_weights_and_may_be_extreme():
    domain = Domain.of_card(plain(), TAXONOMY)
    road, none = np.zeros(3 * len(TAXONOMY)), np.zeros(3 * len(TAXONOMY))
    road[3 * 3 + 2] = 1
    assert domain.probability(road) == pytest.approx(1 / (1 + np.exp(-3)))
    assert domain.probability(none) == pytest.approx(1 / (1 + np.exp(3)))
    assert domain.is_outside(none)
    assert not domain.is_outside(road)
    assert Domain.of_card(plain(bias=1e5), TAXONOMY).probability(none) == 1
    assert Domain.of_card(plain(bias=-1e5), TAXONOMY).probability(none) == 0


@pytest.mark.parametrize(
    "wrong", [{"weights": {"road": [1, 2, 3]}}, {"weights": {name: [1] for name in TAXONOMY.classes}}, {"bias": None}]
)
def test_a_card_that_makes_no_sense_is_named(segmenter, wrong):
    card = json.loads((segmenter / "card.json").read_text())
    (segmenter / "card.json").write_text(json.dumps(card | {"domain": plain(**wrong)}))
    with pytest.raises(ModelError, match="The domain in the card of segmenter-camvid11 cannot be used: it "):
        find_segmap(draw(0, 64, 48).image, TAXONOMY)


def test_nothing_is_said_without_a_calibration(segmenter):
    assert of_model(runtime.default("segmenter", TAXONOMY.name)) is None
    assert find_segmap(np.zeros((48, 64, 3), np.uint8), TAXONOMY).outside == ""


def test_the_network_runs_once(segmenter, monkeypatch):
    card = json.loads((segmenter / "card.json").read_text())
    (segmenter / "card.json").write_text(json.dumps(card | {"domain": plain()}))
    runs, run = [], runtime.Network.run
    monkeypatch.setattr(runtime.Network, "run", lambda self, **x: (runs.append(self.name), run(self, **x))[1])
    assert find_segmap(np.zeros((48, 64, 3), np.uint8), TAXONOMY).outside == "a street scene"
    assert len(runs) == 1


# -- calibrating ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Streets, and the same streets upside down, one of them upright by mistake."""
    root = tmp_path_factory.mktemp("pictures")
    for kind in ("streets", "others"):
        (root / kind).mkdir()
    for seed in range(12):
        image = draw(seed, 96, 64).image
        Image.fromarray(image).save(root / "streets" / f"street-{seed}.png")
        Image.fromarray(image[::-1]).save(root / "others" / f"other-{seed}.png")
    Image.fromarray(image).save(root / "others" / "upright.png")
    (root / "left-out.txt").write_text("upright\n")
    return root


def test_one_command_calibrates_a_segmenter(segmenter, folders):
    given = ("--inside", "streets", "--outside", "others", "--shown", "", "--left-out", "left-out.txt")
    done = call(folders, "calibrate", stand_in.SEGMENTER, *given, "--name", "a drawing", "--json")
    assert done.returncode == 0, done.stderr.decode()
    streets, others = json.loads(done.stdout)
    assert (streets["data"], streets["role"], others["role"]) == ("streets", "inside", "outside")
    assert streets["fitted"] + streets["held_out"] == others["fitted"] + others["held_out"] == 12
    assert min(streets["fitted"], streets["held_out"]) > 0
    assert streets["fitted_warned"] == streets["held_out_warned"] == 0
    assert min(others["fitted_warned"], others["held_out_warned"]) > 0.8

    model = runtime.Model(segmenter)
    assert model.card.domain["warned"] == [streets, others]
    domain = of_model(model)
    assert domain is not None
    scenes = [draw(seed, 160, 120).image for seed in range(20, 26)]
    assert not any(domain.is_outside(layout(logits(model, image))) for image in scenes)
    assert sum(domain.is_outside(layout(logits(model, image[::-1]))) for image in scenes) > 4

    table = call(folders, "calibrate", segmenter, *given).stdout.decode()
    assert "0.0% of" in table
    assert "outside" in table


def test_what_cannot_be_calibrated_gets_a_sentence(segmenter, folders):
    assert (
        b"There are no pictures to fit on"
        in call(folders, "calibrate", stand_in.SEGMENTER, "--inside", "streets", "--outside", "", "--shown", "").stderr
    )
    assert (
        b"There are no pictures in"
        in call(folders, "calibrate", stand_in.SEGMENTER, "--inside", "nowhere", "--outside", "others").stderr
    )


# -- the shipped segmenter --------------------------------------------------------------------------------------------


def shipped() -> runtime.Model:
    """The segmenter that encoders use by default."""
    return runtime.default("segmenter", runtime.default("sqgan").taxonomy.name)


def warned(pictures: list[datasets.Picture]) -> float:
    """Return the share of pictures that the shipped segmenter's calibration warns about."""
    domain = of_model(shipped())
    assert domain is not None
    return float(np.mean([domain.is_outside(layout(logits(shipped(), one.read().image))) for one in pictures]))


@pytest.mark.sqgan
def test_the_card_has_error_rates_that_are_good_enough():
    rates = {one["data"]: one for one in shipped().card.domain["warned"]}
    assert max(rates["camvid:val"]["fitted_warned"], rates["camvid:val"]["held_out_warned"]) <= 0.02
    assert rates["camvid:test"]["fitted"] == 0
    outside = [one for one in rates.values() if one["role"] == "outside"]
    count = sum(one["held_out"] for one in outside)
    assert count > 500
    assert sum(one["held_out"] * one["held_out_warned"] for one in outside) / count >= 0.9


@pytest.mark.sqgan
def test_drawn_streets_are_streets():
    domain = of_model(shipped())
    assert domain is not None
    assert not any(domain.is_outside(layout(logits(shipped(), draw(seed).image))) for seed in (0, 7))


@pytest.mark.sqgan
def test_frames_of_val_are_not_warned_about(camvid):
    assert warned(datasets.find("camvid:val")[::20]) == 0


@pytest.mark.sqgan
def test_held_out_photos_of_other_things_are(data):
    from sempic.training.calibrate import STREETS

    photos = [one for kind in ("imagenet", "bsds") for one in datasets.find(f"photos:{kind}-*")]
    streets = STREETS.read_text().split()
    held_out = [one for one in photos if crc32(one.path.stem.encode()) % 2 and one.path.stem not in streets]
    assert warned(held_out[::35]) >= 0.85  # of 20; the card has the share of all


def test_the_list_of_streets_names_photos(data):
    from sempic.training.calibrate import STREETS

    names = STREETS.read_text().split()
    assert names == sorted(set(names))
    assert set(names) <= {one.path.stem for one in datasets.find("photos")}


def test_photos_are_found_by_pattern(data):
    roads = datasets.find("photos:road-*")
    assert roads
    assert all(one.name.startswith("road-") for one in roads)
    with pytest.raises(InputError, match="There are no pictures"):
        datasets.find("photos:nothing-*")
