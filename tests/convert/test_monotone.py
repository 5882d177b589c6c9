"""Extremes that follow from others are what reading every value would give, in any chain of operations."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.convert.monotone import extremes

pytestmark = pytest.mark.convert
SHAPE = (None, 4, 6, 4)

STEPS = {
    "relu": tf.nn.relu,
    "relu6": lambda x: tf.nn.relu6(x * 3.0),
    "negative": lambda x: -x,
    "shift": lambda x: tf.nn.bias_add(x, tf.constant([1.0, -2.0, 0.5, 7.0])),
    "identity": tf.identity,
    "pad": lambda x: tf.pad(x, [[0, 0], [1, 0], [0, 1], [0, 0]]),
    "pad with ones": lambda x: tf.pad(x, [[0, 0], [1, 0], [0, 0], [0, 0]], constant_values=1.0),
    "pad by nothing": lambda x: tf.pad(x, [[0, 0]] * 4),
    "turn": lambda x: tf.transpose(x, [0, 2, 1, 3]),
    "join": lambda x: tf.concat([x[..., :2], tf.nn.relu(x)[..., 2:]], 3),
    "join places": lambda x: tf.concat([x, tf.nn.relu(x)], 1),
    "pool": lambda x: tf.nn.max_pool2d(x, 2, 1, "SAME"),
    "shuffle": lambda x: tf.gather(x, [2, 0, 3, 1], axis=3),
}


def tensors_of(last):
    """Return every float tensor with an open batch that a tensor is made of, inputs first."""
    found, stack = {}, [last]
    while stack:
        tensor = stack.pop()
        if tensor.dtype == tf.float32 and tensor.shape.rank and tensor.shape[0] is None:
            found[tensor.name] = tensor
            stack.extend(tensor.op.inputs)
    return [t for op in last.graph.get_operations() for t in op.outputs if t.name in found]


def measured(names, values):
    """Return (tensors, values of each, low, high) of a chain of STEPS."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        made = given_ = tf.compat.v1.placeholder(tf.float32, SHAPE)
        for name in names:
            made = STEPS[name](made)
        tensors = tensors_of(made)
        rows = [tf.reshape(t, [tf.shape(given_)[0], -1, t.shape[-1]]) for t in tensors]
        held, (low, high) = session.run([rows, extremes(tensors, rows)], {given_: values})
        operations = [op.type for op in session.graph.get_operations()]
    return [t.name for t in tensors], held, low, high, operations


@settings(max_examples=40)
@given(names=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=5), seed=st.integers(0, 999))
def test_any_chain_has_the_extremes_that_reading_would_give(names, seed):
    values = (np.random.default_rng(seed).normal(size=(3, *SHAPE[1:])) * 3).astype(np.float32)
    tensors, held, low, high, _ = measured(names, values)
    for name, row, least, largest in zip(tensors, held, low, high, strict=True):
        np.testing.assert_array_equal(least, row.min(axis=1), err_msg=f"{name} of {names}")
        np.testing.assert_array_equal(largest, row.max(axis=1), err_msg=f"{name} of {names}")


@pytest.mark.parametrize(
    ("names", "read"),
    [
        (["relu", "relu", "pad", "turn"], 1),
        (["negative"], 2),
        (["pad with ones"], 2),
        (["shift", "relu"], 2),
        (["join places"], 2),
        (["pool", "identity", "relu"], 2),
    ],
)
def test_only_what_does_not_follow_is_read(names, read):
    """The input is read, and each tensor that could hold other extremes."""
    operations = measured(names, np.zeros((1, *SHAPE[1:]), np.float32))[4]
    assert operations.count("Min") == operations.count("Max") == read


def test_values_that_are_not_numbers_stay_visible():
    """An infinity in a network is an infinity in its extremes."""
    values = np.zeros((1, *SHAPE[1:]), np.float32)
    values[0, 0, 0, 1] = np.inf
    _, _, _, high, _ = measured(["relu", "pad"], values)
    assert all(row[0, 1] == np.inf for row in high)
    assert all(row[0, 0] == 0 for row in high)
