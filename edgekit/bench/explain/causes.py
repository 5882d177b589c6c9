"""Why int8 is not faster: causes that the operators and their files show.

What is there decides whether a cause holds: which operators ran in float, how weights are stored, what the
CPU has. Times only say how much of the run it concerns, and so which cause is told first.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from edgekit.bench.explain.conditions import Cause
from edgekit.bench.explain.graph import BORDERS, COMPUTE
from edgekit.bench.explain.kernels import (
    ASYMMETRIC_WHY,
    LEAST_MACS_PER_BYTE,
    PER_TENSOR_WHY,
    SIGNED_WHY,
    X86,
    has_int8_kernel,
)
from edgekit.bench.explain.side import DYNAMIC, FLOAT
from edgekit.units import ns_to_ms, number_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edgekit.bench.explain.measured import Op
    from edgekit.bench.explain.pair import Pair, Region

LEAST_SHARE = 0.05
"""Which part of int8's time a cause has to concern: mending less is not seen beside the noise of two runs."""
MEMORY_SHARE = 0.5
"""Which part of float's time has to wait for memory: if less does, what computes decides."""
OVERHEAD_SHARE = 0.5
"""Which part of int8's median has to lie outside its operators."""
SLOWER_RATIO = 1.1
"""From which ratio on an operator counts as slower: operators of some microseconds repeat within a tenth."""
_SHOWN = 4
_HINT_UNFUSED = (
    "quantize inputs, weights and outputs of these operators, each output by a QuantizeLinear of its own that"
    " alone reads it, and convert again"
)
_HINT_SIGNED = "bench it on ARM, where these are fused, or make it with uint8 activations for x86 (onnx-w8u8)"


def causes_of(pair: Pair) -> tuple[Cause, ...]:
    """Return all that keeps B from being faster, what concerns most of its time first.

    What is wrong with the artifact or with how it was run comes before what no artifact can change (the
    CPU, memory), whatever their shares.
    """
    mendable = sorted((cause for check in MENDABLE for cause in check(pair)), key=lambda c: -(c.share or 0.0))
    kept = [cause for cause in mendable if cause.share is None or cause.share >= LEAST_SHARE]
    return (*kept, *(cause for check in GIVEN for cause in check(pair)))


# --- what another artifact, or another way to run it, would mend -----------------------------------------
def _not_int8(pair: Pair) -> Iterator[Cause]:
    if pair.b.kind == FLOAT and pair.b.compute:
        count = len(pair.b.compute)
        evidence = f"all {count} operators with weights compute in {pair.b.compute[0].precision or 'float'}"
        hint = "convert it again with an int8 recipe, and look at its precision"
        yield Cause(code="not-int8", line="the second artifact is not int8", evidence=(evidence,), hint=hint,
                    share=1.0)  # fmt: skip


def _dynamic(pair: Pair) -> Iterator[Cause]:
    if pair.b.kind == DYNAMIC:
        extra = [op for op in pair.b.ops if op.op == "quantize" and op.precision == "dynamic"]
        ran = [op for op in pair.b.compute if op.precision == "dynamic"]
        evidence = (
            f"{len(ran)} operators have int8 weights and float activations",
            f"{len(extra)} operators find and apply ranges anew in every invocation{_time(extra)}",
        )
        line = "only the weights are int8; activations are quantized anew in every invocation"
        hint = "calibrate it: an int8 recipe with --calibrate"
        yield Cause(code="dynamic-range", line=line, evidence=evidence, hint=hint, share=pair.share(extra))


def _float_islands(pair: Pair) -> Iterator[Cause]:
    """Tell the float islands of an int8 network: operators without an int8 kernel, and pairs left unfused."""
    if pair.b.kind in (FLOAT, DYNAMIC):
        return
    lacking: list[Region] = []
    unfused: list[Region] = []
    for region in pair.float_regions():
        if pair.b.total_ns is None and not region.enclosed:
            continue
        (lacking if _lacks(pair, region) else unfused).append(region)
    if lacking:
        yield _no_kernel(pair, lacking)
    if unfused:
        yield _unfused(pair, unfused)


def _no_kernel(pair: Pair, regions: Sequence[Region]) -> Cause:
    kinds = Counter(kind for region in regions for kind in _lacks(pair, region))
    ops = [op for region in regions for op in region.ops]
    runtime = pair.b.run.runtime
    names = ", ".join(kinds)
    evidence = (
        f"{names} ran in float: {runtime.name} {runtime.version} has no int8 kernel for it",
        _borders(regions),
        *_slowest(op for region in regions for op in region.float_ops),
    )
    return Cause(
        code="no-int8-kernel",
        line=f"no int8 kernel for {names}, which ran in float between quantize/dequantize operators",
        evidence=tuple(filter(None, evidence)),
        hint=f"replace {names} in the source by an operator that has one (ReLU, for activations), or keep"
        " that part of the network in float",
        share=pair.share(ops),
    )


