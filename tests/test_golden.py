"""Golden streams of the codecs with weights: what was written once is read the same for ever, or refused by name.

New weights have a new fingerprint, so a stream made with earlier ones must end in a `ModelError` that says so.
`SEMPIC_GOLDEN=write pytest tests/test_golden.py` adds streams for the weights that are installed.
"""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from codec_cases import planes_of

import sempic
from sempic import api, container, runtime, scene
from sempic.codecs.layered import LayeredReading
from sempic.codecs.spic import SpicReading
from sempic.codecs.sqgan import SqGanReading

FOLDER = Path(__file__).parent / "golden"
KINDS = ("sqgan", "layered", "spic")
WRITTEN = {
    ("sqgan", "quarter"): ("sqgan", 60),
    ("sqgan", "half"): ("sqgan:map=half", 60),
    ("layered", "base"): ("layered", 20),
    ("layered", "fine"): ("layered", 50),
    ("layered", "layers"): ("layered:layers=2", 90),
    ("spic", "quarter"): ("spic", 60),
    ("spic", "third"): ("spic:map=half+scale=3+seed=7", 30),
}
"""The codec, its settings and the quality of golden streams, by codec and by what tells them apart."""


def _digest(data: bytes) -> dict[str, object]:
    decoded, (_, reading) = sempic.decode(data), api.describe(data)
    match reading:
        case SqGanReading():
            integers = {"tokens": reading.tokens.astype("<i4").tobytes() + reading.sent().tobytes()}
        case SpicReading():
            integers = {"coarse": np.rint(255 * reading.coarse()).astype(np.uint8).tobytes()}
        case LayeredReading():
            planes = [plane.tobytes() for plane in planes_of(reading)]
            sent = reading.latents
            latents = {"latents": sent.base.tobytes(), "fine latents": sent.fine.tobytes()}
            integers = latents | {"layers": b"".join(planes)}
    if reading.objects is not None:
        fields = (getattr(reading.objects, name) for name in ("levels", "accented", "spots", "accents"))
        integers["objects"] = b"".join(array.astype("<i4").tobytes() for array in fields)
    assert np.array_equal(decoded.segmap, reading.segmap)
    return {
        **{name: sha256(values).hexdigest() for name, values in integers.items()},
        "segmap": sha256(decoded.segmap.tobytes()).hexdigest(),
        "mean": [round(float(v), 1) for v in decoded.image.mean((0, 1))],
    }


@pytest.mark.skipif(os.environ.get("SEMPIC_GOLDEN") != "write", reason="set SEMPIC_GOLDEN=write to add golden streams")
@pytest.mark.parametrize(("codec", "name"), WRITTEN)
def test_write(codec, name):
    try:
        fingerprint = runtime.default(codec).card.fingerprint
    except sempic.ModelError as absent:
        pytest.skip(str(absent))
    spec, quality = WRITTEN[codec, name]
    data = sempic.encode(scene.draw(3, 208, 160).image, spec, quality=quality)
    path = FOLDER / f"{codec}-{fingerprint:04x}-{name}.smp"
    path.write_bytes(data)
    path.with_suffix(".json").write_text(json.dumps(_digest(data), indent=1) + "\n")


@pytest.mark.parametrize(
    "path", sorted(p for kind in KINDS for p in FOLDER.glob(f"{kind}-*.smp")), ids=lambda p: p.stem
)
def test_golden_stream(path):
    data, kind = path.read_bytes(), path.stem.partition("-")[0]
    fingerprint = container.read(data).header.fingerprint
    if not any(m.card.kind == kind and m.card.fingerprint == fingerprint for m in runtime.models()):
        with pytest.raises(sempic.ModelError, match=f"{fingerprint:04x}"):
            sempic.decode(data)
        return
    expected, found = json.loads(path.with_suffix(".json").read_text()), _digest(data)
    # Networks may differ in the last bits between machines; tokens, latents, layers and map may not.
    assert np.allclose(found.pop("mean"), expected.pop("mean"), atol=1.0)
    assert found == expected
