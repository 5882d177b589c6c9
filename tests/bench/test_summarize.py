"""Derived numbers, and the JSON that is a contract."""

import json
import math

import numpy as np
import pytest

from edgekit.bench.document import _finite, run_json
from edgekit.bench.run import MemoryReading, Run
from edgekit.bench.summarize import summarize
from edgekit.testing.runs import MIB, example_run, example_samples


def test_a_calm_run():
    summary = summarize(example_run())
    assert summary.verdict == "valid"
    latency = summary.latency
    assert (latency.count, latency.load_ms, latency.first_ms) == (200, 3.0, 15.0)
    assert latency.p50_ms.low < latency.p50_ms.value < latency.p50_ms.high
    assert latency.p50_ms.value == pytest.approx(10, rel=0.01)
    assert latency.min_ms <= latency.p95_ms.low < latency.p95_ms.high <= latency.max_ms
    assert 0 < latency.mad_ms < 0.1
    assert latency.p50_ms.value < latency.p90_ms.value < latency.p95_ms.value
    assert latency.p99_ms is None
    assert latency.withheld == "P99 needs 299 samples, 99 more"
    assert (latency.p50_ms.n, latency.p50_ms.n_eff) == (200, 200)
    assert latency.mean_ms.low < 10 < latency.mean_ms.high
    assert latency.mad_estimate_ms.low < latency.mad_ms < latency.mad_estimate_ms.high
    assert (latency.warmup_count, latency.steady, latency.overhead_ms) == (10, True, None)
    assert summary.curve is None


def test_percentiles_are_withheld_with_their_reason():
    latency = summarize(example_run(samples_ns=example_samples(50))).latency
    assert latency.p95_ms is None
    assert latency.p50_ms is not None
    assert latency.withheld == "P95 needs 59 samples, 9 more; P99 needs 299 samples, 249 more"
    none = summarize(example_run(samples_ns=(), load_ns=None, first_ns=None)).latency
    assert (none.p50_ms, none.load_ms, none.first_ms, none.min_ms, none.max_ms) == (None,) * 5
    assert none.withheld == (
        "P50 needs 6 samples, 6 more; P90 needs 29 samples, 29 more; "
        "P95 needs 59 samples, 59 more; P99 needs 299 samples, 299 more"
    )


def test_p99_comes_with_enough_samples():
    latency = summarize(example_run(samples_ns=example_samples(299))).latency
    assert latency.withheld == ""
    assert latency.p99_ms.value <= latency.p99_ms.high <= latency.max_ms


def noisy(count, seed=1):
    return (1e7 * (1 + 0.01 * np.random.default_rng(seed).normal(size=count))).astype(int)


def test_warm_up_is_found_and_left_out():
    samples = noisy(400)
    samples[:60] = samples[:60] * 13 // 10
    run = example_run(
        samples_ns=tuple(samples.tolist()), warmup_ns=(14_000_000,) * 10, overhead_ns=(300,) * 9
    )
    latency = summarize(run).latency
    assert latency.warmup_count == pytest.approx(70, abs=2)
    assert latency.p50_ms.n == 410 - latency.warmup_count
    assert latency.count == 400
    assert latency.max_ms > 12.5
    assert latency.p95_ms.high < 10.5
    assert latency.overhead_ms == 0.0003


def test_a_level_that_moves_a_little_widens_the_interval_by_as_much():
    samples = noisy(1000)
    calm = summarize(example_run(samples_ns=tuple(samples.tolist()))).latency.p50_ms
    samples[600:] = samples[600:] * 1015 // 1000
    moved = summarize(example_run(samples_ns=tuple(samples.tolist()))).latency.p50_ms
    assert calm.high - calm.low < 0.03
    assert 0.15 < moved.high - moved.low < 0.19
    assert moved.low < 10.0
    assert moved.high > 10.14
    assert moved.n_eff > 500


