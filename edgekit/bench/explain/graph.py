"""What an artifact's file says of its operators: types, weights, quantization. Static; nothing is run.

A graph is read on the host when a run is profiled and kept in the run, so that a run can be explained when
its artifact is gone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from edgekit.artifact import checked
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INT8 = ("int8", "uint8")
COMPUTE = ("conv", "depthwise", "dense")
"""Operators that multiply weights: what int8 is made for."""
BORDERS = ("quantize", "dequantize")

SIZES = {"float32": 4, "float16": 2, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "bool": 1}
"""Bytes of an element by type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How an operator's weights are stored.

    Attributes:
        dtype: of the elements.
        per_channel: whether each output channel has a scale of its own.
        symmetric: whether all zero points are 0 (128 of uint8 is not 0).
        quantized: whether they have a scale at all.
    """

    dtype: str
    per_channel: bool = False
    symmetric: bool = True
    quantized: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator of a file.

    Attributes:
        index: its place in the file.
        kind: the format's own word for it: "CONV_2D", "QLinearConv".
        op: ours: "conv", "depthwise", "dense", "pool", "mean", "binary", "unary", "activation", "softmax",
            "shape", "concat", "pad", "resize", "quantize", "dequantize" or "other".
        name: its own name, or that of its first output.
        inputs: names of the tensors that it reads; constants are left out.
        outputs: names of the tensors that it writes.
        in_types: of `inputs`.
        out_types: of `outputs`.
        weights: how its weights are stored, or None.
        macs: multiplications, 0 where it has none.
        moved_bytes: of all inputs, outputs and weights; 0 when a shape is not known.
    """

    index: int
    kind: str
    op: str
    name: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    in_types: tuple[str, ...] = ()
    out_types: tuple[str, ...] = ()
    weights: Weights | None = None
    macs: int = 0
    moved_bytes: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `asdict` wrote.

        Raises:
            UsageError: a key is unknown or missing.
        """
        values = checked(cls, data, "node")
        for key in ("inputs", "outputs", "in_types", "out_types"):
            values[key] = tuple(values.get(key, ()))
        if values.get("weights") is not None:
            values["weights"] = Weights(**checked(Weights, values["weights"], "weights"))
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """An artifact's operators in the order in which they run."""

    format: str
    nodes: tuple[Node, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the graph as JSON's types; what is empty is left out."""
        return {"format": self.format, "nodes": [_lean(asdict(node)) for node in self.nodes]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            UsageError: a key is unknown or missing.
        """
        return cls(format=str(data["format"]), nodes=tuple(Node.from_json(node) for node in data["nodes"]))

    def producer(self, tensor: str) -> Node | None:
        """Return the node that writes a tensor, or None for an input."""
        return next((node for node in self.nodes if tensor in node.outputs), None)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """Return the nodes that read a tensor."""
        return tuple(node for node in self.nodes if tensor in node.inputs)


def read_graph(path: Path, format_: str) -> Graph:
    """Read an artifact's graph.

    Args:
        path: of the artifact's file.
        format_: "tflite" or "onnx".

    Raises:
        UsageError: the format has no operators that could be read, or the file can't be read.
        MissingExtraError: onnx is not installed.
    """
    if format_ == "tflite":
        from edgekit.bench.explain.tflite_graph import read_tflite

        return read_tflite(path)
    if format_ == "onnx":
        from edgekit.bench.explain.onnx_graph import read_onnx

        return read_onnx(path)
    raise UsageError(f"the operators of {format_} can't be read", hint="explain tflite or onnx artifacts")


def _lean(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key == "index" or value not in ((), None, 0)}
