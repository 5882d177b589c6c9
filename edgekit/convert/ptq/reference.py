"""Run the float network once and keep what every trial is held against.

Equalizing multiplies channels where they are made and divides them where they are read, so what was kept of
one graph says what its equalized form would have given: that one need not run.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.ptq.execute import Tape, execute, is_bias, last_sums, mean_of
from edgekit.source.fold import LINEAR
from edgekit.source.graph import node_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np

    from edgekit.convert.ptq.equalize import Factors
    from edgekit.source.graph import Graph

    Array = np.ndarray[Any, Any]

VALUES = 2**16
"""Of a tensor, at most, in whole rows of channels from all inputs and places."""
FEWEST = 8
"""Rows of a tensor, whatever their width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What is known of a float network on some inputs.

    Attributes:
        outputs: N x outputs; before a softmax that ends the network.
        means: of each channel of what a bias makes, by the node that adds it.
        samples: rows x channels of each tensor that was asked for, by name.
    """

    outputs: Array
    means: Mapping[str, Array]
    samples: Mapping[str, Array]

    def scaled(self, factors: Factors) -> Reference:
        """Return what the equalized network would have given: the same outputs, other channels."""
        import numpy as np

        def by_channel(found: Mapping[str, Array]) -> dict[str, Array]:
            classes = factors.channels.tensors
            return {
                name: np.asarray(value * factors.values[classes[name]], value.dtype)
                if name in classes
                else value
                for name, value in found.items()
            }

        return dataclasses.replace(self, means=by_channel(self.means), samples=by_channel(self.samples))


def reference_of(
    graph: Graph, shapes: Mapping[str, tuple[int, ...]], inputs: Array, names: Collection[str] = ()
) -> Reference:
    """Run a float network on N inputs at once.

    Args:
        graph: operations and constants.
        shapes: of its tensors with a batch of 1.
        inputs: float32, N x the input's shape without its batch.
        names: of the tensors to keep a sample of.
    """
    import tensorflow as tf

    tape, end = Tape(graph), last_sums(graph)
    sums: dict[str, Array] = {}
    means: dict[str, Array] = {}
    samples: dict[str, Array] = {}
    for name in graph.order():
        node = graph.nodes[name]
        if name in graph.constants:
            continue
        if node.op == "Placeholder":
            values = [tf.constant(inputs)]
        else:
            operands = tape.operands(node)
            values = execute(node, operands, shapes.get(name))
            if node.op in LINEAR and any(is_bias(graph, graph.nodes[user]) for user in tape.readers(name)):
                sums[name] = mean_of(node, operands, values[0])
            elif is_bias(graph, node):
                means[name] = sums[node_of(node.input[0])] + operands[1].numpy()
        for port, value in enumerate(values):
            called = f"{name}:{port}" if port else name
            if called in names:
                samples[called] = _some(value)
        tape.put(name, values)
        if name == end:
            outputs = values[0].numpy().reshape(len(inputs), -1)
        tape.read(i for i in node.input if node_of(i) not in graph.constants)
    return Reference(outputs=outputs, means=means, samples=samples)


def _some(tensor: Any) -> Array:
    """Return rows of a tensor's channels."""
    import tensorflow as tf

    rows = tf.reshape(tensor, [-1, tensor.shape[-1] if tensor.shape.rank else 1])
    index = chosen(*rows.shape)
    found: Array = rows.numpy() if index is None else tf.gather(rows, index).numpy()
    return found


def chosen(count: int, width: int) -> Array | None:
    """Return rows that stand for all: their places, or None where all are few enough.

    They are drawn with a seed: a stride would meet the same columns of an image again and again.

    Args:
        count: of rows.
        width: of a row.
    """
    import numpy as np

    wanted = max(FEWEST, VALUES // max(width, 1))
    return np.sort(np.random.default_rng(0).integers(0, count, wanted)) if count > wanted else None
