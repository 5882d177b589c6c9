"""How narrow the intervals are, and whether that is enough to stop.

`Watch` is asked twice a second while samples stream in. It looks again only when there are a tenth more
samples than when it looked last, so that all its work together is a few times that of one look, and few looks
also keep the chance small that an interval is narrow just when it is looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.bench.stats import more_needed, percentile
from edgekit.bench.steady import find_steady, sample_levels
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from edgekit.bench.summary import Estimate

    Levels = np.ndarray[Any, np.dtype[np.float64]]

WATCHED = (0.5, 0.95)
"""P50 and P95 have to be narrow enough."""
_GROWTH = 1.1
_MOST = 10_000_000
"""More samples than that are never told to be needed: then the number is not known, and 0 says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How narrow the intervals are.

    Attributes:
        widths: half of each interval's width over its point, by percentile; None where it is withheld.
        warmup: invocations before the steady state, those that were asked for included.
        steady: whether the steady state was reached.
        reached: whether all are narrow enough.
        more: how many more samples would do, as far as can be told; 0 when it is reached or can't be told.
    """

    widths: dict[float, float | None]
    warmup: int
    steady: bool
    reached: bool
    more: int


def half_width(found: Estimate | None) -> float | None:
    """Return half the interval's width over the point, without unit, or None."""
    if found is None or found.value <= 0:
        return None
    return (found.high - found.low) / 2.0 / found.value


def precision(samples: Sequence[float], target: float, *, warmup: Sequence[float] = ()) -> Precision:
    """Tell how narrow the intervals of P50 and P95 are in the steady state.

    Args:
        samples: of the timed loop, in order.
        target: the relative half width to be reached: 0.02 for "within 2 %".
        warmup: the invocations before them that were asked for.

    Raises:
        UsageError: the target is no share between 0 and 1.
    """
    if not 0 < target < 1:
        raise UsageError(f"a precision of {target!r} can't be reached", hint="give a share, like 2%")
    found = find_steady([*warmup, *samples])
    begins = max(found.begins, len(warmup))
    kept = samples[begins - len(warmup) :]
    levels = sample_levels(found, begins, len(warmup) + len(samples))
    estimates = {p: percentile(kept, p, levels=levels) for p in WATCHED}
    widths = {p: half_width(estimate) for p, estimate in estimates.items()}
    narrow = found.reached and all(width is not None and width <= target for width in widths.values())
    more = 0 if narrow else max(_more(kept, levels, p, widths[p], target) for p in WATCHED)
    return Precision(
        widths=widths, warmup=begins, steady=found.reached, reached=narrow, more=more if more <= _MOST else 0
    )


class Watch:
    """Tells, while samples stream in, whether their intervals have become narrow enough.

    Args:
        target: the relative half width to be reached: 0.02 for "within 2 %".
    """

    def __init__(self, target: float) -> None:
        self.found = precision((), target)
        self._target = target
        self._warmup: list[float] = []
        self._samples: list[float] = []
        self._next = 0.0

    def warm(self, warmup: Sequence[float]) -> None:
        """Take the invocations before the timed ones."""
        self._warmup += warmup

    def add(self, chunk: Sequence[float]) -> bool:
        """Take the next samples; return whether it is enough. Once it was, it stays enough."""
        self._samples += chunk
        if not self.found.reached and len(self._samples) >= self._next:
            self.found = precision(self._samples, self._target, warmup=self._warmup)
            self._next = len(self._samples) * _GROWTH
        return self.found.reached


def _more(samples: Sequence[float], levels: Levels, p: float, width: float | None, target: float) -> int:
    """Return how many more samples would do: a width shrinks with the root of their number."""
    if width is None:
        return more_needed(samples, p, levels=levels)
    return max(0, math.ceil(len(samples) * ((width / target) ** 2 - 1.0)))
