"""What a bench does about power around a run: passes, jobs, reasons."""

from types import SimpleNamespace

import pytest

from edgekit.bench.metering import Metering, PowerWish, metering
from edgekit.bench.power import PAIRS
from edgekit.bench.summarize import summarize
from edgekit.errors import DeviceLostError, UsageError
from edgekit.probes import SensorError, Term, Watch
from edgekit.report.cells import power_text
from edgekit.runners.transport.fake import FakeTransport, Faults
from edgekit.targets import Device
from edgekit.testing.runs import example_run

WATCH = Watch(
    family="hwmon", source="ina226 hwmon0 power1", reads={"p": "/p"}, interval_s=0.01,
    terms=(Term(factors=("p",), scale=1e-6),), error=SensorError(gain=0.01, lsb_w=0.01, origin="its sheet"),
)  # fmt: skip
S = 1_000_000_000


def pass_of(idle, load, ns=5_000_000, cost=0.0):
    """The events of a power pass with constant levels, in watts."""
    events, t = [], S

    def span(length, watts, **event):
        nonlocal t
        events.append({"pass": "power", "begin_ns": t, "end_ns": t + length, **event})
        for at in range(t, t + length, S // 50):
            raw = {"p": str(round(1e6 * watts) + at // (S // 50) % 3 * 20000)}
            events.append({"e": "reading", "pass": "power", "t": at, "took_ns": 1000, "raw": raw})
        t += length

    span(S, idle, e="idle", when="before")
    for number in range(2 * PAIRS):
        sampling = number % 4 in (0, 3)
        each = int(ns * (1 + cost * sampling))
        span(S, load, e="segment", sampling=sampling, count=S // each, ns=[each] * 5)
    span(S, idle, e="idle", when="after")
    return events


def test_power_comes_last_and_only_with_a_sensor():
    assert Metering(watch=WATCH).passes(("memory", "latency")) == ("memory", "latency", "power")
    assert Metering(watch=None).passes(("memory", "power", "latency")) == ("memory", "latency")
    assert Metering(watch=None).job(30.0) is None
    assert Metering(watch=WATCH).job(30.0)["reads"] == {"p": "/p"}


def test_a_run_that_broke_off_before_the_pass_says_so():
    told = Metering(watch=WATCH).keep([], "the link is gone")
    assert told == {"unavailable": "not measurable here: the power pass broke off (the link is gone)"}


def test_asking_that_fails_costs_the_power_and_not_the_run():
    transport = FakeTransport(Device.parse("fake://"), faults=Faults(dies_after_calls=0))
    facts = SimpleNamespace(to_json=dict)
    with transport:
        runtime = SimpleNamespace(tool=None)
        runner = SimpleNamespace(facts=facts, transport=transport, target=None, runtime=runtime)
        with metering(runner, PowerWish()) as power:
            assert power.watch is None
            assert "asking the device failed (fake://: the link is gone)" in power.reason
        with pytest.raises(DeviceLostError), metering(runner, PowerWish(mode="always")):
            pass


@pytest.mark.parametrize("wish", [{"mode": "no"}, {"mode": "never", "sensor": "x"}])
def test_a_wish_that_contradicts_itself(wish):
    with pytest.raises(UsageError):
        PowerWish(**wish)


def test_a_runs_summary_has_figures_and_doubts_of_power():
    power = Metering(watch=WATCH).keep(pass_of(2.0, 5.0, cost=0.04))
    summary = summarize(example_run(power=power))
    assert summary.power["mean_mw"] == pytest.approx(5020, rel=0.002)
    assert "sampling-cost" in {doubt.code for doubt in summary.doubts}
    text = power_text(summary.power)
    assert text.startswith("5.02 W, ")
    assert "an inference" in text
    assert "sampling costs 4" in text
    assert text.endswith("(ina226 hwmon0 power1)")
    calm = summarize(example_run(power=Metering(watch=WATCH).keep(pass_of(2.0, 5.0))))
    assert "sampling-cost" not in {doubt.code for doubt in calm.doubts}


def test_a_run_without_power_has_its_reason_in_the_report():
    run = example_run(power=Metering(watch=None, reason="not measurable here: no sensor").keep([]))
    assert power_text(summarize(run).power) == "not measurable here: no sensor"
