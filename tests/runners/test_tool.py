"""Tools of a user's own as runtimes. The programs here are stand-ins: they print what the real ones print.

What they print is taken from the tools' sources and from logs of their users, as the heads of the runtimes'
files say; the real tools were not at hand.
"""

import os
import sys
import time
from pathlib import Path

import pytest

from edgekit.artifact import digest
from edgekit.errors import (
    DeviceTimeoutError,
    DeviceUnfitError,
    ProtocolError,
    StableDeviceError,
    UsageError,
)
from edgekit.runners.recover import LeftRun
from edgekit.runners.runner import Job, Runner
from edgekit.runners.runtime import RUNTIMES, RuntimeWish
from edgekit.runners.runtime.base import ToolJob
from edgekit.testing import processes

ARTIFACT = b"an artifact"

BENCHMARK_MODEL = r"""#!PYTHON
import os, signal, sys, time
asked = dict(word[2:].split("=", 1) for word in sys.argv[1:])
assert open(asked["graph"], "rb").read() == b"an artifact", "no such graph"
runs, warmup, threads = int(asked["num_runs"]), int(asked["warmup_runs"]), int(asked["num_threads"])
MISCHIEF
say = lambda text: print(text, file=sys.stderr, flush=True)
say("INFO: STARTING!")
say("INFO: Log parameter values verbosely: [0]")
say("INFO: Min num runs: [%d]" % runs)
say("INFO: Num threads: [%d]" % threads)
say("INFO: Graph: [%s]" % asked["graph"])
say("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.")
say("INFO: The input model file size (MB): 16.9008")
say("INFO: Initialized session in 12.75ms.")
say("INFO: Running benchmark for at least %d iterations and at least 0 seconds but terminate if exceeding %s "
    "seconds." % (warmup, asked["max_secs"]))
say("INFO: count=%d first=14744 curr=15520 min=13164 max=18295 avg=13764.3 std=967\n" % warmup)
say("INFO: Running benchmark for at least %d iterations" % runs)
say("INFO: count=%d first=14850 curr=13315 min=13105 max=15765 avg=13520.2 std=470\n" % runs)
say("INFO: Inference timings in us: Init: 12750, First inference: 14744, Warmup (avg): 13764.3, "
    "Inference (avg): 13520.2")
say("INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to "
    "the actual memory footprint of the model at runtime. Take the information at your discretion.")
say("INFO: Memory footprint delta from the start of the tool (MB): init=8.97656 overall=18.7227")
"""

PERF_TEST = r"""#!PYTHON
import os, signal, sys, time
words = iter(sys.argv[1:])
asked, names = {}, []
for word in words:
    if word == "-I":
        asked[word] = "1"
    elif word.startswith("-"):
        asked[word] = next(words)
    else:
        names.append(word)
assert open(names[0], "rb").read() == b"an artifact", "no such model"
runs, threads = int(asked.get("-r", 25)), int(asked["-x"])
MISCHIEF
times = [0.01 + 0.00001 * n for n in range(runs)]
print("Setting intra_op_num_threads to %d" % threads)
print("Session creation time cost: 0.0609402 s")
print("First inference time cost: 84 ms")
print("Total inference time cost: %g s" % sum(times))
print("Total inference requests: %d" % runs)
print("Average inference time cost: %g ms" % (1000 * sum(times) / runs))
print("Total inference run time: %g s" % sum(times))
print("Number of inferences per second: %g " % (runs / sum(times)))
print("Avg CPU usage: 68 %")
print("Peak working set size: 158171136 bytes")
with open(names[1], "a") as file:
    for n, value in enumerate(times):
        file.write("latency,SUBMITTED%g,158171136,68,%d\n" % (value, n))
"""
SOURCES = {"benchmark_model": BENCHMARK_MODEL, "onnxruntime_perf_test": PERF_TEST}
TOOLS = tuple(SOURCES)


@pytest.fixture
def tool(tmp_path):
    """Write a stand-in, with some mischief in it, and return its path."""

    def make(name, mischief="", submitted=""):
        path = tmp_path / "tools" / name
        path.parent.mkdir(exist_ok=True)
        source = SOURCES[name].replace("PYTHON", sys.executable).replace("MISCHIEF", mischief)
        path.write_text(source.replace("SUBMITTED", submitted), encoding="utf-8")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "net"
    path.write_bytes(ARTIFACT)
    return path


def play(local, artifact, name, binary="", **changes):
    wish = RuntimeWish(binary=str(binary))
    job = Job(**{"run_id": "run-0001", "runs": 70, "warmup": 3, "max_s": 20.0, **changes})
    with Runner(local, RUNTIMES.get(name), wish=wish) as runner:
        return list(runner.run(job, artifact, digest(artifact)[0], None))


def one(events, kind):
    (event,) = [event for event in events if event["e"] == kind]
    return event


