"""Scaling channels leaves the float network as it is and brings the ranges together."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf

from edgekit.convert.ptq.channels import FIXED
from edgekit.convert.ptq.equalize import equalized, factors_for, scaled_spans
from edgekit.convert.ptq.execute import walk
from edgekit.convert.ptq.grids import stored
from edgekit.convert.ptq.score import score
from edgekit.convert.ptq.tune import changed
from edgekit.convert.ptq.twin import Mending, run_twin
from edgekit.source.freezing import snr

pytestmark = pytest.mark.convert
SHAPE = (8, 8, 3)


def scaled(net, spread, *, activation=tf.nn.relu, last=6):
    """Convolution, depthwise and pointwise with channels of very different size, then a dense layer."""
    layers = net(2)
    factors = np.geomspace(1, spread, 8)

    def call(x):
        a = activation(layers.conv(x, 8, "a", kernel=layers.weights(3, 3, 3, 8) * factors))
        b = activation(layers.depthwise(a, "b"))
        c = activation(layers.conv(b, 8, "c", size=1, kernel=layers.weights(1, 1, 8, 8) / factors[:, None]))
        return tf.identity(layers.dense(tf.reduce_mean(c, [1, 2]), last, "d"))

    return call


def equal(found):
    """Equalize what `known` gave; return the factors and the new graph."""
    factors = factors_for(
        found.graph, found.channels, found.record.spans, stored(found.graph, found.record.ranges)
    )
    return factors, changed(found.graph, equalized(found.graph, factors))


def reach(found, name):
    low, high = found.record.spans[name]
    return np.maximum(abs(low), abs(high))


@pytest.mark.parametrize("spread", [1, 30, 1000])
def test_the_outputs_of_a_relu_network_stay(spread, known, net, outputs_of):
    found = known(scaled(net, spread), SHAPE)
    factors, graph = equal(found)
    assert factors.changed
    inputs = found.data.inputs[:8]
    assert snr(outputs_of(found.frozen, inputs), outputs_of(graph, inputs)) >= 100


def test_factors_are_no_smaller_than_one_and_fixed_channels_have_one(known, net):
    factors, _ = equal(known(scaled(net, 100), SHAPE))
    assert factors.values[FIXED] == 1.0
    assert factors.values.min() == 1.0
    assert len(factors.values) == factors.channels.count
    assert factors.changed == (factors.values > 1).sum()


def test_ranges_of_channels_come_nearer(known, net):
    found = known(scaled(net, 100), SHAPE)
    factors, graph = equal(found)
    spans = scaled_spans(found.record.spans, factors)
    name = next(n for n in graph.order() if graph.nodes[n].op == "Relu")
    before = reach(found, name)
    after = np.maximum(abs(spans[name][0]), abs(spans[name][1]))
    assert before.max() / before.min() > 50
    assert after.max() / after.min() < 1.1  # only a depthwise convolution reads it: all the way
    last = [n for n in graph.order() if graph.nodes[n].op == "Relu"][1]
    before, after = reach(found, last), np.maximum(*(abs(edge) for edge in spans[last]))
    wanted = (before.max() / before.min()) ** 0.5  # a convolution reads it: half of the way
    assert after.max() / after.min() == pytest.approx(wanted, rel=0.02)


def test_a_tensor_never_gets_a_wider_range(known, net):
    """What a channel may be stretched by is what the tensor's largest channel has already."""
    found = known(scaled(net, 300), SHAPE)
    factors, _ = equal(found)
    spans = scaled_spans(found.record.spans, factors)
    for name in stored(found.graph, found.record.ranges):
        low, high = spans[name]
        assert max(abs(low).max(), abs(high).max()) <= reach(found, name).max() * (1 + 1e-6), name


def test_scaled_spans_are_those_of_the_scaled_network(known, net):
    found = known(scaled(net, 50), SHAPE)
    factors, graph = equal(found)
    spans = scaled_spans(found.record.spans, factors)
    seen = {}
    walk(graph, found.shapes, found.data.inputs, seen.__setitem__)
    for name, (low, high) in spans.items():
        values = seen[name].numpy().reshape(-1, seen[name].shape[-1])
        largest = max(abs(values.min()), abs(values.max()))
        np.testing.assert_allclose(values.min(axis=0), low, atol=1e-4 * largest, err_msg=name)
        np.testing.assert_allclose(values.max(axis=0), high, atol=1e-4 * largest, err_msg=name)


@pytest.mark.parametrize("spread", [3, 30])
def test_a_ceiling_never_cuts_a_value_that_was_seen(spread, known, net, outputs_of):
    found = known(scaled(net, spread, activation=tf.nn.relu6), SHAPE)
    factors, graph = equal(found)
    inputs = found.data.inputs
    names = [n for n in graph.order() if graph.nodes[n].op == "Relu6"]
    spans = scaled_spans(found.record.spans, factors)
    for name in names:
        assert spans[name][1].max() <= 6 * (1 + 1e-6)
        uncut = found.record.spans[name][1] < 6  # a channel that the ceiling cuts can't be scaled
        classes = found.channels.tensors[name]
        assert (factors.values[classes][~uncut] == 1).all()
    assert snr(outputs_of(found.frozen, inputs), outputs_of(graph, inputs)) >= 100


