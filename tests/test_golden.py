"""Golden streams of SQ-GAN: what was written once is read the same for ever, or refused by name.

New weights have a new fingerprint, so a stream made with earlier ones must end in a `ModelError` that says so.
`SEMPIC_GOLDEN=write pytest tests/test_golden.py` adds a stream for the weights that are installed.
"""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

import sempic
from sempic import container, runtime, scene
from sempic.codecs import sqgan

FOLDER = Path(__file__).parent / "golden"


def _reading(data: bytes) -> dict[str, object]:
    decoded = sempic.decode(data)
    parsed = sqgan._Parsed(container.read(data))
    return {
        "tokens": sha256(parsed.tokens.astype("<i4").tobytes() + parsed.sent.tobytes()).hexdigest(),
        "segmap": sha256(decoded.segmap.tobytes()).hexdigest(),
        "mean": [round(float(v), 1) for v in decoded.image.mean((0, 1))],
    }


@pytest.mark.sqgan
@pytest.mark.skipif(os.environ.get("SEMPIC_GOLDEN") != "write", reason="set SEMPIC_GOLDEN=write to add golden streams")
def test_write():
    drawn = scene.draw(3, 208, 160)
    mark = f"{runtime.model(sqgan.MODEL).card.fingerprint:04x}"
    for how in ("quarter", "half"):
        data = sempic.encode(drawn.image, quality=60, map=how)
        (FOLDER / f"sqgan-{mark}-{how}.smp").write_bytes(data)
        (FOLDER / f"sqgan-{mark}-{how}.json").write_text(json.dumps(_reading(data), indent=1) + "\n")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("sqgan-*.smp")), ids=lambda path: path.stem)
def test_golden_stream(path):
    data = path.read_bytes()
    fingerprint = container.read(data).header.fingerprint
    if not any(m.card.kind == "sqgan" and m.card.fingerprint == fingerprint for m in runtime.models()):
        with pytest.raises(sempic.ModelError, match=f"{fingerprint:04x}"):
            sempic.decode(data)
        return
    expected, found = json.loads(path.with_suffix(".json").read_text()), _reading(data)
    assert found["tokens"] == expected["tokens"]
    assert found["segmap"] == expected["segmap"]
    # Networks may differ in the last bits between machines, tokens and map may not.
    assert np.allclose(found["mean"], expected["mean"], atol=1.0)
