"""ONNX files: what is damaged, open or unbelievable is refused in one sentence, with the next step."""

import numpy as np
import pytest

from edgekit.errors import ConversionError, UsageError
from edgekit.source import load_source
from edgekit.source.onnx.file import layout_of, open_onnx, open_shape

pytestmark = pytest.mark.convert
WEIGHTS = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)
CONV = ("Conv", "x w", "c", {"pads": [1, 1, 1, 1]})
MEAN = ("GlobalAveragePool", "c", "y", {})


@pytest.fixture
def network(one_node):
    def write(shape=(1, 3, 8, 8), weights=WEIGHTS):
        return one_node(shape, CONV, MEAN, arrays={"w": weights})

    return write


def refused(path, **options):
    with pytest.raises(UsageError) as caught:
        load_source(str(path), **options)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_truncated_file_is_damaged(network, share):
    path = network()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "is damaged or no ONNX file" in refused(path).what


def test_a_foreign_file_is_damaged(tmp_path):
    (tmp_path / "net.onnx").write_text("certainly no protobuf\n" * 50)
    assert "is damaged or no ONNX file" in refused(tmp_path / "net.onnx").what


def test_an_operation_that_reads_nothing_known_is_invalid(network, onnx):
    path = network()
    proto = onnx.load(path)
    proto.graph.node[0].input[0] = "nobody"
    path.write_bytes(proto.SerializeToString())
    assert "net.onnx is no valid ONNX" in refused(path).what


def test_weights_that_are_not_finite_are_named(network):
    broken = WEIGHTS.copy()
    broken[0, 0, 0, :2] = np.nan, np.inf
    assert refused(network(weights=broken)).what == (
        "net.onnx has weights that are not finite: 2 of 108 in w"
    )


def test_weights_that_become_infinite_are_refused(one_node):
    nodes = (("Div", "w z", "v", {}), ("Conv", "x v", "c", {}), MEAN)
    path = one_node([1, 3, 8, 8], *nodes, arrays={"w": WEIGHTS, "z": np.float32(0)})
    assert "net.onnx has weights that are not finite: 108 of 108" in refused(path).what


def test_a_bound_may_be_infinite(one_node):
    bounds = {"low": np.float32(0), "high": np.float32(np.inf)}
    source = load_source(str(one_node([1, 4], ("Clip", "x low high", "y", {}), arrays=bounds)))
    assert [n.op for n in source.graph.nodes.values()] == ["Placeholder", "Relu", "Identity"]


def test_external_data_is_read_and_missed(network, onnx):
    path = network()
    whole = load_source(str(path))
    proto = onnx.load(path)
    onnx.save(proto, path, save_as_external_data=True, location="net.data", size_threshold=16)
    assert load_source(str(path)).sha256 == whole.sha256
    (path.parent / "net.data").write_bytes(b"short")
    assert "keeps weights in net.data" in refused(path).what
    (path.parent / "net.data").unlink()
    assert "keeps weights in net.data" in refused(path).what


def test_external_data_elsewhere_is_not_read(network, onnx, tmp_path):
    path = network()
    proto = onnx.load(path)
    onnx.save(proto, path, save_as_external_data=True, location="net.data", size_threshold=16)
    proto = onnx.load(path, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../net.data"
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "net.onnx").write_bytes(proto.SerializeToString())
    assert "keeps weights in ../net.data" in refused(inner / "net.onnx").what


@pytest.mark.parametrize("what", ["input", "output"])
def test_several_inputs_or_outputs_are_refused(network, onnx, what):
    path = network()
    proto = onnx.load(path)
    values = getattr(proto.graph, what)
    values.add().CopyFrom(values[0])
    values[1].name = "c" if what == "output" else "second"
    path.write_bytes(proto.SerializeToString())
    error = refused(path)
    assert f"net.onnx has 2 {what}s" in error.what
    assert "calibrate and prove" in error.what


def test_an_integer_input_is_refused(network, onnx):
    path = network()
    proto = onnx.load(path)
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    path.write_bytes(proto.SerializeToString())
    assert "the input 'x' of net.onnx is uint8, not float32" in refused(path).what


def test_an_output_that_needs_no_input_is_refused(one_node):
    nodes = (("Relu", "x", "r", {}), ("Exp", "w", "y", {}))
    with pytest.raises(ConversionError, match="gives the same output whatever its input is"):
        load_source(str(one_node([1, 4], *nodes, arrays={"w": WEIGHTS})))


def test_an_open_batch_becomes_one(network):
    source = load_source(str(network(["batch", 3, 8, 8])))
    assert source.input.shape == (1, 3, 8, 8)
    assert source.output.shape == (1, 4, 1, 1)
    assert [d.dim_value for d in source.proto.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 8, 8]


def test_a_fixed_batch_is_refused(network):
    assert "net.onnx has a fixed batch of 8" in refused(network([8, 3, 8, 8])).what


def test_an_open_size_is_asked_for(network):
    path = network(["n", 3, "h", "w"])
    error = refused(path)
    assert error.what == "net.onnx leaves its input's size open (1,3,?,?)"
    assert "--resolution PIXELS, or --input-shape" in error.hint
    assert load_source(str(path), resolution=16).input.shape == (1, 3, 16, 16)
    source = load_source(str(path), input_shape=(1, 3, 8, 12))
    assert source.input.shape == (1, 3, 8, 12)
    assert source.options == {"input_shape": "1,3,8,12"}


