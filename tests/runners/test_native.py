"""The native program: built the same every time, chosen where it can run, and as good as the other."""

import hashlib
import itertools
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgekit.artifact import digest
from edgekit.errors import DeviceUnfitError, UsageError
from edgekit.runners import native
from edgekit.runners.depot import Depot
from edgekit.runners.facts import inspect
from edgekit.runners.lines import output_array
from edgekit.runners.program import NATIVE, native_program
from edgekit.runners.provision import prepare
from edgekit.runners.runner import Job, Runner
from edgekit.runners.runtime import RUNTIMES, Library, Runtime
from edgekit.testing import processes

LITERT, ORT, NULL = (RUNTIMES.get(name) for name in ("litert", "onnxruntime", "null"))
PI = {
    "machine": "aarch64",
    "libc": "ldd (Debian GLIBC 2.36-9) 2.36",
    "libstdcxx": "/usr/lib/libstdc++.so.6.0.30",
}


@pytest.fixture(autouse=True)
def _built():
    if native_program("x86_64") is None:
        pytest.skip("the native programs are not built here: pip install -e .")


# --- what is built --------------------------------------------------------------------------------------
def test_the_list_of_their_sha256_is_true():
    lines = (NATIVE / "bin" / "SHA256SUMS").read_text().splitlines()
    told = {name: sha256 for sha256, name in (line.split() for line in lines)}
    assert set(told) == {"edgekit_runner-aarch64", "edgekit_runner-x86_64"}
    assert all(digest(NATIVE / "bin" / name)[0] == sha256 for name, sha256 in told.items())


def test_the_same_sources_make_the_same_bytes(tmp_path):
    pytest.importorskip("ziglang", reason="the compiler that builds the wheel is not installed")
    code = (
        "import sys; from pathlib import Path;"
        "from edgekit.runners.on_device.native.build import build_programs, NATIVE;"
        "build_programs(Path(sys.argv[1]))"
    )
    root = tmp_path / "elsewhere"
    (root / "runners" / "on_device").mkdir(parents=True)
    (root / "runners" / "on_device" / "native").symlink_to(NATIVE)
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "bin")], cwd=root, check=True)
    assert (tmp_path / "bin" / "SHA256SUMS").read_text() == (NATIVE / "bin" / "SHA256SUMS").read_text()


# --- where it can run -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("runtime", "facts", "said"),
    [
        (LITERT, PI, ""),
        (ORT, PI, ""),
        (NULL, PI, ""),
        (LITERT, PI | {"machine": "x86_64"}, "C API for x86_64"),
        (ORT, PI | {"machine": "armv7l"}, "not built for armv7l"),
        (ORT, PI | {"libc": "ldd (GNU libc) 2.27"}, "needs glibc 2.28"),
        (LITERT, PI | {"libstdcxx": "/usr/lib/libstdc++.so.6.0.25"}, "GLIBCXX_3.4.26"),
        (NULL, PI | {"libc": "musl libc"}, "the device has musl"),
        (NULL, PI | {"libc": "ldd (GNU libc) 2.12"}, "the device has glibc 2.12"),
        (RUNTIMES.get("coreml"), PI, "Apple"),
        (Runtime(name="other", formats=("tflite",), builds=ORT.builds), PI, "can't open that runtime"),
    ],
)
def test_why_it_can_not_run(make_facts, runtime, facts, said):
    found = native.unfit(runtime, make_facts(**facts))
    assert said in found
    assert bool(said) == bool(found)


def test_asked_for_where_it_can_not_run_it_is_no_other(local):
    with pytest.raises(DeviceUnfitError, match="the native program can't run litert there"):
        prepare(local, inspect(local), LITERT, Depot(local), program="native")
    assert not (Path(local.root()) / "store").exists()


def test_a_wheel_without_the_library_is_refused(make_facts, make_wheel, shelf, tmp_path):
    make_wheel("toy", "1.0", tag="py3-none-any", files=[("toy.py", b"")], folder=shelf)
    toy = Library(
        distribution="toy", version="1.0", path="toy/libtoy.so", glibc=(2, 17), glibcxx=0, abis=("aarch64",)
    )
    with pytest.raises(UsageError, match=r"does not hold toy/libtoy\.so"):
        native.fetch_library(toy, make_facts(**PI), tmp_path / "wheels")


def test_a_library_is_taken_out_once_and_mended_when_it_was_changed(make_facts, make_wheel, shelf, tmp_path):
    make_wheel("toy", "1.0", tag="py3-none-any", files=[("toy/libtoy.so.9", b"whole")], folder=shelf)
    toy = Library(
        distribution="toy", version="1.0", path="toy/libtoy.so.9", glibc=(2, 17), glibcxx=0, abis=("aarch64",)
    )
    path = native.fetch_library(toy, make_facts(**PI), tmp_path / "wheels")
    assert (path.name, path.read_bytes()) == ("libtoy.so.1.0", b"whole")
    made = path.stat().st_mtime_ns
    assert native.fetch_library(toy, make_facts(**PI), tmp_path / "wheels").stat().st_mtime_ns == made
    path.write_bytes(b"holed")
    assert native.fetch_library(toy, make_facts(**PI), tmp_path / "wheels").read_bytes() == b"whole"


