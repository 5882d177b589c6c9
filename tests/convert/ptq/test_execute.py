"""Operations run one at a time in a batch give what the frozen function gives input by input."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf

from edgekit.convert.ptq.execute import Tape, execute, shapes_of, walk
from edgekit.source.graph import Graph

pytestmark = pytest.mark.convert
SHAPE = (6, 6, 4)
KERNEL = np.random.default_rng(5).normal(size=(3, 3, 4, 6)).astype(np.float32)
WIDE = np.random.default_rng(6).normal(size=(3, 3, 4, 2)).astype(np.float32)
MATRIX = np.random.default_rng(7).normal(size=(4, 5)).astype(np.float32)


def split(x):
    first, second = tf.split(x, 2, axis=3)
    return tf.concat([second, tf.nn.relu(first)], 3)


def unpacked(x):
    rows = tf.unstack(x, axis=1)
    return tf.stack(rows[::-1], axis=1)


def shuffled(x):
    return tf.reshape(tf.transpose(tf.reshape(x, [1, 6, 6, 2, 2]), [0, 1, 2, 4, 3]), [1, 6, 6, 4])


def padded(x):
    return tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]])


CALLS = {
    "conv": lambda x: tf.nn.conv2d(x, KERNEL, 2, "SAME"),
    "conv valid": lambda x: tf.nn.conv2d(x, KERNEL, 1, "VALID"),
    "conv dilated": lambda x: tf.nn.conv2d(x, KERNEL, 1, "VALID", dilations=2),
    "conv explicit": lambda x: tf.nn.conv2d(x, KERNEL, 1, [[0, 0], [1, 0], [0, 2], [0, 0]]),
    "depthwise": lambda x: tf.nn.depthwise_conv2d(x, WIDE, [1, 1, 1, 1], "SAME"),
    "bias": lambda x: tf.nn.bias_add(x, np.arange(4, dtype=np.float32)),
    "bias of places": lambda x: x + np.arange(6, dtype=np.float32)[:, None, None],
    "relu": tf.nn.relu,
    "relu6": lambda x: tf.nn.relu6(x * 5.0),
    "leaky": lambda x: tf.nn.leaky_relu(x, 0.3),
    "hard swish": lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
    "gelu": tf.nn.gelu,
    "softmax": tf.nn.softmax,
    "squared difference": lambda x: tf.math.squared_difference(x, tf.reverse(x, [1])),
    "max pool": lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME"),
    "average pool": lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID"),
    "mean": lambda x: tf.reduce_mean(x, [1, 2]),
    "mean kept": lambda x: tf.reduce_mean(x, [1, 2], keepdims=True) * x,
    "max": lambda x: tf.reduce_max(x, 3),
    "pad": padded,
    "mirror": lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"),
    "split": split,
    "unpack": unpacked,
    "shuffle": shuffled,
    "flatten": lambda x: tf.reshape(x, [1, -1]),
    "squeeze": lambda x: tf.squeeze(x[:, :1], 1),
    "expand": lambda x: tf.expand_dims(x, 1),
    "slice": lambda x: x[:, 1:5:2, ::-1, 1:],
    "gather": lambda x: tf.gather(x, [3, 0, 0], axis=3),
    "transpose": lambda x: tf.transpose(x, [0, 3, 1, 2]),
    "dense": lambda x: tf.reduce_mean(x, [1, 2]) @ MATRIX,
    "dense transposed": lambda x: tf.matmul(tf.reduce_mean(x, [1, 2]), MATRIX.T, transpose_b=True),
    "resize": lambda x: tf.image.resize(x, [9, 12]),
    "nearest": lambda x: tf.image.resize(x, [12, 12], "nearest"),
    "space to depth": lambda x: tf.nn.space_to_depth(x, 2),
    "tile": lambda x: tf.tile(x, [1, 2, 1, 1]),
    "power": lambda x: tf.pow(tf.abs(x) + 0.1, 0.5),
    "clip": lambda x: tf.clip_by_value(x, -0.5, 0.75),
    "where": lambda x: tf.where(x > 0.0, x, 0.1 * x),
    "one": lambda x: tf.reduce_sum(x, [1, 2, 3])[:, None],
}


@pytest.mark.parametrize("name", CALLS)
def test_a_batch_gives_what_each_input_gives_alone(name, frozen_call, noise, outputs_of):
    frozen = frozen_call(lambda x: tf.identity(CALLS[name](x)), SHAPE)
    inputs = noise(5, SHAPE)
    seen = {}
    walk(Graph(frozen.graph_def, "output"), shapes_of(frozen.function), inputs, seen.__setitem__)
    wanted = outputs_of(frozen, inputs)
    assert seen["output"].shape == wanted.shape
    np.testing.assert_allclose(seen["output"], wanted, rtol=1e-5, atol=1e-5)


def test_every_tensor_is_shown_once_and_in_order(frozen_call, noise):
    frozen = frozen_call(lambda x: tf.identity(split(x)), SHAPE)
    graph = Graph(frozen.graph_def, "output")
    names = []
    walk(graph, shapes_of(frozen.function), noise(2, SHAPE), lambda name, _: names.append(name))
    assert names[0] == "input"
    assert names[-1] == "output"
    assert len(names) == len(set(names))
    ports = [name for name in names if name.startswith("split")]
    assert ports == ["split", "split:1"]
    assert {name.partition(":")[0] for name in names} == set(graph.nodes) - set(graph.constants)


def test_every_tensor_is_what_tensorflow_computes(small, noise):
    """The whole network of several operations, every inner tensor held against the graph run alone."""
    inputs = noise(3, (12, 12, 3))
    seen = {}
    walk(small.graph, small.shapes, inputs, seen.__setitem__)
    function = small.frozen.function
    for index in range(3):
        names = [n for n in seen if n != "input"]
        tensors = [function.graph.get_tensor_by_name(n if ":" in n else f"{n}:0") for n in names]
        pruned = function.prune(function.graph.inputs[0], tensors)
        for name, value in zip(names, pruned(tf.constant(inputs[index][None])), strict=True):
            np.testing.assert_allclose(
                seen[name][index : index + 1], value, rtol=1e-4, atol=1e-5, err_msg=name
            )


@pytest.fixture(scope="module")
def small(known, net):
    def call(x):
        layers = net(3)
        x = tf.nn.relu(layers.conv(x, 8, "a", stride=2))
        y = tf.nn.relu6(layers.depthwise(x, "b"))
        y = layers.conv(y, 8, "c", size=1)
        return tf.nn.softmax(layers.dense(tf.reduce_mean(x + y, [1, 2]), 5, "d"))

    return known(call, (12, 12, 3))


def test_shapes_are_those_of_a_batch_of_one(small):
    assert small.shapes["input"] == (1, 12, 12, 3)
    assert small.shapes["a"] == small.shapes["a/bias"] == (1, 6, 6, 8)
    assert small.shapes["d"] == (1, 5)
    assert small.shapes["output"] == (1, 5)


def test_a_tape_forgets_what_nobody_reads_any_more(small, noise):
    tape = Tape(small.graph)
    tape.put("input", [tf.constant(noise(1, (12, 12, 3)))])
    node = small.graph.nodes["a"]
    value, kernel = tape.operands(node)
    assert value.shape == (1, 12, 12, 3)
    np.testing.assert_array_equal(kernel, small.graph.constants[node.input[1]])
    tape.read(["input"])
    with pytest.raises(KeyError):
        tape.get("input")


def test_a_tape_keeps_what_has_readers_left(small):
    """The first activation is read by the depthwise convolution and by the sum."""
    tape = Tape(small.graph)
    name = next(n.input[0] for n in small.graph.nodes.values() if n.name == "b")
    tape.put(name, [tf.constant(1.0)])
    tape.read([name])
    assert float(tape.get(name)[0]) == 1.0
    tape.read([name])
    with pytest.raises(KeyError):
        tape.get(name)


def test_constants_in_doubles_are_read_as_the_artifacts_hold_them(small):
    graph = small.graph.copy()
    graph.constants[graph.nodes["a"].input[1]] = np.full((3, 3, 3, 8), 1 / 3)
    tape = Tape(graph)
    tape.put("input", [tf.zeros((1, 12, 12, 3))])
    kernel = tape.operands(graph.nodes["a"])[1]
    assert kernel.dtype == tf.float32
    assert float(kernel[0, 0, 0, 0]) == np.float32(1 / 3)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_sum_written_as_a_bias_is_added_in_any_batch(batch, small):
    """A BiasAdd of two inputs' values, at one place, is what a fold leaves of a sum of two."""
    node = small.graph.nodes["a/bias"]
    left = tf.random.normal((batch, 6, 6, 8), seed=1)
    right = tf.random.normal((batch, 8), seed=2)
    made = execute(node, [left, right])[0]
    np.testing.assert_allclose(made, left + right[:, None, None, :], rtol=1e-6)
