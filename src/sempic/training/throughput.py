"""Whether several pictures a call pay: python -m sempic.training.throughput

Shipped networks take one picture a call. Here the networks of the same shape, with random weights, are written for any
number of them and run as all networks are: on the best device that ONNX Runtime finds, in SEMPIC_THREADS threads.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.export import Dim

from sempic import runtime
from sempic.training import export
from sempic.training.blocks import EXTRA
from sempic.training.layered import CHANNELS, Layered
from sempic.training.models import CLASSES
from sempic.training.sqgan import CODE_WIDTH, ImageStream

BATCHES = (1, 2, 4, 8)
ROWS, COLUMNS = 24, 32
"""The grid of a picture of 480×360, in whole windows."""
NETWORKS = {
    ("sqgan", "encode"): (ImageStream, ["image", "segmap"], ["vectors", "relevance"]),
    ("sqgan", "decode"): (ImageStream, ["codes", "kept", "layout"], ["image"]),
    ("layered", "encode"): (Layered, ["image", "segmap"], ["latents"]),
    ("layered", "decode"): (Layered, ["latents", "strength", "layout"], ["image"]),
}
"""Codec and method → its network, what that takes and what it gives."""

_PLANES = {
    "image": (3, 16),
    "segmap": (CLASSES, 4),
    "layout": (CLASSES + EXTRA, 4),
    "codes": (CODE_WIDTH, 1),
    "kept": (1, 1),
    "latents": (CHANNELS, 1),
}  # channels, and how many times as fine as the grid
_REPEATS = 3


def measure() -> Iterator[tuple[str, str, str, list[float]]]:
    """Yield codec, method, device, and the pictures a second at each of the `BATCHES`, in the best of some tries."""
    torch.manual_seed(0)
    for (codec, method), (kind, inputs, outputs) in NETWORKS.items():
        network = _for_any_number(export.Method(kind(CLASSES), method), inputs, outputs)
        rates = [_rate(network, inputs, batch) for batch in BATCHES]
        yield codec, method, network.session.get_providers()[0].removesuffix("ExecutionProvider"), rates


def _for_any_number(network: nn.Module, inputs: list[str], outputs: list[str]) -> runtime.Network:
    """Return a network for any number of pictures of one size."""
    sizes = {name: {0: Dim("pictures", min=1, max=64)} for name in inputs}
    with TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        export.write_network(network, path, {name: _example(name, 2) for name in inputs}, outputs, sizes)
        return runtime.Network(path, path.name)


def _example(name: str, batch: int) -> Tensor:
    if name not in _PLANES:
        return torch.ones(batch)
    channels, finer = _PLANES[name]
    return torch.rand(batch, channels, finer * ROWS, finer * COLUMNS)


def _rate(network: runtime.Network, inputs: list[str], batch: int) -> float:
    arrays = {name: _example(name, batch).numpy() for name in inputs}
    network.run(**arrays)  # the first call makes room
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        network.run(**arrays)
        seconds.append(time.perf_counter() - start)
    return batch / min(seconds)


if __name__ == "__main__":
    print("| codec | call | device |", *(f"{batch} |" for batch in BATCHES))
    print("|---|---|---|" + "---:|" * len(BATCHES))
    for codec, method, device, rates in measure():
        print(f"| `{codec}` | {method} | {device} |", *(f"{rate:.2f} |" for rate in rates))
