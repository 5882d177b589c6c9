"""A small mutable graph over TensorFlow's NodeDefs, with its constants as numpy arrays.

Data inputs are "node" or "node:k"; control inputs are dropped, for a frozen inference graph has no effects.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

PASS_THROUGH = frozenset({"Identity", "StopGradient", "PreventGradient", "Snapshot"})


def node_of(reference: str) -> str:
    """Return the node's name in "node:k"."""
    return reference.partition(":")[0]


class Graph:
    """Nodes by name, one output, constants apart.

    Args:
        graph_def: a frozen GraphDef without function calls.
        output: the node whose first tensor is the result.
    """

    def __init__(self, graph_def: Any, output: str) -> None:
        from tensorflow.core.framework import node_def_pb2

        self.nodes: dict[str, Any] = {}
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self.versions = graph_def.versions
        self.output = output
        for original in graph_def.node:
            kept = [_plain(name) for name in original.input if not name.startswith("^")]
            node = node_def_pb2.NodeDef(op=original.op, name=original.name, input=kept)
            for key in original.attr:
                if node.op != "Const" or key != "value":
                    node.attr[key].CopyFrom(original.attr[key])
            self.nodes[node.name] = node
            if node.op == "Const" and "value" in original.attr:
                self.constants[node.name] = _array(original)

    def copy(self) -> Graph:
        """Return a graph that can be changed without changing this one; values are rounded to float32.

        Constants are shared: nobody writes into them.
        """
        made = Graph(self._without_values(), self.output)
        for name in made.nodes:
            if name in self.constants:
                made.constants[name] = stored(self.constants[name])
        return made

    def order(self) -> list[str]:
        """Return the nodes that the output needs, inputs before users, in an order that no name decides."""
        seen: set[str] = set()
        done: list[str] = []
        stack: list[tuple[str, bool]] = [(self.output, False)]
        while stack:
            name, ready = stack.pop()
            if ready:
                done.append(name)
            elif name not in seen:
                seen.add(name)
                stack.append((name, True))
                stack.extend((node_of(i), False) for i in reversed(self.nodes[name].input))
        return done

    def prune(self) -> None:
        """Drop every node that the output does not need."""
        needed = set(self.order())
        self.nodes = {name: node for name, node in self.nodes.items() if name in needed}
        self.constants = {name: value for name, value in self.constants.items() if name in needed}

    def users(self, name: str) -> list[str]:
        """Return the nodes that read any tensor of this one, once for each reading."""
        return [n.name for n in self.nodes.values() for i in n.input if node_of(i) == name]

    def redirect(self, old: str, new: str) -> None:
        """Let everybody who reads `old` read `new`."""
        for node in self.nodes.values():
            for index, name in enumerate(node.input):
                if node_of(name) == old:
                    node.input[index] = new
        if self.output == old:
            self.output = node_of(new)

    def bypass(self) -> None:
        """Take out the nodes that only hand their input on."""
        stands: dict[str, str] = {}
        for name in self.order():
            node = self.nodes[name]
            node.input[:] = [stands.get(node_of(i), i) for i in node.input]
            if node.op in PASS_THROUGH and name != self.output:
                stands[name] = node.input[0]
        self.prune()

    def add_constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        """Add a constant under a name that is still free, and return that name."""
        unique, count = name, 0
        while unique in self.nodes:
            count += 1
            unique = f"{name}_{count}"
        self.add("Const", unique, [])
        self.constants[unique] = value
        return unique

    def add(self, op: str, name: str, inputs: list[str], **attributes: Any) -> Any:
        """Add a node; attributes are AttrValue messages."""
        from tensorflow.core.framework import node_def_pb2

        node = node_def_pb2.NodeDef(op=op, name=name, input=inputs)
        for key, value in attributes.items():
            node.attr[key].CopyFrom(value)
        self.nodes[name] = node
        return node

    def weights(self) -> Iterator[tuple[str, str, np.ndarray[Any, Any]]]:
        """Yield (constant's name, its user's op, value) of every floating-point constant that is in use."""
        for name in self.order():
            for reference in self.nodes[name].input:
                value = self.constants.get(node_of(reference))
                if value is not None and value.dtype.kind == "f":
                    yield node_of(reference), self.nodes[name].op, value

    def to_graph_def(self) -> Any:
        """Return the graph as a GraphDef; floating-point constants are rounded to float32."""
        graph_def = self._without_values()
        for node in graph_def.node:
            if node.name in self.constants:
                _set_array(node, self.constants[node.name])
        return graph_def

    def to_outline(self) -> Any:
        """Return the graph as a GraphDef for the inference of shapes: no weights, only their shapes."""
        graph_def = self._without_values()
        for node in graph_def.node:
            value = self.constants.get(node.name)
            if value is not None and value.dtype.kind == "f":
                node.op = "Placeholder"
                for size in value.shape:
                    node.attr["shape"].shape.dim.add(size=size)
                node.attr["shape"].shape.SetInParent()
            elif value is not None:
                _set_array(node, value)
        return graph_def

    def _without_values(self) -> Any:
        """Return a GraphDef whose constants have a type and no value."""
        import tensorflow as tf
        from tensorflow.core.framework import graph_pb2

        graph_def = graph_pb2.GraphDef()
        graph_def.versions.CopyFrom(self.versions)
        for name in self.order():
            node = graph_def.node.add()
            node.CopyFrom(self.nodes[name])
            if name in self.constants:
                node.attr["dtype"].type = tf.as_dtype(stored(self.constants[name]).dtype).as_datatype_enum
        return graph_def

    def sha256(self) -> str:
        """Return the identity of operations, attributes, wiring and weights, whatever nodes are called."""
        order = self.order()
        number = {name: index for index, name in enumerate(order)}
        sha = hashlib.sha256()
        for name in order:
            node = self.nodes[name]
            wires = [f"{number[node_of(i)]}:{i.partition(':')[2] or 0}" for i in node.input]
            sha.update(f"{node.op}({','.join(wires)})".encode())
            for key in sorted(k for k in node.attr if k != "value" and not k.startswith("_")):
                sha.update(key.encode() + node.attr[key].SerializeToString(deterministic=True))
            value = self.constants.get(name)
            if value is not None:
                sha.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
        return sha.hexdigest()


def _plain(reference: str) -> str:
    return reference.removesuffix(":0")


def _array(node: Any) -> np.ndarray[Any, Any]:
    from tensorflow.python.framework import tensor_util

    value: np.ndarray[Any, Any] = tensor_util.MakeNdarray(node.attr["value"].tensor)
    return value


def _set_array(node: Any, value: np.ndarray[Any, Any]) -> None:
    import tensorflow as tf

    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(stored(value)))


def stored(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a constant as a GraphDef holds it: float64 rounded to float32."""
    import numpy as np

    return value.astype(np.float32) if value.dtype == np.float64 else value
