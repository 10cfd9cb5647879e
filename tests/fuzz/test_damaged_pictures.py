"""A small fixed budget of damaged picture files; `python tests/fuzz/run.py --pictures` spends a larger one.

SEMPIC_PICTURE_FILES=20000 asks for more.
"""

from __future__ import annotations

import os
from random import Random

import pictures
import pytest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Pillow's, of modes that it will not write
FILES = int(os.environ.get("SEMPIC_PICTURE_FILES") or 150)


@pytest.fixture(scope="module")
def seeds() -> list[bytes]:
    return pictures.seeds()


def test_good_files_are_pictures(seeds: list[bytes]) -> None:
    accepted = sum(map(pictures.check, seeds))
    assert accepted > 0.8 * len(seeds), "others have values of an unknown range, or are stubs"


def test_damaged_files_are_pictures_or_refused(seeds: list[bytes]) -> None:
    for number in range(FILES):
        chance = Random(number)
        pictures.check(pictures.mutate(chance.choice(seeds), chance, seeds))
