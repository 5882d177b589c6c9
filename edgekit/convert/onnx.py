"""ONNX: the float file by tf2onnx, fp16 and int8 from it by onnxruntime's tools, proved by ONNX Runtime.

The source's layout is kept: an NHWC input stays NHWC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.artifact import TensorSpec
from edgekit.convert.base import Made, Work
from edgekit.convert.onnx_carried import carried_over
from edgekit.convert.onnx_given import given, opset_of, quantizable
from edgekit.convert.onnx_quantize import floats_read, quantized, still_float
from edgekit.convert.onnx_tools import session, tidy_names
from edgekit.convert.swap import swapped_onnx
from edgekit.errors import ConversionError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from edgekit.source import FrozenGraph

OPSET = 17
"""The newest that every runtime of the last three years reads, and enough for these networks."""
_FORM = "onnx"
_DTYPES = {1: "float32", 10: "float16", 3: "int8", 2: "uint8"}


class OnnxConverter:
    """The format "onnx"; see `base.Converter`.

    fp32: as converted. fp16: weights and activations in 16 bits. int8 and w8u8: QDQ, weights symmetric per
    channel, activations asymmetric per tensor, signed and unsigned. dyn8: weights in 8 bits, activations
    quantized as they come; depthwise convolutions stay floats. All take and give float32.
    """

    suffix = ".onnx"
    libraries = ("tensorflow", "tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime")

    def convert(self, work: Work, precision: str, path: Path) -> Made:
        """Write a .onnx file."""
        own = work.frozen.source.proto is not None  # its network is the user's, the tuned one is not
        proto = work.float_once(_FORM, precision, _float_proto, None if own else swapped_onnx)
        provenance = {"opset": str(opset_of(proto))}
        if precision != "fp32":
            proto, found = quantized(quantizable(proto), precision, work)
            provenance |= found
        path.write_bytes(proto.SerializeToString(deterministic=True))
        source = work.frozen.source
        return Made(
            inputs=(_spec(proto.graph.input[0], source.input.layout),),
            outputs=(_spec(proto.graph.output[0], source.output.layout),),
            provenance=provenance,
        )

    def early(self, frozen: FrozenGraph) -> tuple[str, Callable[[FrozenGraph], Any]] | None:
        """Return the float form's name and what makes it; None for a network that is ONNX already."""
        return (_FORM, _float_proto) if frozen.source.proto is None else None

    def run(self, path: Path, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Run a .onnx file in ONNX Runtime on the CPU."""
        import numpy as np

        ready = session(path.read_bytes())
        name = ready.get_inputs()[0].name
        return np.stack([ready.run(None, {name: row[None]})[0][0] for row in inputs]).astype(np.float32)

    def inspect(self, work: Work, precision: str, path: Path) -> str:
        """Refuse a file whose convolutions or dense layers still read floats where they should not."""
        import onnx

        if precision in ("int8", "w8u8", "dyn8"):
            graph = onnx.load_model_from_string(path.read_bytes()).graph
            left = floats_read(graph) if precision != "dyn8" else still_float(graph)
            if left:
                raise ConversionError(
                    f"onnx-{precision} of {work.frozen.source.name} is not quantized throughout: "
                    f"{left[0]} reads floats"
                )
        return "run on the host (ONNX Runtime)"


CONVERTER = OnnxConverter()


def _float_proto(frozen: FrozenGraph) -> Any:
    """Return a frozen graph as an ONNX network; an ONNX source is its own, until its weights are tuned."""
    if frozen.source.proto is not None and not frozen.tuned:
        return given(frozen.source)
    try:
        import onnx
        import tf2onnx  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise MissingExtraError("tf2onnx", "convert") from error
    try:
        proto = carried_over(frozen.graph_def, OPSET)
    except (ValueError, RuntimeError, KeyError, NotImplementedError, AttributeError) as error:
        raise _inexpressible(frozen, str(error)) from error
    known = {"", "ai.onnx"}
    nodes = proto.graph.node
    foreign = sorted({n.op_type for n in nodes if n.domain not in known or not onnx.defs.has(n.op_type)})
    if foreign:
        raise _inexpressible(frozen, f"operation {foreign[0]}")
    tidy_names(proto, {"input:0": "input", "output:0": "output"})
    return proto


def _inexpressible(frozen: FrozenGraph, reason: str) -> ConversionError:
    return ConversionError(
        f"ONNX can't express {frozen.source.name} ({reason[:200]})",
        hint="replace the operation by a standard one",
        evidence=reason,
    )


def _spec(value: Any, layout: str) -> TensorSpec:
    kind = value.type.tensor_type
    shape = tuple(int(d.dim_value) for d in kind.shape.dim)
    return TensorSpec(name=value.name, shape=shape, dtype=_DTYPES[kind.elem_type], layout=layout)
