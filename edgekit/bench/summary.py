"""A summary: the numbers derived from a run. Made anew each time, never stored as truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

VERDICTS = ("valid", "suspect", "invalid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its interval (95 % unless its maker says otherwise), in the unit of its name."""

    value: float
    low: float
    high: float


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
    """Latency of the timed invocations, in milliseconds.

    Attributes:
        count: how many timed invocations.
        load_ms: opening the artifact.
        first_ms: the first invocation.
        p50_ms: None when withheld.
        p95_ms: None when withheld.
        min_ms: the shortest; None without samples.
        max_ms: the longest; None without samples.
        mad_ms: the median absolute deviation from the median; None without samples.
        withheld: why a percentile is withheld and how many more samples would do, or "".
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of the memory pass, in bytes.

    Attributes:
        baseline_bytes: peak meaning (PSS + swap) before the artifact was loaded.
        peak_pss_bytes: the largest PSS + swap seen.
        peak_over_baseline_bytes: the difference of the two: what the artifact cost.
        private_dirty_bytes: at the peak.
    """

    baseline_bytes: int
    peak_pss_bytes: int
    peak_over_baseline_bytes: int
    private_dirty_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All that is derived from one run.

    Attributes:
        run_id: the run's id.
        latency: see Latency.
        memory: None when it could not be measured.
        power: as the run holds it: {"unavailable": reason} or figures.
        doubts: reasons to mistrust it, the worst first.
        verdict: "valid", "suspect" or "invalid": what the doubts add up to.
        labels: what it must never be shown without ("emulated: qemu-user", "fake device").
    """

    run_id: str
    latency: Latency
    memory: Memory | None
    power: Mapping[str, Any]
    doubts: tuple[Doubt, ...]
    verdict: str
    labels: tuple[str, ...] = ()
