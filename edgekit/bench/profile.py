"""The profile pass on the host: what a run keeps of it, and where its operators ran."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.bench.explain.graph import COMPUTE, read_graph
from edgekit.bench.explain.measured import graph_of, middle_mean
from edgekit.bench.summary import Doubt
from edgekit.errors import EdgeKitError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edgekit.bench.plan import Work
    from edgekit.bench.run import Run

    Event = Mapping[str, Any]

KEPT = ("nodes", "profiler", "cores", "op")
"""The events of the profile pass that a run keeps."""
FALLBACK_LIMIT = 0.10
"""Which part of the operators' time may run off the delegate. A softmax or reshape that a delegate leaves to
the runtime takes less; from a tenth on the run no longer measures what the delegate does."""

_NOT_KEPT = ("pass", "t")
_PROVIDER = "CPUExecutionProvider"


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
    """Return where a run's operators were executed, or None when no profile tells.

    LiteRT's nodes are delegated when an executed delegate's partition holds them: those from which its
    outputs are made and that were not executed as themselves. ONNX Runtime names a provider with each.
    """
    ops = [event for event in run.ops if event["e"] == "op"]
    if run.runtime.name == "onnxruntime" and ops:
        return _of_providers(ops)
    nodes: list[Event] = next((event["nodes"] for event in run.ops if event["e"] == "nodes"), [])
    return _of_litert(run, nodes, ops) if run.runtime.name == "litert" and nodes else None


def fallback(run: Run) -> Iterator[Doubt]:
    """Yield the doubt that operators did not run where they should have; invalid unless that was allowed."""
    told = delegation_of(run)
    if told is None or not told.fell_back:
        return
    allowed = bool(run.plan.get("allow_fallback"))
    total, names = sum(told.counts.values()), ", ".join(told.outside[:4])
    yield Doubt(
        code="fallback",
        value=len(told.outside),
        limit=0,
        hint=f"{told.counts.get(told.asked, 0)} of {total} nodes ran on {told.asked}, not {names}:"
        " take another recipe or runtime, or allow it with --allow-fallback.",
        verdict="suspect" if allowed else "invalid",
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


def _of_litert(run: Run, nodes: list[Event], ops: list[Event]) -> Delegation:
    own = [node for node in nodes if node["kind"] != "DELEGATE"]
    taken = delegated([node for node in nodes if node["kind"] == "DELEGATE"], own)
    left = [node for node in own if node["index"] not in taken]
    graph = graph_of(run)
    compute = {node.index for node in graph.nodes if node.op in COMPUTE} if graph else set()
    counts = Counter({"XNNPACK": len(taken), "built-in": len(left)})
    outside = [op for op in ops if op["where"] == "built-in"] or left
    return _delegation("XNNPACK", +counts, outside, ops, sum(node["index"] in compute for node in left))


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
