"""The program that runs on the device, as a process of its own on this machine."""

import ast
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgekit.runners.lines import output_array
from edgekit.runners.on_device.python.edgekit_runner import conditions, files, memory, spool
from edgekit.runners.program import MODULES, python_program

ORDER = [
    "hello", "conditions", "load", "first", "warmup", "placed", "conditions", "samples", "conditions",
    "overhead",
]  # fmt: skip
OTHER_PYTHONS = (7, 8, 9, 10, 12, 13)


def other_python(minor):
    """Return a Python of this minor version that runs here, or skip."""
    kept = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3"))
    for path in (shutil.which(f"python3.{minor}"), *map(str, kept)):
        if path and subprocess.run([path, "-V"], capture_output=True, check=False).returncode == 0:
            return path
    return pytest.skip(f"no Python 3.{minor} here")


def names(events):
    return [event["e"] for event in events]


def only(events, name):
    (found,) = [event for event in events if event["e"] == name]
    return found


def outputs(events):
    return np.concatenate([output_array(e) for e in events if e["e"] == "output"])


# --- the file ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", sorted(MODULES.glob("*.py")), ids=lambda path: path.stem)
def test_it_stands_alone_and_keeps_to_python_3_7(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 7))
    imported = {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level == 0}
    assert imported <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("minor", OTHER_PYTHONS)
@pytest.mark.parametrize("name", ["memory", "latency"])
def test_it_runs_on_other_pythons(program, minor, name):
    code, events = program.run(name, python=other_python(minor))
    assert code == 0, program.stderr
    assert only(events, "end")["reason"] == "done"


# --- the latency pass -------------------------------------------------------------------------------
def test_null_tells_every_sample_and_no_warmup_among_them(either):
    code, events = either.run(runs=37, warmup=4)
    assert code == 0
    assert names(events) == [*ORDER, "end"]
    assert len(only(events, "samples")["ns"]) == only(events, "end")["count"] == 37
    assert len(only(events, "warmup")["ns"]) == 4
    hello = only(events, "hello")
    assert (hello["run"], hello["runtime"], hello["threads"]) == ("test-run", "null", 1)


def test_times_only_go_forward(either):
    _, events = either.run()
    stamps = [event["t"] for event in events]
    assert stamps == sorted(stamps)
    assert [e["when"] for e in events if e["e"] == "conditions"] == ["before", "during", "after"]


def test_without_warmup_there_is_an_empty_one(either):
    _, events = either.run(warmup=0)
    assert only(events, "warmup")["ns"] == []


def test_the_time_limit_ends_the_loop_and_keeps_its_samples(either):
    code, events = either.run(runs=10**9, max_s=0.7, warmup=0)
    told = [n for event in events if event["e"] == "samples" for n in event["ns"]]
    assert code == 0
    assert only(events, "end") | {"t": 0} == {
        "e": "end",
        "pass": "latency",
        "t": 0,
        "reason": "limit",
        "count": len(told),
    }
    assert names(events).count("samples") >= 2
    assert sum(told) <= 0.8e9


@pytest.mark.convert
@pytest.mark.parametrize("artifact", ["float", "int8"])
def test_litert_outputs_are_right(program, tflite, golden, artifact):
    atol = {"float": 1e-5, "int8": 0.05}[artifact]
    path = str(tflite / f"{artifact}.tflite")
    code, events = program.run(runtime="litert", artifact=path, golden=str(golden))
    assert code == 0, program.stderr
    expected = np.load(tflite / "outputs.npy")
    assert names(events) == [*ORDER, *["output"] * len(expected), "end"]
    np.testing.assert_allclose(outputs(events), expected, atol=atol)
    assert [e["golden"] for e in events if e["e"] == "output"] == list(range(len(expected)))
    assert {node["kind"] for node in only(events, "placed")["nodes"]} >= {"DELEGATE"}


@pytest.mark.convert
def test_int8_inputs_are_quantized_by_the_artifact_and_outputs_are_not_left_as_steps(program, tflite, golden):
    from ai_edge_litert.interpreter import Interpreter

    path = str(tflite / "int8.tflite")
    net = Interpreter(model_path=path)
    net.allocate_tensors()
    scale, zero = net.get_output_details()[0]["quantization"]
    assert net.get_input_details()[0]["dtype"] == np.int8
    _, events = program.run(runtime="litert", artifact=path, golden=str(golden))
    steps = outputs(events) / scale + zero
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert steps.min() >= -128
    assert steps.max() <= 127


