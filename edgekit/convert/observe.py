"""Run the float graph once over the calibration data; ranges and histograms are reduced inside the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.bundle import PIXELS
from edgekit.convert.methods import BINS, WITH_HISTOGRAM, Tally, known_method
from edgekit.convert.ranges import CalibrationRecord, Prints
from edgekit.convert.ties import tied
from edgekit.source.fold import LINEAR

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from edgekit.convert.calibrate import CalibrationData
    from edgekit.source import FrozenGraph

PRINTED = 4
"""So many inputs tell tensors apart."""
FLAT = 1e-6
"""A tensor is flat when no channel varies by more than this share of the tensor's largest value."""
_TINY = 1e-30
_SKIPPED = ("Const", "Placeholder", "NoOp")


def calibrate(
    frozen: FrozenGraph,
    data: CalibrationData,
    method: str,
    tell: Callable[[int, int], None] | None = None,
) -> CalibrationRecord:
    """Measure every activation's range.

    Args:
        frozen: the frozen graph; run once an input, in TensorFlow.
        data: representative inputs.
        method: one of `methods.METHODS`.
        tell: called with how many inputs are done, and how many there are.

    Raises:
        UnknownNameError: there is no such method.
    """
    known_method(method)
    names = watched(frozen.graph_def)
    meter = _meter(frozen, names, with_counts=method in WITH_HISTOGRAM)
    seen = _Seen(names=meter.names, widths=meter.widths)
    for done, row in enumerate(data.inputs, start=1):
        seen.take(meter.function(row[None]))
        if tell is not None:
            tell(done, data.count)
    ranges = {name: tally.range(method) for name, tally in seen.tallies.items()}
    if frozen.source.fused is not None:
        ranges["input"] = PIXELS  # whatever the data holds: 8 bits are then the pixels' own bytes
    return CalibrationRecord(
        sha256=data.sha256,
        count=data.count,
        method=method,
        ranges=tied(frozen.graph_def, ranges),
        flat=seen.flat(),
        one_colour=_one_colour(data.inputs, frozen.source.input.layout),
        prints=Prints(
            inputs=data.inputs[:PRINTED],
            sizes=dict(zip(meter.names, meter.sizes, strict=True)),
            values=seen.prints(),
        ),
    )


def watched(graph_def: Any) -> list[str]:
    """Return the tensors that an artifact may have, in the order of computing.

    A convolution whose only reader adds its bias is left out: every format joins the two.
    """
    readers: dict[str, list[str]] = {}
    operations = {node.name: node.op for node in graph_def.node}
    for node in graph_def.node:
        for name in node.input:
            readers.setdefault(name.split(":")[0].lstrip("^"), []).append(node.name)
    names = ["input"]
    for node in graph_def.node:
        users = readers.get(node.name, [])
        biased = node.op in LINEAR and len(users) == 1 and operations[users[0]] == "BiasAdd"
        if node.op not in _SKIPPED and not biased:
            names.append(node.name)
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meter:
    """The graph with its reductions: by channel the least and the largest value, the mean, and counts."""

    function: Callable[[Any], list[Any]]
    names: list[str]
    widths: list[int]
    sizes: list[int]


def _meter(frozen: FrozenGraph, names: list[str], *, with_counts: bool) -> _Meter:
    import tensorflow as tf

    kept: list[tuple[str, Any]] = []

    def load(image: Any) -> list[Any]:
        tf.graph_util.import_graph_def(frozen.graph_def, input_map={"input:0": image}, name="m")
        kept.extend(_tensors(tf.compat.v1.get_default_graph(), names, image))
        rows = [tf.reshape(tensor, [-1, tensor.shape[-1] or 1]) for _, tensor in kept]
        measured = [
            tf.concat([tf.reduce_min(row, axis=0) for row in rows], 0),
            tf.concat([tf.reduce_max(row, axis=0) for row in rows], 0),
            tf.stack([tf.reduce_mean(row) for row in rows]),
        ]
        return measured + ([_exponents(rows), _counts(rows)] if with_counts else [])

    spec = tf.TensorSpec(frozen.source.input.shape, tf.float32)
    wrapped = tf.compat.v1.wrap_function(load, [spec])
    return _Meter(
        function=lambda image: [value.numpy() for value in wrapped(tf.constant(image))],
        names=[name for name, _ in kept],
        widths=[int(tensor.shape[-1]) for _, tensor in kept],
        sizes=[int(tensor.shape.num_elements()) for _, tensor in kept],
    )


