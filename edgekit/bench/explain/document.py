"""The JSON of `edgekit explain`: a contract, schema 1. Keys are named like the types' fields, with units."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgekit.units import ns_to_ms

if TYPE_CHECKING:
    from edgekit.bench.explain.explain import Explanation
    from edgekit.bench.explain.measured import Op
    from edgekit.bench.explain.pair import Row
    from edgekit.bench.explain.side import Side

EXPLAIN_SCHEMA = 1


def explain_json(told: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON's types; what was not measured is null."""
    return {
        "schema": EXPLAIN_SCHEMA,
        "line": told.line,
        "outcome": told.pair.outcome,
        "ratio": told.pair.ratio,
        "comparable": told.comparable,
        "swapped": told.swapped,
        "cause": _cause(told, 0),
        "more": [_cause(told, number) for number in range(1, len(told.causes))],
        "notes": list(told.notes),
        "a": _side(told.pair.a),
        "b": _side(told.pair.b),
        "operators": [_row(row) for row in told.pair.rows],
    }


def _cause(told: Explanation, number: int) -> dict[str, Any]:
    cause = told.causes[number]
    return {**asdict(cause), "evidence": list(cause.evidence)}


def _side(side: Side) -> dict[str, Any]:
    return {
        "run": side.run.id,
        "recipe": side.run.artifact.recipe,
        "sha256": side.run.artifact.sha256,
        "kind": side.kind,
        "device": side.run.device,
        "runtime": asdict(side.run.runtime),
        "p50_ms": None if side.p50_ms is None else asdict(side.p50_ms),
        "operators_ms": None if side.total_ns is None else ns_to_ms(side.total_ns),
        "unavailable": side.unavailable,
        "cpu": {**asdict(side.cpu), "names": list(side.cpu.names)},
        "cores": {str(cpu): count for cpu, count in side.cores.items()},
    }


def _row(row: Row) -> dict[str, Any]:
    return {"a": _op(row.a), "b": _op(row.b), "ratio": row.ratio}


def _op(op: Op | None) -> dict[str, Any] | None:
    if op is None:
        return None
    return {
        "order": op.order,
        "kind": op.kind,
        "op": op.op,
        "layer": op.layer,
        "where": op.where,
        "precision": op.precision,
        "ms": None if op.ns is None else ns_to_ms(op.ns),
    }
