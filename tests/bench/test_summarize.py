"""Derived numbers, and the JSON that is a contract."""

import json
import math

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
    assert latency.withheld == ""


def test_percentiles_are_withheld_with_their_reason():
    latency = summarize(example_run(samples_ns=example_samples(50))).latency
    assert latency.p95_ms is None
    assert latency.p50_ms is not None
    assert latency.withheld == "P95 needs 59 samples, 9 more"
    none = summarize(example_run(samples_ns=(), load_ns=None, first_ns=None)).latency
    assert (none.p50_ms, none.load_ms, none.first_ms, none.min_ms, none.max_ms) == (None,) * 5
    assert none.withheld == "P50 needs 6 samples, 6 more; P95 needs 59 samples, 59 more"


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
    assert set(found["latency"]["p50_ms"]) == {"value", "low", "high"}
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