def _unfused(pair: Pair, regions: Sequence[Region]) -> Cause:
    every = [op for region in regions for op in region.float_ops]
    floats = [op for op in every if op.op in COMPUTE] or every
    kinds = Counter(op.node.kind if op.node else op.kind for op in floats)
    names = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    why = Counter(reason for op in floats if (reason := _why_unfused(pair, op)))
    evidence = (
        f"in float though int8 kernels are there: {names}",
        *(f"{reason} ({count} of them)" for reason, count in why.most_common(2)),
        _borders(regions),
        *_slowest(floats),
    )
    return Cause(
        code="unfused-qdq",
        line=f"quantize/dequantize pairs were not fused: {names} ran in float between them",
        evidence=tuple(filter(None, evidence)),
        hint=_HINT_SIGNED if SIGNED_WHY in why else _HINT_UNFUSED,
        share=pair.share([op for region in regions for op in region.ops]),
    )


def _asymmetric(pair: Pair) -> Iterator[Cause]:
    if pair.b.run.runtime.name != "onnxruntime":
        return
    slow = [
        op for op in pair.b.compute
        if op.is_int8 and op.node and op.node.weights and op.node.weights.quantized
        and not (op.node.weights.dtype == "int8" and op.node.weights.symmetric)
    ]  # fmt: skip
    if slow:
        types = "/".join(sorted({op.node.weights.dtype for op in slow if op.node and op.node.weights}))
        yield Cause(
            code="asymmetric-weights",
            line=f"the weights are asymmetric ({types}, zero point not 0) and miss the quick int8 kernels",
            evidence=(f"{len(slow)} of {len(pair.b.compute)} operators with weights", ASYMMETRIC_WHY,
                      *_rows(pair, slow)),
            hint="quantize weights symmetrically to int8 (zero point 0), per channel",
            share=pair.share(slow),
        )  # fmt: skip


def _per_tensor(pair: Pair) -> Iterator[Cause]:
    if pair.b.run.runtime.name != "litert":
        return
    slow = [op for op in pair.b.compute if op.precision == "uint8"]
    if slow:
        yield Cause(
            code="per-tensor-weights",
            line="the weights are uint8 per tensor, and the quick kernels want int8 per channel",
            evidence=(f"{len(slow)} of {len(pair.b.compute)} operators with weights", PER_TENSOR_WHY,
                      *_rows(pair, slow)),
            hint="convert again with an int8 recipe: signed weights, one scale a channel",
            share=pair.share(slow),
        )  # fmt: skip


def _not_delegated(pair: Pair) -> Iterator[Cause]:
    outside = [op for op in pair.b.compute if op.where == "built-in" and not op.is_float]
    if outside and pair.b.run.runtime.name == "litert":
        yield Cause(
            code="not-delegated",
            line=f"XNNPACK did not take the {pair.b.kind} operators; LiteRT's own, slower kernels ran them",
            evidence=(
                f"{len(outside)} of {len(pair.b.compute)} operators with weights",
                *_rows(pair, outside),
            ),
            hint="calibrate it to int8 (tflite-int8), which XNNPACK takes, or bring a newer LiteRT along",
            share=pair.share(outside),
        )


# --- what no artifact can change --------------------------------------------------------------------------
def _memory_bound(pair: Pair) -> Iterator[Cause]:
    waiting = [op for op in pair.a.ops if _intensity(op) < LEAST_MACS_PER_BYTE]
    if pair.a.total_ns is None or pair.b.kind == FLOAT:
        return
    share = sum(op.ns or 0.0 for op in waiting) / pair.a.total_ns
    if share > MEMORY_SHARE:
        counts = Counter(op.op for op in waiting)
        ops = [row.b for row in pair.rows if row.a in waiting and row.b is not None]
        yield Cause(
            code="memory-bound",
            line="the network moves memory more than it multiplies, and int8 speeds up multiplying alone",
            evidence=(
                f"{share:.0%} of float's time: fewer than {LEAST_MACS_PER_BYTE:g} multiplications a byte",
                ", ".join(f"{count} {op}" for op, count in counts.most_common(3)),
                *_lost(pair),
                *_rows(pair, ops),
            ),
            hint="fuse or drop elementwise and depthwise operators, or take a network with fewer of them",
            share=pair.share(ops),
        )


def _no_dot_product(pair: Pair) -> Iterator[Cause]:
    ran = [op for op in pair.b.compute if op.is_int8]
    if pair.b.cpu.int8_dot is False and ran:
        yield Cause(
            code="no-dot-product",
            line="the CPU has no int8 dot product, so int8 multiplies hardly faster than float",
            evidence=(str(pair.b.cpu), f"{len(ran)} operators with weights ran in int8", *_rows(pair, ran)),
            hint="keep int8 for its size, or run on cores with dot product (Cortex-A55, A75 and later)",
            share=pair.share(ran),
        )


def _overhead(pair: Pair) -> Iterator[Cause]:
    total, p50 = pair.b.total_ns, pair.b.p50_ms
    if total is None or p50 is None or not p50.value:
        return
    outside = 1.0 - ns_to_ms(total) / p50.value
    if outside > OVERHEAD_SHARE:
        yield Cause(
            code="overhead",
            line="most of the time is spent outside the operators, where int8 changes nothing",
            evidence=(f"operators {_ms(total)} ms of {number_text(p50.value)} ms",),
            hint="the network is too small for int8 to matter: invoke it in batches, or with one thread",
            share=outside,
        )


