"""Doubts that the samples themselves raise. Pure: a run goes in, doubts come out."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from edgekit.bench import stats, steady
from edgekit.bench.binomial import least_samples
from edgekit.bench.modes import find_modes
from edgekit.bench.summary import Doubt
from edgekit.bench.timed import timed_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.bench.run import Run

SPREAD_LIMIT = 0.05
"""MAD / median. MLPerf Mobile asks that results repeat within 5 %; a run that scatters more can't show it."""
DRIFT_LIMIT = 0.05
"""Last third against first third: the same 5 %, and only where the medians' intervals are apart."""
MODES_LIMIT = 0.05
"""How far apart two modes may be: the same 5 %. Nearer ones say too little about the device to be told of."""
OUTLIER_LIMIT = 0.05
"""Share of far-out samples. From 5 % on the P95 is itself one of them, and says nothing of the network."""
OVERHEAD_LIMIT = 0.01
"""The loop's own cost over P50. It is in every sample, and P50 shall be within 1 % of a bare loop's."""


def few_samples(run: Run) -> Iterator[Doubt]:
    """P95 is withheld: there are too few samples, or too few that are independent."""
    if run.told and not run.samples_ns:
        mean = run.told.get("avg_us")
        own = f" (its own mean: {mean / 1e3:.4g} ms)" if mean else ""
        name = run.runtime.name
        hint = f"{name} tells no single times{own}: bench with EdgeKit's own runtime for percentiles."
        yield Doubt(code="no-samples-told", value=0, limit=1, hint=hint)
        return
    timed, least = timed_of(run), least_samples(0.95)
    samples = timed.samples
    worth = int(len(samples) / stats.tail_time(stats.array_of(samples), 0.95, timed.levels))
    if worth >= least:
        return
    correlated = f" that are independent (of {len(samples)})" if worth < len(samples) else ""
    yield Doubt(
        code="few-samples",
        value=worth,
        limit=least,
        hint=f"P95 is withheld below {least} samples{correlated}: raise --runs or the time limit.",
        verdict="suspect" if run.samples_ns else "invalid",
    )


def never_steady(run: Run) -> Iterator[Doubt]:
    """The latency moved from level to level up to the end."""
    found = timed_of(run).steady
    if not found.reached:
        hint = "The latency was still moving from level to level: raise --runs, let it cool, fix the clock."
        yield Doubt(code="never-steady", value=found.share, limit=steady.SHARE, hint=hint)


def drift(run: Run) -> Iterator[Doubt]:
    """The last third differs from the first. What only got faster while it warmed up is left out already."""
    found = stats.drift(run.samples_ns)
    if found and found.ratio < 0:
        found = stats.drift(timed_of(run).samples)
    if found and found.clear and abs(found.ratio) > DRIFT_LIMIT:
        slower = "It got slower towards the end: let it cool, or find what else ran."
        hint = slower if found.ratio > 0 else "It was still warming up: raise --warmup."
        yield Doubt(code="drift", value=found.ratio, limit=DRIFT_LIMIT, hint=hint)


def spread(run: Run) -> Iterator[Doubt]:
    """The samples scatter."""
    value = stats.spread(timed_of(run).samples)
    if value > SPREAD_LIMIT:
        hint = "The samples scatter: stop other work there, let it cool, fix the clock."
        yield Doubt(code="spread", value=value, limit=SPREAD_LIMIT, hint=hint)


def two_modes(run: Run) -> Iterator[Doubt]:
    """The samples gather around two latencies, so that a median between them stands for neither."""
    found = find_modes(timed_of(run).samples)
    if found and found.clear and found.apart > MODES_LIMIT:
        hint = "There are two latencies, not one: pin it to one class of cores (--cores), fix the clock."
        yield Doubt(code="two-modes", value=found.apart, limit=MODES_LIMIT, hint=hint)


def outliers(run: Run) -> Iterator[Doubt]:
    """Many samples are far out on the slow side."""
    share = stats.outlier_share(timed_of(run).samples)
    if share > OUTLIER_LIMIT:
        hint = "Many samples are far out: something else ran there now and then."
        yield Doubt(code="outliers", value=share, limit=OUTLIER_LIMIT, hint=hint)


def overhead(run: Run) -> Iterator[Doubt]:
    """What the loop itself costs is more than a hundredth of what it measures."""
    samples = timed_of(run).samples
    if not (run.overhead_ns and samples):
        return
    value = statistics.median(run.overhead_ns) / max(1.0, statistics.median(samples))
    if value > OVERHEAD_LIMIT:
        hint = "The loop itself is in these times: compare them with each other only."
        yield Doubt(code="overhead", value=value, limit=OVERHEAD_LIMIT, hint=hint)
