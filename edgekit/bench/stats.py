"""Statistics of latency samples: pure functions, nothing assumed about the distribution.

A percentile's interval is made of two of the samples themselves. The number of samples below the true
percentile is binomial, so the chance that the l-th and the u-th smallest enclose it is a sum of
binomial terms, whatever the distribution (W. Q. Meeker, G. J. Hahn, L. A. Escobar, "Statistical
Intervals", 2nd ed., section 5.2). A percentile is withheld when no two samples enclose it with 95 %:
below 6 samples for P50, below 59 for P95, whose upper end is then the largest sample. MLPerf's LoadGen
asks more (99 %, one overshoot allowed: 130 for P95, loadgen/early_stopping.cc); `samples_needed` has both.

All of it takes samples as independent. Successive invocations are not quite: where they are positively
correlated the true confidence is lower than the one asked for, and the counts here are the least.
"""

from __future__ import annotations

import functools
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.bench.summary import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

CONFIDENCE = 0.95
"""Of every interval, unless a caller asks for another."""

THIRDS = 3
FENCE_IQRS = 3.0
"""Tukey's outer fence: beyond the third quartile by three interquartile ranges is "far out"."""
FENCE_LEAST = 0.05
"""A sample within 5 % of the third quartile is no outlier, however narrow the quartiles are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The last third of the samples against the first.

    Attributes:
        ratio: median of the last third / median of the first, minus 1; positive when it got slower.
        clear: whether the two medians' 95 % intervals are apart, so that it is more than noise.
    """

    ratio: float
    clear: bool


def percentile(samples: Sequence[float], p: float, *, confidence: float = CONFIDENCE) -> Estimate | None:
    """Return a percentile with its interval, in the samples' unit, or None when it can't be backed.

    The point is the median-unbiased estimate (R. Hyndman, Y. Fan, "Sample Quantiles in Statistical
    Packages", 1996, definition 8, the one they recommend); it lies within the interval.

    Args:
        samples: in any order.
        p: 0.5 for P50, 0.95 for P95.
        confidence: that the interval holds the true percentile.
    """
    import numpy as np

    ranks = interval_ranks(len(samples), p, confidence)
    if ranks is None:
        return None
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    value = float(np.quantile(ordered, p, method="median_unbiased"))
    return Estimate(value=value, low=float(ordered[ranks[0] - 1]), high=float(ordered[ranks[1] - 1]))


@functools.lru_cache(maxsize=256)
def interval_ranks(count: int, p: float, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """Return the ranks (1 is the smallest) of the two samples that enclose a percentile, or None.

    Each tail gets half of 1 - confidence. Where there are too few samples for one of them, that end is
    the outermost sample, and the other tail gets what is left; the total keeps to the confidence.

    Args:
        count: how many samples.
        p: the percentile, between 0 and 1.
        confidence: between 0 and 1.
    """
    import numpy as np

    if count < 1:
        return None
    alpha = 1.0 - confidence
    all_below, all_above = p**count, (1.0 - p) ** count
    if all_below + all_above > alpha:
        return None
    cdf = _binomial_cdf(count, p)
    for_low = alpha - all_below if all_below > alpha / 2 else alpha / 2
    for_high = alpha - all_above if all_above > alpha / 2 else alpha / 2
    low = max(1, int(np.searchsorted(cdf, for_low, side="right")))
    high = count if all_below > alpha / 2 else min(count, 1 + int(np.argmax(1.0 - cdf <= for_high)))
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
    """Return the least count at which `percentile` is not withheld: 6 for P50, 59 for P95."""
    count = 1
    while interval_ranks(count, p, confidence) is None:
        count += 1
    return count


def mad(samples: Sequence[float]) -> float:
    """Return the median absolute deviation from the median, in the samples' unit (0 without samples)."""
    import numpy as np

    if not samples:
        return 0.0
    values = np.asarray(samples, dtype=np.float64)
    return float(np.median(np.abs(values - np.median(values))))


def spread(samples: Sequence[float]) -> float:
    """Return the median absolute deviation over the median, without unit (0 without samples)."""
    middle = statistics.median(samples) if samples else 0.0
    return mad(samples) / middle if middle > 0 else 0.0


def drift(samples: Sequence[float]) -> Drift | None:
    """Compare the last third of the samples with the first; None when a third can't back a median."""
    size = len(samples) // THIRDS
    first, last = (percentile(part, 0.5) for part in (samples[:size], samples[len(samples) - size :]))
    if first is None or last is None or first.value <= 0:
        return None
    apart = last.low > first.high or last.high < first.low
    return Drift(ratio=last.value / first.value - 1.0, clear=apart)


def outlier_share(samples: Sequence[float]) -> float:
    """Return the share of samples far out on the slow side (J. Tukey, "Exploratory Data Analysis", 1977)."""
    import numpy as np

    if not samples:
        return 0.0
    values = np.asarray(samples, dtype=np.float64)
    first, third = np.quantile(values, (0.25, 0.75))
    fence = third + max(FENCE_IQRS * (third - first), FENCE_LEAST * third)
    return float(np.mean(values > fence))


def _binomial_cdf(count: int, p: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return P(B <= k) for k = 0 .. count, B being binomial; terms as logarithms, so that none underflows."""
    import numpy as np

    k = np.arange(count, dtype=np.float64)
    steps = np.log((count - k) / (k + 1.0)) + math.log(p / (1.0 - p))
    logs = count * math.log1p(-p) + np.concatenate(([0.0], np.cumsum(steps)))
    cdf: np.ndarray[Any, np.dtype[np.float64]] = np.minimum(np.cumsum(np.exp(logs)), 1.0)
    return cdf


def _term(count: int, above: int, p: float) -> float:
    return math.comb(count, above) * (1.0 - p) ** above * p ** (count - above)
