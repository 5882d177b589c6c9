"""Statistics of latency samples: pure functions, nothing assumed about the distribution.

Every estimate carries its interval, the number of samples and how many independent ones these are worth
(see `edgekit.bench.correlation`). A percentile's interval lies between order statistics (see
`edgekit.bench.binomial`): as many samples as are independent say which share of them the ends cut off, and
the ends are then taken at those shares of all samples. What can't be backed is withheld.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgekit.bench.binomial import CONFIDENCE, least_samples, rank_interval
from edgekit.bench.correlation import correlation_time, student
from edgekit.bench.summary import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

THIRDS = 3
FENCE_IQRS = 3.0
"""Tukey's outer fence: beyond the third quartile by three interquartile ranges is "far out"."""
FENCE_LEAST = 0.05
"""A sample within 5 % of the third quartile is no outlier, however narrow the quartiles are."""
_MAD_TAU = 0.5
"""Where values are few and repeat, the expansion would make samples worth any number of independent ones."""
_CLUSTERS, _MOST_WEIGHT = 6.0, 0.7
"""The weight (of logarithms) of the median's correlation time is 6 over the number of clusters beyond the
percentile, and 0.7 at most. Chosen by simulation, so that P90 and P95 of autoregressive samples hold 94 to
96 of 100 times from about 60 independent samples on (tests/speed/stats.py draws others than it was chosen
on)."""
_TELLING = 50
"""Samples beyond a percentile from which on these tell their own correlation; else a nearer percentile
does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The last third of the samples against the first.

    Attributes:
        ratio: median of the last third / median of the first, minus 1; positive when it got slower.
        clear: whether the two medians' 95 % intervals are apart, so that it is more than noise.
    """

    ratio: float
    clear: bool


def percentile(
    samples: Sequence[float], p: float, *, levels: Array | None = None, confidence: float = CONFIDENCE
) -> Estimate | None:
    """Return a percentile with its interval, in the samples' unit, or None when it can't be backed.

    The point is the median-unbiased estimate (R. Hyndman, Y. Fan, "Sample Quantiles in Statistical
    Packages", 1996, definition 8, the one they recommend); it lies within the interval.

    Args:
        samples: in the order in which they were taken.
        p: 0.5 for P50, 0.95 for P95.
        levels: the level that each sample lies on, where these are known to differ: see `tail_time`.
        confidence: that the interval holds the true percentile.
    """
    values = array_of(samples)
    tau = tail_time(values, p, levels)
    found = _percentile(values, p, tau, confidence)
    if found is None or levels is None or levels.min() == levels.max():
        return found
    return _widened(found, _percentile(values - levels, p, tau, confidence), levels)


def trending_percentile(samples: Sequence[float], p: float) -> Estimate | None:
    """Return a percentile of samples that may have a linear trend, which is then no serial correlation.

    Args:
        samples: in the order in which they were taken, of a stretch short enough for a straight line.
        p: 0.5 for P50, 0.95 for P95.
    """
    import numpy as np

    values = array_of(samples)
    place = np.arange(len(values), dtype=np.float64) - (len(values) - 1) / 2
    scale = float((place**2).sum())
    trend: Array = place * (float((place * values).sum()) / scale if scale > 0 else 0.0)
    return _percentile(values, p, tail_time(values, p, trend), CONFIDENCE)


def more_needed(samples: Sequence[float], p: float, *, levels: Array | None = None) -> int:
    """Return how many more samples, as correlated, would back a percentile; 0 when it is backed."""
    values, least = array_of(samples), least_samples(p)
    if not len(values):
        return least
    tau = tail_time(values, p, levels)
    return 0 if int(len(values) / tau) >= least else math.ceil(least * tau) - len(values)


def tail_time(values: Array, p: float, levels: Array | None = None) -> float:
    """Return the correlation time, in samples, that counts for a percentile.

    It is that of the series "at or below the percentile, or above". Where only few samples lie beyond the
    percentile they can't show their own correlation; then that of a percentile nearer to the middle counts
    too, if it is larger (P. Heidelberger, P. Lewis, "Quantile Estimation in Dependent Sequences", 1984, find
    too that such series need far more samples than independent ones). Correlated samples lie beyond it in
    clusters, and it is their number that is few: by it the median's correlation time, which all samples show,
    is mixed in.

    Args:
        values: in the order in which they were taken.
        p: between 0 and 1.
        levels: of each value, taken off first. A level that moves slowly, and little, makes the percentile
            uncertain by as much as it moves, and not the samples few: the interval is widened by it instead.
    """
    import numpy as np

    if not len(values):
        return 1.0
    if levels is not None:
        values = values - levels
    beyond = min(p, 1.0 - p) * len(values)
    points = {p}
    if beyond < _TELLING:
        share = min(0.5, _TELLING / len(values))
        points.add(share if p < 0.5 else 1.0 - share)  # noqa: PLR2004
    cuts = np.quantile(values, sorted(points), method="median_unbiased")
    tau = max(correlation_time((values <= cut).astype(np.float64)) for cut in cuts)
    if tau <= 1.0 or p == 0.5:  # noqa: PLR2004
        return tau
    middle = correlation_time((values <= np.median(values)).astype(np.float64))
    weight = min(_MOST_WEIGHT, _CLUSTERS * tau / beyond)
    return min(float(len(values)), tau * math.pow(max(1.0, middle / tau), weight))


