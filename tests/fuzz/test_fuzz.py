"""A small fixed budget of hostile and damaged streams; `python tests/fuzz/run.py` spends a larger one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import hostile
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from sempic import container
from sempic.codecs.layered import Layered
from sempic.codecs.spic import Spic
from sempic.codecs.sqgan import SqGan
from sempic.container import Section


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[bytes]]:
    """Good streams of all codecs, whose models are loaded."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMPIC_MODELS", str(folder))
        yield hostile.seeds(folder)


def small(examples: int) -> budget:
    return budget(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@given(st.randoms(use_true_random=False))
@small(100)
def test_no_stream_breaks_a_bound(streams: list[bytes], chance: Random) -> None:
    with hostile.nothing_drawn():
        hostile.check(hostile.mutate(chance.choice(streams), chance, streams))


@given(st.randoms(use_true_random=False))
@small(100)
def test_damage_is_an_error_or_warned_of(streams: list[bytes], chance: Random) -> None:
    original = chance.choice(streams)
    with hostile.nothing_drawn():
        hostile.check_damage(original, hostile.damage(original, chance))


@given(st.randoms(use_true_random=False))
@small(5)
def test_networks_draw_what_hostile_streams_hold(streams: list[bytes], chance: Random) -> None:
    drawn = [
        data for data in streams if data.startswith(container.MAGIC) and data[3] in (SqGan.id, Layered.id, Spic.id)
    ]
    hostile.check(hostile.mutate(chance.choice(drawn), chance, drawn))


@pytest.mark.parametrize(
    ("codec", "payload", "side"),
    [
        (SqGan.id, b"\x01\0", 800),
        (SqGan.id, b"\x08\0", 1280),
        (Layered.id, b"\x08\0\0", 1280),
        (Spic.id, b"\x08\0", 1280),
    ],
)
def test_a_few_bytes_for_a_large_picture_take_bounded_memory(
    streams: list[bytes], codec: int, payload: bytes, side: int
) -> None:
    headers = [container.read(data).header for data in streams if data.startswith(container.MAGIC)]
    header = next((header for header in headers if header.codec == codec), None)
    if header is None:
        pytest.skip("no weights of this codec")
    with hostile.nothing_drawn():
        assert hostile.check(container.write(replace(header, width=side, height=side), [Section(1, payload)]))


@pytest.mark.slow
def test_the_long_run_counts_and_reports(streams: list[bytes], tmp_path: Path) -> None:
    run = [sys.executable, str(Path(__file__).with_name("run.py")), "--models", os.environ["SEMPIC_MODELS"]]
    done = subprocess.run(
        [*run, "--executions", "5", "--report", "log.json"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "log.json").read_text())
    assert report["executions"] == 5
    assert report["findings"] == []
