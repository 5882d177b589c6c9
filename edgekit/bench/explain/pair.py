"""Two sides, aligned: row by row what float took, what int8 took, and what was put in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.bench.explain.align import align
from edgekit.bench.explain.graph import BORDERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgekit.bench.explain.measured import Op
    from edgekit.bench.explain.side import Side

_AROUND = ("layout", "shape")
_NAME_WORTH = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One operator of both sides; None where a side has none."""

    a: Op | None
    b: Op | None

    @property
    def ratio(self) -> float | None:
        """B's time by A's, or None when one of them was not measured or is 0."""
        a, b = (op.ns if op else None for op in (self.a, self.b))
        return b / a if a and b is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Operators of an int8 network that ran in float, one after another.

    Attributes:
        float_ops: those that compute.
        borders: the quantize and dequantize operators around and between them.
        enclosed: whether int8 operators stand before and behind them.
    """

    float_ops: tuple[Op, ...]
    borders: tuple[Op, ...]
    enclosed: bool

    @property
    def ops(self) -> tuple[Op, ...]:
        """All of them."""
        return (*self.float_ops, *self.borders)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two sides of one source.

    Attributes:
        a: the one compared against; float, where one is.
        b: the other one.
        rows: their operators side by side.
    """

    a: Side
    b: Side
    rows: tuple[Row, ...]

    @property
    def ratio(self) -> float | None:
        """B's median latency by A's, or None when one was withheld."""
        a, b = self.a.p50_ms, self.b.p50_ms
        return b.value / a.value if a and b and a.value else None

    @property
    def outcome(self) -> str:
        """What the intervals of the medians say of B: "slower", "faster", "no difference" or "unknown"."""
        a, b = self.a.p50_ms, self.b.p50_ms
        if a is None or b is None:
            return "unknown"
        if b.low > a.high:
            return "slower"
        return "faster" if b.high < a.low else "no difference"

    def share(self, ops: Iterable[Op]) -> float | None:
        """Return which part of B's time these operators of B take, or None when it was not measured."""
        total = self.b.total_ns
        return sum(op.ns or 0.0 for op in ops) / total if total else None

    def float_regions(self) -> tuple[Region, ...]:
        """Return where B computes in float."""
        return _regions(self.b.ops)


def pair_of(a: Side, b: Side) -> Pair:
    """Align two sides' operators by the layers that they stand for, and by what they do."""
    pairs = align(len(a.ops), len(b.ops), lambda i, j: _worth(a.ops[i], b.ops[j]))
    rows = tuple(Row(a=None if i is None else a.ops[i], b=None if j is None else b.ops[j]) for i, j in pairs)
    return Pair(a=a, b=b, rows=rows)


def _worth(a: Op, b: Op) -> float:
    """Return how well two operators go together: the same layer, or at least the same kind."""
    same = a.op == b.op or {a.op, b.op} <= {"conv", "depthwise", "dense"}
    if not same:
        return 0.0
    return (1.0 if a.op == b.op else 0.5) + _NAME_WORTH * _likeness(a.layer, b.layer)


def _likeness(a: str, b: str) -> float:
    """Return which part of two layers' names is the same: fused ones are joined by semicolons."""
    if not a or not b:
        return 0.0
    if a == b:
        return 1.0
    left, right = ({part.rstrip("0123456789") for part in name.split(";")} for name in (a, b))
    return len(left & right) / len(left | right)


def _regions(ops: tuple[Op, ...]) -> tuple[Region, ...]:
    found, begin = [], 0
    for end in range(len(ops) + 1):
        if end < len(ops) and _belongs(ops[end]):
            continue
        part = ops[begin:end]
        computing = tuple(op for op in part if op.op not in (*BORDERS, *_AROUND))
        if computing:
            borders = tuple(op for op in part if op.op in BORDERS)
            found.append(Region(float_ops=computing, borders=borders, enclosed=begin > 0 and end < len(ops)))
        begin = end + 1
    return tuple(found)


def _belongs(op: Op) -> bool:
    return op.is_float or op.op in (*BORDERS, *_AROUND)
