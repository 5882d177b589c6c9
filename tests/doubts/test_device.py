"""Doubts about a device's conditions, each provoked by a whole run on a device that is so."""

import os
import signal

import pytest

from edgekit.bench.around import Around
from edgekit.bench.state import DeviceState
from edgekit.runners.state import recover
from edgekit.targets import Device
from edgekit.testing.waiting import until

ZONE = "class/thermal/thermal_zone0"
POLICY = "devices/system/cpu/cpufreq/policy0"
PROGRAMS = ("python", "native")


def zone(device, celsius, **trips):
    device.kernel(f"{ZONE}/type", "cpu-thermal")
    device.kernel(f"{ZONE}/temp", int(celsius * 1000))
    for number, (kind, limit) in enumerate(trips.items()):
        device.kernel(f"{ZONE}/trip_point_{number}_type", kind)
        device.kernel(f"{ZONE}/trip_point_{number}_temp", int(limit * 1000))


def clock(device, khz, governor="schedutil"):
    told = {"affected_cpus": "0 1", "related_cpus": "0 1", "scaling_governor": governor,
            "scaling_available_governors": "performance schedutil powersave",
            "scaling_available_frequencies": "600000 1000000 1500000", "scaling_cur_freq": khz,
            "scaling_min_freq": 600000, "scaling_max_freq": 1500000, "cpuinfo_min_freq": 600000,
            "cpuinfo_max_freq": 1500000}  # fmt: skip
    for name, value in told.items():
        device.kernel(f"{POLICY}/{name}", value)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_cool_calm_device_raises_none_of_these(bench, program):
    zone(bench.device, 45, passive=85, critical=95)
    clock(bench.device, 1_500_000)
    bench.device.proc("loadavg", "0.00 0.00 0.00 1/100 1234\n")
    found = bench.codes(program=program)
    assert not {"hot", "heated", "throttled", "frequency-moved", "governor", "load", "memory-low",
                "emulated", "state-lost", "thermal-override"} & set(found)  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_hot(bench, program):
    zone(bench.device, 81)
    doubt = bench.codes(program=program)["hot"]
    assert (doubt.value, doubt.limit) == (81, 80)
    assert "the usual limit" in doubt.hint
    zone(bench.device, 71, passive=70, hot=85, critical=95)
    doubt = bench.codes(program=program)["hot"]
    assert (doubt.value, doubt.limit) == (71, 70)
    assert "reached 70 C (its own limit 'passive')" in doubt.hint


@pytest.mark.parametrize("program", PROGRAMS)
def test_heated(bench, program):
    zone(bench.device, 40, passive=95)
    doubt = bench.while_timed(lambda _: zone(bench.device, 64), program=program)["heated"]
    assert doubt.value == 24


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("class/thermal/cooling_device0", {"type": "cpufreq-cpu0", "cur_state": 3}),
        ("devices/platform/soc/soc:firmware", {"get_throttled": "0x50005"}),
    ],
)
def test_throttled(bench, program, path, value):
    for name, text in value.items():
        bench.device.kernel(f"{path}/{name}", text)
    doubt = bench.codes(program=program)["throttled"]
    assert "cpufreq-cpu0 at step 3" in doubt.hint or "under-voltage, throttled" in doubt.hint


@pytest.mark.parametrize("program", PROGRAMS)
def test_frequency_moved_and_a_governor_that_holds_it_down(bench, program):
    clock(bench.device, 1_300_000)
    found = bench.while_timed(lambda _: clock(bench.device, 1_000_000), looks=2, program=program)
    assert found["frequency-moved"].value == pytest.approx(1 - 10 / 13)
    assert "schedutil" in found["governor"].hint


@pytest.mark.parametrize("program", PROGRAMS)
def test_load(bench, program):
    bench.device.proc("loadavg", "64.00 32.00 8.00 3/100 1234\n")
    assert bench.codes(program=program)["load"].value >= 0.25


@pytest.mark.parametrize("program", PROGRAMS)
def test_memory_low(bench, program):
    bench.device.proc("meminfo", "MemTotal: 8000000 kB\nMemFree: 9000 kB\nMemAvailable: 200000 kB\n")
    assert bench.codes(program=program)["memory-low"].value == pytest.approx(0.025)


def test_emulated(bench):
    bench.device.answers("getprop", "if [ $1 = ro.hardware ]; then echo ranchu; fi")
    assert "Emulated by" in bench.codes()["emulated"].hint


def test_broken_off(bench, pid_of):
    def kill(spool):
        os.kill(pid_of(spool), signal.SIGKILL)

    assert "broken-off" in bench.while_timed(kill)


