"""Freezing folds what it can, proves it, and leaves nothing that a format can't read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgekit.errors import ConversionError
from edgekit.source import freeze, load_source
from edgekit.source.fold import fold_batch_norm
from edgekit.source.freezing import snr

if TYPE_CHECKING:
    from edgekit.source.graph import Graph

pytestmark = [pytest.mark.convert, pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")]


@pytest.fixture(scope="module")
def source(saved):
    return load_source(str(saved / "small.keras"))


def operations(frozen):
    return Counter(node.op for node in frozen.graph_def.node)


def test_batch_norms_are_gone_except_the_one_after_a_relu(source):
    frozen = freeze(source)
    found = operations(frozen)
    assert found["Mul"] == 1
    assert found["Rsqrt"] == 0
    assert frozen.folded == 9  # four batch norms, and the bias of the groups
    assert frozen.snr_db > 100


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25", "mobilenet_v2_0.35"])
def test_no_batch_norm_is_left_in_a_network_of_the_zoo(name):
    frozen = freeze(load_source(name, resolution=32, classes=10))
    assert not set(operations(frozen)) & {"Rsqrt", "Mul", "Sub", "FusedBatchNormV3"}
    assert frozen.snr_db > 90


def test_groups_become_convolutions_of_their_own(source):
    found = operations(freeze(source))
    assert found["Conv2D"] == 3  # the stem and two groups
    assert found["StatefulPartitionedCall"] == 0


def test_the_ends_have_names_to_rely_on(source):
    frozen = freeze(source)
    names = [node.name for node in frozen.graph_def.node]
    assert "input" in names
    assert "output" in names
    assert frozen.function.inputs[0].shape == (1, 32, 32, 3)


def test_freezing_twice_gives_the_same_bytes(source):
    first, second = (freeze(source).graph_def.SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_folding_is_computed_in_double_precision(keras):
    """A dead channel (variance far below epsilon) scales by 1/sqrt(epsilon); float32 sums would lose it."""
    layers = keras.layers
    inputs = layers.Input((16, 16, 3))
    normed = layers.BatchNormalization(epsilon=1e-5)
    network = keras.Model(inputs, normed(layers.DepthwiseConv2D(3, use_bias=False)(inputs)))
    normed.set_weights([np.ones(3), np.zeros(3), np.array([1e-3, 5.0, 0.0]), np.array([5.6e-45, 1e4, 1.0])])
    network_inputs = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    from edgekit.artifact import TensorSpec
    from edgekit.source.trace import trace
    from edgekit.source.types import Source

    graph = trace(lambda x: network(x, training=False), (1, 16, 16, 3), "dead")
    spec = TensorSpec(name="input", shape=(1, 16, 16, 3), dtype="float32", layout="NHWC")
    held = Source(
        name="dead", kind="keras", graph=graph, inputs=(spec,), outputs=(spec,), sha256="", parameters=0
    )
    frozen = freeze(held)
    assert frozen.folded == 2
    assert np.allclose(
        frozen.outputs(network_inputs), np.asarray(network(network_inputs)), rtol=1e-4, atol=1e-4
    )


def test_a_weight_that_two_layers_share_is_folded_once_for_each(keras):
    layers = keras.layers
    inputs = layers.Input((8, 8, 4))
    shared = layers.Conv2D(4, 1, use_bias=False)
    left = layers.BatchNormalization(name="left")
    right = layers.BatchNormalization(name="right")
    network = keras.Model(inputs, right(shared(left(shared(inputs)))))
    for layer, scale in ((left, 2.0), (right, 0.5)):
        layer.set_weights([np.full(4, scale), np.ones(4), np.zeros(4), np.ones(4)])
    from edgekit.source.evaluate import evaluate_constants
    from edgekit.source.trace import to_function, trace
    from edgekit.source.types import run_each

    graph = trace(lambda x: network(x, training=False), (1, 8, 8, 4), "shared")
    evaluate_constants(graph)
    fold_batch_norm(graph)
    values = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    outputs = run_each(to_function(graph.to_graph_def()), values)
    assert np.allclose(outputs, np.asarray(network(values)), atol=1e-5)


def test_a_graph_that_folding_changes_is_refused(source, monkeypatch):
    def spoil(graph: Graph) -> int:
        name = next(n for n, op, _ in graph.weights() if op == "Conv2D")
        graph.constants[name] = graph.constants[name] * 1.5
        return 1

    monkeypatch.setattr("edgekit.source.freezing.fold_batch_norm", spoil)
    with pytest.raises(ConversionError, match="folding batch norm changes"):
        freeze(source)


def test_fused_batch_norm_of_older_exports_is_folded(tmp_path):
    """Keras 2 wrote FusedBatchNormV3; so do many SavedModels."""
    tf = pytest.importorskip("tensorflow")
    generator = np.random.default_rng(0)
    kernel = tf.constant(generator.normal(size=(3, 3, 3, 5)).astype("float32"))
    rows = [tf.constant(generator.uniform(0.5, 2, 5).astype("float32")) for _ in range(4)]

    class Old(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 12, 12, 3), tf.float32)])
        def __call__(self, image):
            x = tf.nn.conv2d(image, kernel, 1, "SAME")
            x = tf.compat.v1.nn.fused_batch_norm(x, *rows, is_training=False)[0]
            return tf.nn.relu(x)

    tf.saved_model.save(Old(), str(tmp_path / "old"))
    frozen = freeze(load_source(str(tmp_path / "old")))
    assert operations(frozen)["FusedBatchNormV3"] == 0
    assert operations(frozen)["Mul"] == 0
    assert frozen.folded == 3


def test_snr_knows_its_ends():
    values = np.arange(1.0, 9.0)
    assert snr(values, values) == 200.0
    assert snr(values, values * 1.1) == pytest.approx(20.0)
    assert snr(np.zeros(3), np.ones(3)) == -200.0
    assert np.isnan(snr(values, np.full(8, np.inf)))
