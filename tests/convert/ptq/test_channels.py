"""Channels that must be scaled alike have one class; what nobody may scale is FIXED."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.convert.ptq.channels import FIXED, channels_of
from edgekit.convert.ptq.equalize import Factors, equalized
from edgekit.convert.ptq.execute import shapes_of
from edgekit.convert.ptq.tune import changed
from edgekit.source import freeze, load_source
from edgekit.source.freezing import snr
from edgekit.source.graph import Graph

pytestmark = pytest.mark.convert
SHAPE = (6, 6, 3)


def different(*rows):
    """Whether all classes in rows are different from each other and none is FIXED."""
    joined = np.concatenate(rows)
    return len(np.unique(joined)) == len(joined) and FIXED not in joined


def test_a_chain_has_a_class_a_channel(known, net):
    layers = net()

    def call(x):
        x = tf.nn.relu(layers.conv(x, 5, "a"))
        x = tf.nn.relu(layers.depthwise(tf.nn.max_pool2d(x, 2, 2, "VALID"), "b"))
        x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
        x = tf.nn.relu(layers.conv(x, 4, "c", padding="VALID"))
        return tf.identity(layers.dense(tf.reduce_mean(x, [1, 2]), 2, "d"))

    found = known(call, SHAPE).channels
    assert different(found.made["a"], found.made["b"], found.made["c"])
    assert (found.read["a"] == FIXED).all()  # the network's input
    assert (found.made["d"] == FIXED).all()  # its output
    np.testing.assert_array_equal(found.read["b"], found.made["a"])
    np.testing.assert_array_equal(found.read["c"], found.made["b"])
    np.testing.assert_array_equal(found.read["d"], found.made["c"])
    np.testing.assert_array_equal(found.tensors["a/bias"], found.made["a"])
    assert found.count == 1 + 5 + 5 + 4 + 2


def test_a_residual_ties_both_sides(known, net):
    layers = net()

    def call(x):
        x = tf.nn.relu(layers.conv(x, 4, "a"))
        y = tf.nn.relu(layers.conv(x, 6, "b"))
        x = tf.nn.relu(x + layers.conv(y, 4, "c"))
        return tf.identity(layers.dense(tf.reduce_mean(x, [1, 2]), 2, "d"))

    found = known(call, SHAPE).channels
    np.testing.assert_array_equal(found.made["a"], found.made["c"])
    assert different(found.made["a"], found.made["b"])
    np.testing.assert_array_equal(found.read["b"], found.made["a"])
    np.testing.assert_array_equal(found.read["d"], found.made["c"])


def test_a_concatenation_and_a_split_move_channels(known, net):
    layers = net()

    def call(x):
        one, two = (tf.nn.relu(layers.conv(x, 4, name)) for name in "ab")
        first, second = tf.split(tf.concat([two, one], 3), [2, 6], axis=3)
        left, right = layers.conv(first, 2, "c"), layers.conv(second, 2, "d")
        return tf.reduce_mean(tf.concat([left, right], 3), [1, 2])

    found = known(call, SHAPE).channels
    assert different(found.made["a"], found.made["b"])
    np.testing.assert_array_equal(found.read["c"], found.made["b"][:2])
    np.testing.assert_array_equal(found.read["d"], [*found.made["b"][2:], *found.made["a"]])
    assert not found.made["c"].any()
    assert not found.made["d"].any()


def test_a_channel_shuffle_is_followed(known, net):
    layers = net()

    def call(x):
        x = tf.nn.relu(layers.conv(x, 6, "a"))
        x = tf.transpose(tf.reshape(x, [1, 6, 6, 2, 3]), [0, 1, 2, 4, 3])
        x = tf.reshape(x, [1, 6, 6, 6])
        return tf.reduce_mean(layers.conv(x, 2, "b"), [1, 2])

    found = known(call, SHAPE).channels
    np.testing.assert_array_equal(found.read["b"], found.made["a"][[0, 3, 1, 4, 2, 5]])


@settings(max_examples=15)
@given(order=st.permutations(range(5)), begin=st.integers(0, 2), length=st.integers(1, 3))
def test_any_gathering_and_slicing_is_followed(known, net, order, begin, length):
    layers = net()

    def call(x):
        x = tf.gather(tf.nn.relu(layers.conv(x, 5, "a")), order, axis=3)
        return tf.reduce_mean(layers.conv(x[..., begin : begin + length], 2, "b"), [1, 2])

    found = known(call, (3, 3, 2)).channels
    np.testing.assert_array_equal(found.read["b"], found.made["a"][order][begin : begin + length])


def test_a_flattened_map_is_read_place_by_place(known, net):
    layers = net()

    def call(x):
        x = tf.nn.relu(layers.conv(x, 3, "a", stride=2))
        return tf.identity(layers.dense(tf.reshape(x, [1, -1]), 2, "b"))

    found = known(call, SHAPE).channels
    np.testing.assert_array_equal(found.read["b"], np.tile(found.made["a"], 9))


def test_places_moved_into_channels_give_each_their_maker(known, net):
    layers = net()

    def call(x):
        x = tf.nn.space_to_depth(tf.nn.relu(layers.conv(x, 3, "a")), 2)
        return tf.reduce_mean(layers.conv(x, 2, "b"), [1, 2])

    found = known(call, SHAPE).channels
    np.testing.assert_array_equal(found.read["b"], np.tile(found.made["a"], 4))


BLOCKING = {
    "softmax": tf.nn.softmax,
    "sigmoid": tf.nn.sigmoid,
    "tanh": tf.nn.tanh,
    "square": tf.square,
    "a constant addend": lambda x: x + 1.0,
    "exponential": tf.nn.elu,
    "a maximum": lambda x: tf.maximum(x, 0.5),
    "channels first": lambda x: tf.transpose(x, [0, 1, 3, 2]),
}


@pytest.mark.parametrize("name", BLOCKING)
def test_what_a_factor_does_not_pass_keeps_its_scale(name, known, net):
    layers = net()

    def call(x):
        x = BLOCKING[name](tf.nn.relu(layers.conv(x, 6, "a")))
        return tf.reduce_mean(layers.conv(x, 2, "b"), [1, 2])

    found = known(call, SHAPE).channels
    assert not found.made["a"].any()
    assert found.read["b"] is None or not found.read["b"].any()


def test_a_product_of_two_keeps_both_and_what_comes_out(known, net):
    layers = net()

    def call(x):
        x = tf.nn.relu(layers.conv(x, 4, "a"))
        gate = tf.nn.relu6(layers.conv(x, 4, "b"))
        return tf.reduce_mean(layers.conv(x * gate, 2, "c"), [1, 2])

    found = known(call, SHAPE).channels
    for name in ("a", "b"):
        assert not found.made[name].any()
    assert not found.read["c"].any()


def test_sums_of_unlike_shapes_keep_their_scale(known, net):
    layers = net()

    def call(x):
        x = tf.nn.relu(layers.conv(x, 4, "a"))
        pooled = tf.reduce_mean(layers.conv(x, 4, "b"), [1, 2], keepdims=True)
        return tf.reduce_mean(layers.conv(x + pooled, 2, "c"), [1, 2])

    found = known(call, SHAPE).channels
    assert not found.made["a"].any()
    assert not found.made["b"].any()


def test_a_sum_with_the_input_keeps_its_scale(known, net):
    layers = net()

    def call(x):
        return tf.reduce_mean(layers.conv(tf.nn.relu(x + layers.conv(x, 3, "a")), 2, "b"), [1, 2])

    found = known(call, SHAPE).channels
    assert not found.made["a"].any()
    assert not found.read["b"].any()


def test_a_convolution_that_others_read_before_its_bias_keeps_its_scale(known, net):
    """Its bias alone could not be scaled with it: the other reader would see another sum."""
    kernel = net().weights(3, 3, 3, 4)

    def call(x):
        made = tf.nn.conv2d(x, kernel, 1, "SAME", name="a")
        biased = tf.nn.bias_add(made, np.ones(4, np.float32), name="a/bias")
        return tf.reduce_mean(tf.concat([tf.nn.relu(biased), tf.square(made)], 3), [1, 2])

    found = known(call, SHAPE).channels
    assert not found.made["a"].any()


def test_a_sum_of_two_written_as_a_bias_keeps_its_scale(known, net, outputs_of):
    """As a recurrent network adds what it remembers: it is no constant that could be scaled with it."""
    layers = net(3)
    first, second = layers.weights(4, 6), layers.weights(4, 6)

    def call(x):
        x = tf.reduce_mean(tf.nn.relu(layers.conv(x, 4, "a")), [1, 2])
        total = tf.nn.bias_add(tf.matmul(x, first, name="b"), (tf.nn.relu(x) @ second)[0])
        return tf.identity(layers.dense(tf.nn.relu(total), 3, "c"))

    found = known(call, SHAPE)
    assert not found.channels.made["b"].any()
    values = np.full(found.channels.count, 3.0)
    values[FIXED] = 1.0
    graph = changed(found.graph, equalized(found.graph, Factors(values=values, channels=found.channels)))
    inputs = found.data.inputs[:4]
    assert snr(outputs_of(found.frozen, inputs), outputs_of(graph, inputs)) > 100


def test_a_product_of_two_tensors_is_no_linear_operation(known, net):
    layers = net()

    def call(x):
        rows = tf.reshape(tf.nn.relu(layers.conv(x, 4, "a")), [36, 4])
        return tf.reshape(tf.matmul(rows, rows, transpose_a=True, name="own"), [1, 16])

    found = known(call, SHAPE).channels
    assert "own" not in found.made
    assert not found.made["a"].any()


def test_branches_joined_in_different_orders_are_tied_crosswise(known, net):
    """a+b in one order and in the other: every channel meets its mirror."""
    layers = net()

    def call(x):
        a, b = (tf.nn.relu(layers.conv(x, 3, name)) for name in "ab")
        total = tf.concat([a, b], 3) + tf.concat([b, a], 3)
        return tf.reduce_mean(layers.conv(total, 2, "c"), [1, 2])

    found = known(call, SHAPE).channels
    np.testing.assert_array_equal(found.made["a"], found.made["b"])
    np.testing.assert_array_equal(found.read["c"], np.tile(found.made["a"], 2))
    assert different(found.made["a"])


@pytest.mark.parametrize("name", ["squeezenet_1.1", "mobilenet_v2_0.35", "shufflenet_v1_0.5x_g3"])
def test_the_classes_of_real_networks_may_be_scaled(name, known, outputs_of):
    """Whatever factors the classes get, the outputs stay: the only thing that classes promise."""
    frozen = freeze(load_source(name, resolution=32, classes=7))
    graph = Graph(frozen.graph_def, "output")
    for node in graph.nodes.values():  # a ceiling does not move with a factor: not what is asked here
        node.op = "Relu" if node.op == "Relu6" else node.op
    found = channels_of(graph, shapes_of(frozen.function))
    values = np.random.default_rng(4).uniform(1, 8, found.count)
    values[FIXED] = 1.0
    factors = Factors(values=values, channels=found)
    assert len(np.unique(np.concatenate(list(found.made.values())))) > 20
    inputs = np.random.default_rng(5).normal(size=(2, 32, 32, 3)).astype(np.float32)
    scaled = changed(graph, equalized(graph, factors))
    assert snr(outputs_of(graph, inputs), outputs_of(scaled, inputs)) > 90
