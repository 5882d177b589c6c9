"""Axes in any stored order: what is logical stays what numpy says."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.source.axes import Value, arranged, channels_last, logical, reshape, transpose, without

tf = pytest.importorskip("tensorflow", reason="the convert extra is not installed")

SIZES = st.lists(st.sampled_from([1, 1, 2, 3, 4, 6]), min_size=1, max_size=5)


def value_of(array, order):
    return Value(tensor=tf.constant(np.transpose(array, order)), order=tuple(order))


@st.composite
def stored(draw):
    shape = draw(SIZES)
    order = draw(st.permutations(range(len(shape))))
    return np.arange(math.prod(shape), dtype=np.float32).reshape(shape), order


@st.composite
def reshapings(draw):
    """A stored array and another shape of as many elements."""
    array, order = draw(stored())
    factors = [n for size in array.shape for n in {4: (2, 2), 6: (2, 3)}.get(size, (size,))]
    factors = draw(st.permutations(factors))
    cuts = sorted(draw(st.sets(st.integers(0, len(factors)), max_size=4)))
    parts = [factors[a:b] for a, b in zip([0, *cuts], [*cuts, len(factors)], strict=True)]
    return array, order, tuple(math.prod(part) for part in parts)


@settings(max_examples=60, deadline=None)
@given(reshapings())
def test_a_reshape_is_numpys(case):
    array, order, shape = case
    made = reshape(value_of(array, order), shape)
    assert made.shape == shape
    np.testing.assert_array_equal(logical(made).numpy(), array.reshape(shape))


@settings(max_examples=30, deadline=None)
@given(stored(), st.data())
def test_a_transposition_is_numpys_and_moves_nothing(case, data):
    array, order = case
    axes = data.draw(st.permutations(range(array.ndim)))
    value = value_of(array, order)
    made = transpose(value, axes)
    assert made.tensor is value.tensor
    np.testing.assert_array_equal(logical(made).numpy(), array.transpose(axes))


def test_a_channel_shuffle_moves_memory_once():
    array = np.arange(2 * 6 * 3 * 3, dtype=np.float32).reshape(2, 6, 3, 3)

    def shuffle(tensor):
        value = Value(tensor=tensor, order=channels_last(4))
        split = reshape(value, (2, 2, 3, 3, 3))
        joined = reshape(transpose(split, (0, 2, 1, 3, 4)), (2, 6, 3, 3))
        return arranged(joined, channels_last(4))

    graph = tf.function(shuffle).get_concrete_function(tf.TensorSpec((2, 3, 3, 6))).graph
    assert [op.type for op in graph.get_operations()].count("Transpose") == 1
    wanted = array.reshape(2, 2, 3, 3, 3).transpose(0, 2, 1, 3, 4).reshape(2, 6, 3, 3)
    np.testing.assert_array_equal(
        shuffle(tf.constant(array.transpose(0, 2, 3, 1))).numpy(), wanted.transpose(0, 2, 3, 1)
    )


def test_flattening_one_pixel_is_free():
    def flatten(tensor):
        return logical(reshape(Value(tensor=tensor, order=channels_last(4)), (1, 8)))

    graph = tf.function(flatten).get_concrete_function(tf.TensorSpec((1, 1, 1, 8))).graph
    assert "Transpose" not in [op.type for op in graph.get_operations()]


def test_axes_that_are_gone_renumber_the_rest():
    array = np.arange(24, dtype=np.float32).reshape(1, 4, 2, 3)
    value = value_of(array, (0, 2, 3, 1))
    summed = without(value, tf.reduce_sum(value.tensor, axis=1), [2])
    np.testing.assert_array_equal(logical(summed).numpy(), array.sum(axis=2))
