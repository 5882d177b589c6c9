"""What a .tflite file holds, once it is read and believed; and the same written anew for LiteRT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor of the network.

    Attributes:
        name: as the file has it.
        dtype: "float32" and so on.
        shape: with a batch of 1 where the batch is open.
        signature: the same with None for what is open.
        value: what it holds; None where data flows.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    signature: tuple[int | None, ...]
    value: np.ndarray[Any, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """An operation of the network.

    Attributes:
        op: TFLite's name of it, or the custom one.
        custom: whether it is none of TFLite's own.
        version: of the operation.
        inputs: indices of tensors; -1 where nothing is given.
        outputs: indices of tensors.
        options: the schema's object, or None.
        kind: which of the schema's options these are.
    """

    op: str
    custom: bool
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any
    kind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One subgraph with one input and one output, both float32, operators after what they read.

    Attributes:
        name: the file's.
        tensors: all of them.
        operators: in the order in which they run.
        input: index of the tensor.
        output: index of the tensor.
    """

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    input: int
    output: int


def written(network: Network) -> bytes:
    """Return the network as a .tflite file of its own.

    LiteRT trusts the offsets in a file; those of a file made here can be trusted.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description = 3, ""
    model.buffers, model.subgraphs = [schema.BufferT()], [subgraph]
    subgraph.inputs, subgraph.outputs = [network.input], [network.output]
    subgraph.tensors = [_tensor(schema, model, tensor) for tensor in network.tensors]
    keys = list(dict.fromkeys((o.op, o.version) for o in network.operators))
    model.operatorCodes = [_code(schema, op, version) for op, version in keys]
    subgraph.operators = [_operator(schema, o, keys.index((o.op, o.version))) for o in network.operators]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(schema: Any, model: Any, tensor: Tensor) -> Any:
    import numpy as np

    made = schema.TensorT()
    made.name, made.shape = tensor.name, np.array(tensor.shape, np.int32)
    made.shapeSignature = np.array([-1 if n is None else n for n in tensor.signature], np.int32)
    made.type, made.buffer, made.hasRank = getattr(schema.TensorType, tensor.dtype.upper()), 0, True
    if tensor.value is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(tensor.value).tobytes(), np.uint8)
        model.buffers.append(buffer)
        made.buffer = len(model.buffers) - 1
    return made


def _code(schema: Any, op: str, version: int) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode, made.version = getattr(schema.BuiltinOperator, op), version
    made.deprecatedBuiltinCode = min(made.builtinCode, 127)
    return made


def _operator(schema: Any, operator: Operator, code: int) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code, list(operator.inputs), list(operator.outputs)
    made.builtinOptionsType, made.builtinOptions = operator.kind, operator.options
    return made
