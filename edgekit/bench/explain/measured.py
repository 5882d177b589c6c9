"""The operators that ran: what a run's profile tells, joined with the nodes of its artifact's file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.bench.explain.align import align
from edgekit.bench.explain.graph import Graph, Node
from edgekit.bench.explain.onnx_graph import OP
from edgekit.bench.explain.tflite_graph import op_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgekit.bench.run import Run

XNNPACK = "XNNPACK"
_XNNPACK_OPS = (
    ("Fully Connected", "dense"), ("Batch Matrix Multiply", "dense"), ("Deconvolution", "conv"),
    ("Convolution", "conv"), ("Convert", "convert"), ("Max Pooling", "pool"), ("Average Pooling", "pool"),
    ("Global Average Pooling", "mean"), ("Mean", "mean"), ("Sum", "mean"), ("Reduce", "mean"),
    ("Softmax", "softmax"), ("Static Reshape", "shape"), ("Copy", "shape"), ("Transpose", "shape"),
    ("Static Slice", "shape"), ("Slice", "shape"), ("Even Split", "shape"), ("Concatenate", "concat"),
    ("Constant Pad", "pad"), ("Resize", "resize"), ("Add", "binary"), ("Multiply", "binary"),
    ("Subtract", "binary"), ("Divide", "binary"), ("Maximum", "binary"), ("Minimum", "binary"),
    ("Squared Difference", "binary"), ("Binary", "binary"), ("PReLU", "binary"),
)  # fmt: skip
_PRECISIONS = {
    "QD8": "dynamic", "QC8": "int8", "QS8": "int8", "QC8W": "int8", "QU8": "uint8", "F16": "float16",
    "F32": "float32",
}  # fmt: skip
_ORT_TYPES = {"float": "float32", "float16": "float16", "int8": "int8", "uint8": "uint8"}
_MADE = re.compile(r"(_token_\d+|_nchwc|_kernel_time)+$")
_GOES = {
    ("dense", "conv"): 2.0, ("conv", "depthwise"): 2.0, ("convert", "quantize"): 3.0,
    ("convert", "dequantize"): 3.0, ("unary", "activation"): 2.0, ("unary", "binary"): 0.5,
    ("depthwise", "conv"): 0.5, ("mean", "pool"): 1.0, ("pool", "mean"): 1.0, ("dense", "dense"): 2.5,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operator that ran.

    Attributes:
        order: its place among those that ran.
        kind: the runtime's own word for it.
        op: ours, as `Node.op`; "layout" for what only turns tensors around.
        layer: the source's name for it as far as the file kept it, or "".
        where: "XNNPACK", "built-in", "delegate" or ONNX Runtime's provider; "" when nothing was measured.
        precision: "float32", "float16", "int8", "uint8", "int16", "dynamic" or "".
        ns: nanoseconds an invocation, or None when it was not measured.
        node: the file's node, or None for what the runtime put in.
    """

    order: int
    kind: str
    op: str
    layer: str
    where: str
    precision: str
    ns: float | None
    node: Node | None = None

    @property
    def is_float(self) -> bool:
        """Whether it computes in floating point."""
        return self.precision in {"float32", "float16"}

    @property
    def is_int8(self) -> bool:
        """Whether it computes in 8 bits."""
        return self.precision in {"int8", "uint8"}


def graph_of(run: Run) -> Graph | None:
    """Return the graph that a run kept, or None."""
    told = _one(run, "graph")
    return None if told is None else Graph.from_json({key: told[key] for key in ("format", "nodes")})


def unavailable(run: Run) -> str:
    """Return why a run has no times of operators, or ""."""
    told = _one(run, "profiler")
    if told is None:
        return "no profile was taken: bench it with --profile"
    return str(told.get("unavailable", ""))


def cores_of(run: Run) -> dict[int, int]:
    """Return how often a working thread was seen on each CPU during the profile."""
    told = _one(run, "cores") or {"cpus": {}}
    return {int(cpu): int(count) for cpu, count in told["cpus"].items() if str(cpu).isdigit()}


def ops_of(run: Run) -> tuple[Op, ...]:
    """Return the operators of a run in the order in which they ran; the file's when none was measured."""
    graph = graph_of(run) or Graph(format=run.artifact.format, nodes=())
    told = [event for event in run.ops if event["e"] == "op"]
    if not told:
        return tuple(_unmeasured(order, node) for order, node in enumerate(graph.nodes))
    if run.runtime.name == "litert":
        return _litert(told, graph)
    return tuple(_onnxruntime(order, event, graph) for order, event in enumerate(told))


