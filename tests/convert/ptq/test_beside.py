"""Weights that make up for what their inputs have lost: nearer on other inputs too, and nothing by heart."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf

from edgekit.convert.ptq.beside import FAR, NEAR, PLACES, Beside, Seen
from edgekit.convert.ptq.execute import execute
from edgekit.convert.ptq.grids import weight_rows
from edgekit.convert.ptq.moments import covariance, made_rows, read_rows
from edgekit.convert.ptq.score import score
from edgekit.convert.ptq.tune import changed
from edgekit.convert.ptq.twin import Mending, run_twin
from edgekit.source.graph import node_of

pytestmark = pytest.mark.convert
SHAPE = (12, 12, 3)


def chain(net):
    """Return a call whose layers are wide of each other: what one loses, the next can see."""
    layers = net(3)

    def call(x):
        x = tf.nn.relu(layers.conv(x, 12, "first"))
        x = tf.nn.relu6(layers.depthwise(x, "second"))
        x = tf.nn.relu(layers.conv(x, 8, "third", size=1))
        return tf.identity(layers.dense(tf.reduce_mean(x, [1, 2]), 6, "fourth"))

    return call


@pytest.fixture(scope="module")
def found(known, net, noise):
    return known(chain(net), SHAPE, noise(24, SHAPE))


def run_to(found, name):
    """Return the float network, run up to an operation, and that operation."""
    beside = Beside(found.graph, found.shapes, found.record.ranges)
    for step in found.graph.order():
        node = found.graph.nodes[step]
        if step in found.graph.constants:
            continue
        beside.step(node, found.data.inputs)
        if step == name:
            return beside, node
        beside.done(node)
    raise AssertionError(f"no operation {name}")


def values_of(found, reference):
    """Return a tensor of the float network."""
    tape = {}
    for name in found.graph.order():
        node = found.graph.nodes[name]
        if name in found.graph.constants:
            tape[name] = tf.constant(found.graph.constants[name])
        elif node.op == "Placeholder":
            tape[name] = tf.constant(found.data.inputs)
        else:
            operands = [tape[node_of(i)] for i in node.input]
            tape[name] = execute(node, operands, found.shapes.get(name))[0]
    return tape[node_of(reference)]


def seen_of(found, name, read=None):
    beside, node = run_to(found, name)
    shape = found.graph.constants[node_of(node.input[1])].shape
    read = values_of(found, node.input[0]) if read is None else read
    return beside.seen(node, found.graph.nodes[f"{name}/bias"], read, shape)


@pytest.mark.parametrize("name", ["first", "second", "third", "fourth"])
def test_the_same_places_are_looked_at_before_and_behind_an_operation(found, name):
    """What is read, times the weights, is what is wanted: in the float network nothing lacks."""
    seen = seen_of(found, name)
    rows = weight_rows(found.graph.constants[node_of(seen.node.input[1])].astype("float64"), seen.node)
    bias = found.graph.constants[node_of(found.graph.nodes[f"{name}/bias"].input[1])]
    made = np.einsum("pig,goi->pog", seen.read.numpy(), rows) + bias.reshape(len(rows), -1).T
    np.testing.assert_allclose(made, seen.wanted.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["first", "second", "third", "fourth"])
def test_where_nothing_lacks_weights_and_biases_stay(found, name):
    seen = seen_of(found, name)
    weights = found.graph.constants[node_of(seen.node.input[1])]
    rows = weight_rows(weights.astype("float64"), seen.node)
    np.testing.assert_allclose(seen.mended(rows), rows, atol=1e-5)
    made = execute(seen.node, [values_of(found, seen.node.input[0]), tf.constant(weights)])[0]
    bias = found.graph.constants[node_of(found.graph.nodes[f"{name}/bias"].input[1])]
    np.testing.assert_allclose(seen.moved(made), bias, atol=1e-4)


def test_a_channel_that_came_out_too_large_is_read_by_less(found):
    read = values_of(found, "first/bias") * tf.constant([2.0, *[1.0] * 11])
    seen = seen_of(found, "second", tf.nn.relu(read))
    weights = found.graph.constants[node_of(seen.node.input[1])].astype("float64")
    rows = weight_rows(weights, seen.node)
    changed = seen.mended(rows)
    energy = np.linalg.norm(changed, axis=2) / np.linalg.norm(rows, axis=2)
    assert energy[0] < energy[1:].min()
    np.testing.assert_allclose(changed[1:], rows[1:], atol=1e-4)


def test_few_places_teach_nothing(found):
    """A dense layer has a place an input: 24 for 8 weights each."""
    read = values_of(found, "third/bias")
    pooled = tf.reduce_mean(tf.nn.relu(read), [1, 2]) * 1.5
    seen = seen_of(found, "fourth", pooled)
    assert seen.read.shape[0] < PLACES * seen.read.shape[1]
    rows = weight_rows(found.graph.constants[node_of(seen.node.input[1])].astype("float64"), seen.node)
    np.testing.assert_array_equal(seen.mended(rows), rows)


def test_what_an_activation_cuts_off_counts_next_to_nothing(found):
    seen = seen_of(found, "second")
    wanted, counts = seen.wanted.numpy(), seen.counts.numpy()
    high = min(found.record.ranges["Relu6"][1] if "Relu6" in found.record.ranges else 6.0, 6.0)
    assert set(np.unique(counts)) <= {np.float32(FAR), np.float32(1.0)}
    assert (counts[(wanted > 0) & (wanted < high)] == 1).all()
    assert (counts[wanted < -2 * NEAR * 6.0] == np.float32(FAR)).all()
    assert (counts < 1).any()


def test_before_anything_else_all_places_count(found):
    assert seen_of(found, "fourth").counts is None


def test_a_mean_is_brought_back_where_it_counts():
    """The outputs lack 1 where they count and 100 where they do not."""
    wanted = tf.constant([[[1.0]], [[1.0]], [[100.0]]])
    node = tf.function(lambda x: tf.matmul(x, tf.ones((2, 1)), name="op")).get_concrete_function(
        tf.TensorSpec((None, 2), tf.float32)
    ).graph.get_operation_by_name("op").node_def  # fmt: skip
    counts = tf.constant([[[1.0]], [[1.0]], [[0.0]]])
    seen = Seen(node=node, shape=(2, 1), read=tf.zeros((3, 2, 1)), wanted=wanted, counts=counts)
    np.testing.assert_allclose(seen.moved(tf.zeros((3, 1))), [1.0])


def test_covariances_count_places_as_they_are_told():
    random = np.random.default_rng(2)
    rows = random.normal(size=(50, 3, 2)).astype(np.float32)
    weights = random.integers(0, 3, (50, 2)).astype(np.float32)
    found = covariance(tf.constant(rows), tf.constant(rows), tf.constant(weights))
    for group in range(2):
        repeated = np.repeat(rows[:, :, group], weights[:, group].astype(int), axis=0)
        np.testing.assert_allclose(found[group], np.cov(repeated.T, bias=True), atol=1e-5)
    alike = covariance(tf.constant(rows), tf.constant(rows[:, :1]))
    np.testing.assert_allclose(alike[0, :, 0], np.cov(rows[:, :, 0].T, bias=True)[:, 0], atol=1e-5)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_depthwise_convolution_has_a_group_a_channel(multiplier):
    random = np.random.default_rng(4)
    kernel = random.normal(size=(3, 3, 5, multiplier)).astype(np.float32)
    values = tf.constant(random.normal(size=(3, 7, 7, 5)).astype(np.float32))

    def call(x):
        return tf.raw_ops.DepthwiseConv2dNative(
            input=x, filter=kernel, strides=[1, 2, 2, 1], padding="SAME", name="op"
        )

    traced = tf.function(call).get_concrete_function(tf.TensorSpec((None, 7, 7, 5), tf.float32))
    node = traced.graph.get_operation_by_name("op").node_def
    read, made = read_rows(values, node, kernel.shape), made_rows(call(values), node, kernel.shape)
    assert read.shape == (3 * 16, 9, 5)
    assert made.shape == (3 * 16, multiplier, 5)
    again = np.einsum("pig,goi->pog", read.numpy(), weight_rows(kernel, node))
    np.testing.assert_allclose(again, made.numpy(), rtol=1e-3, atol=1e-4)


def test_other_inputs_gain_too(known, net, noise):
    """What an early range cuts off, later layers make up for in part, on inputs that nobody tuned on."""
    layers = net(7)

    def call(x):
        x = tf.nn.relu(layers.conv(x, 16, "early"))
        return tf.reduce_mean(layers.conv(x, 6, "late"), [1, 2])

    found = known(call, SHAPE, noise(24, SHAPE))
    low, high = found.record.ranges["Relu"]
    ranges = {**found.record.ranges, "Relu": (low, high * 0.3)}
    fresh = noise(60, SHAPE, seed=99)
    wanted = run_twin(found.graph, found.shapes, fresh, Mending(ranges={}, biases=False)).wanted
    lost = {}
    for rounding in (False, True):
        twin = run_twin(
            found.graph, found.shapes, found.data.inputs, Mending(ranges=ranges, rounding=rounding)
        )
        kept = changed(found.graph, twin.constants)
        got = run_twin(kept, found.shapes, fresh, Mending(ranges=ranges, biases=False)).got
        lost[rounding] = score(wanted, got).snr_db
    assert lost[True] > lost[False] + 1
