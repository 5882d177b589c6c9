"""Quantize a float .onnx by onnxruntime's tools, with ranges from the calibration record."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.convert.matching import ranges_of
from edgekit.convert.onnx_tools import observe, tidy_names
from edgekit.convert.onnx_weights import stored_weights, weight_grids
from edgekit.convert.ranges import grid
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.convert.base import Work
    from edgekit.convert.ranges import Grid

HALF_MAX = 65504.0
LINEAR = ("Conv", "Gemm", "MatMul")
QUANTIZED = (
    *LINEAR, "Add", "AveragePool", "Clip", "Concat", "Flatten", "MaxPool", "Mul", "Pad", "Relu", "Reshape",
    "Resize", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
"""What is computed in 8 bits. Softmax and global averages are not: often they make the output, which is
handed over as floats, and 255 steps can't tell many classes apart (93.5 instead of 96.8 % agreement on
SqueezeNet 1.1)."""


def quantized(proto: Any, precision: str, work: Work) -> tuple[Any, dict[str, str]]:
    """Return a float network in another precision, and what made it.

    Args:
        proto: the float network.
        precision: "fp16", "int8", "w8u8" or "dyn8".
        work: with the calibration record, for "int8" and "w8u8".

    Raises:
        ConversionError: the quantizer failed, or a weight is beyond what 16 bits hold.
    """
    if precision == "fp16":
        return _half(proto), {}
    ready = work.float_once("onnx ready", precision, lambda _: _ready(proto))
    if precision == "dyn8":
        return _dynamic(ready), {"quantizer": "onnxruntime dynamic, 8-bit weights"}
    grids, lacking = work.once("onnx grids", lambda: _grids(ready, work))
    signed = precision == "int8"
    found = {"quantizer": f"onnxruntime QDQ {precision}, per channel, {work.recorded.method}"}
    if lacking:
        found["measured_apart"] = ", ".join(lacking)
    return _static(ready, grids, signed=signed), found


def _half(proto: Any) -> Any:
    """Return the network in 16 bits between its float32 input and output.

    Raises:
        ConversionError: a weight is beyond what 16 bits hold.
    """
    import numpy as np
    from onnx import numpy_helper
    from onnxruntime.transformers import float16

    for tensor in proto.graph.initializer:
        largest = float(np.max(np.abs(numpy_helper.to_array(tensor)), initial=0.0))
        if tensor.data_type == 1 and largest > HALF_MAX:
            raise ConversionError(
                f"the weight {tensor.name} reaches {largest:.3g}, 16-bit floats end at {HALF_MAX:g}",
                hint="use onnx-fp32, or train with weight decay",
            )
    return float16.convert_float_to_float16(_copy(proto), keep_io_types=True)


def _ready(proto: Any) -> Any:
    """Return the float network as the quantizer wants it: shapes inferred, pads and constants folded."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ready.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        ready = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(path.read_bytes()))
    tidy_names(ready, {})
    return ready


def _grids(ready: Any, work: Work) -> tuple[dict[str, Grid], tuple[str, ...]]:
    ranges, lacking = ranges_of(
        work.recorded, work.samples, partial(observe, ready), partial(_extremes, ready)
    )
    return {name: grid(*pair) for name, pair in ranges.items()}, lacking


def _extremes(ready: Any, names: list[str], samples: Any) -> Iterator[dict[str, tuple[float, float]]]:
    for held in observe(ready, samples, names):
        yield {name: (low, high) for name, (_, low, high, _) in held.items()}


def _static(ready: Any, grids: dict[str, Grid], *, signed: bool) -> Any:
    """Put a quantization and its inverse around every operation, with these grids."""
    import numpy as np
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    stored, offset = (np.int8, 0) if signed else (np.uint8, 128)
    activations = QuantType.QInt8 if signed else QuantType.QUInt8
    overrides = {
        name: [
            {
                "scale": np.array(g.scale, np.float32),
                "zero_point": np.array(g.zero_point + offset, stored),
                "quant_type": activations,
            }
        ]
        for name, g in grids.items()
    }
    quantizer = QDQQuantizer(
        _copy(ready),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=activations,
        tensors_range=TensorsData(
            CalibrationMethod.MinMax,
            {name: (np.float32(g.low), np.float32(g.high)) for name, g in grids.items()},
        ),
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=list(QUANTIZED),
        extra_options={
            "TensorQuantOverrides": overrides | weight_grids(ready.graph),
            "AddQDQPairToWeight": True,  # `stored_weights` does in one step what it does channel by channel
        },
    )
    return stored_weights(_run(quantizer))


def _dynamic(ready: Any) -> Any:
    """Store the weights in 8 bits; activations are quantized as they come.

    ONNX's integer convolution has one grid for all channels, which ruins depthwise convolutions: MobileNets
    fall below 0 dB. They stay floats; their weights are few.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    quantizer = ONNXQuantizer(
        _copy(ready),
        True,
        False,
        QuantizationMode.IntegerOps,
        False,
        QuantType.QInt8,
        QuantType.QUInt8,
        None,
        [],
        depthwise(ready.graph),
        ["Conv", "MatMul"],
        {"MatMulConstBOnly": True},
    )
    return _run(quantizer)


def depthwise(graph: Any) -> list[str]:
    """Return the names of the convolutions that have one input channel a group."""
    weights = {tensor.name: tensor.dims for tensor in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type == "Conv"
        and len(weights.get(node.input[1], ())) > 1
        and weights[node.input[1]][1] == 1
        and any(a.name == "group" and a.i > 1 for a in node.attribute)
    ]


def floats_read(graph: Any) -> list[str]:
    """Return the linear operations of a QDQ graph that read something that was not dequantized."""
    makers = {out: node.op_type for node in graph.node for out in node.output}
    heavy = [node for node in graph.node if node.op_type in LINEAR]
    return [n.name for n in heavy if any(makers.get(i) != "DequantizeLinear" for i in n.input[:2])]


def still_float(graph: Any) -> list[str]:
    """Return the linear operations of a dynamically quantized graph that it should not have."""
    allowed = set(depthwise(graph))
    return [n.name for n in graph.node if n.op_type in LINEAR and n.name not in allowed]


def _copy(proto: Any) -> Any:
    copy = type(proto)()
    copy.CopyFrom(proto)
    return copy


def _run(quantizer: Any) -> Any:
    try:
        quantizer.quantize_model()
    except (ValueError, RuntimeError, KeyError, TypeError, IndexError) as error:
        raise ConversionError(
            f"onnxruntime's quantizer failed ({str(error)[:200]})", evidence=str(error)
        ) from error
    return quantizer.model.model
