"""Run the float network in step with its twin, and let a layer's weights make up for what was lost before.

A layer of the twin reads values that are wrong already. Least squares say which weights bring its outputs
nearest to the float network's, from the inputs that it really has; far from them the weights stay what they
are (a ridge), and where there are few places for many weights nothing is learned by heart. Source: Hubara et
al., "Accurate Post Training Quantization With Small Calibration Sets" (2021), section 3, solved in closed
form; He et al., "Channel Pruning for Accelerating Very Deep Neural Networks" (2017), section 3.1, for the
outputs of the network as it is so far.

What an activation function cuts off in any case does not count: places far beyond its ends have next to no
weight, in the means that biases take back and in what the weights of a depthwise convolution (a matrix a
channel) are rounded for. Source: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training
Quantization" (2020), section 3.3, whose reconstruction looks behind the activation function too.

RIDGE, PLACES, NEAR and FAR were chosen by agreement with float networks on photos of flowers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.ptq.execute import Tape, execute
from edgekit.convert.ptq.grids import ACTIVATIONS
from edgekit.convert.ptq.moments import covariance, made_rows, read_rows
from edgekit.source.graph import node_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from edgekit.source.graph import Graph

    Array = np.ndarray[Any, Any]

RIDGE = 5.0
"""Of the inputs' mean variance: how strongly weights stay what they are."""
PLACES = 16
"""For each input of an output, at least; with fewer, weights are only rounded."""
NEAR = 0.05
"""Of an activation function's range: so far beyond its ends a place still counts in full."""
FAR = 0.02
"""What a place beyond that counts."""
CEILING = 6.0
"""Of a Relu6."""


@dataclass(slots=True, kw_only=True)
class Seen:
    """Some places of a linear operation, in the twin and in the float network.

    Attributes:
        node: the operation.
        shape: of its weights.
        read: what the places read in the twin, places x inputs x groups.
        wanted: what they give in the float network, bias included, places x outputs x groups.
        counts: what each of them counts, as many; None where all count alike.
    """

    node: Any
    shape: tuple[int, ...]
    read: Any
    wanted: Any
    counts: Any
    _spread: Array | None = None

    def mended(self, rows: Array) -> Array:
        """Return weights, groups x outputs x inputs, that make up for what is wrong with the inputs."""
        import numpy as np

        if self.read.shape[0] < PLACES * rows.shape[2]:
            return rows
        spread = self.spread().astype(np.float64)
        slope = covariance(self.read, self.wanted - self._given(rows), self._weights())
        size = spread.shape[-1]
        ridge = RIDGE * np.einsum("gii->g", spread) / size
        spread.reshape(len(spread), -1)[:, :: size + 1] += np.maximum(ridge, 1e-12)[:, None]
        return np.asarray(rows + np.linalg.solve(spread, slope).swapaxes(1, 2))

    def spread(self) -> Array:
        """Return the covariance of what is read, groups x inputs x inputs."""
        if self._spread is None:
            self._spread = covariance(self.read, self.read, self._weights())
        return self._spread

    def moved(self, made: Any) -> Array:
        """Return the bias that brings the mean of each output back, of the places that count.

        Args:
            made: what the twin's operation gives, without a bias, batch first.
        """
        import tensorflow as tf

        lacking = self.wanted - made_rows(made, self.node, self.shape)
        if self.counts is None:
            means = tf.reduce_mean(lacking, 0)
        else:
            means = tf.reduce_sum(lacking * self.counts, 0) / tf.reduce_sum(self.counts, 0)
        found: Array = tf.transpose(means).numpy()
        return found.reshape(-1)

    def _given(self, rows: Array) -> Any:
        """Return what weights make of what is read, places x outputs x groups."""
        import tensorflow as tf

        weights = tf.constant(rows.astype("float32"))
        if len(rows) == 1:
            return tf.matmul(self.read[:, :, 0], weights[0], transpose_b=True)[:, :, None]
        each = tf.transpose(weights, [1, 2, 0])
        return tf.stack([tf.reduce_sum(self.read * one, 1) for one in tf.unstack(each)], 1)

    def _weights(self) -> Any:
        """Return what places count for the weights: of a depthwise convolution, whose channels are apart."""
        import tensorflow as tf

        each = self.node.op == "DepthwiseConv2dNative"
        return tf.reduce_mean(self.counts, 1) if each and self.counts is not None else None


class Beside:
    """The float network, one operation after the other.

    Args:
        graph: operations and constants.
        shapes: of its tensors with a batch of 1.
        ranges: (low, high) of the tensors that are stored, by name.
    """

    def __init__(
        self, graph: Graph, shapes: Mapping[str, tuple[int, ...]], ranges: Mapping[str, tuple[float, float]]
    ) -> None:
        self._graph, self._shapes, self._ranges = graph, shapes, ranges
        self._tape = Tape(graph)

    def step(self, node: Any, inputs: Array) -> None:
        """Run an operation; its values are there until `done` was called by all that read them."""
        import tensorflow as tf

        if node.op == "Placeholder":
            values = [tf.constant(inputs)]
        else:
            values = execute(node, self._tape.operands(node), self._shapes.get(node.name))
        self._tape.put(node.name, values)

    def done(self, node: Any) -> None:
        """Let go of what an operation has read."""
        self._tape.read(i for i in node.input if node_of(i) not in self._graph.constants)

    def seen(self, node: Any, bias: Any, read: Any, shape: tuple[int, ...]) -> Seen:
        """Return some places of a linear operation that was just run.

        Args:
            node: the operation.
            bias: the node that adds its bias, or None.
            read: what the twin's operation reads.
            shape: of its weights.
        """
        import tensorflow as tf

        wanted, counts = made_rows(self._tape.get(node.name)[0], node, shape), None
        if bias is not None:
            added = self._graph.constants[node_of(bias.input[1])].astype("float32")
            wanted += tf.constant(added.reshape(wanted.shape[2], wanted.shape[1]).T.copy())
            counts = self._counts(bias, wanted)
        return Seen(node=node, shape=shape, read=read_rows(read, node, shape), wanted=wanted, counts=counts)

    def _counts(self, bias: Any, wanted: Any) -> Any:
        """Return what each value counts before the activation function that alone reads it."""
        import tensorflow as tf

        users = self._tape.readers(bias.name)
        user = self._graph.nodes[users[0]] if len(users) == 1 else None
        if user is None or user.op not in ACTIVATIONS:
            return None
        high = self._ranges.get(user.name, (0.0, float(tf.reduce_max(wanted))))[1]
        high = min(high, CEILING) if user.op == "Relu6" else high
        beyond = NEAR * high
        return tf.where((wanted > -beyond) & (wanted < high + beyond), 1.0, FAR)
