"""What a device answers to commands, whoever asked: taken for what it says, or refused."""

import base64
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import strategies as st

from edgekit.errors import ProtocolError
from edgekit.runners import lines
from edgekit.runners.cores import cores_of
from edgekit.runners.depot import Depot
from edgekit.runners.facts import inspect, read_facts
from edgekit.runners.follow import Pass
from edgekit.runners.lease import Lease
from edgekit.runners.lines import PROTOCOL, parse_line
from edgekit.runners.provision import _try_import
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.state import check, governor, policies, recover
from edgekit.runners.state.recover import look
from edgekit.runners.wheels import choose
from edgekit.testing.hostile import Parrot, fuzzed, spoilt, understood_or_refused
from edgekit.testing.runs import example_samples

FACTS = (
    b"edgekit-facts 1\nmachine\taarch64\nsystem\tLinux\nkernel\t6.1.0\nlibc\tglibc 2.36\n"
    b"libstdcxx\t/usr/lib/aarch64-linux-gnu/libstdc++.so.6.0.30\ncompatible\traspberrypi,4-model-b\n"
    b"python\t/usr/bin/python3\t3.11\t64\tok\ncpuinfo\tprocessor : 0\ncpuinfo\tCPU implementer : 0x41\n"
    b"cpuinfo\tCPU part : 0xd08\ncpuinfo\tprocessor : 1\nfeatures\tfp asimd\ncapacity\t0 1024\n"
    b"max_khz\t0 1800000\nmemory_kib\t8000000\nfree_kib\t9000000\ncounts\tinst_retired\nend\n"
)
POLICIES = (
    b"/sys/devices/system/cpu/cpufreq/policy0|0 1|powersave performance|performance|600000 1800000||600000|"
    b"1800000|1800000\n/sys/devices/system/cpu/cpufreq/policy4|4|schedutil|schedutil|||1|2|3\n"
    b"cooling thermal-cpufreq-0 at step 2\n"
)
STATE = [
    b"journal|same|alive|12|60|0011aabb|me@host\n", b"journal|other|dead||60|0011|me|too\n", b"none||||\n",
    b"restored|file|/sys/x|performance|\nfailed|setting|global/x|1|2\n", b"torn|file|/sys/x|a|b\n",
]  # fmt: skip
DEPOT = b"4 store/ab/model.tflite\n120 site/0f\n"
PUSH = f"part 20 .{'a' * 32}.{'b' * 16}.part {'c' * 64} -\n".encode()
HELLO = {"e": "hello", "pass": "latency", "t": 1, "protocol": PROTOCOL, "run": "run1", "pid": 7,
         "program": "native", "runtime": "null", "version": "1", "threads": 1}  # fmt: skip
EVENTS = [
    HELLO,
    {"e": "load", "pass": "latency", "t": 2, "ns": 5},
    {"e": "warmup", "pass": "latency", "t": 2, "ns": [5, 6]},
    {"e": "samples", "pass": "latency", "t": 3, "ns": list(example_samples(20))},
    {"e": "reading", "pass": "latency", "t": 4, "took_ns": 5, "raw": {"a": "1"}, "errors": {"b": "no"}},
    {"e": "op", "pass": "latency", "t": 4, "index": 0, "kind": "CONV", "name": "c", "where": "x", "ns": [1]},
    {"e": "nodes", "pass": "latency", "t": 4,
     "nodes": [{"index": 0, "kind": "C", "inputs": [1], "outputs": [2]}]},
    {"e": "output", "pass": "latency", "t": 7, "golden": 0, "output": 0, "shape": [1], "data": "AACAPw=="},
    {"e": "end", "pass": "latency", "t": 9, "reason": "done", "count": 20},
]  # fmt: skip
SPOOL = b"".join(json.dumps(event).encode() + b"\n" for event in EVENTS)


def facts_of(answer):
    return read_facts(answer, scheme="ssh", address="ssh://board")


# --- what it is -------------------------------------------------------------------------------------------
@fuzzed(spoilt([FACTS]), examples=200)
def test_facts_are_understood_or_refused(answer):
    facts = understood_or_refused(facts_of, answer)
    if facts is not None:
        told = json.dumps(facts.to_json(), allow_nan=False)
        assert len(told) < 40 * (len(answer) + 1000)
        assert facts.machine.isprintable()
        assert max((len(c.cpus) for c in facts.clusters), default=0) <= 4096
        for name in ("litert", "onnxruntime"):
            understood_or_refused(choose, RUNTIMES.get(name), facts)
        understood_or_refused(lambda: cores_of(facts.cpus, "big", clusters=facts.clusters))


def test_a_tab_in_a_word_is_a_space():
    facts = facts_of(FACTS.replace(b"machine\t", b"machine\tmy\t"))
    assert facts.machine == "my aarch64"


@pytest.mark.parametrize("key", [b"cpuinfo", b"max_khz", b"features", b"python", b"libc", b"compatible"])
def test_facts_that_go_on_for_ever_are_refused(key):
    with pytest.raises(ProtocolError, match="bytes long"):
        facts_of(FACTS.replace(b"end\n", (key + b"\t1 1\n") * 60_000 + b"end\n"))


