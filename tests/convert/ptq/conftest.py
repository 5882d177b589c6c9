"""Small networks written down operation by operation, whose right answers are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf

from edgekit.artifact import TensorSpec
from edgekit.convert import from_array
from edgekit.convert.observe import calibrate
from edgekit.convert.ptq.channels import channels_of
from edgekit.convert.ptq.execute import shapes_of
from edgekit.source import Source
from edgekit.source.freezing import freeze
from edgekit.source.graph import Graph
from edgekit.source.trace import trace


class Net:
    """Layers with seeded weights; every call is one linear operation with its bias.

    Weights can be given; a call's name is the node's, its bias is "name/bias".
    """

    def __init__(self, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)

    def weights(self, *shape: int) -> np.ndarray:
        fan = int(np.prod(shape[:-1])) if len(shape) != 4 or shape[3] != 1 else shape[0] * shape[1]
        return (self.random.normal(size=shape) * (2 / fan) ** 0.5).astype(np.float32)

    def _biased(self, made, width, name, bias):
        bias = self.random.normal(size=width) * 0.1 if bias is None else bias
        return tf.nn.bias_add(made, np.asarray(bias, np.float32), name=f"{name}/bias")

    def conv(self, x, width, name, *, size=3, stride=1, padding="SAME", kernel=None, bias=None):
        kernel = self.weights(size, size, x.shape[-1], width) if kernel is None else kernel
        made = tf.nn.conv2d(x, np.asarray(kernel, np.float32), stride, padding, name=name)
        return self._biased(made, width, name, bias)

    def depthwise(self, x, name, *, size=3, padding="SAME", kernel=None, bias=None):
        width = x.shape[-1]
        kernel = self.weights(size, size, width, 1) if kernel is None else kernel
        kernel = np.asarray(kernel, np.float32)
        made = tf.raw_ops.DepthwiseConv2dNative(
            input=x, filter=kernel, strides=[1, 1, 1, 1], padding=padding, name=name
        )
        return self._biased(made, width * kernel.shape[3], name, bias)

    def dense(self, x, width, name, *, kernel=None, bias=None):
        kernel = self.weights(x.shape[-1], width) if kernel is None else kernel
        return self._biased(tf.matmul(x, np.asarray(kernel, np.float32), name=name), width, name, bias)


@pytest.fixture(scope="session")
def net():
    return Net


def freeze_call(call, shape):
    graph = trace(call, (1, *shape), "written")
    outputs = tuple(graph_function(graph).outputs[0].shape)
    spec = TensorSpec(name="input", shape=(1, *shape), dtype="float32", layout="NHWC")
    output = TensorSpec(name="output", shape=outputs, dtype="float32", layout="NC")
    return freeze(
        Source(
            name="written", kind="savedmodel", graph=graph, inputs=(spec,), outputs=(output,),
            sha256=graph.sha256(), parameters=0,
        )
    )  # fmt: skip


def graph_function(graph):
    from edgekit.source.trace import to_function

    return to_function(graph.to_graph_def())


@pytest.fixture(scope="session")
def frozen_call():
    """Freeze a call on one tensor: `frozen_call(call, shape without the batch)`."""
    return freeze_call


@pytest.fixture(scope="session")
def known():
    """All that the methods start from: `known(call, shape, inputs=None)`, with graph, shapes, record ..."""

    def make(call, shape, inputs=None):
        frozen = freeze_call(call, shape)
        graph, shapes = Graph(frozen.graph_def, "output"), shapes_of(frozen.function)
        if inputs is None:
            inputs = noise(24, shape)
        data = from_array(inputs)
        return SimpleNamespace(
            frozen=frozen, graph=graph, shapes=shapes, data=data,
            record=calibrate(frozen, data, "minmax"), channels=channels_of(graph, shapes),
        )  # fmt: skip

    return make


def noise(count, shape, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


@pytest.fixture(scope="session", name="noise")
def noise_fixture():
    """Seeded inputs: `noise(count, shape without the batch)`."""
    return noise


@pytest.fixture(scope="session")
def outputs_of():
    """Run a Graph or a FrozenGraph on N inputs."""
    from edgekit.source.running import run_graph

    def run(graph, inputs):
        graph_def = graph.to_graph_def() if isinstance(graph, Graph) else graph.graph_def
        return run_graph(graph_def, inputs)

    return run
