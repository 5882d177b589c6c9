"""Which order statistics enclose a percentile: exact binomial sums, and the interpolation between ranks.

The number of samples below the true percentile is binomial, so the chance that the l-th and the u-th smallest
enclose it is a sum of binomial terms, whatever the distribution (W. Q. Meeker, G. J. Hahn, L. A. Escobar,
"Statistical Intervals", 2nd ed., section 5.2). Whole ranks reach a confidence only from above, often far
above; between two of them the end of the interval is interpolated so that it is reached closely (T. P.
Hettmansperger, S. J. Sheather, "Confidence intervals based on interpolated order statistics", 1986, for the
median; J. Nyblom, "Note on interpolated order statistics", 1992, for every percentile).

No two samples enclose a percentile with 95 % below 6 samples for P50, 29 for P90, 59 for P95 and 299 for P99.
MLPerf's LoadGen asks more (99 %, one overshoot allowed: 130 for P95, loadgen/early_stopping.cc);
`samples_needed` has both.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

CONFIDENCE = 0.95
"""Of every interval, unless a caller asks for another."""


@functools.lru_cache(maxsize=256)
def interval_ranks(count: int, p: float, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """Return the ranks (1 is the smallest) of the two samples that enclose a percentile, or None.

    Each tail gets half of 1 - confidence. Where there are too few samples for one of them, that end is
    the outermost sample, and the other tail gets what is left; the total keeps to the confidence.

    Args:
        count: how many independent samples.
        p: the percentile, between 0 and 1.
        confidence: between 0 and 1.
    """
    found = rank_interval(count, p, confidence)
    if found is None:
        return None
    return math.floor(found[0]), math.ceil(found[1])


@functools.lru_cache(maxsize=4096)
def rank_interval(count: int, p: float, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Return the two ranks that enclose a percentile, each between whole ones, or None; see
    interval_ranks.
    """
    if count < 1:
        return None
    alpha = 1.0 - confidence
    all_below, all_above = p**count, (1.0 - p) ** count
    if all_below + all_above > alpha:
        return None
    low, high = 1.0, float(count)
    if all_above <= alpha / 2:
        low = _lower_rank(count, p, alpha - all_below if all_below > alpha / 2 else alpha / 2)
    if all_below <= alpha / 2:
        left = alpha - all_above if all_above > alpha / 2 else alpha / 2
        high = count + 1.0 - _lower_rank(count, 1.0 - p, left)
    return low, high


def samples_needed(p: float, *, confidence: float = CONFIDENCE, overshoots: int = 0) -> int:
    """Return how many samples it takes until one of them bounds a percentile from above.

    Args:
        p: the percentile, between 0 and 1.
        confidence: that the sample is at or above the true percentile.
        overshoots: how many samples may lie above the one that bounds; 0 takes the largest.
    """
    count = overshoots + 1
    while sum(_term(count, above, p) for above in range(overshoots + 1)) > 1.0 - confidence:
        count += 1
    return count


@functools.cache
def least_samples(p: float, *, confidence: float = CONFIDENCE) -> int:
    """Return the least count of independent samples that backs a percentile: 6 for P50, 59 for P95."""
    count = 1
    while p**count + (1.0 - p) ** count > 1.0 - confidence:
        count += 1
    return count


def _lower_rank(count: int, p: float, tail: float) -> float:
    """Return the rank below which the percentile lies with probability `tail`; one exists."""
    import numpy as np

    cdf = binomial_cdf(count, p)
    rank = max(1, int(np.searchsorted(cdf, tail, side="right")))
    below, above = float(cdf[rank - 1]), float(cdf[rank])
    if tail <= below:
        return float(rank)
    odds = rank * (1.0 - p) * (above - tail) / ((count - rank) * p * (tail - below))
    return rank + 1.0 / (1.0 + odds)


def binomial_cdf(count: int, p: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return P(B <= k) for k = 0 .. count, B being binomial; terms as logarithms, so that none underflows."""
    import numpy as np

    k = np.arange(count, dtype=np.float64)
    steps = np.log((count - k) / (k + 1.0)) + math.log(p / (1.0 - p))
    logs = count * math.log1p(-p) + np.concatenate(([0.0], np.cumsum(steps)))
    cdf: np.ndarray[Any, np.dtype[np.float64]] = np.minimum(np.cumsum(np.exp(logs)), 1.0)
    return cdf


def _term(count: int, above: int, p: float) -> float:
    return math.comb(count, above) * (1.0 - p) ** above * p ** (count - above)
