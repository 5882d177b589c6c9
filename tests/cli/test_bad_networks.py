"""What `convert` says of networks that it can't take: one line that names the trouble and what to do."""

import numpy as np
import pytest

pytestmark = pytest.mark.convert
WEIGHTS = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
BROKEN = np.where(np.arange(108).reshape(WEIGHTS.shape) == 5, np.nan, WEIGHTS).astype(np.float32)


@pytest.fixture
def network(tmp_path):
    onnx = pytest.importorskip("onnx", reason="the convert extra is not installed")
    helper = onnx.helper

    def write(*nodes, weights=WEIGHTS, inputs=("x",), outputs=("y",)):
        graph = helper.make_graph(
            [
                helper.make_node("Conv", ["x", "w"], ["c"], name="stem"),
                *(helper.make_node(*n) for n in nodes),
            ],
            "net",
            [helper.make_tensor_value_info(name, 1, [1, 3, 8, 8]) for name in inputs],
            [helper.make_tensor_value_info(name, 1, None) for name in outputs],
            [onnx.numpy_helper.from_array(weights, "w")],
        )
        path = tmp_path / "net.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return str(path)

    return write


def said(call, *arguments):
    code, _, messages = call("convert", *arguments)
    assert code in (1, 2)
    lines = [line for line in messages.splitlines() if line.startswith("edgekit: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("nodes", "settings", "line"),
    [
        (
            (("Det", ["c"], ["y"], "/head/Det"),),
            {},
            "net.onnx: Det '/head/Det' is no operation that can be carried",
        ),
        (
            (("Relu", ["c"], ["y"]),),
            {"weights": BROKEN},
            "has weights that are not finite: 1 of 108 in w: give a",
        ),
        (
            (("Relu", ["c"], ["y"]),),
            {"outputs": ("c", "y")},
            "has 2 outputs, and EdgeKit can calibrate and prove",
        ),
        (
            (("Relu", ["c"], ["y"]),),
            {"inputs": ("x", "z")},
            "has 2 inputs, and EdgeKit can calibrate and prove",
        ),
    ],
    ids=["operation", "nan", "outputs", "inputs"],
)
def test_a_network_is_refused_in_a_line(nodes, settings, line, *, network, call, tmp_path):
    assert line in said(call, network(*nodes, **settings), "-r", "tflite-fp32", "-o", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("labels", "line"),
    [("a\nb\n", "2 labels for 4 outputs do not fit"), ("a\n\nc\nd\n", "has no name on line 2")],
)
def test_labels_that_do_not_fit_are_refused(labels, line, network, call, tmp_path):
    (tmp_path / "labels.txt").write_text(labels)
    path = network(("GlobalAveragePool", ["c"], ["y"]))
    arguments = ("-r", "onnx-fp32", "-o", str(tmp_path / "out"), "--labels", str(tmp_path / "labels.txt"))
    assert line in said(call, path, *arguments)
