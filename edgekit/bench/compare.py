"""Compare two sides, A and B: stored runs, or artifacts that take turns on a device at hand."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgekit.bench.binomial import least_samples
from edgekit.bench.execute import execute
from edgekit.bench.gate import ROUNDS, Decision, block_effect, decide, decide_sides, looks_of
from edgekit.bench.summarize import summarize
from edgekit.bench.summary import Estimate
from edgekit.bench.timed import timed_of
from edgekit.errors import ResultError, UsageError
from edgekit.units import ns_to_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.bench.execute import Progress, RunSaver
    from edgekit.bench.plan import BenchPlan
    from edgekit.bench.run import Run

PERCENTILES = {"P50": 0.5, "P95": 0.95}
MAX_S = 3600.0
"""The limit of a comparison on a device by default, seconds; no new rounds begin after it."""
_ABBA = (0, 1, 1, 0)
_APART = "the runs did not take turns: what changed between the sides is in the effect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a comparison came to.

    Attributes:
        decision: the gate's word with the effect of B over A.
        gate: the slow-down that had to be caught.
        percentile: "P50" or "P95" of each run.
        a: the runs of A that counted.
        b: the runs of B that counted.
        interleaved: whether A and B took turns (ABBA).
        differ: conditions in which the sides differ; only where that was asked for.
        notes: what else must be said: doubts of the runs, what was left out.
        within: where a side has one run alone, that run's effect from samples; nothing is decided by it.
        interrupted: whether ctrl-C ended it.
    """

    decision: Decision
    gate: float
    percentile: str
    a: tuple[Run, ...]
    b: tuple[Run, ...]
    interleaved: bool
    differ: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    within: Estimate | None = None
    interrupted: bool = False


def compare_runs(
    a: Sequence[Run], b: Sequence[Run], *, gate: float, percentile: str = "P50", across: bool = False
) -> Comparison:
    """Compare stored runs.

    Args:
        a: runs of A.
        b: runs of B.
        gate: the slow-down that has to be caught, 0.05 for 5 %.
        percentile: one of PERCENTILES.
        across: whether to compare runs whose conditions differ, and say so.

    Raises:
        UsageError: a side is empty or shares a run with the other; conditions differ.
        ResultError: a run is invalid, or has too few samples for its percentile.
    """
    if not a or not b:
        raise UsageError("a side has no runs", hint="see them: edgekit runs list")
    if {run.id for run in a} & {run.id for run in b}:
        raise UsageError("a run is on both sides", hint="give each side its own runs")
    differ = differences((*a, *b))
    if differ and not across:
        what = f"the runs' conditions differ: {'; '.join(differ)}"
        raise UsageError(what, hint="bench both sides alike, or compare them so with --across")
    values = [[_point(run, percentile) for run in side] for side in (a, b)]
    within = _within(a[-1], b[-1], percentile) if min(len(a), len(b)) == 1 else None
    return Comparison(
        decision=decide_sides(values[0], values[1], gate=gate), gate=gate, percentile=percentile,
        a=tuple(a), b=tuple(b), interleaved=False, differ=differ, within=within,
        notes=(*_doubts((*a, *b)), _APART),
    )  # fmt: skip


