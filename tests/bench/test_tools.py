"""Runs by a tool of the user's own, and what a runtime may be asked: from the plan to the record.

The tools are stand-ins: they print what the real ones print; tests/runners/test_tool.py has more of them.
"""

import io
import json
import sys

import pytest
from rich.console import Console

from edgekit.bench.document import bench_json
from edgekit.bench.execute import execute
from edgekit.bench.metering import PowerWish
from edgekit.bench.plan import make_plan
from edgekit.bench.run import Run
from edgekit.bench.summarize import summarize
from edgekit.errors import UsageError
from edgekit.report.table import print_runs
from edgekit.runners.runtime import RuntimeWish
from edgekit.targets import Device

AGGREGATES = """#!PYTHON
print('''Num threads: [1]
count=4 first=14744 curr=15520 min=13164 max=18295 avg=13764.3 std=967
count=50 first=14850 curr=13315 min=13105 max=15765 avg=13520.2 std=470
Inference timings in us: Init: 12750, First inference: 14744, Warmup (avg): 13764.3, Inference (avg): 13520.2
Memory footprint delta from the start of the tool (MB): init=8.97656 overall=18.7227''')
"""
TIMES = """#!PYTHON
import sys
print("Setting intra_op_num_threads to 1")
with open(sys.argv[-1], "w") as file:
    for n in range(153):
        file.write("latency,%g,158171136,68,%d\\n" % (0.01 + 1e-5 * (n * 37 % 11), n))
"""


@pytest.fixture
def tool(tmp_path):
    def make(name, source):
        path = tmp_path / name
        path.write_text(source.replace("PYTHON", sys.executable), encoding="utf-8")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def plain():
    """A terminal of no colours, and wide."""
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def bench(make_bundle, tool):
    """Bench one artifact of a bundle with a stand-in for one tool; return its run."""

    def run(recipe, name, source, store, **options):
        wish = RuntimeWish(binary=str(tool(name, source)))
        root = make_bundle(recipe).root
        options = {"runs": 150, "warmup": 3, "max_s": 20.0, **options}
        result = execute(make_plan([root], ["local://"], runtime=name, wish=wish, **options), store)
        assert result.failed == ()
        (found,) = result.runs
        return found, bench_json(result)["runs"][0]

    return run


def test_aggregates_make_no_percentile(bench, store, plain):
    run, document = bench("tflite-fp32", "benchmark_model", AGGREGATES, store)
    assert (run.samples_ns, run.memory, run.conditions[1:]) == ((), (), ())
    assert run.told["avg_us"] == 13520.2
    assert run.told["memory_overall_mb"] == 18.7227
    assert run.runtime.version.startswith("sha256 ")
    assert run.plan["passes"] == ["latency"]
    assert run.plan["binary"].endswith("/benchmark_model")
    assert run.ended == "limit"
    summary = summarize(run)
    latency = summary.latency
    assert (latency.p50_ms, latency.p95_ms, latency.mean_ms) == (None, None, None)
    assert (latency.count, latency.min_ms, latency.max_ms) == (50, 13.105, 15.765)
    assert (latency.load_ms, latency.first_ms) == (12.75, 14.744)
    assert latency.withheld == "benchmark_model tells no single times"
    assert summary.verdict == "suspect"
    codes = {doubt.code for doubt in summary.doubts}
    assert "its own mean: 13.52 ms" in " ".join(doubt.hint for doubt in summary.doubts)
    assert {"no-samples-told", "unproven"} <= codes
    assert not {"few-samples", "memory-missing", "threads", "broken-off"} & codes
    assert "without EdgeKit's loop" in run.power["unavailable"]
    assert json.loads(json.dumps(document, allow_nan=False))["told"]["std_us"] == 470
    print_runs(plain, [(run, summary)])
    assert "tells no single times" in " ".join(plain.file.getvalue().split())


