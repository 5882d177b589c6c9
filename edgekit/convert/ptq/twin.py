"""Run the float network and its 8-bit twin side by side, node by node, and mend the twin on the way.

Where the twin's weights are put on their grids, its biases take back what the mean of each output channel
has moved by, quantization of everything before included. Source: Nagel et al., "Data-Free Quantization
Through Weight Equalization and Bias Correction" (2019), section 4.2, with measured means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgekit.convert.ptq.execute import Tape, execute
from edgekit.convert.ptq.grids import (
    ACTIVATIONS,
    SUMS,
    from_rows,
    lifted,
    on_grid,
    readers_of,
    rounded,
    stored,
    weight_rows,
)
from edgekit.convert.ptq.layers import Layer, layer, rounding_snr
from edgekit.convert.ptq.rounding import WIDEST, moments, rounded_together
from edgekit.convert.ranges import grid
from edgekit.source.fold import LINEAR
from edgekit.source.graph import node_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from edgekit.source.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Mending:
    """How a twin is made.

    Attributes:
        ranges: (low, high) of the tensors that are stored, by name; none leaves activations float.
        biases: correct them; where constants are given, whether they were.
        rounding: round weights together, not each to the nearest step.
        given: the constants that an earlier run made; they are taken, and the layers are looked at.
    """

    ranges: Mapping[str, tuple[float, float]]
    biases: bool = True
    rounding: bool = False
    given: Mapping[str, np.ndarray[Any, Any]] | None = None


@dataclass(slots=True, kw_only=True)
class Twin:
    """What came of it.

    Attributes:
        wanted: the float network's outputs, N x outputs; before a softmax that ends it.
        got: the twin's.
        constants: new weights (float64, on their grids) and biases, by the node that reads them.
        layers: what each stored tensor lost, in the order of computing; only where constants were given.
    """

    wanted: np.ndarray[Any, Any]
    got: np.ndarray[Any, Any]
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)


def run_twin(
    graph: Graph, shapes: Mapping[str, tuple[int, ...]], inputs: np.ndarray[Any, Any], mending: Mending
) -> Twin:
    """Run both networks on N inputs at once.

    Args:
        graph: the float network; it is not changed.
        shapes: of its tensors with a batch of 1.
        inputs: float32, N x the input's shape without its batch.
        mending: how the twin is made.
    """
    return _Run(graph, shapes, mending).run(inputs)


class _Run:
    def __init__(self, graph: Graph, shapes: Mapping[str, tuple[int, ...]], mending: Mending) -> None:
        self._graph, self._shapes, self._mending = graph, shapes, mending
        self._stored = stored(graph, mending.ranges)
        self._end = last_sums(graph)
        self._readers = readers_of(graph)
        self._constants: dict[str, np.ndarray[Any, Any]] = {}
        self._layers: list[Layer] = []
        self._rounding: dict[str, float] = {}

    def run(self, inputs: np.ndarray[Any, Any]) -> Twin:
        import tensorflow as tf

        real, twin = Tape(self._graph), Tape(self._graph)
        outputs: tuple[Any, Any] | None = None
        for name in self._graph.order():
            node = self._graph.nodes[name]
            if name in self._graph.constants:
                continue
            if node.op == "Placeholder":
                here, there = [tf.constant(inputs)], [tf.constant(inputs)]
            else:
                here = execute(node, real.operands(node), self._shapes.get(name))
                there = self._twin(node, twin.operands(node), here)
            there = self._store(node, here, there)
            real.put(name, here)
            twin.put(name, there)
            if name == self._end:
                outputs = here[0].numpy(), there[0].numpy()
                break
            flowing = [i for i in node.input if node_of(i) not in self._graph.constants]
            real.read(flowing)
            twin.read(flowing)
        if outputs is None:
            raise ValueError("a graph ends in its output")
        wanted, got = (o.reshape(len(inputs), -1) for o in outputs)
        return Twin(wanted=wanted, got=got, constants=self._constants, layers=self._layers)

    def _twin(self, node: Any, operands: list[Any], real: list[Any]) -> list[Any]:
        """Return what a node gives in the twin, its weights on their grids and its bias corrected."""
        import tensorflow as tf

        if self._mending.given is not None:
            return self._as_given(node, operands, self._mending.given)
        if node.op in LINEAR and node_of(node.input[1]) in self._graph.constants:
            weights = self._weights(node, operands[0])
            operands[1] = tf.constant(weights.astype("float32"))
        elif self._mending.biases and self._is_bias(node):
            operands[1] = self._bias(node, operands, real)
        return execute(node, operands, self._shapes.get(node.name))

    def _as_given(
        self, node: Any, operands: list[Any], given: Mapping[str, np.ndarray[Any, Any]]
    ) -> list[Any]:
        """Return what a node gives with the constants of an earlier run; note what their rounding costs."""
        import tensorflow as tf

        if node.name not in given:
            return execute(node, operands, self._shapes.get(node.name))
        exact, operands[1] = operands[1], tf.constant(given[node.name].astype("float32"))
        found = execute(node, operands, self._shapes.get(node.name))
        if node.op in LINEAR:
            lost = execute(node, [operands[0], exact - operands[1]], self._shapes.get(node.name))
            self._rounding[node.name] = rounding_snr(found[0], lost[0], centred=self._mending.biases)
        return found

    def _rounded(self, node: Any) -> float | None:
        """Return the same of the sums that a stored tensor is made of; None where it is made of none."""
        while node.op in (*ACTIVATIONS, *SUMS) and node.name not in self._rounding:
            before = node_of(node.input[0])
            if before in self._stored or before not in self._graph.nodes:
                return None
            node = self._graph.nodes[before]
        return self._rounding.get(node.name)

    def _weights(self, node: Any, values: Any) -> np.ndarray[Any, Any]:
        weights = self._graph.constants[node_of(node.input[1])].astype("float64")
        rows = self._lifted(weight_rows(weights, node), node)
        if self._mending.rounding and rows.shape[2] <= WIDEST:
            rows = rounded_together(rows, moments(values, node, weights.shape))
        else:
            rows = rounded(rows)
        found = from_rows(rows, weights, node)
        self._constants[node.name] = found
        return found

    def _lifted(self, rows: np.ndarray[Any, Any], node: Any) -> np.ndarray[Any, Any]:
        limits = self._mending.ranges.get(node.input[0])
        users = [self._graph.nodes[name] for name in self._readers[node.name]]
        if limits is None or len(users) != 1 or not self._is_bias(users[0]):
            return rows
        biases = self._graph.constants[node_of(users[0].input[1])].astype("float64")
        return lifted(rows, biases, grid(*limits).scale)

    def _is_bias(self, node: Any) -> bool:
        if node.op not in ("BiasAdd", "Add", "AddV2"):
            return False
        inner = self._graph.nodes.get(node_of(node.input[0]))
        bias = self._graph.constants.get(node_of(node.input[1]))
        return inner is not None and inner.op in LINEAR and bias is not None and bias.ndim == 1

    def _bias(self, node: Any, operands: list[Any], real: list[Any]) -> Any:
        import tensorflow as tf

        moved = execute(node, operands)[0]
        places = list(range(len(moved.shape) - 1))
        found = operands[1] + tf.reduce_mean(real[0] - moved, places)
        self._constants[node.name] = found.numpy()
        return found

    def _store(self, node: Any, real: list[Any], twin: list[Any]) -> list[Any]:
        """Put what is stored on its grid, and note what was lost."""
        found = list(twin)
        for port, values in enumerate(twin):
            name = f"{node.name}:{port}" if port else node.name
            if name in self._stored:
                found[port] = on_grid(values, self._mending.ranges[name])
                if self._mending.given is None:
                    continue
                values_of = (real[port], values, found[port])
                limits = self._mending.ranges[name]
                self._layers.append(layer(name, node.op, values_of, limits, self._rounded(node)))
        return found


def last_sums(graph: Graph) -> str:
    """Return the node that makes the outputs, before a softmax that ends the network."""
    node = graph.nodes[graph.output]
    while node.op in ("Identity", "Softmax") and node_of(node.input[0]) in graph.nodes:
        node = graph.nodes[node_of(node.input[0])]
    return str(node.name)
