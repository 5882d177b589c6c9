"""The engine, over transports and programs that are the real ones."""

import json
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from edgekit.bench import execute as engine
from edgekit.bench.document import bench_json
from edgekit.bench.execute import Failure, Progress, execute, own_load1
from edgekit.bench.plan import make_plan
from edgekit.bench.profile import delegation_text
from edgekit.bench.summarize import summarize
from edgekit.errors import DeviceLostError, DeviceRefusedError, DeviceUnfitError, ResultError
from edgekit.runners.transport.fake import FakeTransport, Faults
from edgekit.targets import Device


@pytest.fixture
def impatient(monkeypatch):
    """Let nobody wait for a link that stays dead."""
    quick = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: time.sleep(min(seconds, 0.02)))
    monkeypatch.setattr("edgekit.runners.follow.time", quick)


@pytest.fixture
def plan(make_bundle):
    def make(*devices, recipes=("tflite-fp32", "onnx-int8"), **options):
        options = {"runs": 80, "warmup": 3, "max_s": 20.0, **options}
        root = make_bundle(*recipes, name=f"bundle{len(recipes)}").root
        return make_plan([root], devices or ["fake://"], **options)

    return make


def test_a_whole_bench_on_no_device(plan, store):
    steps = []
    result = execute(plan(), store, on_progress=steps.append)
    assert result.failed == ()
    assert [run.artifact.recipe for run in result.runs] == ["tflite-fp32", "onnx-int8"]
    assert {run.id for run in store.query()} == {run.id for run in result.runs}
    for run in result.runs:
        assert len(run.samples_ns) == 80
        assert len(run.warmup_ns) == 3
        assert run.ended == "done"
        assert run.runtime.name == "null"
        assert run.plan["runs"] == 80
        summary = summarize(run)
        assert summary.verdict == "suspect"
        assert "fake device" in summary.labels
        assert "fake" in {doubt.code for doubt in summary.doubts}
        assert "unproven" not in {doubt.code for doubt in summary.doubts}
        assert "no device" in run.power["unavailable"]
    phases = [step.phase for step in steps]
    assert phases[:2] == ["connect", "prepare"]
    assert phases.count("saved") == 2
    assert steps[-1].index == steps[-1].items == 2


def test_its_json_is_the_contract(plan, store):
    result = execute(plan(recipes=("tflite-fp32", "coreml-fp16")), store)
    found = json.loads(json.dumps(bench_json(result), allow_nan=False))
    assert found["schema"] == 1
    assert len(found["runs"]) == 2
    assert (found["skipped"], found["failed"], found["interrupted"]) == ([], [], False)


def test_runs_need_no_store(plan):
    assert len(execute(plan(), None).runs) == 2


def test_a_dead_device_does_not_stop_the_next(plan, store):
    result = execute(plan("ssh://127.0.0.1:1", "fake://"), store)
    assert [(f.device, f.recipes) for f in result.failed] == [
        ("ssh://127.0.0.1:1", ("tflite-fp32", "onnx-int8"))
    ]
    assert result.failed[0].error.startswith("ssh://127.0.0.1:1: ")
    assert result.failed[0].recipe == "tflite-fp32, onnx-int8"
    assert [run.device for run in result.runs] == ["fake://", "fake://"]
    assert bench_json(result)["failed"][0]["recipes"] == ("tflite-fp32", "onnx-int8")


def with_faults(monkeypatch, **faults):
    def open_faulty(device):
        transport = FakeTransport(device, faults=Faults(**faults))
        transport.open()
        return transport

    monkeypatch.setattr(engine, "open_transport", open_faulty)


