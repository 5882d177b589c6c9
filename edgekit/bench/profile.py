"""The profile pass on the host: what a run keeps of it, and where its operators ran."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.bench.explain.graph import read_graph
from edgekit.bench.explain.measured import middle_mean
from edgekit.bench.summary import Doubt
from edgekit.errors import EdgeKitError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edgekit.bench.plan import Work
    from edgekit.bench.run import Run

    Event = Mapping[str, Any]

KEPT = ("nodes", "profiler", "cores", "op")
"""The events of the profile pass that a run keeps."""
FALLBACK_LIMIT = 0.10
"""Which part of the operators' time may run off the delegate. A softmax or reshape that a delegate leaves to
the runtime takes less; from a tenth on the run no longer measures what the delegate does."""

NO_KERNELS = ("w8a16", "dyn8")
"""Precisions for which XNNPACK has no kernels, or none of its depthwise convolution: counted in the zoo's
networks under LiteRT 2.3, 0 of 67 nodes of MobileNetV2 w8a16, and all but the depthwise ones of dyn8."""
_NOT_KEPT = ("pass", "t")
_PROVIDER, _DELEGATE = "CPUExecutionProvider", "XNNPACK"
_BUILTIN = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE",
    9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 22: "RESHAPE", 25: "SOFTMAX",
    34: "PAD", 39: "TRANSPOSE", 40: "MEAN", 49: "SPLIT", 67: "TRANSPOSE_CONV", 114: "QUANTIZE",
    117: "HARD_SWISH", 126: "BATCH_MATMUL",
}  # fmt: skip
"""Operators by their numbers in TensorFlow Lite's schema (schema.fbs, BuiltinOperator)."""
_COMPUTE = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """Where the operators of a run were executed.

    Attributes:
        asked: what should have run them: "XNNPACK", or ONNX Runtime's provider.
        counts: nodes by where they ran; "built-in" is the runtime's own, undelegated code.
        outside: the nodes that ran elsewhere than asked, by name.
        share: which part of the operators' time those took, or None when it was not measured.
        compute_outside: how many of them multiply weights.
    """

    asked: str
    counts: Mapping[str, int]
    outside: tuple[str, ...]
    share: float | None
    compute_outside: int

    @property
    def fell_back(self) -> bool:
        """Whether what was asked for did not happen, in whole or in a part that matters."""
        total = sum(self.counts.values())
        silent = total > 0 and self.counts.get(self.asked, 0) == 0
        return silent or self.compute_outside > 0 or (self.share or 0.0) > FALLBACK_LIMIT


def kept(events: Iterable[Event], work: Work) -> tuple[Event, ...]:
    """Return what a run keeps of its profile pass: what the device told, and the artifact's graph.

    Args:
        events: of all passes.
        work: the artifact that ran.
    """
    told = [
        {key: value for key, value in event.items() if key not in _NOT_KEPT}
        for event in events
        if event.get("pass") == "profile" and event["e"] in KEPT
    ]
    return (*told, *_graph(work)) if told else ()


def delegation_of(run: Run) -> Delegation | None:
    """Return where a run's operators were executed, or None when nothing tells.

    LiteRT's nodes are delegated when an executed delegate's partition holds them: those from which its
    outputs are made and that were not executed as themselves. ONNX Runtime names a provider with each in a
    profile; without one it tells the session's providers: where the CPU's is the only one, all nodes of the
    artifact are its own, and with others there is no count.
    """
    ops = [event for event in run.ops if event["e"] == "op"]
    if run.runtime.name == "onnxruntime":
        return _of_providers(ops) if ops else _of_session(run.placed)
    if run.runtime.name != "litert":
        return None
    nodes = next((event["nodes"] for event in run.ops if event["e"] == "nodes"), run.placed.get("nodes"))
    return _of_litert(nodes, ops) if nodes else _of_counts(run.placed.get("delegated"))


def delegation_text(run: Run) -> str:
    """Return where a run's operators were executed in words: "64 of 66 nodes on XNNPACK", or ""."""
    told = delegation_of(run)
    if told is None:
        return ""
    total = sum(told.counts.values())
    if not total:
        return f"all nodes on {told.asked}" if not told.outside else f"providers: {', '.join(told.outside)}"
    left = f", not {', '.join(told.outside[:4])}" if told.outside else ""
    more = ", ..." if len(told.outside) > 4 else ""  # noqa: PLR2004
    return f"{told.counts.get(told.asked, 0)} of {total} nodes on {told.asked}{left}{more}"


