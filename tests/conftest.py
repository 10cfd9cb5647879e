"""What the tests share: where the data lies, and which tests need what is not always there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sempic import runtime

REPO = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sqgan: needs the shipped SQ-GAN weights")
    config.addinivalue_line("markers", "slow: takes more than five seconds; -m 'not slow' leaves it out")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if any(model.card.kind == "sqgan" for model in runtime.models()):
        return
    absent = pytest.mark.skip(reason=f"no SQ-GAN weights in {runtime.SHIPPED}")
    for item in items:
        if item.get_closest_marker("sqgan"):
            item.add_marker(absent)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of data sets, from SEMPIC_DATA or beside the repository."""
    folder = Path(os.environ.get("SEMPIC_DATA") or REPO.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}; name its folder in SEMPIC_DATA")
    return folder


@pytest.fixture(scope="session")
def camvid(data: Path) -> Path:
    """CamVid's folder, with `train`, `val` and `test`."""
    folder = data / "camvid"
    if not folder.is_dir():
        pytest.skip(f"no CamVid in {data}")
    return folder