@pytest.mark.convert
@pytest.mark.parametrize("artifact", ["float", "half"])
def test_onnxruntime_outputs_are_right(either, ort_site, onnx, golden, artifact):
    atol = {"float": 1e-4, "half": 0.15}[artifact]
    path = str(onnx / f"{artifact}.onnx")
    code, events = either.run(runtime="onnxruntime", site=ort_site, artifact=path, golden=str(golden))
    assert code == 0, either.stderr
    np.testing.assert_allclose(outputs(events), np.load(onnx / "outputs.npy"), atol=atol)


@pytest.mark.convert
@pytest.mark.parametrize("shape", [(2, 1, 8, 8, 3), (2, 8, 8, 3)])
def test_golden_inputs_may_have_their_batch(either, ort_site, onnx, tmp_path, shape):
    np.save(tmp_path / "g.npy", np.ones(shape, "float32"))
    path = str(onnx / "float.onnx")
    _, events = either.run(
        runtime="onnxruntime", site=ort_site, artifact=path, golden=str(tmp_path / "g.npy")
    )
    assert outputs(events).shape == (2, 5)


@pytest.mark.convert
def test_without_golden_inputs_zeros_are_fed(either, ort_site, onnx):
    code, events = either.run(
        runtime="onnxruntime", site=ort_site, artifact=str(onnx / "float.onnx"), threads=2
    )
    assert code == 0
    assert names(events) == [*ORDER, "end"]
    assert only(events, "hello")["threads"] == 2


# --- the memory pass --------------------------------------------------------------------------------
@pytest.mark.convert
@pytest.mark.parametrize("runtime", ["litert", "onnxruntime"])
def test_memory_is_told_phase_by_phase(program, request, runtime, golden):
    made = {"litert": "tflite", "onnxruntime": "onnx"}[runtime]
    path = request.getfixturevalue(made) / f"float.{made}"
    code, events = program.run("memory", runtime=runtime, artifact=str(path), golden=str(golden))
    assert code == 0, program.stderr
    assert names(events) == ["hello", "memory", "load", "memory", "first", "memory", "memory", "end"]
    told = {e["phase"]: e for e in events if e["e"] == "memory"}
    total = {phase: e["pss_bytes"] + e["swap_bytes"] for phase, e in told.items()}
    assert total["peak"] == max(total.values())
    assert total["baseline"] > 1 << 20
    assert all(e["private_dirty_bytes"] <= e["pss_bytes"] for e in told.values())
    assert only(events, "end")["count"] == 20


def test_a_kernel_without_the_rollup_is_summed_up(monkeypatch):
    smaps = (
        "00400000-00452000 r-xp 00000000 08:02 173521 /usr/bin/dbus\n"
        "Pss: 100 kB\nPrivate_Dirty: 8 kB\nSwap: 4 kB\n"
        "7ffe0000-7fff0000 rw-p 00000000 00:00 0 [stack]\nPss: 20 kB\nPrivate_Dirty: 20 kB\nSwap: 0 kB\n"
    )  # constructed

    def old_kernel(path, *_, **__):
        if path.endswith("rollup"):
            raise FileNotFoundError(path)
        return io.StringIO(smaps)

    monkeypatch.setattr(memory, "open", old_kernel, raising=False)
    assert memory.memory_now() == {
        "pss_bytes": 120 << 10,
        "private_dirty_bytes": 28 << 10,
        "swap_bytes": 4 << 10,
    }


def test_a_kernel_that_tells_no_memory_is_said_so(monkeypatch):
    def no_file(path, *_, **__):
        raise PermissionError(path)

    monkeypatch.setattr(memory, "open", no_file, raising=False)
    with pytest.raises(spool.Trouble) as caught:
        memory.memory_now()
    assert caught.value.told()["kind"] == "memory"


# --- what goes wrong --------------------------------------------------------------------------------
def test_an_unknown_runtime_is_an_error_line(either):
    code, events = either.run(runtime="tensorrt")
    assert code == 1
    assert names(events) == ["error"]
    assert events[0]["kind"] == "runtime"
    assert "null" in events[0]["message"]


def test_a_runtime_that_is_not_there_is_an_error_line(program):
    code, events = program.run(runtime="onnxruntime", python=other_python(8))
    assert code == 1
    assert (events[-1]["kind"], "onnxruntime" in events[-1]["message"]) == ("runtime", True)


@pytest.mark.convert
@pytest.mark.parametrize("runtime", ["litert", "onnxruntime"])
@pytest.mark.parametrize("content", [None, b"", b"no artifact at all" * 50])
def test_an_artifact_that_does_not_load_is_an_error_line(program, tmp_path, runtime, content):
    path = tmp_path / "broken"
    if content is not None:
        path.write_bytes(content)
    code, events = program.run(runtime=runtime, artifact=str(path))
    assert code == 1
    assert names(events) == ["hello", "conditions", "error"]
    assert events[-1]["kind"] == "load"


