"""Give a format's float form the constants of a tuned graph, instead of converting that graph too.

A tuned graph has the operations of the frozen one; only constants differ. Each constant of the frozen graph
is looked for in the float form, by its exact content, in the layouts that formats use. What a converter
merged, folded or made of its own shows in the numbers: where a content is not read exactly as often as in the
graph, where two constants of one content become different, or where one is not found, nothing is swapped, and
the format converts the tuned graph as it is.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.graph import Graph, node_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from edgekit.source import FrozenGraph

    Array = np.ndarray[Any, Any]
    Order = tuple[int, ...]

LAYOUTS: dict[str, tuple[Order, ...]] = {
    "Conv2D": ((3, 0, 1, 2), (3, 2, 0, 1)),
    "DepthwiseConv2dNative": ((0, 1, 2, 3), (2, 3, 0, 1)),
    "MatMul": ((0, 1), (1, 0)),
}
"""The orders of axes that formats store TensorFlow's weights in; anything else stays as it is. TFLite has
OHWI, and HWIM as it is; ONNX and Core ML have OIHW and IMHW; a dense layer's weight stands either way."""
_FLOAT = 0
"""TFLite's number of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A constant that an operation reads.

    Attributes:
        op: of the operation.
        old: the constant in the frozen graph, float32.
        new: the constant in the tuned graph, float32, of the same shape.
    """

    op: str
    old: Array
    new: Array

    def layouts(self) -> set[tuple[bytes, bytes]]:
        """Return the old content and the new, in each layout that the operation's constant may have."""
        orders = LAYOUTS.get(self.op, ())
        if self.old.ndim not in map(len, orders):
            orders = (tuple(range(self.old.ndim)),)
        return {(self.old.transpose(o).tobytes(), self.new.transpose(o).tobytes()) for o in orders}


def slots(frozen: FrozenGraph, tuned: FrozenGraph) -> list[Slot] | None:
    """Return every float constant that an operation reads, before and after tuning.

    None where the two graphs differ in more than floats.
    """
    graphs = [Graph(of.graph_def, "output") for of in (frozen, tuned)]
    before, after = ([g.nodes[n] for n in g.order() if g.nodes[n].op != "Const"] for g in graphs)
    if list(map(_outline, before)) != list(map(_outline, after)):
        return None
    found = []
    for node, other in zip(before, after, strict=True):
        for references in zip(node.input, other.input, strict=True):
            old, new = (g.constants.get(node_of(r)) for g, r in zip(graphs, references, strict=True))
            if old is None or new is None:
                if old is not new or references[0] != references[1]:
                    return None
            elif (old.dtype, old.shape) == (np.float32, new.shape):
                found.append(Slot(op=node.op, old=old, new=new.astype(np.float32)))
            elif not np.array_equal(old, new):
                return None
    return found


def _outline(node: Any) -> tuple[Any, ...]:
    return node.name, node.op, len(node.input), dict(node.attr)


def replacements(
    found: Sequence[Slot], read: Iterable[tuple[Hashable, Array]]
) -> dict[Hashable, Array] | None:
    """Return what stands in the place of a float form's constants, in their own shapes.

    Args:
        found: what `slots` returned.
        read: the float form's float32 constants with a key, one entry for each operation that reads one.

    Returns:
        New constants by key, only those that change; None where it is not certain what is what.
    """
    holders: dict[bytes, list[tuple[Hashable, Array]]] = defaultdict(list)
    for key, value in read:
        holders[value.tobytes()].append((key, value))
    wanted: dict[bytes, list[bytes]] = defaultdict(list)
    for slot in found:
        places = [(old, new) for old, new in slot.layouts() if old in holders]
        if len(places) != 1 and not np.array_equal(slot.old, slot.new):
            return None
        for old, new in places:
            wanted[old].append(new)
    made: dict[Hashable, Array] = {}
    for old, news in wanted.items():
        if all(new == old for new in news):
            continue
        if len(set(news)) != 1 or len(news) != len(holders[old]):
            return None
        made |= {key: np.frombuffer(news[0], np.float32).reshape(v.shape) for key, v in holders[old]}
    return made


def swapped_tflite(content: bytes, found: Sequence[Slot]) -> bytes | None:
    """Return a float .tflite file with the new constants, or None; see `replacements`."""
    from ai_edge_litert import schema_py_generated as schema

    changed = bytearray(content)
    model = schema.Model.GetRootAs(changed, 0)
    made = replacements(found, ((key, _floats(model, key)) for key in _buffers_read(model)))
    if made is None:
        return None
    for key, value in made.items():
        _floats(model, key)[:] = value
    return bytes(changed)


def _buffers_read(model: Any) -> Iterator[int]:
    """Yield the number of each buffer of floats, once for each operation that reads it."""
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            for index in operator.InputsAsNumpy():
                tensor = graph.Tensors(int(index)) if index >= 0 else None
                if tensor is None or tensor.Type() != _FLOAT:
                    continue
                if model.Buffers(tensor.Buffer()).DataLength():
                    yield int(tensor.Buffer())


def _floats(model: Any, buffer: Any) -> Array:
    """Return a buffer's floats, in the file's own memory."""
    found: Array = model.Buffers(buffer).DataAsNumpy().view(np.float32)
    return found


def swapped_onnx(proto: Any, found: Sequence[Slot]) -> Any | None:
    """Return a float network with the new constants, or None; see `replacements`."""
    from onnx import TensorProto, numpy_helper

    held = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in proto.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    }
    inputs = (name for node in proto.graph.node for name in node.input)
    made = replacements(found, ((name, held[name]) for name in inputs if name in held))
    if made is None:
        return None
    changed = type(proto)()
    changed.CopyFrom(proto)
    for tensor in changed.graph.initializer:
        if tensor.name in made:
            tensor.CopyFrom(numpy_helper.from_array(made[tensor.name], tensor.name))
    return changed


def swapped_program(program: Any, found: Sequence[Slot]) -> Any | None:
    """Return a Core ML program in 32-bit floats with the new constants, or None; see `replacements`."""
    from edgekit.convert.coreml_program import copied

    held = {
        o.outputs[0]: o.val.val
        for o in program.functions["main"].operations
        if o.op_type == "const" and getattr(o.val.val, "dtype", None) == np.float32
    }
    made = replacements(found, ((var, value) for var, value in held.items() for _ in var.child_ops))
    return None if made is None else copied(program, constants=made)
