"""Every operation that can be carried over gives what ONNX Runtime gives, in every version of it."""

import numpy as np
import pytest

from edgekit.errors import ConversionError
from edgekit.source import freeze
from edgekit.source.onnx.node import OPERATIONS
from edgekit.source.onnx.source import load_onnx
from edgekit.source.quiet import quiet
from edgekit.source.types import run_each

pytestmark = pytest.mark.convert
IMAGE = [1, 6, 9, 9]
RANDOM = np.random.default_rng(5)


def weights(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def conv(shape, **attributes):
    return (("Conv", "x w b", "y", attributes),), {"w": weights(*shape), "b": weights(shape[0])}, 17, IMAGE


def alone(op, opset=17, shape=IMAGE, /, **attributes):
    return ((op, "x", "y", attributes),), {}, opset, shape


def with_arrays(op, opset=17, shape=IMAGE, /, arrays=(), **attributes):
    names = [f"c{i}" for i in range(len(arrays))]
    given = " ".join(["x", *names])
    return ((op, given, "y", attributes),), dict(zip(names, arrays, strict=True)), opset, shape


def pool(op, /, **attributes):
    return alone(op, 19, **attributes)


def transposed(shape, /, **attributes):
    group = attributes.get("group", 1)
    given = {"w": weights(*shape), "b": weights(shape[1] * group)}
    return (("ConvTranspose", "x w b", "y", attributes),), given, 17, [1, shape[0], 9, 7]


def resized(scales=None, sizes=None, opset=18, shape=IMAGE, /, **attributes):
    given = {"r": weights(0), "s": weights(0)}
    given |= {"s": np.float32(scales)} if scales else {"z": ints(*sizes)}
    return (("Resize", "x r s" + ("" if scales else " z"), "y", attributes),), given, opset, shape


def chain(*steps, opset=17, shape=IMAGE, **arrays):
    """Nodes by "Op in1 in2 > out", attributes behind."""
    nodes = []
    for step in steps:
        text, attributes = step if isinstance(step, tuple) else (step, {})
        head, _, output = text.partition(" > ")
        op, _, inputs = head.partition(" ")
        nodes.append((op, inputs, output, attributes))
    return tuple(nodes), {k: np.asarray(v) for k, v in arrays.items()}, opset, shape


ROOT = np.float32(2**0.5)
HALF = np.float32(0.5)
ONE = np.float32(1)
ROWS = [1, 6, 20]
MORE = {
    "transposed conv": transposed((6, 4, 3, 3)),
    "transposed conv strided": transposed((6, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    "transposed conv of TensorFlow": transposed((6, 4, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1]),
    "transposed conv with output padding": transposed(
        (6, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
    ),
    "transposed conv lopsided": transposed((6, 4, 3, 2), strides=[2, 3], pads=[0, 1, 1, 0]),
    "transposed conv grouped": transposed((6, 2, 3, 3), group=3, strides=[2, 2]),
    "transposed conv dilated": transposed((6, 4, 3, 3), dilations=[2, 2], pads=[1, 1, 1, 1]),
    "transposed conv same upper": transposed((6, 4, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    "transposed conv same lower": transposed((6, 4, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER"),
    "transposed conv to a shape": transposed((6, 4, 3, 3), strides=[2, 2], output_shape=[18, 14]),
    "transposed conv of rows": chain(
        ("ConvTranspose x w > y", {"strides": [2], "pads": [1, 0]}), w=weights(6, 4, 3), shape=ROWS
    ),
    "conv of rows": chain(
        ("Conv x w b > y", {"strides": [2], "pads": [1, 2], "dilations": [2]}),
        w=weights(4, 6, 3), b=weights(4), shape=ROWS,
    ),
    "depthwise of rows": chain(("Conv x w > y", {"group": 6}), w=weights(6, 1, 3), shape=ROWS),
    "pools of rows": chain(
        ("MaxPool x > m", {"kernel_shape": [3], "strides": [2]}),
        ("AveragePool m > y", {"kernel_shape": [2], "pads": [1, 0]}), shape=ROWS,
    ),
    "global pool of rows": chain("GlobalAveragePool x > y", shape=ROWS),
    "layer norm": with_arrays("LayerNormalization", 17, [1, 5, 6], arrays=[weights(6), weights(6)]),
    "layer norm of an image": with_arrays(
        "LayerNormalization", 17, IMAGE, arrays=[weights(6, 9, 9)], axis=1, epsilon=1e-3
    ),
    "layer norm of channels": chain(
        ("Transpose x > t", {"perm": [0, 2, 3, 1]}), "LayerNormalization t s b > n",
        ("Transpose n > y", {"perm": [0, 3, 1, 2]}), s=weights(6), b=weights(6),
    ),
    "instance norm": with_arrays("InstanceNormalization", 17, IMAGE, arrays=[weights(6), weights(6)]),
    "group norm": with_arrays(
        "GroupNormalization", 21, IMAGE, arrays=[weights(6), weights(6)], num_groups=3
    ),
    "group norm as torch writes it": chain(
        "Reshape x a > r", "InstanceNormalization r s b > n", "Reshape n z > m", "Mul m w > y",
        a=ints(0, 3, -1), z=ints(1, 6, 9, 9), s=np.ones(3, np.float32), b=np.zeros(3, np.float32),
        w=weights(6, 1, 1),
    ),
    "mean variance": alone("MeanVarianceNormalization", 13),
    "length two": alone("LpNormalization", 17, axis=1),
    "length one": alone("LpNormalization", 17, axis=2, p=1),
    "gelu of torch": chain(
        "Div x r > d", "Erf d > e", "Add e o > a", "Mul x a > m", "Mul m h > y", r=ROOT, o=ONE, h=HALF
    ),
    "gelu of newer torch": chain(
        "Mul x r > d", "Erf d > e", "Add e o > a", "Mul x h > m", "Mul m a > y", r=1 / ROOT, o=ONE, h=HALF
    ),
    "gelu, halved within": chain(
        "Div x r > d", "Erf d > e", "Add e o > a", "Mul a h > m", "Mul x m > y", r=ROOT, o=ONE, h=HALF
    ),
    "gelu by tanh": alone("Gelu", 20, approximate="tanh"),
    "elu bent": alone("Elu", alpha=2.0),
    "celu": alone("Celu", alpha=0.5),
    "mish": alone("Mish", 18),
    "swish": alone("Swish", 24, alpha=1.5),
    "silu": chain("Sigmoid x > s", "Mul x s > y"),
    "threshold": alone("ThresholdedRelu", alpha=0.5),
    "shrink": alone("Shrink", lambd=0.4, bias=0.1),
    "hard swish of old": chain(
        "Add x t > a", "Clip a z s > c", "Mul x c > m", "Div m s > y",
        t=np.float32(3), z=np.float32(0), s=np.float32(6),
    ),
    "prelu with one slope": with_arrays("PRelu", arrays=[weights(1)]),
    "where": chain("Greater x c > g", "Where g x n > y", c=weights(6, 1, 1), n=weights(9)),
    "where constant": chain("Where m x c > y", m=weights(6, 9, 9) > 0, c=np.float32(0.3)),
    "comparisons": chain(
        "Less x c > a", "GreaterOrEqual x d > b", "LessOrEqual x e > f", "And a b > g", "Or g f > h",
        "Not h > i", ("Cast i > y", {"to": 1}), c=np.float32(1), d=np.float32(0), e=np.float32(-1),
    ),
    "equality": chain("Floor x > f", "Equal f c > e", ("Cast e > y", {"to": 1}), c=np.float32(0)),
    "mean of three": chain("Relu x > r", "Mean x r c > y", c=weights(9)),
    "depth to space": alone("DepthToSpace", 13, [1, 12, 3, 5], blocksize=2),
    "pixel shuffle": alone("DepthToSpace", 13, [1, 12, 3, 5], blocksize=2, mode="CRD"),
    "space to depth": alone("SpaceToDepth", 13, [1, 3, 6, 4], blocksize=2),
    "tile": with_arrays("Tile", arrays=[ints(1, 2, 1, 3)]),
    "einsum": chain(("Einsum x w > y", {"equation": "nchw,cd->ndhw"}), w=weights(6, 4)),
    "gather a table": with_arrays("Gather", arrays=[np.int64([[0, 5], [2, -1]])], axis=1),
    "pad with the edge": with_arrays("Pad", arrays=[ints(0, 0, 1, 2, 0, 0, 2, 1)], mode="edge"),
    "pad around": with_arrays("Pad", 19, IMAGE, arrays=[ints(0, 0, 1, 2, 0, 0, 2, 1)], mode="wrap"),
    "pad along axes": chain("Pad x p v a > y", p=ints(1, 2), v=HALF, a=ints(-1), opset=18),
    "pad less than nothing": with_arrays("Pad", arrays=[ints(0, 0, -1, 2, 0, 0, 0, -3)]),
    "sum of squares": chain("ReduceSumSquare x > y", opset=13),
    "norm of channels": chain(("ReduceL2 x > n", {"axes": [1]}), "Div x n > y"),
    "logarithm of a sum": chain("Exp x > e", ("ReduceLogSum e > y", {"axes": [1], "keepdims": 0})),
    "logarithm of exponentials": alone("ReduceLogSumExp", axes=[1], keepdims=0),
    "product of rows": alone("ReduceProd", axes=[3]),
    "no axes": with_arrays("ReduceSum", 13, IMAGE, arrays=[ints()], noop_with_empty_axes=1, keepdims=1),
    "resize by ONNX's own rule": resized([1, 1, 2, 2]),
    "resize to less": resized([1, 1, 0.5, 0.5]),
    "resize, rounded up": resized([1, 1, 1.7, 0.6], nearest_mode="round_prefer_ceil"),
    "resize, ceiled": resized(
        [1, 1, 1.5, 2], nearest_mode="ceil", coordinate_transformation_mode="asymmetric"
    ),
    "resize cubic": resized([1, 1, 2, 1.5], mode="cubic"),
    "resize cubic of torch": resized(
        None, (1, 6, 13, 20), mode="cubic", cubic_coeff_a=-0.75,
        coordinate_transformation_mode="pytorch_half_pixel",
    ),
    "resize linear asymmetric": resized(
        [1, 1, 2, 3], mode="linear", coordinate_transformation_mode="asymmetric"
    ),
    "resize linear to less, smoothed": resized([1, 1, 0.5, 0.5], mode="linear", antialias=1),
    "resize along axes": resized(None, (18, 4), mode="linear", axes=[2, 3]),
    "resize to nothing new": chain(
        "Resize x r s > z", "Relu z > y", r=weights(0), s=np.float32([1, 1, 1, 1]), opset=13
    ),
    "resize rows": resized([1, 1, 2], None, 13, ROWS, mode="linear"),
    "resize of old": chain("Resize x s > y", s=np.float32([1, 1, 2, 2]), opset=10),
    "upsample linear": chain(("Upsample x s > y", {"mode": "linear"}), s=np.float32([1, 1, 2, 2]), opset=9),
    "upsample by an attribute": alone("Upsample", 7, scales=[1.0, 1.0, 2.0, 2.0]),
    "matmul by a row": with_arrays("MatMul", 17, [1, 5, 6], arrays=[weights(6)]),
    "matmul of two": chain(("Transpose x > t", {"perm": [0, 2, 1]}), "MatMul x t > y", shape=[1, 5, 6]),
    "gemm turned": chain(
        ("Gemm x w b > y", {"transA": 0, "transB": 0, "alpha": 0.3, "beta": 0.7}),
        w=weights(6, 4), b=weights(1, 4), shape=[1, 6],
    ),
    "flatten all": alone("Flatten", axis=0),
    "expand by two": with_arrays("Expand", 17, [1, 6, 1, 1], arrays=[ints(1, 6, 4, 1)]),
    "split unevenly": chain(
        ("Split x > a b", {"axis": 2, "num_outputs": 2}), ("Concat b a > y", {"axis": 2}), opset=18
    ),
    "split of old": chain(
        ("Split x > a b", {"axis": 1, "split": [5, 1]}), "Mul a b > y", opset=11
    ),
    "softmax of old, all axes": alone("Softmax", 11, [1, 3, 4, 5]),
    "softmax of old, last": alone("Softmax", 11, [1, 3, 4, 5], axis=3),
    "log softmax of old": alone("LogSoftmax", 9, [1, 3, 4, 1], axis=1),
    "hard sigmoid in parts": alone("HardSigmoid", alpha=0.3, beta=0.4),
    "average pool same lower": pool(
        "AveragePool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER"
    ),
    "max pool same upper": pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    "conv grouped and dilated": conv((8, 3, 3, 3), group=2, dilations=[2, 2], strides=[2, 2]),
}  # fmt: skip
NORM = [weights(6), weights(6), weights(6), np.abs(weights(6)) + 0.5]
CASES = {
    "conv": conv((4, 6, 3, 3)),
    "conv same upper": conv((4, 6, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv same lower": conv((4, 6, 2, 2), auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv pads of TensorFlow": conv((4, 6, 3, 3), pads=[1, 1, 1, 1]),
    "conv lopsided pads": conv((4, 6, 3, 5), pads=[0, 2, 1, 0], strides=[2, 2]),
    "conv strides that differ": conv((4, 6, 3, 3), pads=[1, 1, 1, 1], strides=[1, 2]),
    "conv dilated": conv((4, 6, 3, 3), dilations=[2, 2], pads=[2, 2, 2, 2]),
    "conv grouped": conv((8, 3, 3, 3), group=2, pads=[1, 1, 1, 1]),
    "depthwise": conv((6, 1, 3, 3), group=6, strides=[2, 2], pads=[1, 1, 1, 1]),
    "depthwise twice as many": conv((12, 1, 3, 3), group=6),
    "depthwise strides that differ": conv((6, 1, 3, 3), group=6, strides=[2, 1], pads=[1, 1, 1, 1]),
    "depthwise dilated": conv((6, 1, 3, 3), group=6, dilations=[2, 2]),
    "gemm": ((("Gemm", "x w b", "y", {"transB": 1}),), {"w": weights(4, 6), "b": weights(4)}, 17, [1, 6]),
    "gemm scaled": (
        (("Gemm", "x w b", "y", {"alpha": 0.5, "beta": 2.0}),),
        {"w": weights(6, 4), "b": weights(1)}, 17, [1, 6],
    ),
    "matmul": with_arrays("MatMul", 17, [1, 5, 6], arrays=[weights(6, 4)]),
    "norm": with_arrays("BatchNormalization", arrays=NORM, epsilon=1e-6),
    "norm of rows": with_arrays("BatchNormalization", 17, [1, 6], arrays=NORM),
    "lrn": alone("LRN", size=3, alpha=0.5, beta=0.6, bias=2.0),
    "max pool": pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2]),
    "max pool of negatives": pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0]),
    "max pool ceil": pool("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "max pool ceil, last place dropped": pool(
        "MaxPool", kernel_shape=[2, 2], strides=[4, 4], pads=[0, 0, 1, 1], ceil_mode=1
    ),
    "max pool dilated": pool("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
    "average pool": pool("AveragePool", kernel_shape=[3, 3], strides=[3, 3]),
    "average pool same": pool("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "average pool with padding": pool(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "average pool without padding": pool(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 0]
    ),
    "average pool ceil": pool("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "average pool ceil with padding": pool(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1], ceil_mode=1,
        count_include_pad=1,
    ),
    "global average": alone("GlobalAveragePool"),
    "global max": alone("GlobalMaxPool"),
    "clip to six": with_arrays("Clip", arrays=[np.float32(0), np.float32(6)]),
    "clip": with_arrays("Clip", arrays=[np.float32(-0.3), np.float32(0.4)]),
    "clip of old": alone("Clip", 6, min=0.1, max=0.5),
    "leaky": alone("LeakyRelu", alpha=0.2),
    "prelu": with_arrays("PRelu", arrays=[weights(6, 1, 1)]),
    "elu": alone("Elu"),
    "gelu": alone("Gelu", 20),
    "hard sigmoid": alone("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard sigmoid of ONNX": alone("HardSigmoid", alpha=0.7),
    "hard swish": alone("HardSwish"),
    "softmax": alone("Softmax", axis=1),
    "softmax of old": alone("Softmax", 11, axis=1),
    "log softmax": alone("LogSoftmax", 13, [1, 8]),
    "add a channel": with_arrays("Add", arrays=[weights(6, 1, 1)]),
    "subtract a row": with_arrays("Sub", arrays=[weights(9)]),
    "multiply by a number": with_arrays("Mul", arrays=[np.float32(3)]),
    "multiply with more axes": with_arrays("Mul", 17, [1, 4], arrays=[weights(1, 3, 1, 1)]),
    "divide": with_arrays("Div", arrays=[weights(1, 6, 9, 1)]),
    "sum": ((("Relu", "x", "r", {}), ("Sum", "x r c", "y", {})), {"c": weights(6, 9, 9)}, 17, IMAGE),
    "minimum": with_arrays("Min", arrays=[np.float32(0.1)]),
    "power": ((("Abs", "x", "a", {}), ("Pow", "a c", "y", {})), {"c": np.float32(1.5)}, 17, IMAGE),
    "reshape": with_arrays("Reshape", arrays=[ints(0, 2, -1, 9, 9)]),
    "flatten": alone("Flatten", 9),
    "flatten from the front": alone("Flatten", axis=-3),
    "squeeze": with_arrays("Squeeze", 17, [1, 6, 1, 1], arrays=[ints(2, 3)]),
    "squeeze of old": alone("Squeeze", 11, [1, 6, 1, 1], axes=[2, 3]),
    "unsqueeze": with_arrays("Unsqueeze", 17, [1, 6], arrays=[ints(-1, 2)]),
    "transpose": alone("Transpose", perm=[0, 2, 3, 1]),
    "concat": (
        (("Relu", "x", "r", {}), ("Concat", "c x r", "y", {"axis": 1})),
        {"c": weights(1, 2, 9, 9)}, 17, IMAGE,
    ),
    "split": (
        (("Split", "x s", "a b", {"axis": 1}), ("Concat", "b a", "y", {"axis": -3})),
        {"s": ints(2, 4)}, 17, IMAGE,
    ),
    "split in equal parts": (
        (("Split", "x", "a b", {"axis": 1, "num_outputs": 2}), ("Sub", "a b", "y", {})), {}, 18, IMAGE,
    ),
    "slice": with_arrays("Slice", arrays=[ints(1, -4), ints(2**62, -1), ints(1, 3), ints(2, 1)]),
    "slice backwards": with_arrays("Slice", arrays=[ints(-1), ints(-(2**62)), ints(3), ints(-2)]),
    "slice of old": alone("Slice", 9, starts=[0, 2], ends=[3, 100], axes=[1, 2]),
    "gather": with_arrays("Gather", arrays=[ints(4, 0)], axis=1),
    "gather one": with_arrays("Gather", arrays=[np.int64(-1)], axis=2),
    "pad": with_arrays("Pad", arrays=[ints(0, 0, 1, 2, 0, 1, 0, 0), np.float32(0.5)]),
    "pad by reflection": with_arrays("Pad", arrays=[ints(0, 0, 1, 2, 0, 0, 2, 1)], mode="reflect"),
    "pad of old": alone("Pad", 9, pads=[0, 0, 1, 1, 0, 0, 1, 1], value=0.25),
    "mean": alone("ReduceMean", axes=[2, 3], keepdims=0),
    "mean of new": with_arrays("ReduceMean", 18, arrays=[ints(-1, -2)], keepdims=1),
    "largest of all": alone("ReduceMax"),
    "expand": with_arrays("Expand", 17, [1, 6, 1, 1], arrays=[ints(1, 1, 4, 5)]),
    "resize nearest": (
        (("Resize", "x r s", "y",
          {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),),
        {"r": weights(0), "s": np.float32([1, 1, 2, 3])}, 17, IMAGE,
    ),
    "resize linear": (
        (("Resize", "x r s", "y", {"mode": "linear"}),),
        {"r": weights(0), "s": np.float32([1, 1, 2, 2])}, 17, IMAGE,
    ),
    "resize to corners": (
        (("Resize", "x r r z", "y",
          {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),),
        {"r": weights(0), "z": ints(1, 6, 17, 5)}, 17, IMAGE,
    ),
    "upsample": ((("Upsample", "x s", "y", {}),), {"s": np.float32([1, 1, 2, 2])}, 9, IMAGE),
    "shape followed": (
        (
            ("Shape", "x", "s", {}), ("Gather", "s i", "n", {}), ("Unsqueeze", "n z", "u", {}),
            ("Concat", "u m", "t", {"axis": 0}), ("Reshape", "x t", "y", {}),
        ),
        {"i": np.int64(0), "z": ints(0), "m": ints(-1)}, 17, IMAGE,
    ),
    "dropout": ((("Dropout", "x", "d", {}), ("Relu", "d", "y", {})), {}, 13, IMAGE),
    "cast": ((("Cast", "x", "d", {"to": 1}), ("Relu", "d", "y", {})), {}, 13, IMAGE),
    **{op: alone(op) for op in (
        "Sigmoid", "Tanh", "Exp", "Neg", "Floor", "Softplus", "Identity", "Ceil", "Round", "Sign", "Sin",
        "Cos", "Softsign", "Erf", "Selu", "ReduceL1", "ReduceL2",
    )},
    **MORE,
    "roots": (
        (("Abs", "x", "a", {}), ("Add", "a c", "b", {}), ("Sqrt", "b", "s", {}), ("Log", "s", "l", {}),
         ("Reciprocal", "b", "r", {}), ("Max", "l r", "y", {})),
        {"c": np.float32(1)}, 17, IMAGE,
    ),
    "other reductions": (
        (("ReduceSum", "x a", "s", {}), ("ReduceMin", "x", "m", {"axes": [1]}), ("Add", "s m", "y", {})),
        {"a": ints(1)}, 17, IMAGE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_operation_gives_what_onnx_runtime_gives(case, one_node):
    nodes, arrays, opset, shape = CASES[case]
    with quiet():
        source = load_onnx(one_node(shape, *nodes, arrays=arrays, opset=opset))
        frozen = freeze(source)
    inputs = RANDOM.uniform(-2, 2, size=(3, *shape[1:])).astype(np.float32)
    wanted = source.reference(inputs)
    assert wanted.std() > 0 or "Reciprocal" in case
    assert source.output.shape == (1, *wanted.shape[1:])
    got = run_each(frozen.function, inputs)
    np.testing.assert_allclose(got, wanted, atol=2e-5 * max(1.0, np.abs(wanted).max()))


def test_every_operation_is_tried():
    tried = {node[0] for nodes, *_ in CASES.values() for node in nodes}
    indirectly = {"Shape", "Size", "Relu"}
    assert set(OPERATIONS) - tried - indirectly == set()


def test_a_pooling_of_what_may_be_negative_stays_within_its_range(one_node):
    """A padding with the lowest float would leave an integer tensor no step to tell its values apart."""
    path = one_node(
        IMAGE, ("MaxPool", "x", "y", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4})
    )
    with quiet():
        source = load_onnx(path)
    largest = (
        max(np.abs(value).max() for _, _, value in source.graph.weights()) if [*source.graph.weights()] else 0
    )
    assert largest < 1e3


@pytest.mark.parametrize(
    ("nodes", "arrays", "said"),
    [
        ((("Det", "x", "y", {}),), {}, "Det 'Det_0' is no operation that can be carried over"),
        ((("Conv", "x v", "y", {}),), {"v": weights(4, 6, 3, 3, 3)}, "Conv 'Conv_0'"),
        ((("Relu", "x", "r", {}), ("Conv", "x r", "y", {})), {},
         "Conv 'Conv_1' is given weights that the network computes"),
        ((("Resize", "x r s", "y", {}),),
         {"r": weights(0), "s": np.float32([1, 2, 1, 1])}, "Resize 'Resize_0' makes [1, 12, 9, 9] of"),
        ((("LRN", "x", "y", {"size": 2}),), {}, "LRN 'LRN_0' normalizes over 2 channels"),
        ((("QuantizeLinear", "x s", "q", {}), ("DequantizeLinear", "q s", "y", {})), {"s": np.float32(0.1)},
         "QuantizeLinear 'QuantizeLinear_0' belongs to a network that is quantized already"),
        ((("Reshape", "x s", "y", {}),), {"s": ints(7, -1)},
         "Reshape 'Reshape_0' makes (7, -1) of (1, 6, 9, 9)"),
    ],
    ids=["unknown", "three axes", "computed weights", "channels", "even", "quantized", "reshape"],
)  # fmt: skip
def test_what_cannot_be_carried_over_is_named_with_its_node(nodes, arrays, said, one_node):
    shape = [1, 6, 9, 9, 9] if said == "Conv 'Conv_0'" else IMAGE
    with quiet(), pytest.raises(ConversionError) as caught:
        load_onnx(one_node(shape, *nodes, arrays=arrays))
    assert said in caught.value.what
    assert caught.value.hint
