"""Serial correlation: how many independent samples a series of successive ones is worth.

A mean over n correlated values scatters like one over n / tau independent ones, tau being the integrated
autocorrelation time: 1 plus twice the sum of all autocorrelations. It is summed here over Geyer's initial
monotone sequence (C. J. Geyer, "Practical Markov Chain Monte Carlo", 1992, section 3.3), with two changes:

* Nothing is corrected where no correlation shows. Each correction is itself noise, and would make the
  intervals of independent samples wider than they say. It shows when the sum of the first 1, 2, 4, 8 ...
  autocorrelations is more than 2.33 of its own standard errors; independent samples get there once in thirty
  times.
* tau comes from few samples when it is large. Its degrees of freedom are those of a lag window of the length
  summed over (M. B. Priestley, "Spectral Analysis and Time Series", 1981, section 6.2.4), and tau is raised
  by the square of Student's over the normal quantile, so that intervals made with it are as much wider.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

SHOWS = 2.33
"""Standard errors from which on correlation is taken for real: 1 % of chance, each time that it is asked."""
_LEAST = 8
_NORMAL = 1.959964
_FREEDOM = 3.0
"""Degrees of freedom at least: below, the expansion of Student's quantile does not hold."""


def correlation_time(series: Array) -> float:
    """Return the integrated autocorrelation time in samples, 1 or more; 1 when no correlation shows.

    Args:
        series: values in the order in which they were taken, of any scale.
    """
    count = len(series)
    if count < _LEAST:
        return 1.0
    found = autocorrelations(series)
    if found is None or not _shows(found, count):
        return 1.0
    pairs = found[: count // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = (pairs <= 0).nonzero()[0]
    pairs = pairs[: int(ends[0])] if len(ends) else pairs
    total, smallest = 0.0, math.inf
    for pair in pairs.tolist():
        smallest = min(smallest, pair)
        total += smallest
    tau = max(1.0, 2.0 * total - 1.0)
    freedom = max(_FREEDOM, count / (4.0 * len(pairs) + 1.0))
    return min(float(count), tau * (student(_NORMAL, freedom) / _NORMAL) ** 2)


def autocorrelations(series: Array) -> Array | None:
    """Return the autocorrelations at lags 0 .. n - 1 (by FFT), or None when all values are the same."""
    import numpy as np

    centred = series - series.mean()
    size = 1 << (2 * len(series) - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    sums = np.fft.irfft(spectrum * np.conj(spectrum), size)[: len(series)]
    if sums[0] <= 0 or not math.isfinite(sums[0]):
        return None
    scaled: Array = sums / sums[0]
    return scaled


def student(normal: float, freedom: float) -> float:
    """Return Student's quantile from the normal one (Abramowitz and Stegun, 26.7.5; 3 % off at 3, less
    above).

    Args:
        normal: the normal distribution's quantile of the same probability.
        freedom: degrees of freedom, 3 or more.
    """
    z, v = normal, freedom
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / v ** (k + 1) for k, term in enumerate(terms))


def _shows(found: Array, count: int) -> bool:
    """Whether correlation shows; `found` begins with lag 0."""
    most = min(count // 2, max(4, int(10 * math.log10(count))))
    sums = found[1 : most + 1].cumsum().tolist()
    lags = 1
    while lags <= most:
        if sums[lags - 1] * math.sqrt(count / lags) > SHOWS:
            return True
        lags *= 2
    return False
