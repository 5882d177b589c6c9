"""From a run to its summary: every derived number is made here, anew each time."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from edgekit.bench import stats
from edgekit.bench.binomial import least_samples
from edgekit.bench.checks import doubts_of, labels_of, verdict_of
from edgekit.bench.power import figures
from edgekit.bench.summary import Latency, Memory, Summary
from edgekit.bench.sustained import minute_curve
from edgekit.bench.timed import timed_of
from edgekit.units import ns_to_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgekit.bench.run import MemoryReading, Run
    from edgekit.bench.summary import Estimate
    from edgekit.bench.timed import Levels

PERCENTILES = {"P50": 0.5, "P90": 0.9, "P95": 0.95, "P99": 0.99}
"""The percentiles of a summary, by the names under which they are shown."""


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
        curve=minute_curve(run.samples_ns, period_ns=round(float(run.plan.get("period_s") or 0.0) * 1e9)),
    )


def _latency(run: Run) -> Latency:
    if run.told and not run.samples_ns:
        return _told(run)
    timed = timed_of(run)
    ms = [ns_to_ms(sample) for sample in timed.samples]
    levels = timed.levels / 1e6
    found = {name: stats.percentile(ms, p, levels=levels) for name, p in PERCENTILES.items()}
    return Latency(
        count=len(run.samples_ns),
        load_ms=None if run.load_ns is None else ns_to_ms(run.load_ns),
        first_ms=None if run.first_ns is None else ns_to_ms(run.first_ns),
        p50_ms=found["P50"],
        p90_ms=found["P90"],
        p95_ms=found["P95"],
        p99_ms=found["P99"],
        mean_ms=stats.mean(ms, levels=levels),
        mad_estimate_ms=stats.mad_estimate(ms, levels=levels),
        min_ms=ns_to_ms(min(run.samples_ns)) if ms else None,
        max_ms=ns_to_ms(max(run.samples_ns)) if ms else None,
        mad_ms=stats.mad(ms) if ms else None,
        withheld=_withheld(ms, levels, found),
        warmup_count=timed.warmup,
        steady=timed.steady.reached,
        overhead_ms=ns_to_ms(statistics.median(run.overhead_ns)) if run.overhead_ns else None,
    )


def _told(run: Run) -> Latency:
    """Return what a tool that tells no single times says; no percentile can be made of that."""
    least, most = run.told.get("min_us"), run.told.get("max_us")
    return Latency(
        count=int(run.told.get("count", 0)),
        load_ms=None if run.load_ns is None else ns_to_ms(run.load_ns),
        first_ms=None if run.first_ns is None else ns_to_ms(run.first_ns),
        p50_ms=None,
        p95_ms=None,
        min_ms=None if least is None else least / 1e3,
        max_ms=None if most is None else most / 1e3,
        withheld=f"{run.runtime.name} tells no single times",
        warmup_count=int(run.told.get("warmup_count", 0)),
    )


def _withheld(ms: list[float], levels: Levels, found: Mapping[str, Estimate | None]) -> str:
    """Return which percentiles are withheld and how many more samples would do, or an empty string."""
    reasons = []
    for name, p in PERCENTILES.items():
        if found[name] is None:
            least, more = least_samples(p), stats.more_needed(ms, p, levels=levels)
            kind = "samples" if len(ms) + more == least else "independent samples"
            reasons.append(f"{name} needs {least} {kind}, {more} more")
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
        measure=peak.measure,
    )