@pytest.mark.parametrize(
    "key", [b"cpuinfo\tprocessor : 0\n", b"max_khz\t7 5\n", b"libc\tGNU C Library 2.3\n"]
)
def test_what_facts_take_is_bounded_by_what_was_said(key):
    answer = FACTS.replace(b"end\n", key * 9000 + b"end\n")
    tracemalloc.start()
    try:
        understood_or_refused(facts_of, answer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30 * len(answer)


# --- a pass's spool ---------------------------------------------------------------------------------------
class Spool(Parrot):
    """A device that says what it likes when it is asked for a spool, and of the process that it has ended."""

    def __init__(self, content, *, piece=1 << 20, state=b"ended 0\n"):
        super().__init__(state)
        self.content, self.piece = content, piece

    def check(self, argv, **_):
        if argv[2].startswith("[ -e"):
            return super().run(["true"])
        return super().check(argv)

    def read_from(self, remote, offset, *, limit):
        return self.content[offset : offset + min(limit, self.piece)]


def followed(spool, **changes):
    one = Pass(transport=spool, path="/r/runs/run1/latency", name="latency", run_id="run1",
               **{"runs": 100, "deadline_s": 5.0, **changes})  # fmt: skip
    found = []
    understood_or_refused(lambda: found.extend(one.left()))
    return found


@fuzzed(
    spoilt([SPOOL, *(SPOOL.replace(json.dumps(e).encode() + b"\n", b"") for e in EVENTS)]),
    st.integers(1, 400),
)
def test_a_spool_is_followed_or_refused(content, piece):
    found = followed(Spool(content, piece=piece))
    samples = sum(len(event["ns"]) for event in found if event["e"] == "samples")
    assert samples <= 100
    assert {event["pass"] for event in found} <= {"latency"}
    json.dumps(found, allow_nan=False)


def test_the_spool_that_is_spoilt_above_is_a_good_one():
    assert [event["e"] for event in followed(Spool(SPOOL, piece=7))] == [event["e"] for event in EVENTS]


@pytest.mark.parametrize("piece", [b"\n", b"x", b"[", b'{"e":"samples","pass":"latency","t":1,"ns":[]}\n'])
def test_a_spool_without_an_end_is_given_up(piece, monkeypatch):
    """By what it says, whatever that is: more bytes than any pass tells are read by nobody."""
    monkeypatch.setattr("edgekit.runners.follow.MAX_SPOOL_BYTES", 3 << 20)
    spool = Spool(json.dumps(HELLO).encode() + b"\n" + piece * (5 << 20))
    assert len(followed(spool)) < 200_000


def test_more_samples_than_asked_for_are_refused():
    content = SPOOL.replace(b'"count": 20', b'"count": 20')
    assert not [e for e in followed(Spool(content), runs=19) if e["e"] == "end"]


def test_a_lines_fields_are_bounded():
    long = {"index": 0, "kind": "C", "inputs": [], "outputs": []}
    for event in (
        {"e": "reading", "pass": "power", "t": 1, "took_ns": 1, "raw": {"a": "1" * 20_000}},
        {"e": "reading", "pass": "power", "t": 1, "took_ns": 1, "raw": {str(n): "1" for n in range(100)}},
        {"e": "nodes", "pass": "profile", "t": 1, "nodes": [long] * 70_000},
        {
            "e": "op",
            "pass": "profile",
            "t": 1,
            "index": 0,
            "kind": "C",
            "name": "x" * 5000,
            "where": "",
            "ns": [],
        },
        {"e": "output", "pass": "memory", "t": 1, "golden": 0, "output": 0, "shape": [1] * 9, "data": ""},
        {
            "e": "output",
            "pass": "memory",
            "t": 1,
            "golden": 0,
            "output": 0,
            "shape": [1 << 62] * 8,
            "data": "",
        },
    ):
        with pytest.raises(ProtocolError):
            parse_line(json.dumps(event).encode())


@fuzzed(st.lists(st.integers(1, 1 << 40), max_size=8), st.binary(max_size=64))
def test_a_shape_is_that_of_its_data(shape, data):
    event = {"e": "output", "pass": "memory", "t": 1, "golden": 0, "output": 0, "shape": shape,
             "data": base64.b64encode(data).decode()}  # fmt: skip
    told = understood_or_refused(parse_line, json.dumps(event).encode())
    if told is not None:
        assert lines.output_array(told).nbytes == len(data)


# --- state, clocks, lease, depot --------------------------------------------------------------------------
@fuzzed(spoilt([POLICIES]))
def test_clocks_are_understood_or_refused(answer):
    for policy in understood_or_refused(policies, Parrot(answer)) or ():
        assert all(0 <= khz < 10**16 for khz in (policy.min_khz, policy.max_khz, policy.top_khz, *policy.khz))
        understood_or_refused(governor, [policy], "performance")


@fuzzed(spoilt(STATE))
def test_what_was_left_changed_is_understood_or_refused(answer):
    left = understood_or_refused(look, Parrot(answer))
    assert left is None or left.who.isprintable()
    understood_or_refused(recover, Parrot(answer), wait=False)
    understood_or_refused(recover, Parrot(answer), force=True)


@pytest.mark.parametrize("age", ["--5", "²", "9" * 5000, "-", "1.5", "٣"])
def test_an_age_that_is_none_is_not_told(age):
    left = understood_or_refused(look, Parrot(f"journal|same|dead|{age}|{age}|00|me\n".encode()))
    assert left is None or (left.age_s is None and left.silence_s == 0)


def test_nothing_said_of_the_state_is_refused():
    for call in (look, recover):
        assert understood_or_refused(call, Parrot(b"")) is None


@fuzzed(spoilt([b"there|file|/sys/x|performance|\n", b"unwritable|file|/sys/x|a|\n"]))
def test_a_look_at_what_shall_change_is_understood_or_refused(answer):
    from edgekit.runners.state import Change

    change = Change(kind="file", name="/sys/x", value="powersave", label="the governor")
    understood_or_refused(check, Parrot(answer), [change])


@fuzzed(spoilt([b"taken\n", b"busy 12 30 me@host, process 5 [00112233 5]\n", b"busy -1 99999999 x\n"]))
def test_a_lease_is_held_or_not(answer):
    lease = Lease(Parrot(answer))
    understood_or_refused(lease.take, 10)
    assert lease.held in {True, False}


@fuzzed(spoilt([DEPOT]))
def test_what_lies_there_has_a_size(answer):
    for path, size in understood_or_refused(Depot(Parrot(answer)).listing) or ():
        assert not path.startswith("/")
        assert 0 <= size < 1 << 70


@fuzzed(spoilt([b"free 900000\nworks 1.2\n" + b"a" * 64 + b" -\n", PUSH, b"whole\n", b"absent\n"]))
def test_a_push_ends_well_or_is_refused(tmp_path, answer):
    local = tmp_path / "model.tflite"
    local.write_bytes(b"x" * 50)
    for answers in ((answer,), (b"free 900000\nworks \nabsent\n", answer, answer)):
        understood_or_refused(Depot(Parrot(*answers)).put, local)
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


@fuzzed(
    spoilt([b'{"version": "1.2.3"}\n', b'{"kind": "load", "message": "no such file"}\n']), st.integers(0, 255)
)
def test_a_trial_is_a_version_or_a_reason(answer, code):
    told = understood_or_refused(
        _try_import, Parrot((code, answer, answer)), ["/p"], RUNTIMES.get("onnxruntime"), "/site"
    )
    assert told is None or (told.isprintable() and 0 < len(told) <= 100)


def test_a_trial_that_answers_a_thousand_brackets_is_refused():
    for answer in (b"[" * 100_000, b'{"a":' * 100_000):
        for code in (0, 1):
            told = understood_or_refused(
                _try_import, Parrot((code, answer, answer)), ["/p"], RUNTIMES.get("onnxruntime"), "/site"
            )
            assert told is None


# --- the transport's own ----------------------------------------------------------------------------------
@fuzzed(spoilt([b"4711\n", b"welcome\n4711\n", b""]))
def test_a_process_id_is_one_or_is_refused(answer):
    pid = understood_or_refused(lambda: Parrot(answer).start(["true"], log="/tmp/log"))
    assert pid is None or 0 < pid < 1 << 32


@fuzzed(spoilt([b"a" * 64 + b"  -\n", b"SHA256(stdin)= " + b"B" * 64]))
def test_a_sum_is_one_or_is_refused(answer):
    found = understood_or_refused(Parrot(answer).sha256, "/x")
    assert found is None or (len(found) == 64 and int(found, 16) >= 0)


@fuzzed(st.binary(max_size=200), st.binary(max_size=200))
def test_a_failed_commands_words_bear_printing(out, err):
    understood_or_refused(Parrot((1, out, err)).check, ["false", "\x1b[2J"])


@pytest.mark.parametrize("name", ["folder", "link", "file"])
def test_a_pull_writes_its_one_file_and_nothing_else(tmp_path, name):
    """A device that sends a folder where a file was asked for, or a link to elsewhere."""
    outside = tmp_path / "outside"
    outside.write_text("mine")
    here = tmp_path / "here"
    here.mkdir()

    class Sender(Parrot):
        def _receive(self, remote, local, *, timeout_s):
            if name == "folder":
                (local / "deep").mkdir(parents=True)
                (local / "deep" / "file").write_text("x")
            elif name == "link":
                local.symlink_to(outside)
            else:
                local.write_bytes(b"other bytes")

    understood_or_refused(Sender(b"a" * 64).pull, "/x", here / "back")
    assert list(here.iterdir()) == []
    assert outside.read_text() == "mine"


@fuzzed(spoilt([FACTS, b"", b"edgekit-facts 1\nend\n"]))
def test_inspecting_is_understanding_or_refusing(answer):
    understood_or_refused(inspect, Parrot(answer))


def test_the_folder_of_these_tests_is_left_alone():
    assert {path.suffix for path in Path(__file__).parent.iterdir() if path.is_file()} == {".py"}
