"""Small networks, built once."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def keras():
    return pytest.importorskip("keras", reason="the convert extra is not installed")


@pytest.fixture(scope="session")
def small(keras):
    """Every batch norm that folds: after conv, depthwise, grouped conv and dense; and one that does not."""
    layers = keras.layers
    keras.utils.set_random_seed(7)

    def norm(x, name):
        return layers.BatchNormalization(name=name)(x)

    inputs = layers.Input((32, 32, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(inputs)
    x = layers.ReLU(6.0, name="stem_relu")(norm(x, "stem_bn"))
    x = norm(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x), "depthwise_bn")
    x = layers.ReLU(name="depthwise_relu")(x)
    x = norm(layers.Conv2D(12, 1, groups=2, name="grouped")(x), "grouped_bn")
    skip = norm(layers.ReLU(name="skip_relu")(x), "unfoldable_bn")
    x = layers.Add(name="add")([x, skip])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = norm(layers.Dense(16, name="hidden")(x), "hidden_bn")
    network = keras.Model(inputs, layers.Dense(10, activation="softmax", name="top")(x), name="small")
    generator = np.random.default_rng(3)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            size = layer.gamma.shape[0]
            values = [generator.uniform(0.5, 1.5, size) for _ in range(2)]
            layer.set_weights(
                [values[0], generator.normal(size=size), generator.normal(size=size), values[1]]
            )
    return network


@pytest.fixture(scope="session")
def saved(small, tmp_path_factory):
    """The small network as a user would bring it, in each of the three kinds."""
    folder = tmp_path_factory.mktemp("saved")
    small.save(folder / "small.keras")
    small.save(folder / "small.h5")
    small.export(folder / "small", verbose=False)
    return folder


@pytest.fixture(scope="session")
def onnx():
    return pytest.importorskip("onnx", reason="the convert extra is not installed")


@pytest.fixture
def one_node(onnx, tmp_path):
    """Write a network of one operation (or several) and return its path.

    `nodes` are (op, inputs, output, attributes); the input is "x", what is made last is the output, and
    a name in `arrays` is a constant.
    """

    def write(shape, *nodes, arrays=None, opset=17, name="net.onnx"):
        made = [
            onnx.helper.make_node(op, inputs.split(), output.split(), name=f"{op}_{number}", **attributes)
            for number, (op, inputs, output, attributes) in enumerate(nodes)
        ]
        x = onnx.helper.make_tensor_value_info("x", 1, shape)
        y = onnx.helper.make_tensor_value_info(nodes[-1][2].split()[0], 1, None)
        stored = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in (arrays or {}).items()]
        graph = onnx.helper.make_graph(made, "net", [x], [y], stored)
        proto = onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8
        )
        onnx.save(proto, tmp_path / name)
        return tmp_path / name

    return write
