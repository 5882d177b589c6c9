"""Following a pass: cut links, one byte at a time, and programs that do not behave."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgekit.errors import DeviceLostError, DeviceTimeoutError, EdgeKitError, ProtocolError, StableDeviceError
from edgekit.runners import follow
from edgekit.runners.follow import Pass
from edgekit.runners.program import python_program
from edgekit.runners.transport import open_transport
from edgekit.runners.transport.fake import FakeTransport, Faults
from edgekit.runners.transport.local import LocalTransport
from edgekit.targets import Device
from edgekit.testing import processes
from edgekit.testing.waiting import until

HELLO = {"e": "hello", "pass": "latency", "t": 1, "protocol": 2, "run": "the-run", "pid": 7,
         "program": "python", "runtime": "null", "version": "1", "threads": 1}  # fmt: skip
LOAD = {"e": "load", "pass": "latency", "t": 2, "ns": 5}
SAMPLES = {"e": "samples", "pass": "latency", "t": 3, "ns": [1, 2, 3]}
END = {"e": "end", "pass": "latency", "t": 4, "reason": "done", "count": 3}


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """No waiting between tries."""
    monkeypatch.setattr(follow, "_RETRY_S", (0.0,) * 6)
    monkeypatch.setattr(follow, "_LAST_POLL_S", 0.1)


class Cut(LocalTransport):
    """This machine, over a link that dies at chosen commands, counted from the first on."""

    def __init__(self, cuts=(), *, after=False):
        super().__init__(Device.parse("local://"))
        self.cuts, self.calls, self.opened, self.after = set(cuts), 0, 0, after

    def open(self):
        super().open()
        self.opened += 1

    def _execute(self, command, *, stdin, timeout_s):
        self.calls += 1
        if self.calls in self.cuts and not self.after:
            raise DeviceLostError("local://", "the link was cut")
        done = super()._execute(command, stdin=stdin, timeout_s=timeout_s)
        if self.calls in self.cuts:
            raise DeviceLostError("local://", "the link was cut on the way back")
        return done


def make_pass(transport, folder, name="latency", **changes):
    fields = {"run_id": "the-run", "runs": 1000, "deadline_s": 60.0, **changes}
    return Pass(transport=transport, path=str(folder / name), name=name, **fields)


def write_job(folder, **changes):
    job = {"protocol": 2, "run": "the-run", "runtime": "null", "site": [], "artifact": "x", "golden": None,
           "threads": 1, "cpus": [], "warmup": 2, "runs": 1000, "period_ns": 0, "max_s": 30,
           "watch": None, "profile": None,
           "spool": str(folder / "latency.jsonl")}  # fmt: skip
    (folder / "latency.json").write_text(json.dumps({**job, **changes}))
    return [sys.executable, "-I", str(python_program()), str(folder / "latency.json"), "latency"]


def saying(folder, *lines, then=""):
    """Return a program that writes these lines to the spool, and then does something."""
    text = b"".join(x if isinstance(x, bytes) else json.dumps(x).encode() + b"\n" for x in lines)
    (folder / "said").write_bytes(text)
    return ["sh", "-c", f'cat "$1/said" >>"$1/latency.jsonl"; {then}', "sh", str(folder)]


def gather(stream):
    """Return the events that came, and the error that ended them or None."""
    events = []
    try:
        events.extend(event for event in stream)
    except EdgeKitError as error:
        return events, error
    return events, None


def samples(events):
    return [n for event in events if event["e"] == "samples" for n in event["ns"]]


@pytest.fixture
def link(local):
    return local


# --- links that die -----------------------------------------------------------------------------------
@pytest.mark.parametrize("after", [False, True], ids=["on the way there", "on the way back"])
@pytest.mark.parametrize(
    "cuts", [{1}, {2}, {1, 2}, {3}, {4, 5, 6}, set(range(2, 60, 3)), set(range(4, 80, 2))]
)
def test_a_cut_link_loses_no_sample(tmp_path, cuts, after):
    slowly = 'for n in 1 2 3 4 5 6 7 8; do cat "$1/chunk" >>"$1/latency.jsonl"; sleep 0.03; done; '
    argv = saying(tmp_path, HELLO, then=slowly + 'cat "$1/end" >>"$1/latency.jsonl"')
    (tmp_path / "chunk").write_text(json.dumps(SAMPLES) + "\n")
    (tmp_path / "end").write_text(json.dumps({**END, "count": 24}) + "\n")
    with Cut(cuts, after=after) as transport:
        events = list(make_pass(transport, tmp_path).follow(argv, {}))
        assert transport.opened > 1
    assert events == [HELLO, *[SAMPLES] * 8, {**END, "count": 24}]


@pytest.mark.parametrize("cuts", [{1}, {3, 4}, set(range(2, 60, 3))])
def test_the_real_program_over_a_cut_link(tmp_path, cuts):
    argv = write_job(tmp_path)
    with Cut(cuts, after=True) as transport:
        events = list(make_pass(transport, tmp_path).follow(argv, {}))
    assert events == [json.loads(line) for line in (tmp_path / "latency.jsonl").read_bytes().splitlines()]
    assert len(samples(events)) == events[-1]["count"] == 1000


def test_a_link_that_stays_dead_is_given_up_after_a_few_tries(tmp_path):
    argv = write_job(tmp_path, runs=50)
    with Cut(range(3, 10_000)) as transport:
        with pytest.raises(DeviceLostError):
            list(make_pass(transport, tmp_path).follow(argv, {}))
        assert 5 <= transport.opened <= 12


def test_one_byte_at_a_time(tmp_path):
    lines = [HELLO, LOAD, SAMPLES, END]
    with FakeTransport(Device.parse("fake://"), faults=Faults(read_limit=7)) as transport:
        events = list(make_pass(transport, tmp_path).follow(saying(tmp_path, *lines), {}))
    assert events == lines


def test_a_fake_link_that_dies_by_calls_loses_nothing(tmp_path):
    argv = write_job(tmp_path, runs=200)
    with FakeTransport(Device.parse("fake://"), faults=Faults(dies_after_calls=4)) as transport:
        events = list(make_pass(transport, tmp_path).follow(argv, {}))
    assert len(samples(events)) == 200


# --- programs that do not behave ----------------------------------------------------------------------
def test_events_come_while_the_program_still_runs(tmp_path, link):
    waiting = 'while [ ! -e "$1/go" ]; do sleep 0.05; done; cat "$1/more" >>"$1/latency.jsonl"'
    argv = saying(tmp_path, HELLO, LOAD, then=waiting)
    (tmp_path / "more").write_text(json.dumps({**END, "count": 0}) + "\n")
    stream = make_pass(link, tmp_path).follow(argv, {})
    assert next(stream)["e"] == "hello"
    (tmp_path / "go").write_text("")
    assert [event["e"] for event in stream] == ["load", "end"]


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("kill -SEGV $$", "was killed by SIGSEGV"),
        ("echo no such library >&2; exit 3", "ended with 3 before its end: no such library"),
        ("true", "ended with 0 before its end"),
    ],
)
def test_a_program_that_dies_is_told_with_the_evidence(tmp_path, link, then, said):
    with pytest.raises(StableDeviceError, match=said) as caught:
        list(make_pass(link, tmp_path).follow(saying(tmp_path, HELLO, LOAD, SAMPLES, then=then), {}))
    assert str(caught.value).startswith("local://: the latency pass")
    assert str(tmp_path) in caught.value.hint


def test_what_came_before_a_death_was_told(tmp_path, link):
    argv = saying(tmp_path, HELLO, SAMPLES, then="exit 1")
    events, error = gather(make_pass(link, tmp_path).follow(argv, {}))
    assert events == [HELLO, SAMPLES]
    assert isinstance(error, StableDeviceError)


def test_a_program_that_is_not_there_is_told(tmp_path, link):
    with pytest.raises(StableDeviceError, match="ended with 127"):
        list(make_pass(link, tmp_path).follow(["/no/such/python"], {}))


def test_a_line_cut_in_the_middle_is_a_protocol_error(tmp_path, link):
    argv = saying(tmp_path, HELLO, json.dumps(SAMPLES).encode()[:-4])
    with pytest.raises(ProtocolError, match="in the middle of a line") as caught:
        list(make_pass(link, tmp_path).follow(argv, {}))
    assert '"ns": [1, ' in caught.value.evidence


@pytest.mark.parametrize(
    "lines",
    [
        [b"Traceback (most recent call last):\n"],
        [b"\x00\xff\n"],
        [LOAD],
        [{**HELLO, "run": "another-run"}],
        [{**HELLO, "pass": "memory"}],
        [HELLO, HELLO],
        [HELLO, {**SAMPLES, "ns": [1] * 1001}],
        [HELLO, SAMPLES, {**END, "count": 4}],
        [HELLO, SAMPLES, END, SAMPLES],
        [HELLO, {**SAMPLES, "ns": [-1]}],
        [HELLO, {"e": "power", "pass": "latency", "t": 1}],
    ],
    ids=str,
)
def test_foreign_lines_are_protocol_errors_and_the_program_is_killed(tmp_path, link, lines):
    argv = saying(tmp_path, *lines, then="exec sleep 600")
    with pytest.raises(ProtocolError):
        list(make_pass(link, tmp_path).follow(argv, {}))
    if lines[-1] is not SAMPLES or len(lines) < 4:
        assert_gone(tmp_path)


def still(cmdline):
    try:
        return cmdline.read_bytes()
    except OSError:
        return b""


def assert_gone(folder):
    pid = int((folder / "latency.pid").read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.02)


def test_an_endless_line_is_a_protocol_error(tmp_path, link, monkeypatch):
    monkeypatch.setattr(follow, "MAX_LINE_BYTES", 50_000)
    argv = saying(tmp_path, HELLO, b"x" * 200_000, then="exec sleep 600")
    with pytest.raises(ProtocolError):
        list(make_pass(link, tmp_path).follow(argv, {}))
    assert_gone(tmp_path)


def test_an_error_line_is_the_last_event(tmp_path, link):
    error = {"e": "error", "pass": "latency", "t": 1, "kind": "load", "message": "no"}
    assert list(make_pass(link, tmp_path).follow(saying(tmp_path, error, then="exit 1"), {})) == [error]


def test_the_deadline_kills_it(tmp_path, link):
    argv = saying(tmp_path, HELLO, then="exec sleep 600")
    with pytest.raises(DeviceTimeoutError, match=r"has not ended within 0\.5 s"):
        list(make_pass(link, tmp_path, deadline_s=0.5).follow(argv, {}))
    assert_gone(tmp_path)


def test_leaving_early_kills_it_with_its_children(tmp_path, link):
    argv = saying(tmp_path, HELLO, then='sleep 600 & echo $! >"$1/child"; wait')
    stream = make_pass(link, tmp_path).follow(argv, {})
    next(stream)
    while not (tmp_path / "child").exists():
        time.sleep(0.02)
    stream.close()
    assert_gone(tmp_path)
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "cmdline"
    until(lambda: not still(child))


def test_ctrl_c_kills_it(tmp_path, link, monkeypatch):
    argv = saying(tmp_path, HELLO, then="exec sleep 600")
    stream = make_pass(link, tmp_path).follow(argv, {})
    next(stream)

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(follow, "time", SimpleNamespace(monotonic=time.monotonic, sleep=interrupt))
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    monkeypatch.undo()
    assert_gone(tmp_path)


def test_a_kill_over_a_dead_link_keeps_the_first_error(tmp_path):
    argv = saying(tmp_path, b"nonsense\n", then="exec sleep 600")
    with Cut() as transport:
        one = make_pass(transport, tmp_path)
        stream = one.follow(argv, {})
        transport.cuts = set(range(5, 1000))
        with pytest.raises((ProtocolError, DeviceLostError)):
            list(stream)
    with open_transport(Device.parse("local://")) as transport:
        transport.kill_group(int((tmp_path / "latency.pid").read_text()))


def test_a_second_start_does_not_run_a_second_time(tmp_path, link):
    argv = saying(tmp_path, HELLO, {**END, "count": 0})
    events = list(make_pass(link, tmp_path).follow(argv, {}))
    assert len(events) == 2
    link.start(["sh", "-c", follow._RUN, str(tmp_path / "latency"), *argv], log=str(tmp_path / "log"))
    time.sleep(0.2)
    assert len((tmp_path / "latency.jsonl").read_bytes().splitlines()) == 2


def test_another_process_with_its_number_is_not_taken_for_it(tmp_path, link):
    (tmp_path / "latency.pid").write_text("1")
    assert make_pass(link, tmp_path)._state() == ("gone", 0)


def test_a_state_that_is_none_is_refused(tmp_path, link):
    (tmp_path / "latency.rc").write_text("3; echo haha\nmore")
    with pytest.raises(ProtocolError):
        make_pass(link, tmp_path)._state()


def read(path):
    """Return a file's bytes, nothing where it is gone."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_program_whose_shell_was_killed_is_ended_too(tmp_path):
    """What the kernel kills for memory may be the shell around the program, which goes on without it."""
    argv, told = write_job(tmp_path, runs=10**9, max_s=600), []

    def follow_on():
        for event in one.follow(argv, {}):
            told.append(event["e"])
            if event["e"] == "hello":
                os.kill(int((tmp_path / "latency.pid").read_text()), signal.SIGKILL)

    with open_transport(Device.parse("local://")) as transport:
        one = make_pass(transport, tmp_path, runs=10**9, deadline_s=3.0)
        with pytest.raises(DeviceTimeoutError, match="has not ended within 3 s"):
            follow_on()
    deadline = time.monotonic() + 10
    while processes.running(f"{tmp_path}/latency.json"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "samples" in told


@pytest.mark.parametrize(
    ("up", "said"), [(0, "was ended by the device's restart before its end"), (999_999_999, "never began")]
)
def test_files_that_a_power_cut_took_along_tell_of_it(tmp_path, link, monkeypatch, up, said):
    """They are not there, and a device that was up for less time than the pass ran has started again."""
    monkeypatch.setattr(follow, "_BEGIN_S", 0.0)
    monkeypatch.setattr(follow, "_SLACK_S", -1.0)
    monkeypatch.setattr(Pass, "_state", lambda _: ("absent", up))
    with pytest.raises(StableDeviceError, match=said):
        list(make_pass(link, tmp_path).follow(["true"], {}))


def test_a_pass_that_is_absent_says_how_long_the_device_is_up(tmp_path, link):
    state, up_s = make_pass(link, tmp_path)._state()
    assert state == "absent"
    assert up_s == 999_999_999 or abs(up_s - time.clock_gettime(time.CLOCK_BOOTTIME)) < 600
