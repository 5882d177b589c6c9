"""Quantize the weights of an .onnx by channel, a whole weight at a time.

onnxruntime's quantizer goes from channel to channel in Python: 18,000 of them in MobileNet v2, twice. Here it
is given the scales, and told to put a QuantizeLinear before each weight, which is then worked out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    Array = np.ndarray[Any, Any]

LARGEST = 127


def weight_grids(graph: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the scale of each output channel of each weight, as onnxruntime's overrides by tensor.

    They are those that its quantizer finds: symmetric, the largest value at 127.
    """
    from onnx import numpy_helper
    from onnxruntime.quantization import QuantType

    held = {tensor.name: tensor for tensor in graph.initializer}
    axes: dict[str, set[int]] = {}
    for name, axis in _weights(graph):
        axes.setdefault(name, set()).add(axis)
    found = {}
    for name, (axis, *others) in axes.items():
        if others or name not in held:
            continue
        weight = numpy_helper.to_array(held[name])
        peak = np.abs(weight).max(axis=tuple(i for i in range(weight.ndim) if i != axis), initial=0.0)
        scale = (peak.astype(np.float64) * 2 / (2 * LARGEST)).astype(np.float32)
        scale[scale < np.finfo(np.float32).tiny] = 1.0
        zero = np.int8(0)
        found[name] = [
            {"axis": axis, "scale": one, "zero_point": zero, "quant_type": QuantType.QInt8} for one in scale
        ]
    return found


def _weights(graph: Any) -> Iterator[tuple[str, int]]:
    """Yield the second input of each linear operation and its axis of output channels."""
    for node in graph.node:
        if node.op_type == "Conv":
            yield node.input[1], 0
        elif node.op_type == "MatMul":
            yield node.input[1], 1
        elif node.op_type == "Gemm":
            turned = any(a.name == "transB" and a.i for a in node.attribute)
            yield node.input[1], 0 if turned else 1


def stored_weights(proto: Any) -> Any:
    """Work out each QuantizeLinear of a constant, and return the network; it is changed."""
    from onnx import numpy_helper

    graph = proto.graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    left: list[Any] = []
    stored: dict[str, Any] = {}
    names: dict[str, str] = {}
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] not in held:
            left.append(node)
            continue
        name = names[node.output[0]] = f"{node.input[0]}_quantized"
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        weight, scale, zero = (numpy_helper.to_array(held[n]) for n in node.input)
        steps = _steps(weight, scale, zero, axis)
        stored[node.input[1]] = numpy_helper.from_array(steps, name)
    for node in left:
        node.input[:] = [names.get(name, name) for name in node.input]
    read = {name for node in left for name in node.input} | {value.name for value in graph.output}
    tensors: list[Any] = []
    for tensor in graph.initializer:
        tensors += [tensor] if tensor.name in read else []
        tensors += [stored[tensor.name]] if tensor.name in stored else []
    for kind, kept in ((graph.node, left), (graph.initializer, tensors)):
        del kind[:]
        kind.extend(kept)
    return proto


def _steps(weight: Array, scale: Array, zero: Array, axis: int) -> Array:
    """Return a constant as QuantizeLinear stores it."""
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)] if scale.ndim else []
    limits = np.iinfo(zero.dtype)
    steps = (weight / scale.reshape(shape)).round() + zero.reshape(shape)
    found: Array = steps.clip(limits.min, limits.max).astype(zero.dtype)
    return found
