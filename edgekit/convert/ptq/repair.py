"""Take dead channels out of the way: those that hold one value whatever the input.

Their weights mean nothing (a batch norm with a variance of next to nothing multiplies noise by hundreds),
but their value may stretch the range that all channels share. Where everybody who reads the channel can have
its value in a bias instead, the channel becomes 0. Elsewhere it stays as it is: a channel that its bias alone
makes has no step that 32 bits of bias fit into.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.ptq.channels import FIXED, Channels
from edgekit.convert.ptq.grids import from_rows, readers_of, weight_rows
from edgekit.source.graph import node_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from edgekit.source.graph import Graph

    Spans = Mapping[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]
    Constants = dict[str, np.ndarray[Any, Any]]

STILL = 1e-6
"""A channel is dead when it varies by no more than this share of its tensor's largest value."""
LEAST = 8
"""So many inputs say whether a channel varies, at least."""


def repaired(graph: Graph, channels: Channels, spans: Spans) -> tuple[Constants, dict[str, int]]:
    """Return new constants by the node that reads them, and how many channels are dead, by tensor.

    Args:
        graph: the float network.
        channels: its classes.
        spans: the smallest and the largest value of each channel, by tensor.
    """
    repair = _Repair(graph, channels, spans)
    for name in channels.made:
        repair.mend(name)
    return repair.found, repair.dead


class _Repair:
    def __init__(self, graph: Graph, channels: Channels, spans: Spans) -> None:
        self._graph, self._channels, self._spans = graph, channels, spans
        self._readers = readers_of(graph)
        self.found: Constants = {}
        self.dead: dict[str, int] = {}

    def mend(self, name: str) -> None:
        """Let the dead channels of a linear operation be 0, where that can be."""
        import numpy as np

        bias = self._bias(name)
        if bias is None or bias not in self._spans:
            return
        low, high = self._spans[bias]
        still = _still(low, high)
        if not still.any():
            return
        self.dead[bias] = int(still.sum())
        classes = self._channels.made[name]
        silent = np.array([alone and self._absorbed(int(n)) for n, alone in zip(classes, still, strict=True)])
        if silent.any():
            self._silence(name, bias, silent)

    def _bias(self, name: str) -> str | None:
        """Return the node that adds a linear operation's bias."""
        users = self._readers.get(name, [])
        node = self._graph.nodes[users[0]] if len(users) == 1 else None
        if node is None or node.op != "BiasAdd" or node_of(node.input[1]) not in self._graph.constants:
            return None
        return users[0]

    def _silence(self, name: str, bias: str, silent: np.ndarray[Any, Any]) -> None:
        import numpy as np

        weights = self._current(name)
        rows = weight_rows(weights, self._graph.nodes[name]).copy()
        rows.reshape(-1, rows.shape[2])[silent] = 0.0
        self.found[name] = from_rows(rows, weights, self._graph.nodes[name])
        self.found[bias] = np.where(silent, 0.0, self._current(bias))

    def _absorbed(self, number: int) -> bool:
        """Put a dead channel's value into the biases of all who read it; tell whether that can be done."""
        makers = sum(int((made == number).sum()) for made in self._channels.made.values())
        users = [
            (name, int(place))
            for name, read in self._channels.read.items()
            if read is not None
            for place in (read == number).nonzero()[0]
        ]
        if number == FIXED or makers != 1 or not all(self._takes(*user) for user in users):
            return False
        for name, place in users:
            self._into_bias(name, place)
        return bool(users)

    def _takes(self, name: str, place: int) -> bool:
        """Tell whether a channel of a linear operation's input is a constant addend of its outputs."""
        node = self._graph.nodes[name]
        pointwise = self._graph.constants[node_of(node.input[1])].shape[:2] == (1, 1)
        unpadded = node.op == "Conv2D" and (pointwise or node.attr["padding"].s == b"VALID")
        if not unpadded or self._bias(name) is None or node.input[0] not in self._spans:
            return False
        low, high = self._spans[node.input[0]]
        return bool(low[place] == high[place])

    def _into_bias(self, name: str, place: int) -> None:
        bias = self._bias(name)
        if bias is None:
            return
        value = float(self._spans[self._graph.nodes[name].input[0]][0][place])
        weights = self._current(name).copy()
        self.found[bias] = self._current(bias) + weights[:, :, place, :].sum(axis=(0, 1)) * value
        weights[:, :, place, :] = 0.0
        self.found[name] = weights

    def _current(self, name: str) -> np.ndarray[Any, Any]:
        """Return a node's constant as it is by now."""
        if name not in self.found:
            self.found[name] = self._graph.constants[node_of(self._graph.nodes[name].input[1])].astype(
                "float64"
            )
        return self.found[name]


def _still(low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.asarray(high - low <= STILL * max(float(np.abs(low).max()), float(np.abs(high).max())))
