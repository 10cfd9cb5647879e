"""The same streams on other machines: other thread counts, no graph optimisations, PyTorch in ONNX Runtime's place.

Tokens, latents, layers and maps are the same to the bit. Pictures are drawn in float32, whose sums depend on their
order: `TOLERANCE` is how far any value of a picture may be from that of another machine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from codec_cases import planes_of
from numpy.typing import NDArray

import sempic
from sempic import api, container, runtime
from sempic.codecs.layered import LayeredReading
from sempic.codecs.sqgan import SqGan, SqGanReading

STREAMS = sorted(p for kind in ("sqgan", "layered") for p in (Path(__file__).parent / "golden").glob(f"{kind}-*.smp"))
TOLERANCE = 1
"""In levels of 0 to 255."""


def integers(data: bytes) -> list[NDArray[Any]]:
    """Return all that is entropy-coded or coded by HEVC in a stream."""
    _, reading = api.describe(data)
    if isinstance(reading, SqGanReading):
        return [reading.sent_map.small, reading.palette, reading.sent(), reading.tokens]
    assert isinstance(reading, LayeredReading)
    return [reading.sent_map.small, reading.palette, reading.latents.base, reading.latents.fine, *planes_of(reading)]


def with_threads(count: int) -> Callable[[pytest.MonkeyPatch, runtime.Model], None]:
    def change(patch: pytest.MonkeyPatch, model: runtime.Model) -> None:
        patch.setenv(runtime.THREADS, str(count))

    return change


def without_optimisations(patch: pytest.MonkeyPatch, model: runtime.Model) -> None:
    import onnxruntime

    made = onnxruntime.InferenceSession

    def session(data: bytes, options: Any, **more: Any) -> Any:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return made(data, options, **more)

    patch.setattr(onnxruntime, "InferenceSession", session)


def in_pytorch(patch: pytest.MonkeyPatch, model: runtime.Model) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from sempic.training.layered import LayeredNetwork, LayeredRecipe
    from sempic.training.sqgan import ImageRecipe, ImageStream

    classes = len(model.taxonomy)
    if model.card.kind == "sqgan":
        network = ImageStream(classes)
        ImageRecipe.restore(network, model)
    else:
        network = LayeredNetwork(classes)
        LayeredRecipe.restore(network, model)
    network.eval()

    class Decoder:
        def run(self, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
            with torch.no_grad():
                drawn = network.decode(**{k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in inputs.items()})
            return [drawn.numpy()]

    model._networks["decoder"] = Decoder()


MACHINES = {
    "one thread": with_threads(1),
    "two threads": with_threads(2),
    "no optimisations": without_optimisations,
    "PyTorch": in_pytorch,
}


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_stream_is_read_alike(path):
    data = path.read_bytes()
    try:
        expected, known = sempic.decode(data), integers(data)
    except sempic.ModelError:
        pytest.skip("its model is not installed")
    header = container.read(data).header
    model = runtime.model_of_stream("sqgan" if header.codec == SqGan.id else "layered", header.fingerprint)
    for machine, change in MACHINES.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model, "_networks", {})
            change(patch, model)
            decoded, found = sempic.decode(data), integers(data)
        assert len(found) == len(known)
        assert all(np.array_equal(*pair) for pair in zip(found, known, strict=True)), machine
        assert np.array_equal(decoded.segmap, expected.segmap), machine
        assert np.abs(decoded.image.astype(int) - expected.image).max() <= TOLERANCE, machine


def test_encoder_and_decoder_with_different_weights_are_told_apart():
    for path in STREAMS:
        data = path.read_bytes()
        stream = container.read(data)
        for fingerprint in {stream.header.fingerprint ^ 1, stream.header.fingerprint ^ 0x8000, 0}:
            header = container.Header(stream.header.codec, stream.header.width, stream.header.height, fingerprint)
            for use in (sempic.decode, sempic.inspect):
                with pytest.raises(sempic.ModelError, match=f"{fingerprint:04x}"):
                    use(container.write(header, stream.sections))
