"""TFLite files: networks become every format; what is damaged, quantized or open is refused in a line."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.convert import convert, from_array
from edgekit.errors import ConversionError, EdgeKitError, UsageError
from edgekit.recipe import parse_recipes
from edgekit.source import load_source, source_kind
from edgekit.source.quiet import quiet
from edgekit.source.tflite.file import open_tflite
from edgekit.source.tflite.network import written

pytestmark = pytest.mark.convert
tf = pytest.importorskip("tensorflow", reason="the convert extra is not installed")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")
FORMATS = ("tflite-fp32", "tflite-int8", "onnx-fp32", "onnx-int8", "coreml-fp32")


@pytest.fixture(scope="module")
def converter(small):
    """TFLite's own converter over the small Keras network."""

    def make(**settings_):
        with quiet():
            function = tf.function(lambda x: small(x, training=False))
            spec = tf.TensorSpec(settings_.pop("shape", (1, 32, 32, 3)), tf.float32)
            made = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(spec)])
            for key, value in settings_.items():
                setattr(made, key, value)
            return made.convert()

    return make


@pytest.fixture(scope="module")
def content(converter):
    return bytes(converter())


@pytest.fixture
def put(tmp_path):
    def write(content, name="net.tflite"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def refused(path, **options):
    with pytest.raises(UsageError) as caught:
        load_source(str(path), **options)
    assert caught.value.hint
    return caught.value


def test_a_network_becomes_every_format(content, small, put, tmp_path):
    path = put(content)
    assert source_kind(str(path)) == "tflite"
    source = load_source(str(path))
    assert (source.name, source.kind, source.input.layout) == ("net.tflite", "tflite", "NHWC")
    assert source.input.shape == (1, 32, 32, 3)
    assert source.output.shape == (1, 10)
    inputs = np.random.default_rng(2).normal(size=(6, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(source.reference(inputs), np.asarray(small(inputs)), atol=1e-5)
    result = convert(source, parse_recipes(FORMATS), tmp_path / "bundle", calibration=from_array(inputs))
    assert [str(f.error) for f in result.failed] == []
    parity = {a.recipe: a.parity.snr_db for a in result.bundle.artifacts}
    assert set(parity) == set(FORMATS)
    assert min(parity[r] for r in parity if r.endswith("fp32")) > 90
    golden = result.bundle.golden_arrays()
    np.testing.assert_array_equal(golden[1], source.reference(golden[0]))


def test_16_bit_weights_are_float_enough(converter, put, content):
    half = put(converter(optimizations=[tf.lite.Optimize.DEFAULT],
                         target_spec=tf.lite.TargetSpec(supported_types=[tf.float16])))  # fmt: skip
    inputs = np.random.default_rng(2).normal(size=(2, 32, 32, 3)).astype(np.float32)
    whole = load_source(str(put(content, "whole.tflite"))).reference(inputs)
    np.testing.assert_allclose(load_source(str(half)).reference(inputs), whole, atol=0.01)


def test_8_bit_weights_are_quantized_already(put):
    kernel = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    with quiet():
        function = tf.function(lambda x: tf.matmul(x, kernel))
        made = function.get_concrete_function(tf.TensorSpec((1, 64)))
        converter = tf.lite.TFLiteConverter.from_concrete_functions([made])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        said = refused(put(converter.convert())).what
    assert said.startswith("net.tflite is quantized already: '")
    assert said.endswith("is int8 with a scale")


def test_an_open_batch_becomes_one(put):
    """Reshapes of an open batch read the shape while they run; here it is known."""
    layers = tf.keras.layers
    image = layers.Input((8, 8, 2))
    hidden = layers.Reshape((16, 8))(layers.Conv2D(2, 3, padding="same")(image))
    network = tf.keras.Model(image, layers.Dense(3)(layers.Flatten()(hidden)))
    with quiet():
        function = tf.function(network).get_concrete_function(tf.TensorSpec((None, 8, 8, 2)))
        path = put(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
    assert {"SHAPE", "PACK"} <= {o.op for o in open_tflite(path).operators}
    source = load_source(str(path))
    assert source.input.shape == (1, 8, 8, 2)
    assert source.output.shape == (1, 3)


def test_an_open_size_is_asked_for(put):
    with quiet():
        function = tf.function(lambda x: tf.reduce_mean(tf.nn.max_pool2d(x, 2, 2, "SAME"), (1, 2)))
        made = function.get_concrete_function(tf.TensorSpec((None, None, None, 3)))
        path = put(tf.lite.TFLiteConverter.from_concrete_functions([made]).convert())
    assert refused(path).what == "net.tflite leaves its input's size open"
    assert load_source(str(path), resolution=16).input.shape == (1, 16, 16, 3)


def test_a_fixed_size_and_batch_stay(content, converter, put):
    assert "has a fixed input of (1, 32, 32, 3)" in refused(put(content), resolution=16).what
    assert "has a fixed batch of 4" in refused(put(converter(shape=(4, 32, 32, 3)))).what
    assert "is no .onnx file" in refused(put(content), input_shape=(1, 32, 32, 3)).what


def test_an_input_with_channels_first_stays_so(put):
    with quiet():
        function = tf.function(lambda x: tf.nn.relu(tf.transpose(x, (0, 2, 3, 1))))
        made = function.get_concrete_function(tf.TensorSpec((1, 3, 8, 8)))
        source = load_source(str(put(tf.lite.TFLiteConverter.from_concrete_functions([made]).convert())))
    assert source.input.layout == "NCHW"


def changed(content, put, change):
    network = open_tflite(put(content))
    return put(written(change(network)))


def test_weights_that_are_not_finite_are_named(content, put):
    def spoil(network):
        index = next(i for i, t in enumerate(network.tensors) if t.value is not None and t.value.ndim == 4)
        broken = network.tensors[index].value.copy()
        broken.reshape(-1)[:2] = np.nan, np.inf
        tensors = list(network.tensors)
        tensors[index] = dataclasses.replace(tensors[index], name="stem", value=broken)
        return dataclasses.replace(network, tensors=tuple(tensors))

    said = refused(changed(content, put, spoil)).what
    assert said.startswith("net.tflite has weights that are not finite: 2 of ")
    assert said.endswith(" in stem")


def test_several_inputs_are_refused(content, put):
    model = schema.ModelT.InitFromPackedBuf(bytearray(content))
    model.subgraphs[0].inputs = [*model.subgraphs[0].inputs, 1]
    assert "net.tflite has 2 inputs" in refused(put(packed(model))).what


def test_several_subgraphs_are_refused(content, put):
    model = schema.ModelT.InitFromPackedBuf(bytearray(content))
    model.subgraphs.append(model.subgraphs[0])
    assert "net.tflite has 2 subgraphs" in refused(put(packed(model))).what


def test_an_integer_input_is_refused(content, put):
    model = schema.ModelT.InitFromPackedBuf(bytearray(content))
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].type = schema.TensorType.UINT8
    assert "is uint8, not float32" in refused(put(packed(model))).what


def test_a_custom_operation_is_named(content, put):
    model = schema.ModelT.InitFromPackedBuf(bytearray(content))
    code = model.operatorCodes[0]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, "Magic"
    with pytest.raises(ConversionError, match=r"net\.tflite: Magic '.*' is a custom operation"):
        load_source(str(put(packed(model))))


def packed(model):
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_a_truncated_file_is_damaged(content, put, share):
    said = refused(put(content[: math.floor(len(content) * share)])).what
    assert said == "net.tflite is damaged or no TFLite file"


def test_a_foreign_file_is_damaged(put):
    for foreign in (b"PK\x03\x04 and more", b"\x00" * 4 + b"TFL3", b"\xff" * 4 + b"TFL3" + b"\xff" * 64):
        assert "is damaged or no TFLite file" in refused(put(foreign)).what


def test_a_list_that_is_longer_than_the_file_is_not_read(content, put):
    """Many tables that point to one long list would be read for hours."""
    model = schema.Model.GetRootAs(content, 0)
    place = model.Subgraphs(0)._tab.Pos
    spoiled = bytearray(content)
    vector = model.Subgraphs(0)._tab.Offset(4)  # the tensors
    at = place + vector
    at += int.from_bytes(content[at : at + 4], "little")
    spoiled[at : at + 4] = (2**31 - 1).to_bytes(4, "little")
    assert "is damaged or no TFLite file" in refused(put(bytes(spoiled))).what


@pytest.fixture(scope="module")
def tiny():
    """A convolution and a mean: short enough to be spoiled in every place."""
    kernel = np.random.default_rng(0).normal(size=(2, 2, 3, 2)).astype(np.float32)
    with quiet():
        function = tf.function(lambda x: tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME")), 3))
        made = function.get_concrete_function(tf.TensorSpec((1, 6, 6, 3)))
        return bytes(tf.lite.TFLiteConverter.from_concrete_functions([made]).convert())


@settings(
    max_examples=120, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(st.data())
def test_a_hostile_file_is_refused_or_right(tiny, put, data):
    """Whatever comes of spoiled bytes is one of our errors, in one line, or a source that was proved."""
    spoiled = bytearray(tiny)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(tiny) - 4))
        width = data.draw(st.sampled_from([1, 4]))
        value = data.draw(st.sampled_from([0, 1, 2, 9, 127, 255, 2**31 - 1, 2**32 - 1, 2**24, len(tiny)]))
        spoiled[place : place + width] = (value % 256**width).to_bytes(width, "little")
    path, refusal = put(bytes(spoiled)), None
    try:
        source = load_source(str(path))
    except EdgeKitError as error:
        refusal = error
    if refusal is None:
        assert source.input.dtype == source.output.dtype == "float32"
    else:
        assert "\n" not in str(refusal)
        assert refusal.hint
