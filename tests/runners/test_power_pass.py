"""The power pass of the program on the device: segments, the sampler beside them, and every end."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from edgekit.errors import ProtocolError
from edgekit.runners.lines import parse_line
from edgekit.runners.program import python_program
from edgekit.testing import processes

MS = 1_000_000


@pytest.fixture
def watch(tmp_path):
    """What to sample: a file, for quarter-second segments."""
    (tmp_path / "power1").write_text("2500000\n")
    return {"reads": {"power1": str(tmp_path / "power1")}, "commands": {}, "period_ns": 10 * MS,
            "idle_ns": 150 * MS, "segment_ns": 100 * MS, "pairs": 2}  # fmt: skip


def of(events, kind):
    return [event for event in events if event["e"] == kind]


def samplers(program):
    """Process ids of samplers of this test's job."""
    return processes.running(f"--watch\0{program.folder}/job.json")


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_pass_from_rest_to_rest(program, watch):
    code, events = program.run("power", watch=watch)
    assert code == 0, program.stderr
    kinds = [event["e"] for event in events if event["e"] != "reading"]
    assert kinds == ["hello", "load", "first", "warmup", "idle", *["segment"] * 4, "idle", "end"]
    segments, idle = of(events, "segment"), of(events, "idle")
    assert [s["sampling"] for s in segments] == [True, False, False, True]
    assert [i["when"] for i in idle] == ["before", "after"]
    spans = [idle[0], *segments, idle[1]]
    assert all(a["end_ns"] <= b["begin_ns"] for a, b in itertools.pairwise(spans))
    assert all(s["end_ns"] - s["begin_ns"] >= 100 * MS for s in segments)
    assert all(0 < len(s["ns"]) <= s["count"] for s in segments)
    assert events[-1]["reason"] == "done"
    assert events[-1]["count"] == sum(s["count"] for s in segments)
    assert not samplers(program)


def test_readings_come_at_rest_and_in_the_segments_that_ask_for_them(program, watch):
    _, events = program.run("power", watch={**watch, "segment_ns": 300 * MS})
    readings, segments = of(events, "reading"), of(events, "segment")
    times = [r["t"] for r in readings]
    assert times == sorted(times)
    assert all(r["raw"] == {"power1": "2500000"} and "errors" not in r for r in readings)
    for span in (*of(events, "idle"), *(s for s in segments if s["sampling"])):
        assert any(span["begin_ns"] <= t <= span["end_ns"] for t in times)
    for span in (s for s in segments if not s["sampling"]):
        assert not [t for t in times if span["begin_ns"] + 50 * MS <= t <= span["end_ns"]]


def test_what_can_not_be_read_is_told_and_nothing_is_made_of_it(program, watch):
    reads = {**watch["reads"], "gone": "/nowhere/power1_input", "folder": "/"}
    commands = {"said": ["echo", "5 W"], "failed": ["false"], "absent": ["/nowhere/program"]}
    code, events = program.run("power", watch={**watch, "reads": reads, "commands": commands})
    assert code == 0
    for reading in of(events, "reading"):
        assert reading["raw"] == {"power1": "2500000", "said": "5 W\n"}
        assert set(reading["errors"]) == {"gone", "folder", "failed", "absent"}
        assert reading["errors"]["gone"] == "No such file or directory"


def test_a_meter_outside_needs_no_sampler(program, watch):
    code, events = program.run("power", watch={**watch, "reads": {}})
    assert code == 0
    assert not of(events, "reading")
    assert {s["sampling"] for s in of(events, "segment")} == {True}


def test_a_paced_loop_keeps_its_pace(program, watch):
    _, events = program.run("power", watch=watch, period_ns=20 * MS)
    assert all(s["count"] <= 7 for s in of(events, "segment"))


BAD = [None, {}, {"pairs": 0}, {"period_ns": 0.5}, {"reads": []}, {"more": 1}]


@pytest.mark.parametrize("change", BAD)
def test_a_watch_that_is_none_is_told(program, watch, change):
    code, events = program.run("power", watch=change and {**watch, **change})
    assert code == 1
    assert events[-1]["e"] == "error"
    assert events[-1]["kind"] == "job"


def test_a_watch_of_another_shape_breaks_the_pass_and_not_the_program(program, watch):
    del watch["pairs"]
    code, events = program.run("power", watch=watch)
    assert (code, events[-1]["kind"]) == (1, "job")


def test_sigterm_ends_it_and_its_sampler(program, watch):
    process = program.start("power", watch={**watch, "idle_ns": 60_000 * MS})
    wait_for(lambda: samplers(program))
    wait_for(lambda: of(program.events(), "warmup"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.communicate()
    assert program.events()[-1]["reason"] == "stopped"
    assert not samplers(program)


def test_a_sampler_does_not_outlive_its_parent(program, watch):
    process = program.start("power", watch={**watch, "idle_ns": 60_000 * MS})
    wait_for(lambda: samplers(program))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not samplers(program))


def test_its_lines_are_held_against_the_protocol():
    line = {"e": "reading", "pass": "power", "t": 5, "took_ns": 3, "raw": {"a": "1"}}
    assert parse_line(json.dumps(line).encode())["raw"] == {"a": "1"}
    for wrong in ({"raw": {"a": 1}}, {"raw": {"a": "x" * 20000}}, {"raw": []}, {"took_ns": -1}, {"more": 1},
                  {"raw": {str(n): "" for n in range(100)}}):  # fmt: skip
        with pytest.raises(ProtocolError):
            parse_line(json.dumps({**line, **wrong}).encode())
    segment = {"e": "segment", "pass": "power", "t": 5, "sampling": 1, "begin_ns": 1, "end_ns": 2, "count": 1,
               "ns": []}  # fmt: skip
    with pytest.raises(ProtocolError, match="neither true nor false"):
        parse_line(json.dumps(segment).encode())


def test_the_clock_is_that_of_the_events():
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    argv = [sys.executable, "-I", str(python_program()), "--clock"]
    told = int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    assert before < told < time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
