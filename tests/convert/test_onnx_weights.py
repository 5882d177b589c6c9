"""Weights are quantized as onnxruntime's quantizer does it, without its way from channel to channel."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.artifact import digest
from edgekit.convert.base import Work
from edgekit.convert.observe import calibrate
from edgekit.convert.onnx import CONVERTER
from edgekit.convert.onnx_weights import stored_weights, weight_grids
from edgekit.source import freeze, load_source
from edgekit.source.quiet import quiet

pytestmark = pytest.mark.convert
onnx = pytest.importorskip("onnx", reason="the convert extra is not installed")
quantizer = pytest.importorskip("onnxruntime.quantization.qdq_quantizer")


@pytest.fixture
def theirs(monkeypatch):
    """Let onnxruntime's quantizer do all that it can do."""

    class Whole(quantizer.QDQQuantizer):
        def __init__(self, *given, extra_options, **named):
            options = extra_options | {"AddQDQPairToWeight": False}
            super().__init__(*given, extra_options=options, **named)

    def whole():
        monkeypatch.setattr(quantizer, "QDQQuantizer", Whole)
        monkeypatch.setattr("edgekit.convert.onnx_quantize.weight_grids", lambda _: {})
        monkeypatch.setattr("edgekit.convert.onnx_quantize.stored_weights", lambda proto: proto)

    return whole


@pytest.fixture(scope="module")
def odd(keras, tmp_path_factory):
    """A channel of zeros, one that is all but zero, a dense layer after a flattening, one without a bias."""
    layers = keras.layers
    inputs = layers.Input((32, 32, 3))
    x = layers.Conv2D(4, 3, strides=4, name="some")(inputs)
    x = layers.DepthwiseConv2D(3, name="apart")(x)
    x = layers.Dense(6, use_bias=False)(layers.Flatten()(x))
    network = keras.Model(inputs, layers.Dense(10)(x))
    kernel, bias = network.get_layer("some").get_weights()
    kernel[..., 1], kernel[..., 2] = 0.0, 1e-39
    network.get_layer("some").set_weights([kernel, bias + 3.0])
    path = tmp_path_factory.mktemp("odd") / "odd.keras"
    network.save(path)
    return load_source(str(path))


@pytest.fixture(params=["source", "odd"])
def frozen(request):
    with quiet():
        return freeze(request.getfixturevalue(request.param))


@pytest.mark.parametrize("precision", ["int8", "w8u8"])
def test_the_file_is_the_one_that_the_quantizer_makes(precision, frozen, calibration, theirs, tmp_path):
    with quiet():
        record = calibrate(frozen, calibration, "minmax")
        for path in ("ours", "theirs"):
            if path == "theirs":
                theirs()
            work = Work(frozen=frozen, calibration=calibration, record=record)
            CONVERTER.convert(work, precision, tmp_path / path)
    assert digest(tmp_path / "ours") == digest(tmp_path / "theirs")


def network(nodes, **held):
    value = onnx.helper.make_tensor_value_info
    tensors = [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in held.items()]
    ends = [[value(name, onnx.TensorProto.FLOAT, None)] for name in ("x", "y")]
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", *ends, tensors))


@pytest.mark.parametrize(
    ("op", "settings", "axis"), [("MatMul", {}, 1), ("Gemm", {}, 1), ("Gemm", {"transB": 1}, 0)]
)
def test_each_output_channel_has_its_largest_value_at_127(op, settings, axis, rng):
    weight = rng.normal(size=(5, 5)).astype(np.float32)
    node = onnx.helper.make_node(op, ["x", "w"], ["y"], **settings)
    (grids,) = weight_grids(network([node], w=weight).graph).values()
    scales = np.array([grid["scale"] for grid in grids])
    assert {(grid["axis"], int(grid["zero_point"])) for grid in grids} == {(axis, 0)}
    np.testing.assert_allclose(scales * 127, np.abs(weight).max(axis=1 - axis), rtol=1e-6)


def test_a_weight_that_is_read_both_ways_is_left_to_the_quantizer():
    nodes = [
        onnx.helper.make_node("Gemm", ["x", "w"], ["z"]),
        onnx.helper.make_node("Gemm", ["z", "w"], ["y"], transB=1),
    ]
    assert weight_grids(network(nodes, w=np.eye(3, dtype=np.float32)).graph) == {}


def test_what_is_quantized_already_is_only_read():
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"], axis=0),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=0),
        onnx.helper.make_node("QuantizeLinear", ["x", "s1", "z1"], ["a"]),
        onnx.helper.make_node("MatMul", ["a", "d"], ["y"]),
    ]
    proto = network(
        nodes,
        w=np.array([[1.0, -2.0], [300.0, 0.0]], np.float32),
        s=np.array([1.0, 2.0], np.float32),
        z=np.zeros(2, np.int8),
        s1=np.float32(1),
        z1=np.int8(0),
        unread=np.float32(3),
    )
    graph = stored_weights(proto).graph
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert sorted(held) == ["s", "s1", "w_quantized", "z", "z1"]
    assert held["w_quantized"].tolist() == [[1, -2], [127, 0]]
    assert [node.op_type for node in graph.node] == ["DequantizeLinear", "QuantizeLinear", "MatMul"]
    assert graph.node[0].input[0] == "w_quantized"
