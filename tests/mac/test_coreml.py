"""Core ML on a Mac and an iPhone, by the contract: no Mac was at hand, so coremltools is a stand-in here."""

import importlib.util
import inspect
import json
import re
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgekit.artifact import digest
from edgekit.bench.execute import execute
from edgekit.bench.plan import make_plan
from edgekit.bench.summarize import summarize
from edgekit.errors import CommandFailedError, DeviceUnfitError, StableDeviceError, UsageError
from edgekit.report.table import print_runs
from edgekit.runners.check import describe_device
from edgekit.runners.facts import inspect as ask
from edgekit.runners.lines import output_array
from edgekit.runners.mac import put_package
from edgekit.runners.runner import Job, Runner
from edgekit.runners.runtime import RUNTIMES, RuntimeWish
from edgekit.targets import Device, match_target

HERE = Path(__file__).parent / "standin"
COREML = RUNTIMES.get("coreml")
ARRAYS = {"FLOAT16": 65552, "FLOAT32": 65568, "DOUBLE": 65600}


def play(transport, bundle, wish=None, **changes):
    job = Job(**{"run_id": "run-0001", "runs": 30, "warmup": 3, "max_s": 20.0, **changes})
    artifact = bundle.artifacts[0]
    golden = bundle.root / bundle.golden.inputs
    with Runner(transport, COREML, wish=wish or RuntimeWish()) as runner:
        return list(runner.run(job, bundle.path_of(artifact), artifact.sha256, golden))


def all_of(events, kind):
    return [event for event in events if event["e"] == kind]