@pytest.mark.convert
@pytest.mark.parametrize(("name", "said"), [("two", "2 inputs"), ("int8", "int8")])
def test_an_artifact_that_float_inputs_do_not_fit_is_refused(either, ort_site, onnx, name, said):
    code, events = either.run(runtime="onnxruntime", site=ort_site, artifact=str(onnx / f"{name}.onnx"))
    assert code == 1
    assert events[-1]["kind"] == "load"
    assert said in events[-1]["message"]


@pytest.mark.convert
@pytest.mark.parametrize(
    "array", [np.zeros((2, 8, 8, 4), "float32"), np.zeros((2, 8, 8, 3), "float64"), np.zeros(3, "float32")]
)
def test_golden_inputs_of_another_shape_are_refused(either, ort_site, onnx, tmp_path, array):
    np.save(tmp_path / "g.npy", array)
    code, events = either.run(
        runtime="onnxruntime",
        site=ort_site,
        artifact=str(onnx / "float.onnx"),
        golden=str(tmp_path / "g.npy"),
    )
    assert code == 1
    assert events[-1]["kind"] == "job"
    assert "(1, 8, 8, 3)" in events[-1]["message"]


@pytest.mark.parametrize(
    "changes",
    [
        {"runs": 0},
        {"threads": 0},
        {"warmup": -1},
        {"max_s": 0},
        {"max_s": "5"},
        {"runs": True},
        {"protocol": 1},
        {"extra": 1},
        {"site": "x"},
        {"spool": "/nowhere/at/all"},
    ],
)
def test_a_job_that_is_none_ends_with_two(either, changes):
    code, events = either.run(**changes)
    assert (code, events) == (2, [])
    assert json.loads(either.stderr)["kind"] == "job"


