"""Tuning: it never ends below where it began, does only what it is told, and gives the same each time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from edgekit.convert import from_array
from edgekit.convert.observe import calibrate
from edgekit.convert.ptq.execute import shapes_of
from edgekit.convert.ptq.measure import is_row
from edgekit.convert.ptq.score import score
from edgekit.convert.ptq.tune import AUTO, FEWEST, METHODS, NONE, SAMPLE, known_tuning, tune
from edgekit.convert.ptq.twin import Mending, run_twin
from edgekit.errors import UnknownNameError, UsageError
from edgekit.source import freeze, load_source
from edgekit.source.freezing import snr
from edgekit.source.graph import Graph

pytestmark = pytest.mark.convert
SHAPE = (8, 8, 4)


def uneven(net, seed=1):
    """Channels of very different size, ReLU between: every method has something to do."""
    layers = net(seed)
    factors = np.geomspace(1, 60, 8)

    def call(x):
        x = tf.nn.relu(layers.conv(x, 8, "a", kernel=layers.weights(3, 3, 4, 8) * factors))
        x = tf.nn.relu(layers.depthwise(x, "b"))
        x = tf.nn.relu(layers.conv(x, 8, "c", size=1, kernel=layers.weights(1, 1, 8, 8) / factors[:, None]))
        return tf.identity(layers.dense(tf.reduce_mean(x, [1, 2]), 6, "d"))

    return call


@pytest.fixture(scope="module")
def small(known, net, noise):
    return known(uneven(net), SHAPE, noise(40, SHAPE))


def tuned(found, *methods):
    return tune(found.frozen, found.data, found.record, known_tuning(methods))


def test_modes_and_methods_are_known():
    assert known_tuning(["auto"]) == (AUTO,)
    assert known_tuning(["none"]) == ()
    assert known_tuning([]) == ()
    assert known_tuning(["none", "none"]) == ()
    assert known_tuning(["round", "bias", "repair", "bias"]) == ("repair", "bias", "round")


@given(names=st.lists(st.sampled_from(METHODS)))
def test_methods_come_in_the_order_of_use_whatever_the_order_of_naming(names):
    found = known_tuning(names)
    assert set(found) == set(names)
    assert list(found) == sorted(found, key=METHODS.index)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("equalise", "equalize"), ("biases", "bias"), ("atuo", "auto"), ("rounding", "round")],
)
def test_an_unknown_method_is_refused_with_the_nearest(name, nearest):
    with pytest.raises(UnknownNameError, match=f"did you mean '{nearest}'") as caught:
        known_tuning(["repair", name])
    assert "\n" not in caught.value.what


@pytest.mark.parametrize(("mode", "method"), list(itertools.product([AUTO, NONE], ["bias", "repair"])))
def test_a_mode_excludes_everything_else(mode, method):
    with pytest.raises(UsageError, match=f"{mode} and other tuning methods exclude each other") as caught:
        known_tuning([method, mode])
    assert caught.value.hint == "name one or the other"


def test_both_modes_exclude_each_other():
    with pytest.raises(UsageError, match="exclude each other"):
        known_tuning([AUTO, NONE])


def twin_db(frozen, record, inputs):
    graph = Graph(frozen.graph_def, "output")
    return run_twin(
        graph, shapes_of(frozen.function), inputs, Mending(ranges=record.ranges, biases=False)
    ).got


def unseen(found, result, noise):
    """Return the score of a tuned network on inputs that it was not tuned on."""
    inputs = noise(48, SHAPE, seed=77)
    wanted = run_twin(found.graph, found.shapes, inputs, Mending(ranges={}, biases=False)).wanted
    return score(wanted, twin_db(result.frozen, result.record, inputs)).snr_db


@pytest.mark.parametrize("seed", range(4))
def test_auto_never_ends_below_plain(seed, known, net, noise):
    found = known(uneven(net, seed), SHAPE, noise(32, SHAPE))
    plain, auto = tuned(found, "none"), tuned(found, "auto")
    assert plain.before == plain.after
    assert auto.before == plain.before
    assert auto.after.snr_db >= auto.before.snr_db
    assert auto.methods == () or auto.after.beats(auto.before)
    assert unseen(found, auto, noise) >= unseen(found, plain, noise) - 0.1


def test_auto_gains_much_where_there_is_much_to_gain(small, noise):
    plain, auto = tuned(small, "none"), tuned(small, "auto")
    assert "equalize" in auto.methods
    assert auto.after.snr_db > plain.after.snr_db + 4
    assert unseen(small, auto, noise) > unseen(small, plain, noise) + 3


def test_what_was_tried_is_kept_with_its_score(small):
    auto = tuned(small, "auto")
    assert next(iter(auto.tried)) == "plain"
    assert auto.tried["plain"] == auto.before
    assert auto.after in auto.tried.values()
    assert not any(found.beats(auto.after) for found in auto.tried.values())
    told = []
    tune(small.frozen, small.data, small.record, (AUTO,), told.append)
    assert told == list(auto.tried)


def test_auto_stops_where_nothing_is_left_to_win(known, net, noise):
    """A network of one layer loses next to nothing."""
    layers = net(3)
    kernel = np.sign(layers.weights(8 * 8 * 4, 3))

    def call(x):
        return tf.identity(layers.dense(tf.reshape(x, [1, -1]), 3, "a", kernel=kernel))

    found = known(call, SHAPE, noise(16, SHAPE))
    auto = tuned(found, "auto")
    assert auto.before.good
    assert auto.methods == ()
    assert list(auto.tried) == ["plain"]


def constants_of(frozen):
    graph = Graph(frozen.graph_def, "output")
    return {n: graph.constants[graph.nodes[n].input[1]] for n in ("a", "b", "c", "d")}, {
        n: graph.constants[graph.nodes[f"{n}/bias"].input[1]] for n in ("a", "b", "c", "d")
    }


def test_named_methods_do_only_what_they_say(small):
    plain, biased, rounded = (tuned(small, name) for name in ("none", "bias", "round"))
    source = constants_of(small.frozen)
    kernels, biases = constants_of(plain.frozen)
    for name, bias in biases.items():
        np.testing.assert_array_equal(bias, source[1][name])
    for name, kernel in kernels.items():  # on their grids: every artifact would do the same
        step = np.abs(source[0][name]).max() / 127
        assert np.abs(kernel - source[0][name]).max() <= step * 0.51
    found = constants_of(biased.frozen)
    for name, kernel in found[0].items():
        np.testing.assert_array_equal(kernel, kernels[name])
    assert any((found[1][name] != biases[name]).any() for name in biases)
    found = constants_of(rounded.frozen)
    assert any((found[0][name] != kernels[name]).any() for name in kernels)
    for name, bias in found[1].items():
        np.testing.assert_array_equal(bias, biases[name])
    for result, methods in ((plain, ()), (biased, ("bias",)), (rounded, ("round",))):
        assert result.methods == methods
        assert result.record.ranges == small.record.ranges


def test_ranges_are_cut_and_nothing_else_is_done(small):
    result = tuned(small, "ranges")
    plain = constants_of(tuned(small, "none").frozen)
    found = constants_of(result.frozen)
    for kernels, wanted in zip(found, plain, strict=True):
        for name, kernel in kernels.items():
            np.testing.assert_array_equal(kernel, wanted[name])
    assert result.record.ranges["input"] == small.record.ranges["input"]
    assert result.record.method == "mse"
    for name, (low, high) in result.record.ranges.items():
        before = small.record.ranges[name]
        assert before[0] <= low <= high <= before[1], name
    assert result.record.ranges != small.record.ranges


def test_equalizing_keeps_the_network_and_moves_the_ranges(small, outputs_of):
    result = tuned(small, "equalize")
    assert result.methods == ("equalize",)
    assert result.record.ranges != small.record.ranges
    measured = calibrate(result.frozen, small.data, "minmax")
    for name, (low, high) in measured.ranges.items():
        wanted = result.record.ranges[name]
        assert np.allclose((low, high), wanted, atol=0.03 * max(map(abs, wanted))), name
    outputs = [outputs_of(frozen, small.data.inputs[:8]) for frozen in (small.frozen, result.frozen)]
    assert snr(*outputs) > 30  # only the rounding of weights is left


@pytest.mark.parametrize("method", ["moving-average", "percentile", "mse"])
def test_equalizing_measures_anew_where_ranges_do_not_scale(method, small):
    record = calibrate(small.frozen, small.data, method)
    result = tune(small.frozen, small.data, record, ("equalize",))
    assert result.record.method == method
    widest = tuned(small, "equalize").record.ranges
    for name, (low, high) in result.record.ranges.items():
        slack = 1e-4 * max(abs(widest[name][0]), abs(widest[name][1]))
        assert widest[name][0] - slack <= low <= high <= widest[name][1] + slack, name


@pytest.mark.parametrize("methods", [("auto",), ("bias", "round", "equalize", "ranges")])
def test_the_same_inputs_give_the_same_constants(methods, small):
    first, second = tuned(small, *methods), tuned(small, *methods)
    assert first.frozen.graph_def == second.frozen.graph_def
    assert first.record == second.record
    assert first.tried == second.tried
    assert first.layers == second.layers


def test_what_is_tuned_says_so_and_keeps_its_source(small):
    result = tuned(small, "bias")
    assert result.frozen.tuned
    assert not small.frozen.tuned
    assert result.frozen.source is small.frozen.source
    assert set(shapes_of(result.frozen.function)) >= set(small.record.ranges)
    assert list(result.record.ranges) == list(small.record.ranges)


def test_layers_are_told_in_the_order_of_computing(small):
    layers = [layer.tensor for layer in tuned(small, "auto").layers]
    order = [name for name in small.graph.order() if name in layers]
    assert layers == order
    assert layers[0] == "input"


def test_prints_are_those_of_the_tuned_network(small):
    """Formats find their tensors by them."""
    result = tuned(small, "equalize", "bias")
    again = calibrate(result.frozen, small.data, "minmax").prints
    assert list(result.record.prints.sizes) == list(again.sizes)
    for name, values in again.values.items():
        np.testing.assert_allclose(
            result.record.prints.values[name], values, rtol=1e-3, atol=1e-4 * abs(values).max(), err_msg=name
        )


@pytest.mark.parametrize("count", [1, 2, FEWEST - 1])
def test_too_few_inputs_are_not_learned_by_heart(count, known, net, noise):
    found = known(uneven(net), SHAPE, noise(count, SHAPE))
    auto = tuned(found, "auto")
    assert auto.methods == ()
    assert auto.after.count == count
    assert list(auto.tried) == ["plain"]


@pytest.mark.parametrize("count", [FEWEST, SAMPLE, SAMPLE + 8])
def test_a_sample_is_looked_at(count, known, net, noise):
    found = known(uneven(net), SHAPE, noise(count, SHAPE))
    auto = tuned(found, "auto")
    assert auto.after.count == min(count, SAMPLE)
    assert unseen(found, auto, noise) >= unseen(found, tuned(found, "none"), noise) - 0.2


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("methods", [("bias",), ("equalize", "round", "bias"), METHODS])
def test_named_methods_work_on_a_few_inputs_too(methods, count, known, net, noise):
    found = known(uneven(net), SHAPE, noise(count, SHAPE))
    result = tuned(found, *methods)
    assert np.isfinite(result.after.snr_db)
    assert set(result.methods) <= set(methods)


MIXING = {
    "mean": lambda x: x + tf.reduce_mean(x, axis=0, keepdims=True),
    "reverse": lambda x: tf.reverse(x * 2.0, [0]),
    "squeeze": lambda x: tf.squeeze(x)[None],
    "rows turned": lambda x: tf.reshape(tf.transpose(tf.reshape(x, [4, 64])), [1, 8, 8, 4]),
}


def mixing(name, net):
    layers = net(2)

    def call(x):
        x = MIXING[name](tf.nn.relu(layers.conv(x, 4, "a")))
        return tf.identity(layers.dense(tf.reduce_mean(layers.conv(x, 4, "b"), [1, 2]), 4, "c"))

    return call


@pytest.mark.parametrize("name", MIXING)
def test_a_network_that_mixes_a_batch_is_looked_at_input_by_input(name, known, net, noise, outputs_of):
    found = known(mixing(name, net), SHAPE, noise(12, SHAPE))
    auto = tuned(found, "auto")
    assert auto.after.count == 1
    assert auto.methods == ()
    outputs = [outputs_of(frozen, found.data.inputs[:4]) for frozen in (found.frozen, auto.frozen)]
    assert snr(*outputs) > 25
    again = calibrate(auto.frozen, found.data, "minmax").prints
    for tensor, values in again.values.items():
        np.testing.assert_allclose(
            auto.record.prints.values[tensor], values, rtol=1e-3, atol=1e-4 * abs(values).max()
        )


@pytest.mark.parametrize("method", ["bias", "ranges", "round"])
def test_what_needs_a_batch_is_refused_for_such_a_network(method, known, net, noise):
    found = known(mixing("mean", net), SHAPE, noise(6, SHAPE))
    with pytest.raises(
        UsageError, match=f"written mixes the inputs of a batch, and {method} needs"
    ) as caught:
        tuned(found, "equalize", method)
    assert "--tuning auto" in caught.value.hint
    assert tuned(found, "equalize").after.count == 1


def test_a_transposed_convolution_runs_in_a_batch(known, net, noise):
    """Its batch of 1 is written into its output's shape."""
    layers = net(2)
    kernel = layers.weights(3, 3, 5, 4)

    def call(x):
        x = tf.nn.relu(tf.nn.conv2d_transpose(x, kernel, [1, 16, 16, 5], 2))
        return tf.identity(layers.dense(tf.reduce_mean(layers.conv(x, 4, "a"), [1, 2]), 4, "b"))

    found = known(call, SHAPE, noise(12, SHAPE))
    assert tuned(found, "bias").after.count == 12


