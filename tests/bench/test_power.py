"""Figures of power: records made by formula, so that the truth is known; and every reason for none."""

import json
import random
from dataclasses import replace

import pytest

from edgekit.bench.power import (
    COST_LIMIT,
    LEAST_FRESH,
    PAIRS,
    doubts_of_power,
    figures,
    raw_power,
    watch_job,
)
from edgekit.probes import SensorError, Term, Watch

S = 1_000_000_000
EXACT = SensorError(gain=0.0, origin="none, it is made up")
METER = Watch(
    family="hwmon", source="ina226 hwmon0 power1", reads={"power1": "/p"}, interval_s=0.01,
    terms=(Term(factors=("power1",), scale=1e-6),), error=EXACT,
)  # fmt: skip


class Record:
    """A power pass as a device would tell it: 2 s idle, eight segments of 1 s, 2 s idle."""

    def __init__(self, power, *, watch=METER, each_ns=5_000_000, cost=0.0, period=0.02, seed=1):
        self.watch, self.power, self.rng = watch, power, random.Random(seed)
        self.events, self.readings, t = [], [], 10 * S
        t = self._idle("before", t)
        for number in range(16):
            sampling = number % 4 in (0, 3)
            ns = int(each_ns * (1 + (cost if sampling else 0) + self.rng.gauss(0, 0.002)))
            segment = {
                "sampling": sampling,
                "begin_ns": t,
                "end_ns": t + S,
                "count": S // ns,
                "ns": [ns] * 20,
            }
            self.events.append({"e": "segment", "pass": "power", **segment})
            if sampling:
                self._read(t, t + S, period)
            t += S
        self._idle("after", t)

    def _idle(self, when, t):
        self.events.append({"e": "idle", "pass": "power", "when": when, "begin_ns": t, "end_ns": t + 2 * S})
        self._read(t, t + 2 * S, 0.02)
        return t + 2 * S

    def _read(self, t, end, period):
        while t < end:
            raw = self.power((t - 10 * S) / S, self.rng)
            self.readings.append({"e": "reading", "pass": "power", "t": t, "took_ns": 100_000, "raw": raw})
            t += int(period * S * self.rng.uniform(0.75, 1.25))

    def figures(self, **changes):
        raw = raw_power([*self.events, *self.readings], self.watch)
        raw = json.loads(json.dumps({**raw, **changes}))  # as a store gives it back
        return figures(raw)


def step(idle=2.0, load=5.0, after=None, noise=0.01):
    """Idle, load from 2 s to 18 s, idle again, in microwatts."""

    def power(t, rng):
        watts = idle if t < 2 else load if t < 18 else (idle if after is None else after)
        return {"power1": str(round(1e6 * rng.gauss(watts, noise)))}

    return power


def test_energy_of_a_known_load():
    told = Record(step()).figures()
    each = told["energy_per_inference_uj"]
    assert told["mean_mw"] == pytest.approx(5000, rel=0.002)
    assert told["mean_low_mw"] <= 5000 <= told["mean_high_mw"]
    assert told["idle_mw"] == pytest.approx(2000, rel=0.002)
    assert each["low"] <= 3.0e6 * 8.0 / told["inferences"] <= each["high"]
    assert each["value"] == pytest.approx(15000, rel=0.005)
    assert told["gross_energy_per_inference_uj"]["value"] == pytest.approx(25000, rel=0.005)
    assert told["source"] == "ina226 hwmon0 power1"
    assert told["sampling_cost"]["low"] <= 0 <= told["sampling_cost"]["high"]
    assert abs(told["sampling_cost"]["value"]) < 0.005
    assert list(doubts_of_power(told)) == []


