"""Reading the operators of a .tflite: as much of its flatbuffer as that takes, and no library.

The layout is that of LiteRT's schema (tflite/schema/schema.fbs): a table's field N stands at the offset that
its vtable says, 0 where it is left out.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.bench.explain.graph import SIZES, Graph, Node, Weights
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

_WORDS = (
    "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE "
    "EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D "
    "LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 "
    "RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM "
    "CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND "
    "SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE "
    "BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM "
    "CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE "
    "SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW "
    "ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK "
    "REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR "
    "LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS "
    "WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE "
    "NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM "
    "BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG "
    "REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL "
    "CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL "
    "BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU"
)
_KINDS = _WORDS.split()
_TYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8",
    17: "int4",
}  # fmt: skip
_OPS = {
    "conv": "CONV_2D TRANSPOSE_CONV CONV_3D", "depthwise": "DEPTHWISE_CONV_2D",
    "dense": "FULLY_CONNECTED BATCH_MATMUL", "pool": "AVERAGE_POOL_2D MAX_POOL_2D L2_POOL_2D",
    "mean": "MEAN SUM REDUCE_MAX REDUCE_MIN REDUCE_PROD",
    "binary": "ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE POW PRELU",
    "unary": "EXP LOG SIN COS SQRT RSQRT ABS NEG FLOOR CEIL ROUND SQUARE SIGN",
    "activation": "RELU RELU6 RELU_N1_TO_1 LOGISTIC TANH HARD_SWISH ELU LEAKY_RELU GELU",
    "softmax": "SOFTMAX LOG_SOFTMAX", "concat": "CONCATENATION PACK",
    "shape": "RESHAPE SQUEEZE EXPAND_DIMS TRANSPOSE SLICE STRIDED_SLICE SPLIT SPLIT_V UNPACK GATHER",
    "pad": "PAD PADV2 MIRROR_PAD", "resize": "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR",
    "quantize": "QUANTIZE", "dequantize": "DEQUANTIZE",
}  # fmt: skip
_OP = {kind: op for op, kinds in _OPS.items() for kind in kinds.split()}
_CONV_WEIGHTS, _DENSE_RANK = 1, 2


class _Table:
    """A table of a flatbuffer."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at
        self.vtable = at - struct.unpack_from("<i", data, at)[0]
        self.size = struct.unpack_from("<H", data, self.vtable)[0]

    def place(self, field: int) -> int:
        """Return where a field stands, 0 when it is left out."""
        slot = 4 + 2 * field
        offset = struct.unpack_from("<H", self.data, self.vtable + slot)[0] if slot < self.size else 0
        return self.at + offset if offset else 0

    def number(self, field: int, form: str = "i", default: int = 0) -> int:
        """Return a number; `form` is struct's letter for it."""
        place = self.place(field)
        return int(struct.unpack_from(f"<{form}", self.data, place)[0]) if place else default

    def numbers(self, field: int, form: str = "i") -> tuple[float, ...]:
        """Return a vector of numbers."""
        place, count = self._vector(field)
        return struct.unpack_from(f"<{count}{form}", self.data, place) if count else ()

    def text(self, field: int) -> str:
        """Return a text."""
        place, count = self._vector(field)
        return self.data[place : place + count].decode("utf-8", "replace")

    def table(self, field: int) -> _Table | None:
        """Return a table, or None."""
        place = self.place(field)
        return _Table(self.data, self._target(place)) if place else None

    def tables(self, field: int) -> list[_Table]:
        """Return a vector of tables."""
        place, count = self._vector(field)
        return [_Table(self.data, self._target(place + 4 * i)) for i in range(count)]

    def length(self, field: int) -> int:
        """Return how long a vector is."""
        return self._vector(field)[1]

    def _target(self, place: int) -> int:
        return place + int(struct.unpack_from("<I", self.data, place)[0])

    def _vector(self, field: int) -> tuple[int, int]:
        place = self.place(field)
        if not place:
            return 0, 0
        begin = self._target(place)
        return begin + 4, int(struct.unpack_from("<I", self.data, begin)[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: bool
    scales: int
    symmetric: bool

    @property
    def count(self) -> int:
        return math.prod(max(1, size) for size in self.shape)

    @property
    def size_bytes(self) -> int:
        return self.count * SIZES.get(self.dtype, 0)


def read_tflite(path: Path) -> Graph:
    """Read the operators of a .tflite's first subgraph.

    Raises:
        UsageError: it can't be read as one.
    """
    data = path.read_bytes()
    try:
        return _graph(_root(data))
    except (struct.error, ValueError, IndexError) as error:
        raise UsageError(f"{path} can't be read as a .tflite ({error})", hint="convert it again") from error


def _root(data: bytes) -> _Table:
    if data[4:8] != b"TFL3":
        raise ValueError("it does not say that it is one")
    return _Table(data, struct.unpack_from("<I", data, 0)[0])


def _graph(model: _Table) -> Graph:
    codes = [max(code.number(0, "b"), code.number(3)) for code in model.tables(1)]
    kept = [bool(buffer.length(0)) or buffer.number(1, "Q") > 1 for buffer in model.tables(4)]
    part = model.tables(2)[0]
    tensors = [_tensor(tensor, kept) for tensor in part.tables(0)]
    nodes = []
    for index, operator in enumerate(part.tables(3)):
        code = codes[operator.number(0, "I")]
        kind = _KINDS[code] if code < len(_KINDS) else f"OPERATOR_{code}"
        given = [tensors[int(i)] for i in operator.numbers(1) if i >= 0]
        made = [tensors[int(i)] for i in operator.numbers(2) if i >= 0]
        nodes.append(_node(index, kind, given, made))
    return Graph(format="tflite", nodes=tuple(nodes))


def _tensor(tensor: _Table, kept: list[bool]) -> _Tensor:
    quantization = tensor.table(4)
    scales = quantization.length(2) if quantization else 0
    zeros = quantization.numbers(3, "q") if quantization else ()
    dtype = _TYPES.get(tensor.number(1, "b"), "other")
    return _Tensor(
        name=tensor.text(3),
        dtype=dtype,
        shape=tuple(int(n) for n in tensor.numbers(0)),
        constant=kept[tensor.number(2, "I")],
        scales=scales,
        symmetric=not any(zeros),
    )


def _node(index: int, kind: str, given: list[_Tensor], made: list[_Tensor]) -> Node:
    op = _OP.get(kind, "other")
    weights = given[_CONV_WEIGHTS] if op in {"conv", "depthwise", "dense"} and len(given) > 1 else None
    weights = weights if weights is not None and weights.constant else None
    moving = [tensor for tensor in given if not tensor.constant]
    return Node(
        index=index,
        kind=kind,
        op=op,
        name=made[0].name if made else "",
        inputs=tuple(tensor.name for tensor in moving),
        outputs=tuple(tensor.name for tensor in made),
        in_types=tuple(tensor.dtype for tensor in moving),
        out_types=tuple(tensor.dtype for tensor in made),
        weights=None if weights is None else _weights(weights),
        macs=0 if weights is None else _macs(op, made[0], weights),
        moved_bytes=sum(tensor.size_bytes for tensor in (*given, *made)),
    )


def _weights(tensor: _Tensor) -> Weights:
    return Weights(
        dtype=tensor.dtype,
        per_channel=tensor.scales > 1,
        symmetric=tensor.symmetric,
        quantized=tensor.scales > 0,
    )


def _macs(op: str, made: _Tensor, weights: _Tensor) -> int:
    """Return the multiplications: weights are (out, h, w, in), depthwise (1, h, w, out), dense (out, in)."""
    if op == "depthwise":
        return made.count * weights.count // max(1, weights.shape[-1])
    return made.count * weights.count // max(1, weights.shape[0])


def op_of(kind: str) -> str:
    """Return our word for an operator of LiteRT's."""
    return _OP.get(kind, "other")
