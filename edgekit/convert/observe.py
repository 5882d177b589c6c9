"""Run the float graph once over the calibration data, and make one range a tensor of what was measured."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from edgekit.bundle import PIXELS
from edgekit.convert.meter import meter
from edgekit.convert.methods import AVERAGING, WITH_HISTOGRAM, Tally, known_method
from edgekit.convert.ranges import CalibrationRecord, Prints
from edgekit.convert.ties import tied
from edgekit.source.fold import LINEAR
from edgekit.source.memory import give_back

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from edgekit.convert.calibrate import CalibrationData
    from edgekit.source import FrozenGraph

PRINTED = 4
"""So many inputs tell tensors apart."""
FLAT = 1e-6
"""A tensor is flat when no channel varies by more than this share of the tensor's largest value."""
_SKIPPED = ("Const", "Placeholder", "NoOp")


def calibrate(
    frozen: FrozenGraph,
    data: CalibrationData,
    method: str,
    tell: Callable[[int, int], None] | None = None,
) -> CalibrationRecord:
    """Measure every activation's range.

    Args:
        frozen: the frozen graph; run once over the inputs, in TensorFlow, in batches where it allows them.
        data: representative inputs.
        method: one of `methods.METHODS`.
        tell: called after each batch with how many inputs are done, and how many there are.

    Raises:
        UnknownNameError: there is no such method.
    """
    known_method(method)
    names = watched(frozen.graph_def)
    measure = meter(frozen, names, with_counts=method in WITH_HISTOGRAM, count=data.count)
    seen = _Seen(names=measure.names, widths=measure.widths)
    with contextlib.closing(measure):
        for begin in range(0, data.count, measure.batch):
            rows = data.inputs[begin : begin + measure.batch]
            seen.take(measure.function(rows, begin < PRINTED))
            if tell is not None:
                tell(begin + len(rows), data.count)
    give_back()
    ranges = {name: tally.range(method) for name, tally in seen.tallies.items()}
    if frozen.source.fused is not None:
        ranges["input"] = PIXELS  # whatever the data holds: 8 bits are then the pixels' own bytes
    return CalibrationRecord(
        sha256=data.sha256,
        count=data.count,
        method=method,
        ranges=tied(frozen.graph_def, ranges),
        flat=seen.flat(),
        spans=seen.spans(),
        means=seen.means(),
        one_colour=_one_colour(data.inputs, frozen.source.input.layout),
        prints=Prints(
            inputs=data.inputs[:PRINTED],
            sizes=dict(zip(measure.names, measure.sizes, strict=True)),
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


class _Seen:
    """What is known of all tensors so far; its size does not depend on how many inputs went by."""

    def __init__(self, *, names: list[str], widths: list[int]) -> None:
        import numpy as np

        self.names = names
        self.starts = np.cumsum([0, *widths[:-1]])
        self.tallies = {name: Tally() for name in names}
        self.low = np.full(sum(widths), np.inf, np.float32)
        self.high = np.full(sum(widths), -np.inf, np.float32)
        self._means = np.zeros((2, sum(widths)), np.float32)
        self._weight = 0.0
        self._prints: list[np.ndarray[Any, Any]] = []

    def take(self, measured: list[Any]) -> None:
        """Take in what the meter said of a batch."""
        import numpy as np

        _, low, high, mean, *counted = measured
        self.low, self.high = np.minimum(self.low, low.min(axis=0)), np.maximum(self.high, high.max(axis=0))
        for least, largest in zip(low, high, strict=True):
            self._means *= 1 - AVERAGING
            self._means[0] += AVERAGING * least
            self._means[1] += AVERAGING * largest
            self._weight = self._weight * (1 - AVERAGING) + AVERAGING
        lows = np.minimum.reduceat(low, self.starts, axis=1)
        highs = np.maximum.reduceat(high, self.starts, axis=1)
        for index, tally in enumerate(self.tallies.values()):
            for least, largest in zip(lows[:, index], highs[:, index], strict=True):
                tally.see(float(least), float(largest))
            if counted:
                tally.count(int(counted[0][index]), counted[1][index])
        wanted = PRINTED - len(self._prints)
        self._prints += list(np.stack([lows, highs, mean], axis=2)[:wanted])

    def prints(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return K x (smallest, largest, mean) of each tensor."""
        import numpy as np

        stacked = np.stack(self._prints, axis=1)
        return {name: stacked[index] for index, name in enumerate(self.names)}

    def spans(self) -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """Return the smallest and the largest value of each channel, by tensor."""
        return self._by_tensor(self.low, self.high)

    def means(self) -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """Return the moving averages of each input's smallest and largest value of each channel."""
        return self._by_tensor(*(self._means / max(self._weight, AVERAGING)))

    def _by_tensor(
        self, low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]
    ) -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        import numpy as np

        lows, highs = np.split(low, self.starts[1:]), np.split(high, self.starts[1:])
        return {name: (lows[index], highs[index]) for index, name in enumerate(self.names)}

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