# --- what they tell ---------------------------------------------------------------------------------
def test_benchmark_model_tells_no_single_time_and_none_is_made(local, artifact, tool):
    path = tool("benchmark_model")
    events = play(local, artifact, "benchmark_model", path, threads=4)
    assert [event["e"] for event in events] == ["hello", "load", "first", "warmup", "told", "end"]
    hello = one(events, "hello")
    assert (hello["threads"], hello["runtime"]) == (4, "benchmark_model")
    assert hello["version"] == f"sha256 {digest(path)[0][:12]}"
    assert (one(events, "load")["ns"], one(events, "first")["ns"]) == (12_750_000, 14_744_000)
    assert one(events, "warmup")["ns"] == []
    assert one(events, "told")["figures"] == {
        "tool": "benchmark_model", "count": 70, "first_us": 14850.0, "curr_us": 13315.0, "min_us": 13105.0,
        "max_us": 15765.0, "avg_us": 13520.2, "std_us": 470.0, "memory_init_mb": 8.97656,
        "memory_overall_mb": 18.7227, "delegate": "XNNPACK", "warmup_count": 4, "warmup_avg_us": 13764.3,
    }  # fmt: skip
    assert one(events, "end") == {"pass": "latency", "t": 0, "e": "end", "reason": "done", "count": 70}


@pytest.mark.parametrize("submitted", ["", "0.0000421,"])
def test_the_perf_test_tells_every_time(local, artifact, tool, submitted):
    path = tool("onnxruntime_perf_test", submitted=submitted)
    events = play(local, artifact, "onnxruntime_perf_test", path, threads=2)
    assert [event["e"] for event in events] == ["hello", "load", "warmup", "samples", "told", "end"]
    assert one(events, "warmup")["ns"] == [10_000_000, 10_010_000, 10_020_000]
    samples = one(events, "samples")["ns"]
    assert (len(samples), samples[0], samples[-1]) == (70, 10_030_000, 10_720_000)
    assert one(events, "load")["ns"] == 60_940_200
    figures = one(events, "told")["figures"]
    assert figures["peak_working_set_bytes"] == 158171136
    assert figures["first_inference_ms"] == 84


def test_an_endless_run_is_asked_for_by_its_time(local, artifact, tool):
    path = tool("onnxruntime_perf_test", 'assert asked["-m"] == "duration" and asked["-t"] == "20", asked')
    events = play(local, artifact, "onnxruntime_perf_test", path, runs=1_000_000)
    assert one(events, "end")["reason"] == "limit"
    assert one(events, "end")["count"] == 22


def test_all_the_same_is_read_too():
    read = RUNTIMES.get("benchmark_model").tool.read
    job = ToolJob(artifact="/a", result="/r", threads=1, warmup=0, runs=3, max_s=1.0)
    text = (
        "#threads used for CPU inference: [1]\ncount=1 curr=9\ncount=3 curr=7 (all same)\n"
        "Inference timings in us: Init: 855, First inference: 9, Warmup (avg): 9, Inference (avg): 7\n"
    )
    with pytest.raises(ValueError, match="a loop lacks"):
        read(text, "", job)
    told = read(text.replace("curr=9", "curr=9 (all same)"), "", job)
    assert (told.figures["min_us"], told.figures["max_us"], told.figures["std_us"]) == (7, 7, 0)
    assert told.first_ns == 9000


# --- where they are found ---------------------------------------------------------------------------
def test_it_is_found_on_the_path_or_where_it_is_said_to_be(local, artifact, tool, monkeypatch):
    path = tool("benchmark_model")
    with pytest.raises(DeviceUnfitError, match="there is no program benchmark_model") as caught:
        play(local, artifact, "benchmark_model")
    assert "--runtime-binary" in caught.value.hint
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    assert play(local, artifact, "benchmark_model")[-1]["e"] == "end"
    assert play(local, artifact, "benchmark_model", f"device:{path}", run_id="run-2222")[-1]["e"] == "end"
    with pytest.raises(DeviceUnfitError, match="no program /no/where"):
        play(local, artifact, "benchmark_model", "device:/no/where")
    with pytest.raises(UsageError, match="/no/where is no file"):
        play(local, artifact, "benchmark_model", "/no/where")


def test_a_program_for_another_machine_is_not_brought(local, artifact, tmp_path):
    header = bytearray(Path(sys.executable).resolve().read_bytes()[:64])
    header[16:20] = b"\x02\x00" + (243).to_bytes(2, "little")
    header[32:64] = bytes(32)
    (tmp_path / "foreign").write_bytes(header)
    with pytest.raises(DeviceUnfitError, match="foreign is built for riscv64, and the device is"):
        play(local, artifact, "benchmark_model", tmp_path / "foreign")


def test_nothing_of_it_stays_behind(local, artifact, tool):
    play(local, artifact, "benchmark_model", tool("benchmark_model"))
    root = Path(local.root())
    assert not list((root / "runs").iterdir())
    assert (tool("benchmark_model")).exists()
    assert artifact.read_bytes() == ARTIFACT


