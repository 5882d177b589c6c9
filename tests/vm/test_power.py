"""Sensors that the board's own drivers read, and energy held against what really flowed."""

import itertools
import random
import re
import statistics
import threading

import pytest

from edgekit.bench.power import figures
from edgekit.probes.find import Found, find

pytestmark = pytest.mark.vm


def power_sensor(transport):
    return find(transport, {"emulated": "qemu-tcg"})


def test_the_kernels_own_drivers_read_it_live(vm, sensors, on):
    transport = on(vm)
    found = power_sensor(transport)
    assert isinstance(found, Found), found
    assert (found.watch.family, found.watch.source) == ("iio", "ina226 iio:device0 in_power2")
    (term,) = found.watch.terms
    (path,) = found.watch.reads.values()
    for volts, amps in ((5.1, 0.6), (12.0, 1.25), (5.1, 0.0)):
        sensors.supply.volts = volts
        sensors.supply.step(amps)
        raw = float(transport.check(["cat", path]).text)
        assert raw * term.scale == pytest.approx(volts * amps, rel=0.01, abs=0.0125)
    sensors.supply.volts = 5.1
    sensors.supply.step(0.6)


def test_a_thermometer_is_read_live(vm, sensors, on):
    transport = on(vm)
    for celsius in (45.5, 71.25, -5.0):
        sensors.thermometer.celsius = celsius
        told = transport.check(["sh", "-c", "cat /sys/class/hwmon/hwmon*/temp1_input"]).text
        assert float(told) / 1000 == celsius
    sensors.thermometer.celsius = 45.5


@pytest.fixture
def module(vm, sensors):
    """An INA219 module as it comes: 100 mOhm on it, and a driver that takes 10."""
    sensors.supply.step(0.6)
    vm.run(f"echo ina219 0x41 > {sensors.bus}/new_device")
    yield "ina219"
    vm.run(f"echo 0x41 > {sensors.bus}/delete_device")


def read_often(transport, watch, times=15):
    """Return what a power pass would keep of so many readings, all of them under load."""
    (name,), (path,) = watch.reads, watch.reads.values()
    lines = transport.check(["cat", *[path] * times]).text.split()
    readings = [{"t": n * 1e8, "took_ns": 1e6, "raw": {name: raw}} for n, raw in enumerate(lines, start=1)]
    whole = {"begin_ns": 0, "end_ns": (times + 1) * 1e8}
    segment = {**whole, "sampling": True, "count": 1, "ns": [1]}
    return {"watch": watch.to_json(), "idle": [], "segments": [segment], "readings": readings}


def test_a_wrong_shunt_is_found(vm, module, on):
    transport = on(vm)

    def look():
        found = power_sensor(transport)
        return next(watch for watch in (found.watch, *found.others) if module in watch.source)

    wrong = look()
    (doubt,) = wrong.doubts
    assert doubt[:3] == ("shunt-default", 10, 100)
    told = figures(read_often(transport, wrong))
    assert "draws 28 W at most" in told["unavailable"]
    command = re.search(r"100 mOhm: (echo 0.1 >\S+/in_shunt_resistor)\Z", told["unavailable"])
    transport.check(["sh", "-c", command[1]])
    mended = look()
    assert mended.doubts == ()
    assert figures(read_often(transport, mended))["mean_mw"] == pytest.approx(5100 * 0.6, rel=0.01)


class Stepping(threading.Thread):
    """Lets the current jump every second or two."""

    def __init__(self, supply):
        super().__init__(daemon=True)
        self.supply, self.over, self.levels = supply, threading.Event(), random.Random(7)

    def run(self):
        while not self.over.wait(self.levels.uniform(1.0, 2.5)):
            self.supply.step(self.levels.uniform(0.4, 1.8))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def test_energy_is_what_flowed(vm, sensors, bench):
    """The truth is the supply's own account, over the very windows in which the run was sampled."""
    with Stepping(sensors.supply):
        document, (run,) = bench(
            vm, "-r", "tflite-int8", "--power", "--runs", 20, "--warmup", 2, "--max-s", 16
        )
    told = document["runs"][0]["power"]
    assert "ina226" in told["source"]
    readings = run.power["readings"]
    assert not any(reading.get("errors") for reading in readings)
    # Both sides keep when each reading was taken: that ties the board's clock to this machine's.
    asked = sensors.monitor.readings[-len(readings) :]
    pairs = zip(asked, readings, strict=True)
    behind = statistics.median(here - (r["t"] + r["took_ns"] / 2) / 1e9 for here, r in pairs)
    windows = [
        (segment["begin_ns"] / 1e9 + behind, segment["end_ns"] / 1e9 + behind)
        for segment in run.power["segments"]
        if segment["sampling"]
    ]
    seconds = sum(end - begin for begin, end in windows)
    joules = sum(sensors.supply.joules(*window) for window in windows)
    assert told["window_s"] == pytest.approx(seconds, rel=0.01)
    # On a busy host readings come late; nobody can know better than where between two of them a step was.
    least = sum(
        abs(after[1] - before[1]) * sensors.supply.volts * gap_at(after[0], asked, windows)
        for before, after in itertools.pairwise(sensors.supply.steps)
    )
    assert told["mean_mw"] / 1000 * seconds == pytest.approx(joules, abs=max(0.01 * joules, least))
    assert told["mean_low_mw"] <= joules / seconds * 1000 <= told["mean_high_mw"]
    each = told["gross_energy_per_inference_uj"]["value"] * told["inferences"] / 1e6
    assert each == pytest.approx(told["mean_mw"] / 1000 * seconds, rel=0.01)


def gap_at(when, asked, windows):
    """Return the seconds without a reading around a time, as far as they lie in the window it is in."""
    window = next(((begin, end) for begin, end in windows if begin <= when <= end), None)
    if window is None:
        return 0.0
    before = max([window[0], *(t for t in asked if t <= when)])
    return min([window[1], *(t for t in asked if t > when)]) - before
