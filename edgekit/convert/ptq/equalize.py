"""Give the channels of a tensor ranges that are nearer to each other, without changing the network.

A channel that uses little of the range that it shares is multiplied where it is made and divided where it is
read. Source: Nagel et al. (2019), section 4.1; with weights of a grid each output of its own it is the
activations that gain, so the factor is the square root of what a channel could be stretched by, half of it
at the readers' cost, as in Xiao et al., "SmoothQuant" (2023), section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.ptq.channels import FIXED, Channels
from edgekit.convert.ptq.grids import from_rows, readers_of, weight_rows
from edgekit.source.graph import node_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np

    from edgekit.source.graph import Graph

    Spans = Mapping[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]

SHARE = 0.5
"""The exponent: 0 leaves all as it is, 1 gives every channel the whole range.

A depthwise convolution reads each channel with weights on a grid of their own: there the whole range costs
nothing."""
_TINY = 1e-12
_CEILING = 6.0
_LARGEST = 2.0**10
"""A channel that is all but dead is not worth more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """What each class of channels is multiplied by.

    Attributes:
        values: one a class; 1 for FIXED.
        channels: the classes.
    """

    values: np.ndarray[Any, Any]
    channels: Channels

    @property
    def changed(self) -> int:
        """How many classes are multiplied by more than 1."""
        return int((self.values > 1).sum())


def factors_for(graph: Graph, channels: Channels, spans: Spans, stored: Iterable[str]) -> Factors:
    """Return factors that bring the ranges of a tensor's channels together.

    Args:
        graph: the float network.
        channels: its classes.
        spans: the smallest and the largest value of each channel, by tensor.
        stored: the tensors that share a range among their channels.
    """
    import numpy as np

    known = [name for name in stored if name in channels.tensors and name in spans]
    reach = np.zeros(channels.count)
    for name in known:
        np.maximum.at(reach, channels.tensors[name], _reach(spans[name]))
    room = np.full(channels.count, np.inf)
    limit = np.full(channels.count, _LARGEST)
    for name in known:
        classes = channels.tensors[name]
        largest = float(reach[classes].max())
        if graph.nodes[node_of(name)].op == "Relu6":
            largest = min(largest, _CEILING)
            np.minimum.at(limit, classes, _CEILING / np.maximum(reach[classes], _TINY))
        np.minimum.at(room, classes, largest / np.maximum(reach[classes], _TINY))
    values = np.where(np.isfinite(room) & (reach > 0), room, 1.0) ** _shares(graph, channels)
    values = np.maximum(np.minimum(values, limit), 1.0)
    values[FIXED] = 1.0
    return Factors(values=values, channels=channels)


def _shares(graph: Graph, channels: Channels) -> np.ndarray[Any, Any]:
    """Return the exponent of each class: whole where only depthwise convolutions read it, at no cost."""
    import numpy as np

    found = np.ones(channels.count)
    for name, read in channels.read.items():
        if read is not None and graph.nodes[name].op != "DepthwiseConv2dNative":
            found[read] = SHARE
    return found


def _reach(span: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.asarray(np.maximum(np.abs(span[0]), np.abs(span[1])), np.float64)


def equalized(graph: Graph, factors: Factors) -> dict[str, np.ndarray[Any, Any]]:
    """Return the new constants, float64, by the node that reads them: weights and biases."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    readers = readers_of(graph)
    for name, classes in factors.channels.made.items():
        node = graph.nodes[name]
        made, read = factors.values[classes], factors.channels.read[name]
        taken = None if read is None else factors.values[read]
        if (made == 1).all() and (taken is None or (taken == 1).all()):
            continue
        weights = graph.constants[node_of(node.input[1])].astype("float64")
        found[name] = _scaled(weights, node, made, taken)
        users = [graph.nodes[user] for user in readers[name]]
        if (made != 1).any() and len(users) == 1 and users[0].op == "BiasAdd":
            found[users[0].name] = graph.constants[node_of(users[0].input[1])] * made
    return found


def _scaled(
    weights: np.ndarray[Any, Any], node: Any, made: np.ndarray[Any, Any], taken: np.ndarray[Any, Any] | None
) -> np.ndarray[Any, Any]:
    import numpy as np

    rows = weight_rows(weights, node) * made.reshape(-1, weight_rows(weights, node).shape[1], 1)
    if taken is not None:
        if node.op == "DepthwiseConv2dNative":
            rows = rows / taken[:, None, None]
        else:
            rows = rows / np.tile(taken, rows.shape[2] // len(taken))
    return from_rows(rows, weights, node)


def scaled_spans(spans: Spans, factors: Factors) -> dict[str, tuple[Any, Any]]:
    """Return the smallest and the largest value of each channel after scaling."""
    found = {}
    for name, (low, high) in spans.items():
        classes = factors.channels.tensors.get(name)
        factor = 1.0 if classes is None else factors.values[classes]
        found[name] = (low * factor, high * factor)
    return found
