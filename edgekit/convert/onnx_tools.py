"""Small tools over ONNX graphs: a session, ranges of all tensors, names that do not depend on the process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgekit.convert.ranges import Ranges
from edgekit.errors import ConversionError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np

THREADS = 2
_COUNTER = re.compile(r"__\d+")
_FLOAT = 1
_LOW, _HIGH = "edgekit_low:", "edgekit_high:"


def session(content: bytes) -> Any:
    """Return an ONNX Runtime session on the CPU with two threads.

    Raises:
        ConversionError: ONNX Runtime can't load the file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "convert") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except _runtime_errors() as error:
        raise ConversionError(
            f"ONNX Runtime can't load the .onnx file ({str(error)[:200]})", evidence=str(error)
        ) from error


def _runtime_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.Fail,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.InvalidArgument,
        state.NotImplemented,
    )


def observe(proto: Any, samples: np.ndarray[Any, Any]) -> Ranges:
    """Run a float network over samples; return each float tensor's range, reduced inside the graph."""
    from onnx import helper, shape_inference

    augmented = shape_inference.infer_shapes(proto)
    graph = augmented.graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    names = [n for n in (*_made(graph), graph.input[0].name) if kinds.get(n) == _FLOAT]
    for name in names:
        for op, prefix in (("ReduceMin", _LOW), ("ReduceMax", _HIGH)):
            graph.node.append(helper.make_node(op, [name], [prefix + name], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(prefix + name, _FLOAT, []))
    ready = session(augmented.SerializeToString())
    wanted = [prefix + name for name in names for prefix in (_LOW, _HIGH)]
    ranges = Ranges()
    for row in samples:
        values = ready.run(wanted, {graph.input[0].name: row[None]})
        for index, name in enumerate(names):
            ranges.see(name, float(values[2 * index]), float(values[2 * index + 1]))
    return ranges


def _made(graph: Any) -> list[str]:
    return [out for node in graph.node for out in node.output if out]


def tidy_names(proto: Any, renamed: dict[str, str]) -> None:
    """Give a network names that are the same in every process.

    tf2onnx counts on as long as it lives, and calls what it merged by the name of either. Here a constant is
    called after its first user, and what a counter named after its operation.

    Args:
        proto: changed in place.
        renamed: tensors with a new name of their own (the input and the output).
    """
    graph = proto.graph
    names = {**_own_names(graph), **renamed}
    for node in graph.node:
        for side in (node.input, node.output):
            for index, name in enumerate(side):
                side[index] = names.get(name, name)
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    graph.name = "edgekit"
    for kind in (graph.initializer, graph.value_info):
        ordered = sorted(kind, key=lambda value: value.name)
        del kind[:]
        kind.extend(ordered)


def _own_names(graph: Any) -> dict[str, str]:
    """Return new names of tensors by their old ones; nodes are renamed on the way."""
    names: dict[str, str] = {}
    constants = {tensor.name for tensor in graph.initializer}
    for number, node in enumerate(graph.node):
        if _COUNTER.search(node.name) or not node.name:
            node.name = f"{node.op_type}__{number}"
        for index, name in enumerate(node.output):
            if _COUNTER.search(name):
                names.setdefault(name, f"{node.name}:{index}")
        for index, name in enumerate(node.input):
            if name in constants:
                names.setdefault(name, f"{node.name}/constant{index}")
    return names
