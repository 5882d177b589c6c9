"""Fold batch norm into the weights before it.

A batch norm at inference is a factor and an addend a channel (Ioffe and Szegedy, 2015, section 3.1); after a
convolution, a depthwise convolution or a dense layer both go into the weights and the bias. They pass
through a concatenation of channels, so that grouped convolutions written as split and concatenation are
folded as well.
All arithmetic is in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.source.graph import Graph, node_of

if TYPE_CHECKING:
    import numpy as np

LINEAR = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
_ADDS = ("Add", "AddV2", "BiasAdd")


def fold_batch_norm(graph: Graph) -> int:
    """Fold factors and addends a channel into the linear operations before them; return how many."""
    folded = 0
    for name in graph.order():
        if name not in graph.nodes:
            continue
        folded += _fold(graph, name)
    graph.prune()
    return folded


def split_fused_batch_norm(graph: Graph) -> int:
    """Write each inference-time FusedBatchNorm as a multiplication and an addition; return how many."""
    import numpy as np

    found = [n for n in graph.order() if graph.nodes[n].op.startswith("FusedBatchNorm")]
    done = 0
    for name in found:
        node = graph.nodes[name]
        values = [graph.constants.get(node_of(i)) for i in node.input[1:5]]
        if node.attr["is_training"].b or any(v is None for v in values):
            continue
        gamma, beta, mean, variance = (v.astype(np.float64) for v in values if v is not None)
        factor = gamma / np.sqrt(variance + float(node.attr["epsilon"].f))
        float32 = node.attr["T"]
        scale = graph.add_constant(f"{name}/scale", factor)
        shift = graph.add_constant(f"{name}/shift", beta - mean * factor)
        graph.add("Mul", f"{name}/mul", [node.input[0], scale], T=float32)
        graph.add("AddV2", f"{name}/add", [f"{name}/mul", shift], T=float32)
        graph.redirect(name, f"{name}/add")
        done += 1
    graph.prune()
    return done


def split_groups(graph: Graph) -> int:
    """Write each grouped convolution as a split, a convolution a group and a concatenation; return how many.

    Not every runtime has grouped convolutions in every precision; all have these three.
    """
    import numpy as np
    import tensorflow as tf

    convolutions = [n for n in graph.order() if graph.nodes[n].op == "Conv2D"]
    channels = _channels(graph, convolutions) if convolutions else {}
    done = 0
    for name in convolutions:
        node, weights = graph.nodes[name], graph.constants.get(node_of(graph.nodes[name].input[1]))
        if weights is None or channels[name] == weights.shape[2]:
            continue
        groups = channels[name] // weights.shape[2]
        axis = graph.add_constant(f"{name}/axis", np.array(3, np.int32))
        count = tf.compat.v1.AttrValue(i=groups)
        int32 = tf.compat.v1.AttrValue(type=tf.int32.as_datatype_enum)
        graph.add("Split", f"{name}/split", [axis, node.input[0]], T=node.attr["T"], num_split=count)
        parts = []
        for group, part in enumerate(np.split(weights, groups, axis=3)):
            constant = graph.add_constant(f"{name}/group{group}/weights", part)
            source = f"{name}/split:{group}" if group else f"{name}/split"
            graph.add("Conv2D", f"{name}/group{group}", [source, constant], **dict(node.attr))
            parts.append(f"{name}/group{group}")
        graph.add("ConcatV2", f"{name}/concat", [*parts, axis], T=node.attr["T"], N=count, Tidx=int32)
        graph.redirect(name, f"{name}/concat")
        done += 1
    graph.prune()
    return done


def _channels(graph: Graph, names: list[str]) -> dict[str, int]:
    import tensorflow as tf

    with tf.Graph().as_default() as traced:
        tf.import_graph_def(graph.to_outline(), name="")
        return {n: int(traced.get_operation_by_name(n).inputs[0].shape[-1]) for n in names}


def _fold(graph: Graph, name: str) -> int:
    node = graph.nodes[name]
    if node.op not in ("Mul", "RealDiv", "Sub", *_ADDS) or name == graph.output:
        return 0
    operand, value = _constant_operand(graph, node)
    if value is None or ":" in operand or graph.users(operand) != [name]:
        return 0
    if node.op == "BiasAdd" and graph.nodes[operand].op in LINEAR:  # it is where it belongs
        return 0
    if node.op in ("Mul", "RealDiv"):
        factor = 1.0 / value if node.op == "RealDiv" else value
        if not _can(graph, operand, value, scaling=True):
            return 0
        _scale(graph, operand, factor)
    else:
        addend = -value if node.op == "Sub" else value
        if not _can(graph, operand, value, scaling=False):
            return 0
        operand = _shift(graph, operand, addend)
    graph.redirect(name, operand)
    del graph.nodes[name]
    return 1


def _constant_operand(graph: Graph, node: Any) -> tuple[str, np.ndarray[Any, Any] | None]:
    """Return the operand that flows and the constant of a binary node, the constant as float64."""
    import numpy as np

    pairs = [(0, 1)] if node.op in ("Sub", "RealDiv", "BiasAdd") else [(0, 1), (1, 0)]
    for flowing, fixed in pairs:
        value = graph.constants.get(node_of(node.input[fixed]))
        if (
            value is not None
            and value.dtype.kind == "f"
            and node_of(node.input[flowing]) not in graph.constants
        ):
            return node.input[flowing], value.astype(np.float64)
    return node.input[0], None


def _width(graph: Graph, name: str) -> int:
    """Return the number of output channels of a linear operation or of a sum over one."""
    node = graph.nodes[name]
    weights = graph.constants[node_of(node.input[1])]
    if node.op == "MatMul":
        return int(weights.shape[0 if node.attr["transpose_b"].b else 1])
    return (
        int(weights.shape[2] * weights.shape[3])
        if node.op == "DepthwiseConv2dNative"
        else int(weights.shape[-1])
    )


def _channels_of(graph: Graph, name: str) -> int | None:
    """Return how many channels a foldable node has; None when nothing can be folded into it."""
    node = graph.nodes.get(name)
    if node is None or ":" in name:
        return None
    if node.op in LINEAR:
        constant = graph.constants.get(node_of(node.input[1]))
        return _width(graph, name) if constant is not None else None
    if node.op == "BiasAdd":
        inner = node.input[0]
        alone = graph.users(inner) == [name] and node_of(node.input[1]) in graph.constants
        linear = inner in graph.nodes and graph.nodes[inner].op in LINEAR
        return _channels_of(graph, inner) if alone and linear else None
    if node.op == "ConcatV2":
        return _concat_channels(graph, node)
    return None


def _concat_channels(graph: Graph, node: Any) -> int | None:
    axis = graph.constants.get(node_of(node.input[-1]))
    branches = list(node.input[:-1])
    if axis is None or int(axis) not in (3, -1):
        return None
    widths = [_channels_of(graph, b) if graph.users(b) == [node.name] else None for b in branches]
    return None if any(w is None for w in widths) else sum(w for w in widths if w is not None)


def _can(graph: Graph, name: str, value: np.ndarray[Any, Any], *, scaling: bool) -> bool:
    """Tell whether a constant acts channel by channel on what this node makes, and can go into it."""
    width = _channels_of(graph, name)
    if width is None or (scaling and value.size == 1 and width == 0):
        return False
    return value.size == 1 or (value.size == width and value.shape[-1] == width)


def _scale(graph: Graph, name: str, factor: np.ndarray[Any, Any]) -> None:
    import numpy as np

    node = graph.nodes[name]
    width = _channels_of(graph, name) or 1
    row = np.broadcast_to(factor.reshape(-1), (width,))
    if node.op == "ConcatV2":
        for branch, part in _parts(graph, node, row):
            _scale(graph, branch, part)
        return
    if node.op == "BiasAdd":
        _replace(graph, name, graph.constants[node_of(node.input[1])].astype(np.float64) * row)
        _scale(graph, node.input[0], row)
        return
    weights = graph.constants[node_of(node.input[1])].astype(np.float64)
    if node.op == "DepthwiseConv2dNative":
        row = row.reshape(weights.shape[2:])
    elif node.op == "MatMul" and node.attr["transpose_b"].b:
        row = row[:, None]
    _replace(graph, name, weights * row)


def _shift(graph: Graph, name: str, addend: np.ndarray[Any, Any]) -> str:
    """Add to a node's channels; return the node that now stands for it."""
    import numpy as np

    node = graph.nodes[name]
    row = np.broadcast_to(addend.reshape(-1), (_channels_of(graph, name) or 1,))
    if node.op == "ConcatV2":
        for index, (branch, part) in enumerate(_parts(graph, node, row)):
            node.input[index] = _shift(graph, branch, part)
        return name
    if node.op == "BiasAdd":
        _replace(graph, name, graph.constants[node_of(node.input[1])].astype(np.float64) + row)
        return name
    bias = graph.add_constant(f"{name}/bias", np.array(row))
    graph.add("BiasAdd", f"{name}/BiasAdd", [name, bias], T=node.attr["T"])
    return f"{name}/BiasAdd"


def _parts(graph: Graph, node: Any, row: np.ndarray[Any, Any]) -> list[tuple[str, np.ndarray[Any, Any]]]:
    import numpy as np

    branches = list(node.input[:-1])
    widths = [_channels_of(graph, b) or 0 for b in branches]
    return list(zip(branches, np.split(row, np.cumsum(widths)[:-1]), strict=True))


def _replace(graph: Graph, name: str, value: np.ndarray[Any, Any]) -> None:
    """Give a node its own second operand; a constant may be shared with other nodes."""
    graph.nodes[name].input[1] = graph.add_constant(f"{name}/folded", value)
