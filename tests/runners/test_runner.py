"""Runners as a whole: facts, lease, runtime, run; over this machine, the fake device and an ARM board."""

import json
import sys
import sysconfig
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.artifact import digest
from edgekit.errors import DeviceBusyError, DeviceUnfitError, StableDeviceError, UnknownNameError, UsageError
from edgekit.runners.lines import output_array
from edgekit.runners.lock import own_lock
from edgekit.runners.program import python_program
from edgekit.runners.provision import Prepared, prepare
from edgekit.runners.runner import Job, Runner
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.transport import open_transport
from edgekit.targets import Device

LATENCY = [
    "hello", "conditions", "load", "first", "warmup", "placed", "conditions", "samples", "conditions",
    "overhead",
]  # fmt: skip


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "anything"
    path.write_bytes(b"for the null runtime")
    return path


def play(runner, artifact, golden=None, **changes):
    job = Job(**{"run_id": "run-0001", "runs": 30, "warmup": 3, "max_s": 20.0, **changes})
    return list(runner.run(job, artifact, digest(artifact)[0], golden))


def names(events, which):
    return [event["e"] for event in events if event["pass"] == which]


# --- the null runtime, on every transport that needs nothing ------------------------------------------
@pytest.mark.parametrize("address", ["local://", "fake://"])
def test_a_run_from_end_to_end(address, artifact, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with open_transport(Device.parse(address)) as transport:
        with Runner(transport, RUNTIMES.get("null")) as runner:
            heard = []
            job = Job(run_id="run-0001", runs=30, warmup=3)
            events = list(runner.run(job, artifact, digest(artifact)[0], None, on_event=heard.append))
            assert heard == events
            assert names(events, "memory") == [
                "hello",
                *["memory", "load", "memory", "first", "memory", "memory"],
                "end",
            ]
            assert names(events, "latency") == [*LATENCY, "end"]
            assert len(next(e for e in events if e["e"] == "samples")["ns"]) == 30
            root = Path(transport.root())
            assert not list((root / "runs").iterdir())
            assert (root / "lease").exists()
        assert not (root / "lease").exists()
        assert transport.is_open


def test_the_passes_are_those_that_were_asked_for(local, artifact):
    with Runner(local, RUNTIMES.get("null")) as runner:
        assert {e["pass"] for e in play(runner, artifact, passes=("latency",))} == {"latency"}
        assert {e["pass"] for e in play(runner, artifact, passes=("memory",))} == {"memory"}


def test_a_closed_transport_is_opened_and_closed_again(tmp_path, monkeypatch, artifact):
    from edgekit.runners.transport.local import LocalTransport

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    transport = LocalTransport(Device.parse("local://"))
    with Runner(transport, RUNTIMES.get("null")) as runner:
        assert play(runner, artifact)[-1]["e"] == "end"
    assert not transport.is_open


def test_one_bench_at_a_time(local, artifact):
    with Runner(local, RUNTIMES.get("null")) as first:
        first.prepare()
        with Runner(local, RUNTIMES.get("null")) as second, pytest.raises(DeviceBusyError):
            second.prepare()
        assert play(first, artifact)[-1]["e"] == "end"
    with Runner(local, RUNTIMES.get("null")) as third:
        third.prepare()


def test_a_changed_artifact_is_refused_before_it_is_pushed(local, artifact):
    runner = Runner(local, RUNTIMES.get("null"), program="python")
    with runner, pytest.raises(UsageError, match="expected 0000"):
        list(runner.run(Job(run_id="run-0001"), artifact, "0" * 64, None))
    stored = [path.name for path in Path(local.root()).rglob("store/*/*")]
    assert stored == [python_program().name]


def test_facts_and_target_are_asked_for_once(local, monkeypatch):
    with Runner(local, RUNTIMES.get("null")) as runner:
        facts = runner.facts
        with monkeypatch.context() as patch:
            patch.setattr(local, "run", lambda *_, **__: pytest.fail("asked again"))
            assert runner.facts is facts
            assert runner.target.name == "this-host"


def test_a_named_target_goes_before_a_recognized_one(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with open_transport(Device.parse("local://", target="raspberry-pi-5")) as transport:
        assert Runner(transport, RUNTIMES.get("null")).target.name == "raspberry-pi-5"
    with open_transport(Device.parse("local://", target="raspbery-pi-5")) as transport:
        runner = Runner(transport, RUNTIMES.get("null"))
        with pytest.raises(UnknownNameError, match="raspberry-pi-5"):
            _ = runner.target


@pytest.mark.parametrize(
    "changes",
    [
        {"run_id": "../../etc"},
        {"run_id": ""},
        {"run_id": "a b c d"},
        {"runs": 0},
        {"threads": 0},
        {"warmup": -1},
        {"max_s": 0.0},
        {"max_s": float("nan")},
        {"passes": ()},
        {"passes": ("nothing",)},
        {"passes": ("memory", "memory")},
    ],
    ids=str,
)
def test_a_job_that_is_none_is_refused(changes):
    with pytest.raises(UsageError):
        Job(**{"run_id": "run-0001", **changes})


# --- what is told of trouble there ----------------------------------------------------------------------
def with_runtimes_of_this_python(runner):
    """Let a runner use the runtimes that are installed here: nothing is downloaded."""
    program = runner.depot.put(python_program())
    site = (sysconfig.get_path("platlib"),)
    runner._prepared = Prepared(site=site, version="", build=None, command=(sys.executable, "-I", program))
    return runner


@pytest.mark.convert
def test_an_artifact_that_does_not_load_is_the_device_s_trouble_and_its_folder_stays(local, artifact):
    with Runner(local, RUNTIMES.get("onnxruntime")) as runner:
        with_runtimes_of_this_python(runner)
        got = []
        job = Job(run_id="run-0001")
        with pytest.raises(StableDeviceError, match=r"^local://: onnxruntime could not load the artifact: "):
            list(runner.run(job, artifact, digest(artifact)[0], None, on_event=got.append))
        assert [event["e"] for event in got] == ["hello", "memory", "error"]
        assert (Path(local.root()) / "runs" / "run-0001" / "memory.jsonl").exists()


def test_a_runtime_that_does_not_start_is_unfit(local, artifact):
    with Runner(local, RUNTIMES.get("onnxruntime")) as runner:
        program = runner.depot.put(python_program())
        bare = runner.facts.python
        runner._prepared = Prepared(site=(), version="", build=None, command=(bare, "-I", program))
        with pytest.raises(DeviceUnfitError, match="does not start there"):
            play(runner, artifact)


def test_memory_that_can_not_be_told_does_not_end_the_run(local, artifact, monkeypatch, tmp_path):
    blind = tmp_path / python_program().name
    with zipfile.ZipFile(python_program()) as old, zipfile.ZipFile(blind, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'"/proc/self/smaps', b'"/proc/self/nothing'))
    with Runner(local, RUNTIMES.get("null"), program="python") as runner:
        python, *options, _ = runner.prepare().command
        command = (python, *options, runner.depot.put(blind))
        runner._prepared = Prepared(site=(), version="", build=None, command=command)
        events = play(runner, artifact)
    assert names(events, "memory") == ["hello", "error"]
    assert names(events, "latency") == [*LATENCY, "end"]


# --- real runtimes --------------------------------------------------------------------------------------
@pytest.mark.convert
@pytest.mark.parametrize(
    ("runtime", "name"),
    [("litert", "int8.tflite"), ("litert", "float.tflite"), ("onnxruntime", "float.onnx")],
)
def test_a_real_artifact_comes_back_right(local, request, golden, runtime, name):
    folder = request.getfixturevalue(name.partition(".")[2])
    with Runner(local, RUNTIMES.get(runtime)) as runner:
        events = play(with_runtimes_of_this_python(runner), folder / name, golden)
    got = np.concatenate([output_array(e) for e in events if e["e"] == "output"])
    np.testing.assert_allclose(got, np.load(folder / "outputs.npy"), atol=0.05 if "int8" in name else 1e-4)


@pytest.fixture
def toy(make_wheel, monkeypatch, tmp_path):
    """A tflite-runtime that can be had without a network: of that name and version, and no more."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    inside = b"class Interpreter:\n    pass\n"
    files = [
        ("ai_edge_litert/__init__.py", b"__version__ = '9.9'\n"),
        ("ai_edge_litert/interpreter.py", inside),
    ]
    for build in RUNTIMES.get("litert").builds:
        make_wheel(build.distribution.replace("-", "_"), build.version, files=files, folder=shelf)
        for _, pin in build.requires:
            make_wheel(*pin.split("=="), files=[("numpy.py", b"")], folder=shelf)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    unlocked = replace(own_lock(), wheels=())  # these are none of the wheels that are locked
    monkeypatch.setattr("edgekit.runners.wheels.own_lock", lambda: unlocked)
    return files


def test_a_runtime_is_brought_tried_and_found_again(local, toy, tmp_path):
    with Runner(local, RUNTIMES.get("litert"), cache=tmp_path / "wheels") as runner:
        first = runner.prepare()
        assert first.version == "9.9"
        assert (Path(first.site[0]) / "ai_edge_litert" / "interpreter.py").is_file()
        assert runner.prepare() is first
    with Runner(local, RUNTIMES.get("litert"), cache=tmp_path / "wheels") as runner:
        assert runner.prepare() == first


def test_a_runtime_that_does_not_load_is_refused_and_not_kept(local, toy, tmp_path, monkeypatch, make_wheel):
    shelf, build = tmp_path / "shelf", RUNTIMES.get("litert").builds
    files = [
        ("ai_edge_litert/__init__.py", b""),
        ("ai_edge_litert/interpreter.py", b"import no_such_library\n"),
    ]
    for one in build:
        make_wheel(one.distribution.replace("-", "_"), one.version, files=files, folder=shelf)
    with Runner(local, RUNTIMES.get("litert"), cache=tmp_path / "wheels") as runner:
        with pytest.raises(DeviceUnfitError, match=r"litert does not load there: .*no_such_library"):
            runner.prepare()
        assert not list((Path(local.root()) / "site").glob("*"))


def test_what_is_known_before_is_refused_before_anything_is_written(local, make_facts, tmp_path):
    with Runner(local, RUNTIMES.get("coreml")) as runner, pytest.raises(DeviceUnfitError, match="Apple"):
        prepare(local, make_facts(), runner.runtime, runner.depot, cache=tmp_path / "wheels")
    assert not Path(local.root()).exists()


def test_a_board_without_numpy_to_bring_uses_its_own_or_is_refused(local, make_facts, tmp_path):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\necho 2.1.0\n")
    old.chmod(0o755)
    board = make_facts(
        machine="armv7l", libstdcxx="/usr/lib/libstdc++.so.6.0.30", python=f"{old}\t3.11\t32\tok"
    )
    with (
        Runner(local, RUNTIMES.get("litert")) as runner,
        pytest.raises(DeviceUnfitError, match=r"numpy 2\.1\.0, and there is no wheel of numpy 1 for armv7l"),
    ):
        prepare(local, board, runner.runtime, runner.depot, cache=tmp_path / "wheels")
    assert not Path(local.root()).exists()


@pytest.mark.convert
@pytest.mark.parametrize("runtime", ["litert", "onnxruntime"])
def test_the_real_wheels_are_brought_to_this_machine(local, request, golden, runtime, real_cache):
    kind = {"litert": "tflite", "onnxruntime": "onnx"}[runtime]
    artifact = request.getfixturevalue(kind) / f"float.{kind}"
    with Runner(local, RUNTIMES.get(runtime), cache=real_cache) as runner:
        try:
            prepared = runner.prepare()
        except UsageError as error:
            pytest.skip(f"the wheels can't be had here: {error.what}")
        assert prepared.version == prepared.build.version
        events = play(runner, artifact, golden)
    assert names(events, "latency")[-1] == "end"
    assert next(e for e in events if e["e"] == "hello")["version"] == prepared.version


@pytest.mark.board
@pytest.mark.convert
def test_an_arm_board_over_ssh(board, tflite, golden, real_cache):
    artifact = tflite / "int8.tflite"
    with open_transport(Device.parse(board.address)) as transport:
        with Runner(transport, RUNTIMES.get("litert"), cache=real_cache) as runner:
            assert (runner.facts.abi, runner.facts.emulated) == ("aarch64", "qemu-user")
            try:
                runner.prepare()
            except UsageError as error:
                pytest.skip(f"the wheels can't be had here: {error.what}")
            events = play(runner, artifact, golden)
            mode = transport.check(["stat", "-c", "%a", transport.root()]).text.strip()
        runner.depot.clean()
        assert transport.run(["ls", transport.root()]).exit_code != 0
    got = np.concatenate([output_array(e) for e in events if e["e"] == "output"])
    np.testing.assert_allclose(got, np.load(tflite / "outputs.npy"), atol=0.1)
    assert mode == "700"
    assert json.dumps(runner.facts.to_json())


# --- what was asked for is read back --------------------------------------------------------------------
HONOURED = {"e": "placed", "threads_before": 2, "threads_after": 2, "cpus_allowed": "0-3"}


@pytest.mark.parametrize(
    ("runtime", "asked", "told"),
    [
        ("onnxruntime", {}, {}),
        ("litert", {"threads": 4}, {"threads_after": 5}),
        ("null", {"threads": 4}, {}),
        ("null", {"cpus": (0, 1)}, {"cpus_allowed": "0-1"}),
    ],
)
def test_what_the_device_honoured_is_no_error(local, runtime, asked, told):
    Runner(local, RUNTIMES.get(runtime))._check_placed({**HONOURED, **told}, Job(run_id="run-0001", **asked))


@pytest.mark.parametrize(
    ("runtime", "asked", "told", "said"),
    [
        ("onnxruntime", {"threads": 4}, {}, "started 0 threads beside its own, for 4 in all"),
        ("litert", {"threads": 1}, {"threads_after": 4}, "started 2 threads beside its own, for 1 in all"),
        ("null", {"cpus": (0,)}, {}, "may run on 0-3"),
    ],
)
def test_what_the_device_did_not_honour_is_an_error(local, runtime, asked, told, said):
    runner = Runner(local, RUNTIMES.get(runtime))
    with pytest.raises(StableDeviceError, match=f"^local://: .*{said}"):
        runner._check_placed({**HONOURED, **told}, Job(run_id="run-0001", **asked))


def test_a_run_that_is_told_to_be_enough_is_whole(local, artifact):
    with Runner(local, RUNTIMES.get("null")) as runner:
        job, events = Job(run_id="run-0001", runs=10**9, max_s=600, passes=("latency",)), []
        for event in runner.run(job, artifact, digest(artifact)[0], None):
            events.append(event)
            if event["e"] == "samples":
                runner.enough("run-0001")
    assert events[-1]["reason"] == "enough"
    assert events[-1]["count"] > 0
    assert not list(Path(local.root()).glob("runs/*"))
