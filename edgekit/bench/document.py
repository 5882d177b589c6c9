"""The JSON of `edgekit bench`: a contract. Keys are named like the types' fields, units stand in the names.

A percentile is {"value", "low", "high", "n", "n_eff"} or null when withheld; what was not measured is null,
and never NaN or infinite. A new key may come; a key's meaning changes only with the schema's number.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgekit.bench.profile import delegation_of
from edgekit.bench.summarize import summarize

if TYPE_CHECKING:
    from edgekit.bench.execute import BenchResult
    from edgekit.bench.run import Run
    from edgekit.bench.summary import Summary

BENCH_SCHEMA = 1


def bench_json(result: BenchResult) -> dict[str, Any]:
    """Return what a bench came to, as JSON's types."""
    return {
        "schema": BENCH_SCHEMA,
        "runs": [run_json(run, summarize(run)) for run in result.runs],
        "skipped": [asdict(skipped) for skipped in result.skipped],
        "failed": [asdict(failure) for failure in result.failed],
        "interrupted": result.interrupted,
    }


def run_json(run: Run, summary: Summary) -> dict[str, Any]:
    """Return one run with all that is derived from it, without its samples, as JSON's types."""
    document = {
        "id": run.id,
        "started_at": run.started_at,
        "device": run.device,
        "target": run.target,
        "artifact": asdict(run.artifact),
        "runtime": asdict(run.runtime),
        "plan": dict(run.plan),
        "ended": run.ended,
        "verdict": summary.verdict,
        "labels": list(summary.labels),
        "doubts": [asdict(doubt) for doubt in summary.doubts],
        "latency": asdict(summary.latency),
        "sustained": None if summary.curve is None else asdict(summary.curve),
        "memory": None if summary.memory is None else asdict(summary.memory),
        "power": dict(summary.power),
        "parity": None if run.parity is None else asdict(run.parity),
        "delegation": _delegation(run),
        "told": dict(run.told),
    }
    return _finite(document)  # type: ignore[no-any-return]


def _delegation(run: Run) -> dict[str, Any] | None:
    """Return where a run's operators were executed, or None where nothing tells."""
    told = delegation_of(run)
    if told is None:
        return None
    return {**asdict(told), "outside": list(told.outside), "fell_back": told.fell_back}


def _finite(value: Any) -> Any:
    """Return the value with every NaN and infinity as None: JSON has no word for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
