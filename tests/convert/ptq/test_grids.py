"""Which tensors an artifact stores, and what a grid does to activations and weights."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgekit.convert.ptq.grids import (
    LEVELS,
    from_rows,
    lifted,
    on_grid,
    readers_of,
    rounded,
    stored,
    weight_rows,
    weight_steps,
)
from edgekit.convert.ranges import grid

pytestmark = pytest.mark.convert
NUMBERS = st.floats(-100, 100, width=32)
ROWS = arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9)),
              elements=NUMBERS)  # fmt: skip


def node(op, *, transposed=False):
    return SimpleNamespace(op=op, attr={"transpose_b": SimpleNamespace(b=transposed)})


@pytest.fixture(scope="module")
def small(known, net):
    layers = net()

    def call(x):
        x = tf.nn.relu(layers.conv(x, 4, "alone"))
        y = layers.conv(x, 4, "shared")
        z = tf.nn.relu6(y, name="ceiling") + y
        return tf.identity(layers.dense(tf.reduce_mean(z, [1, 2], name="mean"), 3, "end"))

    return known(call, (6, 6, 3))


def test_what_an_activation_function_alone_reads_is_not_stored(small):
    found = stored(small.graph, small.record.ranges)
    assert "alone/bias" not in found
    assert {"input", "shared/bias", "ceiling", "mean", "end/bias"} <= found
    assert stored(small.graph, ["nowhere", "mean"]) == {"mean"}


def test_readers_are_counted_once_for_each_reading(small):
    readers = readers_of(small.graph)
    assert readers["alone"] == ["alone/bias"]
    assert sorted(small.graph.nodes[n].op for n in readers["shared/bias"]) == ["AddV2", "Relu6"]
    assert "output" not in readers


@given(low=NUMBERS, high=NUMBERS, seed=st.integers(0, 99))
def test_values_come_to_the_nearest_step_within_the_range(low, high, seed):
    low, high = min(low, high), max(low, high)
    found = grid(low, high)
    values = np.random.default_rng(seed).uniform(low - 1, high + 1, 50).astype(np.float32)
    steps = np.clip(np.rint(values.astype(np.float64) / found.scale) + found.zero_point, -128, 127)
    wanted = (steps - found.zero_point) * found.scale
    near = np.abs(on_grid(tf.constant(values), (low, high)).numpy() - wanted)
    assert near.max() <= found.scale * 1.001  # a tie goes either way
    assert (near <= found.scale * 1e-3).mean() > 0.9
    assert float(on_grid(tf.constant(0.0), (low, high))) == 0.0


def test_weights_are_rows_of_one_output_each():
    kernel = np.arange(2 * 2 * 3 * 4.0).reshape(2, 2, 3, 4)
    rows = weight_rows(kernel, node("Conv2D"))
    assert rows.shape == (1, 4, 12)
    np.testing.assert_array_equal(rows[0, 1], kernel[..., 1].ravel())
    rows = weight_rows(kernel, node("DepthwiseConv2dNative"))
    assert rows.shape == (3, 4, 4)
    np.testing.assert_array_equal(rows[2, 1], kernel[:, :, 2, 1].ravel())
    matrix = np.arange(6.0).reshape(2, 3)
    assert weight_rows(matrix, node("MatMul")).shape == (1, 3, 2)
    np.testing.assert_array_equal(weight_rows(matrix, node("MatMul", transposed=True))[0], matrix)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((3, 2, 4, 5), node("Conv2D")),
        ((3, 2, 4, 1), node("DepthwiseConv2dNative")),
        ((3, 2, 4, 3), node("DepthwiseConv2dNative")),
        ((7, 5), node("MatMul")),
        ((7, 5), node("MatMul", transposed=True)),
    ],
)
def test_rows_go_there_and_back(shape, kind):
    weights = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_array_equal(from_rows(weight_rows(weights, kind), weights, kind), weights)


@given(rows=ROWS)
def test_the_largest_weight_of_an_output_is_at_the_end_of_its_grid(rows):
    steps = weight_steps(rows)
    assert steps.shape == (*rows.shape[:2], 1)
    found = rounded(rows)
    counts = found / steps
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-6)
    assert np.abs(counts).max() <= LEVELS + 1e-6
    largest = np.abs(rows).max(axis=2)
    normal = largest > 1e-30
    np.testing.assert_allclose(np.abs(counts).max(axis=2)[normal], LEVELS, rtol=1e-6)
    assert (np.abs(found - rows)[normal] <= steps[normal] * 0.5001).all()
    np.testing.assert_allclose(weight_steps(found)[normal], steps[normal], rtol=1e-6)  # the grid stays


def test_an_output_without_weights_has_a_grid_too():
    rows = np.zeros((1, 2, 3))
    rows[0, 1] = [1.0, -2.0, 0.5]
    assert weight_steps(rows)[0, 0, 0] == 1.0
    assert not rounded(rows)[0, 0].any()


@given(
    rows=ROWS,
    bias=st.floats(-1e6, 1e6),
    step=st.floats(1e-4, 10.0),
)
def test_a_bias_always_fits_into_32_bits(rows, bias, step):
    biases = np.full(rows.shape[0] * rows.shape[1], bias)
    found = lifted(rows, biases, step)
    steps = weight_steps(found)[:, :, 0]
    assert (np.abs(bias) / (step * steps) < 2.0**31).all()
    changed = (found != rows).sum(axis=2)
    assert changed.max() <= 1  # one weight of an output at most
    assert (np.abs(found) >= np.abs(rows)).all()


def test_weights_that_are_wide_enough_are_not_touched():
    rows = np.random.default_rng(1).normal(size=(1, 4, 9))
    np.testing.assert_array_equal(lifted(rows, np.array([1.0, -3.0, 0.0, 20.0]), 0.02), rows)


def test_a_lifted_weight_keeps_its_sign_and_is_small_next_to_the_bias():
    rows = np.full((1, 1, 4), 1e-20)
    rows[0, 0, 2] = -3e-20
    found = lifted(rows, np.array([5.0]), 0.01)
    assert found[0, 0, 2] < 0
    assert abs(found[0, 0, 2]) * 0.01 * 255 < 5.0 * 1e-4  # with the largest input


def test_weights_too_small_for_a_step_become_nothing():
    """A batch norm with a variance of infinity folds to such weights."""
    rows = np.full((1, 2, 3), 1e-44)
    rows[0, 1] = 1.0
    found = rounded(rows)
    assert not found[0, 0].any()
    np.testing.assert_allclose(found[0, 1], 1.0, rtol=1e-6)
