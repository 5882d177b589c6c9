"""Reading the operators of an .onnx: by the onnx package, without its weights' values.

QDQ graphs are read as they stand: a weight behind a DequantizeLinear is that node's weight, and the pairs
are nodes of their own. What the runtime makes of them shows in a profile alone.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from edgekit.bench.explain.graph import SIZES, Graph, Node, Weights
from edgekit.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
}  # fmt: skip
_OPS = {
    "conv": "Conv ConvTranspose QLinearConv ConvInteger FusedConv",
    "dense": "Gemm MatMul QLinearMatMul MatMulInteger QGemm DynamicQuantizeMatMul MatMulIntegerToFloat"
    " FusedMatMul",
    "pool": "AveragePool MaxPool QLinearAveragePool GlobalMaxPool",
    "mean": "GlobalAveragePool QLinearGlobalAveragePool ReduceMean ReduceSum ReduceMax ReduceMin",
    "binary": "Add Sub Mul Div Max Min Pow QLinearAdd QLinearMul PRelu",
    "unary": "Exp Log Sin Cos Sqrt Abs Neg Floor Ceil Round Erf",
    "activation": "Relu Clip Sigmoid Tanh HardSigmoid HardSwish Elu LeakyRelu Gelu QLinearSigmoid"
    " QLinearLeakyRelu Selu Softplus Mish QuickGelu",
    "softmax": "Softmax LogSoftmax QLinearSoftmax", "concat": "Concat QLinearConcat",
    "shape": "Reshape Flatten Squeeze Unsqueeze Slice Split Gather Expand Identity",
    "layout": "Transpose ReorderInput ReorderOutput", "pad": "Pad", "resize": "Resize Upsample",
    "quantize": "QuantizeLinear DynamicQuantizeLinear", "dequantize": "DequantizeLinear",
}  # fmt: skip
OP = {kind: op for op, kinds in _OPS.items() for kind in kinds.split()}
"""Our word for each of ONNX's and ONNX Runtime's own operators."""

_QLINEAR = ("QLinearConv", "QLinearMatMul", "QGemm")
_Q_WEIGHTS, _Q_ZERO = 3, 5


def read_onnx(path: Path) -> Graph:
    """Read the operators of an .onnx.

    Raises:
        UsageError: it can't be read as one.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError as error:
        raise MissingExtraError("onnx", "convert") from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError as error:
        raise UsageError(f"{path} can't be read as an .onnx ({error})", hint="convert it again") from error
    with contextlib.suppress(onnx.shape_inference.InferenceError):  # what has no shape then moves 0 bytes
        model = onnx.shape_inference.infer_shapes(model)
    return _Reader(model.graph).graph()


class _Reader:
    """A graph on its way from ONNX's form to ours."""

    def __init__(self, graph: Any) -> None:
        self._nodes = graph.node
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._producers = {name: node for node in graph.node for name in node.output}
        self._types: dict[str, tuple[str, tuple[int, ...]]] = {}
        for value in (*graph.input, *graph.output, *graph.value_info):
            kind = value.type.tensor_type
            shape = tuple(max(1, axis.dim_value) for axis in kind.shape.dim)
            self._types[value.name] = (_TYPES.get(kind.elem_type, "other"), shape)
        for name, tensor in self._constants.items():
            self._types[name] = (_TYPES.get(tensor.data_type, "other"), tuple(tensor.dims))

    def graph(self) -> Graph:
        """Return the operators that something reads at run time; those over constants alone are left out."""
        nodes = enumerate(node for node in self._nodes if node.op_type != "Constant")
        kept = [self._node(index, node) for index, node in nodes if not self._folds(node)]
        return Graph(format="onnx", nodes=tuple(kept))

    def _folds(self, node: Any) -> bool:
        return all(not name or self._is_constant(name) for name in node.input)

    def _is_constant(self, name: str) -> bool:
        if name in self._constants:
            return True
        producer = self._producers.get(name)
        return producer is not None and self._folds(producer)

    def _node(self, index: int, node: Any) -> Node:
        weights, shape = self._weights(node)
        moving = [name for name in node.input if name and not self._is_constant(name)]
        op, output = OP.get(node.op_type, "other"), node.output[0]
        made = self._types.get(output, ("", ()))[1]
        if op == "conv" and _group(node) > 1 and len(shape) > 1 and shape[1] == 1:
            op = "depthwise"
        return Node(
            index=index,
            kind=node.op_type,
            op=op,
            name=node.name or output,
            inputs=tuple(moving),
            outputs=tuple(node.output),
            in_types=tuple(self._types.get(name, ("", ()))[0] for name in moving),
            out_types=tuple(self._types.get(name, ("", ()))[0] for name in node.output),
            weights=weights,
            macs=_macs(op, made, shape),
            moved_bytes=sum(map(self._size, (*moving, *node.output))) + _weights_bytes(weights, shape),
        )

    def _size(self, name: str) -> int:
        dtype, shape = self._types.get(name, ("", ()))
        return math.prod(shape) * SIZES.get(dtype, 0)

    def _weights(self, node: Any) -> tuple[Weights | None, tuple[int, ...]]:
        """Return how a node's weights are stored, and their shape."""
        if OP.get(node.op_type) not in {"conv", "dense"}:
            return None, ()
        if node.op_type in _QLINEAR:
            name, scale, zero = node.input[_Q_WEIGHTS], node.input[_Q_WEIGHTS + 1], node.input[_Q_ZERO]
            return self._quantized(name, scale, zero)
        name = node.input[1]
        behind = self._producers.get(name)
        if behind is not None and behind.op_type == "DequantizeLinear" and self._is_constant(behind.input[0]):
            return self._quantized(*behind.input, *[""] * (3 - len(behind.input)))
        if not self._is_constant(name):
            return None, ()
        dtype, shape = self._types.get(name, ("", ()))
        return Weights(dtype=dtype), shape

    def _quantized(self, name: str, scale: str, zero: str) -> tuple[Weights, tuple[int, ...]]:
        dtype, shape = self._types.get(name, ("", ()))
        scales = math.prod(self._types.get(scale, ("", ()))[1])
        weights = Weights(dtype=dtype, per_channel=scales > 1, symmetric=not self._any(zero), quantized=True)
        return weights, shape

    def _any(self, name: str) -> bool:
        """Return whether a constant holds anything but 0."""
        import onnx

        tensor = self._constants.get(name)
        return tensor is not None and bool(onnx.numpy_helper.to_array(tensor).any())


def _group(node: Any) -> int:
    return next((int(a.i) for a in node.attribute if a.name == "group"), 1)


def _macs(op: str, made: tuple[int, ...], weights: tuple[int, ...]) -> int:
    """Return the multiplications: weights are (out, in, h, w), or (in, out) of a matrix."""
    if not weights or not made:
        return 0
    if op in {"conv", "depthwise"}:
        return math.prod(made) * math.prod(weights[1:])
    return math.prod(made) * math.prod(weights) // max(1, made[-1])


def _weights_bytes(weights: Weights | None, shape: tuple[int, ...]) -> int:
    return 0 if weights is None else math.prod(shape) * SIZES.get(weights.dtype, 0)