def mean(samples: Sequence[float], *, levels: Array | None = None) -> Estimate | None:
    """Return the mean with its 95 % interval, or None below 6 samples that are worth being called so.

    Student's interval with the skewness taken out by P. Hall's cubic transformation ("On the Removal of
    Skewness by Transformation", 1992). It is no distribution-free one: what outliers are rarer than the
    samples can show is not in it.
    """
    values = array_of(samples)
    tau = correlation_time(values if levels is None else values - levels) if len(values) else 1.0
    free = len(values) / tau
    if free < least_samples(0.5):
        return None
    middle, deviation = float(values.mean()), float(values.std(ddof=1))
    if deviation <= 0:
        return Estimate(value=middle, low=middle, high=middle, n=len(values), n_eff=free)
    skewness = float((((values - middle) / deviation) ** 3).mean()) / math.sqrt(free)
    quantile = student(statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2), max(3.0, free - 1))
    error = deviation / math.sqrt(free)
    low, high = (middle - error * _unskewed(t, skewness) for t in (quantile, -quantile))
    found = Estimate(value=middle, low=low, high=high, n=len(values), n_eff=free)
    if levels is None:
        return found
    shift = float(levels.mean())
    return _widened(found, replace(found, low=low - shift, high=high - shift), levels)


def mad_estimate(samples: Sequence[float], *, levels: Array | None = None) -> Estimate | None:
    """Return the median absolute deviation with its 95 % interval, or None where P50 is withheld too.

    Its interval is that of the median of the deviations. As these are taken from a median that is itself
    estimated, the scatter of both counts: by the linear expansion of F(m + d) - F(m - d) = 1/2 (M. Falk,
    "Asymptotic independence of median and MAD", 1997).
    """
    import numpy as np

    values = array_of(samples)
    if len(values) < least_samples(0.5):
        return None
    middle = float(np.median(values))
    deviations = np.abs(values - middle)
    distance = float(np.median(deviations))
    if distance <= 0:
        return _percentile(deviations, 0.5, tail_time(values, 0.5, levels), CONFIDENCE)
    near, above, below = (_density(values, middle + step, distance) for step in (0.0, distance, -distance))
    weight = (above - below) / near if near > 0 else 0.0
    level = values if levels is None else values - levels
    level = level - np.median(level)
    influence = (np.abs(level) <= np.median(np.abs(level))) - 0.5 - weight * ((level <= 0) - 0.5)
    tau = correlation_time(influence) * float(influence.var()) / 0.25
    return _percentile(deviations, 0.5, max(tau, _MAD_TAU), CONFIDENCE)


def mad(samples: Sequence[float]) -> float:
    """Return the median absolute deviation from the median, in the samples' unit (0 without samples)."""
    import numpy as np

    if not len(samples):
        return 0.0
    values = array_of(samples)
    return float(np.median(np.abs(values - np.median(values))))


def spread(samples: Sequence[float]) -> float:
    """Return the median absolute deviation over the median, without unit (0 without samples)."""
    middle = statistics.median(samples) if samples else 0.0
    return mad(samples) / middle if middle > 0 else 0.0


def drift(samples: Sequence[float]) -> Drift | None:
    """Compare the last third of the samples with the first; None when a third can't back a median."""
    size = len(samples) // THIRDS
    first, last = (
        trending_percentile(part, 0.5) for part in (samples[:size], samples[len(samples) - size :])
    )
    if first is None or last is None or first.value <= 0:
        return None
    apart = last.low > first.high or last.high < first.low
    return Drift(ratio=last.value / first.value - 1.0, clear=apart)


def outlier_share(samples: Sequence[float]) -> float:
    """Return the share of samples far out on the slow side (J. Tukey, "Exploratory Data Analysis", 1977)."""
    import numpy as np

    if not samples:
        return 0.0
    values = array_of(samples)
    first, third = np.quantile(values, (0.25, 0.75))
    fence = third + max(FENCE_IQRS * (third - first), FENCE_LEAST * third)
    return float(np.mean(values > fence))


def array_of(samples: Sequence[float]) -> Array:
    """Return samples as an array of floats."""
    import numpy as np

    return np.asarray(samples, dtype=np.float64)


def _percentile(values: Array, p: float, tau: float, confidence: float) -> Estimate | None:
    """Return a percentile of values that are worth len(values) / tau independent ones, or None."""
    import numpy as np

    count = len(values)
    free = count / tau
    ranks = rank_interval(int(free), p, confidence)
    if ranks is None:
        return None
    ordered = np.sort(values)
    at = np.clip([rank / (int(free) + 1) * (count + 1) for rank in ranks], 1, count)
    low, high = np.interp(at, np.arange(1, count + 1), ordered)
    value = float(np.quantile(ordered, p, method="median_unbiased"))
    return Estimate(
        value=value, low=min(float(low), value), high=max(float(high), value), n=count, n_eff=free
    )


def _widened(found: Estimate, around: Estimate | None, levels: Array) -> Estimate:
    """Return an estimate as uncertain as the level that it lies on: it may stay on the lowest or the highest.

    Args:
        found: of the samples.
        around: of what they are above their levels.
        levels: of every sample, at least one.
    """
    if around is None:
        return found
    low, high = float(levels.min()) + around.low, float(levels.max()) + around.high
    return replace(found, low=min(found.low, max(0.0, low)), high=max(found.high, high))


def _unskewed(t: float, skewness: float) -> float:
    """Return Hall's inverse transformation of a quantile; skewness is already over the root of n."""
    if abs(skewness) < 1e-6:  # noqa: PLR2004
        return t
    inverse: float = 3.0 / skewness * (math.cbrt(1.0 + skewness * (t - skewness / 6.0)) - 1.0)
    return inverse


def _density(values: Array, at: float, scale: float) -> float:
    """Return the density at a point: the share of values in a window around it, over the window's width."""
    half = scale * len(values) ** -0.2
    share = float(((values > at - half) & (values <= at + half)).mean())
    return share / float(2.0 * half)
