"""Walk an ONNX graph and make TensorFlow's operations of it; what is constant is computed on the way."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import ConversionError
from edgekit.source.axes import Value, logical, plain
from edgekit.source.onnx import (  # noqa: F401 - fill the table
    bent,
    linear,
    norm,
    pool,
    resize,
    shape,
    simple,
    transposed,
)
from edgekit.source.onnx.gelu import gelus
from edgekit.source.onnx.node import OPERATIONS, Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.source.onnx.node import Operand

_RANDOM = ("Random", "Bernoulli", "Multinomial")
_FOREIGN = re.compile(r"[^A-Za-z0-9_./-]")
_UNCOMPUTABLE = (
    NotImplementedError, RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    MemoryError,
)  # fmt: skip
_QUANTIZED = frozenset({
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
    "ConvInteger", "MatMulInteger",
})  # fmt: skip
_HANDS_ON = frozenset({"Identity", "Dropout"})


def importer(proto: Any, name: str) -> Callable[[Any], Any]:
    """Return a function that computes with TensorFlow what an ONNX network computes.

    Args:
        proto: one input, one output, static shapes, functions inlined.
        name: the network's, for messages.

    Returns:
        A function from a tensor in the network's own layout to its output; it is to be traced. It raises
        ConversionError, which names the node, for what has no counterpart.
    """

    def call(tensor: Any) -> Any:
        graph = proto.graph
        known: dict[str, Operand] = constants(graph)
        known[graph.input[0].name] = Value(tensor=tensor, order=plain(len(tensor.shape)))
        opset = next(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx"))
        shortcuts = gelus(graph, _held(graph, known))
        for proto_node in _needed(graph, shortcuts):
            _step(proto_node, known, opset, name)
        result = known[graph.output[0].name]
        if not isinstance(result, Value):
            raise ConversionError(f"{name} gives the same output whatever its input is")
        return logical(result)

    return call


def constants(graph: Any) -> dict[str, Any]:
    """Return the arrays of a graph's initializers, by name."""
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _held(graph: Any, known: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays of initializers and of Constant nodes, by name."""
    from onnx import numpy_helper

    found = {name: value for name, value in known.items() if isinstance(value, np.ndarray)}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                found[node.output[0]] = numpy_helper.to_array(attribute.t)
    return found


def _needed(graph: Any, shortcuts: dict[str, str]) -> list[Any]:
    """Return the nodes that the output needs, in the graph's own order; each Gelu is one of them."""
    from onnx import helper

    wanted = {graph.output[0].name}
    found = []
    for given in reversed(graph.node):
        if not wanted.intersection(given.output):
            continue
        node = given
        if given.output[0] in shortcuts:
            base = shortcuts[given.output[0]]
            node = helper.make_node("Gelu", [base], [given.output[0]], name=given.name)
        wanted.update(node.input)
        found.append(node)
    return found[::-1]


def _step(proto: Any, known: dict[str, Operand], opset: int, source: str) -> None:
    """Compute one node into `known`."""
    import tensorflow as tf
    from onnx import helper

    node = Node(
        op=proto.op_type,
        name=proto.name or proto.output[0],
        operands=tuple(known[i] if i else None for i in proto.input),
        attributes={a.name: helper.get_attribute_value(a) for a in proto.attribute},
        outputs=len(proto.output),
        opset=opset,
        source=source,
    )
    if any(a.type in (a.GRAPH, a.GRAPHS) for a in proto.attribute):
        raise node.refusal("branches or loops", "export the network for one input shape, without branches")
    if not any(isinstance(o, Value) for o in node.operands) and not proto.op_type.startswith(_RANDOM):
        results: list[Any] = _computed(proto, known, node)
    else:
        handler = OPERATIONS.get(node.op)
        if handler is None or proto.domain not in ("", "ai.onnx"):
            raise _unknown(node, proto.domain)
        try:
            with tf.name_scope(_scope(node.name)):
                made = handler(node)
        except (ValueError, TypeError, KeyError, IndexError, tf.errors.OpError) as error:
            raise node.refusal(f"does not fit its inputs ({str(error).splitlines()[0][:160]})") from error
        results = list(made) if isinstance(made, list) else [made]
    known.update(zip(proto.output, results, strict=False))


def _computed(proto: Any, known: dict[str, Any], node: Node) -> list[Any]:
    """Return the results of a node whose operands are all constant, by ONNX's own reference."""
    from onnx.reference import ReferenceEvaluator

    if node.op in _HANDS_ON:
        return [node.operands[0]]
    try:
        given = {i: known[i] for i in proto.input if i}
        results = ReferenceEvaluator(_alone(proto, given, node.opset)).run(None, given)
    except _UNCOMPUTABLE as error:
        raise node.refusal(f"can't be computed ({type(error).__name__}: {str(error)[:160]})") from error
    return [np.asarray(r) for r in results]


def _alone(proto: Any, given: dict[str, Any], opset: int) -> Any:
    """Return a network of one node; only so does the reference heed the version of its operation."""
    from onnx import TypeProto, helper

    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    outputs = [helper.make_value_info(name, TypeProto()) for name in proto.output if name]
    graph = helper.make_graph([proto], "node", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _unknown(node: Node, domain: str) -> ConversionError:
    if domain not in ("", "ai.onnx"):
        return node.refusal(f"is an operation of {domain}, not of ONNX", "export it with standard operations")
    if node.op in _QUANTIZED:
        return node.refusal(
            "belongs to a network that is quantized already", "give the float network that it was made from"
        )
    near = difflib.get_close_matches(node.op, OPERATIONS, n=1, cutoff=0.75)
    offer = f" ({near[0]} is)" if near else ""
    return node.refusal(f"is no operation that can be carried over to TFLite and Core ML{offer}")


def _scope(name: str) -> str:
    cleaned = _FOREIGN.sub("_", name).strip("/_.-")
    return cleaned or "node"
