"""One run of the float network says what each trial needs, and what the equalized network would give."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf

from edgekit.convert.ptq.equalize import equalized, factors_for
from edgekit.convert.ptq.execute import mean_of, walk
from edgekit.convert.ptq.grids import stored
from edgekit.convert.ptq.reference import FEWEST, VALUES, chosen, reference_of
from edgekit.convert.ptq.tune import changed
from edgekit.source.graph import Graph

pytestmark = pytest.mark.convert
SHAPE = (10, 10, 3)


@pytest.fixture(scope="module")
def uneven(known, net, noise):
    """Channels of very different size through all linear operations, a residual sum and a softmax."""
    layers = net(4)
    factors = np.geomspace(1, 30, 8)

    def call(x):
        x = tf.nn.relu(layers.conv(x, 8, "a", kernel=layers.weights(3, 3, 3, 8) * factors, stride=2))
        y = tf.nn.relu6(layers.depthwise(x, "b"))
        x = x + layers.conv(y, 8, "c", size=1)
        return tf.nn.softmax(layers.dense(tf.reduce_mean(x, [1, 2]), 5, "d"))

    return known(call, SHAPE, noise(16, SHAPE))


def run(found, graph=None):
    graph = graph or found.graph
    return reference_of(graph, found.shapes, found.data.inputs, found.record.ranges)


def every_tensor(found):
    seen = {}
    walk(found.graph, found.shapes, found.data.inputs, seen.__setitem__)
    return seen


def test_outputs_are_those_before_the_softmax(uneven):
    np.testing.assert_allclose(run(uneven).outputs, every_tensor(uneven)["d/bias"], rtol=1e-5, atol=1e-6)


def test_means_are_those_of_each_bias_and_no_other(uneven):
    seen, means = every_tensor(uneven), run(uneven).means
    assert set(means) == {"a/bias", "b/bias", "c/bias", "d/bias"}
    for name, found in means.items():
        values = seen[name].numpy()
        wanted = values.reshape(-1, values.shape[-1]).mean(axis=0)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5, err_msg=name)


def test_samples_of_small_tensors_are_all_of_them(uneven):
    seen, samples = every_tensor(uneven), run(uneven).samples
    assert set(samples) == set(uneven.record.ranges)
    for name, found in samples.items():
        np.testing.assert_array_equal(found, seen[name].numpy().reshape(found.shape), err_msg=name)


def test_nothing_is_kept_that_nobody_asked_for(uneven):
    assert not reference_of(uneven.graph, uneven.shapes, uneven.data.inputs).samples


def test_the_equalized_network_need_not_run(uneven):
    record = uneven.record
    factors = factors_for(uneven.graph, uneven.channels, record.spans, stored(uneven.graph, record.ranges))
    assert factors.changed > 4
    wanted = run(uneven, changed(uneven.graph, equalized(uneven.graph, factors)))
    found = run(uneven).scaled(factors)
    np.testing.assert_allclose(found.outputs, wanted.outputs, rtol=1e-3, atol=1e-4)
    for mine, theirs in ((found.means, wanted.means), (found.samples, wanted.samples)):
        assert list(mine) == list(theirs)
        for name, values in theirs.items():
            assert mine[name].dtype == values.dtype == np.float32
            slack = 1e-4 * max(float(np.abs(values).max()), 1e-3)
            np.testing.assert_allclose(mine[name], values, rtol=1e-3, atol=slack, err_msg=name)
    assert any((found.means[name] != run(uneven).means[name]).any() for name in found.means)


@pytest.mark.parametrize("count", [1, 7, VALUES // 4])
def test_few_rows_are_all_taken(count):
    assert chosen(count, 4) is None


@pytest.mark.parametrize(("count", "width"), [(VALUES, 4), (10 * VALUES, 1), (1000, VALUES), (9, 2 * VALUES)])
def test_of_many_rows_some_are_taken_evenly_and_the_same_each_time(count, width):
    found = chosen(count, width)
    np.testing.assert_array_equal(found, chosen(count, width))
    assert len(found) == max(FEWEST, VALUES // width)
    assert (np.diff(found) >= 0).all()
    assert found[0] >= 0
    assert found[-1] < count
    if len(found) > 1000:
        assert abs(found.mean() / count - 0.5) < 0.02


CONVOLUTIONS = {
    "pointwise": lambda x, w: tf.nn.conv2d(x, w[:1, :1], 1, "VALID", name="op"),
    "pointwise, strided": lambda x, w: tf.nn.conv2d(x, w[:1, :1], 2, "SAME", name="op"),
    "padded": lambda x, w: tf.nn.conv2d(x, w, 1, "SAME", name="op"),
    "strided": lambda x, w: tf.nn.conv2d(x, w, 2, "SAME", name="op"),
    "dilated": lambda x, w: tf.nn.conv2d(x, w, 1, "VALID", dilations=2, name="op"),
    "depthwise": lambda x, w: tf.raw_ops.DepthwiseConv2dNative(
        input=x, filter=w, strides=[1, 1, 1, 1], padding="SAME", name="op"
    ),
    "dense": lambda x, w: tf.matmul(tf.reduce_mean(x, [1, 2]), w[0, 0], name="op"),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_mean_of_sums_is_what_the_mean_of_the_inputs_gives(name, noise):
    """Inputs with a slope from one border to the other, so that padding and strides tell."""
    slope = np.linspace(-3, 3, 9, dtype=np.float32)[:, None, None]
    inputs = tf.constant(noise(5, (9, 9, 4)) + slope)
    weights = tf.constant(noise(1, (3, 3, 4, 6))[0])
    function = tf.function(lambda x: CONVOLUTIONS[name](x, weights)).get_concrete_function(
        tf.TensorSpec((None, 9, 9, 4), tf.float32)
    )
    operation = function.graph.get_operation_by_name("op")
    values = function(inputs)
    operands = [inputs, weights[:1, :1] if name.startswith("pointwise") else weights]
    wanted = values.numpy().reshape(-1, values.shape[-1]).mean(axis=0)
    found = mean_of(operation.node_def, operands, values)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_graph_stays_what_it_is(uneven):
    before = {name: value.copy() for name, value in uneven.graph.constants.items()}
    run(uneven)
    assert isinstance(uneven.graph, Graph)
    for name, value in before.items():
        np.testing.assert_array_equal(uneven.graph.constants[name], value, err_msg=name)
