"""Compare two sides, A and B: stored runs, or artifacts that take turns on a device at hand."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgekit.bench.binomial import least_samples
from edgekit.bench.execute import execute
from edgekit.bench.gate import ROUNDS, Decision, block_effect, decide, decide_sides, looks_of, side_of
from edgekit.bench.held import Held
from edgekit.bench.summarize import summarize
from edgekit.bench.summary import Estimate
from edgekit.bench.timed import timed_of
from edgekit.errors import ResultError, UsageError
from edgekit.runners.transport import open_transport
from edgekit.units import ns_to_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.bench.execute import BenchResult, RunSaver
    from edgekit.bench.journal import Journal
    from edgekit.bench.plan import BenchPlan, Item
    from edgekit.bench.progress import Progress
    from edgekit.bench.run import Run

PERCENTILES = {"P50": 0.5, "P95": 0.95}
MAX_S = 3600.0
"""The limit of a comparison on a device by default, seconds; no run begins after it."""
LOST = 3
"""So many blocks in a row that come to nothing end a comparison: the next would too."""
_NAMED = 3
_RUNS = 4
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
    across: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    journal: Journal | None = None,
) -> Comparison:
    """Let A and B take turns on a device until a decision or a limit; each run is kept when it is over.

    Args:
        plans: of A and of B: one item each, on the same device; A's settings hold for both.
        store: keeps every run.
        gate: the slow-down that has to be caught.
        percentile: one of PERCENTILES.
        rounds: the limit of blocks, A B B A or B A A B by the toss of a coin.
        max_s: after which no further run begins, seconds.
        across: whether to count blocks in which conditions (the governor, say) changed between runs.
        on_progress: told of every step.
        journal: where runs are written down before they begin, so that those whose host dies are found again.

    Raises:
        UsageError: a plan has not one item, the devices differ, or the rounds are too few.
        ResultError: no round came about, at first or LOST times in a row; the runs are kept.
    """
    pair = (_only(plans[0]), _only(plans[1]))
    if pair[0].device != pair[1].device:
        raise UsageError("the sides are on two devices", hint="let A and B take turns on one")
    looks_of(rounds)  # refuses what can't be, before the device is touched
    ends = time.monotonic() + max_s
    turns = _Turns(plans[0], pair, store, percentile=percentile, across=across, ends=ends, journal=journal)
    decision = decide((), gate=gate, rounds=rounds)
    try:
        while not (decision.final or turns.over):
            turns.block(on_progress and _numbered(on_progress, decision, rounds))
            decision = decide(turns.effects, gate=gate, rounds=rounds)
    except KeyboardInterrupt:
        turns.interrupted = True
    finally:
        turns.close()
    decision = decide(turns.effects, gate=gate, rounds=rounds)
    if not decision.final:
        why = "interrupted; the runs made are kept"
        why = why if turns.interrupted else f"the limit of {max_s:g} s came first"
        decision = replace(decision, why=why, final=True)
    a, b = (tuple(run for block in turns.made for run in block.sides[side]) for side in (0, 1))
    return Comparison(
        decision=decision, gate=gate, percentile=percentile, a=a, b=b, interleaved=True,
        differ=differences((*a, *b)), notes=(*turns.lost, *_doubts((*a, *b))), interrupted=turns.interrupted,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A round that counts."""

    effect: float
    sides: tuple[tuple[Run, ...], ...]


