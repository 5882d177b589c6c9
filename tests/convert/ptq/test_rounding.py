"""Weights rounded together cost the outputs less than weights rounded one by one, whatever the inputs."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.convert.ptq.grids import LEVELS, from_rows, rounded, weight_rows, weight_steps
from edgekit.convert.ptq.moments import ROWS, moments
from edgekit.convert.ptq.rounding import rounded_together

pytestmark = pytest.mark.convert


def covariance(random, groups, size, rank, decay):
    """Of inputs that depend on each other: few directions carry most."""
    mixing = random.normal(size=(groups, size, rank)) * decay ** np.arange(rank)
    return np.einsum("gir,gjr->gij", mixing, mixing).astype(np.float32)


def cost(errors, spread):
    """Return the expected squared error of each output."""
    return np.einsum("goi,gij,goj->go", errors, spread.astype(np.float64), errors)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    groups=st.integers(1, 4),
    outputs=st.integers(8, 16),
    size=st.integers(2, 90),
    decay=st.floats(0.3, 1.0),
)
def test_the_outputs_lose_no_more_than_by_rounding_to_nearest(seed, groups, outputs, size, decay):
    """Over all outputs of an operation: a single one may be unlucky."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(groups, outputs, size))
    spread = covariance(random, groups, size, size + 2, decay)
    together, nearest = rounded_together(rows, spread), rounded(rows)
    mean = np.einsum("gii->g", spread).mean() / size
    slack = 0.02 * mean * float((weight_steps(rows) ** 2).sum()) * size  # what the damping may cost
    assert cost(together - rows, spread).sum() <= cost(nearest - rows, spread).sum() + slack


def test_inputs_that_depend_on_each_other_win_much():
    random = np.random.default_rng(1)
    rows = random.normal(size=(1, 64, 144))
    spread = covariance(random, 1, 144, 24, 0.9)
    together, nearest = rounded_together(rows, spread), rounded(rows)
    assert cost(together - rows, spread).sum() < 0.2 * cost(nearest - rows, spread).sum()


def test_inputs_that_do_not_are_rounded_to_the_nearest():
    rows = np.random.default_rng(2).normal(size=(1, 5, 30))
    spread = np.eye(30, dtype=np.float32)[None] * np.linspace(1, 3, 30, dtype=np.float32)
    np.testing.assert_allclose(rounded_together(rows, spread), rounded(rows), atol=1e-12)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), groups=st.integers(1, 5), outputs=st.integers(1, 4),
       size=st.integers(1, 70))  # fmt: skip
