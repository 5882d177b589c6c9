"""What is carried over from another framework is proved, or refused with what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf

from edgekit.errors import ConversionError, UsageError
from edgekit.source.carried import IMPORT_SNR_DB, carried_source, parameters
from edgekit.source.trace import trace

pytestmark = pytest.mark.convert
SHAPE = (1, 6, 6, 3)
MATRIX = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def reference(inputs):
    """The network in another runtime: numpy."""
    return np.maximum(inputs, 0).mean(axis=(1, 2)) @ MATRIX


def written(matrix=MATRIX):
    return trace(lambda x: tf.reduce_mean(tf.nn.relu(x), [1, 2]) @ matrix, SHAPE, "written")


def carried(graph=None, runtime=reference):
    return carried_source(
        graph or written(), runtime, SHAPE, name="net.bin", kind="onnx", runtime="numpy", layout="NHWC",
        options={"batch": "1"},
    )  # fmt: skip


def test_a_network_that_is_the_same_becomes_a_source():
    source = carried()
    assert (source.name, source.kind, source.options) == ("net.bin", "onnx", {"batch": "1"})
    assert (source.input.shape, source.input.layout, source.input.dtype) == (SHAPE, "NHWC", "float32")
    assert (source.output.shape, source.output.layout) == ((1, 4), "NC")
    assert source.parameters == 12
    assert source.reference is reference
    assert source.proto is None


def test_golden_outputs_are_those_of_its_own_runtime():
    from edgekit.source import freeze

    calls = []

    def counted(inputs):
        calls.append(len(inputs))
        return reference(inputs)

    frozen = freeze(carried(runtime=counted))
    inputs = np.random.default_rng(2).normal(size=(3, *SHAPE[1:])).astype(np.float32)
    np.testing.assert_array_equal(frozen.outputs(inputs), reference(inputs))
    assert calls[-1] == 3


@pytest.mark.parametrize(("share", "refused"), [(1e-5, False), (1e-2, True)])
def test_the_bar_is_on_noise(share, refused):
    other = MATRIX * (1 + share * np.random.default_rng(3).normal(size=MATRIX.shape)).astype(np.float32)
    if not refused:
        assert carried(written(other)).parameters == 12
        return
    with pytest.raises(ConversionError, match=r"could not be carried over: \d+.\d dB from numpy") as e:
        carried(written(other))
    assert f"bar {IMPORT_SNR_DB:g} dB" in e.value.what
    assert e.value.hint == "report it with the network"


def test_another_shape_is_said():
    with pytest.raises(ConversionError, match=r"\(2, 3\) instead of \(2, 4\)"):
        carried(written(MATRIX[:, :3]))


def test_outputs_that_are_not_finite_are_no_proof():
    with pytest.raises(ConversionError, match="nan dB from numpy"):
        carried(runtime=lambda inputs: np.full((len(inputs), 4), np.nan, np.float32))


def test_a_network_that_gives_several_rows_is_the_users_to_change():
    with pytest.raises(UsageError, match="gives 2 rows for a batch of 1"):
        carried(runtime=lambda inputs: np.repeat(reference(inputs), 2, axis=0))


def test_what_tensorflow_cannot_run_is_said_with_its_words():
    graph = written()
    node = next(node for node in graph.nodes.values() if node.op == "MatMul")
    graph.constants[node.input[1]] = np.zeros((5, 4), np.float32)
    with pytest.raises((ConversionError, ValueError)):
        carried(graph)


def test_an_image_as_output_has_no_layout_of_classes():
    def runtime(inputs):
        return np.maximum(inputs, 0) * 2

    source = carried(trace(lambda x: tf.nn.relu(x) * 2.0, SHAPE, "written"), runtime)
    assert (source.output.shape, source.output.layout) == (SHAPE, "any")
    assert source.parameters == 0  # a scalar is an attribute, not a weight


def test_shared_weights_count_once_and_statistics_not_at_all():
    scale, offset, mean = (np.ones(3, np.float32) * n for n in (1.0, 0.5, 0.1))
    kernel = np.random.default_rng(1).normal(size=(1, 1, 3, 3)).astype(np.float32)

    def call(x):
        weights = tf.constant(kernel, name="kernel")
        x = tf.nn.conv2d(tf.nn.conv2d(x, weights, 1, "SAME"), weights, 1, "SAME")
        return tf.compat.v1.nn.fused_batch_norm(x, scale, offset, mean, scale * 2, is_training=False)[0]

    assert parameters(trace(call, SHAPE, "written")) == 9 + 3 + 3


def test_the_same_network_has_the_same_identity_whatever_its_nodes_are_called():
    def renamed(x):
        return tf.matmul(tf.reduce_mean(tf.nn.relu(x, name="first"), [1, 2], name="second"), MATRIX)

    other = MATRIX.copy()
    other[0, 0] += 1
    first = carried().sha256
    assert carried(trace(renamed, SHAPE, "renamed")).sha256 == first
    assert written(other).sha256() != first
