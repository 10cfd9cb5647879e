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

import sempic
from sempic import container, runtime, scene
from sempic.codecs import layered, spic, sqgan

FOLDER = Path(__file__).parent / "golden"
MODELS = {"sqgan": sqgan.MODEL, "layered": layered.MODEL, "spic": spic.MODEL}
WRITTEN = {
    ("sqgan", "quarter"): {"quality": 60},
    ("sqgan", "half"): {"quality": 60, "map": "half"},
    ("layered", "base"): {"quality": 10},
    ("layered", "layers"): {"quality": 60, "layers": 2},
    ("spic", "quarter"): {"quality": 60},
    ("spic", "third"): {"quality": 30, "map": "half", "scale": 3, "seed": 7},
}
"""The settings of golden streams, by codec and by what tells them apart."""


def _reading(data: bytes) -> dict[str, object]:
    decoded, stream = sempic.decode(data), container.read(data)
    if stream.header.codec == sqgan.SqGan.id:
        tokens = sqgan._Parsed(stream)
        integers = {"tokens": tokens.tokens.astype("<i4").tobytes() + tokens.sent.tobytes()}
    elif stream.header.codec == spic.Spic.id:
        coarse = spic._Parsed(spic.Spic(), stream).coarse
        assert coarse is not None
        integers = {"coarse": np.rint(255 * coarse).astype(np.uint8).tobytes()}
    else:
        parsed = layered._Parsed(stream)
        planes = [plane.tobytes() for layer in parsed.layers for plane in layer.planes]
        integers = {"latents": parsed.values.tobytes(), "layers": b"".join(planes)}
    return {
        **{name: sha256(values).hexdigest() for name, values in integers.items()},
        "segmap": sha256(decoded.segmap.tobytes()).hexdigest(),
        "mean": [round(float(v), 1) for v in decoded.image.mean((0, 1))],
    }


@pytest.mark.skipif(os.environ.get("SEMPIC_GOLDEN") != "write", reason="set SEMPIC_GOLDEN=write to add golden streams")
@pytest.mark.parametrize(("codec", "name"), WRITTEN)
def test_write(codec, name):
    model = MODELS[codec]
    if not (runtime.SHIPPED / model / "card.json").is_file():
        pytest.skip(f"no weights of {codec} in {runtime.SHIPPED}")
    data = sempic.encode(scene.draw(3, 208, 160).image, codec, **WRITTEN[codec, name])
    path = FOLDER / f"{codec}-{runtime.model(model).card.fingerprint:04x}-{name}.smp"
    path.write_bytes(data)
    path.with_suffix(".json").write_text(json.dumps(_reading(data), indent=1) + "\n")


@pytest.mark.parametrize(
    "path", sorted(p for kind in MODELS for p in FOLDER.glob(f"{kind}-*.smp")), ids=lambda p: p.stem
)
def test_golden_stream(path):
    data, kind = path.read_bytes(), path.stem.partition("-")[0]
    fingerprint = container.read(data).header.fingerprint
    if not any(m.card.kind == kind and m.card.fingerprint == fingerprint for m in runtime.models()):
        with pytest.raises(sempic.ModelError, match=f"{fingerprint:04x}"):
            sempic.decode(data)
        return
    expected, found = json.loads(path.with_suffix(".json").read_text()), _reading(data)
    # Networks may differ in the last bits between machines; tokens, latents, layers and map may not.
    assert np.allclose(found.pop("mean"), expected.pop("mean"), atol=1.0)
    assert found == expected
