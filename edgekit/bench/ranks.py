"""Wilcoxon's signed-rank test, turned into bounds: what is in the middle of values that scatter alike to
both sides, whatever the shape of their scatter. Pure.

Where each value's sign was drawn by a coin (the order of a pair was), the error probabilities are exact
without any assumption about the values, dependent or drifting as they may be: R. Fisher, "The Design of
Experiments", 1935; F. Wilcoxon, "Individual comparisons by ranking methods", 1945. The estimate is that of
J. Hodges and E. Lehmann, "Estimates of location based on rank tests", 1963. The distribution is counted up to
EXACT values; beyond, it is the normal one with Wilcoxon's mean and variance. Among equal distances (a coarse
clock makes them) a test ranks those that speak against it higher, so that ties never help a claim.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

EXACT = 100
"""Up to so many values the distribution is counted: a few thousand sums."""
_BISECTIONS = 60


@cache
def least_rank_sum(count: int, level: float) -> float:
    """Return the least w with P(W >= w) <= level, W the rank sum of the positive ones of `count` values
    around 0; infinity where even the largest sum is likelier than that.
    """
    if count > EXACT:
        mean, spread = count * (count + 1) / 4, math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
        return math.floor(mean + spread * NormalDist().inv_cdf(1 - level) + 0.5) + 1
    tail = 0.0
    chances = _chances(count)
    for total in range(len(chances) - 1, -1, -1):
        tail += chances[total]
        if tail > level:
            return total + 1 if total + 1 < len(chances) else math.inf
    return 0.0


def surely_above(values: Sequence[float], point: float, level: float) -> bool:
    """Return whether the middle of the values is above a point, wrongly with a probability of `level`."""
    import numpy as np

    moved = np.asarray(values, dtype=float) - point
    order = np.lexsort((moved <= 0, np.abs(moved)))
    ranks = np.arange(1, len(moved) + 1)
    return float(ranks[moved[order] > 0].sum()) >= least_rank_sum(len(values), level)


def surely_below(values: Sequence[float], point: float, level: float) -> bool:
    """Return whether the middle of the values is below a point, wrongly with a probability of `level`."""
    return surely_above([-value for value in values], -point, level)


def rather_above(values: Sequence[float], point: float) -> bool:
    """Return whether Hodges and Lehmann's estimate is at or above a point."""
    return rank_sum(values, point) >= len(values) * (len(values) + 1) / 4


def middle(values: Sequence[float]) -> float:
    """Return Hodges and Lehmann's estimate: the median of the means of all pairs, each with itself too."""
    half = len(values) * (len(values) + 1) / 4
    return (_crossing(values, half, at_least=True) + _crossing(values, half, at_least=False)) / 2


def bounds(values: Sequence[float], level: float) -> tuple[float, float] | None:
    """Return an interval around the middle that misses it with a probability of `level`, half on each side.

    None where so few values bound nothing: n of them have no level below 2 / 2**n.
    """
    least = least_rank_sum(len(values), level / 2)
    if math.isinf(least):
        return None
    upper = len(values) * (len(values) + 1) / 2 - least
    return _crossing(values, least, at_least=True), _crossing(values, upper, at_least=False)


def rank_sum(values: Sequence[float], point: float) -> float:
    """Return the sum of the ranks (by distance from the point) of the values above it; at it counts half."""
    import numpy as np

    moved = np.asarray(values, dtype=float) - point
    ranks = _ranks(np.abs(moved))
    return float(ranks[moved > 0].sum() + ranks[moved == 0].sum() / 2)


def _ranks(distances: np.ndarray) -> np.ndarray:
    """Return 1, 2, ... by size; equal ones get the mean of theirs."""
    import numpy as np

    _, place, counts = np.unique(distances, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


@cache
def _chances(count: int) -> tuple[float, ...]:
    """Return the probability of each rank sum 0, 1, ... of `count` values whose signs are coins."""
    import numpy as np

    chances = np.ones(1)
    for rank in range(1, count + 1):
        more = np.zeros(len(chances) + rank)
        more[: len(chances)] += chances / 2
        more[rank:] += chances / 2
        chances = more
    return tuple(chances.tolist())


def _crossing(values: Sequence[float], wanted: float, *, at_least: bool) -> float:
    """Return where the rank sum, which falls as its point rises, stops being at least, or above, `wanted`."""
    low, high = min(values) - 1e-9, max(values) + 1e-9
    for _ in range(_BISECTIONS):
        half = (low + high) / 2
        total = rank_sum(values, half)
        if total > wanted or (at_least and total == wanted):
            low = half
        else:
            high = half
    return (low + high) / 2