class _Turns:
    """Blocks of two runs of A and two of B on one device, which is held from the first to the last.

    A block that did not come about whole - a run failed, is invalid, or another condition came between - is
    lost alone. Where that happens LOST times in a row, or before anything ran at all, there is no comparison.
    """

    def __init__(
        self,
        plan: BenchPlan,
        pair: tuple[Item, Item],
        store: RunSaver | None,
        *,
        percentile: str,
        across: bool,
        ends: float,
        journal: Journal | None,
    ) -> None:
        self.made: list[_Block] = []
        self.lost: list[str] = []
        self.interrupted = False
        self._plan, self._pair, self._store = plan, pair, store
        self._percentile, self._across, self._ends = percentile, across, ends
        self._journal = journal
        self._in_a_row = 0
        self._held = Held(open_transport)

    @property
    def effects(self) -> list[float]:
        """Effects of the blocks that count."""
        return [block.effect for block in self.made]

    @property
    def over(self) -> bool:
        """Whether no further block may begin."""
        return self.interrupted or time.monotonic() > self._ends

    def block(self, on_progress: Callable[[Progress], None] | None) -> None:
        """Make one block and keep its effect.

        Raises:
            ResultError: no block comes about here.
        """
        turned = secrets.randbelow(2) == 1
        order = [side_of(place, turned=turned) for place in range(_RUNS)]
        plan = replace(self._plan, items=tuple(self._pair[side] for side in order))
        result = execute(
            plan, self._store, on_progress=on_progress, journal=self._journal,
            opened=self._held.opened, leased=self._held.leased, ends=self._ends,
        )  # fmt: skip
        if result.interrupted or result.late:
            self.interrupted = result.interrupted
            self.lost.append(f"a round was cut short: its runs do not count ({_named(result.runs)})")
            return
        try:
            _check(result)
            effect = block_effect(self._points(result.runs), turned=turned)
        except ResultError as error:
            self._lose(error, go_on=result.kept and bool(result.runs or self.made))
            return
        self._in_a_row = 0
        sides = tuple(
            tuple(run for mine, run in zip(order, result.runs, strict=True) if mine == side)
            for side in (0, 1)
        )
        self.made.append(_Block(effect=effect, sides=sides))

    def close(self) -> None:
        """Give the device back and close the connection; twice is fine."""
        self._held.close()

    def _points(self, runs: Sequence[Run]) -> list[float]:
        sides = {"format", "runtime"}  # what an artifact brings along
        found = [line for line in differences(runs) if line.partition(":")[0] not in sides]
        if found and not self._across:
            raise ResultError(f"conditions changed between its runs: {'; '.join(found)}")
        return [_point(run, self._percentile) for run in runs]

    def _lose(self, error: ResultError, *, go_on: bool) -> None:
        self.lost.append(f"a round was lost: {error.what}")
        self._in_a_row += 1
        if go_on and self._in_a_row < LOST:
            return
        many = f"{self._in_a_row} rounds in a row came to nothing, the last by " if self._in_a_row > 1 else ""
        raise ResultError(f"{many}{error.what}", hint="its runs are kept: edgekit runs list")


def _check(result: BenchResult) -> None:
    """Raise what went wrong in a block."""
    if result.failed:
        failure = result.failed[0]
        raise ResultError(f"{failure.recipe or failure.device}: {failure.error}")


def _numbered(tell: Callable[[Progress], None], before: Decision, rounds: int) -> Callable[[Progress], None]:
    """Return what tells the same, of which round, and how many will do by what is known so far."""
    note = f", round {before.blocks + 1} of {rounds} at most"
    if before.needed is not None:
        note += f"; about {before.needed} would decide"
    return lambda p: tell(replace(p, note=p.note + note))


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
    """Return what is to be said of the runs, each with how many and which."""
    told: dict[str, list[str]] = {}
    for run in runs:
        summary = summarize(run)
        for word in {*(f"suspect ({d.code})" for d in summary.doubts), *summary.labels}:
            told.setdefault(word, []).append(run.id)
    lines = []
    for word, ids in sorted(told.items()):
        which = "" if len(ids) == len(runs) else f" ({_listed(ids)})"
        lines.append(f"{len(ids)} of {len(runs)} runs: {word}{which}")
    return tuple(lines)


def _named(runs: Sequence[Run]) -> str:
    return _listed([run.id for run in runs]) or "none was whole"


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_NAMED]) + ", ..." * (len(ids) > _NAMED)


def _only(plan: BenchPlan) -> Item:
    if len(plan.items) != 1:
        reasons = "; ".join(skipped.reason for skipped in plan.skipped)
        what = f"a side has to be one artifact on one device, not {len(plan.items)}"
        raise UsageError(what + (f" ({reasons})" if reasons else ""), hint="name BUNDLE/artifacts/NAME")
    return plan.items[0]