# --- the nasty twin ---------------------------------------------------------------------------------
@pytest.mark.parametrize("name", TOOLS)
def test_one_that_uses_other_threads_is_found_out(local, artifact, tool, name):
    with pytest.raises(StableDeviceError, match="used 7 threads, 2 were asked for"):
        play(local, artifact, name, tool(name, "threads = 7"), threads=2)


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize(
    "case",
    [
        ("sys.exit('bad model')", "ended with 1: bad model"),
        ("print('half a word', flush=True); os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV: half"),
        ("os.close(1); os.close(2); os._exit(3)", "ended with 3: it said nothing"),
    ],
)
def test_one_that_dies_is_told_with_its_last_words(local, artifact, tool, name, case):
    mischief, said = case
    with pytest.raises(StableDeviceError, match=said) as caught:
        play(local, artifact, name, tool(name, mischief))
    assert str(caught.value).startswith("local://")


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize(
    "mischief",
    [
        "sys.exit(0)",
        "os.write(1, bytes(range(256)) * 64); sys.exit(0)",
        "print('count=1' * 9999); sys.exit(0)",
        "runs = runs + 1",
        "runs = 0",
    ],
)
def test_one_that_prints_nonsense_is_not_believed(local, artifact, tool, name, mischief):
    with pytest.raises((ProtocolError, StableDeviceError)) as caught:
        play(local, artifact, name, tool(name, mischief))
    assert name in str(caught.value)


def test_one_that_floods_is_cut_off(local, artifact, tool):
    path = tool("benchmark_model", "while True: os.write(1, b'x' * 65536)")
    with pytest.raises(ProtocolError, match="more than 4 MiB"):
        play(local, artifact, "benchmark_model", path)
    _no_more(path)


def test_one_that_hangs_is_killed_at_the_deadline(local, artifact, tool, tmp_path):
    here = tmp_path / "pid"
    path = tool("benchmark_model", f"open({str(here)!r}, 'w').write(str(os.getpid())); time.sleep(3600)")
    with pytest.raises(DeviceTimeoutError, match="has not ended within"):
        play(local, artifact, "benchmark_model", path, max_s=0.5, grace_s=4.0)
    end = time.monotonic() + 60
    while here.exists() and time.monotonic() < end:
        try:
            os.kill(int(here.read_text()), 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    assert not here.exists(), "it still runs"


def _no_more(path):
    """Wait until no process has this path in its command line."""
    end = time.monotonic() + 60
    while processes.running(str(path)):
        assert time.monotonic() < end, f"{path} still runs"
        time.sleep(0.05)


def test_what_a_host_that_died_left_of_it_is_no_run(local, artifact, tool):
    with pytest.raises(StableDeviceError):
        play(local, artifact, "benchmark_model", tool("benchmark_model", "sys.exit('half a word')"))
    left_run = LeftRun(local, "run-0001", ("memory", "latency"), 70)
    assert left_run.alive() == ""
    left = left_run.read()
    assert (left.there, left.events, left.broken) == (True, (), "")
    left_run.remove()
    assert not left_run.read().there


# --- what can be read wrongly -----------------------------------------------------------------------
ROWS = "m,0.01,9,8,0\nm,0.02,9,8,1\n"
PRINTED = "Setting intra_op_num_threads to 1\nTotal inference requests: 2\n"


@pytest.mark.parametrize(
    ("output", "result", "said"),
    [
        ("", ROWS, "how many threads"),
        (PRINTED, "", "0 times of 2 runs"),
        (PRINTED, "m,0.01,9,8,0\n", "1 times of 2 runs"),
        (PRINTED, ROWS.replace("8,1", "8,7"), "row 1"),
        (PRINTED, ROWS.replace("0.02", "nan"), "row 1"),
        (PRINTED, ROWS.replace("0.02", "-0.02"), "row 1"),
        (PRINTED, ROWS.replace("0.02", "1e400"), "row 1"),
        (PRINTED, "x" * 400 + "," + ROWS, "row 0"),
        (PRINTED + "Average inference time cost: 900 ms\n", ROWS, "its average is 900 ms"),
        (PRINTED.replace("2\n", "3\n"), ROWS + "m,0.01,9,8,2\n", "3 times, 0 \\+ 2 were asked for"),
    ],
)
def test_what_contradicts_itself_is_refused(output, result, said):
    job = ToolJob(artifact="/a", result="/r", threads=1, warmup=0, runs=2, max_s=1.0)
    with pytest.raises(ValueError, match=said):
        RUNTIMES.get("onnxruntime_perf_test").tool.read(output, result, job)


def test_statistics_after_the_rows_are_passed_over():
    job = ToolJob(artifact="/a", result="/r", threads=1, warmup=1, runs=1, max_s=1.0)
    result = f"{ROWS}\nMin Latency: 0.01 s\nP50 Latency: 0.02 s\n"
    told = RUNTIMES.get("onnxruntime_perf_test").tool.read(PRINTED, result, job)
    assert (told.warmup_ns, told.samples_ns, told.count) == ((10_000_000,), (20_000_000,), 1)


def test_a_wish_for_unknown_compute_units_is_refused():
    with pytest.raises(UsageError, match="no compute units 'NPU'"):
        RuntimeWish(compute_units="NPU")
    assert RuntimeWish(compute_units="CPU_AND_NE").asked() == {"compute_units": "CPU_AND_NE"}
