"""One side of a comparison: a run with all that is derived from it for explaining."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from edgekit.bench.explain.graph import COMPUTE, Graph
from edgekit.bench.explain.kernels import Cpu, cpu_of
from edgekit.bench.explain.measured import Op, cores_of, graph_of, ops_of, unavailable
from edgekit.bench.summarize import summarize

if TYPE_CHECKING:
    from edgekit.bench.run import Run
    from edgekit.bench.summary import Estimate

FLOAT, INT8, INT16, DYNAMIC = "float", "int8", "int16", "dynamic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A run and what is known of its operators.

    Attributes:
        run: the run.
        p50_ms: its median latency with its interval, or None when withheld.
        graph: its artifact's operators, or None when the run kept none.
        ops: the operators that ran; the file's own when none was measured.
        unavailable: why its operators have no times, or "".
        cpu: what the CPU has.
        cores: how often a working thread was seen on each CPU.
    """

    run: Run
    p50_ms: Estimate | None
    graph: Graph | None
    ops: tuple[Op, ...]
    unavailable: str
    cpu: Cpu
    cores: dict[int, int]

    @property
    def total_ns(self) -> float | None:
        """The sum of all operators' times, or None when they were not measured."""
        times = [op.ns for op in self.ops if op.ns is not None]
        return sum(times) if times else None

    @property
    def compute(self) -> tuple[Op, ...]:
        """The operators that multiply weights."""
        return tuple(op for op in self.ops if op.op in COMPUTE)

    @property
    def kind(self) -> str:
        """What it is, by its operators with weights: "int16", "int8", "dynamic" or "float"."""
        if any(op.precision == "int16" for op in self.compute):
            return INT16
        if any(op.is_int8 for op in self.compute) or self._stores_int8:
            return INT8
        return DYNAMIC if any(op.precision == "dynamic" for op in self.compute) else FLOAT

    @property
    def _stores_int8(self) -> bool:
        """Whether its file quantizes activations, whatever the runtime made of it."""
        nodes = self.graph.nodes if self.graph else ()
        return any(node.op == "quantize" for node in nodes) and any(node.op == "dequantize" for node in nodes)

    @property
    def canary_ns(self) -> float | None:
        """How long the fixed piece of work took, or None when it was not told."""
        told = [int(c["canary_ns"]) for c in self.run.conditions if c.get("canary_ns")]
        return median(told) if told else None


def side_of(run: Run) -> Side:
    """Return a run with all that explaining needs."""
    return Side(
        run=run,
        p50_ms=summarize(run).latency.p50_ms,
        graph=graph_of(run),
        ops=ops_of(run),
        unavailable=unavailable(run),
        cpu=cpu_of(run.facts),
        cores=cores_of(run),
    )
