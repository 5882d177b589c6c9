"""Dead channels are taken out of the way where all who read them can do without, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf

from edgekit.convert import convert, from_array
from edgekit.convert.observe import calibrate
from edgekit.convert.ptq.repair import LEAST, STILL, repaired
from edgekit.convert.ptq.score import score
from edgekit.convert.ptq.tune import _refrozen, changed, tune
from edgekit.convert.ptq.twin import Mending, run_twin
from edgekit.convert.tflite import CONVERTER
from edgekit.recipe import parse_recipes
from edgekit.source import freeze, load_source
from edgekit.source.freezing import snr

pytestmark = pytest.mark.convert
SHAPE = (8, 8, 3)
DEAD = 2
HUGE = 5000.0


def holding(layers, shape):
    """Return a kernel whose output DEAD does not depend on the input, and the bias that makes it huge."""
    kernel = layers.weights(*shape)
    kernel[..., DEAD] = 0.0
    bias = layers.random.normal(size=shape[-1]) * 0.1
    bias[DEAD] = HUGE
    return kernel, bias


def repair(found):
    constants, dead = repaired(found.graph, found.channels, found.record.spans)
    return constants, dead, changed(found.graph, constants)


def pointwise(net, reader=None):
    layers = net(3)

    def call(x):
        kernel, bias = holding(layers, (3, 3, 3, 6))
        x = tf.nn.relu(layers.conv(x, 6, "a", kernel=kernel, bias=bias))
        x = tf.nn.relu(weak(layers, x) if reader is None else reader(layers, x))
        return tf.identity(layers.dense(tf.reduce_mean(x, [1, 2]), 4, "c"))

    return call


def weak(layers, x):
    """Read what is huge with weights as small."""
    kernel = layers.weights(1, 1, 6, 5)
    kernel[:, :, DEAD] /= HUGE
    return layers.conv(x, 5, "b", size=1, kernel=kernel)


def test_a_dead_channel_goes_into_the_bias_behind_it(known, net, outputs_of):
    found = known(pointwise(net), SHAPE)
    constants, dead, graph = repair(found)
    assert dead == {"a/bias": 1}
    assert constants["a/bias"][DEAD] == 0.0
    assert not constants["a"][..., DEAD].any()
    assert not constants["b"][:, :, DEAD, :].any()
    weights = found.graph.constants[found.graph.nodes["b"].input[1]][0, 0, DEAD]
    before = found.graph.constants[found.graph.nodes["b/bias"].input[1]]
    np.testing.assert_allclose(constants["b/bias"], before + weights * HUGE, rtol=1e-5)
    inputs = found.data.inputs[:8]
    assert snr(outputs_of(found.frozen, inputs), outputs_of(graph, inputs)) >= 80


def test_what_lives_is_not_touched(known, net):
    found = known(pointwise(net), SHAPE)
    constants, _, graph = repair(found)
    alive = np.arange(6) != DEAD
    for name in ("a", "b"):
        before = found.graph.constants[found.graph.nodes[name].input[1]]
        kept = constants[name]
        kept, before = (v[..., alive] if name == "a" else v[:, :, alive] for v in (kept, before))
        np.testing.assert_array_equal(kept, before)
    assert set(constants) == {"a", "a/bias", "b", "b/bias"}
    for name in ("c", "c/bias"):
        np.testing.assert_array_equal(
            graph.constants[graph.nodes[name].input[1]],
            found.graph.constants[found.graph.nodes[name].input[1]],
        )


def twin_db(graph, found, record):
    mending = Mending(ranges=record.ranges, biases=False)
    twin = run_twin(graph, found.shapes, found.data.inputs, mending)
    return score(twin.wanted, twin.got).snr_db


def test_the_twin_no_longer_collapses(known, net):
    found = known(pointwise(net), SHAPE)
    _, _, graph = repair(found)
    record = calibrate(_refrozen(found.frozen, graph), found.data, "minmax")
    name = next(n for n in graph.order() if graph.nodes[n].op == "Relu")
    assert found.record.ranges[name][1] == pytest.approx(HUGE)
    assert record.ranges[name][1] < 20
    before, after = twin_db(found.graph, found, found.record), twin_db(graph, found, record)
    assert before < 15
    assert after > 25


def test_a_convolution_without_padding_takes_it_too(known, net, outputs_of):
    found = known(pointwise(net, lambda layers, x: layers.conv(x, 5, "b", padding="VALID")), SHAPE)
    constants, dead, graph = repair(found)
    assert dead == {"a/bias": 1}
    assert constants["a/bias"][DEAD] == 0.0
    inputs = found.data.inputs[:8]
    assert snr(outputs_of(found.frozen, inputs), outputs_of(graph, inputs)) >= 80


LEFT = {
    "padded": lambda layers, x: layers.conv(x, 5, "b"),
    "depthwise": lambda layers, x: layers.depthwise(x, "b", padding="VALID"),
    "residual": lambda layers, x: layers.conv(x, 6, "b", size=1) + x,
    "pooled with padding": lambda layers, x: layers.conv(
        tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 5, "b", size=1
    ),
    "squared": lambda layers, x: layers.conv(tf.square(x), 5, "b", size=1),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_somebody_needs_is_left(name, known, net):
    """Counted as dead, and untouched: at a border or in a sum the value is no constant addend."""
    found = known(pointwise(net, LEFT[name]), SHAPE)
    constants, dead, graph = repair(found)
    assert dead["a/bias"] == 1
    assert constants == {}
    assert graph is found.graph


def test_two_readers_both_take_it(known, net, outputs_of):
    def both(layers, x):
        return tf.concat([layers.conv(x, 3, "b", size=1), layers.conv(x, 2, "e", padding="SAME", size=1)], 3)

    found = known(pointwise(net, both), SHAPE)
    constants, dead, graph = repair(found)
    assert dead == {"a/bias": 1}
    assert {"b", "b/bias", "e", "e/bias", "a", "a/bias"} == set(constants)
    inputs = found.data.inputs[:8]
    assert snr(outputs_of(found.frozen, inputs), outputs_of(graph, inputs)) >= 80


def test_one_reader_that_cannot_take_it_keeps_it_for_all(known, net):
    def both(layers, x):
        return tf.concat([layers.conv(x, 3, "b", size=1), layers.conv(x, 2, "e")], 3)

    constants, dead, _ = repair(known(pointwise(net, both), SHAPE))
    assert dead == {"a/bias": 1}
    assert constants == {}


def test_a_network_that_lives_is_left_alone(known, net):
    layers = net(1)

    def call(x):
        x = tf.nn.relu(layers.conv(x, 6, "a"))
        return tf.identity(layers.dense(tf.reduce_mean(x, [1, 2]), 4, "b"))

    found = known(call, SHAPE)
    assert repair(found)[:2] == ({}, {})


def test_a_channel_behind_the_activation_is_dead_only_before_it(known, net):
    """A channel that its activation function always cuts varies where it is made: it is not repaired."""
    layers = net(1)

    def call(x):
        x = tf.nn.relu(layers.conv(x, 3, "a", bias=np.array([0.0, -50.0, 0.0])))
        return tf.identity(layers.dense(tf.reduce_mean(x, [1, 2]), 4, "b"))

    assert repair(known(call, SHAPE))[:2] == ({}, {})


def test_several_dead_channels_in_a_row_of_layers(known, net, outputs_of):
    """What dies in one layer changes the bias of the next, whose own dead channel is still found."""
    layers = net(4)

    def call(x):
        for name, width in (("a", 6), ("b", 5)):
            kernel, bias = holding(layers, (1, 1, int(x.shape[-1]), width))
            x = tf.nn.relu(layers.conv(x, width, name, size=1, kernel=kernel, bias=bias))
        x = layers.conv(x, 4, "c", size=1)
        return tf.reduce_mean(x, [1, 2])

    found = known(call, SHAPE)
    constants, dead, graph = repair(found)
    assert dead == {"a/bias": 1, "b/bias": 1}
    assert constants["a/bias"][DEAD] == constants["b/bias"][DEAD] == 0.0
    inputs = found.data.inputs[:8]
    assert snr(outputs_of(found.frozen, inputs), outputs_of(graph, inputs)) >= 80


@pytest.fixture
def shrunken(keras, tmp_path):
    """A batch norm whose variance is 5.6e-45 where a depthwise convolution gives nothing, as training
    leaves it: folded, it multiplies by 316 and makes a constant of a thousand."""
    layers = keras.layers
    keras.utils.set_random_seed(3)
    given = layers.Input(SHAPE)
    x = layers.ReLU()(layers.Conv2D(6, 1, name="a")(given))
    x = layers.BatchNormalization(name="norm", epsilon=1e-5)(layers.DepthwiseConv2D(3, name="b")(x))
    x = layers.ReLU()(layers.Conv2D(5, 1, name="c")(x))
    network = keras.Model(given, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
    kernel, bias = network.get_layer("b").get_weights()
    kernel[:, :, DEAD] = 1e-22
    network.get_layer("b").set_weights([kernel, bias])
    gamma, beta, mean, variance = network.get_layer("norm").get_weights()
    variance[DEAD], mean[DEAD] = 5.6e-45, -3.0
    network.get_layer("norm").set_weights([gamma, beta, mean, variance])
    kernel, bias = network.get_layer("c").get_weights()
    kernel[:, :, DEAD] *= 1e-3
    network.get_layer("c").set_weights([kernel, bias])
    network.save(tmp_path / "shrunken.keras")
    return tmp_path / "shrunken.keras"


def test_a_batch_norm_with_no_variance_left(shrunken, tmp_path, noise):
    """The real artifact, made without and with repair, against the float network."""
    source = load_source(str(shrunken))
    data = from_array(noise(16, SHAPE))
    frozen = freeze(source)
    tuned = tune(frozen, data, calibrate(frozen, data, "minmax"), ("repair",))
    assert sum(tuned.dead.values()) == 1
    assert tuned.methods == ("repair",)
    assert tuned.before.snr_db < 15
    assert tuned.after.snr_db > tuned.before.snr_db + 15
    reached = {}
    for method in ("none", "repair"):
        made = convert(
            source, parse_recipes(["tflite-int8", "tflite-fp32"]), tmp_path / method, calibration=data,
            tuning=(method,),
        )  # fmt: skip
        found = {f.recipe for f in made.failed}
        assert "tflite-fp32" not in found
        if "tflite-int8" not in found:
            path = made.bundle.path_of(made.bundle.artifact("tflite-int8"))
            reached[method] = centred_db(frozen.outputs(data.inputs), CONVERTER.run(path, data.inputs))
    assert reached["repair"] > 15
    assert reached["repair"] > reached.get("none", 0.0) + 10


def centred_db(wanted, got):
    return score(wanted, got).snr_db


@pytest.mark.parametrize(("share", "dead"), [(STILL / 4, True), (STILL * 40, False)])
def test_where_life_begins(share, dead, known, net):
    """A channel that varies by some millionths of the tensor's largest value lives."""
    layers = net(6)

    def call(x):
        kernel, bias = holding(layers, (1, 1, 3, 6))
        kernel[0, 0, 0, DEAD] = share * HUGE / 8  # the noise spans about eight
        x = tf.nn.relu(layers.conv(x, 6, "a", size=1, kernel=kernel, bias=bias))
        return tf.reduce_mean(layers.conv(x, 2, "b", size=1), [1, 2])

    assert bool(repair(known(call, SHAPE))[1]) == dead


@pytest.mark.parametrize("count", [LEAST - 1, LEAST])
def test_a_few_inputs_say_nothing_about_death(count, known, net, noise):
    found = known(pointwise(net), SHAPE, noise(count, SHAPE))
    tuned = tune(found.frozen, found.data, found.record, ("repair",))
    assert tuned.methods == (("repair",) if count == LEAST else ())
    assert bool(tuned.dead) == (count == LEAST)
