"""From a run to its summary: every derived number is made here, anew each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.bench import stats
from edgekit.bench.checks import doubts_of, labels_of, verdict_of
from edgekit.bench.power import figures
from edgekit.bench.summary import Estimate, Latency, Memory, Summary
from edgekit.units import ns_to_ms

if TYPE_CHECKING:
    from edgekit.bench.run import MemoryReading, Run


def summarize(run: Run) -> Summary:
    """Derive all numbers, doubts and the verdict of a run. Pure: the same run gives the same summary."""
    doubts = doubts_of(run)
    return Summary(
        run_id=run.id,
        latency=_latency(run),
        memory=_memory(run.memory),
        power=figures(run.power),
        doubts=doubts,
        verdict=verdict_of(doubts),
        labels=labels_of(run),
    )


def _latency(run: Run) -> Latency:
    samples = run.samples_ns
    return Latency(
        count=len(samples),
        load_ms=None if run.load_ns is None else ns_to_ms(run.load_ns),
        first_ms=None if run.first_ns is None else ns_to_ms(run.first_ns),
        p50_ms=_estimate(samples, 0.5),
        p95_ms=_estimate(samples, 0.95),
        min_ms=ns_to_ms(min(samples)) if samples else None,
        max_ms=ns_to_ms(max(samples)) if samples else None,
        mad_ms=ns_to_ms(stats.mad(samples)) if samples else None,
        withheld=_withheld(len(samples)),
    )


def _estimate(samples: tuple[int, ...], p: float) -> Estimate | None:
    found = stats.percentile(samples, p)
    if found is None:
        return None
    return Estimate(value=ns_to_ms(found.value), low=ns_to_ms(found.low), high=ns_to_ms(found.high))


def _withheld(count: int) -> str:
    """Return which percentiles are withheld and how many more samples would do, or an empty string."""
    reasons = [
        f"{name} needs {stats.least_samples(p)} samples, {stats.least_samples(p) - count} more"
        for name, p in (("P50", 0.5), ("P95", 0.95))
        if count < stats.least_samples(p)
    ]
    return "; ".join(reasons)


def _memory(readings: tuple[MemoryReading, ...]) -> Memory | None:
    by_phase = {reading.phase: reading for reading in readings}
    baseline, peak = by_phase.get("baseline"), by_phase.get("peak")
    if baseline is None or peak is None:
        return None
    low, high = (r.pss_bytes + r.swap_bytes for r in (baseline, peak))
    return Memory(
        baseline_bytes=low,
        peak_pss_bytes=high,
        peak_over_baseline_bytes=high - low,
        private_dirty_bytes=peak.private_dirty_bytes,
    )
