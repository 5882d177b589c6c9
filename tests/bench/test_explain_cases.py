"""Explaining where the answer is known: small networks really made, really run here, by the real runtimes.

Each network is made so that one thing keeps its int8 artifact back. What is there decides the cause, so it is
the same on every machine; where shares of time decide, a recorded run is read.
"""

import dataclasses
import importlib.util
import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.bench.execute import execute
from edgekit.bench.explain.explain import explain
from edgekit.bench.explain.side import side_of
from edgekit.bench.plan import make_plan
from edgekit.bench.profile import delegation_of
from edgekit.bench.run import Run
from edgekit.errors import UsageError

MAKER = Path(__file__).parent / "make_explained.py"
RECORDED = Path(__file__).parent / "explained"
CHANNELS, SIZE = 32, 14


@pytest.fixture(scope="session")
def tflites(tmp_path_factory):
    """Small networks as float32 and as int8 of several kinds; made in a process of their own."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("needs the convert extra: tensorflow")
    folder = tmp_path_factory.mktemp("tflites")
    done = subprocess.run(
        [sys.executable, str(MAKER), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="session")
def onnxes(tmp_path_factory):
    """Two convolutions as float32, and as QDQ of several kinds."""
    pytest.importorskip("onnx", reason="needs the convert extra")
    folder = tmp_path_factory.mktemp("onnxes")
    for activation in ("Relu", "HardSwish"):
        write_float(folder / f"{activation}.onnx", activation)
    write_unfused(folder / "Relu.onnx", folder / "unfused.onnx")
    quantize(folder / "Relu.onnx", folder / "symmetric.onnx", weights="QInt8", per_channel=True)
    quantize(folder / "Relu.onnx", folder / "asymmetric.onnx", weights="QUInt8", per_channel=False)
    quantize(folder / "HardSwish.onnx", folder / "lacking.onnx", weights="QInt8", per_channel=True)
    return folder


def write_float(path, activation):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng, shape = np.random.default_rng(3), [1, CHANNELS, SIZE, SIZE]
    nodes, constants, given = [], [], "x"
    for number in range(2):
        weights = rng.normal(0, 0.1, (CHANNELS, CHANNELS, 3, 3)).astype("float32")
        constants.append(numpy_helper.from_array(weights, f"w{number}"))
        nodes += [
            helper.make_node("Conv", [given, f"w{number}"], [f"c{number}"], f"conv{number}", pads=[1] * 4),
            helper.make_node(activation, [f"c{number}"], [f"a{number}"], f"act{number}"),
        ]
        given = f"a{number}"
    nodes.append(helper.make_node("GlobalAveragePool", [given], ["y"], "mean"))
    graph = helper.make_graph(
        nodes, "two", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CHANNELS, 1, 1])], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)


def write_unfused(source, path):
    """Quantize the input and the weights of each Conv, and put nothing between it and its Relu.

    Its output is not quantized at once, and the Relu can't be dropped for a zero point in the middle: so the
    runtime finds no pattern to fuse, and runs the Conv in float.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(source)
    graph, nodes = model.graph, []
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    scale, zero = (
        numpy_helper.from_array(np.float32(0.05), "s"),
        numpy_helper.from_array(np.uint8(128), "z"),
    )
    graph.initializer.extend([scale, zero, numpy_helper.from_array(np.int8(0), "wz")])
    for node in graph.node:
        if node.op_type == "Conv":
            given, name = node.input[0], node.input[1]
            stored = np.clip(np.rint(weights[name] / 0.05), -127, 127).astype("int8")
            graph.initializer.append(numpy_helper.from_array(stored, f"{name}_q"))
            nodes += [
                helper.make_node("QuantizeLinear", [given, "s", "z"], [f"{given}_q"], f"{given}_Q"),
                helper.make_node("DequantizeLinear", [f"{given}_q", "s", "z"], [f"{given}_d"], f"{given}_DQ"),
                helper.make_node("DequantizeLinear", [f"{name}_q", "s", "wz"], [f"{name}_d"], f"{name}_DQ"),
            ]
            node.input[0], node.input[1] = f"{given}_d", f"{name}_d"
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, path)