def test_a_residual_is_scaled_on_both_sides_alike(known, net, outputs_of):
    layers = net(4)
    factors = np.geomspace(1, 100, 6)

    def call(x):
        a = tf.nn.relu(layers.conv(x, 6, "a", kernel=layers.weights(3, 3, 3, 6) * factors))
        b = layers.conv(a, 6, "b", kernel=layers.weights(3, 3, 6, 6) * factors / factors[:, None])
        c = tf.nn.relu(a + b)
        return tf.identity(layers.dense(tf.reduce_mean(c, [1, 2]), 3, "c"))

    found = known(call, SHAPE)
    made, graph = equal(found)
    assert made.changed == 5  # all but the largest
    inputs = found.data.inputs[:8]
    assert snr(outputs_of(found.frozen, inputs), outputs_of(graph, inputs)) >= 100


def test_a_shuffle_carries_the_factors_with_it(known, net, outputs_of):
    layers = net(5)
    factors = np.geomspace(1, 64, 8)

    def call(x):
        x = tf.nn.relu(layers.conv(x, 8, "a", kernel=layers.weights(3, 3, 3, 8) * factors))
        x = tf.reshape(tf.transpose(tf.reshape(x, [1, 8, 8, 2, 4]), [0, 1, 2, 4, 3]), [1, 8, 8, 8])
        left, right = tf.split(x, 2, axis=3)
        x = tf.nn.relu(tf.concat([layers.conv(left, 4, "b"), layers.conv(right, 4, "c")], 3))
        return tf.identity(layers.dense(tf.reshape(x, [1, -1]), 3, "d"))

    found = known(call, SHAPE)
    made, graph = equal(found)
    assert made.changed >= 7
    inputs = found.data.inputs[:8]
    assert snr(outputs_of(found.frozen, inputs), outputs_of(graph, inputs)) >= 100


def test_one_huge_channel_gains_many_decibels_in_the_twin(known, net):
    """Seven channels have a few hundredths of the range of the eighth, whose weights behind are as small."""
    factors = np.array([200.0, *[1.0] * 7])
    layers = net(6)

    def call(x):
        a = tf.nn.relu(layers.conv(x, 8, "a", kernel=layers.weights(3, 3, 3, 8) * factors))
        b = tf.nn.relu(layers.conv(a, 8, "b", kernel=layers.weights(3, 3, 8, 8) / factors[:, None]))
        return tf.identity(layers.dense(tf.reduce_mean(b, [1, 2]), 4, "c"))

    found = known(call, SHAPE)
    factors, graph = equal(found)
    spans = scaled_spans(found.record.spans, factors)
    ranges = {n: (float(low.min()), float(high.max())) for n, (low, high) in spans.items()}
    scores = []
    for network, limits in ((found.graph, found.record.ranges), (graph, ranges)):
        twin = run_twin(network, found.shapes, found.data.inputs, Mending(ranges=limits, biases=False))
        scores.append(score(twin.wanted, twin.got).snr_db)
    assert scores[1] > scores[0] + 10


def test_a_channel_that_never_fires_is_left_alone(known, net, outputs_of):
    layers = net(7)
    bias = np.array([0.0, -1e4, 0.0, 0.0])

    def call(x):
        a = tf.nn.relu(layers.conv(x, 4, "a", bias=bias))
        return tf.identity(layers.dense(tf.reduce_mean(a, [1, 2]), 3, "b"))

    found = known(call, SHAPE)
    factors, graph = equal(found)
    assert factors.values[found.channels.made["a"][1]] == 1.0
    assert np.isfinite(factors.values).all()
    inputs = found.data.inputs[:4]
    assert snr(outputs_of(found.frozen, inputs), outputs_of(graph, inputs)) >= 100


def test_an_all_but_dead_channel_is_not_blown_up_without_end(known, net):
    layers = net(8)
    kernel = layers.weights(3, 3, 3, 4) * np.array([1.0, 1.0, 1.0, 1e-9])

    def call(x):
        a = tf.nn.relu(layers.conv(x, 4, "a", kernel=kernel, bias=np.zeros(4)))
        return tf.identity(layers.dense(tf.reduce_mean(a, [1, 2]), 3, "b"))

    factors, _ = equal(known(call, SHAPE))
    assert factors.values.max() <= 2.0**10


def test_a_network_with_nothing_to_scale_is_given_back(known, net):
    layers = net(9)

    def call(x):
        return tf.reduce_mean(tf.nn.softmax(layers.conv(x, 4, "a")), [1, 2])

    found = known(call, SHAPE)
    factors, graph = equal(found)
    assert factors.changed == 0
    assert equalized(found.graph, factors) == {}
    assert graph is found.graph
