"""Where 8 bits come in: which tensors an artifact stores on a grid, and what a grid does to values.

Every format joins a linear operation, its bias and the activation function that alone reads it; only what
comes out of the last of them is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.ranges import grid
from edgekit.source.fold import LINEAR
from edgekit.source.graph import node_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from edgekit.source.graph import Graph

ACTIVATIONS = ("Relu", "Relu6")
SUMS = ("Add", "AddV2", "BiasAdd")
_BIAS = 2.0**30
LEVELS = 127
"""Of a weight: -127 to 127, 0 exact."""


def stored(graph: Graph, names: Iterable[str]) -> set[str]:
    """Return those that an artifact stores: all but what an activation function alone reads."""
    readers = readers_of(graph)
    found = set()
    for name in names:
        node = graph.nodes.get(node_of(name))
        if node is None:
            continue
        users = readers.get(node.name, [])
        alone = len(users) == 1 and graph.nodes[users[0]].op in ACTIVATIONS
        if not (alone and node.op in (*LINEAR, *SUMS)):
            found.add(name)
    return found


def readers_of(graph: Graph) -> dict[str, list[str]]:
    """Return the nodes that read each node, once for each reading."""
    found: dict[str, list[str]] = {}
    for node in graph.nodes.values():
        for name in node.input:
            found.setdefault(node_of(name), []).append(node.name)
    return found


def on_grid(values: Any, limits: tuple[float, float]) -> Any:
    """Return a tensor's values as 8 bits hold them, for the grid of a range."""
    import tensorflow as tf

    found = grid(*limits)
    return tf.quantization.fake_quant_with_min_max_vars(values, found.low, found.high)


def weight_rows(weights: np.ndarray[Any, Any], node: Any) -> np.ndarray[Any, Any]:
    """Return a linear operation's weights as groups x outputs x inputs, the outputs of a group on one input.

    A depthwise convolution has a group a channel; others have one.
    """
    if node.op == "DepthwiseConv2dNative":
        height, width, channels, outputs = weights.shape
        return weights.reshape(height * width, channels, outputs).transpose(1, 2, 0)
    if node.op == "MatMul" and node.attr["transpose_b"].b:
        return weights[None]
    return weights.reshape(-1, weights.shape[-1]).T[None]


def from_rows(rows: np.ndarray[Any, Any], like: np.ndarray[Any, Any], node: Any) -> np.ndarray[Any, Any]:
    """Return what `weight_rows` gave in the weights' own shape."""
    import numpy as np

    if node.op == "DepthwiseConv2dNative":
        return rows.transpose(2, 0, 1).reshape(like.shape)
    if node.op == "MatMul" and node.attr["transpose_b"].b:
        return np.asarray(rows[0])
    return np.asarray(rows[0].T.reshape(like.shape))


def weight_steps(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the step of each output's symmetric grid, groups x outputs x 1, as float32 holds it.

    Weights of next to nothing, whose step float32 doesn't hold, have steps of 1: they become 0.
    """
    import numpy as np

    steps = (np.abs(rows).max(axis=2, keepdims=True) / LEVELS).astype(np.float32)
    return np.where(steps >= np.finfo(np.float32).tiny, steps, np.float32(1.0)).astype(np.float64)


def lifted(rows: np.ndarray[Any, Any], biases: np.ndarray[Any, Any], step: float) -> np.ndarray[Any, Any]:
    """Return weights whose steps are wide enough for their biases, groups x outputs x inputs.

    A bias is stored in 32 bits, in steps of the input's times the weights': with weights of next to nothing
    it overflows. One weight of such an output is made as large as the bias needs; next to the bias it is
    nothing.

    Args:
        rows: the weights.
        biases: one an output.
        step: of the input's grid.
    """
    import numpy as np

    least = LEVELS * np.abs(biases).reshape(rows.shape[:2]) / (step * _BIAS)
    if (np.abs(rows).max(axis=2) >= least).all():
        return rows
    largest = np.abs(rows).argmax(axis=2)[:, :, None]
    held = np.take_along_axis(rows, largest, axis=2)[:, :, 0]
    wanted = np.where(held < 0, -1.0, 1.0) * np.maximum(np.abs(held), least)
    found = rows.copy()
    np.put_along_axis(found, largest, wanted[:, :, None], axis=2)
    return found


def rounded(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return weights on their grids, each rounded to the nearest step."""
    import numpy as np

    steps = weight_steps(rows)
    return np.asarray(np.clip(np.rint(rows / steps), -LEVELS, LEVELS) * steps)