# --- what it does ---------------------------------------------------------------------------------------
def play(runner, artifact, golden, run_id):
    job = Job(run_id=run_id, runs=30, warmup=2)
    return list(runner.run(job, artifact, digest(artifact)[0], golden))


@pytest.mark.convert
def test_both_programs_say_the_same_of_the_same_artifact(local, onnx, golden):
    told = {}
    for number, program in enumerate(("native", "python")):
        try:
            with Runner(local, ORT, program=program) as runner:
                told[program] = play(runner, onnx / "float.onnx", golden, f"run-{number:04}")
        except UsageError as error:
            pytest.skip(f"the wheels are not kept here and can't be downloaded: {error}")
    names = {key: [k for k, _ in itertools.groupby(e["e"] for e in events)] for key, events in told.items()}
    assert names["native"] == names["python"]
    outputs = {
        key: np.concatenate([output_array(e) for e in events if e["e"] == "output"])
        for key, events in told.items()
    }
    np.testing.assert_array_equal(outputs["native"], outputs["python"])
    hello = {key: next(e for e in events if e["e"] == "hello") for key, events in told.items()}
    assert [hello[key]["program"] for key in ("native", "python")] == ["native", "python"]
    assert hello["native"]["version"] == hello["python"]["version"]
    base = {
        key: next(e["pss_bytes"] for e in events if e["e"] == "memory" and e["phase"] == "baseline")
        for key, events in told.items()
    }
    assert base["native"] < base["python"]  # no Python beside it


def test_it_needs_no_python_there(local, make_facts, tmp_path):
    import platform

    facts = make_facts(**PI | {"machine": platform.machine(), "python": None})
    ready = prepare(local, facts, NULL, Depot(local), cache=tmp_path / "wheels")
    (program,) = ready.command
    assert hashlib.sha256(Path(program).read_bytes()).hexdigest() == program.split("/")[-2]
    assert (ready.site, ready.build) == ((), None)
    assert Path(program).stat().st_mode & 0o777 == 0o700


# --- the power pass, the same of both programs ----------------------------------------------------------
def watch(tmp_path, **changes):
    sensor = tmp_path / "power1_input"
    sensor.write_text("2500000\n")
    told = {"reads": {"power": str(sensor), "none": f"{sensor}-no-such"},
            "commands": {"echo": ["echo", "so", "it is"], "broken": ["false"]},
            "period_ns": 10_000_000, "idle_ns": 200_000_000,
            "segment_ns": 100_000_000, "pairs": 2}  # fmt: skip
    return {**told, **changes}


def test_sensors_are_read_beside_the_loop(either, tmp_path):
    code, events = either.run("power", watch=watch(tmp_path), warmup=1)
    assert code == 0
    kinds = [key for key, _ in itertools.groupby(e["e"] for e in events if e["e"] != "reading")]
    assert kinds == ["hello", "load", "first", "warmup", "idle", "segment", "idle", "end"]
    segments = [e for e in events if e["e"] == "segment"]
    assert [e["sampling"] for e in segments] == [True, False, False, True]
    assert all(e["begin_ns"] < e["end_ns"] and e["count"] > 0 for e in segments)
    readings = [e for e in events if e["e"] == "reading"]
    assert [e["t"] for e in readings] == sorted(e["t"] for e in readings)
    assert {e["raw"]["power"] for e in readings} == {"2500000"}
    assert {e["raw"]["echo"].strip() for e in readings} == {"so it is"}
    assert all(set(e["errors"]) == {"none", "broken"} for e in readings)
    held = [e for e in segments if not e["sampling"]]
    span = (held[0]["begin_ns"] + 50_000_000, held[-1]["end_ns"])
    assert not [e for e in readings if span[0] < e["t"] < span[1]]


@pytest.mark.parametrize(
    "changes", [{"pairs": 0}, {"reads": []}, {"commands": {"x": "echo"}}, {"period_ns": "1"}, {"more": 1}]
)
def test_a_watch_that_is_none_is_an_error_line(either, tmp_path, changes):
    code, events = either.run("power", watch=watch(tmp_path, **changes))
    assert code in {1, 2}
    assert not events or events[-1]["kind"] == "job"


def test_nothing_is_left_of_a_program_that_is_killed(tmp_path, either):
    process = either.start("power", watch=watch(tmp_path, segment_ns=60_000_000_000))
    deadline = time.monotonic() + 60
    while not any(e["e"] == "idle" for e in either.events()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=60)
    spool = str(either.job["spool"]).rpartition(".")[0]
    while processes.running(spool):
        assert time.monotonic() < deadline, processes.running(spool)
        time.sleep(0.05)