def write_residual(path):
    """Write three convolutions, the second one's output added to what it read."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng, shape = np.random.default_rng(5), [1, CHANNELS, SIZE, SIZE]
    constants = [
        numpy_helper.from_array(rng.normal(0, 0.1, (CHANNELS, CHANNELS, 3, 3)).astype("float32"), f"w{n}")
        for n in range(3)
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], "conv0", pads=[1] * 4),
        helper.make_node("Conv", ["c0", "w1"], ["c1"], "conv1", pads=[1] * 4),
        helper.make_node("Add", ["c0", "c1"], ["a"], "add"),
        helper.make_node("Conv", ["a", "w2"], ["c2"], "conv2", pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["c2"], ["y"], "mean"),
    ]
    graph = helper.make_graph(
        nodes, "residual", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CHANNELS, 1, 1])], constants,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def quantize(source, path, *, weights, per_channel, activations="QUInt8"):
    quantization = pytest.importorskip("onnxruntime.quantization")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            rng = np.random.default_rng(1)
            self.left = [rng.normal(size=(1, CHANNELS, SIZE, SIZE)).astype("float32") for _ in range(3)]

        def get_next(self):
            return {"x": self.left.pop()} if self.left else None

    quantization.quantize_static(
        str(source), str(path), Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=per_channel,
        activation_type=getattr(quantization.QuantType, activations),
        weight_type=getattr(quantization.QuantType, weights),
    )  # fmt: skip


@pytest.fixture(scope="session")
def benched():
    """Return what benches an artifact here, profiled; the same one is benched once."""
    kept = {}

    def bench(path, threads=1):
        if (path, threads) not in kept:
            plan = make_plan([path], ["local://"], runs=60, threads=threads, passes=("latency", "profile"))
            kept[path, threads] = execute(plan, None)
        return kept[path, threads]

    return bench


@pytest.fixture
def told(benched, need_wheels):
    """Return what benches two artifacts here and explains them."""

    def tell(first, second, *, threads=(1, 1)):
        results = [benched(path, count) for path, count in zip((first, second), threads, strict=True)]
        for result in results:
            need_wheels(result)
            assert not result.failed
        runs = [Run.from_json(json.loads(json.dumps(result.runs[0].to_json()))) for result in results]
        return explain(*alike(runs))

    return tell


def alike(runs):
    """Return the runs as a quiet machine would have made them: this one is shared, and its canary wanders."""
    noisy = ("canary_ns", "throttled", "clusters")
    return [
        dataclasses.replace(
            run, conditions=tuple({k: v for k, v in c.items() if k not in noisy} for c in run.conditions)
        )
        for run in runs
    ]


def test_pairs_around_operators_that_stay_float_are_unfused(told, onnxes):
    found = told(onnxes / "Relu.onnx", onnxes / "unfused.onnx")
    assert found.cause.code == "unfused-qdq"
    assert "2 Conv" in found.cause.line
    assert "its output goes to no QuantizeLinear at once (2 of them)" in found.cause.evidence
    assert sum(row.b is not None and row.b.op == "quantize" for row in found.pair.rows) == 2


@pytest.mark.skipif(platform.machine() != "x86_64", reason="elsewhere int8 activations are fused as they are")
def test_signed_activations_beside_a_residual_are_unfused_on_x86(told, onnxes):
    write_residual(onnxes / "residual.onnx")
    for name, kind in (("signed", "QInt8"), ("unsigned", "QUInt8")):
        path = onnxes / f"{name}.onnx"
        quantize(onnxes / "residual.onnx", path, weights="QInt8", per_channel=True, activations=kind)
    found = told(onnxes / "residual.onnx", onnxes / "signed.onnx")
    assert found.cause.code == "unfused-qdq"
    assert any(text.startswith("on x86 ONNX Runtime fuses uint8") for text in found.cause.evidence)
    assert "onnx-w8u8" in found.cause.hint
    mended = told(onnxes / "residual.onnx", onnxes / "unsigned.onnx")
    assert "unfused-qdq" not in [cause.code for cause in mended.causes]


def test_weights_that_no_quick_kernel_takes_per_tensor(told, tflites):
    found = told(tflites / "plain-float.tflite", tflites / "plain-uint8.tflite")
    assert found.cause.code == "per-tensor-weights"
    assert found.cause.evidence[0] == "3 of 3 operators with weights"
    assert "per channel" in found.cause.hint or "one scale a channel" in found.cause.hint


def test_signed_weights_per_tensor_are_not_blamed(told, tflites):
    found = told(tflites / "plain-float.tflite", tflites / "plain-per-tensor.tflite")
    assert "per-tensor-weights" not in [cause.code for cause in found.causes]


@pytest.mark.parametrize("name", ["LOCAL_RESPONSE_NORMALIZATION", "HardSwish"])
def test_an_operator_without_an_int8_kernel_is_named(told, request, name):
    if name == "HardSwish":
        folder = request.getfixturevalue("onnxes")
        found = told(folder / "HardSwish.onnx", folder / "lacking.onnx")
    else:
        folder = request.getfixturevalue("tflites")
        found = told(folder / "lrn-float.tflite", folder / "lrn-int8.tflite")
    cause = next(cause for cause in found.causes if cause.code == "no-int8-kernel")
    assert cause.line.startswith(f"no int8 kernel for {name}, ")
    assert "quantize/dequantize operators around them" in " ".join(cause.evidence)
    assert cause.share > 0


def test_an_unequal_number_of_threads_is_not_int8s_fault(told, tflites):
    found = told(tflites / "plain-float.tflite", tflites / "plain-int8.tflite", threads=(2, 1))
    assert not found.comparable
    assert [cause.code for cause in found.causes] == ["threads"]
    assert found.cause.evidence == ("2 threads against 1",)
    assert found.cause.hint == "bench both with --threads 2"


def test_asymmetric_weights_fall_off_the_quick_path(told, onnxes):
    found = told(onnxes / "Relu.onnx", onnxes / "asymmetric.onnx")
    assert found.cause.code == "asymmetric-weights"
    assert found.cause.evidence[0] == "2 of 2 operators with weights"
    symmetric = told(onnxes / "Relu.onnx", onnxes / "symmetric.onnx")
    assert "asymmetric-weights" not in [cause.code for cause in symmetric.causes]


def test_weights_alone_in_int8_are_called_dynamic(told, tflites):
    found = told(tflites / "plain-float.tflite", tflites / "plain-dynamic.tflite")
    assert found.pair.b.kind == "dynamic"
    every = {row.b.kind for row in found.pair.rows if row.b}
    assert any("QD8" in kind for kind in every)
    assert {"dynamic-range", "as-expected"} & {cause.code for cause in found.causes}


def test_int8_first_is_turned(told, onnxes):
    found = told(onnxes / "symmetric.onnx", onnxes / "Relu.onnx")
    assert found.swapped
    assert found.pair.a.run.artifact.recipe == "Relu.onnx"


def test_one_artifact_twice_is_not_int8(told, onnxes):
    found = told(onnxes / "Relu.onnx", onnxes / "HardSwish.onnx")
    assert found.cause.code == "not-int8"


@pytest.mark.board
def test_an_aarch64_board_tells_its_operators_and_its_cpu(board, tflites, monkeypatch, need_wheels):
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(board.ssh_config))
    path = tflites / "moving-int8.tflite"
    plan = make_plan([path], [board.address], runs=5, warmup=1, passes=("latency", "profile"))
    result = execute(plan, None)
    need_wheels(result)
    assert not result.failed
    side = side_of(result.runs[0])
    assert side.unavailable == ""
    assert {op.where for op in side.ops} == {"XNNPACK"}
    assert sum(op.is_int8 and op.op == "depthwise" for op in side.ops) == 4
    assert str(side.cpu) == "Cortex-A72: no int8 dot product, no i8mm, no fp16"
    told = delegation_of(result.runs[0])
    assert (told.asked, set(told.counts), told.fell_back) == ("XNNPACK", {"XNNPACK"}, False)


# --- recorded: where the shares of time decide ------------------------------------------------------------
def recorded(name):
    return [Run.from_json(data) for data in json.loads((RECORDED / f"{name}.json").read_text())]


def test_a_network_that_waits_for_memory_gains_little():
    found = explain(*recorded("moving"))
    assert found.cause.code == "memory-bound"
    assert found.pair.outcome == "slower"
    assert found.cause.evidence[1] == "4 depthwise, 4 binary, 1 mean"
    assert found.cause.evidence[2].startswith("slower in int8 than in float: 4 depthwise")
    assert found.cause.share > 0.8


def test_what_is_well_needs_no_cause():
    found = explain(*recorded("plain"))
    assert found.cause.code == "as-expected"
    assert found.pair.outcome == "faster"


def test_a_cpu_without_dot_product_is_the_cause_when_all_ran_in_int8():
    found = explain(*recorded("a72"))
    assert found.cause.code == "no-dot-product"
    assert found.cause.evidence[:2] == (
        "Cortex-A72: no int8 dot product, no i8mm, no fp16",
        "3 operators with weights ran in int8",
    )
    assert found.line.startswith("on an emulated device, int8 is ")
    assert "A: emulated: qemu-user" in found.notes


def condition(run, **changes):
    return dataclasses.replace(run, conditions=tuple({**c, **changes} for c in run.conditions))


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("throttled", lambda run: condition(run, throttled="throttled")),
        ("clock", lambda run: condition(run, clusters=[{"cpus": "0", "cur_khz": 600_000}])),
        ("canary", lambda run: condition(run, canary_ns=90_000)),
        ("cores", lambda run: dataclasses.replace(run, placed={"cpus_allowed": "4-5"})),
        ("runtime", lambda run: dataclasses.replace(
            run, runtime=dataclasses.replace(run.runtime, version="2.1.0"))),
        ("device", lambda run: dataclasses.replace(run, device="ssh://other")),
    ],
)  # fmt: skip
def test_other_conditions_come_before_int8(code, change):
    first, second = (
        dataclasses.replace(
            condition(run, clusters=[{"cpus": "0", "cur_khz": 1_800_000}], canary_ns=50_000),
            placed={"cpus_allowed": "0-1"},
        )
        for run in recorded("moving")
    )
    assert explain(first, second).comparable
    found = explain(first, change(second))
    assert not found.comparable
    assert code in [cause.code for cause in found.causes]
    assert "memory-bound" not in [cause.code for cause in found.causes]


def test_the_scheduler_may_have_put_them_on_other_cores():
    first, second = (
        dataclasses.replace(run, facts={"cpus": [["Cortex-A55", 1800], ["Cortex-A76", 2400]]})
        for run in recorded("moving")
    )
    cores = [[{"e": "cores", "cpus": cpus}] for cpus in ({"0": 4, "1": 36}, {"0": 40})]
    rest = [[event for event in run.ops if event["e"] != "cores"] for run in (first, second)]
    first, second = (
        dataclasses.replace(run, ops=(*ops, *seen))
        for run, ops, seen in zip((first, second), rest, cores, strict=True)
    )
    found = explain(first, second)
    assert found.cause.code == "cores"
    assert found.cause.evidence == ("90% against 0% of the time on the fastest cores",)


def test_runs_of_different_sources_and_one_run_are_refused():
    first, second = recorded("plain")
    named = [
        dataclasses.replace(run, artifact=dataclasses.replace(run.artifact, source=name))
        for run, name in ((first, "one"), (second, "another"))
    ]
    with pytest.raises(UsageError, match="of different sources, one and another"):
        explain(*named)
    with pytest.raises(UsageError, match="one and the same run"):
        explain(first, first)
