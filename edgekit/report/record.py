"""What a run's record says beside its numbers: the conditions it ran under, and where it all came from."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from edgekit import units
from edgekit.bench.profile import delegation_text
from edgekit.report.cells import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edgekit.bench.run import Run

CONDITIONS = ("load", "clock", "governor", "hottest zone", "throttled", "free memory")
UNTOLD = "not told"
_ARROW = " → "
_WHEN = ("before", "during", "after")


def conditions_of(run: Run) -> tuple[str, ...]:
    """Return CONDITIONS of the latency pass as text, 'before → during → after' as far as the device told.

    During the loop the highest load and temperature, and the lowest clock, are taken.
    """
    told = [c for c in run.conditions if c.get("pass") != "memory"]
    return (
        _course(told, lambda c: c.get("load1"), units.number_text, max),
        _course(told, lambda c: _clusters(c, "cur_khz", max), units.khz_text, min),
        _words(told, _governors),
        _course(
            told, lambda c: max(c.get("temperatures", {}).values(), default=None), units.celsius_text, max
        ),
        _words(told, lambda c: (c["throttled"] or "no") if "throttled" in c else None),
        _course(told, lambda c: c.get("mem_available_bytes"), units.bytes_text, min),
    )


def provenance_of(run: Run) -> list[tuple[str, str]]:
    """Return where a run's numbers come from, as (name, text), in the order of reading."""
    artifact, plan = run.artifact, _flat(run.plan)
    size = f"{units.bytes_text(artifact.size_bytes)} ({artifact.size_bytes} bytes)"
    found = [
        ("run", run.id),
        ("started", f"{run.started_at}, ended: {run.ended}"),
        ("device", f"{run.device}, target {run.target or 'not recognized'}"),
        ("device's own facts", _flat(run.facts)),
        (
            "artifact",
            " ".join(part for part in (artifact.recipe, artifact.format, artifact.precision) if part),
        ),
        ("sha256", artifact.sha256),
        ("size", size),
        ("source", f"{artifact.source or 'not told'}, bundle {PurePath(artifact.bundle).name or 'none'}"),
        ("runtime", f"{run.runtime.name} {run.runtime.version}, threads honoured: {run.runtime.threads}"),
        ("delegation", delegation_text(run)),
        ("plan", plan),
        ("timed", f"{len(run.warmup_ns)} warm-up and {len(run.samples_ns)} timed invocations"),
        ("outputs", run.parity.tolerance if run.parity else "not checked"),
        ("power", _flat(run.power)),
        ("versions", _flat(run.versions)),
    ]
    return [(name, clean(text) or UNTOLD) for name, text in found]


def period_of(runs: Iterable[Run]) -> str:
    """Return when runs were started: 'from 2026-03-02 10:00 to 2026-03-02 10:11 UTC'."""
    times = sorted(clean(run.started_at)[:16].replace("T", " ") for run in runs)
    return f"{times[0]} UTC" if times[0] == times[-1] else f"{times[0]} to {times[-1]} UTC"


def _course(
    told: list[Mapping[str, Any]],
    read: Callable[[Mapping[str, Any]], float | None],
    text: Callable[[float], str],
    extreme: Callable[[list[float]], float],
) -> str:
    parts = {}
    for when in _WHEN:
        values = [value for c in told if c.get("when") == when and (value := read(c)) is not None]
        if values:
            parts[when] = clean(text(extreme(values)))
    if len(parts) < len(_WHEN):
        return ", ".join(f"{when} {part}" for when, part in parts.items()) or UNTOLD
    return f"{parts['before']} throughout" if len(set(parts.values())) == 1 else _ARROW.join(parts.values())


def _words(told: list[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], str | None]) -> str:
    """Return the words that a condition had, in order, each change once."""
    words = [clean(word) for c in told if (word := read(c)) is not None]
    return (
        _ARROW.join(word for place, word in enumerate(words) if place == 0 or word != words[place - 1])
        or UNTOLD
    )


def _clusters(condition: Mapping[str, Any], key: str, pick: Callable[[list[float]], float]) -> float | None:
    values = [float(c[key]) for c in condition.get("clusters", ()) if c.get(key)]
    return pick(values) if values else None


def _governors(condition: Mapping[str, Any]) -> str | None:
    names = sorted({str(c["governor"]) for c in condition.get("clusters", ()) if c.get("governor")})
    return ", ".join(names) or None


def _flat(table: Mapping[str, Any]) -> str:
    parts = []
    for key in sorted(table):
        value = table[key]
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
        parts.append(f"{key}: {text}")
    return "; ".join(parts)
