"""Reading operators out of .tflite and .onnx files; files broken and files of nothing."""

import numpy as np
import pytest

from edgekit.bench.explain.graph import Graph, Node, Weights, read_graph
from edgekit.bench.explain.tflite_graph import _KINDS, op_of
from edgekit.errors import UsageError


@pytest.fixture
def tflite(tmp_path):
    """A .tflite written by LiteRT's own schema: quantize, convolution per channel, depthwise, dequantize."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")

    def tensor(name, shape, kind, *, buffer=0, scales=(), zeros=(0,)):
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name.encode(), list(shape), kind, buffer
        if scales:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = list(scales), list(zeros)
        return made

    def operator(code, inputs, outputs):
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
        return made

    kinds, graph, model = schema.TensorType, schema.SubGraphT(), schema.ModelT()
    graph.tensors = [
        tensor("in", (1, 4, 4, 2), kinds.FLOAT32),
        tensor("q", (1, 4, 4, 2), kinds.INT8, scales=[0.1], zeros=[3]),
        tensor("w", (6, 3, 3, 2), kinds.INT8, buffer=1, scales=[0.1] * 6, zeros=[0] * 6),
        tensor("c", (1, 4, 4, 6), kinds.INT8, scales=[0.1], zeros=[0]),
        tensor("d", (1, 3, 3, 6), kinds.UINT8, buffer=2, scales=[0.1], zeros=[128]),
        tensor("e", (1, 4, 4, 6), kinds.INT8, scales=[0.1], zeros=[0]),
        tensor("out", (1, 4, 4, 6), kinds.FLOAT32),
    ]
    graph.inputs, graph.outputs = [0], [6]
    graph.operators = [
        operator(0, [0], [1]), operator(1, [1, 2, -1], [3]), operator(2, [3, 4], [5]), operator(3, [5], [6]),
    ]  # fmt: skip
    codes = []
    for name in ("QUANTIZE", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE"):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        codes.append(code)
    buffers = [schema.BufferT() for _ in range(3)]
    buffers[1].data, buffers[2].data = np.zeros(108, np.uint8), np.zeros(54, np.uint8)
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], codes, buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "made.tflite"
    path.write_bytes(bytes(builder.Output()))
    return path


def test_a_tflite_is_read_without_a_library(tflite):
    graph = read_graph(tflite, "tflite")
    assert [(node.kind, node.op, node.name) for node in graph.nodes] == [
        ("QUANTIZE", "quantize", "q"),
        ("CONV_2D", "conv", "c"),
        ("DEPTHWISE_CONV_2D", "depthwise", "e"),
        ("DEQUANTIZE", "dequantize", "out"),
    ]
    quantize, conv, depthwise, _ = graph.nodes
    assert (quantize.in_types, quantize.out_types) == (("float32",), ("int8",))
    assert conv.inputs == ("q",)
    assert conv.weights == Weights(dtype="int8", per_channel=True, symmetric=True, quantized=True)
    assert conv.macs == 4 * 4 * 6 * 3 * 3 * 2
    assert conv.moved_bytes == 32 + 108 + 96
    assert depthwise.weights == Weights(dtype="uint8", per_channel=False, symmetric=False, quantized=True)
    assert depthwise.macs == 4 * 4 * 6 * 3 * 3


def test_a_graph_survives_json_and_knows_who_writes_and_reads(tflite):
    graph = read_graph(tflite, "tflite")
    assert Graph.from_json(graph.to_json()) == graph
    assert graph.producer("c").kind == "CONV_2D"
    assert graph.producer("in") is None
    assert [node.kind for node in graph.consumers("c")] == ["DEPTHWISE_CONV_2D"]
    with pytest.raises(UsageError, match="node"):
        Node.from_json({"index": 0, "kind": "ADD", "op": "binary", "name": "x", "colour": "red"})


def test_lites_words_are_the_schemas():
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    told = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    assert [told[number] for number in range(len(_KINDS))] == _KINDS
    assert op_of("LOCAL_RESPONSE_NORMALIZATION") == "other"


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0TFL3", b"\x10\0\0\0NONE" + bytes(64), bytes(8)])
def test_what_is_no_tflite_is_refused(tmp_path, content):
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"can't be read as a \.tflite"):
        read_graph(path, "tflite")


def test_a_cut_tflite_is_refused(tflite):
    whole = tflite.read_bytes()
    for length in (8, 40, len(whole) // 4):
        tflite.write_bytes(whole[:length])
        with pytest.raises(UsageError):
            read_graph(tflite, "tflite")


def test_other_formats_have_no_operators(tmp_path):
    with pytest.raises(UsageError, match="operators of coreml"):
        read_graph(tmp_path, "coreml")


@pytest.fixture
def onnx_file(tmp_path):
    """A QDQ graph: a convolution with weights in int8, a grouped one with weights in float, a matrix."""
    onnx = pytest.importorskip("onnx", reason="needs the convert extra")
    from onnx import TensorProto, helper, numpy_helper

    def constant(name, array):
        return numpy_helper.from_array(np.asarray(array), name)

    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["x_q"], "Q"),
        helper.make_node("DequantizeLinear", ["x_q", "s", "z"], ["x_d"], "DQ"),
        helper.make_node("DequantizeLinear", ["w_q", "ws", "wz"], ["w_d"], "WDQ", axis=0),
        helper.make_node("Conv", ["x_d", "w_d"], ["c"], "conv"),
        helper.make_node("Conv", ["c", "g"], ["d"], group=4),
        helper.make_node("GlobalAveragePool", ["d"], ["m"], "mean"),
        helper.make_node("Flatten", ["m"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "k"], ["y"], "matrix"),
    ]
    constants = [
        constant("s", np.float32(0.1)), constant("z", np.uint8(7)), constant("ws", np.ones(4, "float32")),
        constant("wz", np.array([0, 0, 1, 0], "int8")), constant("w_q", np.zeros((4, 2, 1, 1), "int8")),
        constant("g", np.zeros((4, 1, 3, 3), "float32")), constant("k", np.zeros((4, 5), "float32")),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])], constants,
    )  # fmt: skip
    path = tmp_path / "made.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_an_onnx_is_read_with_what_stands_behind_its_weights(onnx_file):
    graph = read_graph(onnx_file, "onnx")
    ops = {node.name: node.op for node in graph.nodes}
    assert ops == {
        "Q": "quantize", "DQ": "dequantize", "conv": "conv", "d": "depthwise", "mean": "mean",
        "flat": "shape", "matrix": "dense",
    }  # fmt: skip
    by_name = {node.name: node for node in graph.nodes}
    assert by_name["conv"].weights == Weights(dtype="int8", per_channel=True, symmetric=False, quantized=True)
    assert by_name["conv"].macs == 4 * 6 * 6 * 2
    assert by_name["d"].weights == Weights(dtype="float32")
    assert by_name["d"].macs == 4 * 4 * 4 * 9
    assert by_name["matrix"].macs == 4 * 5
    assert (by_name["Q"].in_types, by_name["Q"].out_types) == (("float32",), ("uint8",))
    assert Graph.from_json(graph.to_json()) == graph


def test_what_is_no_onnx_is_refused(tmp_path):
    pytest.importorskip("onnx")
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\xff\xff\xff no protobuf")
    with pytest.raises(UsageError, match=r"can't be read as an \.onnx"):
        read_graph(path, "onnx")
