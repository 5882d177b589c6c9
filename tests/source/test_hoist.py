"""Activation functions move in front of concatenations of linear operations, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.source.freezing import snr
from edgekit.source.hoist import hoist_activations
from edgekit.source.running import run_graph
from edgekit.source.trace import trace

pytestmark = pytest.mark.convert
SHAPE = (1, 6, 6, 4)


def weights(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def conv(x, width=3, *, seed=0, bias=True):
    made = tf.nn.conv2d(x, weights(3, 3, x.shape[-1], width, seed=seed), 1, "SAME")
    return tf.nn.bias_add(made, weights(width, seed=seed + 1)) if bias else made


def depthwise(x):
    return tf.nn.depthwise_conv2d(x, weights(3, 3, x.shape[-1], 1, seed=7), [1, 1, 1, 1], "SAME")


def hoisted(call, shape=SHAPE):
    """Return how many were moved, the graph before and after; their outputs are the same, bit by bit."""
    graph = trace(call, shape, "written")
    before = graph.to_graph_def()
    moved = hoist_activations(graph)
    after = graph.to_graph_def()
    inputs = np.random.default_rng(3).normal(size=(3, *shape[1:])).astype(np.float32)
    np.testing.assert_array_equal(run_graph(before, inputs), run_graph(after, inputs))
    return moved, before, graph


def kinds(graph, op):
    return [node for node in graph.nodes.values() if node.op == op]


def reading(graph, node):
    """Return the operations that read a node."""
    return [graph.nodes[name].op for name in graph.users(node.name)]


@pytest.mark.parametrize(("function", "op"), [(tf.nn.relu, "Relu"), (tf.nn.relu6, "Relu6")])
def test_an_activation_moves_in_front_of_a_concatenation(function, op):
    def call(x):
        return tf.reduce_mean(function(tf.concat([conv(x), conv(x, 5, seed=4)], 3)), [1, 2])

    moved, _, graph = hoisted(call)
    assert moved == 1
    found = kinds(graph, op)
    assert len(found) == 2
    (joined,) = kinds(graph, "ConcatV2")
    assert list(joined.input[:2]) == [node.name for node in found]
    assert [graph.nodes[node.input[0]].op for node in found] == ["BiasAdd", "BiasAdd"]
    assert reading(graph, joined) == ["Mean"]
    assert all(node.attr["T"].type == tf.float32.as_datatype_enum for node in found)


@pytest.mark.parametrize("bias", [True, False])
def test_with_and_without_biases(bias):
    def call(x):
        return tf.reduce_mean(tf.nn.relu(tf.concat([conv(x, bias=bias), depthwise(x)], 3)), [1, 2])

    assert hoisted(call)[0] == 1


@settings(max_examples=10)
@given(count=st.integers(2, 5), axis=st.sampled_from([1, 2, 3, -1]))
def test_any_number_of_parts_on_any_axis(count, axis):
    def call(x):
        joined = tf.concat([conv(x, seed=n) for n in range(count)], axis)
        return tf.reduce_mean(tf.nn.relu(joined), [1, 2])

    moved, _, graph = hoisted(call)
    assert moved == 1
    assert len(kinds(graph, "Relu")) == count


def test_dense_layers_are_linear_too():
    def call(x):
        rows = tf.reduce_mean(x, [1, 2])
        parts = [tf.nn.bias_add(rows @ weights(4, 5, seed=n), weights(5)) for n in range(2)]
        return tf.identity(tf.nn.relu(tf.concat(parts, 1)))

    assert hoisted(call)[0] == 1


def test_a_grouped_convolution_with_its_activation(keras, tmp_path):
    """What a grouped convolution becomes when a network is frozen."""
    from edgekit.source import freeze, load_source

    given_ = keras.layers.Input(SHAPE[1:])
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3, groups=2)(given_)))
    keras.Model(given_, keras.layers.GlobalAveragePooling2D()(x)).save(tmp_path / "grouped.keras")
    frozen = freeze(load_source(str(tmp_path / "grouped.keras")))
    operations = {node.name: node for node in frozen.graph_def.node}
    found = [node for node in operations.values() if node.op == "Relu"]
    assert len(found) == 2
    assert {operations[node.input[0]].op for node in found} == {"BiasAdd"}
    inputs = np.random.default_rng(1).normal(size=(2, *SHAPE[1:])).astype(np.float32)
    assert snr(frozen.outputs(inputs), run_graph(frozen.graph_def, inputs)) > 100


def unread(x):
    """An activation of a concatenation that somebody else reads too."""
    joined = tf.concat([conv(x), conv(x, seed=4)], 3)
    return tf.reduce_mean(tf.nn.relu(joined) + joined, [1, 2])


def shared(x):
    """A part that somebody else reads too: its negative values are wanted."""
    part = conv(x)
    joined = tf.nn.relu(tf.concat([part, conv(x, seed=4)], 3))
    return tf.reduce_mean(tf.concat([joined, part], 3), [1, 2])


def shared_inside(x):
    """A convolution that is read before its bias: the bias alone is in front."""
    made = conv(x, bias=False)
    joined = tf.nn.relu(tf.concat([tf.nn.bias_add(made, weights(3)), conv(x, seed=4)], 3))
    return tf.reduce_mean(tf.concat([joined, made], 3), [1, 2])


LEFT = {
    "somebody reads the concatenation": unread,
    "somebody reads a part": shared,
    "the input is a part": lambda x: tf.reduce_mean(tf.nn.relu(tf.concat([x, conv(x)], 3)), [1, 2]),
    "a part is pooled": lambda x: tf.reduce_mean(
        tf.nn.relu(tf.concat([tf.nn.max_pool2d(x, 3, 1, "SAME"), conv(x)], 3)), [1, 2]
    ),
    "one part twice": lambda x: tf.reduce_mean(tf.nn.relu(tf.concat([conv(x)] * 2, 3)), [1, 2]),
    "no concatenation": lambda x: tf.reduce_mean(tf.nn.relu(conv(x)), [1, 2]),
    "another function": lambda x: tf.reduce_mean(tf.nn.elu(tf.concat([conv(x), depthwise(x)], 3)), [1, 2]),
    "a sum in between": lambda x: tf.reduce_mean(
        tf.nn.relu(tf.concat([conv(x), conv(x, seed=2)], 3) + 1.0), [1, 2]
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_everywhere_else_it_stays(name):
    graph = trace(LEFT[name], SHAPE, "written")
    before = graph.to_graph_def()
    same = {n: node.op for n, node in graph.nodes.items()}
    assert hoist_activations(graph) == 0
    assert graph.to_graph_def() == before
    assert {n: node.op for n, node in graph.nodes.items()} == same


def test_a_convolution_read_before_its_bias_keeps_its_value():
    """Moved or not, what reads the bare convolution reads what it read."""
    hoisted(shared_inside)


def last(x):
    return tf.nn.relu(tf.concat([conv(x), conv(x, seed=4)], 3))


def test_the_networks_output_keeps_its_name():
    """Artifacts are called by it: an identity stands there, and the activation moves."""
    moved, _, graph = hoisted(last)
    assert moved == 1
    assert graph.output == "output"
    assert graph.nodes[graph.nodes["output"].input[0]].op == "ConcatV2"


def test_an_activation_that_is_the_output_itself_stays():
    graph = trace(last, SHAPE, "written")
    graph.output = graph.nodes["output"].input[0]
    graph.prune()
    assert graph.nodes[graph.output].op == "Relu"
    assert hoist_activations(graph) == 0


def test_two_in_a_row_are_both_moved():
    def call(x):
        x = tf.nn.relu(tf.concat([conv(x), conv(x, seed=2)], 3))
        x = tf.nn.relu6(tf.concat([conv(x, seed=3), depthwise(x)], 3))
        return tf.reduce_mean(x, [1, 2])

    moved, before, graph = hoisted(call)
    assert moved == 2
    assert [len(kinds(graph, op)) for op in ("Relu", "Relu6", "ConcatV2")] == [2, 2, 2]
    assert len(graph.nodes) == len(before.node) + 2


def test_several_readers_of_the_activation_all_read_the_concatenation():
    def call(x):
        x = tf.nn.relu(tf.concat([conv(x), conv(x, seed=2)], 3))
        return tf.reduce_mean(conv(x, 4, seed=3) + conv(x, 4, seed=5), [1, 2])

    moved, _, graph = hoisted(call)
    assert moved == 1
    (joined,) = kinds(graph, "ConcatV2")
    assert reading(graph, joined) == ["Conv2D", "Conv2D"]


def test_moving_again_moves_nothing():
    def call(x):
        return tf.reduce_mean(tf.nn.relu(tf.concat([conv(x), conv(x, seed=2)], 3)), [1, 2])

    _, _, graph = hoisted(call)
    before = graph.sha256()
    assert hoist_activations(graph) == 0
    assert graph.sha256() == before