def middle_mean(values: Sequence[int]) -> float:
    """Return the mean of the middle half: steady as a median, and finer than the profiler's clock."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    middle = ordered[cut : len(ordered) - cut]
    return sum(middle) / len(middle)


def _one(run: Run, kind: str) -> Mapping[str, Any] | None:
    return next((event for event in run.ops if event["e"] == kind), None)


def _unmeasured(order: int, node: Node) -> Op:
    return Op(
        order=order, kind=node.kind, op=node.op, layer=node.name, where="", precision=_of_node(node), ns=None,
        node=node,
    )  # fmt: skip


def _of_node(node: Node) -> str:
    """Return the precision in which a node computes, by its types."""
    types = {*node.in_types, *node.out_types} & {"float32", "float16", "int8", "uint8", "int16"}
    if node.weights is not None and node.weights.dtype == "int8" and "float32" in types and len(types) == 1:
        return "dynamic"
    for name in ("float32", "float16", "int16", "uint8", "int8"):
        if name in types:
            return name
    return ""


# --- LiteRT: XNNPACK's operators come without names, in the order of the nodes that they stand for ------
def _litert(told: Sequence[Mapping[str, Any]], graph: Graph) -> tuple[Op, ...]:
    outside = {event["index"] for event in told if event["where"] != XNNPACK}
    nodes = [node for node in graph.nodes if node.index not in outside]
    inside = [event for event in told if event["where"] == XNNPACK]
    pairs = align(len(inside), len(nodes), lambda i, j: _score(inside[i]["kind"], nodes[j]))
    found = {i: nodes[j] for i, j in pairs if i is not None and j is not None}
    by_index = {node.index: node for node in graph.nodes}
    ops, count = [], 0
    for order, event in enumerate(told):
        if event["where"] == XNNPACK:
            node, count = found.get(count), count + 1
        else:
            node = by_index.get(event["index"])
        ops.append(_litert_op(order, event, node))
    return tuple(ops)


def _litert_op(order: int, event: Mapping[str, Any], node: Node | None) -> Op:
    kind = str(event["kind"])
    op = _xnnpack_op(kind) if event["where"] == XNNPACK else op_of(kind)
    if node is not None:
        op = node.op
    elif op == "convert":
        op = "quantize"
    precision = _precision(kind) or ("" if node is None else _of_node(node))
    if node is not None and op in {"activation", "unary"} and kind.startswith("Invalid"):
        precision = "int8"  # XNNPACK's table look-up: what stood between DEQUANTIZE and QUANTIZE, in one
    return Op(
        order=order, kind=kind, op=op, layer="" if node is None else node.name, where=str(event["where"]),
        precision=precision, ns=middle_mean(event["ns"]), node=node,
    )  # fmt: skip


def _xnnpack_op(kind: str) -> str:
    if kind.startswith("Convolution") and "DWConv" in kind:
        return "depthwise"
    return next((op for begin, op in _XNNPACK_OPS if kind.startswith(begin)), "unary")


def _precision(kind: str) -> str:
    """Return the precision in XNNPACK's name of an operator: "Convolution (NHWC, QC8) IGEMM" -> "int8"."""
    words = re.findall(r"[A-Z0-9]+", kind.partition("(")[2].partition(")")[0])
    return next((name for word, name in _PRECISIONS.items() if word in words), "")


def _score(kind: str, node: Node) -> float:
    """Return how well an operator of XNNPACK's goes with a node; more where their precisions agree."""
    op = _xnnpack_op(kind)
    worth = _GOES.get((op, node.op), 3.0 if op == node.op else 0.0)
    if worth and _precision(kind) and _precision(kind) == _of_node(node):
        worth += 0.25
    return worth


# --- ONNX Runtime: names come from the file's nodes and tensors ------------------------------------------
def _onnxruntime(order: int, event: Mapping[str, Any], graph: Graph) -> Op:
    kind, given = str(event["kind"]), [str(name) for name in event.get("inputs", ())]
    op = OP.get(kind, "other")
    node = _named(graph, _MADE.sub("", str(event["name"])), op)
    if node is not None and op == "conv":
        op = node.op
    precision = _ORT_TYPES.get(given[0], "") if given else ""
    if kind.startswith(("DynamicQuantize", "ConvInteger", "MatMulInteger")):
        precision = "dynamic"
    return Op(
        order=order, kind=kind, op=op, layer="" if node is None else node.name, where=str(event["where"]),
        precision=precision, ns=middle_mean(event["ns"]), node=node,
    )  # fmt: skip


def _named(graph: Graph, name: str, op: str) -> Node | None:
    """Return the node that an executed one stands for: by its name, or upwards from the tensor it writes."""
    node = next((n for n in graph.nodes if n.name == name), None) or graph.producer(name)
    for _ in range(8):
        if node is None or _same(node.op, op):
            return node
        node = graph.producer(node.inputs[0]) if node.inputs else None
    return None


def _same(left: str, right: str) -> bool:
    return left == right or {left, right} == {"conv", "depthwise"}
