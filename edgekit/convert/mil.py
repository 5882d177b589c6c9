"""Read a Core ML package back: its program's operations, and its weights from the program and the blob file.

Layout of the blob file: 64 bytes of header; each weight has 64 bytes of metadata at its offset (sentinel,
data type, size in bytes, where the data begins), after the MIL blob format of Apple's open coremltools.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np

    from edgekit.source import FrozenGraph

KNOWN = frozenset(
    [
        "add",
        "avg_pool",
        "batch_norm",
        "cast",
        "clip",
        "concat",
        "const",
        "conv",
        "gather",
        "leaky_relu",
        "linear",
        "matmul",
        "max_pool",
        "mul",
        "pad",
        "prelu",
        "real_div",
        "reduce_mean",
        "reduce_max",
        "reduce_sum",
        "relu",
        "relu6",
        "reshape",
        "rsqrt",
        "sigmoid",
        "sigmoid_hard",
        "silu",
        "slice_by_index",
        "slice_by_size",
        "softmax",
        "split",
        "sqrt",
        "squeeze",
        "expand_dims",
        "stack",
        "sub",
        "tanh",
        "transpose",
        "upsample_nearest_neighbor",
        "upsample_bilinear",
        "resize_bilinear",
        "maximum",
        "minimum",
        "exp",
        "elu",
        "gelu",
        "softplus",
        "erf",
        "identity",
        "depth_to_space",
        "space_to_depth",
    ]
)
"""The operations of ML programs that convolutional networks are made of."""
_SENTINEL = 0xDEADBEEF
_ENTRY = struct.Struct("<IIQQ")
_BLOB_DTYPES = {1: "float16", 2: "float32", 3: "uint8", 4: "int8"}
_TOLERANCE = {"fp32": (1e-6, 1e-30), "fp16": (2.0**-10, 6e-8)}
"""Relative and absolute: half a unit in the last place of float16 is 2^-11, its smallest step 6e-8."""


def check_program(path: Path, frozen: FrozenGraph, precision: str) -> None:
    """Hold a package against the frozen graph: inputs, outputs, operations, and each weight.

    Args:
        path: the .mlpackage folder.
        frozen: what it was made from.
        precision: "fp32" or "fp16".

    Raises:
        ConversionError: something is missing, unknown or changed; it is named.
    """
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model()
    spec.ParseFromString(next(path.rglob("*.mlmodel")).read_bytes())
    _check_ends(spec, frozen)
    operations = list(walk(spec))
    unknown = sorted(
        {op.type for op in operations} - {n for k in KNOWN for n in (k, f"ios16.{k}", f"ios15.{k}")}
    )
    if unknown:
        raise ConversionError(f"the Core ML program uses {unknown[0]}, which EdgeKit does not know")
    blob = next(path.rglob("weight.bin"), None)
    found = list(constants(operations, b"" if blob is None else blob.read_bytes()))
    _check_weights(frozen.weights, found, precision)


def walk(spec: Any) -> Iterator[Any]:
    """Yield the operations of a program's main function, blocks inside blocks included."""
    if spec.WhichOneof("Type") != "mlProgram":
        raise ConversionError(f"the package holds {spec.WhichOneof('Type')}, no ML program")
    main = spec.mlProgram.functions["main"]
    stack = [block for _, block in sorted(main.block_specializations.items())]
    while stack:
        block = stack.pop()
        for operation in block.operations:
            yield operation
            stack.extend(operation.blocks)


def constants(operations: list[Any], blob: bytes) -> Iterator[np.ndarray[Any, Any]]:
    """Yield every floating-point constant of a program as a flat array."""
    import numpy as np

    for operation in operations:
        if operation.type != "const":
            continue
        value = operation.attributes["val"]
        if value.WhichOneof("value") == "blobFileValue":
            yield _from_blob(blob, int(value.blobFileValue.offset))
            continue
        tensor = value.immediateValue.tensor
        kind = tensor.WhichOneof("value")
        if kind == "floats":
            yield np.array(tensor.floats.values, np.float32)
        elif kind == "bytes" and value.type.tensorType.dataType == 10:  # noqa: PLR2004 - MIL's FLOAT16
            yield np.frombuffer(tensor.bytes.values, np.float16)


def _from_blob(blob: bytes, offset: int) -> np.ndarray[Any, Any]:
    import numpy as np

    if offset + _ENTRY.size > len(blob):
        raise ConversionError("the Core ML package's weight file is shorter than its program says")
    sentinel, kind, size, begin = _ENTRY.unpack_from(blob, offset)
    if sentinel != _SENTINEL or kind not in _BLOB_DTYPES or begin + size > len(blob):
        raise ConversionError("the Core ML package's weight file can't be read where its program points")
    return np.frombuffer(
        blob, _BLOB_DTYPES[kind], count=size // np.dtype(_BLOB_DTYPES[kind]).itemsize, offset=begin
    )


def _check_ends(spec: Any, frozen: FrozenGraph) -> None:
    for what, features, wanted in (
        ("input", spec.description.input, frozen.source.input),
        ("output", spec.description.output, frozen.source.output),
    ):
        if len(features) != 1 or features[0].name != wanted.name:
            raise ConversionError(
                f"the Core ML package's {what}s are {[f.name for f in features]}, not {wanted.name}"
            )
        shape = tuple(features[0].type.multiArrayType.shape)
        if shape and shape != wanted.shape:
            raise ConversionError(
                f"the Core ML package's {what} has the shape {shape}, the source's {wanted.shape}"
            )


def _check_weights(
    weights: Mapping[str, tuple[str, np.ndarray[Any, Any]]], found: list[np.ndarray[Any, Any]], precision: str
) -> None:
    by_size: dict[int, list[np.ndarray[Any, Any]]] = {}
    for array in found:
        by_size.setdefault(array.size, []).append(array)
    for name, (op, value) in weights.items():
        if value.size < 2 or not value.any():  # noqa: PLR2004 - scalars become parameters, added zeros go
            continue
        candidates = by_size.get(value.size, [])
        forms = list(_forms(op, value))
        if not any(_same(form, array, precision) for form in forms for array in candidates):
            raise ConversionError(f"the Core ML program lacks the weight {name} of {op}, or has changed it")


def _forms(op: str, value: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield a weight as a MIL operation of its kind may hold it, flat."""
    if op == "Conv2D":  # HWIO -> OIHW
        yield value.transpose(3, 2, 0, 1).ravel()
    elif op == "DepthwiseConv2dNative":  # HWCM -> (CM)1HW
        yield value.transpose(2, 3, 0, 1).ravel()
    elif op == "MatMul":
        yield value.ravel()
        yield value.T.ravel()
    else:
        yield value.ravel()


def _same(wanted: np.ndarray[Any, Any], got: np.ndarray[Any, Any], precision: str) -> bool:
    import numpy as np

    relative, absolute = _TOLERANCE[precision]
    return bool(np.allclose(got.astype(np.float64), wanted.astype(np.float64), rtol=relative, atol=absolute))
