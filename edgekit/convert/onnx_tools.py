"""Small tools over ONNX graphs: a session, ranges of all tensors, names that do not depend on the process."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from edgekit.errors import ConversionError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import numpy as np

THREADS = 2
_COUNTER = re.compile(r"__\d+")
_FLOAT = 1


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


def observe(
    proto: Any, samples: np.ndarray[Any, Any], wanted: Collection[str] | None = None
) -> Iterator[dict[str, tuple[int, float, float, float]]]:
    """Run a float network; yield what each float tensor held, input by input, reduced inside the graph.

    Args:
        proto: the network.
        samples: inputs, N x the input's shape without its batch.
        wanted: only these tensors.

    Yields:
        (elements, smallest, largest, mean) by tensor.
    """
    from onnx import helper, shape_inference

    augmented = shape_inference.infer_shapes(proto)
    graph = augmented.graph
    values = {v.name: v.type.tensor_type for v in (*graph.value_info, *graph.input, *graph.output)}
    sizes = {name: math.prod(d.dim_value for d in v.shape.dim) for name, v in values.items()}
    names = [n for n in (graph.input[0].name, *_made(graph)) if n in values and values[n].elem_type == _FLOAT]
    names = [n for n in names if wanted is None or n in wanted]
    asked = []
    for name in names:
        for op in ("ReduceMin", "ReduceMax", "ReduceMean"):
            asked.append(f"edgekit_{op}:{name}")
            graph.node.append(helper.make_node(op, [name], asked[-1:], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(asked[-1], _FLOAT, []))
    ready = session(augmented.SerializeToString())
    for row in samples:
        held = [float(v) for v in ready.run(asked, {graph.input[0].name: row[None]})]
        yield {n: (sizes[n], *held[3 * i : 3 * i + 3]) for i, n in enumerate(names)}


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