def fallback(run: Run) -> Iterator[Doubt]:
    """Yield the doubt that operators did not run where they should have.

    It makes a run invalid unless that was allowed, or is known of the precision and thus no surprise.
    """
    told = delegation_of(run)
    if told is None or not told.fell_back:
        return
    known = run.artifact.precision in NO_KERNELS and told.asked == _DELEGATE
    allowed = bool(run.plan.get("allow_fallback"))
    total, names = sum(told.counts.values()), ", ".join(told.outside[:4])
    yield Doubt(
        code="fallback",
        value=len(told.outside),
        limit=0,
        hint=f"{told.counts.get(told.asked, 0)} of {total} nodes ran on {told.asked}, not {names}:"
        + (
            f" it lacks kernels for {run.artifact.precision}, so take another recipe for speed."
            if known
            else " take another recipe or runtime, or allow it with --allow-fallback."
        ),
        verdict="suspect" if allowed or known else "invalid",
    )


def _graph(work: Work) -> tuple[Event, ...]:
    """Return the artifact's graph as an entry of its own; without it a run can still be explained in part."""
    try:
        return ({"e": "graph", **read_graph(work.path, work.ref.format).to_json()},)
    except (EdgeKitError, OSError) as error:
        return ({"e": "no-graph", "reason": str(error)},)


def _of_providers(ops: list[Event]) -> Delegation:
    outside = [op for op in ops if op["where"] != _PROVIDER]
    return _delegation(_PROVIDER, Counter(str(op["where"]) for op in ops), outside, ops, 0)


def _of_session(placed: Mapping[str, Any]) -> Delegation | None:
    """Return what a session's providers say: with one alone, every node of the artifact runs there."""
    providers: Sequence[str] | None = placed.get("providers")
    if not providers:
        return None
    strange = tuple(name for name in providers if name != _PROVIDER)
    nodes = 0 if strange else int(placed.get("artifact_nodes", 0))
    counts = {_PROVIDER: nodes} if nodes else {}
    return Delegation(
        asked=_PROVIDER, counts=counts, outside=strange, share=None, compute_outside=len(strange)
    )


def _of_counts(told: Event | None) -> Delegation | None:
    """Return what the native program counted: how many nodes the delegate took, and the kinds of the rest."""
    if told is None or not told["nodes"]:
        return None
    left = [_BUILTIN.get(code, f"operator {code}") for code in told["left"]]
    counts = Counter({_DELEGATE: int(told["taken"]), "built-in": int(told["nodes"]) - int(told["taken"])})
    compute = sum(kind in _COMPUTE for kind in left)
    return Delegation(
        asked=_DELEGATE, counts=dict(+counts), outside=tuple(left), share=None, compute_outside=compute
    )


def _of_litert(nodes: list[Event], ops: list[Event]) -> Delegation:
    own = [node for node in nodes if node["kind"] != "DELEGATE"]
    taken = delegated([node for node in nodes if node["kind"] == "DELEGATE"], own)
    left = [node for node in own if node["index"] not in taken]
    counts = Counter({_DELEGATE: len(taken), "built-in": len(left)})
    outside = [op for op in ops if op["where"] == "built-in"] or left
    return _delegation(_DELEGATE, +counts, outside, ops, sum(node["kind"] in _COMPUTE for node in left))


def delegated(delegates: Iterable[Event], own: Iterable[Event]) -> set[int]:
    """Return the numbers of the nodes that stand for what delegates compute: upwards from their outputs.

    Args:
        delegates: the nodes of delegates, as LiteRT lists them.
        own: the artifact's nodes.
    """
    writers = {tensor: node for node in own for tensor in node["outputs"]}
    found: set[int] = set()
    for delegate in delegates:
        edge, todo = set(delegate["inputs"]), list(delegate["outputs"])
        while todo:
            node = writers.get(todo.pop())
            if node is not None and node["index"] not in found:
                found.add(node["index"])
                todo.extend(tensor for tensor in node["inputs"] if tensor not in edge)
    return found


def _delegation(
    asked: str, counts: Mapping[str, int], outside: list[Event], ops: list[Event], compute: int
) -> Delegation:
    total = sum(middle_mean(op["ns"]) for op in ops)
    share = sum(middle_mean(op["ns"]) for op in outside if "ns" in op) / total if total else None
    names = tuple(str(op.get("name") or op["kind"]) for op in outside)
    return Delegation(asked=asked, counts=dict(counts), outside=names, share=share, compute_outside=compute)