def test_the_grid_stays_and_so_does_its_end(seed, groups, outputs, size):
    """An artifact finds a weight's step from the largest: it has to be there, and to be the largest."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(groups, outputs, size)) * random.uniform(0.01, 50, (groups, outputs, 1))
    steps = weight_steps(rows)
    found = rounded_together(rows, covariance(random, groups, size, size, 0.8))
    counts = found / steps
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-6)
    assert np.abs(counts).max() <= LEVELS + 1e-6
    largest = np.abs(rows).argmax(axis=2)[:, :, None]
    ends = np.take_along_axis(counts, largest, axis=2)
    np.testing.assert_allclose(np.abs(ends), LEVELS, rtol=1e-6)
    assert (np.sign(ends) == np.sign(np.take_along_axis(rows, largest, axis=2))).all()
    np.testing.assert_allclose(weight_steps(found), steps, rtol=1e-6)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_a_singular_covariance_is_survived(rank):
    """Inputs that are always 0, or always the same multiple of each other."""
    random = np.random.default_rng(rank)
    rows = random.normal(size=(2, 3, 12))
    spread = covariance(random, 2, 12, rank, 1.0) if rank else np.zeros((2, 12, 12), np.float32)
    found = rounded_together(rows, spread)
    assert np.isfinite(found).all()
    steps = weight_steps(rows)
    assert np.abs(found / steps).max() <= LEVELS + 1e-6
    nearest = rounded(rows)
    assert cost(found - rows, spread).sum() <= cost(nearest - rows, spread).sum() + 1e-12


def test_a_group_without_inputs_stands_beside_one_with_large_ones():
    random = np.random.default_rng(9)
    spread = covariance(random, 2, 9, 9, 0.9)
    spread[0] = 0.0
    spread[1] *= 1e8
    found = rounded_together(random.normal(size=(2, 1, 9)), spread)
    assert np.isfinite(found).all()


def test_weights_of_nothing_stay_nothing():
    rows = np.zeros((1, 2, 6))
    rows[0, 1] = np.arange(6.0)
    found = rounded_together(rows, covariance(np.random.default_rng(0), 1, 6, 6, 1.0))
    assert not found[0, 0].any()


def test_the_same_weights_come_out_each_time():
    random = np.random.default_rng(5)
    rows, spread = random.normal(size=(1, 8, 70)), covariance(random, 1, 70, 9, 0.9)
    np.testing.assert_array_equal(
        rounded_together(rows, spread), rounded_together(rows.copy(), spread.copy())
    )


def node_of(call, shape, name="op"):
    """Return the NodeDef of a traced operation."""
    function = tf.function(call).get_concrete_function(tf.TensorSpec((None, *shape), tf.float32))
    return function.graph.get_operation_by_name(name).node_def


def convolved(kernel, **options):
    return lambda x: tf.nn.conv2d(x, kernel, **{"strides": 1, "padding": "VALID", **options}, name="op")


def depthwise(kernel):
    def call(x):
        return tf.raw_ops.DepthwiseConv2dNative(
            input=x, filter=kernel, strides=[1, 2, 2, 1], padding="SAME", name="op"
        )

    return call


CONVOLUTIONS = {
    "valid": ((3, 3, 4, 2), {}),
    "same": ((3, 3, 4, 2), {"padding": "SAME"}),
    "strided": ((3, 3, 4, 2), {"strides": 2, "padding": "SAME"}),
    "dilated": ((2, 2, 4, 2), {"dilations": 2}),
    "pointwise": ((1, 1, 4, 2), {}),
    "pointwise strided": ((1, 1, 4, 2), {"strides": 2}),
    "oblong": ((1, 3, 4, 2), {"padding": "SAME"}),
    "explicit": ((3, 3, 4, 2), {"padding": [[0, 0], [2, 0], [0, 1], [0, 0]]}),
}


def spread_of_outputs(values):
    """Return the variance of each output channel over inputs and places."""
    return values.reshape(-1, values.shape[-1]).var(axis=0)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_moments_are_those_of_what_a_convolution_reads(name):
    """w' C w is the variance of the operation's own output for any w: here its weights."""
    shape, options = CONVOLUTIONS[name]
    random = np.random.default_rng(3)
    kernel = random.normal(size=shape).astype(np.float32)
    values = random.normal(size=(6, 9, 9, 4)).cumsum(axis=3).astype(np.float32)
    call = convolved(kernel, **options)
    found = moments(tf.constant(values), node_of(call, values.shape[1:]), shape)
    rows = weight_rows(kernel, node_of(call, values.shape[1:]))
    wanted = spread_of_outputs(call(values).numpy())
    np.testing.assert_allclose(cost(rows, found)[0], wanted, rtol=1e-3)


def test_moments_of_a_depthwise_convolution_are_a_matrix_a_channel():
    random = np.random.default_rng(4)
    kernel = random.normal(size=(3, 3, 5, 1)).astype(np.float32)
    values = (random.normal(size=(6, 8, 8, 5)) * np.arange(1, 6)).astype(np.float32)
    call = depthwise(kernel)
    operation = node_of(call, values.shape[1:])
    found = moments(tf.constant(values), operation, kernel.shape)
    assert found.shape == (5, 9, 9)
    rows = weight_rows(kernel, operation)
    np.testing.assert_allclose(cost(rows, found)[:, 0], spread_of_outputs(call(values).numpy()), rtol=1e-3)


def test_moments_of_a_dense_layer():
    random = np.random.default_rng(5)
    values = random.normal(size=(40, 6)).astype(np.float32)
    matrix = random.normal(size=(6, 3)).astype(np.float32)
    found = moments(tf.constant(values), node_of(lambda x: tf.matmul(x, matrix, name="op"), (6,)), (6, 3))
    np.testing.assert_allclose(found[0], np.cov(values.T, bias=True), rtol=1e-4, atol=1e-5)


def test_no_more_patches_are_looked_at_than_there_is_time_for():
    """A quarter of the patches, evenly spread, say the same."""
    random = np.random.default_rng(6)
    values = random.normal(size=(4 * ROWS + 3, 1, 1, 3)).astype(np.float32)
    call = convolved(random.normal(size=(1, 1, 3, 2)).astype(np.float32))
    found = moments(tf.constant(values), node_of(call, (1, 1, 3)), (1, 1, 3, 2))
    np.testing.assert_allclose(found[0], np.eye(3), atol=0.06)


@pytest.mark.parametrize("kind", ["convolution", "depthwise"])
def test_the_real_outputs_of_a_real_operation_gain(kind):
    """Smooth inputs, as images are: the mean squared error of the operation's outputs, bias apart."""
    random = np.random.default_rng(7)
    values = random.normal(size=(8, 12, 12, 8)).cumsum(axis=1).cumsum(axis=2).astype(np.float32)
    shape = (3, 3, 8, 16) if kind == "convolution" else (3, 3, 8, 1)
    kernel = random.normal(size=shape).astype(np.float32)
    make = convolved if kind == "convolution" else depthwise
    operation = node_of(make(kernel), values.shape[1:])
    rows = weight_rows(kernel.astype(np.float64), operation)
    together = rounded_together(rows, moments(tf.constant(values), operation, shape))
    wanted = make(kernel)(values).numpy()
    lost = {}
    for name, found in (("together", together), ("nearest", rounded(rows))):
        weights = from_rows(found, kernel, operation).astype(np.float32)
        lost[name] = spread_of_outputs(make(weights)(values).numpy() - wanted).sum()
    assert lost["together"] < 0.6 * lost["nearest"]
