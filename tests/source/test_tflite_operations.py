"""Every TFLite operation that can be carried over gives what LiteRT gives."""

import numpy as np
import pytest

from edgekit.errors import ConversionError
from edgekit.source import freeze, load_source
from edgekit.source.quiet import quiet
from edgekit.source.tflite.file import open_tflite
from edgekit.source.tflite.network import Network, Operator, Tensor, written
from edgekit.source.tflite.node import OPERATIONS
from edgekit.source.types import run_each

pytestmark = pytest.mark.convert
tf = pytest.importorskip("tensorflow", reason="the convert extra is not installed")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")
RANDOM = np.random.default_rng(6)
IMAGE = (1, 9, 8, 6)


def weights(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def same_depthwise(x):
    return tf.nn.depthwise_conv2d(x, weights(3, 3, 6, 2), (1, 2, 2, 1), "SAME") + weights(12)


MASK = weights(1, 9, 8, 6) > 0
CASES = {
    "conv": lambda x: tf.nn.relu(tf.nn.conv2d(x, weights(3, 3, 6, 4), 2, "SAME") + weights(4)),
    "conv dilated": lambda x: tf.nn.conv2d(x, weights(3, 3, 6, 4), 1, "VALID", dilations=2),
    "conv grouped": lambda x: tf.nn.conv2d(x, weights(3, 3, 3, 4), 1, "SAME"),
    "depthwise": same_depthwise,
    "transposed": lambda x: tf.nn.conv2d_transpose(x, weights(3, 3, 4, 6), (1, 18, 16, 4), 2, "SAME"),
    "dense": lambda x: tf.tanh(tf.matmul(tf.reshape(x, (1, 432)), weights(432, 5)) + weights(5)),
    "dense of rows": lambda x: tf.tensordot(x, weights(6, 5), 1),
    "matmul": lambda x: tf.matmul(x, x, transpose_b=True),
    "max pool": lambda x: tf.nn.max_pool2d(x, (3, 2), 2, "SAME"),
    "average pool": lambda x: tf.nn.relu6(tf.nn.avg_pool2d(x, 3, 2, "SAME")),
    "lrn": lambda x: tf.nn.local_response_normalization(x, 2, 1.5, 0.3, 0.6),
    "arithmetic": lambda x: ((x + weights(6)) * 2.0 - weights(9, 1, 1)) / (tf.abs(x) + 1.0),
    "extremes": lambda x: tf.maximum(x, weights(6)) + tf.minimum(x, -x),
    "powers": lambda x: tf.pow(tf.abs(x) + 0.5, 1.7) + tf.square(x) + tf.math.squared_difference(x, 0.3),
    "roots": lambda x: tf.sqrt(tf.abs(x)) + tf.math.rsqrt(tf.exp(x)) + tf.math.log(tf.abs(x) + 1.0),
    "waves": lambda x: tf.sin(x) + tf.cos(x) + tf.sign(x),
    "steps": lambda x: tf.floor(x) + tf.math.ceil(x * 3.0) + tf.round(x * 5.0) + tf.math.floordiv(x, 0.3),
    "rest": lambda x: tf.math.floormod(x, 0.7),
    "bent": lambda x: tf.nn.leaky_relu(x, 0.1) + tf.nn.elu(x),
    "gelu": tf.nn.gelu,
    "gelu by tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "bounded": lambda x: tf.minimum(tf.maximum(x, -1.0), 1.0) + tf.nn.relu6(x) + tf.nn.relu(-x),
    "hard": lambda x: x * (tf.nn.relu6(x + 3.0) * (1 / 6)),
    "soft": lambda x: tf.nn.softmax(x) + tf.nn.log_softmax(x) + tf.sigmoid(x),
    "choice": lambda x: tf.where(tf.logical_and(x > 0, tf.logical_not(x > 1)), x, x * 0.2),
    "comparisons": lambda x: tf.cast((x >= 0.1) | (x < -0.5), tf.float32) + tf.cast(x <= 0.7, tf.float32),
    "equality": lambda x: tf.cast(tf.floor(x) == 0, tf.float32) + tf.cast(tf.floor(x) != 1, tf.float32),
    "order": lambda x: tf.transpose(tf.reshape(x, (1, 72, 6)), (0, 2, 1)),
    "squeezed": lambda x: tf.squeeze(tf.expand_dims(tf.transpose(x), 0), -1) * 2.0,
    "joined": lambda x: tf.concat([x, weights(*IMAGE), -x], 2),
    "stacked": lambda x: tf.stack(tf.unstack(x, axis=3), axis=1),
    "split": lambda x: tf.concat(tf.split(x, 3, 3)[::-1], 3),
    "split unevenly": lambda x: tf.concat(tf.split(x, [1, 2, 3], 3)[::-1], 3),
    "sliced": lambda x: tf.slice(x, (0, 1, 2, 0), (1, 3, 4, 6)) + x[:, ::3, 3:7, :],
    "cut": lambda x: x[:, -2, 1::2, ::-1],
    "gathered": lambda x: tf.gather(x, [4, 0, 0], axis=3),
    "padded": lambda x: tf.pad(x, [(0, 0), (1, 2), (0, 1), (0, 0)]) + 1.0,
    "padded with": lambda x: tf.pad(x, [(0, 0), (1, 2), (0, 1), (0, 0)], constant_values=0.5),
    "mirrored": lambda x: tf.pad(x, [(0, 0), (1, 2), (0, 1), (0, 0)], "REFLECT"),
    "mirrored too": lambda x: tf.pad(x, [(0, 0), (1, 2), (0, 1), (0, 0)], "SYMMETRIC"),
    "spread": lambda x: tf.tile(x, (1, 1, 2, 1)) + tf.broadcast_to(x[:, :1, :1], (1, 9, 16, 6)),
    "reversed": lambda x: tf.reverse(x, [2]),
    "means": lambda x: tf.reduce_mean(x, (1, 2)) + tf.reduce_sum(x, (1, 2)) * 0.1,
    "reductions": lambda x: tf.reduce_max(x, 3, keepdims=True) * tf.reduce_min(x, 2, keepdims=True),
    "product": lambda x: tf.reduce_prod(x, 3),
    "blocks": lambda x: tf.nn.depth_to_space(tf.nn.space_to_depth(x[:, :8], 2), 2) + 1.0,
    "batches": lambda x: tf.nn.pool(x, (2, 2), "MAX", (1, 1), "VALID", dilations=(2, 2)),
    "resized": lambda x: tf.image.resize(x, (17, 5)) + tf.image.resize(x, (17, 5), "nearest"),
    "resized to corners": lambda x: tf.compat.v1.image.resize_bilinear(x, (12, 15), align_corners=True),
    "chosen": lambda x: tf.where(MASK, x, 0.5),
    "opposite": lambda x: tf.cast(tf.logical_not(tf.logical_and(x > 0, x < 1)), tf.float32),
}  # fmt: skip
"""Of TFLite's own converter."""


def made(op, /, kind="NONE", *, operands=(), shape=IMAGE, given=IMAGE, version=1, **options):
    """A network of one operation, as no converter writes it."""
    held = None
    if kind != "NONE":
        held = getattr(schema, f"{kind}T")()
        for key, value in options.items():
            setattr(held, key, value)
    constants = tuple(
        Tensor(name=f"c{i}", dtype=a.dtype.name, shape=a.shape, signature=a.shape, value=a)
        for i, a in enumerate(map(np.asarray, operands))
    )
    ends = [Tensor(name=n, dtype="float32", shape=s, signature=s) for n, s in (("x", given), ("y", shape))]
    operator = Operator(
        op=op, custom=False, version=version, inputs=(0, *range(2, 2 + len(constants))), outputs=(1,),
        options=held, kind=getattr(schema.BuiltinOptions, kind),
    )  # fmt: skip
    return Network(name="net.tflite", tensors=(*ends, *constants), operators=(operator,), input=0, output=1)


BY_HAND = {
    "RELU_N1_TO_1": made("RELU_N1_TO_1"),
    "RELU_0_TO_1": made("RELU_0_TO_1"),
    "HARD_SWISH": made("HARD_SWISH", "HardSwishOptions"),
    "PRELU": made("PRELU", operands=[weights(1, 1, 6)]),
    "L2_NORMALIZATION": made("L2_NORMALIZATION", "L2NormOptions"),
    "SOFTMAX": made("SOFTMAX", "SoftmaxOptions", beta=0.5),
    "ADD": made("ADD", "AddOptions", operands=[weights(6)], fusedActivationFunction=2),
    "MUL": made("MUL", "MulOptions", operands=[weights(6)], fusedActivationFunction=3),
    "RESHAPE": made("RESHAPE", "ReshapeOptions", shape=(1, 432), newShape=[1, -1]),
    "FULLY_CONNECTED": made(
        "FULLY_CONNECTED", "FullyConnectedOptions", operands=[weights(4, 6), weights(4)],
        shape=(1, 9, 8, 4), keepNumDims=True, fusedActivationFunction=1,
    ),
    "DEPTHWISE_CONV_2D": made(
        "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", operands=[weights(1, 3, 3, 6), weights(6)],
        shape=(1, 9, 4, 6), padding=0, strideH=1, strideW=2, depthMultiplier=1,
    ),
    "CONV_2D": made(
        "CONV_2D", "Conv2DOptions", operands=[weights(5, 3, 3, 6), weights(5)], shape=(1, 7, 6, 5), padding=1,
        strideH=1, strideW=1, fusedActivationFunction=2,
    ),
    "MIRROR_PAD": made(
        "MIRROR_PAD", "MirrorPadOptions", operands=[np.int32([[0, 0], [1, 1], [2, 0], [0, 0]])],
        shape=(1, 11, 10, 6), mode=1,
    ),
    "EXPAND_DIMS": made("EXPAND_DIMS", "ExpandDimsOptions", operands=[np.int32(1)], shape=(1, *IMAGE)),
    "BROADCAST_TO": made("BROADCAST_TO", "BroadcastToOptions", operands=[np.int32(IMAGE)], version=2),
    "SQUEEZE": made("SQUEEZE", "SqueezeOptions", given=(1, 9, 1, 6), shape=(1, 9, 6), squeezeDims=[2]),
    "ADD_N": made("ADD_N", "AddNOptions", operands=[weights(*IMAGE)]),
}  # fmt: skip


def held(path):
    """Load a file, which proves it on noise, and hold the frozen graph against LiteRT on other inputs."""
    with quiet():
        source = load_source(str(path))
        frozen = freeze(source)
    inputs = RANDOM.normal(size=(3, *source.input.shape[1:])).astype(np.float32)
    wanted = source.reference(inputs)
    assert wanted.std() > 0
    assert source.output.shape == (1, *wanted.shape[1:])
    got = run_each(frozen.function, inputs)
    np.testing.assert_allclose(got, wanted, atol=2e-5 * max(1.0, np.abs(wanted).max()))
    return source


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Convert a function once and return the file."""
    folder, files = tmp_path_factory.mktemp("tflite"), {}

    def make(case):
        if case not in files:
            with quiet():
                function = tf.function(CASES[case]).get_concrete_function(tf.TensorSpec(IMAGE, tf.float32))
                content = tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()
            files[case] = folder / f"{len(files)}.tflite"
            files[case].write_bytes(content)
        return files[case]

    return make


@pytest.mark.parametrize("case", CASES)
def test_an_operation_gives_what_litert_gives(case, converted):
    assert held(converted(case)).kind == "tflite"


@pytest.mark.parametrize("op", BY_HAND)
def test_an_operation_that_no_converter_writes(op, tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(written(BY_HAND[op]))
    held(path)


def test_every_operation_is_tried(converted):
    tried = {o.op for case in CASES for o in open_tflite(converted(case)).operators}
    constant = {"SHAPE", "PACK", "FILL", "RANGE", "RANK", "ZEROS_LIKE", "DEQUANTIZE", "SLICE"}
    assert set(OPERATIONS) - tried - set(BY_HAND) - constant == set()


def test_what_is_written_anew_is_the_same_network(converted, tmp_path):
    before = open_tflite(converted("conv"))
    (tmp_path / "again.tflite").write_bytes(written(before))
    after = open_tflite(tmp_path / "again.tflite")
    assert [(t.name, t.shape) for t in after.tensors] == [(t.name, t.shape) for t in before.tensors]
    assert [(o.op, o.inputs, o.outputs) for o in after.operators] == [
        (o.op, o.inputs, o.outputs) for o in before.operators
    ]


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (made("CUMSUM", "CumsumOptions", operands=[np.int32(1)]), "CUMSUM 'y' is no operation that"),
        (made("ADD", "AddOptions", operands=[weights(7)]), "ADD 'y' does not fit its inputs"),
        (
            made("ADD", "AddOptions", operands=[weights(6)], fusedActivationFunction=5),
            "activation function 5",
        ),
        (made("GATHER", "GatherOptions"), "GATHER 'y' lacks its input 1"),
        (
            made("FULLY_CONNECTED", "FullyConnectedOptions", operands=[weights(4, 6)], weightsFormat=1),
            "FULLY_CONNECTED 'y' has shuffled weights",
        ),
        (made("CONV_2D", "Conv2DOptions", operands=[weights(5, 3, 3, 6)]), "has strides of (0, 0)"),
        (made("CAST", "CastOptions", outDataType=9), "casts to a type that can't be carried over"),
    ],
    ids=["unknown", "misfit", "fused", "lacking", "shuffled", "strides", "cast"],
)
def test_what_cannot_be_carried_over_is_named(network, said, tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(written(network))
    with quiet(), pytest.raises(ConversionError) as caught:
        load_source(str(path))
    assert said in caught.value.what
    assert caught.value.what.startswith("net.tflite: ")
    assert caught.value.hint
