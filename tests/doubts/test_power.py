"""Doubts about power, each provoked by a whole run beside a sensor that is so."""

import threading

import pytest

from edgekit.bench.power import figures
from edgekit.bench.summarize import summarize
from edgekit.probes import PROBES
from edgekit.probes.hwmon import Hwmon

HWMON = "class/hwmon/hwmon2"
IDLE_W, BUSY_W = 2.0, 4.0
TRIES = 5
"""A machine that is busy reads its sensor too seldom for a figure."""


class Sensor:
    """An INA226 whose power follows the power pass: at rest, busy, and at rest again."""

    def __init__(self, bench, after_w=IDLE_W, busy_w=BUSY_W, amps=None, **chip):
        self.bench, self.amps = bench, amps
        self.levels = (IDLE_W, busy_w, after_w)
        told = {"name": "ina226", "in1_input": 5000, "shunt_resistor": 2000, "update_interval": 5, **chip}
        for name, value in told.items():
            bench.device.kernel(f"{HWMON}/{name}", value)
        self._show(IDLE_W, 0)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._play)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._done.set()
        self._thread.join()

    def _show(self, watts, step):
        watts *= 1 + 0.001 * (step % 3)  # a sensor is never quite still
        self.bench.device.kernel(f"{HWMON}/power1_input", round(watts * 1e6))
        self.bench.device.kernel(f"{HWMON}/curr1_input", round(1000 * (self.amps or watts / 5)))

    def _play(self):
        step = 0
        while not self._done.wait(0.005):
            step += 1
            spools = list(self.bench.place.glob("runs/*/power.jsonl"))
            text = spools[0].read_text() if spools else ""
            phase = 0 if '"when":"before"' not in text else 1 if text.count('"e":"segment"') < 16 else 2
            self._show(self.levels[phase], step)


@pytest.fixture
def power(bench, monkeypatch):
    """A bench with a sensor; returns its doubts."""
    monkeypatch.setattr(PROBES, "_entries", {"hwmon": Hwmon})

    def run(**sensor):
        for _ in range(TRIES):
            with Sensor(bench, **sensor):
                made = bench.run(passes=("latency",), runs=20, max_s=2.0, period_s=0.002)
            if "unavailable" not in (told := figures(made.power)):
                return {doubt.code: doubt for doubt in summarize(made).doubts}
        pytest.fail(told["unavailable"])

    return run


def test_a_sound_sensor_raises_none_of_these(power):
    found = power()
    assert not {"idle-drift", "energy-lost", "power-mismatch", "shunt-default"} & set(found)


def test_an_odd_sensor_beside_a_restless_device(bench, power):
    slower = {"where": {"e": "segment", "sampling": True}, "put": {"ns": [1100, 1101, 1102] * 30}}
    plain = {"where": {"e": "segment", "sampling": False}, "put": {"ns": [1000, 1001, 1002] * 30}}
    bench.device.tells(slower, plain)
    found = power(name="ina219", shunt_resistor=10000, after_w=3.5, amps=2.5)
    assert found["idle-drift"].value > found["idle-drift"].limit == 0.1
    assert abs(found["power-mismatch"].value) > found["power-mismatch"].limit
    assert found["shunt-default"].value == 10
    assert found["sampling-cost"].value == pytest.approx(0.1, rel=0.05)
    assert found["sampling-cost"].limit == 0.02


def test_a_load_that_is_no_more_than_rest(power):
    assert power(busy_w=IDLE_W)["energy-lost"].value <= 0
