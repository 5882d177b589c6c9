"""Two modes: whether samples gather around two latencies instead of one.

Hartigan's dip is the largest distance between the samples' distribution and the nearest one with a single
mode (J. A. Hartigan, P. M. Hartigan, "The Dip Test of Unimodality", 1985). Its test holds for every single
mode, skewed or long-tailed ones too: the uniform distribution is the hardest to tell from two modes, so the
quantile of its dips is the limit, and others pass it less often than the level says (the false-alarm rate: 1
% at most).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.bench.correlation import correlation_time
from edgekit.bench.stats import FENCE_IQRS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

DIP_LIMIT = 0.63
"""Root n times the dip: of uniform samples one in a hundred or fewer is above it (0.57 of 50, 0.61 of
1000)."""
_LEAST = 20
"""Independent samples below which no two modes are told."""
_POINTS = 1000
"""Samples that the dip is taken from, evenly by rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """Two modes.

    Attributes:
        fast: median of the faster samples, in the samples' unit.
        slow: median of the slower ones.
        share: of all samples that are slow.
        clear: whether a single mode is ruled out (1 %).
    """

    fast: float
    slow: float
    share: float
    clear: bool

    @property
    def apart(self) -> float:
        """How much slower the slow mode is than the fast one, as a share of the fast one."""
        return self.slow / self.fast - 1.0 if self.fast > 0 else 0.0


def find_modes(samples: Sequence[float]) -> Modes | None:
    """Split samples in two groups and tell whether they are two modes; None when they are too few or all
    alike.

    Args:
        samples: in the order in which they were taken.
    """
    import numpy as np

    values = np.asarray(samples, dtype=np.float64)
    if len(values) < _LEAST or values.min() == values.max():
        return None
    ordered = np.sort(values)
    first, third = np.quantile(ordered, (0.25, 0.75))
    reach = FENCE_IQRS * (third - first) or np.inf
    cut = split(np.clip(ordered, first - reach, third + reach))
    fast, slow = ordered[:cut], ordered[cut:]
    free = len(values) / correlation_time((values > fast[-1]).astype(np.float64))
    clear = free >= _LEAST and dip(ordered) * math.sqrt(free) > DIP_LIMIT
    return Modes(
        fast=float(np.median(fast)), slow=float(np.median(slow)), share=len(slow) / len(values), clear=clear
    )


def split(ordered: Array) -> int:
    """Return how many sorted values, not all alike, are the lower group of two of least squared deviations.

    (N. Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979.)
    """
    import numpy as np

    count = len(ordered)
    sums = np.cumsum(ordered - ordered.mean())[:-1]
    sizes = np.arange(1, count)
    parted = np.diff(ordered) > 0
    between = np.where(parted, sums**2 / (sizes * (count - sizes)), -1.0)
    return int(np.argmax(between)) + 1


def dip(ordered: Array) -> float:
    """Return Hartigan's dip of sorted values: 1 / (2 n) for a single mode at its clearest, 1/4 for two
    points.

    The modal interval is narrowed as in the paper's algorithm: to where the greatest convex minorant and the
    least concave majorant of the distribution are farthest apart, until nothing inside is farther apart
    than what was left outside.
    """
    import numpy as np

    if len(ordered) > _POINTS:
        ordered = ordered[np.linspace(0, len(ordered) - 1, _POINTS).round().astype(int)]
    x, counts = np.unique(ordered, return_counts=True)
    top = np.cumsum(counts) / len(ordered)
    bottom = top - counts / len(ordered)
    first, last, found = 0, len(x) - 1, 1.0 / len(ordered)
    while first < last:
        span = slice(first, last + 1)
        minorant, low_knots = _hull(x[span], bottom[span])
        majorant, high_knots = _hull(x[span], -top[span])
        gap = -majorant - minorant
        knots = np.union1d(low_knots, high_knots)
        at = int(knots[int(np.argmax(gap[knots]))])
        if float(gap[at]) <= found:
            break
        left = int(low_knots[low_knots <= at][-1])
        right = int(high_knots[high_knots >= at][0])
        outside = max(
            float((top[span] - minorant)[:left].max(initial=0.0)),
            float((-majorant - bottom[span])[right + 1 :].max(initial=0.0)),
        )
        found = max(found, outside)
        if (left, right) == (0, last - first):
            break
        first, last = first + left, first + right
    return found / 2.0


def _hull(x: Array, y: Array) -> tuple[Array, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the greatest convex minorant of points at every x, and the indices of its knots."""
    import numpy as np

    knots: list[int] = []
    xs, ys = x.tolist(), y.tolist()
    for index in range(len(xs)):
        while len(knots) > 1:
            a, b = knots[-2], knots[-1]
            if (ys[b] - ys[a]) * (xs[index] - xs[a]) < (ys[index] - ys[a]) * (xs[b] - xs[a]):
                break
            knots.pop()
        knots.append(index)
    at = np.array(knots)
    return np.interp(x, x[at], y[at]), at
