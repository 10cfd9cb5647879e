"""Models of other classes than the shipped ones: a list of three from a file, and Cityscapes' nineteen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from stand_in import scene

import sempic
from sempic import runtime, taxonomy
from sempic.errors import InputError
from sempic.taxonomy import VOID, Taxonomy
from sempic.training import config, export, options, recipe, tables, weights
from sempic.training.loop import train

TOY = {
    "name": "toy",
    "classes": {"above": [0, 0, 250], "ground": [90, 90, 90], "car": [250, 0, 0]},
    "merged": {"sky": "above", "building": "above", "road": "ground", "pavement": "ground"},
}
SIZE = 384, 256
"""Of all pictures here: networks are exported for it alone, which takes a fraction of the time."""
TINY = {
    "segmenter": ("crop=64",),
    "judge": ("crop=64",),
    "sqgan-map": ("widths=[16,16,16]", "layers=1"),
    "sqgan-image": ("widths=[16,16,16,16]", "blocks=[1,1]", "layers=1", "adversarial_from=0"),
    "layered": ("widths=[16,16,16,16]", "blocks=[1,1]", "crop=64", "adversarial_from=0"),
    "spic": ("widths=[16,16,16,16]", "blocks=[1,1]", "crop=64", "adversarial_from=0", "init="),
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("taxonomy") / "toy.json"
    path.write_text(json.dumps(TOY))
    return str(path)


@pytest.fixture(params=["toy", "cityscapes19"])
def chosen(request: pytest.FixtureRequest, toy: str) -> str:
    """The name or file of a taxonomy."""
    return toy if request.param == "toy" else request.param


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and exports that take little time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEMPIC_MODELS", str(tmp_path / "models"))
    fit, write = tables.fit_network, weights.write
    monkeypatch.setattr(tables, "fit_network", lambda *given, **more: fit(*given, **more | {"steps": 2, "width": 8}))
    monkeypatch.setattr(weights, "write", lambda *given: write(*given[:-1], {name: {} for name in given[-1]}))


def labels(seed: int, classes: Taxonomy) -> np.ndarray:
    """A scene's segmap in other classes, where they have them."""
    names = taxonomy.load("camvid11").classes
    other = {"pavement": "sidewalk", "tree": "vegetation", "pedestrian": "person", "bicyclist": "rider"}
    own = [other.get(name, name) if classes.name == "cityscapes19" else name for name in names]
    return classes.ids_of(dict(enumerate(own)))[scene(seed, *SIZE).segmap]


def pictures(classes: Taxonomy, labelled: bool = True) -> str:
    """Write a folder of two scenes."""
    folder = Path("mine")
    folder.mkdir(exist_ok=True)
    for seed in range(2):
        Image.fromarray(scene(seed, *SIZE).image).save(folder / f"{seed}.png")
        if labelled:
            Image.fromarray(labels(seed, classes)).save(folder / f"{seed}.label.png")
    return str(folder)


def load(name: str, chosen: str) -> options.RunOptions:
    given = ("data=folder:mine", "steps=1", "batch=1", "precision=fp32", f"taxonomy={chosen}", *TINY[name])
    return config.load(name, given)


def trained(name: str, chosen: str) -> Path:
    """Take one step of a recipe on the folder's pictures; return the run."""
    run, settings = Path("runs") / name, load(name, chosen)
    config.save(settings, run)
    assert train(recipe.build(settings), run, settings)
    return run


def row(run: Path) -> dict[str, float]:
    return json.loads((run / "log.jsonl").read_text().splitlines()[-1])


@pytest.mark.parametrize("name", list(TINY))
def test_a_step_of_every_kind(name, chosen):
    pictures(taxonomy.load(chosen))
    made = row(trained(name, chosen))
    assert all(np.isfinite(value) for value in made.values())
    draws = name in ("sqgan-image", "layered", "spic")
    assert ("perceptual" in made) == draws
    # Of the three classes no segmenter is installed: another one's features are used, and what it predicts is not.
    assert ("semantic" in made) == (draws and chosen == "cityscapes19")


@pytest.mark.slow
def test_three_classes_from_nothing_to_a_picture(toy):
    """A segmenter first, which then predicts the segmaps of pictures that nobody has labelled."""
    classes = taxonomy.load(toy)
    pictures(classes)
    export.export(trained("segmenter", toy), Path("models/segmenter-toy"))
    assert runtime.default("segmenter", "toy").taxonomy == classes
    for label in Path("mine").glob("*.label.png"):
        label.unlink()
    run = trained("layered", toy)
    assert row(run)["semantic"] > 0
    done = export.export(run, Path("models/layered-toy"))
    assert done.model.card.taxonomy == TOY
    assert done.model.card.training["metrics"]["pictures"] == 2

    image = scene(5, *SIZE).image
    data = sempic.encode(image, "layered:model=layered-toy")
    decoded = sempic.decode(data)
    assert decoded.image.shape == image.shape
    assert decoded.taxonomy == classes
    assert set(np.unique(decoded.segmap)) <= {0, 1, 2, VOID}
    assert sempic.inspect(data).taxonomy == "toy"


@pytest.mark.slow
def test_nineteen_classes_where_segmaps_are_handed_in():
    classes = taxonomy.load("cityscapes19")
    pictures(classes)
    done = export.export(trained("layered", "cityscapes19"), Path("models/layered-19"))
    assert done.model.card.taxonomy == classes.to_json()
    segmap = labels(5, classes)
    Image.fromarray(segmap).save("segmap.png")
    data = sempic.encode(scene(5, *SIZE).image, "layered:model=layered-19+map=full+simplify=0+segmap=segmap.png")
    decoded = sempic.decode(data)
    assert decoded.taxonomy == classes
    assert np.array_equal(decoded.segmap, segmap)
    assert len(np.unique(segmap)) > 5


def test_pictures_without_labels_or_segmenter_are_one_sentence(toy):
    pictures(taxonomy.load(toy), labelled=False)
    with pytest.raises(InputError, match="no segmenter for the classes of toy is installed"):
        recipe.build(load("layered", toy))


def test_a_model_of_other_classes_is_no_start(toy):
    pictures(taxonomy.load(toy))
    settings = config.load(
        "layered", ["data=folder:mine", f"taxonomy={toy}", "init=layered-camvid11", *TINY["layered"]]
    )
    with pytest.raises(InputError, match="has the classes of camvid11; with those of toy, start from another model"):
        recipe.build(settings)


def test_a_run_starts_from_a_run(toy):
    pictures(taxonomy.load(toy))
    first = trained("layered", toy)
    settings = config.load("layered", ["data=folder:mine", f"taxonomy={toy}", f"init={first}", *TINY["layered"]])
    made, state = recipe.build(settings), torch.load(first / "state.pt", weights_only=True)
    assert all(torch.equal(value, state["ema"][key]) for key, value in made.networks.state_dict().items())
