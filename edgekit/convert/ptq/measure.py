"""Measure a network's tensors on a few inputs: what tells them apart, and where to cut their ranges."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgekit.convert.methods import BINS, Histogram, Tally
from edgekit.convert.ptq.execute import walk
from edgekit.convert.ties import tied

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from edgekit.convert.ranges import CalibrationRecord, Prints
    from edgekit.source.graph import Graph

    Shapes = Mapping[str, tuple[int, ...]]

VALUES = 2**18
"""Of a tensor, at most, from all inputs and places, for its histogram."""


def prints_of(graph: Graph, shapes: Shapes, like: Prints) -> Prints:
    """Return what tells the tensors of a graph apart, for the same inputs and tensors as before."""
    import numpy as np

    found: dict[str, np.ndarray[Any, Any]] = {}

    def see(name: str, tensor: Any) -> None:
        if name in like.sizes:
            rows = tensor.numpy().reshape(len(like.inputs), -1)
            found[name] = np.stack([rows.min(axis=1), rows.max(axis=1), rows.mean(axis=1)], axis=1)

    walk(graph, shapes, like.inputs, see)
    return dataclasses.replace(like, values={name: found[name] for name in like.sizes})


def cut_ranges(
    graph: Graph, shapes: Shapes, inputs: np.ndarray[Any, Any], record: CalibrationRecord, graph_def: Any
) -> dict[str, tuple[float, float]]:
    """Return ranges cut where rounding and clipping together cost least, tied ones the same.

    Args:
        graph: the float network.
        shapes: of its tensors with a batch of 1.
        inputs: those to measure on.
        record: with the extremes of each channel over all calibration inputs.
        graph_def: of a graph with the same operations.
    """
    found = dict(record.ranges)

    def see(name: str, tensor: Any) -> None:
        if name in record.spans and name != "input":
            low, high = (float(edge) for edge in (record.spans[name][0].min(), record.spans[name][1].max()))
            found[name] = _tally(tensor.numpy(), low, high).range("mse")

    walk(graph, shapes, inputs, see)
    return tied(graph_def, found)


def _tally(values: np.ndarray[Any, Any], low: float, high: float) -> Tally:
    import numpy as np

    some = values.reshape(-1)
    if some.size > VALUES:  # a stride would meet the same channels again and again
        some = some[np.random.default_rng(0).integers(0, some.size, VALUES)]
    _, exponent = np.frexp(max(abs(low), abs(high), 1e-30))
    half = BINS // 2
    places = np.clip(np.floor(some * (half / 2.0 ** int(exponent))).astype(np.int64) + half, 0, BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    return Tally(low=low, high=high, histogram=Histogram(exponent=int(exponent), counts=counts))