def test_a_current_that_steps_within_the_run_is_within_1_percent():
    def power(t, rng):
        amps = 0.6 if t < 2 or t >= 18 else 1.8 if int(t * 3) % 2 else 0.9
        return {"power1": str(round(5.1e6 * amps))}

    told = Record(power).figures()
    record = Record(power)
    windows = [(e["begin_ns"], e["end_ns"]) for e in record.events if e.get("sampling")]
    grid = [b + (e - b) * i // 5000 for b, e in windows for i in range(5000)]
    truth = sum(int(power((t - 10 * S) / S, None)["power1"]) for t in grid) / len(grid) / 1e3
    assert told["mean_mw"] == pytest.approx(truth, rel=0.01)
    assert told["mean_low_mw"] <= truth <= told["mean_high_mw"]


def test_the_interval_widens_with_drift_gain_and_clock():
    def width(told):
        return told["energy_per_inference_uj"]["high"] - told["energy_per_inference_uj"]["low"]

    calm = Record(step()).figures()
    drifting = Record(step(after=2.4)).figures()
    assert drifting["idle_drift_mw"] == pytest.approx(400, rel=0.05)
    each = drifting["energy_per_inference_uj"]
    assert each["low"] < (5.0 - 2.4) * 5000 + 500  # the true baseline may have been that after
    assert width(drifting) > 5 * width(calm)
    assert [d.code for d in doubts_of_power(drifting)] == ["idle-drift"]
    coarse = replace(METER, error=SensorError(gain=0.02, offset_w=0.5, origin="x"))
    wide = Record(step(), watch=coarse).figures()
    assert width(wide) == pytest.approx(2 * 1.96 * 0.02 * 15000 / 3**0.5, rel=0.05)  # the offset falls out
    assert wide["mean_high_mw"] - wide["mean_mw"] > 0.5e3  # but not of the gross power
    late = Record(step()).figures(clock={"offset_ns": 0.0, "error_ns": 0.02 * S})
    assert width(late) > 2 * width(calm)


def test_intervals_hold_the_truth_as_often_as_promised():
    misses = 0
    for seed in range(300):
        rng = random.Random(seed)
        gain = 1 + rng.uniform(-0.012, 0.012)
        watch = replace(METER, error=SensorError(gain=0.012, origin="x"))
        told = Record(step(2 * gain, 5 * gain, noise=0.3), watch=watch, seed=seed).figures()
        each = told["energy_per_inference_uj"]
        truth = 3.0e6 * 8.0 / told["inferences"]
        misses += not each["low"] <= truth <= each["high"]
    assert misses <= 0.05 * 300 + 2 * (300 * 0.05 * 0.95) ** 0.5


def test_a_sampler_that_costs_is_doubted():
    told = Record(step(), cost=0.05).figures()
    assert told["sampling_cost"]["value"] == pytest.approx(0.05, abs=0.004)
    (doubt,) = doubts_of_power(told)
    assert (doubt.code, doubt.limit) == ("sampling-cost", COST_LIMIT)


def test_a_counter_of_energy_with_a_wrap():
    wrap = 20_000_000
    watch = replace(
        METER, quantity="energy", family="rapl", terms=(Term(factors=("power1",), scale=1e-6, wrap=wrap),)
    )

    def power(t, rng):
        joules = 2 * t if t < 2 else 4 + 5 * (t - 2) if t < 18 else 84 + 2 * (t - 18)
        return {"power1": str(int(joules * 1e6) % wrap)}

    told = Record(power, watch=watch).figures()
    assert told["mean_mw"] == pytest.approx(5000, rel=0.01)
    assert told["energy_per_inference_uj"]["value"] == pytest.approx(15000, rel=0.01)
    assert told["mean_low_mw"] <= 5000 <= told["mean_high_mw"]


BATTERY = replace(
    METER, source="battery gauge", covers="battery", settle=True, interval_s=0.0, refusal="it is charged",
    terms=(Term(factors=("current", "voltage"), scale=1e-12),), needs={"status": ("Discharging",)},
)  # fmt: skip


def gauge(status="Discharging", every=0.1, idle=-500, load=-1250):
    """Milliamperes, negative, a new value every so many seconds."""

    def power(t, rng):
        current = random.Random(int(t / every)).gauss(idle if t < 2 or t >= 18 else load, 5)
        said = status if isinstance(status, str) else status(t)
        return {"current": str(round(current)), "voltage": "4000000", "status": said}

    return power


def test_a_phones_battery_settles_its_unit_and_sign():
    told = Record(gauge(), watch=BATTERY).figures()
    assert told["mean_mw"] == pytest.approx(5000, rel=0.02)
    assert "mA, negative when discharging" in told["source"]
    assert told["covers"] == "battery"


LIMITED = replace(METER, limit_w=28.0, hint="mend it")
NOTHING = [
    (gauge(status="Charging"), BATTERY, "it is charged"),
    (gauge(status=lambda t: "Full" if t > 9 else "Discharging"), BATTERY, "it is charged"),
    (gauge(every=5.0), BATTERY, f"and {LEAST_FRESH} are needed: raise --max-s"),
    (lambda t, rng: {"power1": "3000000"}, METER, "frozen, or too coarse"),
    (lambda t, rng: {"power1": "garbage"}, METER, "are no numbers (power1: garbage)"),
    (lambda t, rng: {"power1": str(int(t / 3) * 100000 + 10**6)}, METER, "new values while the network ran"),
    (step(load=30.0), LIMITED, "says 30.0 W, and such a device draws 28 W at most: mend it"),
    (step(idle=-2, load=-5), METER, "its sign"),
]  # fmt: skip


@pytest.mark.parametrize(("power", "watch", "reason"), NOTHING, ids=range(len(NOTHING)))
def test_what_can_not_be_measured_has_a_reason_and_no_number(power, watch, reason):
    told = Record(power, watch=watch).figures()
    assert told["unavailable"].startswith("not measurable here: ")
    assert reason in told["unavailable"]
    assert set(told) == {"unavailable", "sensor"}


def test_too_few_readings_in_the_window_are_no_number():
    told = Record(step(), period=3.0, watch=replace(METER, interval_s=3.0)).figures()
    assert "are needed: raise --max-s" in told["unavailable"]


def test_readings_that_fail_are_told_and_a_few_are_borne():
    record = Record(step())
    for one in record.readings[::20]:
        one["errors"] = {"power1": "Input/output error"}
    told = record.figures()
    assert told["failed_readings"] == len(record.readings[::20])
    assert told["mean_mw"] == pytest.approx(5000, rel=0.005)
    for one in record.readings[::2]:
        one["errors"] = {"power1": "Permission denied"}
    assert "(Permission denied)" in record.figures()["unavailable"]
    record.readings.clear()
    assert "was never read" in record.figures()["unavailable"]


def test_without_an_idle_window_only_the_gross_energy_is_known():
    record = Record(step())
    record.events = [e for e in record.events if e.get("when") != "after"]
    told = record.figures()
    assert told["energy_per_inference_uj"] is None
    assert "only the gross energy" in told["no_energy"]
    assert told["gross_energy_per_inference_uj"]["value"] == pytest.approx(25000, rel=0.005)
    assert list(doubts_of_power(told)) == []


def test_a_load_that_can_not_be_told_from_rest_is_doubted():
    told = Record(step(load=2.001, noise=0.2)).figures()
    assert "energy-lost" in {d.code for d in doubts_of_power(told)}


def test_a_sensors_own_doubts_are_the_runs():
    watch = replace(METER, doubts=(("shunt-default", 10.0, 100.0, "Nobody told the driver."),))
    (doubt,) = doubts_of_power(Record(step(), watch=watch).figures())
    assert (doubt.code, doubt.value, doubt.verdict) == ("shunt-default", 10.0, "suspect")


def test_a_coarse_sensor_that_stays_is_not_taken_for_a_slow_one():
    watch = replace(METER, error=SensorError(gain=0.05, lsb_w=0.5, origin="x"))

    def power(t, rng):
        return {"power1": "2000000" if t < 2 or t >= 18 else "5000000"}

    told = Record(power, watch=watch).figures()
    assert told["mean_mw"] == pytest.approx(5000)


def test_what_is_asked_of_the_device_fits_the_time_and_the_sensor():
    job = watch_job(METER, 30.0)
    assert job["reads"] == {"power1": "/p"}
    assert job["pairs"] == PAIRS
    assert job["segment_ns"] == S
    assert job["period_ns"] == S // 50
    assert watch_job(replace(METER, interval_s=2.0), 30.0)["segment_ns"] == 30 * S // 16
    assert watch_job(replace(METER, interval_s=2.0), 3600.0)["segment_ns"] == 40 * S
    assert watch_job(METER, 4.0)["segment_ns"] == S // 4
    assert watch_job(replace(METER, meter="scpi+tcp://x:1"), 30.0)["reads"] == {}


def test_a_run_without_a_sensor_or_a_pass_keeps_the_reason():
    assert raw_power([], None, "not measurable here: no") == {"unavailable": "not measurable here: no"}
    assert raw_power([], METER, "it broke off") == {"unavailable": "not measurable here: it broke off"}
    assert figures({"unavailable": "x"}) == {"unavailable": "x"}
    assert list(doubts_of_power({"unavailable": "x"})) == []
