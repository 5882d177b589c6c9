"""The invocations of a run that belong to its steady state; percentiles and doubts are made from these."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.bench.steady import find_steady, sample_levels

if TYPE_CHECKING:
    import numpy as np

    from edgekit.bench.run import Run
    from edgekit.bench.steady import Steady

    Levels = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """What of a run's invocations counts.

    Attributes:
        samples: durations of the steady state in nanoseconds, in order; all timed ones when it never came.
        levels: the level that each of them lies on, in nanoseconds.
        warmup: invocations after the first one that were left out before them, those asked for included.
        steady: where the steady state begins, counted from the invocation after the first one.
    """

    samples: tuple[int, ...]
    levels: Levels
    warmup: int
    steady: Steady


def timed_of(run: Run) -> Timed:
    """Return what of a run's invocations counts. An invocation asked for as warm-up never does."""
    return _timed(tuple(run.warmup_ns), tuple(run.samples_ns))


@functools.lru_cache(maxsize=4)
def _timed(warmup_ns: tuple[int, ...], samples_ns: tuple[int, ...]) -> Timed:
    found = find_steady((*warmup_ns, *samples_ns))
    begins = max(found.begins, len(warmup_ns))
    levels = sample_levels(found, begins, len(warmup_ns) + len(samples_ns))
    kept = samples_ns[begins - len(warmup_ns) :]
    return Timed(samples=kept, levels=levels, warmup=begins, steady=found)
