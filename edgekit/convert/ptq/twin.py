"""Run a network's 8-bit twin, node by node, and mend it on the way.

Where the twin's weights are put on their grids, its biases take back what the mean of each output channel
has moved by, quantization of everything before included. Source: Nagel et al., "Data-Free Quantization
Through Weight Equalization and Bias Correction" (2019), section 4.2, with measured means. Where weights are
rounded together, the float network runs beside it: `beside` says what for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgekit.convert.ptq.beside import CEILING, Beside
from edgekit.convert.ptq.execute import Tape, execute, is_bias, last_sums, mean_of
from edgekit.convert.ptq.grids import (
    ACTIVATIONS,
    from_rows,
    lifted,
    on_grid,
    rounded,
    stored,
    weight_rows,
)
from edgekit.convert.ptq.moments import WIDEST
from edgekit.convert.ptq.reference import Reference, reference_of
from edgekit.convert.ptq.rounding import rounded_together
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
        biases: correct them.
        rounding: round weights together, not each to the nearest step.
    """

    ranges: Mapping[str, tuple[float, float]]
    biases: bool = True
    rounding: bool = False


@dataclass(slots=True, kw_only=True)
class Twin:
    """What came of it.

    Attributes:
        wanted: the float network's outputs, N x outputs; before a softmax that ends it.
        got: the twin's.
        constants: new weights (float64, on their grids) and biases, by the node that reads them.
    """

    wanted: np.ndarray[Any, Any]
    got: np.ndarray[Any, Any]
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)


def run_twin(
    graph: Graph,
    shapes: Mapping[str, tuple[int, ...]],
    inputs: np.ndarray[Any, Any],
    mending: Mending,
    reference: Reference | None = None,
) -> Twin:
    """Run the twin on N inputs at once.

    Args:
        graph: the float network; it is not changed.
        shapes: of its tensors with a batch of 1.
        inputs: float32, N x the input's shape without its batch.
        mending: how the twin is made.
        reference: what the float network gives for these inputs; None runs it.
    """
    reference = reference or reference_of(graph, shapes, inputs)
    return _Run(graph, shapes, mending, reference).run(inputs)


class _Run:
    def __init__(
        self,
        graph: Graph,
        shapes: Mapping[str, tuple[int, ...]],
        mending: Mending,
        reference: Reference,
    ) -> None:
        self._graph, self._shapes, self._mending = graph, shapes, mending
        self._reference = reference
        self._stored = stored(graph, mending.ranges)
        self._tape = Tape(graph)
        self._constants: dict[str, np.ndarray[Any, Any]] = {}
        self._sums: dict[str, np.ndarray[Any, Any]] = {}
        self._beside = Beside(graph, shapes, mending.ranges) if mending.rounding else None
        self._moved: dict[str, np.ndarray[Any, Any]] = {}

    def run(self, inputs: np.ndarray[Any, Any]) -> Twin:
        import tensorflow as tf

        end, tape = last_sums(self._graph), self._tape
        for name in self._graph.order():
            node = self._graph.nodes[name]
            if name in self._graph.constants:
                continue
            if self._beside is not None:
                self._beside.step(node, inputs)
            made = [tf.constant(inputs)] if node.op == "Placeholder" else self._made(node)
            tape.put(name, self._store(node, made))
            if name == end:
                break
            tape.read(i for i in node.input if node_of(i) not in self._graph.constants)
            if self._beside is not None:
                self._beside.done(node)
        got = tape.get(end)[0].numpy().reshape(len(inputs), -1)
        return Twin(wanted=self._reference.outputs, got=got, constants=self._constants)

    def _made(self, node: Any) -> list[Any]:
        """Return what a node gives in the twin, its weights on their grids and its bias corrected."""
        import tensorflow as tf

        if self._is_clipped(node):
            return self._tape.operands(node)
        if node.op in LINEAR and node_of(node.input[1]) in self._graph.constants:
            return self._linear(node)
        operands = self._tape.operands(node)
        if self._mending.biases and is_bias(self._graph, node):
            moved = self._moved.pop(node.name, None)
            if moved is None:
                moved = self._reference.means[node.name] - self._sums[node_of(node.input[0])]
            self._constants[node.name] = moved
            operands = [operands[0], tf.constant(moved)]
        made = execute(node, operands, self._shapes.get(node.name))
        self._note(node, operands, made[0])
        return made

    def _note(self, node: Any, operands: list[Any], made: Any) -> None:
        """Keep the mean that a bias will be corrected by."""
        if self._mending.biases and node.op in LINEAR and self._bias_of(node) is not None:
            self._sums[node.name] = mean_of(node, operands, made)

    def _linear(self, node: Any) -> list[Any]:
        """Return what a linear operation gives with its weights on their grids."""
        import tensorflow as tf

        values, bias = self._tape.operand(node.input[0]), self._bias_of(node)
        weights = self._graph.constants[node_of(node.input[1])].astype("float64")
        rows = weight_rows(weights, node)
        seen = None
        if self._beside is not None and rows.shape[2] <= WIDEST:
            seen = self._beside.seen(node, bias, values, weights.shape)
            rows = seen.mended(rows) if self._mending.biases else rows
        rows = self._lifted(rows, node)
        rows = rounded(rows) if seen is None else rounded_together(rows, seen.spread())
        found = from_rows(rows, weights, node)
        self._constants[node.name] = found
        operands = [values, tf.constant(found.astype("float32"))]
        made = execute(node, operands, self._shapes.get(node.name))
        if seen is None or bias is None:
            self._note(node, operands, made[0])
        elif self._mending.biases:
            self._moved[bias.name] = seen.moved(made[0])
        return made

    def _is_clipped(self, node: Any) -> bool:
        """Tell whether the grid of what an activation function gives cuts all that the function would."""
        if node.op not in ACTIVATIONS or node.name not in self._stored:
            return False
        held = grid(*self._mending.ranges[node.name])
        return held.low == 0 and (node.op == "Relu" or held.high < CEILING + held.scale / 2)

    def _lifted(self, rows: np.ndarray[Any, Any], node: Any) -> np.ndarray[Any, Any]:
        limits = self._mending.ranges.get(node.input[0])
        bias = self._bias_of(node)
        if limits is None or bias is None or len(self._tape.readers(node.name)) != 1:
            return rows
        biases = self._graph.constants[node_of(bias.input[1])].astype("float64")
        return lifted(rows, biases, grid(*limits).scale)

    def _bias_of(self, node: Any) -> Any:
        """Return a node that adds a bias to a linear operation's sums; None where there is none."""
        users = (self._graph.nodes[name] for name in self._tape.readers(node.name))
        return next((user for user in users if is_bias(self._graph, user)), None)

    def _store(self, node: Any, made: list[Any]) -> list[Any]:
        """Put what is stored on its grid."""
        names = [f"{node.name}:{port}" if port else node.name for port in range(len(made))]
        ranges = self._mending.ranges
        return [
            on_grid(values, ranges[name]) if name in self._stored else values
            for name, values in zip(names, made, strict=True)
        ]
