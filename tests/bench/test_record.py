"""From events to a run."""

import json
from dataclasses import replace

import numpy as np
import pytest

from edgekit.bench.plan import make_plan
from edgekit.bench.record import Header, from_events
from edgekit.bench.run import Run
from edgekit.bench.summarize import summarize
from edgekit.errors import ProtocolError
from edgekit.testing.runs import MIB, example_events, example_samples


@pytest.fixture
def header(make_bundle):
    plan = make_plan([make_bundle("tflite-fp32").root], ["local://"])
    return Header(
        id="id1",
        started_at="2026-11-22T18:00:00.000+00:00",
        target="this-host",
        facts={"machine": "aarch64"},
        item=plan.items[0],
        plan=plan.asked(plan.items[0]),
        power={"unavailable": "no sensor"},
        own_load1=0.25,
    )


@pytest.fixture
def outputs(header):
    return [row[None] for row in header.item.work.bundle.golden_arrays()[1]]


def test_a_whole_run(header, outputs):
    run = from_events(example_events(outputs=outputs), header)
    assert (run.id, run.device, run.target, run.ended) == ("id1", "local://", "this-host", "done")
    assert run.samples_ns == example_samples()
    assert run.warmup_ns == example_samples(10)
    assert (run.load_ns, run.first_ns) == (3_000_000, 15_000_000)
    assert [(r.phase, r.pss_bytes) for r in run.memory] == [("baseline", 20 * MIB), ("peak", 31 * MIB)]
    assert (run.runtime.name, run.runtime.version, run.runtime.threads) == ("litert", "2.3.0", 1)
    assert run.artifact.sha256 == header.item.work.artifact.sha256
    assert (run.parity.ok, run.parity.count, run.parity.max_abs_error) == (True, 4, 0)
    assert [c["when"] for c in run.conditions] == ["before", "before", "during", "after"]
    assert run.conditions[0]["own_load1"] == 0.25
    assert run.versions["protocol"] == "2"
    assert summarize(run).verdict == "valid"


def test_it_survives_json(header, outputs):
    run = from_events(example_events(outputs=outputs), header)
    text = json.dumps(run.to_json(), allow_nan=False)
    assert json.dumps(Run.from_json(json.loads(text)).to_json()) == text


def of_pass(name, events):
    return [event for event in events if event["pass"] == name]


def cut(events, kind, nth=0):
    """Return the events up to and with the nth of a kind in the latency pass."""
    timed = of_pass("latency", events)
    places = [i for i, e in enumerate(events) if e["e"] == kind and e in timed]
    return events[: places[nth] + 1]


@pytest.mark.parametrize(("nth", "kept", "verdict"), [(0, 50, "suspect"), (2, 150, "suspect")])
def test_a_device_that_dies_keeps_its_samples(header, nth, kept, verdict):
    run = from_events(cut(example_events(), "samples", nth), header, broken="the link is gone")
    assert len(run.samples_ns) == kept
    assert run.ended == "the link is gone"
    assert run.parity is None
    summary = summarize(run)
    assert summary.verdict == verdict
    assert {"broken-off", "unproven"} <= {doubt.code for doubt in summary.doubts}


def test_too_few_samples_make_it_invalid(header):
    run = from_events(cut(example_events(samples=[1, 2, 3]), "samples"), header, broken="power cut")
    assert summarize(run).verdict == "invalid"
    first = from_events(cut(example_events(), "first"), header, broken="power cut")
    assert (first.samples_ns, first.first_ns) == ((), 15_000_000)
    assert summarize(first).verdict == "invalid"


@pytest.mark.parametrize("kind", ["hello", "load"])
def test_where_nothing_ran_there_is_no_run(header, kind):
    assert from_events(cut(example_events(), kind), header, broken="x") is None
    assert from_events([], header) is None


def test_an_error_told_by_the_device_is_how_it_ended(header):
    events = cut(example_events(), "samples")
    events.append({"e": "error", "pass": "latency", "t": 1, "kind": "invoke", "message": "out of memory"})
    assert from_events(events, header).ended == "invoke: out of memory"
    assert from_events(cut(events, "samples"), header).ended == "no end was told"


def test_wrong_or_missing_outputs_make_a_run_invalid(header, outputs):
    wrong = from_events(example_events(outputs=[o + np.float32(0.1) for o in outputs]), header)
    assert summarize(wrong).doubts[0].code == "outputs-wrong"
    missing = from_events(example_events(outputs=outputs[:-1]), header)
    assert summarize(missing).doubts[0].code == "outputs-unusable"
    nan = from_events(example_events(outputs=[o * np.float32(np.nan) for o in outputs]), header)
    assert summarize(nan).verdict == "invalid"
    json.dumps(nan.to_json(), allow_nan=False)


def test_a_bare_file_is_unproven(header, tmp_path):
    path = tmp_path / "x.tflite"
    path.write_bytes(b"x")
    bare = replace(header, item=make_plan([path], ["local://"]).items[0])
    run = from_events(example_events(), bare)
    assert run.artifact.recipe == "x.tflite"
    assert [doubt.code for doubt in summarize(run).doubts] == ["unproven"]


def test_the_null_runtime_proves_nothing(header):
    run = from_events(
        example_events(runtime="null"), replace(header, item=replace(header.item, runtime="null"))
    )
    assert run.parity is None
    assert {d.code for d in summarize(run).doubts} == {"fake"}


def test_the_latency_pass_alone(header, outputs):
    events = of_pass("latency", example_events(outputs=outputs))
    run = from_events(events, header)
    assert run.memory == ()
    assert run.samples_ns == example_samples()


def test_the_memory_pass_does_not_stand_in_for_the_timed_one(header):
    events = of_pass("memory", example_events())
    assert from_events(events, header, broken="lost") is None


@pytest.mark.parametrize(
    "event",
    [
        {"e": "samples"},
        {"e": "samples", "ns": [1, None]},
        {"e": "memory", "phase": "peak"},
        {"e": "load", "ns": "x"},
        {"e": "output", "golden": 0, "output": 0, "shape": [1, 10], "data": "AAAA"},
    ],
)
def test_an_event_that_can_not_be_read(header, event):
    events = cut(example_events(), "first")
    events.insert(7, {**event, "pass": "latency", "t": 1})
    with pytest.raises(ProtocolError, match=r"^local://: an event can't be read"):
        from_events(events, header)
