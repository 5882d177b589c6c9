"""Every doubt, on both sides of its limit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bench.checks import CHECKS, doubts_of, labels_of, verdict_of
from edgekit.bench.checks_device import MOST_CPUS, cpu_set
from edgekit.bench.run import MemoryReading, ParityReading, RuntimeRef
from edgekit.bench.summary import VERDICTS
from edgekit.testing.runs import MIB, example_run, example_samples

CALM = example_run()


def parity(**changes):
    return replace(CALM.parity, **changes)


def conditions(during=({},), before=None, after=None):
    """Return conditions with one cluster each; `during` changes the cluster."""
    cluster = {"cpus": "0-3", "governor": "schedutil", "cur_khz": 1000, "max_khz": 1000}
    told = [{"when": "during", "pass": "latency", "clusters": [{**cluster, **change}]} for change in during]
    return (
        {"when": "before", "pass": "latency", "cpus_allowed": "0-3", **(before or {})},
        *told,
        {"when": "after", "pass": "latency", **(after or {})},
    )


def test_a_calm_run_is_valid():
    assert doubts_of(CALM) == ()
    assert verdict_of(()) == "valid"
    assert labels_of(CALM) == ()


def told(after=None, during=None, **before):
    """Return conditions before, during and after; what is not given for the later ones is as before."""
    return (
        {"when": "before", "pass": "latency", **before},
        {"when": "during", "pass": "latency", **before, **(during or {})},
        {"when": "after", "pass": "latency", **before, **(after or {})},
    )


def scattered(share):
    """Return samples whose median absolute deviation is this share of their median, in one mode."""
    return tuple(int(x) for x in 1e7 * (1 + share / 0.6745 * np.random.default_rng(1).normal(size=200)))


STEPPED = [
    {"when": when, "pass": "latency", "t": t * 10**9, "wall_ns": (10**9 + t + step) * 10**9}
    for when, t, step in (("before", 5, 0), ("during", 9, 3600), ("after", 11, 3600))
]
SWAPPED = tuple(
    MemoryReading(phase=phase, pss_bytes=30 * MIB, private_dirty_bytes=MIB, swap_bytes=swap)
    for phase, swap in (("baseline", 0), ("peak", 5 * MIB))
)
PINNED = {**CALM.plan, "cores": "4-7"}
SUSPECT = {
    "clock-moved": {"plan": {**CALM.plan, "frequency_khz": 1030}, "conditions": conditions()},
    "thermal-override": {"conditions": conditions(after={"thermal_override": True})},
    "unproven": {"parity": None},
    "blind": {"parity": parity(blind=True)},
    "few-samples": {"samples_ns": example_samples(58)},
    "broken-off": {"samples_ns": example_samples(59), "ended": "the link is gone"},
    "spread": {"samples_ns": scattered(0.06)},
    "drift": {"samples_ns": tuple(int(x * (1 + 0.085 * i / 200)) for i, x in enumerate(scattered(0.01)))},
    "never-steady": {"samples_ns": (*example_samples(130), *(x * 103 // 100 for x in example_samples(90)))},
    "two-modes": {"samples_ns": tuple(x * (107 if i * 7919 % 11 < 5 else 100) // 100
                                      for i, x in enumerate(example_samples()))},
    "outliers": {"samples_ns": tuple(x * (3 if i % 16 == 0 else 1) for i, x in enumerate(example_samples()))},
    "overhead": {"overhead_ns": (120_000,) * 9},
    "load": {"conditions": conditions(before={"load1": 1.1})},
    "throttled": {"conditions": conditions(before={"throttled": None}, after={"throttled": "under-voltage"})},
    "canary": {"conditions": told(canary_ns=200_000, after={"canary_ns": 221_000})},
    "hot": {"conditions": told(temperatures={"cpu": 79.0}, during={"temperatures": {"cpu": 80.5}})},
    "heated": {"conditions": told(temperatures={"cpu": 40.0}, after={"temperatures": {"cpu": 60.5}})},
    "clock-stepped": {"conditions": tuple(STEPPED)},
    "memory-low": {"facts": {"memory_bytes": 2048 * MIB}, "conditions": told(mem_available_bytes=100 * MIB)},
    "swapped": {"memory": SWAPPED},
    "frequency-moved": {"conditions": conditions(during=({}, {"cur_khz": 880}))},
    "governor": {"conditions": conditions(during=({"cur_khz": 880},))},
    "emulated": {"facts": {"emulated": "qemu-user"}},
    "fake": {"device": "fake://"},
    "memory-missing": {"memory": ()},
    "sampling-cost": {"power": {"mean_mw": 900.0, "sampling_cost": {"value": 0.05}}},
    "threads": {"runtime": RuntimeRef(name="litert", version="2", threads=4)},
}  # fmt: skip
BESIDE = {"drift": {"never-steady"}, "fake": set()}
"""What a realistic provocation raises beside the doubt that it is for."""


@pytest.mark.parametrize(
    ("zones", "trips", "limit", "told_by"),
    [
        ({"cpu": 71.0}, {"cpu": {"passive": 70.0, "hot": 85.0}}, 70.0, "its own limit 'passive'"),
        ({"cpu": 66.0}, {"cpu": {"hot": 65.0, "passive": -274.0}}, 65.0, "its own limit 'hot'"),
        ({"cpu": 81.0}, {"cpu": {"critical": 110.0}}, 80.0, "the usual limit, for it tells none"),
        ({"cpu": 76.0}, {"cpu": {"critical": 75.0}}, 75.0, "its own limit 'critical'"),
        ({"SKIN": 44.0, "cpu": 79.0}, {"SKIN": {"moderate": 43.5}}, 43.5, "zone SKIN reached 43.5 C"),
        ({"a": 90.0, "b": 85.0}, {"a": {"passive": 95.0}}, 80.0, "zone b reached 80 C"),
    ],
)
def test_a_zone_is_hot_by_the_limit_that_it_tells(zones, trips, limit, told_by):
    (doubt,) = doubts_of(example_run(conditions=told(temperatures=zones, trips=trips)))
    assert (doubt.code, doubt.limit) == ("hot", limit)
    assert told_by in doubt.hint


def test_what_the_system_tells_between_the_passes_counts_too():
    host = {
        "when": "after",
        "pass": "host",
        "temperatures": {"SKIN": 51.0},
        "trips": {"SKIN": {"severe": 50}},
    }
    (doubt,) = doubts_of(example_run(conditions=(*CALM.conditions, host)))
    assert (doubt.code, doubt.value, doubt.limit) == ("hot", 51.0, 50)


@pytest.mark.parametrize("code", SUSPECT)
def test_each_doubt_alone_makes_a_run_suspect(code):
    doubts = {doubt.code: doubt for doubt in doubts_of(example_run(**SUSPECT[code]))}
    assert set(doubts) - BESIDE.get(code, set()) == {code}
    assert verdict_of(doubts.values()) == "suspect"
    assert doubts[code].hint[0].isupper()
    assert doubts[code].hint.endswith(".")


LEFT_OUT = (
    {"e": "nodes", "nodes": [{"index": 0, "kind": "CONV_2D", "inputs": [0], "outputs": [1]}]},
    {"e": "op", "index": 0, "kind": "CONV_2D", "name": "", "where": "built-in", "ns": [9_000]},
)
INVALID = {
    "state-lost": {"conditions": conditions(after={"state_lost": "the host was silent"})},
    "governor-moved": {"plan": {**CALM.plan, "governor": "performance"}, "conditions": conditions()},
    "fallback": {"ops": LEFT_OUT},
    "outputs-wrong": {"parity": parity(max_abs_error=0.021, ok=False)},
    "outputs-unusable": {
        "parity": ParityReading(
            max_abs_error=None,
            snr_db=None,
            top1_agreement=None,
            limit=0.1,
            tolerance="NaN",
            ok=False,
            count=8,
        )
    },
    "outputs-wrong-everywhere": {"parity": parity(ok=False, rms_error=0.3, rms_limit=0.2)},
    "broken-off": {"samples_ns": example_samples(5), "ended": "the link is gone"},
    "threads-started": {
        "plan": {**CALM.plan, "threads": 4},
        "runtime": RuntimeRef(name="litert", version="2", threads=4),
        "placed": {"threads_before": 1, "threads_after": 2, "cpus_allowed": "0-3"},
    },
    "cores": {"plan": PINNED, "placed": {"cpus_allowed": "0-7"}},
}


@pytest.mark.parametrize("code", INVALID)
def test_what_makes_a_run_invalid(code):
    doubts = doubts_of(example_run(**INVALID[code]))
    assert doubts[0].code == code.removesuffix("-everywhere")
    assert doubts[0].verdict == verdict_of(doubts) == "invalid"


def test_the_limit_that_did_not_hold_is_the_one_told():
    single = doubts_of(example_run(parity=parity(max_abs_error=0.021, ok=False)))[0]
    assert (single.value, single.limit) == (0.021, 0.02)
    everywhere = doubts_of(example_run(parity=parity(ok=False, rms_error=0.3, rms_limit=0.2)))[0]
    assert (everywhere.value, everywhere.limit) == (0.3, 0.2)


WITHIN = {
    "59 samples": {"samples_ns": example_samples(59)},
    "the time limit is an end": {"ended": "limit"},
    "one core of four": {"conditions": conditions(before={"load1": 1.0})},
    "our own load": {
        "conditions": ({"when": "before", "own_load1": 2.0}, *conditions(before={"load1": 2.5}))
    },
    "null is no throttling": {"conditions": conditions(before={"throttled": None})},
    "the clock near its highest": {"conditions": conditions(during=({}, {"cur_khz": 910}))},
    "performance below its highest": {
        "conditions": conditions(during=({"governor": "performance", "cur_khz": 500},))
    },
    "nothing of it can be read": {"conditions": ({"when": "during"}, {"when": "before"})},
    "one thread was asked for and one ran": {"placed": {"threads_before": 9, "threads_after": 9}},
    "it kept to its cores": {"plan": PINNED, "placed": {"cpus_allowed": "4-7"}},
    "a class of cores": {"plan": {**CALM.plan, "cores": "big"}, "placed": {"cpus_allowed": "4-7"}},
    "a canary of its age": {"conditions": told(canary_ns=200_000, after={"canary_ns": 219_000})},
    "a canary that woke up": {"conditions": told(canary_ns=400_000, after={"canary_ns": 200_000})},
    "a warm device that may be": {
        "conditions": told(temperatures={"cpu": 88.0}, trips={"cpu": {"passive": 95.0, "critical": 105.0}})
    },
    "limits that are none": {
        "conditions": told(temperatures={"cpu": 50.0}, trips={"cpu": {"passive": 0.0, "active": 45.0}})
    },
    "below where it goes off": {
        "conditions": told(temperatures={"cpu": 79.0}, trips={"cpu": {"critical": 110.0}})
    },
    "a warm device": {"conditions": told(temperatures={"cpu": 61.0}, after={"temperatures": {"cpu": 79.0}})},
    "zones that tell nonsense": {"conditions": told(temperatures={"a": 255.0, "b": -273.0})},
    "a clock that is slewed": {
        "conditions": tuple(
            {"when": "during", "t": t * 10**9, "wall_ns": (10**9 + t) * 10**9 + t * 500_000}
            for t in range(60)
        )
    },
    "a loop that costs little": {"overhead_ns": (90_000,) * 9},
    "enough is an end": {"ended": "enough"},
    "a little swap": {"memory": (SWAPPED[0], replace(SWAPPED[1], swap_bytes=MIB))},
    "2 % within the run": {
        "samples_ns": (*example_samples(130), *(x * 1015 // 1000 for x in example_samples(70)))
    },
    "modes close together": {
        "samples_ns": tuple(
            x * (104 if i * 7919 % 11 < 5 else 100) // 100 for i, x in enumerate(example_samples())
        )
    },
    "a slow start": {
        "warmup_ns": tuple(x * 2 for x in example_samples(10)),
        "samples_ns": (*(x * 2 for x in example_samples(20)), *example_samples(180)),
    },
    "memory was not asked for": {"memory": (), "plan": {**CALM.plan, "passes": ["latency"]}},
}


@pytest.mark.parametrize("name", WITHIN)
def test_what_keeps_to_its_limit_raises_nothing(name):
    assert doubts_of(example_run(**WITHIN[name])) == ()


def test_the_clock_of_the_memory_pass_does_not_count():
    slow = {"when": "during", "pass": "memory", "clusters": [{"cur_khz": 1, "max_khz": 9, "governor": "x"}]}
    assert doubts_of(example_run(conditions=(*CALM.conditions, slow))) == ()


def test_the_worst_comes_first():
    run = example_run(device="fake://", ended="lost", samples_ns=(), memory=())
    assert [doubt.verdict for doubt in doubts_of(run)][:2] == ["invalid", "invalid"]
    assert doubts_of(run)[-1].verdict == "suspect"


def test_what_is_no_hardware_is_labelled_and_never_valid():
    emulated = example_run(facts={"emulated": "qemu-user"})
    fake = example_run(device="fake://", runtime=RuntimeRef(name="null", version="1", threads=1))
    assert labels_of(emulated) == ("emulated: qemu-user",)
    assert labels_of(example_run(facts={"emulated": "qemu-icount"})) == ("instruction time: qemu-icount",)
    assert labels_of(fake) == ("fake device", "null runtime: nothing was computed")
    assert verdict_of(doubts_of(emulated)) == verdict_of(doubts_of(fake)) == "suspect"


def test_every_check_is_tried_here():
    tried = {
        check.__name__
        for check in CHECKS
        for changes in (*SUSPECT.values(), *INVALID.values())
        if list(check(example_run(**changes)))
    }
    assert tried == {check.__name__ for check in CHECKS}


@given(st.lists(st.integers(1, 10**10), max_size=150), st.sampled_from(["done", "limit", "lost"]))
def test_any_samples_get_a_verdict(samples, ended):
    run = example_run(samples_ns=tuple(samples), ended=ended)
    doubts = doubts_of(run)
    assert verdict_of(doubts) in VERDICTS
    if not samples:
        assert verdict_of(doubts) == "invalid"


def test_cpus_that_no_machine_has_are_not_counted():
    assert cpu_set("0-3,6") == {0, 1, 2, 3, 6}
    assert cpu_set("big") == cpu_set("") == cpu_set("18446744073709551615") == frozenset()
    assert len(cpu_set("0-18446744073709551615")) == MOST_CPUS
    assert cpu_set("1," * 100_000) == {1}
