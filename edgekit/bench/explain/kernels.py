"""What the runtimes' CPU kernels want: facts, each with where it was read or measured.

They hold for the versions named; another version is judged by them too, and its run says which it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_LITERT = (
    "ABS ADD ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND CONCATENATION CONV_2D "
    "DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE ELU EQUAL EXP EXPAND_DIMS FULLY_CONNECTED GATHER GELU "
    "GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION LEAKY_RELU LESS LESS_EQUAL LOG LOGISTIC "
    "LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU "
    "QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR "
    "RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SELECT_V2 SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH "
    "SPLIT SPLIT_V SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH TILE TOPK_V2 TRANSPOSE "
    "TRANSPOSE_CONV UNPACK SHAPE SQRT DIV"
)
LITERT_INT8 = frozenset(_LITERT.split())
"""LiteRT's built-in operators that take int8, of its quantization specification and its kernels (2.3)."""

_ONNXRUNTIME = (
    "Add ArgMax AveragePool Concat Conv Expand Flatten Gather GatherElements Gemm GlobalAveragePool "
    "LeakyRelu MatMul MaxPool Mul ReduceMax ReduceMin Relu Clip Reshape Resize Sigmoid Slice Softmax "
    "Split Squeeze Tile Transpose Unsqueeze Where"
)
ONNXRUNTIME_INT8 = frozenset(_ONNXRUNTIME.split())
"""Operators that ONNX Runtime's CPU provider runs in int8 between Q and DQ: the selectors of
core/optimizer/qdq_transformer/selectors_actions/qdq_selector_action_transformer.cc (1.23 to 1.32); Relu and
Clip are dropped where the range of the quantization clips already."""

ASYMMETRIC_WHY = (
    "ONNX Runtime's quickest int8 convolution takes signed weights with zero point 0 alone"
    " (QLinearConv's TryConvSymPrepack, MlasConvSym); measured on AVX512-VNNI: 94 us against 367 us"
)
"""core/providers/cpu/quantization/qlinearconv.cc and core/mlas/lib/convsym.cpp: MlasConvSymPackWSize is asked
only if the weights are int8 and all zero points 0. Measured with 1.32 here: three convolutions of 64 channels
at 28 x 28, per tensor: u8s8 94 us each, u8u8 367 us each, float 323 us each."""

PER_TENSOR_WHY = (
    "XNNPACK's dot-product kernels are for signed weights per channel (QC8W); uint8 per tensor (QU8) has none"
    " of them; measured on AVX512-VNNI: 0.2 ms against 1.8 ms"
)
"""Measured with LiteRT 2.3 here: a 3 x 3 convolution of 64 channels at 56 x 56: QC8 0.15 to 0.22 ms, QS8
(int8 per tensor) the same, for XNNPACK gives each channel the one scale (xnn_create_convolution2d_nhwc_qs8
copies it), QU8 1.8 ms, float 1.9 ms. So int8 per tensor costs accuracy, not time, and is not blamed."""

SIGNED_WHY = (
    "on x86 ONNX Runtime fuses uint8 activations alone, and turns int8 ones into them only where one operator"
    " reads them"
)
"""QDQIsInt8Allowed in core/optimizer/qdq_transformer is false except on ARM, and the transformer that makes
uint8 of int8 leaves pairs with several readers alone. Measured with 1.32: of MobileNetV2's 52 convolutions
the 15 next to residual additions stayed float."""

X86 = ("x86_64", "i686")

LEAST_MACS_PER_BYTE = 4.0
"""Multiplications a byte of float32 moved, below which an operator waits for memory more than it computes.
A core that multiplies 8 to 16 float32 a cycle reads 4 to 8 bytes a cycle from its second cache: it needs 1 to
4 a byte there, and several times that from main memory; a 3 x 3 depthwise convolution has 1.1, a convolution
of 64 channels 1 x 1 has 8, 3 x 3 72."""

_DOT = {"asimddp": "dot product", "avx512_vnni": "AVX512-VNNI", "avx_vnni": "AVX-VNNI", "amx_int8": "AMX"}
_FP16 = {"asimdhp": "fp16", "avx512_fp16": "AVX512-FP16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """What a CPU has for small numbers; None where the device did not tell its features.

    Attributes:
        names: of its cores, each once.
        int8_dot: instructions that add up products of int8 (asimddp, VNNI).
        i8mm: int8 matrix instructions.
        fp16: float16 arithmetic.
    """

    names: tuple[str, ...]
    int8_dot: bool | None
    i8mm: bool | None
    fp16: bool | None

    def __str__(self) -> str:
        has = {"int8 dot product": self.int8_dot, "i8mm": self.i8mm, "fp16": self.fp16}
        words = [f"{'no ' if not there else ''}{name}" for name, there in has.items() if there is not None]
        return f"{', '.join(self.names) or 'CPU'}: {', '.join(words) or 'features not told'}"


def cpu_of(facts: Mapping[str, Any]) -> Cpu:
    """Return what a run's facts say of its CPU."""
    features = set(facts.get("features", ()))
    names = tuple(dict.fromkeys(str(cpu[0]) for cpu in facts.get("cpus", ()) if cpu))
    if not features:
        return Cpu(names=names, int8_dot=None, i8mm=None, fp16=None)
    return Cpu(
        names=names,
        int8_dot=bool(features & set(_DOT)),
        i8mm=bool(features & {"i8mm", "amx_int8"}),
        fp16=bool(features & set(_FP16)),
    )


def has_int8_kernel(runtime: str, kind: str) -> bool:
    """Return whether a runtime has an int8 kernel for an operator of the artifact's format."""
    return kind in (LITERT_INT8 if runtime == "litert" else ONNXRUNTIME_INT8)
