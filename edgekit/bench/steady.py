"""Where steady state begins: found by change points, not by a count.

After E. Barrett et al., "Virtual Machine Warmup Blows Hot and Cold" (OOPSLA 2017): the series of invocations
is cut into segments of one level each, and it is steady from where on all segments have the level of the last
one.

* The series is that of normal scores: a sample's rank, put through the normal quantile. No outlier is larger
  than its rank, and two modes that take turns at random are one level.
* Its noise is told by the long-run standard deviation, so that correlated noise is not taken for changes of
  level. It comes from the differences of neighbouring blocks' means, which changes of level hardly touch (W.
  B. Wu, Z. Zhao, "Inference of trends in time series", 2007); of several block lengths the largest counts.
* Segments minimize the squared deviations plus PENALTY x log n a change, by the exact search of R. Killick,
  P. Fearnhead, I. Eckley, "Optimal detection of changepoints with a linear computational cost" (PELT, 2012).
  A long series is searched as the means of at most POINTS stretches, and the change is then placed to the
  sample.

Then levels, as medians of samples, decide. A change within TOLERANCE of the last level is none; a short
excursion and back is no end of the steady state (its samples stay, and count as the outliers that they are).
"""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

PENALTY = 3.0
"""Times log n a change: set by simulation, so that independent noise shows a change in 1 of 100 series or
less."""
TOLERANCE = 0.02
"""Levels within 2 % of each other are one: the precision that a bench is usually asked for."""
SHARE = 0.5
"""Of all invocations that must lie in the steady state; with less it can't be told from a passing one."""
EXCURSIONS = 0.1
"""Share of the steady state that may lie on other levels, as long as it comes back from them."""
POINTS = 400
_LEAST = 16
"""Invocations below which nothing is looked for."""
_BLOCKS = 16
"""Blocks at least that the noise is told from."""
_NORMAL_MAD = 0.6745


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """Where steady state begins.

    Attributes:
        begins: index of the first invocation that belongs to it; 0 when it never came.
        reached: whether it came.
        share: of all invocations that lie on the last level, in one piece up to the end.
        levels: (first index, median) of every segment, in order.
    """

    begins: int
    reached: bool
    share: float
    levels: tuple[tuple[int, float], ...]


def find_steady(series: Sequence[float]) -> Steady:
    """Find where the steady state of a series begins.

    Args:
        series: durations of all invocations after the first one, in order, in any unit.
    """
    import numpy as np

    values = np.asarray(series, dtype=np.float64)
    count = len(values)
    if count < _LEAST:
        middle = ((0, float(np.median(values))),) if count else ()
        return Steady(begins=0, reached=True, share=1.0, levels=middle)
    edges = [0, *change_points(normal_scores(values)), count]
    levels = [float(np.median(values[a:b])) for a, b in itertools.pairwise(edges)]
    begins = edges[_first_of_last(edges, levels)]
    share = 1.0 - begins / count
    reached = share >= SHARE
    told = tuple(zip(edges, levels, strict=False))
    return Steady(begins=begins if reached else 0, reached=reached, share=share, levels=told)


def sample_levels(found: Steady, begins: int, count: int) -> Array:
    """Return the level of each invocation from `begins` on; those of an excursion have the last one's.

    Args:
        found: of the whole series.
        begins: the first invocation to tell of.
        count: how many the whole series has.
    """
    import numpy as np

    if not found.levels:
        return np.zeros(max(0, count - begins))
    last = found.levels[-1][1]
    edges = np.array([*(index for index, _ in found.levels), count])
    levels = np.array([level for _, level in found.levels])
    if found.reached:
        levels[np.abs(levels - last) > TOLERANCE * abs(last)] = last
    each: Array = np.repeat(levels, np.diff(edges))[begins:]
    return each


def change_points(scores: Array) -> list[int]:
    """Return the indices at which a new level begins, in order; none for noise of one level.

    Args:
        scores: at least 16 values, without outliers.
    """
    import numpy as np

    count = len(scores)
    size = max(1, math.ceil(count / POINTS))
    stretches = count // size
    means = scores[: stretches * size].reshape(stretches, size).mean(axis=1)
    noise = long_run_deviation(scores)
    if noise <= 0:
        return []
    coarse = _pelt(means * math.sqrt(size) / noise, PENALTY * math.log(count))
    if size == 1:
        return coarse
    edges = [0, *(c * size for c in coarse), count]
    sums = np.concatenate(([0.0], np.cumsum(scores)))
    placed = {_placed(sums, edges[i - 1], edges[i], edges[i + 1], size) for i in range(1, len(edges) - 1)}
    return sorted(placed)


def normal_scores(values: Array) -> Array:
    """Return each value's rank as a normal quantile; equal values have the same one, that of their middle."""
    import numpy as np

    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2 + 0.5
    normal = statistics.NormalDist()
    grid = np.linspace(0, 1, 2049)[1:-1]
    quantiles = np.array([normal.inv_cdf(q) for q in grid.tolist()])
    scores: Array = np.interp(middle / len(values), grid, quantiles)[which]
    return scores


def long_run_deviation(scores: Array) -> float:
    """Return the root of n times the variance of a mean of n values, of noise whose level may change."""
    import numpy as np

    found, size = 0.0, 1
    while len(scores) // size >= _BLOCKS:
        blocks = len(scores) // size
        means = scores[: blocks * size].reshape(blocks, size).mean(axis=1)
        step = float(np.median(np.abs(np.diff(means)))) / (math.sqrt(2.0) * _NORMAL_MAD)
        found = max(found, step * math.sqrt(size))
        size *= 2
    return found if found > 0 else float(scores.std())


def _pelt(values: Array, penalty: float) -> list[int]:
    """Return where segments of one mean begin: least squares plus a penalty a change, found exactly.

    Args:
        values: noise of deviation 1 around the levels.
        penalty: of each change.
    """
    import numpy as np

    count = len(values)
    sums = np.concatenate(([0.0], np.cumsum(values)))
    best = np.zeros(count + 1)
    best[0] = -penalty
    last = np.zeros(count + 1, dtype=np.int64)
    starts = np.zeros(1, dtype=np.int64)
    for end in range(1, count + 1):
        # The squares themselves are the same for every segmentation, so only the means' share is kept.
        cost = best[starts] - (sums[end] - sums[starts]) ** 2 / (end - starts)
        place = int(np.argmin(cost))
        best[end], last[end] = cost[place] + penalty, starts[place]
        starts = np.append(starts[cost <= best[end]], end)
    found = []
    end = int(last[count])
    while end > 0:
        found.append(end)
        end = int(last[end])
    return found[::-1]


def _placed(sums: Array, before: int, at: int, after: int, reach: int) -> int:
    """Return the change near `at`, between the edges beside it, that separates the two means best."""
    import numpy as np

    places = np.arange(max(before + 1, at - reach), min(after, at + reach + 1))
    left, right = sums[places] - sums[before], sums[after] - sums[places]
    gain = left**2 / (places - before) + right**2 / (after - places)
    return int(places[int(np.argmax(gain))])


def _first_of_last(edges: Sequence[int], levels: Sequence[float]) -> int:
    """Return the first segment from which on the level is the last one's, excursions aside."""
    last = levels[-1]
    first, away = len(levels) - 1, 0
    for index in range(len(levels) - 2, -1, -1):
        if abs(levels[index] - last) > TOLERANCE * abs(last):
            away += edges[index + 1] - edges[index]
        elif away <= EXCURSIONS * (edges[-1] - edges[index]):
            first = index
    return first
