"""The 8-bit twin: near to the real artifact, its biases brought back, its constants fit for storage."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf

from edgekit.convert.base import Work
from edgekit.convert.observe import calibrate
from edgekit.convert.ptq.execute import last_sums
from edgekit.convert.ptq.grids import LEVELS, weight_rows, weight_steps
from edgekit.convert.ptq.look import layers_of
from edgekit.convert.ptq.score import score
from edgekit.convert.ptq.tune import _refrozen, changed
from edgekit.convert.ptq.twin import Mending, run_twin
from edgekit.convert.tflite import CONVERTER
from edgekit.source import freeze, load_source
from edgekit.source.quiet import quiet

pytestmark = pytest.mark.convert
SHAPE = (12, 12, 3)


def mobile(net):
    """Return a call with every operation of a mobile network, residual included."""
    layers = net(2)

    def call(x):
        x = tf.nn.relu6(layers.conv(x, 8, "stem", stride=2))
        y = tf.nn.relu6(layers.depthwise(layers.conv(x, 8, "wide", size=1), "depthwise"))
        x = x + layers.conv(y, 8, "narrow", size=1)
        left, right = tf.split(x, 2, axis=3)
        x = tf.concat([tf.nn.relu(layers.conv(left, 6, "left")), tf.nn.max_pool2d(right, 3, 1, "SAME")], 3)
        return tf.nn.softmax(layers.dense(tf.reduce_mean(x, [1, 2]), 7, "head"))

    return call


@pytest.fixture(scope="module")
def small(known, net, noise):
    scale = np.linspace(0.3, 1.5, 24)[:, None, None, None].astype(np.float32)
    return known(mobile(net), SHAPE, noise(24, SHAPE) * scale)


def twin_of(found, *, biases=False, rounding=False, ranges=None):
    mending = Mending(
        ranges=found.record.ranges if ranges is None else ranges, biases=biases, rounding=rounding
    )
    return run_twin(found.graph, found.shapes, found.data.inputs, mending)


def litert(frozen, record, data, path):
    """Run the int8 artifact of a frozen graph with these ranges in LiteRT."""
    work = Work(frozen=frozen, calibration=data, record=record)
    with quiet():
        CONVERTER.convert(work, "int8", path)
        return CONVERTER.run(path, data.inputs)


def before_softmax(outputs):
    """Undo a softmax up to a constant, which the score takes out."""
    return np.log(np.maximum(outputs, 1 / 512))


@pytest.mark.parametrize("mending", [{}, {"biases": True}, {"biases": True, "rounding": True}],
                         ids=["plain", "biases", "rounding"])  # fmt: skip
def test_the_twin_tells_what_the_artifact_will_give(mending, known, net, noise, tmp_path):
    call = mobile(net)
    found = known(lambda x: tf.identity(before_the_end(call, x)), SHAPE, noise(24, SHAPE))
    twin = twin_of(found, **mending)
    frozen = _refrozen(found.frozen, changed(found.graph, twin.constants))
    record = calibrate(frozen, found.data, "minmax")
    record = type(record)(
        sha256=record.sha256, count=record.count, method="minmax", ranges=found.record.ranges,
        prints=record.prints,
    )  # fmt: skip
    real = litert(frozen, record, found.data, tmp_path / "net.tflite")
    lost = score(twin.wanted, twin.got).snr_db
    apart = score(real, twin.got).snr_db
    assert 15 < lost < 50
    assert apart > lost + 4


def before_the_end(call, x):
    """Return what goes into the softmax that ends a call."""
    return call(x).op.inputs[0]


def test_a_softmax_at_the_end_is_left_out(small, outputs_of):
    assert last_sums(small.graph) == "head/bias"
    twin = twin_of(small)
    assert twin.wanted.shape == twin.got.shape == (24, 7)
    wanted = outputs_of(small.frozen, small.data.inputs)
    exponents = np.exp(twin.wanted - twin.wanted.max(axis=1, keepdims=True))
    np.testing.assert_allclose(exponents / exponents.sum(axis=1, keepdims=True), wanted, atol=1e-5)


def test_other_ends_are_kept(known, net):
    layers = net(1)

    def call(x):
        return tf.nn.relu(layers.dense(tf.reduce_mean(layers.conv(x, 4, "a"), [1, 2]), 3, "b"))

    found = known(call, SHAPE)
    assert found.graph.nodes[last_sums(found.graph)].op == "Relu"
    assert (twin_of(found).wanted >= 0).all()


def test_without_ranges_only_weights_are_rounded(small):
    twin = twin_of(small, ranges={})
    assert score(twin.wanted, twin.got).snr_db > score(*ends(twin_of(small))).snr_db
    assert score(twin.wanted, twin.got).snr_db < 80


def ends(twin):
    return twin.wanted, twin.got


def test_the_float_side_is_the_float_network(small):
    """Whatever is done to the twin."""
    plain, mended = twin_of(small), twin_of(small, biases=True, rounding=True)
    np.testing.assert_array_equal(plain.wanted, mended.wanted)


def test_nothing_is_done_to_the_graph(small):
    before = {name: value.copy() for name, value in small.graph.constants.items()}
    twin_of(small, biases=True, rounding=True)
    assert set(before) == set(small.graph.constants)
    for name, value in before.items():
        np.testing.assert_array_equal(small.graph.constants[name], value, err_msg=name)


def shifted(known, net, noise):
    """A network whose 8-bit weights and ranges move means: ranges cut short on one side."""
    layers = net(5)

    def call(x):
        x = tf.nn.relu(layers.conv(x, 12, "a"))
        x = tf.nn.relu(layers.conv(x, 12, "b"))
        return tf.identity(layers.dense(tf.reduce_mean(x, [1, 2]), 5, "c"))

    found = known(call, SHAPE, noise(32, SHAPE))
    ranges = {name: (low * 0.6, high * 0.6) for name, (low, high) in found.record.ranges.items()}
    return found, {**ranges, "c/bias": found.record.ranges["c/bias"]}


def test_corrected_biases_bring_the_means_back(known, net, noise):
    found, ranges = shifted(known, net, noise)
    plain, mended = (twin_of(found, ranges=ranges, biases=biases) for biases in (False, True))
    drift = [np.abs((twin.got - twin.wanted).mean(axis=0)).max() for twin in (plain, mended)]
    assert drift[1] < 0.2 * drift[0]
    assert score(*ends(mended)).snr_db > score(*ends(plain)).snr_db + 3
    assert {"a/bias", "b/bias", "c/bias"} <= set(mended.constants)
    assert not {"a/bias", "b/bias", "c/bias"} & set(plain.constants)


def test_weights_come_out_on_their_grids(small):
    for rounding in (False, True):
        twin = twin_of(small, rounding=rounding)
        names = {"stem", "wide", "depthwise", "narrow", "left", "head"}
        assert names == set(twin.constants)
        for name in names:
            node = small.graph.nodes[name]
            steps = weight_steps(weight_rows(small.graph.constants[node.input[1]].astype(float), node))
            counts = weight_rows(twin.constants[name], node) / steps
            np.testing.assert_allclose(counts, np.rint(counts), atol=1e-5, err_msg=name)
            assert np.abs(counts).max() <= LEVELS + 1e-5


def test_biases_behind_weights_of_nothing_fit_into_32_bits(known, net, noise, tmp_path):
    layers = net(6)
    kernel = layers.weights(3, 3, 3, 4)
    kernel[..., 1] *= 1e-12

    def call(x):
        x = tf.nn.relu(layers.conv(x, 4, "a", kernel=kernel, bias=[0.1, 7.0, -0.2, 0.3]))
        return tf.identity(layers.dense(tf.reduce_mean(x, [1, 2]), 3, "b"))

    found = known(call, SHAPE, noise(16, SHAPE))
    twin = twin_of(found)
    steps = weight_steps(weight_rows(twin.constants["a"], found.graph.nodes["a"]))[0, :, 0]
    assert (np.abs([0.1, 7.0, -0.2, 0.3]) / (found.record.grid("input").scale * steps) < 2**31).all()
    assert score(*ends(twin)).snr_db > 25
    frozen = _refrozen(found.frozen, changed(found.graph, twin.constants))
    real = litert(frozen, calibrate(frozen, found.data, "minmax"), found.data, tmp_path / "net.tflite")
    assert score(twin.wanted, real).snr_db > 25


def looked_at(found, constants):
    inputs, ranges = found.data.inputs[:4], found.record.ranges
    return layers_of(found.graph, found.shapes, inputs, ranges, constants, biased=True)


def test_layers_say_what_each_stored_tensor_lost(small):
    constants = twin_of(small, biases=True).constants
    found = looked_at(small, constants)
    layers = {layer.tensor: layer for layer in found}
    assert next(iter(layers)) == "input"
    assert list(layers)[-1] == "head/bias"
    assert layers["input"].snr_db == layers["input"].own_snr_db
    assert layers["head/bias"].snr_db < layers["head/bias"].own_snr_db
    assert {layer.op for layer in found} >= {"Relu6", "AddV2", "ConcatV2", "MaxPool", "BiasAdd"}
    for layer in found:
        low, high = small.record.ranges[layer.tensor]
        assert layer.low <= min(low, 0) + (high - low) / 255
        assert layer.high >= max(high, 0) - (high - low) / 255
        assert layer.own_snr_db > 20
        assert layer.saturated <= 0.1
    made = [name for name, layer in layers.items() if layer.weights_snr_db is not None]
    assert "head/bias" in made
    assert "input" not in made
    assert not any(layers[name].op == "MaxPool" for name in made)


@pytest.mark.parametrize("name", ["squeezenet_1.1", "mobilenet_v2_0.35", "shufflenet_v2_0.5x"])
def test_zoo_networks_have_twins(name, noise):
    from types import SimpleNamespace

    from edgekit.convert import from_array
    from edgekit.convert.ptq.execute import shapes_of
    from edgekit.source.graph import Graph

    frozen = freeze(load_source(name, resolution=32, classes=10))
    data = from_array(noise(8, (32, 32, 3)))
    found = SimpleNamespace(
        graph=Graph(frozen.graph_def, "output"), shapes=shapes_of(frozen.function), data=data,
        record=calibrate(frozen, data, "minmax"),
    )  # fmt: skip
    plain, mended = twin_of(found), twin_of(found, biases=True)
    assert score(*ends(plain)).snr_db > 5
    assert score(*ends(mended)).snr_db > score(*ends(plain)).snr_db - 1
