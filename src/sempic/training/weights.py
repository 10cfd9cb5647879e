"""From trained networks to ONNX files in half precision, and from these back to weights to train on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from sempic import runtime
from sempic.errors import ModelError

HALVED_FROM = 256
"""Weights of at least so many numbers are stored in half precision."""
EXAMPLE = 16, 24
"""The grid of the picture on which networks are tried when they are written; they run on any."""
TOLERANCE = 0.02
"""How much the answers of an exported network may differ, for its weights were rounded."""


class Method(nn.Module):
    """One method of a network as a module of its own, under the network's own parameter names."""

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network, self.method = network, method

    def forward(self, *inputs: Tensor) -> Any:
        return getattr(self.network, self.method)(*inputs)


def write(
    network: nn.Module, path: Path, inputs: dict[str, Tensor], outputs: list[str], sizes: dict[str, dict[int, Any]]
) -> dict[str, float]:
    """Write a network as ONNX; `sizes` names the axes of each input that vary (`torch.export.Dim` expressions).

    Returns how much at most ONNX Runtime's answers differ from PyTorch's, as a share of the largest number of each
    output, by `NETWORK/OUTPUT`. Raises `ModelError` where that is more than `TOLERANCE`.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    shapes = tuple(sizes[name] for name in inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=(shapes,) if isinstance(network, Method) else shapes,
            dynamo=True,
            optimize=False,  # ONNX Runtime will; left alone, weights keep their names for `read`
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _halve(model.graph)
    # The exporter notes a stack trace, with the paths of this machine, at every node: a fifth of a small file.
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
    onnx.save(model, str(path))
    return _differences(network, path, inputs, outputs)


@torch.no_grad()
def _differences(network: nn.Module, path: Path, inputs: dict[str, Tensor], outputs: list[str]) -> dict[str, float]:
    expected = network(*inputs.values())
    answers = runtime.Network(path, path.name).run(**{name: value.numpy() for name, value in inputs.items()})
    found = {}
    for name, one, other in zip(
        outputs, [expected] if isinstance(expected, Tensor) else expected, answers, strict=True
    ):
        largest = float(one.abs().max())
        found[f"{path.stem}/{name}"] = share = float(np.abs(one.numpy() - other).max()) / max(largest, 1e-6)
        if not share <= TOLERANCE:
            raise ModelError(
                f"{path.name} answers otherwise than PyTorch: {name} differs by {share:.2%} of {largest:g}."
            )
    return found


def _halve(graph: onnx.GraphProto) -> None:
    """Store big weights as float16, cast back to float32 on loading (ONNX Runtime folds the cast)."""
    casts = []
    for weight in graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.dtype == np.float32 and array.size >= HALVED_FROM:
            name = weight.name
            limit = np.finfo(np.float16).max
            halved = numpy_helper.from_array(array.clip(-limit, limit).astype(np.float16), f"{name}/half")
            weight.CopyFrom(halved)
            casts.append(onnx.helper.make_node("Cast", [f"{name}/half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])


def read(model: runtime.Model, names: list[str]) -> dict[str, Tensor]:
    """Return the weights stored in a model's networks, by the names that training gave them."""
    weights: dict[str, Tensor] = {}
    for name in names:
        graph = onnx.load(str(model.folder / f"{name}.onnx")).graph
        for initializer in graph.initializer:
            key = initializer.name.removesuffix("/half").removeprefix("network.")
            weights[key] = torch.from_numpy(numpy_helper.to_array(initializer).astype(np.float32).copy())
    return weights


def restore(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load exported weights into a network; raise `ModelError` if a parameter is missing."""
    state = network.state_dict()
    missing = [k for k, _ in network.named_parameters() if k not in weights]
    if missing:
        raise ModelError(f"The model lacks {len(missing)} weights that training needs, such as {missing[0]}.")
    other = [k for k, v in state.items() if k in weights and weights[k].numel() != v.numel()]
    if other:
        raise ModelError(
            f"The model's weights are of another size than what is trained, such as {other[0]}. Widths and blocks must "
            "be the model's, or training start from nothing: 'init='."
        )
    network.load_state_dict({k: weights[k].reshape(v.shape) if k in weights else v for k, v in state.items()})


def count(network: nn.Module) -> int:
    """Return the number of weights of a network."""
    return sum(p.numel() for p in network.parameters())
