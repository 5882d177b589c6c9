"""The operators of an explanation side by side, as text: what a terminal and a page show alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.units import ns_to_ms, number_text

if TYPE_CHECKING:
    from edgekit.bench.explain.explain import Explanation
    from edgekit.bench.explain.measured import Op
    from edgekit.bench.explain.pair import Row

HEADS = ("operator", "A", "ms", "B", "ms", "B/A", "B ran on")
NUMBERS = frozenset({"ms", "B/A"})
"""The heads whose columns hold numbers."""


def table_of(told: Explanation, *, most: int | None = None) -> tuple[list[tuple[str, ...]], int]:
    """Return a line of text for each operator, and how many quicker ones are left out.

    Args:
        told: what was found.
        most: how many to show at most, the slowest, in the network's order; None for all.
    """
    rows = list(told.pair.rows)
    if most is not None and len(rows) > most:
        slowest = sorted(rows, key=lambda row: -max(_ns(row.a), _ns(row.b)))[:most]
        rows = [row for row in rows if row in slowest]
    return [_line(row) for row in rows], len(told.pair.rows) - len(rows)


def share_text(share: float | None) -> str:
    """Return which part of B's time a cause concerns: " (31% of B's time)", or "" where nothing tells."""
    return "" if share is None else f" ({share:.0%} of B's time)"


def _line(row: Row) -> tuple[str, ...]:
    op = row.b or row.a
    name = "" if op is None else (op.layer.partition(";")[0] or op.kind)
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    where = row.b.where if row.b else "not there"
    return (name, _precision(row.a), _ms(row.a), _precision(row.b), _ms(row.b), ratio, where)


def _ns(op: Op | None) -> float:
    return (op.ns or 0.0) if op else 0.0


def _ms(op: Op | None) -> str:
    return "" if op is None or op.ns is None else number_text(ns_to_ms(op.ns))


def _precision(op: Op | None) -> str:
    if op is None:
        return "-"
    return op.op if op.op in {"quantize", "dequantize", "layout"} else op.precision
