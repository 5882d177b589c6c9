"""Run a frozen graph's operations one at a time, on several inputs at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.ptq.grids import SUMS, readers_of
from edgekit.convert.ties import MOVING
from edgekit.source.fold import LINEAR
from edgekit.source.graph import node_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np

    from edgekit.source.graph import Graph


def shapes_of(function: Any) -> dict[str, tuple[int, ...]]:
    """Return the known shapes of a ConcreteFunction's tensors, by "node" or "node:k"."""
    return {
        tensor.name.removesuffix(":0"): tuple(tensor.shape.as_list())
        for operation in function.graph.get_operations()
        for tensor in operation.outputs
        if tensor.shape.is_fully_defined()
    }


def execute(node: Any, inputs: list[Any], shape: tuple[int, ...] | None = None) -> list[Any]:
    """Return what an operation gives, as eager tensors.

    Args:
        node: a NodeDef.
        inputs: its operands, with any batch.
        shape: of its output with a batch of 1; a new shape written into the graph gets an open batch.
    """
    import tensorflow as tf
    from tensorflow.python.eager import context
    from tensorflow.python.eager import execute as eager
    from tensorflow.python.framework import op_def_registry

    if node.op == "Reshape" and shape:  # what is not the first axis is the same for any batch
        return [tf.reshape(inputs[0], [-1, *shape[1:]])]
    if node.op == "BiasAdd" and inputs[1].shape.rank > 1:  # a sum of two, at one place
        rank = inputs[0].shape.rank
        return [inputs[0] + tf.reshape(inputs[1], [-1, *[1] * (rank - 2), inputs[0].shape[-1]])]
    if node.op == "Conv2DBackpropInput":  # the batch of 1 is written into its output's shape
        inputs = [tf.concat([inputs[2].shape[:1], inputs[0][1:]], 0), *inputs[1:]]
    definition = op_def_registry.get(node.op)
    known = {attribute.name for attribute in definition.attr}
    count = sum(node.attr[a.number_attr].i if a.number_attr else 1 for a in definition.output_arg)
    attributes = [part for k, v in node.attr.items() if k in known for part in (k, _value(v))]
    return list(eager.execute(node.op.encode(), count, inputs, tuple(attributes), context.context()))


def mean_of(node: Any, operands: list[Any], values: Any) -> np.ndarray[Any, Any]:
    """Return the mean of each output channel of a linear operation over inputs and places.

    A convolution of the inputs' mean has it, at a fraction of the cost of reading all outputs.

    Args:
        node: the operation.
        operands: what it reads.
        values: what it gave.
    """
    import tensorflow as tf

    if node.op in ("Conv2D", "DepthwiseConv2dNative"):
        inputs = tf.reduce_mean(operands[0], 0, keepdims=True)
        if operands[1].shape[:2] == (1, 1) and set(node.attr["strides"].list.i) == {1}:
            inputs = tf.reduce_mean(inputs, [1, 2], keepdims=True)
        values = execute(node, [inputs, operands[1]])[0]
    found: np.ndarray[Any, Any] = tf.reduce_mean(values, list(range(values.shape.rank - 1))).numpy()
    return found


def is_bias(graph: Graph, node: Any) -> bool:
    """Tell whether a node adds a constant to each channel of a linear operation."""
    if node.op not in SUMS:
        return False
    inner = graph.nodes.get(node_of(node.input[0]))
    bias = graph.constants.get(node_of(node.input[1]))
    return inner is not None and inner.op in LINEAR and bias is not None and bias.ndim == 1


def last_sums(graph: Graph) -> str:
    """Return the node that makes the outputs, before a softmax that ends the network."""
    node = graph.nodes[graph.output]
    while node.op in ("Identity", "Softmax") and node_of(node.input[0]) in graph.nodes:
        node = graph.nodes[node_of(node.input[0])]
    return str(node.name)


def ends_of(graph: Graph) -> set[str]:
    """Return the nodes that hold the outputs: those that only move them about, and what computes them."""
    node, found = graph.nodes[graph.output], {graph.output}
    while node.op in (*MOVING, "Softmax") and node_of(node.input[MOVING.get(node.op, 0)]) in graph.nodes:
        node = graph.nodes[node_of(node.input[MOVING.get(node.op, 0)])]
        found.add(str(node.name))
    return found


def _value(attribute: Any) -> Any:
    """Return an AttrValue as eager execution takes it."""
    kind = attribute.WhichOneof("value")
    if kind != "list":
        return getattr(attribute, kind)
    held = attribute.list
    return next((list(v) for v in (held.s, held.i, held.f, held.b, held.type) if v), [])


class Tape:
    """The values of one run that somebody still reads.

    Args:
        graph: operations and constants.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._values: dict[str, list[Any]] = {}
        self._readers = readers_of(graph)
        self._left = {name: len(users) for name, users in self._readers.items()}

    def readers(self, name: str) -> list[str]:
        """Return the nodes that read a node, once for each reading."""
        return self._readers.get(name, [])

    def operands(self, node: Any) -> list[Any]:
        """Return the operands of a node; its constants are read from the graph."""
        return [self.operand(name) for name in node.input]

    def operand(self, name: str) -> Any:
        """Return one of them, by "node" or "node:k"."""
        import numpy as np
        import tensorflow as tf

        base, _, port = name.partition(":")
        constant = self._graph.constants.get(base)
        if constant is None:
            return self._values[base][int(port or 0)]
        return tf.constant(constant.astype(np.float32) if constant.dtype == np.float64 else constant)

    def put(self, name: str, values: list[Any]) -> None:
        """Keep what a node gave."""
        self._values[name] = values

    def get(self, name: str) -> list[Any]:
        """Return what a node gave."""
        return self._values[name]

    def read(self, names: Iterable[str]) -> None:
        """Count readings, one a name; what nobody reads any more is dropped."""
        for name in names:
            base = node_of(name)
            self._left[base] -= 1
            if not self._left[base]:
                self._values.pop(base, None)


def walk(
    graph: Graph,
    shapes: Mapping[str, tuple[int, ...]],
    inputs: np.ndarray[Any, Any],
    see: Callable[[str, Any], None],
) -> None:
    """Run a frozen graph on N inputs at once and show each tensor to `see`, by "node" or "node:k".

    Args:
        graph: operations and constants.
        shapes: of its tensors with a batch of 1.
        inputs: float32, N x the input's shape without its batch.
        see: called with a name and an eager tensor.
    """
    import tensorflow as tf

    tape = Tape(graph)
    for name in graph.order():
        node = graph.nodes[name]
        if name in graph.constants:
            continue
        is_input = node.op == "Placeholder"
        values = [tf.constant(inputs)] if is_input else execute(node, tape.operands(node), shapes.get(name))
        for port, value in enumerate(values):
            see(f"{name}:{port}" if port else name, value)
        tape.put(name, values)
        tape.read(i for i in node.input if node_of(i) not in graph.constants)
