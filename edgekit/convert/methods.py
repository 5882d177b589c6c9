"""How an activation's range is found: from the extremes of each input, or from a histogram of all values.

Histograms have BINS bins over [-2^e, 2^e); a wider input doubles the bins' width and merges neighbours, so
that one pass is enough and memory does not grow with the number of inputs.

    minmax          the smallest and the largest value
    moving-average  extremes of each input, averaged exponentially
    percentile      all but the outermost 0.01 % of the values, half of it at either end
    mse             the least expected squared error of rounding and clipping
    entropy         the least divergence of the distribution of magnitudes
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgekit.errors import UnknownNameError

if TYPE_CHECKING:
    import numpy as np

METHODS = ("minmax", "moving-average", "percentile", "mse", "entropy")
DEFAULT_METHOD = "minmax"
WITH_HISTOGRAM = ("percentile", "mse", "entropy")
BINS = 4096
_HALF = BINS // 2
AVERAGING = 0.01
"""What an input adds to the moving average."""
_CUT = 1e-4
_SHARES = 100
_ENTROPY_LEVELS = 128
_ENTROPY_STRIDE = 16


def known_method(name: str) -> str:
    """Return a method's name.

    Raises:
        UnknownNameError: there is no such method; the nearest is offered.
    """
    if name not in METHODS:
        raise UnknownNameError("calibration method", name, METHODS)
    return name


@dataclass(slots=True, kw_only=True)
class Histogram:
    """Values of one tensor, counted.

    Attributes:
        exponent: the bins cover [-2^exponent, 2^exponent).
        counts: BINS of them.
    """

    exponent: int
    counts: np.ndarray[Any, Any]

    def add(self, exponent: int, counts: np.ndarray[Any, Any]) -> None:
        """Count the values of one more input; the wider of the two ranges is kept."""
        wide = max(exponent, self.exponent)
        self.counts = _widened(self.counts, wide - self.exponent) + _widened(counts, wide - exponent)
        self.exponent = wide

    def edges(self) -> np.ndarray[Any, Any]:
        """Return the bins' BINS + 1 edges, float64."""
        import numpy as np

        return (np.arange(BINS + 1) - _HALF) * (2.0**self.exponent / _HALF)


def _widened(counts: np.ndarray[Any, Any], shift: int) -> np.ndarray[Any, Any]:
    import numpy as np

    if shift == 0:
        return counts.astype(np.int64)
    places = ((np.arange(BINS) - _HALF) >> min(shift, 62)) + _HALF
    return np.bincount(places, weights=counts, minlength=BINS).astype(np.int64)


@dataclass(slots=True, kw_only=True)
class Tally:
    """What is kept of one tensor while the inputs go by.

    Attributes:
        low: the smallest value.
        high: the largest value.
        mean_low: of each input's smallest value, weighted.
        mean_high: of each input's largest value, weighted.
        histogram: of all values, where the method wants it.
    """

    low: float = float("inf")
    high: float = float("-inf")
    mean_low: float = 0.0
    mean_high: float = 0.0
    weight: float = 0.0
    histogram: Histogram | None = field(default=None)

    def see(self, low: float, high: float) -> None:
        """Take in one input's extremes."""
        self.low, self.high = min(self.low, low), max(self.high, high)
        keep = 1.0 - AVERAGING
        self.mean_low = self.mean_low * keep + low * AVERAGING
        self.mean_high = self.mean_high * keep + high * AVERAGING
        self.weight = self.weight * keep + AVERAGING

    def count(self, exponent: int, counts: np.ndarray[Any, Any]) -> None:
        """Take in one input's histogram."""
        if self.histogram is None:
            self.histogram = Histogram(exponent=exponent, counts=_widened(counts, 0))
        else:
            self.histogram.add(exponent, counts)

    def range(self, method: str) -> tuple[float, float]:
        """Return the range that a method finds, never wider than the extremes."""
        if method == "minmax" or self.low == self.high:
            return self.low, self.high
        if method == "moving-average":
            return self.mean_low / self.weight, self.mean_high / self.weight
        if self.histogram is None:
            raise UnknownNameError("calibration method without a histogram", method, METHODS[:2])
        find = {"percentile": _percentile, "mse": _least_error, "entropy": _least_divergence}[method]
        low, high = find(self.histogram, self.low, self.high)
        return max(low, self.low), min(high, self.high)


