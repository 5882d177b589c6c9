"""Why a run is not faster than its source's float run, for the page: where both have operators' times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.bench.explain.explain import explain
from edgekit.bench.explain.table import share_text, table_of
from edgekit.report.cells import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.run import Run

MOST = 12
"""How many operators of each pair the page shows, the slowest; `edgekit explain --all` shows all."""
_FLOAT = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """One float run against another of its source.

    Attributes:
        a: which of the page's runs is A, the float one.
        b: which is B.
        line: the answer.
        evidence: what it rests on, and what else concerns part of the time.
        operators: lines of edgekit.bench.explain.table.
        left: how many operators are not shown.
    """

    a: int
    b: int
    line: str
    evidence: tuple[str, ...]
    operators: tuple[tuple[str, ...], ...]
    left: int


def whys_of(runs: Sequence[Run]) -> list[Why]:
    """Return an explanation for each run that has operators' times, against the float run beside it.

    That is the nearest earlier one, else the first, of the same source, device, runtime and threads.
    """
    found = []
    timed = [index for index, run in enumerate(runs) if any(event["e"] == "op" for event in run.ops)]
    for b in timed:
        floats = [a for a in timed if runs[a].artifact.precision == _FLOAT and _alike(runs[a], runs[b])]
        if runs[b].artifact.precision != _FLOAT and floats:
            a = max([index for index in floats if index < b] or floats[:1])
            found.append(_why(runs, a, b))
    return found


def _alike(a: Run, b: Run) -> bool:
    """Return whether two runs are of one known source and were made alike."""
    return a.artifact.source != "" and (a.artifact.source, a.device, a.runtime) == (
        b.artifact.source,
        b.device,
        b.runtime,
    )


def _why(runs: Sequence[Run], a: int, b: int) -> Why:
    told = explain(runs[a], runs[b])
    lines, left = table_of(told, most=MOST)
    first, *others = told.causes
    more = [f"and: {cause.line}{share_text(cause.share)}" for cause in others]
    return Why(
        a=a,
        b=b,
        line=clean(told.line),
        evidence=tuple(clean(text) for text in (*first.evidence, *more, *told.notes)),
        operators=tuple(tuple(clean(text) for text in line) for line in lines),
        left=left,
    )
