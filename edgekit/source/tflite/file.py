"""Open a .tflite file without trusting it.

A flatbuffer is all offsets, and a wrong one may lead anywhere. Everything is read here by Python, within the
file's bounds and no more of it than the file is long; what does not add up is damaged.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import MissingExtraError, UsageError
from edgekit.source.load import several
from edgekit.source.tflite.network import Network, Operator, Tensor

if TYPE_CHECKING:
    from pathlib import Path

_IDENTIFIER = b"TFL3"
_VERSION = 3
_PLACEHOLDER = 127
"""Codes of operations beyond this stand in a field of their own."""
_UNREADABLE = (
    struct.error, IndexError, ValueError, TypeError, OverflowError, KeyError, AttributeError, MemoryError,
)  # fmt: skip
_STORED = {"float32": 4, "float16": 2, "int32": 4, "int64": 8, "bool": 1, "int8": 1, "uint8": 1, "int16": 2}
_INTEGER = frozenset({"int8", "uint8", "int16", "int4", "uint4", "int2", "int32", "int64"})


def open_tflite(path: Path) -> Network:
    """Read a float32 network.

    Raises:
        UsageError: damaged or no TFLite file, quantized already, several inputs or outputs or subgraphs, an
            input or output that is not float32, weights that are not finite.
        MissingExtraError: ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "convert") from error
    try:
        content = path.read_bytes()
        if content[4:8] != _IDENTIFIER:
            raise ValueError("no TFL3 in front")
        return _Reader(schema, content, path.name).network()
    except (*_UNREADABLE, OSError) as error:
        raise UsageError(
            f"{path.name} is damaged or no TFLite file",
            hint="copy it again or convert it anew",
            evidence=f"{type(error).__name__}: {error}",
        ) from error


