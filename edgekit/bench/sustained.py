"""Sustained load: latency minute by minute, and the last minute against the first one."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from edgekit.bench.stats import trending_percentile
from edgekit.bench.summary import Curve, Estimate, Minute
from edgekit.units import ns_to_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUTE_NS = 60_000_000_000
FULL = 0.5
"""Share of its length that a last minute must have to be one of its own; less goes to the one before."""


def minute_curve(samples: Sequence[int], *, period_ns: int = 0, minute_ns: int = MINUTE_NS) -> Curve | None:
    """Cut the samples of a run in minutes; None when it lasted less than one and a half.

    The samples' own durations are the clock (or the period where they were paced): what the device did
    between two invocations is left out, a few seconds in an hour.

    Args:
        samples: durations of the timed invocations, in order, in nanoseconds.
        period_ns: from the beginning of one to that of the next; 0 when they followed each other.
        minute_ns: another length of a stretch, for short runs.
    """
    ends = itertools.accumulate(max(sample, period_ns) for sample in samples)
    parts = [list(pairs) for _, pairs in itertools.groupby(
        zip(ends, samples, strict=True), key=lambda pair: (pair[0] - 1) // minute_ns
    )]  # fmt: skip
    if len(parts) > 1 and parts[-1][-1][0] - parts[-2][-1][0] < FULL * minute_ns:
        parts[-2:] = [parts[-2] + parts[-1]]
    if len(parts) < 2:  # noqa: PLR2004
        return None
    minutes = tuple(_minute(number, [s for _, s in part]) for number, part in enumerate(parts, start=1))
    return Curve(minutes=minutes, slowdown=relative(minutes[0].p50_ms, minutes[-1].p50_ms))


def relative(first: Estimate | None, last: Estimate | None) -> Estimate | None:
    """Return last / first - 1 with its interval, or None when one is missing or not above 0.

    The two intervals are joined on the logarithmic scale by the method of variance estimates recovery (G. Y.
    Zou, A. Donner, "Construction of confidence limits about effect measures", 2008); the two are taken as
    independent.
    """
    if first is None or last is None or min(first.low, last.low) <= 0:
        return None
    a, b = ([math.log(x) for x in (e.value, e.low, e.high)] for e in (first, last))
    middle = b[0] - a[0]
    low = middle - math.hypot(b[0] - b[1], a[2] - a[0])
    high = middle + math.hypot(b[2] - b[0], a[0] - a[1])
    n = None if first.n is None or last.n is None else first.n + last.n
    return Estimate(value=math.expm1(middle), low=math.expm1(low), high=math.expm1(high), n=n)


def _minute(number: int, samples: Sequence[int]) -> Minute:
    ms = [ns_to_ms(sample) for sample in samples]
    p50, p95 = (trending_percentile(ms, p) for p in (0.5, 0.95))
    return Minute(number=number, count=len(ms), p50_ms=p50, p95_ms=p95)