def calls(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


# --- the stand-in is what it stands for ---------------------------------------------------------------
@pytest.fixture(scope="module")
def double():
    spec = importlib.util.spec_from_file_location("standin_coremltools", HERE / "coremltools.py")
    module = importlib.util.module_from_spec(spec)
    before = {name: module for name, module in sys.modules.items() if name.startswith("coremltools")}
    spec.loader.exec_module(module)
    for name in [name for name in sys.modules if name.startswith("coremltools.")]:
        del sys.modules[name]
    sys.modules.update(before)
    return module


def test_the_stand_in_has_the_signatures_of_the_real_one(double):
    real = pytest.importorskip("coremltools", reason="needs the convert extra")
    away = importlib.import_module("coremltools.models.ml_program.experimental.async_wrapper")
    remote = importlib.import_module("coremltools.models.ml_program.experimental.remote_device")

    def names(call):
        return [(p.name, p.kind, p.default is p.empty) for p in inspect.signature(call).parameters.values()]

    pairs = [
        (real.models.MLModel, double.MLModel),
        (real.models.MLModel.predict, double.MLModel.predict),
        (away.RemoteMLModelAsyncWrapper, double.RemoteMLModelAsyncWrapper),
        (away.RemoteMLModelAsyncWrapper.predict, double.RemoteMLModelAsyncWrapper.predict),
        (away.RemoteMLModelAsyncWrapper.load, double.RemoteMLModelAsyncWrapper.load),
        (remote.AppSigningCredentials, double.AppSigningCredentials),
        (remote.Device.get_devices, double.Device.get_devices),
        (remote.Device.prepare_for_model_debugging, double.Device.prepare_for_model_debugging),
    ]
    for ours, theirs in pairs:
        assert names(ours) == names(theirs), ours
    for kind in (real.models.MLModel, away.RemoteMLModelAsyncWrapper):
        for name in ("load_duration_in_nano_seconds", "last_predict_duration_in_nano_seconds"):
            assert isinstance(inspect.getattr_static(kind, name), property)
    assert list(inspect.signature(remote.Device).parameters) == list(
        inspect.signature(double.Device).parameters
    )
    assert {u.name: u.value for u in real.ComputeUnit} == {u.name: u.value for u in double.ComputeUnit}
    assert remote.DeviceState.CONNECTED.value == double.DeviceState.CONNECTED.value
    assert callable(remote._AppSession.stop)
    for one in (away.RemoteMLModelAsyncWrapper, double.RemoteMLModelAsyncWrapper):
        assert inspect.iscoroutinefunction(one.load)
        assert inspect.iscoroutinefunction(one.predict)


def test_the_numbers_of_the_array_types_are_the_real_ones():
    pytest.importorskip("coremltools", reason="needs the convert extra")
    kinds = importlib.import_module("coremltools").proto.FeatureTypes_pb2.ArrayFeatureType
    assert {name: kinds.ArrayDataType.Value(name) for name in ARRAYS} == ARRAYS


# --- a Mac --------------------------------------------------------------------------------------------
def test_a_mac_is_recognized(transport):
    facts = ask(transport)
    assert (facts.system, facts.machine, facts.model) == ("darwin", "arm64", "Mac14,3")
    assert facts.memory_bytes == 16 << 30
    assert match_target({**facts.match(), "transport": "ssh"}).name == "generic-mac"
    found = describe_device(Device.parse("local://"))
    assert "coremltools of its own" in str(found["runtimes"]["coreml"])


def test_a_package_is_run_and_timed_by_the_frameworks_own_clock(transport, bundle, mac):
    events = play(transport, bundle, RuntimeWish(compute_units="CPU_AND_NE"))
    latency = [event for event in events if event["pass"] == "latency"]  # noqa: S105
    (hello,) = all_of(latency, "hello")
    assert (hello["threads"], hello["version"]) == (0, "9.0 on macOS 15.1")
    assert all_of(latency, "load")[0]["ns"] == 7_000_000
    assert all_of(latency, "first")[0]["ns"] == 1_000_001
    assert all_of(latency, "warmup")[0]["ns"] == [1_000_002, 1_000_003, 1_000_004]
    samples = [ns for event in all_of(latency, "samples") for ns in event["ns"]]
    assert samples == [1_000_005 + n for n in range(30)]
    assert all_of(latency, "placed") == []
    wanted = np.load(bundle.root / bundle.golden.outputs)
    outputs = all_of(latency, "output")
    assert len(outputs) == 4
    for event in outputs:
        np.testing.assert_allclose(output_array(event)[0], wanted[event["golden"]], rtol=1e-5)
    assert {call["units"] for call in calls(mac)} == {"CPU_AND_NE"}


def test_its_memory_is_the_physical_footprint_and_says_so(transport, bundle):
    events = all_of(play(transport, bundle, passes=("memory",)), "memory")
    assert [event["phase"] for event in events] == ["baseline", "loaded", "first", "peak"]
    for event in events:
        assert event["measure"] == "footprint"
        assert event["pss_bytes"] == event["private_dirty_bytes"] > 50 << 20
    assert events[-1]["pss_bytes"] >= events[0]["pss_bytes"]


def test_its_conditions_are_what_a_mac_tells(transport, bundle):
    told = all_of(play(transport, bundle, passes=("latency",)), "conditions")
    assert {event["when"] for event in told} == {"before", "during", "after"}
    for event in told:
        assert event["throttled"] == "CPU speed limited to 84 %"
        assert event["load1"] >= 0


def test_nothing_is_brought_twice_and_nothing_of_a_run_stays(transport, bundle):
    play(transport, bundle)
    root, sha256 = Path(transport.root()), bundle.artifacts[0].sha256
    package = root / "store" / sha256 / "package.mlpackage"
    assert digest(package)[0] == sha256
    assert not list((root / "runs").iterdir())
    assert not list(root.glob("store/*/package.zip"))
    before = package.stat().st_ino
    play(transport, bundle, run_id="run-0002")
    assert package.stat().st_ino == before


def test_what_does_not_arrive_as_it_was_gets_no_name(transport, bundle, monkeypatch):
    path = bundle.path_of(bundle.artifacts[0])
    with pytest.raises(UsageError, match="has changed since"):
        put_package(transport, depot_of(transport), path, "0" * 64, python=sys.executable)

    def altered(local, place):
        place.write_bytes(real(local, place).read_bytes().replace(b"something deeper", b"something beeper"))
        return place

    real = sys.modules["edgekit.runners.mac"]._packed
    monkeypatch.setattr("edgekit.runners.mac._packed", altered)
    with pytest.raises(CommandFailedError, match="can't be unpacked there"):
        put_package(transport, depot_of(transport), path, bundle.artifacts[0].sha256, python=sys.executable)
    assert not list(Path(transport.root()).glob("store/*/package.mlpackage"))


def depot_of(transport):
    return Runner(transport, COREML).depot


# --- an iPhone behind it ------------------------------------------------------------------------------
def test_an_iphone_is_reached_through_the_mac(transport, bundle, mac, monkeypatch):
    monkeypatch.setenv("EDGEKIT_DEVELOPMENT_TEAM", "TEAM12345")
    wish = RuntimeWish(remote_device="Anna", compute_units="CPU_ONLY")
    events = play(transport, bundle, wish, passes=("latency",))
    assert all_of(events, "hello")[0]["version"] == "9.0 on iphone 'Anna', OS 18.1, from macOS 15.1"
    assert all_of(events, "load")[0]["ns"] == 21_000_000
    assert all_of(events, "first")[0]["ns"] == 3_000_003
    assert len(all_of(events, "output")) == 4
    told = calls(mac)
    assert {"call": "prepare", "device": "Anna", "team": "TEAM12345"} in told
    assert told[-1] == {"call": "stop", "device": "Anna"}
    units = [(call["units"], call["skip"]) for call in told if call["call"] == "MLModel"]
    assert units == [("CPU_ONLY", True), ("CPU_ONLY", False)]


@pytest.mark.parametrize("name", ["Old", "Nobody"])
def test_an_iphone_that_is_not_connected_is_named(transport, bundle, name):
    with pytest.raises(DeviceUnfitError, match=f"no device '{name}' is connected to this Mac.*'Anna'"):
        play(transport, bundle, RuntimeWish(remote_device=name))


# --- what can go wrong --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("STANDIN_DEAD=1", "could not load the artifact: Core ML did not load it"),
        ("STANDIN_MUTE=1", "could not invoke the artifact: .*does not tell how long"),
        ("STANDIN_INPUT=imageType", "could not load the artifact: input 'input' is no array of floats"),
    ],
)
def test_trouble_is_told_by_its_kind(transport, bundle, monkeypatch, variable, said):
    monkeypatch.setenv(*variable.split("="))
    with pytest.raises(StableDeviceError, match=said):
        play(transport, bundle, passes=("latency",))