def test_times_make_percentiles_as_ever(bench, store):
    run, _ = bench("onnx-int8", "onnxruntime_perf_test", TIMES, store)
    assert (len(run.warmup_ns), len(run.samples_ns), run.ended) == (3, 150, "done")
    summary = summarize(run)
    assert summary.latency.p95_ms is not None
    assert summary.latency.p50_ms.value == pytest.approx(10.05, abs=0.02)
    assert run.parity is None
    assert "unproven" in {doubt.code for doubt in summary.doubts}


def test_such_a_run_is_kept_and_read_again(bench, store):
    run, _ = bench("tflite-fp32", "benchmark_model", AGGREGATES, store)
    (kept,) = store.query()
    assert (kept.told, kept.runtime) == (run.told, run.runtime)
    assert Run.from_json(json.loads(json.dumps(run.to_json()))).told == run.told
    older = {key: value for key, value in run.to_json().items() if key != "told"}
    assert Run.from_json(older).told == {}


def test_a_tool_that_dies_is_a_failure_with_its_words(make_bundle, tool):
    wish = RuntimeWish(binary=str(tool("benchmark_model", "#!/bin/sh\necho no such flag; exit 2\n")))
    plan = make_plan([make_bundle("tflite-fp32").root], ["local://"], runtime="benchmark_model", wish=wish)
    result = execute(plan, None)
    assert result.runs == ()
    assert "benchmark_model ended with 2: no such flag" in result.failed[0].error


@pytest.mark.parametrize(
    ("runtime", "options", "said"),
    [
        ("benchmark_model", {"precision": 0.02}, "can't end when it is precise enough"),
        ("onnxruntime_perf_test", {"period_s": 0.1}, "back to back only"),
        ("benchmark_model", {"passes": ("memory", "latency", "profile")}, "operators are not profiled"),
        ("benchmark_model", {"power": PowerWish(mode="always")}, "beside EdgeKit's own loop"),
        ("benchmark_model", {"program": "native"}, "native program does not run it"),
        ("litert", {"wish": RuntimeWish(binary="/x")}, "--runtime-binary means nothing to litert"),
        ("litert", {"wish": RuntimeWish(compute_units="ALL")}, "--compute-units means nothing to litert"),
        ("benchmark_model", {"wish": RuntimeWish(remote_device="P")}, "--remote-device means nothing"),
        ("coreml", {"threads": 2}, "as many threads as it likes"),
        ("coreml", {"cores": ("big",)}, "macOS lets nobody choose CPUs"),
        ("coreml", {"passes": ("latency", "profile")}, "operators are not profiled"),
    ],
)
def test_what_a_runtime_can_not_do_is_refused_before_a_device_is_touched(make_bundle, runtime, options, said):
    recipe = {"coreml": "coreml-fp32", "onnxruntime_perf_test": "onnx-int8"}.get(runtime, "tflite-fp32")
    with pytest.raises(UsageError, match=said):
        make_plan([make_bundle(recipe).root], ["ssh://somewhere"], runtime=runtime, **options)


def test_a_paced_tool_may_be_paced(make_bundle):
    root = make_bundle("tflite-fp32").root
    plan = make_plan([root], ["local://"], runtime="benchmark_model", period_s=0.1)
    assert plan.items[0].by_tool
    assert not plan.items[0].provable


def test_core_ml_goes_where_a_mac_may_be(make_bundle):
    root = make_bundle("tflite-fp32", "coreml-fp32").root
    skipped = make_plan([root], ["ssh://m"]).skipped
    assert [s.recipe for s in skipped] == ["coreml-fp32"]
    assert "name its recipe with -r" in skipped[0].reason
    wish = RuntimeWish(compute_units="CPU_AND_NE")
    plan = make_plan([root], ["ssh://m"], recipes=["coreml-fp32"], wish=wish)
    assert plan.asked(plan.items[0])["compute_units"] == "CPU_AND_NE"
    known = make_plan([root], [Device.parse("ssh://m", target="generic-mac")])
    assert [item.runtime for item in known.items] == ["litert", "coreml"]
    for device in ("adb://x", "local://"):
        with pytest.raises(UsageError, match="Core ML runs on Macs only"):
            make_plan([root], [device], recipes=["coreml-fp32"])