def test_inputs_of_one_colour_are_survived(known, net):
    found = known(uneven(net), SHAPE, np.full((8, *SHAPE), 0.5, np.float32))
    auto = tuned(found, "auto")
    kernels, biases = constants_of(auto.frozen)
    assert all(np.isfinite(value).all() for value in (*kernels.values(), *biases.values()))


def test_zeros_are_survived(known, net):
    found = known(uneven(net), SHAPE, np.zeros((8, *SHAPE), np.float32))
    for methods in (("auto",), METHODS):
        result = tuned(found, *methods)
        kernels, biases = constants_of(result.frozen)
        assert all(np.isfinite(value).all() for value in (*kernels.values(), *biases.values()))


def test_the_data_is_not_changed(small):
    before = small.data.inputs.copy()
    tuned(small, *METHODS)
    np.testing.assert_array_equal(small.data.inputs, before)
    assert from_array(before).sha256 == from_array(small.data.inputs).sha256


def recurrent(keras):
    given_ = keras.layers.Input((8, 6))
    return keras.Model(given_, keras.layers.Dense(3)(keras.layers.LSTM(5, unroll=True)(given_)))


def attentive(keras):
    layers = keras.layers
    given_ = layers.Input((9, 8))
    x = layers.LayerNormalization()(given_)
    x = layers.Dense(16, activation="gelu")(x + layers.MultiHeadAttention(2, 4)(x, x))
    return keras.Model(given_, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def stepwise(keras):
    """A dense layer at every step: steps become rows of one matrix."""
    layers = keras.layers
    given_ = layers.Input((10, 6))
    x = layers.Dense(8, activation="relu")(layers.Dense(8, activation="relu")(given_))
    return keras.Model(given_, layers.Dense(3)(layers.Flatten()(x)))


def dilated(keras):
    """Dilation as space moved into the batch."""
    layers = keras.layers
    given_ = layers.Input((12, 12, 3))
    x = layers.Conv2D(6, 3, dilation_rate=2, padding="same", activation="relu")(given_)
    x = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same", activation="relu")(x)
    return keras.Model(given_, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


def gated(keras):
    layers = keras.layers
    given_ = layers.Input((12, 12, 3))
    x = layers.Activation("hard_swish")(layers.BatchNormalization()(layers.Conv2D(8, 3)(given_)))
    gate = layers.Conv2D(4, 1, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = x * layers.Conv2D(8, 1, activation="hard_sigmoid")(gate)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu6")(x)
    return keras.Model(given_, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def branched(keras):
    layers = keras.layers
    given_ = layers.Input((12, 12, 3))
    a = layers.Conv2D(8, 3, padding="same", activation="relu")(given_)
    b = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.MaxPooling2D()(a))
    up = layers.Conv2DTranspose(8, 2, strides=2, activation="relu")(b)
    x = layers.Conv2D(8, 1, activation="relu")(layers.Concatenate()([a, up]))
    return keras.Model(given_, layers.Conv2D(2, 1)(layers.Add()([x, layers.UpSampling2D()(b)])))


@pytest.mark.parametrize("make", [recurrent, attentive, stepwise, dilated, gated, branched])
def test_networks_of_other_kinds_are_tuned(make, keras, tmp_path, outputs_of, noise):
    """All on several inputs at once, and equalized without another answer."""
    keras.utils.set_random_seed(1)
    network = make(keras)
    network.save(tmp_path / "net.keras")
    frozen = freeze(load_source(str(tmp_path / "net.keras")))
    data = from_array(noise(12, network.input_shape[1:]))
    record = calibrate(frozen, data, "minmax")
    auto = tune(frozen, data, record, (AUTO,))
    assert auto.after.count == 12
    assert auto.after.snr_db >= auto.before.snr_db
    for methods in (("equalize",), METHODS):
        found = tune(frozen, data, record, methods)
        assert snr(outputs_of(frozen, data.inputs), outputs_of(found.frozen, data.inputs)) > 33
        assert found.after.snr_db > found.before.snr_db - 3
    prints = calibrate(auto.frozen, data, "minmax").prints
    shapes = shapes_of(frozen.function)
    for name in (name for name in prints.values if is_row(shapes, name)):
        values = prints.values[name]
        largest = max(float(abs(values).max()), 1e-6)
        near = np.abs(auto.record.prints.values[name] - values).max() / largest
        assert near < 2e-3, name