@pytest.mark.parametrize("text", ["", "{", '{"protocol": 2', "[]", "null"])
def test_a_truncated_job_ends_with_two(tmp_path, text):
    (tmp_path / "job.json").write_text(text)
    argv = [sys.executable, str(python_program()), str(tmp_path / "job.json"), "latency"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert json.loads(done.stderr)["kind"] == "job"


@pytest.mark.parametrize("arguments", [[], ["job.json"], ["job.json", "nothing"], ["a", "b", "c"]])
def test_a_wrong_command_line_ends_with_two(tmp_path, arguments):
    argv = [sys.executable, str(python_program()), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert json.loads(done.stderr)["e"] == "error"


def test_sigterm_ends_it_cleanly(either):
    process = either.start(runs=10**9, max_s=600)
    deadline = time.monotonic() + 60
    while "samples" not in names(either.events()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    end = either.events()[-1]
    assert (end["e"], end["reason"], process.returncode) == ("end", "stopped", 0)
    assert end["count"] == sum(len(e["ns"]) for e in either.events() if e["e"] == "samples")


def test_a_full_disk_keeps_lines_waiting_and_loses_none(tmp_path):
    kept = spool.Spool("/dev/full", "latency")
    for number in range(3):
        kept.tell("samples", ns=[number])
    kept.handle = os.open(tmp_path / "spool", os.O_WRONLY | os.O_CREAT)
    kept.tell("end", reason="done", count=3)
    lines = (tmp_path / "spool").read_bytes().splitlines()
    assert [json.loads(line).get("ns") for line in lines] == [[0], [1], [2], None]


def test_a_disk_that_stays_full_is_said_at_last(monkeypatch):
    monkeypatch.setattr(spool, "SPOOL_PATIENCE_S", 0)
    monkeypatch.setattr(spool.os, "fsync", lambda handle: None)
    kept = spool.Spool("/dev/full", "latency")
    kept.tell("hello")
    with pytest.raises(OSError, match="No space left") as caught:
        kept.close()
    assert caught.value.errno == errno.ENOSPC


def test_importing_a_runtime_tells_its_version():
    argv = [sys.executable, str(python_program()), "--import", "null"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"runtime": "null", "version": ".".join(map(str, sys.version_info[:3]))}


@pytest.mark.parametrize(
    ("readings", "told"),
    [
        ([0x0], [None]),
        ([0x50005], ["under-voltage, throttled"]),
        ([0x50000], [None]),
        ([0x0, 0x20000, 0x20002], [None, "frequency capped", "frequency capped"]),
    ],
)
def test_throttling_bits_count_when_they_are_new(monkeypatch, readings, told):
    """Bits 16 to 19 stay set since boot: only what was set after the first look is this run's."""
    rest = iter(readings)
    monkeypatch.setattr(conditions, "number_of", lambda path: next(rest) if "get_throttled" in path else None)
    monkeypatch.setattr(conditions.glob, "glob", lambda pattern: [])
    seen = {}
    assert [conditions.throttling(seen).get("throttled", "left out") for _ in readings] == told


def test_what_can_not_be_read_is_left_out(monkeypatch):
    monkeypatch.setattr(conditions, "text_of", lambda path: None)
    monkeypatch.setattr(files, "text_of", lambda path: None)
    monkeypatch.setattr(conditions.glob, "glob", lambda pattern: [])
    told = conditions.conditions("before", {})
    assert set(told) == {"when", "wall_ns", "canary_ns"}


def test_two_zones_of_one_name_are_both_told(monkeypatch):
    small = {"type": "cpu-thermal", "temp": "51250"}
    monkeypatch.setattr(
        conditions.glob, "glob", lambda pattern: [f"/sys/class/thermal/thermal_zone{n}" for n in (0, 12)]
    )
    for module in (files, conditions):
        monkeypatch.setattr(module, "text_of", lambda path: small[path.rpartition("/")[2]])
    assert conditions.temperatures() == {"cpu-thermal": 51.25, "cpu-thermal#12": 51.25}


# --- pace, enough, and what the loop costs --------------------------------------------------------------
def test_paced_invocations_begin_one_a_period(either):
    code, events = either.run(runs=10, warmup=0, period_ns=20_000_000)
    assert code == 0
    loop = [e for e in events if e["e"] == "samples"]
    begun = next(e["t"] for e in events if e["e"] == "conditions" and e["when"] == "during")
    assert sum(len(e["ns"]) for e in loop) == 10
    assert loop[-1]["t"] - begun >= 9 * 20_000_000  # later is a busy machine's, earlier is a broken pace


def test_a_file_beside_the_spool_ends_the_loop_with_what_there_is(either):
    process = either.start(runs=10**9, max_s=600)
    deadline = time.monotonic() + 60
    while "samples" not in names(either.events()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    Path(either.job["spool"]).with_suffix(".enough").touch()
    process.communicate(timeout=60)
    events = either.events()
    end = events[-1]
    assert (end["e"], end["reason"], process.returncode) == ("end", "enough", 0)
    assert end["count"] == sum(len(e["ns"]) for e in events if e["e"] == "samples")
    assert "overhead" in names(events)  # it is over, and was not broken off


def test_the_loop_itself_is_measured(either):
    _, events = either.run(runs=5)
    told = only(events, "overhead")["ns"]
    assert len(told) == 1000
    assert all(ns >= 0 for ns in told)


@pytest.mark.convert
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_threads_that_were_started_are_told(either, ort_site, onnx, threads):
    path = str(onnx / "float.onnx")
    _, events = either.run(runtime="onnxruntime", site=ort_site, artifact=path, threads=threads)
    told = only(events, "placed")
    assert told["threads_after"] - told["threads_before"] == threads - 1
    assert told["providers"] == ["CPUExecutionProvider"]


def test_it_keeps_to_the_cpus_that_it_is_given(either):
    one = min(os.sched_getaffinity(0))
    _, events = either.run(cpus=[one])
    assert only(events, "placed")["cpus_allowed"] == str(one)
    assert {e["cpus_allowed"] for e in events if e["e"] == "conditions"} == {str(one)}


def test_cpus_that_are_not_there_are_an_error_line(either):
    code, events = either.run(cpus=[1000])
    assert code == 1
    assert [e["e"] for e in events] == ["error"]
    assert events[0]["kind"] == "job"


@pytest.mark.parametrize(
    "changes", [{"cpus": [-1]}, {"cpus": ["0"]}, {"cpus": "0"}, {"period_ns": -1}, {"watch": []}]
)
def test_a_job_with_a_place_or_pace_that_is_none_ends_with_two(either, changes):
    code, events = either.run(**changes)
    assert (code, events) == (2, [])
    assert json.loads(either.stderr)["kind"] == "job"


def test_conditions_have_a_canary_and_the_wall_clock(either):
    before = time.time_ns()
    _, events = either.run()
    told = [e for e in events if e["e"] == "conditions"]
    assert all(e["canary_ns"] > 0 for e in told)
    assert before <= told[0]["wall_ns"] <= told[-1]["wall_ns"] <= time.time_ns()
