"""Seeded weights: the same everywhere, and a network of them answers what it is shown."""

import hashlib

import numpy as np
import pytest

from edgekit import zoo
from edgekit.zoo.assign import weighted_layers

keras = pytest.importorskip("keras", reason="Keras is not installed")

ONE_EACH = (
    "mobilenet_v1_0.25",
    "mobilenet_v2_0.35",
    "shufflenet_v1_0.5x_g1",
    "shufflenet_v1_1.0x_g3",
    "shufflenet_v2_1.0x",
    "squeezenet_1.0",
    "squeezenet_1.1",
)


def fingerprint(network):
    return hashlib.sha256(b"".join(w.tobytes() for w in network.get_weights())).hexdigest()


@pytest.mark.parametrize("name", ["mobilenet_v2_0.35", "squeezenet_1.1"])
def test_the_same_seed_gives_the_same_weights_in_another_process(name, fresh_python):
    script = (
        "import hashlib; from edgekit import zoo\n"
        f"network = zoo.build({name!r}, resolution=32, classes=10, seed=3)\n"
        "print(hashlib.sha256(b''.join(w.tobytes() for w in network.get_weights())).hexdigest())"
    )
    here = fingerprint(zoo.build(name, resolution=32, classes=10, seed=3))
    assert fresh_python(script) == here
    assert fingerprint(zoo.build(name, resolution=32, classes=10, seed=4)) != here


def test_other_work_with_keras_does_not_change_the_weights():
    first = fingerprint(zoo.build("squeezenet_1.1", resolution=32, classes=4))
    keras.utils.set_random_seed(99)
    keras.layers.Dense(3)(np.ones((1, 2)))
    assert fingerprint(zoo.build("squeezenet_1.1", resolution=32, classes=4)) == first


@pytest.mark.parametrize("name", ONE_EACH)
def test_outputs_follow_the_input(name, inputs_for):
    """The spread over inputs is not small beside the spread over classes, and most winners differ."""
    network = zoo.build(name, resolution=64)
    outputs = np.asarray(network(inputs_for(name, 64, count=12)))
    assert np.isfinite(outputs).all()
    if zoo.describe(name).output == "softmax":
        assert outputs.max(axis=1).mean() > 0.2
        outputs = np.log(outputs + 1e-12)
    assert outputs.std(axis=0).mean() > 0.3 * outputs.std(axis=1).mean()
    assert outputs.std(axis=0).mean() > 0.3
    assert np.abs(outputs).max() < 1000
    assert len(set(outputs.argmax(axis=1))) >= 6


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25", "squeezenet_1.1"])
def test_outputs_follow_the_input_at_the_default_resolution(name, inputs_for):
    outputs = np.asarray(zoo.build(name)(inputs_for(name, 224, count=8)))
    assert len(set(outputs.argmax(axis=1))) >= 4


def test_batch_norm_gets_the_statistics_of_what_it_sees(inputs_for):
    name = "mobilenet_v2_0.35"
    network = zoo.build(name, resolution=64)
    norm = network.get_layer("block_8_depthwise_BN")
    seen = keras.Model(network.input, norm.input)(inputs_for(name, 64, count=16))
    mean = np.asarray(seen).mean(axis=(0, 1, 2))
    spread = np.sqrt(np.asarray(norm.moving_variance))
    assert np.abs((mean - np.asarray(norm.moving_mean)) / spread).mean() < 0.2
    gamma = np.asarray(norm.gamma)
    assert gamma.min() >= 0.6
    assert gamma.std() > 0.1


@pytest.mark.parametrize("name", ONE_EACH)
def test_weights_are_float32_and_finite(name):
    network = zoo.build(name, resolution=32, classes=10)
    assert keras.config.dtype_policy().name == "float32"
    for layer in weighted_layers(network).values():
        for weight in layer.get_weights():
            assert weight.dtype == np.float32
            assert np.isfinite(weight).all()
            assert weight.size == 1 or weight.std() > 0
