"""tf2onnx in place: the same bytes as its own entry, and its own way where a pass fails."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tf2onnx", reason="the convert extra is not installed")

from edgekit.convert import onnx_carried
from edgekit.convert.onnx_tools import tidy_names
from edgekit.source import load_source
from edgekit.source.freezing import freeze

NETWORKS = ("mobilenet_v2_0.35", "shufflenet_v1_0.5x_g3")


def tidied(proto):
    tidy_names(proto, {"input:0": "input", "output:0": "output"})
    return proto.SerializeToString(deterministic=True)


@pytest.mark.convert
@pytest.mark.parametrize("name", NETWORKS)
def test_as_tf2onnx_itself_makes_it(name):
    import tf2onnx

    graph_def = freeze(load_source(name, resolution=32)).graph_def
    proto, _ = tf2onnx.convert.from_graph_def(
        graph_def, input_names=["input:0"], output_names=["output:0"], opset=17
    )
    assert tidied(onnx_carried.carried_over(graph_def, 17)) == tidied(proto)


def test_a_pass_that_fails_is_left_out(monkeypatch):
    import tensorflow as tf
    from tf2onnx import optimizer

    class Failing:
        graph_been_opt = False

        def optimize(self, _graph, _iteration):
            raise ValueError("this pass fails")

    passes = {"failing": Failing, **optimizer._get_optimizers()}
    monkeypatch.setattr(optimizer, "_get_optimizers", lambda: passes)
    with tf.Graph().as_default() as graph:
        given = tf.compat.v1.placeholder(tf.float32, (1, 4), name="input")
        kernel = tf.constant(np.eye(4, dtype=np.float32))
        tf.identity(tf.nn.relu(given @ kernel), name="output")
    proto = onnx_carried.carried_over(graph.as_graph_def(), 17)
    assert {"MatMul", "Relu"} <= {node.op_type for node in proto.graph.node}


def test_only_the_passes_that_can_find_something_are_run():
    from tf2onnx import optimizer

    class Node:
        def __init__(self, kind):
            self.type = kind

    class Network:
        def __init__(self, *kinds):
            self._nodes = [Node(kind) for kind in kinds]

        def get_nodes(self):
            return self._nodes

    passes = optimizer._get_optimizers()
    few = set(onnx_carried._needed(passes, Network("Conv", "Relu")))
    assert set(passes) - few == set(onnx_carried._ONLY_FOR)
    assert "einsum_optimizer" in onnx_carried._needed(passes, Network("Einsum"))
    assert "remove_redundant_upsample" in onnx_carried._needed(passes, Network("Conv", "Resize"))
