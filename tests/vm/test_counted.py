"""Latency held exactly: on a board whose clock counts instructions, medians repeat."""

import json
import statistics
import time

import numpy as np
import pytest

from edgekit.bench.execute import execute
from edgekit.bench.explain.explain import explain
from edgekit.bench.metering import PowerWish
from edgekit.bench.plan import make_plan
from edgekit.bench.power import figures

pytestmark = pytest.mark.vm
RUNS = 40
NO_POWER = PowerWish(mode="never")
SAME = 0.01
"""Medians are the same within this share; they repeat within 0.2 % there, whatever the host does."""
BARE = """
import json, sys, time
kind, site, artifact, runs = sys.argv[1:4] + [int(sys.argv[4])]
sys.path.insert(0, site)
import numpy as np
if kind == "litert":
    from ai_edge_litert.interpreter import Interpreter
    network = Interpreter(model_path=artifact, num_threads=1)
    network.allocate_tensors()
    given = network.get_input_details()[0]
    network.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
    invoke = network.invoke
else:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    network = onnxruntime.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])
    given, binding = network.get_inputs()[0], network.io_binding()
    binding.bind_cpu_input(given.name, np.zeros(given.shape, np.float32))
    binding.bind_output(network.get_outputs()[0].name)
    invoke = lambda: network.run_with_iobinding(binding)
times = []
for _ in range(10 + runs):
    begin = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    invoke()
    times.append(time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - begin)
print(json.dumps(times[10:]))
"""


STEPPING = """
import time
while True:
    time.clock_settime(time.CLOCK_REALTIME, time.time() + 60)
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def quiet(counted_vm, bench):
    """What two runs say when nothing disturbs them: (document, record) by recipe."""
    recipes = ("tflite-int8", "onnx-fp32")
    words = [word for recipe in recipes for word in ("-r", recipe)]
    document, runs = bench(counted_vm, *words, "--no-power", "--runs", RUNS, "--max-s", 60)
    found = {
        told["artifact"]["recipe"]: (told, run) for told, run in zip(document["runs"], runs, strict=True)
    }
    assert sorted(found) == sorted(recipes)
    return found


def bare_median(transport, runtime, sha256):
    """Return the median of a plain loop around the runtime's own call on the board, in nanoseconds."""
    root = transport.root()
    library = {"litert": "ai_edge_litert"}.get(runtime, runtime)
    site = transport.check(["sh", "-c", f"ls -d {root}/site/*/{library}"]).text.strip().rpartition("/")[0]
    artifact = transport.check(["sh", "-c", f"ls {root}/store/{sha256}/*"]).text.strip()
    argv = ["python3", "-c", BARE, runtime, site, artifact, str(RUNS)]
    return statistics.median(json.loads(transport.check(argv, timeout_s=300).text))


@pytest.mark.parametrize(("recipe", "runtime"), [("tflite-int8", "litert"), ("onnx-fp32", "onnxruntime")])
def test_p50_is_a_bare_loops(counted_vm, quiet, on, recipe, runtime):
    told, run = quiet[recipe]
    assert told["labels"] == ["instruction time: qemu-icount"]
    assert told["verdict"] != "valid"
    assert told["parity"]["ok"]
    bare = bare_median(on(counted_vm), runtime, run.artifact.sha256)
    assert told["latency"]["p50_ms"]["value"] * 1e6 == pytest.approx(bare, rel=SAME)


@pytest.fixture
def disturbed(counted_vm):
    """A link that is slow and loses packets, and a clock that somebody sets again and again."""
    counted_vm.run("tc qdisc add dev eth0 root netem delay 40ms 10ms loss 1%")
    counted_vm.run(f"setsid python3 -c '{STEPPING}' </dev/null >/dev/null 2>&1 & echo $! >/tmp/stepping")
    yield
    counted_vm.run(f"tc qdisc del dev eth0 root; kill $(cat /tmp/stepping); date -s @{time.time():.0f}")


