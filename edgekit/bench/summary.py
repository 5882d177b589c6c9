"""A summary: the numbers derived from a run. Made anew each time, never stored as truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

VERDICTS = ("valid", "suspect", "invalid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its interval (95 % unless its maker says otherwise), in the unit of its name.

    Attributes:
        value: the point.
        low: the interval's lower end.
        high: the interval's upper end.
        n: how many samples it was made from; None when it was not made from samples.
        n_eff: how many independent samples these are worth.
    """

    value: float
    low: float
    high: float
    n: int | None = None
    n_eff: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A reason to mistrust a run.

    Attributes:
        code: one word for it ("spread", "drift", "load", "few-samples", "outputs-wrong", "emulated" ...).
        value: the number that raised it.
        limit: what the number should have kept to.
        hint: what to do about it.
        verdict: what it alone makes of the run, "suspect" or "invalid".
    """

    code: str
    value: float
    limit: float
    hint: str
    verdict: str = "suspect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Latency of the timed invocations, in milliseconds. Estimates are those of the steady state.

    Attributes:
        count: how many timed invocations.
        load_ms: opening the artifact.
        first_ms: the first invocation.
        p50_ms: None when withheld.
        p95_ms: None when withheld.
        min_ms: the shortest of all; None without samples.
        max_ms: the longest of all; None without samples.
        mad_ms: the median absolute deviation from the median; None without samples.
        withheld: why a percentile is withheld and how many more samples would do, or "".
        p90_ms: None when withheld.
        p99_ms: None when withheld.
        mean_ms: None when withheld.
        mad_estimate_ms: mad_ms with its interval; None when withheld.
        warmup_count: invocations after the first one that the estimates leave out before the steady state,
            those that were asked for included.
        steady: whether the steady state was reached; when not, the estimates are of all timed invocations.
        overhead_ms: what the timed loop itself costs, median; None when not told.
    """

    count: int
    load_ms: float | None
    first_ms: float | None
    p50_ms: Estimate | None
    p95_ms: Estimate | None
    min_ms: float | None = None
    max_ms: float | None = None
    mad_ms: float | None = None
    withheld: str = ""
    p90_ms: Estimate | None = None
    p99_ms: Estimate | None = None
    mean_ms: Estimate | None = None
    mad_estimate_ms: Estimate | None = None
    warmup_count: int = 0
    steady: bool = True
    overhead_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """One minute of a run.

    Attributes:
        number: from 1 on.
        count: its samples.
        p50_ms: None when withheld.
        p95_ms: None when withheld.
    """

    number: int
    count: int
    p50_ms: Estimate | None
    p95_ms: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A run minute by minute.

    Attributes:
        minutes: in order, at least two.
        slowdown: P50 of the last minute over that of the first, minus 1, with its interval; None when one of
            the two is withheld.
    """

    minutes: tuple[Minute, ...]
    slowdown: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of the memory pass, in bytes.

    Attributes:
        baseline_bytes: peak meaning (PSS + swap) before the artifact was loaded.
        peak_pss_bytes: the largest PSS + swap seen.
        peak_over_baseline_bytes: the difference of the two: what the artifact cost.
        private_dirty_bytes: at the peak.
        measure: "pss", or "footprint": these are a Mac's physical footprint then, and compare with no PSS.
    """

    baseline_bytes: int
    peak_pss_bytes: int
    peak_over_baseline_bytes: int
    private_dirty_bytes: int
    measure: str = "pss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All that is derived from one run.

    Attributes:
        run_id: the run's id.
        latency: see Latency.
        memory: None when it could not be measured.
        power: {"unavailable": reason} or figures.
        doubts: reasons to mistrust it, the worst first.
        verdict: "valid", "suspect" or "invalid": what the doubts add up to.
        labels: what it must never be shown without ("emulated: qemu-user", "fake device").
        curve: latency minute by minute; None for a run that did not last so long.
    """

    run_id: str
    latency: Latency
    memory: Memory | None
    power: Mapping[str, Any]
    doubts: tuple[Doubt, ...]
    verdict: str
    labels: tuple[str, ...] = ()
    curve: Curve | None = None