def _percentile(histogram: Histogram, low: float, high: float) -> tuple[float, float]:
    """Cut half of 0.01 % of the values at either end.

    Source: Wu et al., "Integer Quantization for Deep Learning Inference" (2020), section 4.2 (99.99 %).
    """
    import numpy as np

    del low, high
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    edges = histogram.edges()
    first = int(np.searchsorted(share, _CUT / 2, side="right"))
    last = int(np.searchsorted(share, 1 - _CUT / 2, side="left"))
    return float(edges[first]), float(edges[min(last, BINS - 1) + 1])


def _least_error(histogram: Histogram, low: float, high: float) -> tuple[float, float]:
    """Clip either end where rounding and clipping together cost least, by coordinate descent.

    Rounding costs a twelfth of the step's square for every value but 0, clipping the square of what is cut
    off. Source: Banner et al., "Post-training 4-bit quantization of convolution networks" (2019), section 3,
    with the measured distribution in place of an assumed one.
    """
    import numpy as np

    edges = histogram.edges()
    middles, counts = (edges[:-1] + edges[1:]) / 2, histogram.counts.astype(np.float64)
    counts[_HALF] = 0.0 if low >= 0 else counts[_HALF]  # zeros of an activation function, which are exact
    above, below = _Tail(middles, counts), _Tail(-middles[::-1], counts[::-1])
    total = float(counts.sum())

    def costs(bottom: Any, top: Any) -> Any:
        step = (np.maximum(top, 0.0) - np.minimum(bottom, 0.0)) / 255
        (many, cut), (few, left) = above.beyond(top), below.beyond(-bottom)
        return cut + left + (total - many - few) * step * step / 12

    shares = np.arange(1, _SHARES + 1) / _SHARES
    best = (low, high)
    for _ in range(2):
        best = best[0], float(high * shares[np.argmin(costs(np.full(_SHARES, best[0]), high * shares))])
        best = float(low * shares[np.argmin(costs(low * shares, np.full(_SHARES, best[1])))]), best[1]
    return best


class _Tail:
    """The count and the squared excess of all values beyond a threshold, from running sums."""

    def __init__(self, middles: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> None:
        import numpy as np

        self._middles = middles
        sums = [np.append(np.cumsum((counts * middles**power)[::-1])[::-1], 0.0) for power in range(3)]
        self._count, self._first, self._second = sums

    def beyond(self, thresholds: np.ndarray[Any, Any]) -> tuple[Any, Any]:
        import numpy as np

        at = np.searchsorted(self._middles, thresholds, side="right")
        excess = self._second[at] - 2 * thresholds * self._first[at] + thresholds**2 * self._count[at]
        return self._count[at], np.maximum(excess, 0.0)


def _least_divergence(histogram: Histogram, low: float, high: float) -> tuple[float, float]:
    """Clip magnitudes where the quantized distribution tells most of the real one.

    Source: Migacz, "8-bit Inference with TensorRT" (GTC 2017): 128 levels of magnitude, every 16th of the
    2,048 bins as a threshold.
    """
    import numpy as np

    counts = histogram.counts.astype(np.float64)
    magnitudes = counts[_HALF:] + counts[:_HALF][::-1]
    magnitudes[0] = magnitudes[1]  # zeros of an activation function would outvote everything
    last = int(np.flatnonzero(magnitudes)[-1]) + 1 if magnitudes.any() else _HALF
    stops = range(_ENTROPY_LEVELS, last + _ENTROPY_STRIDE, _ENTROPY_STRIDE)
    best = min(stops, key=lambda stop: _divergence(magnitudes, min(stop, _HALF)))
    top = float(histogram.edges()[_HALF + min(best, _HALF)])
    return max(low, -top), min(high, top)


def _divergence(magnitudes: np.ndarray[Any, Any], stop: int) -> float:
    """Return the Kullback-Leibler divergence of what is left when `stop` bins become 128 levels."""
    import numpy as np

    wanted = magnitudes[:stop].copy()
    levels = (np.arange(stop) * _ENTROPY_LEVELS // stop).astype(np.int64)
    there = wanted > 0
    sums = np.bincount(levels, weights=wanted, minlength=_ENTROPY_LEVELS)
    share = np.bincount(levels, weights=there, minlength=_ENTROPY_LEVELS)
    got = np.where(there, sums[levels] / np.maximum(share[levels], 1), 0.0)
    wanted[-1] += magnitudes[stop:].sum()
    got[-1] = max(got[-1], 1e-9 if wanted[-1] else 0.0)
    p, q = wanted / wanted.sum(), got / got.sum()
    kept = p > 0
    return float(np.sum(p[kept] * np.log(p[kept] / np.maximum(q[kept], 1e-12))))
