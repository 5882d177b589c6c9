"""Measuring in batches: as input by input, and input by input where a batch would be another network."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf

from edgekit.artifact import TensorSpec
from edgekit.convert import meter as metering
from edgekit.convert.calibrate import from_array
from edgekit.convert.meter import meter
from edgekit.convert.monotone import extremes
from edgekit.convert.observe import calibrate, watched
from edgekit.source import Source
from edgekit.source.freezing import freeze
from edgekit.source.trace import trace

SHAPE = (1, 6, 6, 4)


@pytest.fixture(scope="module")
def frozen(source):
    return freeze(source)


def frozen_call(call, shape=SHAPE):
    graph = trace(call, shape, "call")
    spec = TensorSpec(name="input", shape=shape, dtype="float32", layout="NHWC")
    output = TensorSpec(name="output", shape=(1, 4), dtype="float32", layout="NC")
    return freeze(
        Source(
            name="call", kind="savedmodel", graph=graph, inputs=(spec,), outputs=(output,), sha256="0" * 64,
            parameters=0,
        )
    )  # fmt: skip


def pooled(x):
    return tf.reduce_mean(tf.nn.relu(x), axis=[1, 2])


def inputs(count=11, seed=0):
    scale = np.linspace(0.5, 3, count)[:, None, None, None]
    return (np.random.default_rng(seed).normal(size=(count, *SHAPE[1:])) * scale).astype(np.float32)


@pytest.mark.parametrize("method", ["minmax", "moving-average", "percentile", "mse"])
def test_batches_give_what_inputs_one_by_one_give(method, frozen, calibration, monkeypatch):
    steps = []
    batched = calibrate(frozen, calibration, method, lambda *step: steps.append(step))
    monkeypatch.setattr(metering, "BATCH", 1)
    alone = calibrate(frozen, calibration, method)
    assert steps == [(8, 24), (16, 24), (24, 24)]
    assert list(batched.ranges) == list(alone.ranges)
    for name, pair in alone.ranges.items():
        np.testing.assert_allclose(batched.ranges[name], pair, rtol=1e-5, atol=1e-6, err_msg=name)
    assert batched.flat == alone.flat
    assert batched.prints.sizes == alone.prints.sizes
    for name, values in alone.prints.values.items():
        np.testing.assert_allclose(batched.prints.values[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_last_batch_may_be_smaller(monkeypatch):
    frozen, steps = frozen_call(pooled), []
    data = from_array(inputs(11))
    record = calibrate(frozen, data, "minmax", lambda *step: steps.append(step))
    assert steps == [(8, 11), (11, 11)]
    assert record.ranges["input"] == (float(data.inputs.min()), float(data.inputs.max()))
    monkeypatch.setattr(metering, "ELEMENTS", 3 * 144)
    steps.clear()
    assert calibrate(frozen, data, "minmax", lambda *step: steps.append(step)) == record
    assert steps == [(3, 11), (6, 11), (9, 11), (11, 11)]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: pooled(x + tf.reduce_mean(x, axis=0, keepdims=True)),
        lambda x: pooled(tf.reverse(x * 2.0, [0])),
        lambda x: pooled(tf.cumsum(x, axis=0)),
        lambda x: tf.reduce_max(tf.squeeze(x), axis=[0, 1])[None],
        lambda x: tf.reshape(tf.reduce_mean(tf.reshape(x, [4, 36]), axis=1), [1, 4]),
        lambda x: tf.transpose(tf.reduce_max(tf.reshape(x, [36, 4, 1]), axis=0)),
    ],
    ids=["mean", "reverse", "cumsum", "squeeze", "reshape", "transpose"],
)
def test_a_network_that_mixes_a_batch_is_run_input_by_input(call):
    frozen = frozen_call(call)
    found = meter(frozen, watched(frozen.graph_def), with_counts=False, count=8)
    assert found.batch == 1
    rows = inputs(3)
    steps = []
    record = calibrate(frozen, from_array(rows), "minmax", lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    outputs = np.concatenate([frozen.outputs(row[None]) for row in rows])
    np.testing.assert_allclose(record.ranges["output"], (outputs.min(), outputs.max()), rtol=1e-6)


def test_one_session_is_opened_and_the_float_network_is_not_run_apart(monkeypatch):
    """What is measured with is also what proves that the batch stays apart."""
    opened = []
    monkeypatch.setattr(
        metering, "opened", lambda graph, make=metering.opened: opened.append(make(graph)) or opened[-1]
    )
    frozen = frozen_call(pooled)
    found = meter(frozen, watched(frozen.graph_def), with_counts=False, count=8)
    assert found.batch == 8
    assert len(opened) == 1
    rows = inputs(3)
    np.testing.assert_allclose(found.function(rows, False)[0], frozen.outputs(rows), rtol=1e-5)


def test_a_new_shape_keeps_its_batch_open():
    def call(x):
        shuffled = tf.transpose(tf.reshape(x, [1, 6, 6, 2, 2]), [0, 1, 2, 4, 3])
        return tf.reshape(tf.reduce_max(tf.reshape(shuffled, [1, 36, 4]), axis=1), [1, -1])

    frozen = frozen_call(call)
    found = meter(frozen, watched(frozen.graph_def), with_counts=False, count=8)
    assert found.batch == 8
    rows = inputs(5)
    wanted = rows.reshape(5, 36, 2, 2).transpose(0, 1, 3, 2).reshape(5, 36, 4).max(axis=1)
    np.testing.assert_array_equal(found.function(rows, False)[0], wanted)


def test_means_are_computed_when_they_are_wanted():
    frozen = frozen_call(pooled)
    found = meter(frozen, watched(frozen.graph_def), with_counts=False, count=8)
    rows = inputs(4)
    _, _, _, without = found.function(rows, False)
    _, low, high, means = found.function(rows, True)
    assert not without.any()
    assert found.names[0] == "input"
    np.testing.assert_allclose(means[:, 0], rows.mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(low[:, :4], rows.min(axis=(1, 2)))
    np.testing.assert_array_equal(high[:, :4], rows.max(axis=(1, 2)))


def chain(x):
    """Make a tensor of each kind whose extremes follow, and of each kind whose extremes must be read."""
    return [
        x,
        tf.nn.relu(x),
        tf.nn.relu6(x * 4.0),
        tf.pad(x + 2.0, [[0, 0], [1, 1], [0, 0], [0, 0]]),
        tf.pad(x - 9.0, [[0, 0], [0, 0], [0, 0], [0, 2]]),
        tf.pad(x, [[0, 0], [1, 0], [0, 0], [0, 0]], constant_values=7.0),
        tf.reshape(x, [-1, 36, 4]),
        tf.reshape(x, [-1, 6, 24]),
        tf.transpose(x, [0, 2, 1, 3]),
        tf.transpose(x, [0, 3, 1, 2]),
        tf.concat([x, tf.nn.relu(x)], 3),
        tf.concat([x, tf.nn.relu(x)], 1),
        tf.abs(x),
        tf.nn.max_pool2d(x, 2, 2, "VALID"),
    ]


def test_what_follows_is_what_would_be_read():
    values = inputs(3)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        given = tf.compat.v1.placeholder(tf.float32, (None, *SHAPE[1:]))
        inner = chain(given)
        tensors = [t for made in inner for t in (*made.op.inputs, made) if t.shape.rank]
        tensors = list({t.name: t for t in (given, *tensors) if t.dtype == tf.float32}.values())
        tensors = [t for t in tensors if t.shape[0] is None]
        rows = [tf.reshape(t, [tf.shape(given)[0], -1, t.shape[-1]]) for t in tensors]
        held, (low, high) = session.run([rows, extremes(tensors, rows)], {given: values})
    for tensor, row, least, largest in zip(tensors, held, low, high, strict=True):
        np.testing.assert_array_equal(least, row.min(axis=1), err_msg=tensor.name)
        np.testing.assert_array_equal(largest, row.max(axis=1), err_msg=tensor.name)


def test_nothing_is_read_twice():
    """Two reductions for the input and two for what is computed anew; none for what follows."""
    with tf.Graph().as_default() as graph:
        given = tf.compat.v1.placeholder(tf.float32, (None, *SHAPE[1:]))
        shifted = tf.nn.bias_add(given, tf.constant([1.0, -1.0, 0.5, 0.0]))
        active = tf.nn.relu6(shifted)
        tensors = [given, shifted, active, tf.pad(active, [[0, 0], [1, 1], [0, 0], [0, 0]])]
        extremes(tensors, [tf.reshape(t, [1, -1, 4]) for t in tensors])
        kinds = [op.type for op in graph.get_operations() if op.type in ("Min", "Max")]
    assert kinds == ["Min", "Max", "Min", "Max"]
