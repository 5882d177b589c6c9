"""Nodes of an .onnx file, counted from its bytes: what the onnx library counts; None for all else."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.bench.onnx_count import count_nodes

onnx = pytest.importorskip("onnx")


def network(nodes):
    """A chain of so many ReLUs, with a weight so long that its length takes several bytes."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    chain = [helper.make_node("Relu", [f"t{n}"], [f"t{n + 1}"]) for n in range(nodes)]
    ends = [helper.make_tensor_value_info(name, kind, [1]) for name in ("t0", f"t{nodes}")]
    weight = helper.make_tensor("w", kind, [5000], [0.5] * 5000)
    graph = helper.make_graph(chain, "g", ends[:1], ends[1:], [weight])
    return helper.make_model(graph, producer_name="tests").SerializeToString()


@pytest.fixture(scope="module")
def put(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"

    def write(content):
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("nodes", [0, 1, 7, 300])
def test_it_counts_what_the_library_counts(put, nodes):
    path = put(network(nodes))
    assert count_nodes(path) == len(onnx.load(path).graph.node) == nodes


@pytest.mark.parametrize(
    "content",
    [b"", b"nothing of the kind", b"\x3a\x05\x0a\x7f", b"\x3a" + b"\xff" * 12, b"\x0b", b"\x08"],
    ids=["empty", "text", "beyond its end", "endless number", "a group", "cut in a number"],
)
def test_anything_else_is_not_counted(put, content):
    assert count_nodes(put(content)) is None


def test_a_file_that_is_not_there_is_not_counted(tmp_path):
    assert count_nodes(tmp_path / "none.onnx") is None
    assert count_nodes(tmp_path) is None


def test_two_graphs_are_none(put):
    assert count_nodes(put(network(2) * 2)) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
def test_whatever_it_holds_nothing_is_raised(put, noise, at):
    content = network(9)
    found = count_nodes(put(content[:at] + noise + content[at + len(noise) :]))
    assert found is None or found >= 0
