"""Doubts about a device's state: what was asked for did not last, or hides what should be seen. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.bench.checks_device import cpu_set
from edgekit.bench.summary import Doubt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgekit.bench.run import Run

CLOCK_LIMIT = 0.02
"""How far a fixed clock may be off: where it is measured, not told, it reads within 1 %."""


def state_lost(run: Run) -> Iterator[Doubt]:
    """The device gave its state back before the run was over, so that it ran in two of them."""
    told = [str(c["state_lost"]) for c in run.conditions if c.get("state_lost")]
    if told:
        hint = f"The device's state was given back in the middle ({told[-1]}): mend the link, run it again."
        yield Doubt(code="state-lost", value=len(told), limit=0, hint=hint, verdict="invalid")


def governed(run: Run) -> Iterator[Doubt]:
    """Another governor ruled the cores that were used than was asked for."""
    wanted = run.plan.get("governor")
    others = [c for c in _clusters(run) if wanted and c.get("governor", wanted) != wanted]
    if others:
        hint = f"The governor was {others[0]['governor']}, not {wanted}: find what else sets it there."
        yield Doubt(code="governor-moved", value=len(others), limit=0, hint=hint, verdict="invalid")


def fixed_clock(run: Run) -> Iterator[Doubt]:
    """The cores that were used ran at another clock than was asked for."""
    khz = float(run.plan.get("frequency_khz") or 0)
    off = [abs(c["cur_khz"] / khz - 1.0) for c in _clusters(run) if khz and c.get("cur_khz")]
    if off and max(off) > CLOCK_LIMIT:
        hint = f"The clock was not the {khz / 1000:g} MHz that were asked for: let it cool, or ask for less."
        yield Doubt(code="clock-moved", value=max(off), limit=CLOCK_LIMIT, hint=hint)


def _clusters(run: Run) -> Iterator[Mapping[str, Any]]:
    """Yield the groups of cores that the latency pass might run on, at each look while it was timed."""
    for condition in run.conditions:
        if condition.get("pass", "latency") == "latency" and condition.get("when") == "during":
            used = cpu_set(str(condition.get("cpus_allowed", "")))
            for cluster in condition.get("clusters", ()):
                mine = cpu_set(str(cluster.get("cpus", "")))
                if not used or not mine or used & mine:
                    yield cluster


def hidden_throttling(run: Run) -> Iterator[Doubt]:
    """Android's thermal status is overridden, so that the system neither throttles nor tells of heat."""
    told = sum(1 for c in run.conditions if c.get("thermal_override"))
    if told:
        hint = "The thermal status is overridden there: cmd thermalservice reset, then run it again."
        yield Doubt(code="thermal-override", value=told, limit=0, hint=hint)