def test_neither_link_nor_clock_reaches_the_samples(counted_vm, quiet, disturbed, bench):
    _, before = quiet["tflite-int8"]
    document, (after,) = bench(
        counted_vm, "-r", "tflite-int8", "--no-power", "--runs", 3 * RUNS, "--max-s", 60
    )
    assert len(after.samples_ns) == 3 * RUNS
    assert 0 < min(after.samples_ns) <= max(after.samples_ns) < 1e9
    assert statistics.median(after.samples_ns) == pytest.approx(
        statistics.median(before.samples_ns), rel=SAME
    )
    walls = [told["wall_ns"] - told["t"] for told in after.conditions if "wall_ns" in told]
    assert max(walls) - min(walls) > 30e9
    assert "clock-stepped" in [doubt["code"] for doubt in document["runs"][0]["doubts"]]
    assert document["runs"][0]["parity"]["ok"]


def test_sampling_costs_less_than_two_percent(counted_vm, counted_sensors, bundle, monkeypatch):
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(counted_vm.ssh_config))
    for max_s in (2.0, 4.0, 8.0):  # a busy host answers its board's sensor too seldom for a figure
        plan = make_plan(
            [bundle], [counted_vm.address], recipes=["tflite-int8"], passes=("latency",), runs=1, warmup=2,
            max_s=max_s, power=PowerWish(mode="always"),
        )  # fmt: skip
        result = execute(plan, None)
        assert result.failed == ()
        told = figures(result.runs[0].power)
        if "unavailable" not in told:
            break
    assert "unavailable" not in told, told
    assert "ina226" in told["source"]
    assert told["readings"] > 0  # how many is a matter of speed: the sensor lives by the host's clock
    assert abs(told["sampling_cost"]["value"]) < 0.02, told["sampling_cost"]


def write_pair(folder):
    """Write two convolutions as float, and with weights and inputs in int8 that nothing can be fused with."""
    onnx = pytest.importorskip("onnx", reason="needs the convert extra")
    from onnx import helper, numpy_helper

    floats, shape = onnx.TensorProto.FLOAT, [1, 16, 14, 14]
    weights = np.random.default_rng(3).normal(0, 0.1, (2, 16, 16, 3, 3)).astype("float32")
    coarse = np.clip(np.rint(weights / 0.05), -127, 127).astype("int8")
    steps = {"s": np.float32(0.05), "z": np.uint8(128), "wz": np.int8(0)}
    for name in ("float", "int8"):
        nodes, kept, given = [], {} if name == "float" else dict(steps), "x"
        for n in range(2):
            source, kernel = given, f"w{n}"
            if name == "float":
                kept[kernel] = coarse[n] * np.float32(0.05)
            else:
                kept[f"w{n}_q"] = coarse[n]
                nodes += [
                    helper.make_node("QuantizeLinear", [given, "s", "z"], [f"{given}_q"]),
                    helper.make_node("DequantizeLinear", [f"{given}_q", "s", "z"], [f"{given}_d"]),
                    helper.make_node("DequantizeLinear", [f"w{n}_q", "s", "wz"], [kernel]),
                ]
                source = f"{given}_d"
            nodes += [
                helper.make_node("Conv", [source, kernel], [f"c{n}"], f"conv{n}", pads=[1] * 4),
                helper.make_node("Relu", [f"c{n}"], [f"a{n}"], f"act{n}"),
            ]
            given = f"a{n}"
        graph = helper.make_graph(
            [*nodes, helper.make_node("GlobalAveragePool", [given], ["y"], "mean")],
            "two",
            [helper.make_tensor_value_info("x", floats, shape)],
            [helper.make_tensor_value_info("y", floats, [1, 16, 1, 1])],
            [numpy_helper.from_array(np.asarray(value), key) for key, value in kept.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, folder / f"{name}.onnx")
    return folder / "float.onnx", folder / "int8.onnx"


def test_a_forced_slow_down_is_found_and_explained(counted_vm, tmp_path, monkeypatch):
    """Quantizing what then runs in float costs time and brings none back: here that is exact."""
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(counted_vm.ssh_config))
    plan = make_plan(
        write_pair(tmp_path), [counted_vm.address], runs=60, passes=("latency", "profile"), power=NO_POWER
    )
    result = execute(plan, None)
    assert result.failed == ()
    floats, quantized = result.runs
    slower = statistics.median(quantized.samples_ns) / statistics.median(floats.samples_ns)
    assert slower > 1.05
    found = explain(floats, quantized)
    assert found.comparable
    assert found.pair.outcome == "slower"
    assert found.cause.code == "unfused-qdq"
    assert "2 Conv" in found.cause.line
