"""Open an ONNX file without trusting it, and give its network a batch of 1 and static shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingExtraError, UsageError
from edgekit.source.load import several

if TYPE_CHECKING:
    from pathlib import Path

    Shape = tuple[int | None, ...]

_FLOAT = 1
_IMAGE = 4
_COLOURS = (1, 3, 4)
_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_CHANNELS_FIRST = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "BatchNormalization")
_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Identity", "Cast", "Clip", "Pad", "Relu", "Dropout"})


def open_onnx(path: Path) -> Any:
    """Read a network and its external data.

    Returns:
        A ModelProto with one input and one output, both float32, local functions inlined and its initializers
        no longer among its inputs.

    Raises:
        UsageError: damaged, no valid ONNX, external data missing, weights that are not finite, several
            inputs or outputs, an input that is not float32.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise MissingExtraError("onnx", "convert") from error
    damaged = UsageError(f"{path.name} is damaged or no ONNX file", hint="copy it again or export it anew")
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise damaged from error
    if not proto.graph.output or not proto.opset_import:
        raise damaged
    _read_external(proto, path)
    return checked(proto, path.name)


def checked(proto: Any, name: str) -> Any:
    """Refuse a network that can't be believed or carried over; return it tidied, as `open_onnx` does."""
    import onnx
    from onnx import inliner

    try:
        onnx.checker.check_model(_with_shapes(proto))
    except (onnx.checker.ValidationError, ValueError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        raise UsageError(
            f"{name} is no valid ONNX ({first[:200]})", hint="export it anew", evidence=str(error)
        ) from error
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    graph = proto.graph
    stored = {tensor.name for tensor in graph.initializer}
    given = [value for value in graph.input if value.name not in stored]
    for what, values in (("inputs", given), ("outputs", list(graph.output))):
        if len(values) != 1:
            raise several(name, what, len(values))
        kind = values[0].type.tensor_type.elem_type
        if kind != _FLOAT:
            spelled = onnx.TensorProto.DataType.Name(kind).lower()
            raise UsageError(
                f"the {what[:-1]} {values[0].name!r} of {name} is {spelled}, not float32",
                hint=f"export it with a float32 {what[:-1]}",
            )
    kept = given[0].SerializeToString()
    del graph.input[:]
    graph.input.add().ParseFromString(kept)
    proto.ir_version = max(proto.ir_version, 4)  # before, an initializer had to be an input as well
    _refuse_strays(graph, name)
    return proto


def open_shape(proto: Any) -> Shape | None:
    """Return the input's shape with None for what is open; None where not even the rank is known."""
    kind = proto.graph.input[0].type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim)


def layout_of(proto: Any, shape: Shape) -> str:
    """Tell how the input is laid out: by the first operation that cares, else by where 1, 3 or 4 stands."""
    if len(shape) != _IMAGE:
        return "any"
    graph, name = proto.graph, proto.graph.input[0].name
    for node in graph.node:
        if name not in node.input:
            continue
        if node.op_type in _CHANNELS_FIRST:
            return "NCHW"
        if node.op_type == "Transpose":
            axes = next((tuple(a.ints) for a in node.attribute if a.name == "perm"), ())
            return {_TO_FIRST: "NHWC", _TO_LAST: "NCHW"}.get(axes, "any")
        if node.op_type in _ELEMENTWISE:
            name = node.output[0]
    first, last = shape[1] in _COLOURS, shape[3] in _COLOURS
    return "any" if first == last else "NCHW" if first else "NHWC"