def compare_on_device(
    plans: tuple[BenchPlan, BenchPlan],
    store: RunSaver | None,
    *,
    gate: float,
    percentile: str = "P50",
    rounds: int = ROUNDS,
    max_s: float = MAX_S,
    on_progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Let A and B take turns on a device, ABBA, until a decision or a limit; each run is kept when over.

    Args:
        plans: of A and of B: one item each, on the same device; A's settings hold for both.
        store: keeps every run.
        gate: the slow-down that has to be caught.
        percentile: one of PERCENTILES.
        rounds: the limit of ABBA blocks.
        max_s: after which no further blocks begin, seconds.
        on_progress: told of every step.

    Raises:
        UsageError: a plan has not one item.
        ResultError: something did not run, a run is invalid, or has too few samples for its percentile.
    """
    pair = [_only(plan) for plan in plans]
    decide((), gate=gate, rounds=rounds)  # refuses what can't be, before the device is touched
    sides: tuple[list[Run], list[Run]] = ([], [])
    effects: list[float] = []
    began, interrupted = time.monotonic(), False
    decision = decide(effects, gate=gate, rounds=rounds)
    for look in looks_of(rounds):
        items = tuple(pair[side] for _ in range(look - len(effects)) for side in _ABBA)
        result = execute(replace(plans[0], items=items), store, on_progress=on_progress)
        interrupted = result.interrupted
        if result.failed and not interrupted:
            raise ResultError(f"{result.failed[0].recipe}: {result.failed[0].error}", hint="see its runs")
        whole = len(result.runs) - (1 if interrupted and result.runs[-1:] and _cut(result.runs[-1]) else 0)
        for first in range(0, whole - whole % 4, 4):
            block = result.runs[first : first + 4]
            for side, run in zip(_ABBA, block, strict=True):
                sides[side].append(run)
            p = [_point(run, percentile) for run in block]
            effects.append(block_effect((p[0], p[3]), (p[1], p[2])))
        decision = decide(effects, gate=gate, rounds=rounds)
        if interrupted:
            decision = replace(decision, why="interrupted; the runs made are kept")
        elif not decision.final and time.monotonic() - began > max_s:
            decision = replace(decision, why=f"the limit of {max_s:g} s came first", final=True)
        if decision.final or interrupted:
            break
    every = (*sides[0], *sides[1])
    return Comparison(
        decision=decision, gate=gate, percentile=percentile, a=tuple(sides[0]), b=tuple(sides[1]),
        interleaved=True, differ=differences(every), notes=_doubts(every), interrupted=interrupted,
    )  # fmt: skip


def differences(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return one text for each condition that is not the same in all runs."""
    told = [conditions_of(run) for run in runs]
    found = []
    for name in told[0] if told else ():
        values = sorted({one[name] or "not told" for one in told})
        if len(values) > 1:
            found.append(f"{name}: {', '.join(values)}")
    return tuple(found)


def conditions_of(run: Run) -> dict[str, str]:
    """Return what has to agree between runs that are compared, by name."""
    clusters = [c for e in run.conditions if e.get("when") == "during" for c in e.get("clusters", ())]
    return {
        "device": run.device,
        "target": run.target,
        "runtime": f"{run.runtime.name} {run.runtime.version}",
        "threads": str(run.runtime.threads),
        "cores": str(run.plan.get("cores", "")),
        "pace": str(run.plan.get("period_s") or 0),
        "governor": ",".join(sorted({str(c.get("governor", "")) for c in clusters})),
        "format": run.artifact.format,
    }


def _point(run: Run, percentile: str) -> float:
    """Return a run's percentile in milliseconds, without an interval: runs are the unit here, not samples."""
    import numpy as np

    summary = summarize(run)
    if summary.verdict == "invalid":
        codes = ", ".join(doubt.code for doubt in summary.doubts if doubt.verdict == "invalid")
        raise ResultError(f"run {run.id} is invalid ({codes})", hint=f"see edgekit runs show {run.id}")
    share, samples = PERCENTILES[percentile], timed_of(run).samples
    if len(samples) < least_samples(share):
        what = (
            f"run {run.id} has no {percentile}: {len(samples)} invocations count, of {least_samples(share)}"
        )
        raise ResultError(what, hint="bench with more --runs")
    value = ns_to_ms(float(np.quantile(samples, share, method="median_unbiased")))
    if value <= 0:
        raise ResultError(f"run {run.id} took no time", hint="its clock is too coarse to compare by")
    return value


def _within(first: Run, second: Run, percentile: str) -> Estimate | None:
    """Return the effect between two runs by their own intervals; None where one is withheld."""
    a, b = (
        summary.latency.p95_ms if percentile == "P95" else summary.latency.p50_ms
        for summary in (summarize(first), summarize(second))
    )
    if a is None or b is None:
        return None
    return Estimate(value=b.value / a.value - 1, low=b.low / a.high - 1, high=b.high / a.low - 1)


def _doubts(runs: Sequence[Run]) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    for run in runs:
        summary = summarize(run)
        for word in {*(f"suspect ({d.code})" for d in summary.doubts), *summary.labels}:
            counts[word] = counts.get(word, 0) + 1
    return tuple(f"{count} of {len(runs)} runs: {word}" for word, count in sorted(counts.items()))


def _only(plan: BenchPlan) -> Any:
    if len(plan.items) != 1:
        reasons = "; ".join(skipped.reason for skipped in plan.skipped)
        what = f"a side has to be one artifact on one device, not {len(plan.items)}"
        raise UsageError(what + (f" ({reasons})" if reasons else ""), hint="name BUNDLE/artifacts/NAME")
    return plan.items[0]


def _cut(run: Run) -> bool:
    return run.ended == "interrupted"
