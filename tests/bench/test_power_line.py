"""Power from a sensor's file to a figure, on this machine: a thread plays the sensor and knows the truth."""

import bisect
import json
import threading
import time
from pathlib import Path

import pytest

from edgekit.bench.document import bench_json
from edgekit.bench.execute import execute
from edgekit.bench.metering import PowerWish
from edgekit.bench.plan import make_plan
from edgekit.bench.run import Run
from edgekit.bench.summarize import summarize
from edgekit.errors import UsageError
from edgekit.probes import PROBES
from edgekit.probes.hwmon import Hwmon
from edgekit.testing.scpi_double import ScpiDouble

CLOCK = time.CLOCK_MONOTONIC_RAW


class Supply:
    """A power that steps while the network runs and rests while it does not; what it was is kept.

    It looks at the power pass's own spool to know when the network runs.
    """

    IDLE, LOW, HIGH = 2.0, 4.0, 6.0

    def __init__(self, spools, write=None):
        self.spools, self.write, self.history = spools, write or (lambda watts: None), []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._play)

    def __enter__(self):
        self._set(self.IDLE)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._done.set()
        self._thread.join()

    def now(self):
        return self.history[-1][1]

    def _set(self, watts):
        self.write(watts)
        self.history.append((time.clock_gettime_ns(CLOCK), watts))

    def _running(self):
        texts = [path.read_text() for path in self.spools.glob("*/power.jsonl")]
        last = texts[-1] if texts else ""
        return '"when":"before"' in last and last.count('"e":"segment"') < 16

    def _play(self):
        step = 0
        while not self._done.is_set():
            step += 1
            level = (self.HIGH if step // 40 % 2 else self.LOW) if self._running() else self.IDLE
            self._set(level + 0.001 * (step % 3))  # a sensor is never quite still
            time.sleep(0.005)

    def mean(self, windows):
        """The true mean power over windows, in watts."""
        times = [t for t, _ in self.history]
        joules = 0.0
        for begin, end in windows:
            at = bisect.bisect_right(times, begin) - 1
            while at < len(times) and times[at] < end:
                until = min(end, times[at + 1] if at + 1 < len(times) else end)
                joules += self.history[at][1] * (until - max(begin, times[at]))
                at += 1
        return joules / sum(end - begin for begin, end in windows)


@pytest.fixture
def spools(tmp_path, monkeypatch):
    """Where this machine, as a device, keeps its runs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "place"))
    return tmp_path / "place/edgekit/device/runs"


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "network.tflite"
    path.write_bytes(b"no network")
    return path


@pytest.fixture
def hwmon(tmp_path, monkeypatch):
    """An INA226 in a root of its own, as the only sensor there is; returns what writes its power."""
    root = tmp_path / "device"
    folder = root / "sys/class/hwmon/hwmon2"
    folder.mkdir(parents=True)
    told = {"name": "ina226", "power1_input": 2000000, "curr1_input": 392, "in1_input": 5100,
            "shunt_resistor": 10000, "update_interval": 5}  # fmt: skip
    for name, value in told.items():
        (folder / name).write_text(f"{value}\n")
    monkeypatch.setattr(PROBES, "_entries", {"hwmon": lambda: Hwmon(root=str(root))})

    def write(watts):
        (folder / "next").write_text(f"{round(watts * 1e6)}\n")
        (folder / "next").rename(folder / "power1_input")

    return write


def bench(artifact, wish=None, **options):
    options = {"runs": 20, "warmup": 2, "max_s": 4.0, "period_s": 0.002, "passes": ("latency",), **options}
    plan = make_plan([artifact], ["local://"], runtime="null", power=wish or PowerWish(), **options)
    return execute(plan, None)


def windows_of(run, **chosen):
    spans = run.power["segments"] if "sampling" in chosen else run.power["idle"]
    return [(s["begin_ns"], s["end_ns"]) for s in spans if all(s[k] == v for k, v in chosen.items())]


def test_energy_of_a_power_that_steps_is_true_within_1_percent(artifact, hwmon, spools):
    with Supply(spools, hwmon) as supply:
        result = bench(artifact)
    assert result.failed == ()
    (run,) = result.runs
    told = summarize(run).power
    assert "unavailable" not in told, told
    truth = supply.mean(windows_of(run, sampling=True))
    assert told["mean_mw"] == pytest.approx(1e3 * truth, rel=0.01)
    assert told["mean_low_mw"] <= 1e3 * truth <= told["mean_high_mw"]
    rest = sum(supply.mean(windows_of(run, when=when)) for when in ("before", "after")) / 2
    assert told["idle_mw"] == pytest.approx(1e3 * rest, rel=0.01)
    count = sum(s["count"] for s in run.power["segments"] if s["sampling"])
    seconds = sum(e - b for b, e in windows_of(run, sampling=True)) / 1e9
    each = told["energy_per_inference_uj"]
    true_each = (truth - rest) * seconds / count * 1e6
    assert each["value"] == pytest.approx(true_each, rel=0.015)
    assert each["low"] <= true_each <= each["high"]
    off = windows_of(run, sampling=False)
    assert len(off) == 8
    assert not [r for r in run.power["readings"] for b, e in off if b + 50_000_000 <= r["t"] <= e]
    assert set(told["sampling_cost"]) == {"value", "low", "high"}


def test_a_stored_run_gives_the_same_figures(artifact, hwmon, spools):
    with Supply(spools, hwmon):
        result = bench(artifact, max_s=2.0)
    (run,) = result.runs
    again = Run.from_json(json.loads(json.dumps(run.to_json())))
    assert summarize(again).power == summarize(run).power
    (told,) = json.loads(json.dumps(bench_json(result), allow_nan=False))["runs"]
    assert {"source", "mean_mw", "energy_per_inference_uj"} <= set(told["power"])
    assert told["power"]["source"] == "ina226 hwmon2 power1"


def test_a_wrong_shunt_is_found(artifact, hwmon, spools):
    with Supply(spools, lambda watts: hwmon(10 * watts)):
        (run,) = bench(artifact, max_s=2.0).runs
    told = summarize(run).power["unavailable"]
    assert "such a device draws 28 W at most" in told
    assert "its driver reckons with a shunt of 10 mOhm" in told


def test_no_sensor_is_a_reason_and_an_error_where_power_was_asked_for(artifact, spools, monkeypatch):
    monkeypatch.setattr(PROBES, "_entries", {})
    (run,) = bench(artifact).runs
    assert run.power["unavailable"].startswith("not measurable here: no sensor")
    result = bench(artifact, PowerWish(mode="always"))
    assert result.runs == ()
    (failure,) = result.failed
    assert failure.kind == "DeviceUnfitError"
    assert failure.error.startswith("local://: power can't be measured: no sensor")
    assert "--meter" in failure.error


def test_power_that_is_not_wanted_is_not_looked_for(artifact, hwmon, spools):
    (run,) = bench(artifact, PowerWish(mode="never")).runs
    assert run.power == {"unavailable": "not measurable here: it was left out"}
    assert bench(artifact, PowerWish(sensor="nvme")).failed[0].kind == "DeviceUnfitError"
    for wrong in ({"mode": "maybe"}, {"mode": "never", "meter": "x"}):
        with pytest.raises(UsageError):
            PowerWish(**wrong)


def test_a_meter_outside_is_read_by_the_host(artifact, spools):
    supply = Supply(spools)
    with supply, ScpiDouble(supply.now, volts=5.1) as double:
        result = bench(artifact, PowerWish(meter=f"{double.address}?power=MEAS:POW?&gain=0.001"))
    assert result.failed == ()
    (run,) = result.runs
    told = summarize(run).power
    truth = supply.mean(windows_of(run, sampling=True))
    assert told["mean_mw"] == pytest.approx(1e3 * truth, rel=0.02)
    assert told["mean_low_mw"] <= 1e3 * truth <= told["mean_high_mw"]
    assert told["sampling_cost"] is None  # it costs the device nothing
    assert told["uncertainty_mw"]["clock"] > 0
    assert run.power["clock"]["error_ns"] < 5e9
    assert told["covers"] == "board"


def test_a_meter_that_is_not_there_is_a_failure(artifact, spools):
    (failure,) = bench(artifact, PowerWish(meter="scpi+tcp://127.0.0.1:1")).failed
    assert "can't be reached" in failure.error


def test_a_meter_that_falls_silent_gives_no_number(artifact, spools, monkeypatch):
    monkeypatch.setattr("edgekit.probes.scpi.ANSWER_S", 0.1)
    supply = Supply(spools)
    with supply, ScpiDouble(supply.now) as double:
        wait = threading.Thread(target=lambda: silence(spools, double))
        wait.start()
        (run,) = bench(artifact, PowerWish(meter=double.address), max_s=2.0).runs
        wait.join()
    assert "failed (" in summarize(run).power["unavailable"]


def silence(spools, double):
    """Let the meter fall silent as soon as the network runs."""
    end = time.monotonic() + 60
    while not any('"segment"' in Path(p).read_text() for p in spools.glob("*/power.jsonl")):
        assert time.monotonic() < end
        time.sleep(0.01)
    double.nasty = "silence"
