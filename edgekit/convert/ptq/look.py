"""Run the float network and its finished 8-bit twin side by side, and tell what each stored tensor loses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.ptq.execute import Tape, execute, last_sums
from edgekit.convert.ptq.grids import ACTIVATIONS, SUMS, on_grid, stored
from edgekit.convert.ptq.layers import Layer, layer, rounding_snr
from edgekit.convert.ptq.reference import chosen
from edgekit.source.fold import LINEAR
from edgekit.source.graph import node_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from edgekit.source.graph import Graph

    Constants = Mapping[str, np.ndarray[Any, Any]]
    Ranges = Mapping[str, tuple[float, float]]


def layers_of(
    graph: Graph,
    shapes: Mapping[str, tuple[int, ...]],
    inputs: np.ndarray[Any, Any],
    ranges: Ranges,
    constants: Constants,
    *,
    biased: bool,
) -> list[Layer]:
    """Return what each stored tensor loses, in the order of computing.

    Args:
        graph: the float network.
        shapes: of its tensors with a batch of 1.
        inputs: float32, N x the input's shape without its batch.
        ranges: (low, high) of the tensors that are stored, by name.
        constants: the twin's, by the node that reads them.
        biased: whether its biases were corrected.
    """
    return _Look(graph, shapes, ranges, constants, biased=biased).run(inputs)


class _Look:
    def __init__(
        self,
        graph: Graph,
        shapes: Mapping[str, tuple[int, ...]],
        ranges: Ranges,
        constants: Constants,
        *,
        biased: bool,
    ) -> None:
        self._graph, self._shapes, self._ranges, self._given = graph, shapes, ranges, constants
        self._biased = biased
        self._stored = stored(graph, ranges)
        self._layers: list[Layer] = []
        self._rounding: dict[str, float] = {}

    def run(self, inputs: np.ndarray[Any, Any]) -> list[Layer]:
        import tensorflow as tf

        real, twin = Tape(self._graph), Tape(self._graph)
        end = last_sums(self._graph)
        for name in self._graph.order():
            node = self._graph.nodes[name]
            if name in self._graph.constants:
                continue
            if node.op == "Placeholder":
                here, there = [tf.constant(inputs)], [tf.constant(inputs)]
            else:
                here = execute(node, real.operands(node), self._shapes.get(name))
                there = self._twin(node, twin.operands(node))
            there = self._store(node, here, there)
            if name == end:
                break
            flowing = [i for i in node.input if node_of(i) not in self._graph.constants]
            for tape, values in ((real, here), (twin, there)):
                tape.put(name, values)
                tape.read(flowing)
        return self._layers

    def _twin(self, node: Any, operands: list[Any]) -> list[Any]:
        """Return what a node gives with the twin's constants; note what their rounding costs."""
        import tensorflow as tf

        shape = self._shapes.get(node.name)
        if node.name not in self._given:
            return execute(node, operands, shape)
        exact, operands[1] = operands[1], tf.constant(self._given[node.name].astype("float32"))
        found = execute(node, operands, shape)
        if node.op in LINEAR:
            lost = execute(node, [operands[0], exact - operands[1]], shape)
            sums, taken = _some((found[0], lost[0]))
            self._rounding[node.name] = rounding_snr(sums, taken, centred=self._biased)
        return found

    def _store(self, node: Any, real: list[Any], twin: list[Any]) -> list[Any]:
        """Put what is stored on its grid, and note what was lost."""
        found = list(twin)
        for port, values in enumerate(twin):
            name = f"{node.name}:{port}" if port else node.name
            if name in self._stored:
                limits = self._ranges[name]
                found[port] = on_grid(values, limits)
                wanted, before, after = _some((real[port], values, found[port]))
                rounding = self._rounded(node)
                self._layers.append(layer(name, node.op, (wanted, before, after), limits, rounding))
        return found

    def _rounded(self, node: Any) -> float | None:
        """Return the same of the sums that a stored tensor is made of; None where it is made of none."""
        while node.op in (*ACTIVATIONS, *SUMS) and node.name not in self._rounding:
            before = node_of(node.input[0])
            if before in self._stored or before not in self._graph.nodes:
                return None
            node = self._graph.nodes[before]
        return self._rounding.get(node.name)


def _some(tensors: tuple[Any, ...]) -> list[Any]:
    """Return the same rows of channels of tensors of one shape, as many as say what the rest do."""
    import tensorflow as tf

    shape = tensors[0].shape
    width = shape[-1] if shape.rank else 1
    rows = [tf.reshape(values, [-1, width]) for values in tensors]
    index = chosen(rows[0].shape[0], width)
    return rows if index is None else [tf.gather(values, index) for values in rows]