def closed_shape(
    proto: Any, name: str, resolution: int | None, wanted: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Return the input's shape with a batch of 1 and nothing open.

    Args:
        proto: from `open_onnx`.
        name: for messages.
        resolution: for an open height and width, in pixels.
        wanted: the whole shape; what the network fixes has to be the same.

    Raises:
        UsageError: something stays open, or is fixed to something else.
    """
    given = open_shape(proto)
    if given is None or wanted is not None:
        return _as_wanted(name, given, wanted)
    if given and given[0] not in (None, 1):
        raise UsageError(
            f"{name} has a fixed batch of {given[0]}", hint="export it with an open batch, or a batch of 1"
        )
    sizes = list(given)
    sizes[:1] = [1] if sizes else []
    for axis in {"NCHW": (2, 3), "NHWC": (1, 2)}.get(layout_of(proto, given), ()):
        if resolution is not None and sizes[axis] not in (None, resolution):
            raise UsageError(f"{name} has a fixed input of {tuple(sizes)}", hint="leave out --resolution")
        sizes[axis] = resolution if sizes[axis] is None else sizes[axis]
    return _whole(name, sizes)


def _whole(name: str, sizes: list[int | None]) -> tuple[int, ...]:
    found = tuple(n for n in sizes if n is not None)
    if len(found) != len(sizes):
        spelled = ",".join("?" if n is None else str(n) for n in sizes)
        raise UsageError(
            f"{name} leaves its input's size open ({spelled})",
            hint="say which: --resolution PIXELS, or --input-shape 1,3,224,224",
        )
    return found


def _as_wanted(name: str, given: Shape | None, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    if wanted is None:
        raise UsageError(
            f"{name} does not say what shape its input has", hint="say it: --input-shape 1,3,224,224"
        )
    fits = given is None or (
        len(given) == len(wanted) and all(g in (None, w) for g, w in zip(given, wanted, strict=True))
    )
    if not fits or wanted[:1] != (1,) or min(wanted) < 1:
        spelled = "nothing" if given is None else ",".join("?" if n is None else str(n) for n in given)
        raise UsageError(
            f"--input-shape {','.join(map(str, wanted))} does not fit {name}, which fixes {spelled}",
            hint="give a batch of 1 and every dimension that the network fixes as it is",
        )
    return wanted


def make_static(proto: Any, shape: tuple[int, ...]) -> Any:
    """Return the network with this input shape, every shape that follows from it inferred anew."""
    from onnx import shape_inference

    copy = type(proto)()
    copy.CopyFrom(proto)
    set_shape(copy.graph.input[0], shape)
    copy.graph.output[0].type.tensor_type.ClearField("shape")
    del copy.graph.value_info[:]
    return shape_inference.infer_shapes(copy)


def set_shape(value: Any, shape: tuple[int, ...]) -> None:
    """Give a ValueInfoProto a static shape."""
    dimensions = value.type.tensor_type.shape.dim
    del dimensions[:]
    for n in shape:
        dimensions.add().dim_value = n


def _with_shapes(proto: Any) -> Any:
    """Return a copy that is shaped throughout: ONNX Runtime does without shapes, the checker does not."""
    copy = type(proto)()
    copy.CopyFrom(proto)
    for value in (*copy.graph.input, *copy.graph.output):
        if not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.shape.SetInParent()
    return copy


def _read_external(proto: Any, path: Path) -> None:
    import onnx

    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        places = {e.value for t in proto.graph.initializer for e in t.external_data if e.key == "location"}
        raise UsageError(
            f"{path.name} keeps weights in {', '.join(sorted(places)) or 'another file'}; it can't be read",
            hint="copy that file beside it, whole",
            evidence=str(error),
        ) from error


def _refuse_strays(graph: Any, name: str) -> None:
    """Refuse weights that are not finite; a lone infinity may be a bound."""
    import numpy as np
    from onnx import numpy_helper

    for tensor in graph.initializer:
        if tensor.data_type != _FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        bad = int(values.size - np.isfinite(values).sum())
        if bad and not (values.size == 1 and math.isinf(values.reshape(()))):
            raise UsageError(
                f"{name} has weights that are not finite: {bad} of {values.size} in {tensor.name}",
                hint="give a checkpoint from before training diverged",
            )
