"""Measure a network's tensors on a few inputs: what tells them apart, and where to cut their ranges."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgekit.convert.methods import BINS, METHODS, Histogram, Tally
from edgekit.convert.ptq.execute import walk
from edgekit.convert.ranges import grid
from edgekit.convert.ties import MOVING, tied

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from edgekit.convert.ranges import CalibrationRecord, Prints
    from edgekit.source.graph import Graph

    Shapes = Mapping[str, tuple[int, ...]]
TRIED = 2
"""Inputs that make a batch."""
SAME = 1e-3
"""Of a tensor's largest value: prints are the same when they differ by no more."""


def keeps_a_batch(graph: Graph, shapes: Shapes, prints: Prints) -> bool:
    """Tell whether two inputs give in a batch what each gave alone, or in batches that were tried.

    Rows within the network (places, steps of time) may be in any order, as long as they find back.

    Args:
        graph: the float network.
        shapes: of its tensors with a batch of 1.
        prints: of the very graph.
    """
    import numpy as np
    import tensorflow as tf

    few = dataclasses.replace(prints, inputs=prints.inputs[:TRIED])
    try:
        found = prints_of(graph, shapes, few).values
    except (tf.errors.OpError, ValueError):  # a shape does not fit a batch
        return False
    return all(
        bool((np.abs(found[name] - wanted[:TRIED]) <= SAME * max(float(np.abs(wanted).max()), 1e-30)).all())
        for name, wanted in prints.values.items()
        if is_row(shapes, name)
    )


def is_row(shapes: Shapes, name: str) -> bool:
    """Tell whether a tensor has a row an input; others hold the inputs in an order of their own."""
    return bool(shapes[name]) and shapes[name][0] == 1


def prints_of(graph: Graph, shapes: Shapes, like: Prints, *, batch: int | None = None) -> Prints:
    """Return what tells the tensors of a graph apart, for the same inputs and tensors as before.

    Args:
        graph: operations and constants.
        shapes: of its tensors with a batch of 1.
        like: with the inputs and the tensors' names.
        batch: how many inputs at a time; None for all at once.
    """
    import numpy as np

    found: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in like.sizes}
    batch = batch or len(like.inputs)
    for begin in range(0, len(like.inputs), batch):
        inputs = like.inputs[begin : begin + batch]

        def see(name: str, tensor: Any, count: int = len(inputs)) -> None:
            if name in like.sizes:
                rows = tensor.numpy().reshape(count, -1)
                stacked = np.stack([rows.min(axis=1), rows.max(axis=1), rows.mean(axis=1)], axis=1)
                found[name].append(stacked)

        walk(graph, shapes, inputs, see)
    return dataclasses.replace(like, values={name: np.concatenate(rows) for name, rows in found.items()})


def cut_ranges(
    samples: Mapping[str, np.ndarray[Any, Any]], record: CalibrationRecord, graph_def: Any
) -> dict[str, tuple[float, float]]:
    """Return ranges cut where rounding and clipping together cost least, tied ones the same.

    Args:
        samples: some values of each tensor, by name.
        record: with the extremes of each channel over all calibration inputs.
        graph_def: of a graph with the same operations.
    """
    found = dict(record.ranges)
    for name, values in samples.items():
        if name in record.spans and name != "input":
            low, high = (float(edge) for edge in (record.spans[name][0].min(), record.spans[name][1].max()))
            found[name] = _tally(values, low, high).range("mse")
    return tied(graph_def, found)


def picked_ranges(
    samples: Mapping[str, np.ndarray[Any, Any]], record: CalibrationRecord, graph_def: Any
) -> tuple[dict[str, tuple[float, float]], dict[str, str]]:
    """Return each tensor's range by the method that costs its values least, and that method's name.

    Every method's range is tried on the very values: rounded to its grid and cut at its ends.

    Args:
        samples: some values of each tensor, by name.
        record: with the extremes of each channel over all calibration inputs.
        graph_def: of a graph with the same operations.
    """
    found, picked = dict(record.ranges), {}
    operations = {node.name: node.op for node in graph_def.node}
    for name, values in samples.items():
        moved = operations.get(name.split(":")[0]) in MOVING  # it has the range of what it moves
        if name in record.spans and name != "input" and not moved:
            offered = _offered(values, record, name)
            costs = {method: _cost(values, limits) for method, limits in offered.items()}
            picked[name] = min(costs, key=lambda method: costs[method])  # the first of equals: METHODS' order
            found[name] = offered[picked[name]]
    return tied(graph_def, found), picked


def _offered(
    values: np.ndarray[Any, Any], record: CalibrationRecord, name: str
) -> dict[str, tuple[float, float]]:
    """Return a tensor's range by each method."""
    low, high = (float(edge) for edge in (record.spans[name][0].min(), record.spans[name][1].max()))
    tally = _tally(values, low, high)
    means = record.means.get(name)
    if means is None:
        return {method: tally.range(method) for method in METHODS if method != "moving-average"}
    tally.mean_low, tally.mean_high, tally.weight = float(means[0].min()), float(means[1].max()), 1.0
    return {method: tally.range(method) for method in METHODS}


def _cost(values: np.ndarray[Any, Any], limits: tuple[float, float]) -> float:
    """Return the squared error of storing values in 8 bits."""
    import numpy as np

    held = grid(*limits)
    places = np.rint(values.reshape(-1) * np.float32(1 / held.scale))
    np.clip(places, -128 - held.zero_point, 127 - held.zero_point, out=places)
    lost = places * np.float32(held.scale) - values.reshape(-1)
    return float(np.dot(lost, lost))


def _tally(values: np.ndarray[Any, Any], low: float, high: float) -> Tally:
    import numpy as np

    _, exponent = np.frexp(max(abs(low), abs(high), 1e-30))
    half = BINS // 2
    scaled = values.reshape(-1) * np.float32(half / 2.0 ** int(exponent))
    places = np.clip(np.floor(scaled).astype(np.int64) + half, 0, BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    return Tally(low=low, high=high, histogram=Histogram(exponent=int(exponent), counts=counts))
