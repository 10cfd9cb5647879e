"""`sempic train` as a user meets it: in processes of its own, on scenes drawn on the spot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from PIL import Image
from stand_in import scene
from typer.testing import CliRunner

from sempic.cli import app
from sempic.errors import InputError
from sempic.extras import install
from sempic.training import config, run

COMMAND = [sys.executable, "-c", "from sempic.cli import main; main()"]
TINY = ("--data", "folder:mine", "batch=1", "precision=fp32", "log_every=1", "warm_up=1", "workers=0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    (folder / "mine").mkdir()
    for seed in range(2):
        drawn = scene(seed, 192, 144)
        Image.fromarray(drawn.image).save(folder / "mine" / f"{seed}.png")
        Image.fromarray(drawn.segmap).save(folder / "mine" / f"{seed}.label.png")
    return folder


def sempic(folder: Path, *arguments: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [*launcher, *COMMAND, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode in (1, 2), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_double_batch(folder):
    widths = "widths=[16,16,16]"
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python")
    for name, launcher, more in (("two", torchrun, ()), ("one", (), ("accumulate=2",))):
        arguments = ("train", "sqgan-map", *TINY, "steps=10", widths, *more, "--out", name)
        done = sempic(folder, *arguments, launcher=launcher)
        assert done.returncode == 0, done.stderr
    two, one = log(folder / "two"), log(folder / "one")
    assert [row["step"] for row in two] == list(range(1, 11))
    for mine, theirs in zip(two, one, strict=True):
        assert mine["cross_entropy"] == pytest.approx(theirs["cross_entropy"], abs=1e-4)
    assert two[-1]["cross_entropy"] < two[0]["cross_entropy"] - 0.1  # so that they agree on something that was learnt


def here(folder: Path, *arguments: str) -> Any:
    """Run a command in this process, which has loaded torch already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(app, arguments)


def test_a_run_stops_and_goes_on_and_is_never_replaced(folder):
    arguments = ("train", "sqgan-map", *TINY, "steps=3", "widths=[16,16,16]", "--out", "again")
    stopped = here(folder, *arguments, "--max-minutes", "0.00001")
    assert "sempic train --resume again resumes it" in stopped.output
    assert "--resume again" in str(here(folder, *arguments).exception)
    assert "as it was started" in here(folder, "train", "--resume", "again", "steps=4").output
    assert "again: done" in here(folder, "train", "--resume", "again").output
    assert [row["step"] for row in log(folder / "again")] == [1, 2, 3]
    assert {"waiting", "steps_per_second", "cross_entropy", "codes"} <= log(folder / "again")[-1].keys()
    assert Image.open(folder / "again" / "step-000003.png").width > 100


def test_a_dry_run_prints_everything_and_writes_nothing(folder):
    done = here(folder, "train", "sqgan-map", *TINY, "widths=[16,16,16]", "--dry-run")
    assert "widths = [16, 16, 16]" in done.output
    assert "parameters; a step takes" in done.output
    assert not (folder / "runs" / "sqgan-map").exists()


def test_tensorboard_is_optional(tmp_path, monkeypatch):
    options, module = config.load("spic", ["tensorboard=true"]), "torch.utils.tensorboard"
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match="pip install tensorboard"), run._progress(options, tmp_path, True):
        pass
    writer = Mock()
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(SummaryWriter=writer))
    with run._progress(options, tmp_path, True) as watch:
        watch(1, None)
        watch(2, {"step": 2, "l1": 0.5})
    assert writer.call_args.args == (tmp_path / "tensorboard",)
    assert [call.args for call in writer().add_scalar.call_args_list] == [("step", 2, 2), ("l1", 0.5, 2)]
    assert writer().close.called


def test_sq_gan_is_trained_in_three_stages(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(
        run, "_train", lambda out, minutes, quiet: trained.append(out.relative_to(tmp_path)) or len(trained) != 2
    )
    run.start(tmp_path / "r", "sqgan", ["steps=5", "variance_covariance=0.25"])
    stages = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("r/**/config.json")}
    assert {name: stage["steps"] for name, stage in stages.items()} == {"r": 5, "sqgan-map": 5, "sqgan-image": 5}
    assert (stages["r"]["predicted"], stages["sqgan-image"]["variance_covariance"]) == (True, 0.25)
    assert not run.resume(tmp_path / "r", None)
    assert run.resume(tmp_path / "r", None)
    first, second, last = Path("r/sqgan-map"), Path("r/sqgan-image"), Path("r")
    assert trained == [first, second, first, second, last]
    run.start(tmp_path / "s", "sqgan", ["init=sqgan-camvid11"])
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["config.json"]


def test_mistakes_are_said_before_torch_is_loaded(folder):
    assert "no recipe" in complaint(sempic(folder, "train", "nonsense"))
    assert "Name a recipe" in complaint(sempic(folder, "train"))
    for _ in range(2):  # what never began may be begun again
        assert "no pictures in 'folder:absent'" in str(here(folder, "train", "spic", "data=folder:absent").exception)


def test_without_pytorch_a_sentence_says_how_to_get_it(folder):
    hide = "import sys; sys.modules['torch'] = None; from sempic.cli import main; main()"
    command = [sys.executable, "-c", hide, "train", "spic"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"sempic: Training needs the package torch: {install('train')}.\n"