def _tensors(graph: Any, names: list[str], image: Any) -> list[tuple[str, Any]]:
    """Return the float tensors of known shape, by name; only a node's later outputs carry a number."""
    import tensorflow as tf

    found = [(names[0], image)]
    for name in names[1:]:
        for index, tensor in enumerate(graph.get_operation_by_name(f"m/{name}").outputs):
            known = tensor.dtype == tf.float32 and tensor.shape.is_fully_defined()
            if known and tensor.shape.rank and tensor.shape.num_elements():
                found.append((f"{name}:{index}" if index else name, tensor))
    return found


def _exponents(rows: list[Any]) -> Any:
    import tensorflow as tf

    largest = tf.stack([tf.reduce_max(tf.abs(row)) for row in rows])
    logarithm = tf.math.log(tf.cast(tf.maximum(largest, _TINY), tf.float64)) / tf.math.log(
        tf.constant(2.0, tf.float64)
    )
    return tf.cast(tf.floor(logarithm) + 1.0, tf.int32)


def _counts(rows: list[Any]) -> Any:
    import tensorflow as tf

    counted = []
    for row, exponent in zip(rows, tf.unstack(_exponents(rows)), strict=True):
        scaled = tf.reshape(row, [-1]) * (BINS / 2 / tf.pow(2.0, tf.cast(exponent, tf.float32)))
        places = tf.clip_by_value(tf.cast(tf.floor(scaled), tf.int32) + BINS // 2, 0, BINS - 1)
        counted.append(tf.math.bincount(places, minlength=BINS, maxlength=BINS))
    return tf.stack(counted)


class _Seen:
    """What is known of all tensors so far; its size does not depend on how many inputs went by."""

    def __init__(self, *, names: list[str], widths: list[int]) -> None:
        import numpy as np

        self.names = names
        self.starts = np.cumsum([0, *widths[:-1]])
        self.tallies = {name: Tally() for name in names}
        self.low = np.full(sum(widths), np.inf, np.float32)
        self.high = np.full(sum(widths), -np.inf, np.float32)
        self._prints: list[np.ndarray[Any, Any]] = []

    def take(self, measured: list[Any]) -> None:
        """Take in what the meter said of one input."""
        import numpy as np

        low, high, mean, *counted = measured
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        lows, highs = np.minimum.reduceat(low, self.starts), np.maximum.reduceat(high, self.starts)
        for index, tally in enumerate(self.tallies.values()):
            tally.see(float(lows[index]), float(highs[index]))
            if counted:
                tally.count(int(counted[0][index]), counted[1][index])
        if len(self._prints) < PRINTED:
            self._prints.append(np.stack([lows, highs, mean], axis=1))

    def prints(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return K x (smallest, largest, mean) of each tensor."""
        import numpy as np

        stacked = np.stack(self._prints, axis=1)
        return {name: stacked[index] for index, name in enumerate(self.names)}

    def flat(self) -> tuple[str, ...]:
        """Return the tensors in which no channel varied."""
        import numpy as np

        spread = np.maximum.reduceat(self.high - self.low, self.starts)
        largest = np.maximum.reduceat(np.maximum(abs(self.low), abs(self.high)), self.starts)
        return tuple(n for n, s, m in zip(self.names, spread, largest, strict=True) if s <= FLAT * m)


def _one_colour(inputs: np.ndarray[Any, Any], layout: str) -> int:
    """Return how many inputs have the same value at every place of each channel."""
    if layout == "NCHW":
        inputs = inputs.transpose(0, 2, 3, 1)
    rows = inputs.reshape(len(inputs), -1, inputs.shape[-1])
    return sum(bool((row == row[0]).all()) for row in rows) if rows.shape[1] > 1 else 0
