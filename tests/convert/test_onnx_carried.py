"""tf2onnx in place: the same bytes as its own entry, and its own way where a pass fails."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tf2onnx", reason="the convert extra is not installed")

from edgekit.convert import onnx_carried
from edgekit.convert.onnx_settled import InOrder, settled
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
    with settled():
        proto, _ = tf2onnx.convert.from_graph_def(
            graph_def, input_names=["input:0"], output_names=["output:0"], opset=17
        )
    assert tidied(onnx_carried.carried_over(graph_def, 17)) == tidied(proto)


ANEW = """
import hashlib, sys
from edgekit.convert import onnx_carried
import tensorflow as tf
graph_def = tf.compat.v1.GraphDef.FromString(open(sys.argv[1], "rb").read())
proto = onnx_carried.carried_over(graph_def, 17)
print(hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest())
"""


@pytest.mark.convert
def test_it_is_the_same_in_every_process_and_after_any_other(tmp_path):
    from tf2onnx import utils

    graph_def = freeze(load_source("shufflenet_v1_0.5x_g3", resolution=32)).graph_def
    (tmp_path / "graph").write_bytes(graph_def.SerializeToString(deterministic=True))
    done = subprocess.run(
        [sys.executable, "-c", ANEW, tmp_path / "graph"],
        env={**os.environ, "PYTHONHASHSEED": "3"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for _ in range(99_990 - utils.INTERNAL_NAME):
        utils.make_name("other")
    proto = onnx_carried.carried_over(graph_def, 17)
    assert hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest() == done.stdout.strip()
    assert utils.INTERNAL_NAME >= 99_990, "names of a network that is at work stay its own"
    assert "set" not in vars(utils)


def test_a_set_in_order_does_as_pythons():
    some, other = InOrder("gab"), {"b", "c"}
    assert list(some) == ["g", "a", "b"]
    assert list(some | other - {"b"}) == ["g", "a", "b", "c"]
    assert list(some - other) == ["g", "a"]
    assert list(some.union("z", "y")) == ["g", "a", "b", "z", "y"]
    assert set(some.intersection(other)) == {"b"}
    assert InOrder("b").issubset(other)
    assert not some.issubset(other)
    some.remove("a")
    some.add("a")
    some.update("x")
    assert list(some) == ["g", "b", "a", "x"]
    with pytest.raises(KeyError):
        some.remove("never")


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