@pytest.mark.parametrize(
    ("calls", "stays_dead"),
    [
        (0, True),
        (2, False),
        (5, True),
        (9, False),
        (14, False),
        (18, False),
        (19, True),
        (23, False),
        (27, True),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_wherever_the_link_dies_all_is_accounted_for(plan, store, monkeypatch, calls, stays_dead):
    with_faults(monkeypatch, dies_after_calls=calls, stays_dead=stays_dead)
    result = execute(plan(runs=300), store)
    done = {run.artifact.recipe for run in result.runs if run.ended == "done"}
    failed = {recipe for failure in result.failed for recipe in failure.recipes}
    assert done | failed == {"tflite-fp32", "onnx-int8"}
    assert not done & failed
    assert {run.id for run in store.query()} == {run.id for run in result.runs}
    for run in result.runs:
        assert run.ended == "done" or summarize(run).verdict != "valid"


def test_a_runtime_that_does_not_fit_fails_alone(plan, store, monkeypatch):
    real = engine.Runner.prepare

    def prepare(self):
        if self.runtime.name == "litert":
            raise DeviceUnfitError("fake://", "no Python there")
        return real(self)

    monkeypatch.setattr(engine.Runner, "prepare", prepare)
    made = plan()
    mixed = replace(made, items=(replace(made.items[0], runtime="litert"), made.items[1]))
    result = execute(mixed, store)
    assert [(f.recipes, f.kind) for f in result.failed] == [(("tflite-fp32",), "DeviceUnfitError")]
    assert [run.artifact.recipe for run in result.runs] == ["onnx-int8"]


def test_a_link_that_dies_after_the_end_costs_nothing(plan, store, monkeypatch):
    real = engine.Runner.run

    def dies_at_last(self, *args):
        yield from real(self, *args)
        raise DeviceLostError("fake://", "the link is gone")

    monkeypatch.setattr(engine.Runner, "run", dies_at_last)
    result = execute(plan(), store)
    assert [run.ended for run in result.runs] == ["done", "done"]
    assert result.failed == ()


def test_a_program_that_dies_keeps_what_it_told(plan, store, monkeypatch):
    """The spool breaks off in the middle of the timed loop, as when the board reboots."""
    real = engine.Runner.run

    def breaks_off(self, *args):
        stream = real(self, *args)
        try:
            for event in stream:
                yield event
                if event["e"] == "samples":
                    raise DeviceRefusedError("fake://", "the board is gone")
        finally:
            stream.close()

    monkeypatch.setattr(engine.Runner, "run", breaks_off)
    result = execute(plan(recipes=("tflite-fp32",)), store)
    (run,) = result.runs
    assert run.ended == "the board is gone"
    assert len(run.samples_ns) == 80
    assert result.failed[0].error == "fake://: the board is gone"
    assert store.get(run.id).ended == "the board is gone"
    assert {"broken-off"} <= {doubt.code for doubt in summarize(run).doubts}


def test_ctrl_c_keeps_what_there_is(plan, store):
    def interrupt(step):
        if step.index == 2 and step.done:
            raise KeyboardInterrupt

    result = execute(plan(), store, on_progress=interrupt)
    assert result.interrupted
    assert result.runs[0].ended == "done"
    assert result.runs[1].ended in {"interrupted", "done"}  # it may have come to its end meanwhile
    assert len(store.query()) == 2
    assert len(result.runs[1].samples_ns) > 0


def test_ctrl_c_before_anything_ran(plan, store):
    def interrupt(step):
        raise KeyboardInterrupt

    result = execute(plan(), store, on_progress=interrupt)
    assert (result.interrupted, result.runs, result.failed) == (True, (), ())


def test_a_store_that_fails_ends_the_bench_and_loses_no_number(plan):
    class Full:
        def save(self, run):
            raise ResultError("the store x has no space left", hint="free some")

    result = execute(plan(), Full())
    assert len(result.runs) == 1
    assert result.failed == (
        Failure(
            device="fake://",
            recipes=("tflite-fp32",),
            kind="ResultError",
            error="the store x has no space left: free some",
        ),
    )


def test_this_machine_runs_the_null_runtime(plan, store):
    result = execute(plan("local://", recipes=("tflite-fp32",), runtime="null"), store)
    assert result.failed == ()
    (run,) = result.runs
    assert run.target == "this-host"
    assert "fake" in {doubt.code for doubt in summarize(run).doubts}
    if sys.platform == "linux":
        assert summarize(run).memory.baseline_bytes > 0


def test_an_artifact_that_does_not_load_fails_alone(plan, store, need_wheels):
    """The bundle's artifacts are no real ones; the runtimes say so."""
    result = execute(plan("local://"), store)
    need_wheels(result)
    assert result.runs == ()
    assert [failure.recipes for failure in result.failed] == [("tflite-fp32",), ("onnx-int8",)]
    assert all(failure.error.startswith("local://: ") for failure in result.failed)


def test_a_real_artifact_on_this_machine(real_bundle, store, need_wheels):
    plan = make_plan([real_bundle().root], ["local://"], runs=100, max_s=10.0)
    result = execute(plan, store)
    need_wheels(result)
    assert result.failed == ()
    run = store.get(result.runs[0].id)
    assert (run.ended, len(run.samples_ns), run.runtime.name) == ("done", 100, "onnxruntime")
    nodes = run.placed["artifact_nodes"]
    assert nodes > 0
    assert delegation_text(run) == f"{nodes} of {nodes} nodes on CPUExecutionProvider"
    assert (run.parity.ok, run.parity.blind, run.parity.count) == (True, False, 4)
    assert run.parity.max_abs_error < 1e-5
    found = summarize(run)
    assert found.verdict in {"valid", "suspect"}
    p50, p95 = found.latency.p50_ms, found.latency.p95_ms
    assert p50 is None or p50.low <= p50.value <= p50.high
    assert (p95 is None) == ("P95 needs" in found.latency.withheld)
    assert found.latency.overhead_ms < 0.1
    assert found.memory is None or found.memory.peak_over_baseline_bytes > 0
    assert "outputs-wrong" not in {doubt.code for doubt in found.doubts}


def test_wrong_outputs_on_this_machine_make_the_run_invalid(real_bundle, store, need_wheels):
    plan = make_plan([real_bundle(shift=0.01).root], ["local://"], runs=60, passes=["latency"])
    result = execute(plan, store)
    need_wheels(result)
    found = summarize(result.runs[0])
    assert found.verdict == "invalid"
    assert found.doubts[0].code == "outputs-wrong"
    assert found.doubts[0].value == pytest.approx(0.01, rel=1e-3)


def test_a_changed_artifact_stays_where_it_is(real_bundle, store, need_wheels):
    """Changed after the plan was made: the run fails, with nothing measured under the old name."""
    bundle = real_bundle()
    plan = make_plan([bundle.root], ["local://"])
    bundle.path_of(bundle.artifacts[0]).write_bytes(b"another one")
    result = execute(plan, store)
    need_wheels(result)
    assert result.runs == ()
    assert "sha256" in result.failed[0].error


def test_progress_speaks():
    step = Progress(device="local://", recipe="onnx-fp32", phase="run", index=1, items=2, done=5, total=9)
    assert str(step) == "local://: running onnx-fp32 (1 of 2)"


def test_our_own_load_decays():
    assert own_load1([], 100.0) == 0
    assert own_load1([(100.0, 600.0, 4)], 100.0) == pytest.approx(4, abs=0.01)
    assert own_load1([(100.0, 600.0, 1)], 160.0) == pytest.approx(1 / np.e, rel=0.01)
    assert own_load1([(100.0, 60.0, 1)], 100.0) == pytest.approx(1 - 1 / np.e)


def test_devices_are_told_apart_by_their_address(plan):
    made = plan("fake://", Device.parse("local://"), runtime="null")
    assert [device.address for device in made.devices] == ["fake://", "local://"]