MENDABLE: tuple[Callable[[Pair], Iterator[Cause]], ...] = (
    _not_int8, _dynamic, _float_islands, _asymmetric, _per_tensor, _not_delegated,
)  # fmt: skip
GIVEN: tuple[Callable[[Pair], Iterator[Cause]], ...] = (_overhead, _memory_bound, _no_dot_product)


# --- the evidence -----------------------------------------------------------------------------------------
def _lacks(pair: Pair, region: Region) -> list[str]:
    """Return the kinds in a region that the runtime has no int8 kernel for, in the file's words."""
    runtime = pair.b.run.runtime.name
    kinds = [op.node.kind for op in region.float_ops if op.node]
    if len(kinds) < len(region.float_ops):  # some were made of a node by the runtime: HardSwish is two
        kinds += _behind(pair, region) or [op.kind for op in region.float_ops if not op.node]
    return [kind for kind in dict.fromkeys(kinds) if not has_int8_kernel(runtime, kind)]


def _behind(pair: Pair, region: Region) -> list[str]:
    """Return the kinds of the file's nodes that read what a region's dequantize operators write."""
    written = [name for op in region.borders if op.op == "dequantize" and op.node for name in op.node.outputs]
    graph = pair.b.graph
    readers = [node for name in written for node in (graph.consumers(name) if graph else ())]
    return [node.kind for node in readers if node.op not in BORDERS]


def _why_unfused(pair: Pair, op: Op) -> str:
    """Return what is missing around an operator that could run in int8."""
    node, graph = op.node, pair.b.graph
    if node is None or graph is None:
        return ""
    if node.op in COMPUTE and node.weights is not None and not node.weights.quantized:
        return "its weights are not quantized"
    above = [graph.producer(name) for name in node.inputs]
    if not all(one is not None and one.op == "dequantize" for one in above):
        return "an input comes from no DequantizeLinear"
    readers = [one for name in node.outputs for one in graph.consumers(name)]
    if not readers or any(one.op != "quantize" for one in readers):
        return "its output goes to no QuantizeLinear at once"
    types = {kind for one in (*readers, *filter(None, above)) for kind in (*one.in_types, *one.out_types)}
    machine = str(pair.b.run.facts.get("machine", ""))
    if "int8" in types and machine in X86 and pair.b.run.runtime.name == "onnxruntime":
        return SIGNED_WHY
    return "its pattern of types is none that the runtime fuses"


def _intensity(op: Op) -> float:
    """Return multiplications a byte moved; what has no weights has none."""
    if op.node is None or not op.node.moved_bytes:
        return LEAST_MACS_PER_BYTE if op.op in COMPUTE else 0.0
    return op.node.macs / op.node.moved_bytes


def _borders(regions: Iterable[Region]) -> str:
    borders = [op for region in regions for op in region.borders]
    return f"{len(borders)} quantize/dequantize operators around them{_time(borders)}" if borders else ""


def _time(ops: Sequence[Op]) -> str:
    measured = [op.ns for op in ops if op.ns is not None]
    return f", {_ms(sum(measured))} ms" if measured else ""


def _slowest(ops: Iterable[Op]) -> tuple[str, ...]:
    measured = sorted((op for op in ops if op.ns is not None), key=lambda op: -(op.ns or 0.0))[:_SHOWN]
    shown = [f"{op.layer or op.kind} {_ms(op.ns or 0.0)} ms" for op in measured]
    return (", ".join(shown),) if shown else ()


def _rows(pair: Pair, ops: Sequence[Op]) -> tuple[str, ...]:
    """Return the slowest of these operators of B beside what they took in A."""
    rows = [row for row in pair.rows if row.b in ops and row.a and row.b and row.b.ns is not None]
    rows = sorted((row for row in rows if row.a and row.a.ns is not None), key=lambda row: -_ns(row.b))
    shown = [f"{_name(row.b)} {_ms(_ns(row.a))} to {_ms(_ns(row.b))} ms" for row in rows[:_SHOWN]]
    return (", ".join(shown),) if shown else ()


def _lost(pair: Pair) -> tuple[str, ...]:
    """Return which int8 operators took longer than their float twins: their kernels are the slower ones."""
    slower = [
        row for row in pair.rows
        if row.b and row.b.is_int8 and row.a and row.ratio is not None and row.ratio > SLOWER_RATIO
    ]  # fmt: skip
    counts = Counter(row.b.op for row in slower if row.b)
    more = sum(_ns(row.b) - _ns(row.a) for row in slower)
    kinds = ", ".join(f"{count} {op}" for op, count in counts.most_common(3))
    return (f"slower in int8 than in float: {kinds}, together {_ms(more)} ms more",) if slower else ()


def _ns(op: Op | None) -> float:
    return (op.ns or 0.0) if op else 0.0


def _name(op: Op | None) -> str:
    return "" if op is None else (op.layer.partition(";")[0] or op.kind)


def _ms(ns: float) -> str:
    return number_text(ns_to_ms(ns))