class _Reader:
    """One file on its way to a Network. What is not as it should be raises ValueError."""

    def __init__(self, schema: Any, content: bytes, name: str) -> None:
        self._schema, self._content, self._name = schema, content, name
        self._model = schema.Model.GetRootAs(content, 0)
        self._left = len(content)
        self._types = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
        self._names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}

    def network(self) -> Network:
        """Return what the file holds."""
        model = self._model
        if model.Version() != _VERSION or self._count(model.SubgraphsLength()) < 1:
            raise ValueError(f"version {model.Version()} of {model.SubgraphsLength()} subgraphs")
        graph = model.Subgraphs(0)
        tensors = tuple(self._tensor(graph.Tensors(i)) for i in range(self._count(graph.TensorsLength())))
        codes = [self._code(model.OperatorCodes(i)) for i in range(self._count(model.OperatorCodesLength()))]
        operators = tuple(
            self._operator(graph.Operators(i), codes, len(tensors))
            for i in range(self._count(graph.OperatorsLength()))
        )
        if model.SubgraphsLength() > 1:
            raise UsageError(
                f"{self._name} has {model.SubgraphsLength()} subgraphs, for branches or loops",
                hint="convert it without control flow",
            )
        ends = [
            self._end(what, self._indices(found), tensors)
            for what, found in (("inputs", graph.InputsAsNumpy()), ("outputs", graph.OutputsAsNumpy()))
        ]
        network = Network(
            name=self._name, tensors=tensors, operators=operators, input=ends[0], output=ends[1]
        )
        _refuse(network)
        return network

    def _count(self, length: int) -> int:
        """Return a vector's length; all of them together can't have more elements than the file has bytes."""
        self._left -= length
        if length < 0 or self._left < 0:
            raise ValueError("more is listed than the file can hold")
        return length

    def _indices(self, found: Any) -> tuple[int, ...]:
        listed = [] if isinstance(found, int) else found  # 0 stands for a vector that is not there
        self._count(len(listed))
        return tuple(int(n) for n in listed)

    def _end(self, what: str, indices: tuple[int, ...], tensors: tuple[Tensor, ...]) -> int:
        if any(not 0 <= n < len(tensors) for n in indices):
            raise ValueError(f"{what} that are no tensors")
        if len(indices) != 1:
            raise several(self._name, what, len(indices))
        return indices[0]

    def _tensor(self, table: Any) -> Tensor:
        name = (table.Name() or b"").decode("utf-8", "replace")
        dtype = self._types[table.Type()]
        quantization = table.Quantization()
        if quantization is not None and self._count(quantization.ScaleLength()) and dtype in _INTEGER:
            raise UsageError(
                f"{self._name} is quantized already: {name.partition(';')[0]!r} is {dtype} with a scale",
                hint="give the float32 file that it was made from",
            )
        if table.Sparsity() is not None or table.IsVariable():
            what = (
                "is stored sparsely" if table.Sparsity() is not None else "is a state that stays between runs"
            )
            raise UsageError(f"{self._name}: the tensor {name!r} {what}", hint="convert it anew without")
        shape = self._indices(table.ShapeAsNumpy())
        signature = self._indices(table.ShapeSignatureAsNumpy()) or shape
        if min(shape, default=0) < 0 or len(signature) != len(shape):
            raise ValueError(f"a tensor of shape {shape}, {signature}")
        return Tensor(
            name=name,
            dtype=dtype,
            shape=shape,
            signature=tuple(None if n < 0 else n for n in signature),
            value=self._value(table.Buffer(), dtype, shape),
        )

    def _value(self, index: int, dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any] | None:
        if not 0 <= index < self._model.BuffersLength():
            raise ValueError(f"buffer {index}")
        buffer = self._model.Buffers(index)
        if buffer.Size() > 1:
            raise UsageError(
                f"{self._name} keeps weights behind its flatbuffer", hint="convert it to a file below 2 GB"
            )
        data = buffer.DataAsNumpy()
        if index == 0 or isinstance(data, int) or not len(data):
            return None
        if len(data) != math.prod(shape) * _STORED[dtype]:
            raise ValueError(f"{len(data)} bytes for {shape} {dtype}")
        return np.frombuffer(data.tobytes(), np.dtype(dtype)).reshape(shape)

    def _code(self, table: Any) -> tuple[str, bool, int]:
        number = table.BuiltinCode()
        if table.DeprecatedBuiltinCode() != _PLACEHOLDER and number == 0:
            number = table.DeprecatedBuiltinCode()
        name = self._names[number]
        if name == "CUSTOM":
            return (table.CustomCode() or b"?").decode("utf-8", "replace"), True, table.Version()
        return name, False, table.Version()

    def _operator(self, table: Any, codes: list[tuple[str, bool, int]], count: int) -> Operator:
        inputs, outputs = self._indices(table.InputsAsNumpy()), self._indices(table.OutputsAsNumpy())
        if (
            any(not -1 <= n < count for n in inputs)
            or any(not 0 <= n < count for n in outputs)
            or not outputs
        ):
            raise ValueError("an operation on tensors that are not there")
        op, custom, version = codes[table.OpcodeIndex()]
        kind, raw, options = table.BuiltinOptionsType(), table.BuiltinOptions(), None
        if raw is not None and not custom:
            options = self._schema.BuiltinOptionsCreator(kind, raw)
        return Operator(
            op=op, custom=custom, version=version, inputs=inputs, outputs=outputs, options=options, kind=kind
        )


def _refuse(network: Network) -> None:
    """Refuse what is whole and yet can't be taken."""
    for what, index in (("input", network.input), ("output", network.output)):
        tensor = network.tensors[index]
        if tensor.dtype != "float32":
            raise UsageError(
                f"the {what} {tensor.name!r} of {network.name} is {tensor.dtype}, not float32",
                hint=f"convert it with a float32 {what}",
            )
    known = {network.input, -1} | {i for i, t in enumerate(network.tensors) if t.value is not None}
    for operator in network.operators:
        if not known.issuperset(operator.inputs) or known.intersection(operator.outputs):
            raise ValueError(f"{operator.op} reads what nobody made, or makes what is there")
        known.update(operator.outputs)
    if network.output not in known:
        raise ValueError("an output that nobody makes")
    for tensor in network.tensors:
        if tensor.value is None or tensor.value.dtype.kind != "f":
            continue
        bad = int(tensor.value.size - np.isfinite(tensor.value).sum())
        if bad and not (tensor.value.size == 1 and np.isinf(tensor.value).all()):
            raise UsageError(
                f"{network.name} has weights that are not finite: "
                f"{bad} of {tensor.value.size} in {tensor.name}",
                hint="give a checkpoint from before training diverged",
            )