@pytest.mark.parametrize("wanted", [(1, 4, 8, 8), (2, 3, 8, 8), (1, 3, 8), (1, 3, 0, 8)])
def test_a_shape_that_does_not_fit_is_refused(network, wanted):
    error = refused(network(["n", 3, "h", "w"]), input_shape=wanted)
    assert "does not fit net.onnx, which fixes ?,3,?,?" in error.what


def test_a_fixed_size_keeps_its_resolution(network):
    assert "has a fixed input of (1, 3, 8, 8)" in refused(network(), resolution=16).what


def test_a_shape_is_for_onnx_only():
    with pytest.raises(UsageError, match=r"is no \.onnx file: leave out --input-shape"):
        load_source("squeezenet_1.1", input_shape=(1, 224, 224, 3))


@pytest.mark.parametrize(
    ("shape", "nodes", "layout"),
    [
        ([1, 3, 8, 8], (("Sub", "x m", "c", {}), ("Conv", "c w", "y", {})), "NCHW"),
        ([1, 8, 8, 3], (("Transpose", "x", "c", {"perm": [0, 3, 1, 2]}), ("Conv", "c w", "y", {})), "NHWC"),
        ([1, 8, 8, 3], (("Relu", "x", "y", {}),), "NHWC"),
        ([1, 3, 3, 3], (("Relu", "x", "y", {}),), "any"),
        ([1, 12], (("Relu", "x", "y", {}),), "any"),
    ],
)
def test_the_layout_is_the_users(one_node, shape, nodes, layout):
    proto = open_onnx(one_node(shape, *nodes, arrays={"w": WEIGHTS, "m": np.float32(0.5)}))
    assert layout_of(proto, open_shape(proto)) == layout


def test_a_branch_is_named_with_its_node(network, onnx):
    path = network()
    proto = onnx.load(path)
    value = onnx.helper.make_tensor_value_info("z", 1, None)
    body = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["c"], ["z"])], "then", [], [value])
    condition = onnx.numpy_helper.from_array(np.array([True]), "condition")
    proto.graph.initializer.append(condition)
    proto.graph.node.append(
        onnx.helper.make_node("If", ["condition"], ["chosen"], "choice", then_branch=body, else_branch=body)
    )
    proto.graph.output[0].name = "chosen"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ConversionError, match=r"net\.onnx: If 'choice' branches or loops"):
        load_source(str(path))


def test_a_constant_beyond_all_memory_is_refused(one_node):
    nodes = (("ConstantOfShape", "s", "c", {}), ("Add", "x c", "y", {}))
    with pytest.raises((ConversionError, UsageError)) as caught:
        load_source(str(one_node([1, 4], *nodes, arrays={"s": np.array([2**40, 2**10], np.int64)})))
    assert caught.value.hint


def test_a_foreign_operation_is_named_with_its_domain(one_node, onnx):
    path = one_node([1, 4], ("Magic", "x", "y", {"domain": "com.example"}))
    proto = onnx.load(path)
    proto.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    path.write_bytes(proto.SerializeToString())
    with pytest.raises((ConversionError, UsageError), match=r"com\.example"):
        load_source(str(path))


def test_local_functions_are_inlined(network, onnx):
    path = network()
    proto = onnx.load(path)
    twice = onnx.helper.make_function(
        "local", "Twice", ["a"], ["b"], [onnx.helper.make_node("Add", ["a", "a"], ["b"])],
        [onnx.helper.make_opsetid("", 17)],
    )  # fmt: skip
    proto.functions.append(twice)
    proto.opset_import.append(onnx.helper.make_opsetid("local", 1))
    proto.graph.node.append(onnx.helper.make_node("Twice", ["y"], ["doubled"], domain="local"))
    plain = load_source(str(path))
    proto.graph.output[0].name = "doubled"
    path.write_bytes(proto.SerializeToString())
    source = load_source(str(path))
    ones = np.ones((1, 3, 8, 8), np.float32)
    np.testing.assert_allclose(source.reference(ones), 2 * plain.reference(ones), rtol=1e-6)


def test_initializers_that_are_inputs_too_are_none(network, onnx):
    path = network()
    proto = onnx.load(path)
    proto.ir_version = 3
    proto.graph.input.append(onnx.helper.make_tensor_value_info("w", 1, WEIGHTS.shape))
    path.write_bytes(proto.SerializeToString())
    source = load_source(str(path))
    assert [value.name for value in source.proto.graph.input] == ["x"]
    assert source.parameters == WEIGHTS.size
    onnx.checker.check_model(source.proto)


def test_an_input_of_no_known_shape_is_asked_for(network, onnx):
    path = network()
    proto = onnx.load(path)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    path.write_bytes(proto.SerializeToString())
    error = refused(path)
    assert error.what == "net.onnx does not say what shape its input has"
    assert "--input-shape" in error.hint
    assert load_source(str(path), input_shape=(1, 3, 8, 8)).output.shape == (1, 4, 1, 1)
