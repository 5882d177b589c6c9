"""The zoo's networks against trained ones from elsewhere, where those are at hand."""

import numpy as np
import pytest

from edgekit import zoo
from edgekit.zoo.assign import weighted_layers
from edgekit.zoo.builder import _fresh
from edgekit.zoo.names import parse

pytestmark = pytest.mark.data
keras = pytest.importorskip("keras", reason="Keras is not installed")


def load(path):
    return keras.saving.load_model(path, compile=False)


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25", "shufflenet_v1_0.5x_g3"])
def test_a_trained_network_of_the_same_names_gives_its_weights_and_its_outputs(
    name, network_file, inputs_for
):
    path = network_file(f"{name}_224.keras")
    theirs, ours = load(path), zoo.build(name, weights=path)
    assert ours.count_params() == theirs.count_params()
    inputs = inputs_for(name, 224, count=4)
    expected = np.asarray(theirs(inputs))
    np.testing.assert_allclose(ours(inputs), expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_a_trained_squeezenet_has_our_layers_in_another_order(network_file, inputs_for):
    """Its layers have other names, so the kernels are matched by shape within each fire module."""
    theirs = load(network_file("squeezenet_1_1_224.keras"))
    ours = _fresh(parse("squeezenet_1.1", ()), classes=1000, channels=3)
    assert ours.count_params() == theirs.count_params() == zoo.describe("squeezenet_1.1").parameters
    left = [layer.get_weights() for layer in weighted_layers(theirs).values()]
    for layer in weighted_layers(ours).values():
        shape = tuple(layer.kernel.shape)
        index = next(i for i, arrays in enumerate(left) if arrays[0].shape == shape)
        assert index <= 1
        layer.set_weights(left.pop(index))
    assert not left
    inputs = inputs_for("squeezenet_1.1", 224, count=4)
    expected = np.asarray(theirs(inputs))
    np.testing.assert_allclose(ours(inputs), expected, atol=1e-4 * np.abs(expected).max())


def test_a_trained_mobilenet_v2_without_its_head_is_our_trunk(network_file, inputs_for):
    theirs = load(network_file("mobilenet_v2_0.35_224_backbone.keras"))
    ours = _fresh(parse("mobilenet_v2_0.35", ()), classes=10, channels=3)
    for name, layer in weighted_layers(theirs).items():
        ours.get_layer(name).set_weights(layer.get_weights())
    trunk = keras.Model(ours.input, ours.get_layer("global_average_pooling2d").output)
    inputs = inputs_for("mobilenet_v2_0.35", 224, count=2)
    expected = np.asarray(theirs(inputs))
    np.testing.assert_allclose(trunk(inputs), expected, atol=1e-4 * np.abs(expected).max())


def test_a_trained_network_is_refused_under_a_sisters_name(network_file):
    with pytest.raises(zoo.builder.UsageError, match="convert that file itself as the source"):
        zoo.build("squeezenet_1.1", weights=network_file("squeezenet_1_1_224.keras"))