def test_correlated_samples_say_what_they_are_worth():
    values = noisy(400).astype(float)
    smooth = np.convolve(values, np.ones(8) / 8, mode="valid").astype(int)
    latency = summarize(example_run(samples_ns=tuple(smooth.tolist()))).latency
    assert latency.p50_ms.n == len(smooth)
    assert latency.p50_ms.n_eff < 100
    assert "P99 needs 299 independent samples, " in latency.withheld


def test_a_long_run_has_its_curve():
    slow = tuple((noisy(400) * 60).tolist())
    summary = summarize(example_run(samples_ns=slow, plan={**example_run().plan, "sustained": True}))
    assert [minute.number for minute in summary.curve.minutes] == [1, 2, 3, 4]
    assert abs(summary.curve.slowdown.value) < 0.01
    found = document(example_run(samples_ns=slow))["sustained"]
    assert set(found["minutes"][0]) == {"number", "count", "p50_ms", "p95_ms"}
    assert document(example_run())["sustained"] is None
    paced = example_run(plan={**example_run().plan, "period_s": 1.0})
    assert len(summarize(paced).curve.minutes) == 3


def test_a_hundred_thousand_samples_are_summarized():
    latency = summarize(example_run(samples_ns=tuple(noisy(100_000).tolist()))).latency
    assert latency.count == 100_000
    assert latency.p99_ms.high / latency.p99_ms.low < 1.001


def test_memory_counts_swap_and_takes_the_baseline_off():
    memory = summarize(example_run()).memory
    assert memory.baseline_bytes == 20 * MIB
    assert memory.peak_pss_bytes == 32 * MIB
    assert memory.peak_over_baseline_bytes == 12 * MIB
    assert memory.private_dirty_bytes == 18 * MIB


@pytest.mark.parametrize("phase", ["baseline", "peak", "loaded"])
def test_half_a_memory_pass_is_none(phase):
    reading = MemoryReading(phase=phase, pss_bytes=1, private_dirty_bytes=1, swap_bytes=0)
    assert summarize(example_run(memory=(reading,))).memory is None


def test_it_is_pure():
    run = example_run()
    again = Run.from_json(json.loads(json.dumps(run.to_json())))
    assert summarize(run) == summarize(again)


KEYS = {
    "artifact": {"recipe", "format", "precision", "sha256"},
    "runtime": {"name", "version"},
    "latency": {"count", "load_ms", "first_ms", "p50_ms", "p95_ms"},
    "memory": {"baseline_bytes", "peak_pss_bytes", "peak_over_baseline_bytes"},
    "power": {"unavailable"},
    "parity": {"max_abs_error", "ok"},
}


def document(run):
    return json.loads(json.dumps(run_json(run, summarize(run)), allow_nan=False))


def test_the_contracts_keys():
    found = document(example_run())
    assert {"id", "device", "verdict", "doubts", *KEYS} <= set(found)
    for key, inner in KEYS.items():
        assert inner <= set(found[key]), key
    assert set(found["latency"]["p50_ms"]) == {"value", "low", "high", "n", "n_eff"}
    assert "samples_ns" not in found


def test_doubts_and_what_is_missing():
    found = document(example_run(samples_ns=(), memory=(), parity=None, ended="lost"))
    assert found["verdict"] == "invalid"
    assert all({"code", "value", "limit", "hint"} <= set(doubt) for doubt in found["doubts"])
    assert found["latency"]["p50_ms"] is found["latency"]["p95_ms"] is None
    assert found["memory"] is found["parity"] is None


def test_no_nan_ever():
    nasty = {"a": [1.0, math.nan, {"b": (math.inf, -math.inf)}], "c": "nan"}
    assert _finite(nasty) == {"a": [1.0, None, {"b": [None, None]}], "c": "nan"}
    found = document(example_run(power={"mean_mw": math.nan, "source": "x"}))
    assert found["power"] == {"mean_mw": None, "source": "x"}
