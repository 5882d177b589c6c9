"""Arrays into layers: all of them, in their shapes, or none."""

import numpy as np
import pytest

from edgekit.errors import UsageError
from edgekit.zoo.assign import assign, weighted_layers

keras = pytest.importorskip("keras", reason="Keras is not installed")


@pytest.fixture
def network():
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(2, 1, name="first")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(5, use_bias=False, name="head")(x), name="small")


@pytest.fixture
def arrays(network):
    rng = np.random.default_rng(1)
    return {
        name: [rng.normal(size=weight.shape).astype(np.float32) for weight in layer.weights]
        for name, layer in weighted_layers(network).items()
    }


def test_layers_without_weights_are_not_asked_for(network):
    assert list(weighted_layers(network)) == ["first", "norm", "head"]


def test_every_layer_gets_its_own(network, arrays):
    assign(network, arrays, "test")
    for name, layer in weighted_layers(network).items():
        for given, got in zip(arrays[name], layer.get_weights(), strict=True):
            np.testing.assert_array_equal(given, got)


def test_the_order_of_the_names_does_not_matter(network, arrays):
    assign(network, dict(reversed(arrays.items())), "test")
    np.testing.assert_array_equal(network.get_layer("head").get_weights()[0], arrays["head"][0])


@pytest.mark.parametrize("name", ["first", "norm", "head"])
def test_a_layer_without_arrays_is_named(network, arrays, name):
    del arrays[name]
    with pytest.raises(UsageError, match=f"a file has no weights for layers of small: {name}"):
        assign(network, arrays, "a file")


def test_arrays_without_a_layer_are_named(network, arrays):
    arrays |= {f"odd_{number}": arrays["head"] for number in range(5)}
    message = "a file has weights for unknown layers of small: odd_0, odd_1, odd_2 and 2 more"
    with pytest.raises(UsageError, match=message) as caught:
        assign(network, arrays, "a file")
    assert "convert that file itself as the source" in caught.value.hint


def turned(arrays):
    return [arrays[0].T]


def doubled(arrays):
    return [*arrays, arrays[0]]


def emptied(_):
    return []


@pytest.mark.parametrize("change", [turned, doubled, emptied])
def test_another_shape_is_refused_and_nothing_is_set(network, arrays, change):
    before = [weights.copy() for weights in network.get_weights()]
    arrays["head"] = change(arrays["head"])
    with pytest.raises(UsageError, match=r"for layer 'head', small needs \[\(2, 5\)\]"):
        assign(network, arrays, "a file")
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
