"""A tiny network, its data and its bundle, made once."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.convert import convert, from_array, preprocessing_preset
from edgekit.recipe import parse_recipes, recipe_names
from edgekit.source import load_source

CLASSES = 10


@pytest.fixture(scope="session")
def keras():
    return pytest.importorskip("keras", reason="the convert extra is not installed")


@pytest.fixture(scope="session")
def tiny(keras):
    """32 x 32, batch norm, depthwise, softmax; its last layer reacts to the input."""
    layers = keras.layers
    keras.utils.set_random_seed(11)
    inputs = layers.Input((32, 32, 3), name="image")
    x = inputs
    for number, filters in enumerate((8, 16)):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"conv{number}")(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization(name=f"bn{number}")(x))
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"depthwise{number}")(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"depthwise_bn{number}")(x))
    x = layers.GlobalAveragePooling2D()(x)
    network = keras.Model(inputs, layers.Dense(CLASSES, activation="softmax", name="top")(x), name="tiny")
    generator = np.random.default_rng(5)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            size = layer.gamma.shape[0]
            spread = generator.uniform(0.5, 1.5, size)
            layer.set_weights([spread, generator.normal(1, 0.2, size), np.zeros(size), np.ones(size) * 0.3])
    kernel, bias = network.get_layer("top").get_weights()
    network.get_layer("top").set_weights([kernel * 4, bias])
    return network


@pytest.fixture(scope="session")
def tiny_file(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.keras"
    tiny.save(path)
    return path


@pytest.fixture(scope="session")
def source(tiny_file):
    return load_source(str(tiny_file))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Small pictures in three class folders, in each mode that cameras and editors write."""
    image = pytest.importorskip("PIL.Image", reason="the convert extra is not installed")
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(2)
    for number, label in enumerate(("ant", "bee", "cat")):
        (folder / label).mkdir()
        for index, mode in enumerate(("RGB", "L", "RGBA", "P")):
            size = (48 + 8 * index, 40)
            noise = generator.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
            picture = image.fromarray(noise // 2 + np.uint8(40 * number)).convert(mode)
            picture.save(folder / label / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def calibration():
    values = (
        np.random.default_rng(4).uniform(-1, 1, (24, 32, 32, 3))
        * np.linspace(0.2, 1, 24)[:, None, None, None]
    )
    return from_array(values.astype("float32"), origin="arrays")


@pytest.fixture(scope="session")
def made(source, calibration, tmp_path_factory):
    """Every recipe of the tiny network in one bundle."""
    out = tmp_path_factory.mktemp("made") / "bundle"
    result = convert(
        source,
        parse_recipes(recipe_names()),
        out,
        calibration=calibration,
        labels=[f"class {n}" for n in range(CLASSES)],
        preprocessing=preprocessing_preset("signed"),
    )
    assert not result.failed
    return result


@pytest.fixture(scope="session")
def mil():
    """Evaluate one operation of an ML program: `mil("relu", x=...)`; lists of numbers become arrays."""
    from edgekit.convert.mil.operations import Given, operations

    def evaluate(name, **inputs):
        given = {
            key: value if isinstance(value, str) or key == "values" else np.asarray(value)
            for key, value in inputs.items()
            if value is not None
        }
        return operations()[name].evaluate(Given(given))

    return evaluate


@pytest.fixture
def rng():
    return np.random.default_rng(3)
