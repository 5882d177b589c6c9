"""What an ONNX artifact takes over from an ONNX source, and what it leaves behind."""

import dataclasses

import numpy as np
import pytest

from edgekit.convert.onnx_given import NEWER, given, opset_of, quantizable
from edgekit.errors import ConversionError
from edgekit.source import freeze, load_source
from edgekit.source.onnx.source import onnx_source

pytestmark = pytest.mark.convert
WEIGHTS = np.random.default_rng(3).normal(size=(4, 3, 3, 3)).astype(np.float32)
NODES = (("Conv", "x w", "c", {}), ("Relu", "c", "r", {}), ("GlobalMaxPool", "r", "y", {}))


@pytest.fixture
def source(one_node):
    return load_source(str(one_node(["n", 3, 8, 8], *NODES, arrays={"w": WEIGHTS})))


def test_names_operations_and_weights_stay(source, onnx):
    proto = given(source)
    assert [(n.op_type, list(n.output)) for n in proto.graph.node] == [
        ("Conv", ["c"]), ("Relu", ["r"]), ("GlobalMaxPool", ["y"]),
    ]  # fmt: skip
    assert np.array_equal(onnx.numpy_helper.to_array(proto.graph.initializer[0]), WEIGHTS)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in proto.graph.value_info}
    assert shapes["c"] == [1, 4, 6, 6]
    assert [d.dim_value for d in proto.graph.output[0].type.tensor_type.shape.dim] == [1, 4, 1, 1]


def test_an_exporters_notes_are_left_behind(source, onnx):
    node = source.proto.graph.node[0]
    node.doc_string = "line 3 of net.py"
    node.metadata_props.add(key="stack_trace", value="somewhere/net.py")
    assert b"net.py" in source.proto.SerializeToString()
    assert b"net.py" not in given(source).SerializeToString()
    assert node.doc_string, "the source itself is not changed"


def test_an_opset_that_quantizes_by_channel_stays(source):
    proto = given(source)
    assert opset_of(proto) == 17
    assert quantizable(proto) is proto


def test_an_opset_that_cannot_be_lifted_is_said(source):
    proto = given(source)
    proto.opset_import[0].version = 7
    proto.graph.node[1].op_type = "Nothing"
    with pytest.raises(ConversionError, match=f"opset 7 can't be lifted to opset {NEWER}") as caught:
        quantizable(proto)
    assert "onnx-fp32" in caught.value.hint


def test_the_golden_outputs_are_the_originals(source):
    frozen = freeze(source)
    inputs = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    assert np.array_equal(frozen.outputs(inputs), source.reference(inputs))
    shifted = dataclasses.replace(source, reference=lambda rows: np.ones((len(rows), 4, 1, 1), np.float32))
    assert np.all(freeze(shifted).outputs(inputs) == 1.0)
    alone = dataclasses.replace(source, reference=None)
    np.testing.assert_allclose(freeze(alone).outputs(inputs), source.reference(inputs), rtol=1e-5)


def test_a_network_that_was_carried_over_wrongly_is_refused(source, onnx, monkeypatch):
    """A flaw in our own table must not pass: here Relu is taken for a doubling."""
    from edgekit.source.onnx.node import OPERATIONS

    monkeypatch.setitem(OPERATIONS, "Relu", lambda node: node.value().holding(node.value().tensor * 2))
    with pytest.raises(
        ConversionError, match=r"net could not be carried over: .* dB from ONNX Runtime"
    ) as caught:
        onnx_source(source.proto, (1, 3, 8, 8), name="net", kind="onnx", options={})
    assert "report it" in caught.value.hint


def test_a_network_of_the_same_weights_has_the_same_identity(one_node, source):
    renamed = tuple((op, i.replace("c", "k"), o.replace("c", "k"), a) for op, i, o, a in NODES)
    path = one_node([1, 3, 8, 8], *renamed, arrays={"w": WEIGHTS}, name="other.onnx")
    assert load_source(str(path)).sha256 == source.sha256
    path = one_node([1, 3, 8, 8], *renamed, arrays={"w": WEIGHTS * 2}, name="other.onnx")
    assert load_source(str(path)).sha256 != source.sha256


def test_batch_norm_folds_and_its_statistics_are_no_parameters(one_node):
    generator = np.random.default_rng(1)
    norm = {name: generator.uniform(0.5, 1.5, 4).astype(np.float32) for name in ("s", "b", "m", "v")}
    nodes = (
        ("Conv", "x w", "c", {}), ("BatchNormalization", "c s b m v", "n", {}), ("Relu", "n", "y", {}),
    )  # fmt: skip
    source = load_source(str(one_node([1, 3, 8, 8], *nodes, arrays={"w": WEIGHTS, **norm})))
    assert source.parameters == WEIGHTS.size + 2 * 4
    frozen = freeze(source)
    operations = [n.op for n in frozen.graph_def.node if n.op != "Const"]
    assert operations == ["Placeholder", "Transpose", "Conv2D", "BiasAdd", "Relu", "Transpose", "Identity"]
    assert frozen.folded >= 2