def test_governor_moved(bench):
    clock(bench.device, 1_500_000)
    state = DeviceState(governor="performance")
    found = bench.while_timed(lambda _: clock(bench.device, 1_500_000, "powersave"), looks=2, state=state)
    assert "The governor was powersave, not performance" in found["governor-moved"].hint


def test_clock_moved(bench):
    clock(bench.device, 1_500_000)
    state = DeviceState(khz=1_500_000)
    found = bench.while_timed(lambda _: clock(bench.device, 1_200_000), looks=2, state=state)
    assert found["clock-moved"].value == pytest.approx(0.2)


def test_state_lost(bench, monkeypatch):
    clock(bench.device, 1_500_000)
    monkeypatch.setattr("edgekit.runners.state.guard.HEARTBEAT_S", 0.2)
    guards, plain = [], Around.__init__

    def around(self, transport, state, guard):
        plain(self, transport, state, guard)
        guards.append(guard)

    def lose(_):
        with bench.device.opened(Device.parse("local://")) as transport:
            recover(transport, force=True)
        until(lambda: guards[0].lost, patience_s=60)

    monkeypatch.setattr(Around, "__init__", around)

    found = bench.while_timed(lose, state=DeviceState(governor="performance"))
    assert found["state-lost"].verdict == "invalid"


def test_thermal_override(bench):
    bench.device.answers("getprop", "")
    bench.device.answers("dumpsys", 'if [ "$1" = thermalservice ]; then echo IsStatusOverride: true; fi')
    assert "cmd thermalservice reset" in bench.codes()["thermal-override"].hint


def test_a_phone_s_own_limit_makes_it_hot(bench):
    told = """Thermal Status: 0
Current temperatures from HAL:
	Temperature{mValue=47.0, mType=3, mName=skin, mStatus=0}
Temperature static thresholds from HAL:
	TemperatureThreshold{mType=3, mName=skin, mHotThrottlingThresholds=[NaN, 40.0, 46.0, 60.0], mCold=[]}
"""
    bench.device.answers("getprop", "")
    bench.device.answers("dumpsys", f"if [ $1 = thermalservice ]; then cat <<'TOLD'\n{told}TOLD\nfi")
    doubt = bench.codes()["hot"]
    assert (doubt.value, doubt.limit) == (47, 46)
    assert "its own limit 'moderate'" in doubt.hint


# --- told otherwise by the program there ----------------------------------------------------------------
def test_canary(bench):
    after = {"where": {"e": "conditions", "when": "after"}, "put": {"canary_ns": 260_000}}
    bench.calm().device.tells(after)
    assert bench.codes()["canary"].value == pytest.approx(0.3)


def test_clock_stepped(bench):
    later = {"where": {"e": "conditions", "when": "after"}, "add": {"wall_ns": 3600 * 10**9}}
    bench.device.tells(later)
    assert bench.codes()["clock-stepped"].value == pytest.approx(3600, rel=0.05)


def test_swapped(bench):
    bench.device.tells({"where": {"e": "memory", "phase": "peak"}, "put": {"swap_bytes": 1 << 30}})
    assert bench.codes()["swapped"].value > 0.5


def test_memory_missing(bench):
    bench.device.tells({"where": {"e": "memory"}, "drop": True})
    assert bench.codes()["memory-missing"].value == 0


def test_threads(bench):
    bench.device.tells({"where": {"e": "hello"}, "put": {"threads": 3}})
    assert (bench.codes()["threads"].value, bench.codes()["threads"].limit) == (3, 1)


def test_threads_started(bench):
    bench.device.tells({"where": {"e": "placed"}, "put": {"threads_before": 5, "threads_after": 4}})
    assert bench.codes()["threads-started"].verdict == "invalid"


def test_cores(bench):
    bench.device.tells({"where": {"e": "placed"}, "put": {"cpus_allowed": "0-63"}})
    assert bench.codes(cores="0")["cores"].verdict == "invalid"


def test_fallback(bench):
    nodes = [{"index": n, "kind": kind, "inputs": [n], "outputs": [n + 1]}
             for n, kind in enumerate(("CONV_2D", "SOFTMAX"))]  # fmt: skip
    bench.device.tells({"where": {"e": "hello"}, "put": {"runtime": "litert"}},
                       {"where": {"e": "placed"}, "put": {"nodes": nodes}})  # fmt: skip
    doubt = bench.codes()["fallback"]
    assert doubt.hint.startswith("0 of 2 nodes ran on XNNPACK, not CONV_2D, SOFTMAX")
    assert doubt.verdict == "invalid"
    bench.allowed = True
    assert bench.codes()["fallback"].verdict == "suspect"


def test_unproven(bench):
    bench.device.tells({"where": {"e": "hello"}, "put": {"runtime": "litert"}})
    assert "No golden input ran" in bench.codes()["unproven"].hint
