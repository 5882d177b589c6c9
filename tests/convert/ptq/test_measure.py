"""What is measured on a few inputs: prints, ranges cut for the least error, and what layers lose."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from edgekit.convert.methods import METHODS
from edgekit.convert.ptq.execute import walk
from edgekit.convert.ptq.grids import on_grid
from edgekit.convert.ptq.layers import layer, rounding_snr
from edgekit.convert.ptq.measure import cut_ranges, keeps_a_batch, picked_ranges, prints_of
from edgekit.convert.ptq.reference import reference_of
from edgekit.convert.ranges import grid

pytestmark = pytest.mark.convert
SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def small(known, net, noise):
    layers = net(2)

    def call(x):
        left, right = tf.split(tf.nn.relu(layers.conv(x, 8, "a", stride=2)), 2, axis=3)
        x = tf.concat([layers.conv(left, 4, "b"), tf.nn.max_pool2d(right, 2, 1, "SAME")], 3)
        return tf.nn.softmax(layers.dense(tf.reduce_mean(tf.nn.relu(x), [1, 2]), 5, "c"))

    return known(call, SHAPE, noise(20, SHAPE))


@pytest.fixture(scope="module")
def heavy(known, net, noise):
    """Inputs with a few values far out: what cutting is for."""
    layers = net(3)

    def call(x):
        return tf.identity(layers.dense(tf.reduce_mean(tf.nn.relu(layers.conv(x, 8, "a")), [1, 2]), 4, "b"))

    inputs = noise(20, SHAPE)
    inputs[np.random.default_rng(1).uniform(size=inputs.shape) < 1e-3] *= 25
    return known(call, SHAPE, inputs)


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_prints_are_what_calibration_measured(batch, small):
    wanted = small.record.prints
    found = prints_of(small.graph, small.shapes, wanted, batch=batch)
    assert list(found.values) == list(wanted.sizes)
    for name, values in wanted.values.items():
        assert found.values[name].shape == (4, 3)
        np.testing.assert_allclose(found.values[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(found.inputs, wanted.inputs)


def test_a_network_keeps_a_batch_when_prints_agree(small):
    prints = small.record.prints
    assert keeps_a_batch(small.graph, small.shapes, prints)
    other = dict(prints.values)
    other["c/bias"] = other["c/bias"] * 1.1
    assert not keeps_a_batch(small.graph, small.shapes, dataclasses.replace(prints, values=other))


MIXING = {
    "mean": lambda x: x - tf.reduce_mean(x, axis=0, keepdims=True),
    "order": lambda x: tf.reverse(x, [0]),
    "rows": lambda x: tf.reshape(tf.transpose(tf.reshape(x, [3, 64])), [1, 8, 8, 3]),
    "squeeze": lambda x: tf.squeeze(x)[None],
}


@pytest.mark.parametrize("name", MIXING)
def test_a_network_that_mixes_a_batch_does_not(name, known, net, noise):
    layers = net(4)
    found = known(
        lambda x: tf.reduce_mean(layers.conv(MIXING[name](x), 4, "a"), [1, 2]), SHAPE, noise(5, SHAPE)
    )
    assert not keeps_a_batch(found.graph, found.shapes, found.record.prints)
    wanted = found.record.prints  # input by input they are right all the same
    alone = prints_of(found.graph, found.shapes, wanted, batch=1)
    for tensor, values in wanted.values.items():
        np.testing.assert_allclose(alone.values[tensor], values, rtol=1e-4, atol=1e-5, err_msg=tensor)


def test_one_input_is_a_batch_of_its_own(known, net, noise):
    """There is nothing that it could be mixed with."""
    layers = net(4)
    found = known(
        lambda x: tf.reduce_mean(layers.conv(tf.reverse(x, [0]), 4, "a"), [1, 2]), SHAPE, noise(1, SHAPE)
    )
    assert keeps_a_batch(found.graph, found.shapes, found.record.prints)


def cut(found):
    reference = reference_of(found.graph, found.shapes, found.data.inputs, found.record.spans)
    return cut_ranges(reference.samples, found.record, found.frozen.graph_def)


def test_each_tensor_has_the_range_that_costs_its_values_least(heavy):
    """No method alone costs any tensor less; the input and what only moves values are left out."""
    reference = reference_of(heavy.graph, heavy.shapes, heavy.data.inputs, heavy.record.spans)
    ranges, picked = picked_ranges(reference.samples, heavy.record, heavy.frozen.graph_def)
    assert list(ranges) == list(heavy.record.ranges)
    assert ranges["input"] == heavy.record.ranges["input"]
    assert "input" not in picked
    assert set(picked.values()) <= set(METHODS)
    cut = cut_ranges(reference.samples, heavy.record, heavy.frozen.graph_def)
    for name in picked:
        values = reference.samples[name]
        costs = [
            float(tf.nn.l2_loss(values - on_grid(tf.constant(values), limits)))
            for limits in (ranges[name], cut[name], heavy.record.ranges[name])
        ]
        assert costs[0] <= 1.001 * min(costs[1:]) + 1e-9, name


def test_ranges_are_never_widened(small):
    found = cut(small)
    assert list(found) == list(small.record.ranges)
    for name, (low, high) in found.items():
        before = small.record.ranges[name]
        assert before[0] <= low <= high <= before[1], name


def test_the_inputs_range_stays(heavy):
    assert cut(heavy)["input"] == heavy.record.ranges["input"]


def test_no_other_cut_costs_less(heavy):
    """Of a hundred shares of the range, by rounding and clipping the very values."""
    seen = {}
    walk(heavy.graph, heavy.shapes, heavy.data.inputs, seen.__setitem__)
    for name, (low, high) in cut(heavy).items():
        if name == "input":
            continue
        before = heavy.record.ranges[name]
        shares = [(before[0] * n / 100, before[1] * n / 100) for n in range(1, 101)]
        lost = [float(tf.nn.l2_loss(seen[name] - on_grid(seen[name], limits))) for limits in shares]
        mine = float(tf.nn.l2_loss(seen[name] - on_grid(seen[name], (low, high))))
        assert mine <= 1.1 * min(lost), name
        assert mine <= 1.02 * lost[-1], name


def test_tied_tensors_stay_tied(small):
    found = cut(small)
    graph = small.graph
    joined = next(n for n in graph.order() if graph.nodes[n].op == "ConcatV2")
    assert found[joined] == found["b/bias"]
    assert found["output"] == small.record.ranges["output"]  # a softmax has a grid of its own
    first = next(n for n in graph.order() if graph.nodes[n].op == "Split")
    assert found[first] == found[f"{first}:1"]


def test_cutting_is_the_same_each_time(heavy):
    assert cut(heavy) == cut(heavy)


VALUES = st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=30)


@given(values=VALUES, low=st.floats(-40, 0), high=st.floats(0.5, 40))
def test_the_saturated_share_is_that_beyond_the_range(values, low, high):
    held = grid(low, high)
    tensor = tf.constant([values])
    found = layer("t", "Relu", (tensor, tensor, on_grid(tensor, (low, high))), (low, high))
    step = held.scale / 2
    beyond = [v for v in values if v < held.low - step * 1.001 or v > held.high + step * 1.001]
    nearly = [v for v in values if v < held.low - step * 0.999 or v > held.high + step * 0.999]
    assert len(beyond) / len(values) - 1e-6 <= found.saturated <= len(nearly) / len(values) + 1e-6
    assert (found.low, found.high) == (held.low, held.high)


def test_noise_of_its_own_and_all_noise_are_told_apart():
    random = np.random.default_rng(4)
    wanted = tf.constant(random.normal(size=(4, 500)), tf.float32)
    before = wanted + tf.constant(0.1 * random.normal(size=(4, 500)), tf.float32)
    after = before + tf.constant(0.01 * random.normal(size=(4, 500)), tf.float32)
    found = layer("t", "Conv2D", (wanted, before, after), (-4.0, 4.0), 30.0)
    assert found.snr_db == pytest.approx(20, abs=0.5)
    assert found.own_snr_db == pytest.approx(40, abs=0.5)
    assert found.total_db == pytest.approx(29.6, abs=0.2)  # 30 dB of weights and 40 dB of values
    assert dataclasses.replace(found, weights_snr_db=None).total_db == pytest.approx(found.own_snr_db)


def test_a_tensor_of_zeros_loses_nothing():
    zeros = tf.zeros((2, 5))
    assert layer("t", "Relu", (zeros, zeros, zeros), (0.0, 0.0)).snr_db == 200.0


@pytest.mark.parametrize("centred", [True, False])
def test_a_shift_of_a_channel_counts_unless_biases_take_it_back(centred):
    random = np.random.default_rng(5)
    sums = tf.constant(random.normal(size=(4, 6, 6, 3)), tf.float32)
    lost = tf.constant(0.01 * random.normal(size=(4, 6, 6, 3)) + [1.0, -1.0, 0.0], tf.float32)
    found = rounding_snr(sums, lost, centred=centred)
    assert found == pytest.approx(40, abs=1) if centred else found < 5
