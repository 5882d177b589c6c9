"""Two runs of one source, and why the second is not faster than the first, in one line with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.bench.checks import labels_of
from edgekit.bench.explain.causes import causes_of
from edgekit.bench.explain.conditions import Cause, differences
from edgekit.bench.explain.pair import Pair, pair_of
from edgekit.bench.explain.side import FLOAT, Side, side_of
from edgekit.errors import UsageError
from edgekit.units import ns_to_ms, number_text

if TYPE_CHECKING:
    from edgekit.bench.run import Run

EXPECTED_GAIN = 1.3
"""How much faster int8 is than float at least where all is well: published gains of int8 networks on ARM
are 1.3 to 3.2 (XNNPACK's README, TensorFlow's blog of 2021, model zoos); below that something holds it."""
LARGE_SHARE = 0.25
"""Which part of int8's time a cause has to concern to be told first although int8 is as fast as expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What two runs come to.

    Attributes:
        pair: both sides, aligned.
        swapped: whether the runs were named the other way round, int8 first.
        comparable: whether they ran alike, so that the artifacts can be compared at all.
        causes: the first is the cause; those behind it concern less of the time.
        notes: what else a reader has to know.
    """

    pair: Pair
    swapped: bool
    comparable: bool
    causes: tuple[Cause, ...]
    notes: tuple[str, ...]

    @property
    def cause(self) -> Cause:
        """The cause."""
        return self.causes[0]

    @property
    def line(self) -> str:
        """The answer in one line: what was measured, why, and what to try."""
        return f"{headline(self.pair)}: {self.cause.line}; try: {self.cause.hint}"


def explain(first: Run, second: Run) -> Explanation:
    """Explain why the second run is not faster than the first.

    Args:
        first: the one compared against, usually float.
        second: the other one, usually int8. Named the other way round they are turned.

    Raises:
        UsageError: they are of different sources, or they are one and the same run.
    """
    _check(first, second)
    a, b = side_of(first), side_of(second)
    swapped = a.kind != FLOAT and b.kind == FLOAT
    if swapped:
        a, b = b, a
    pair = pair_of(a, b)
    differing = differences(a, b)
    causes = differing or _causes(pair)
    return Explanation(
        pair=pair, swapped=swapped, comparable=not differing, causes=causes, notes=_notes(pair)
    )


def headline(pair: Pair) -> str:
    """Return what the medians say: "int8 is 1.82 times slower than float (0.98 ms against 0.54 ms)"."""
    a, b, ratio = pair.a.p50_ms, pair.b.p50_ms, pair.ratio
    left, right = (_name(side, other) for side, other in ((pair.a, pair.b), (pair.b, pair.a)))
    if a is None or b is None or ratio is None:
        return f"{right} against {left}: the medians are withheld"
    times = f"({number_text(b.value)} ms against {number_text(a.value)} ms)"
    where = "on an emulated device, " if _emulated(pair) else ""
    if pair.outcome == "no difference":
        return f"{where}{right} is as fast as {left} {times}"
    if pair.outcome == "slower":
        return f"{where}{right} is {ratio:.2f} times slower than {left} {times}"
    return f"{where}{right} is {1.0 / ratio:.2f} times faster than {left} {times}"


def _emulated(pair: Pair) -> bool:
    """Return whether times say nothing of hardware: then no gain is called usual."""
    return any(side.run.facts.get("emulated") for side in (pair.a, pair.b))


def _check(first: Run, second: Run) -> None:
    if first.id == second.id:
        raise UsageError("these are one and the same run", hint="name two runs: edgekit runs list")
    left, right = first.artifact.source, second.artifact.source
    if left and right and left != right:
        raise UsageError(
            f"the runs are of different sources, {left} and {right}",
            hint="explain two artifacts of one source; to compare networks use: edgekit compare",
        )


def _name(side: Side, other: Side) -> str:
    """Return what a side is called: its precision, or its recipe where both have the same."""
    return side.kind if side.kind != other.kind else side.run.artifact.recipe


def _causes(pair: Pair) -> tuple[Cause, ...]:
    """Return the causes, the one that answers first."""
    found = causes_of(pair)
    if pair.a.kind == pair.b.kind == FLOAT and not found:
        return (_nothing(pair),)
    fast = pair.outcome == "faster" and pair.ratio is not None and pair.ratio <= 1.0 / EXPECTED_GAIN
    fast = fast and not _emulated(pair)
    large = found and found[0].share is not None and found[0].share >= LARGE_SHARE
    given = {"memory-bound", "no-dot-product", "overhead"}
    if fast and (not large or found[0].code in given):
        return (_as_expected(pair), *found)
    return found or (_nothing(pair),)


def _as_expected(pair: Pair) -> Cause:
    gain = 1.0 / pair.ratio if pair.ratio else 0.0
    return Cause(
        code="as-expected",
        line="nothing holds it back by much",
        evidence=(f"{gain:.2f} times as fast; {EXPECTED_GAIN:g} and more is usual", str(pair.b.cpu)),
        hint="take it",
    )


def _nothing(pair: Pair) -> Cause:
    """Return that no cause was found, with where the time went."""
    rows = [row for row in pair.rows if row.a and row.b and row.a.ns is not None and row.b.ns is not None]
    lost = sorted(rows, key=lambda row: (row.a.ns or 0.0) - (row.b.ns or 0.0) if row.a and row.b else 0.0)[:3]
    shown = [
        f"{row.b.layer.partition(';')[0] or row.b.kind} {number_text(ns_to_ms(row.a.ns or 0.0))} to"
        f" {number_text(ns_to_ms(row.b.ns or 0.0))} ms"
        for row in lost
        if row.a and row.b
    ]
    return Cause(
        code="unexplained",
        line="no cause that is known here was found",
        evidence=(*((", ".join(shown),) if shown else ()), str(pair.b.cpu)),
        hint="look at the operators that lost most, in the table",
    )


def _notes(pair: Pair) -> tuple[str, ...]:
    notes = []
    for name, side in (("A", pair.a), ("B", pair.b)):
        if side.unavailable:
            notes.append(f"{name} has no times of operators: {side.unavailable}")
        notes.extend(f"{name}: {label}" for label in labels_of(side.run))
        lost = _unlike(side)
        if lost:
            notes.append(f"{name}: {lost}")
    return tuple(notes)


def _unlike(side: Side) -> str:
    """Return what to say when the operators' sum is not what the latency pass measured, or ""."""
    total, p50 = side.total_ns, side.p50_ms
    if total is None or p50 is None or ns_to_ms(total) <= p50.value * 1.25:
        return ""
    return (
        f"its operators take {number_text(ns_to_ms(total))} ms, its median is {number_text(p50.value)} ms:"
        " the profiler slowed it down, so trust shares, not times"
    )