def test_memory_that_can_not_be_read_ends_no_run(transport, bundle, monkeypatch):
    monkeypatch.setenv("STANDIN_RUSAGE", "1")
    events = play(transport, bundle)
    assert "proc_pid_rusage returned 1" in all_of(events, "error")[0]["message"]
    assert events[-1]["e"] == "end"


def test_a_mac_without_coremltools_is_told(transport, bundle, monkeypatch, tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/sitecustomize.py").write_text((HERE / "sitecustomize.py").read_text())
    (tmp_path / "bare/coremltools.py").write_text("raise ImportError('No module named coremltools')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "bare"))
    with pytest.raises(DeviceUnfitError, match=r"coreml does not load there: .*No module named coremltools"):
        play(transport, bundle)


def test_its_python_may_be_named(transport, bundle, tmp_path):
    wish = RuntimeWish(binary=f"device:{sys.executable}")
    assert play(transport, bundle, wish)[-1]["e"] == "end"
    with pytest.raises(UsageError, match="Core ML takes the Mac's own Python"):
        play(transport, bundle, RuntimeWish(binary=sys.executable))


def test_no_other_system_runs_it(bundle, tmp_path, monkeypatch):
    from edgekit.runners.transport import open_transport

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with (
        open_transport(Device.parse("local://")) as transport,
        pytest.raises(DeviceUnfitError, match=r"Apple devices only.*and this is linux"),
    ):
        play(transport, bundle)


# --- the whole line -----------------------------------------------------------------------------------
def test_a_bench_on_a_mac_is_a_run_like_any_other(mac, bundle, monkeypatch, capsys):
    from rich.console import Console

    monkeypatch.setattr("edgekit.bench.fitting.sys", SimpleNamespace(platform="darwin"))
    wish = RuntimeWish(compute_units="CPU_AND_GPU")
    plan = make_plan([bundle.root], ["local://"], runs=150, warmup=3, max_s=20.0, wish=wish)
    result = execute(plan, None)
    assert result.failed == ()
    (run,) = result.runs
    assert run.plan["compute_units"] == "CPU_AND_GPU"
    assert (run.runtime.name, run.runtime.threads, run.placed) == ("coreml", 0, {})
    assert run.parity is not None
    assert run.parity.ok
    summary = summarize(run)
    assert summary.memory.measure == "footprint"
    assert summary.latency.p50_ms.value == pytest.approx(1.0, abs=0.01)
    assert not {"threads", "memory-missing", "unproven"} & {doubt.code for doubt in summary.doubts}
    assert "throttled" in {doubt.code for doubt in summary.doubts}
    assert "unavailable" in run.power
    print_runs(Console(width=200), [(run, summary)])
    assert "9.0 on macOS 15.1" in re.sub(r"\s+", " ", capsys.readouterr().out)


# --- what macOS prints --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("", {}),
        ("Note: No thermal warning level has been recorded\n", {"throttled": None}),
        ("CPU_Speed_Limit \t= 100\n", {"throttled": None}),
        ("CPU_Speed_Limit = 50\n", {"throttled": "CPU speed limited to 50 %"}),
        ("Thermal Warning Level = 2\n", {"throttled": "thermal warning level 2"}),
    ],
)
def test_what_pmset_says(mac, tmp_path, monkeypatch, printed, told):
    mac_tells = _module(monkeypatch, "mac")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pmset").write_text(f"#!/bin/sh\nprintf '%s' '{printed}'\n")
    (tmp_path / "bin/pmset").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert mac_tells.throttling() == told
    (tmp_path / "bin/pmset").unlink()
    assert mac_tells.throttling() == {}


def test_the_footprint_lies_where_the_header_says(monkeypatch):
    """<sys/resource.h>: struct rusage_info_v0 is uint8_t ri_uuid[16], then ten uint64_t."""
    tells = _module(monkeypatch, "mac")
    fields = [
        "user_time", "system_time", "pkg_idle_wkups", "interrupt_wkups", "pageins", "wired_size",
        "resident_size", "phys_footprint", "proc_start_abstime", "proc_exit_abstime",
    ]  # fmt: skip
    assert struct.calcsize("16B10Q") == tells.RUSAGE_BYTES
    assert 16 + 8 * fields.index("phys_footprint") == tells.FOOTPRINT
    with pytest.raises(tells.Trouble, match="proc_pid_rusage can't be called"):
        tells.footprint()


def _module(monkeypatch, name):
    from edgekit.runners import on_device

    monkeypatch.syspath_prepend(str(Path(on_device.__file__).parent / "python"))
    return importlib.import_module(f"edgekit_runner.{name}")
