"""The table of pictures a second: networks that take any number of pictures."""

from __future__ import annotations

import pytest

from sempic.training import throughput


def test_a_network_takes_several_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "ROWS", 8)
    monkeypatch.setattr(throughput, "COLUMNS", 8)
    monkeypatch.setattr(throughput, "BATCHES", (1, 3))
    one = ("layered", "decode")
    monkeypatch.setattr(throughput, "NETWORKS", {one: throughput.NETWORKS[one]})
    ((codec, method, device, rates),) = throughput.measure()
    assert (codec, method) == one
    assert device
    assert len(rates) == 2
    assert min(rates) > 0
