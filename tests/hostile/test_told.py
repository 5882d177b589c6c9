"""What a device answers is data: whatever it is, it is understood or refused, and nothing else happens."""

import json
import string

import pytest
from hypothesis import strategies as st

from edgekit.errors import EdgeKitError, ProtocolError
from edgekit.runners.depot import Depot
from edgekit.runners.facts import read_facts
from edgekit.runners.lease import Lease
from edgekit.runners.lines import MAX_LINE_BYTES, PROTOCOL, parse_line
from edgekit.runners.transport import CommandResult, open_transport
from edgekit.targets import Device
from edgekit.testing.hostile import VALUES, fuzzed, understood_or_refused

HELLO = {"e": "hello", "pass": "latency", "t": 1, "protocol": PROTOCOL, "run": "r", "pid": 7,
         "program": "native", "runtime": "null", "version": "1", "threads": 1}  # fmt: skip
GOOD = [
    HELLO,
    {"e": "load", "pass": "memory", "t": 2, "ns": 5},
    {"e": "samples", "pass": "latency", "t": 3, "ns": [1, 2, 3]},
    {"e": "placed", "pass": "latency", "t": 4, "threads_before": 1, "threads_after": 2,
     "cpus_allowed": "0-3"},
    {"e": "overhead", "pass": "latency", "t": 5, "ns": [20, 21]},
    {"e": "conditions", "pass": "latency", "t": 6, "when": "before", "wall_ns": 1, "canary_ns": 2,
     "temperatures": {"cpu": 51.2}, "clusters": [{"cpus": "0", "cur_khz": 1}], "throttled": None},
    {"e": "output", "pass": "latency", "t": 7, "golden": 0, "output": 0, "shape": [1], "data": "AACAPw=="},
    {"e": "memory", "pass": "memory", "t": 8, "phase": "peak", "pss_bytes": 1, "private_dirty_bytes": 1,
     "swap_bytes": 0},
    {"e": "end", "pass": "latency", "t": 9, "reason": "enough", "count": 3},
    {"e": "error", "pass": "latency", "t": 9, "kind": "load", "message": "no"},
]  # fmt: skip
FACTS = (
    b"edgekit-facts 1\nmachine\taarch64\nsystem\tLinux\nkernel\t6.1.0\nlibc\tglibc 2.36\n"
    b"python\t/usr/bin/python3\t3.11\t64\tok\ncpuinfo\tprocessor : 0\ncpuinfo\tCPU part : 0xd08\n"
    b"max_khz\t0 1800000\nmemory_kib\t8000000\nfree_kib\t9000000\nend\n"
)


# --- lines of a spool -------------------------------------------------------------------------------------
@pytest.mark.parametrize("event", GOOD, ids=lambda event: event["e"])
def test_what_the_protocol_says_is_understood(event):
    found = parse_line(json.dumps(event).encode() + b"\n")
    assert found["e"] == event["e"]
    assert set(found) == set(event)


@fuzzed(st.binary(max_size=400))
def test_bytes_are_no_line(data):
    understood_or_refused(parse_line, data)


@fuzzed(st.sampled_from(GOOD), st.data())
def test_a_field_of_another_type_is_refused_or_meant_the_same(event, data):
    key = data.draw(st.sampled_from(sorted(event)))
    value = data.draw(VALUES)
    found = understood_or_refused(parse_line, json.dumps({**event, key: value}).encode())
    if found is not None and key not in {"message", "version", "run", "program", "runtime", "cpus_allowed"}:
        assert type(found[key]) is type(event[key]) or found[key] is None


@fuzzed(st.sampled_from(GOOD), st.data())
def test_a_field_that_is_missing_or_unknown_is_told(event, data):
    key = data.draw(st.sampled_from(sorted(event)))
    less = {name: value for name, value in event.items() if name != key}
    found = understood_or_refused(parse_line, json.dumps(less).encode())
    assert found is None or event["e"] == "conditions"
    with pytest.raises(ProtocolError, match="unknown key"):
        parse_line(json.dumps({**event, "more": 1}).encode())


@fuzzed(st.sampled_from(GOOD), st.data())
def test_a_line_with_one_byte_changed_is_understood_or_refused(event, data):
    line = bytearray(json.dumps(event).encode())
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] = data.draw(st.integers(0, 255))
    understood_or_refused(parse_line, bytes(line))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"[" * 100_000, "no line of protocol"),
        (b'{"e":"hello","e":"hello"}', "says a key twice"),
        (b'{"e":"load","pass":"latency","t":1,"ns":NaN}', "holds NaN"),
        (b'{"e":"load","pass":"latency","t":1,"ns":1e999}', "is no count"),
        (b'{"e":"load","pass":"latency","t":1,"ns":-1}', "is no count"),
        (b'{"e":"load","pass":"other","t":1,"ns":1}', "is none of"),
        (json.dumps({**HELLO, "protocol": PROTOCOL - 1}).encode(), f"is not {PROTOCOL}"),
        (json.dumps({**HELLO, "version": "x" * 5000}).encode(), "is no text"),
        (
            b'{"e":"output","pass":"latency","t":1,"golden":0,"output":0,"shape":[2],"data":"AACAPw=="}',
            "bytes",
        ),
        (b'{"e":"samples","pass":"latency","t":1,"ns":[' + b"1," * (1 << 20) + b"1]}", "no list of counts"),
    ],
)
def test_what_would_hurt_is_refused_by_name(line, said):
    with pytest.raises(ProtocolError, match=said):
        parse_line(line)


def test_a_line_without_an_end_is_refused_by_its_length():
    with pytest.raises(ProtocolError, match=f"it has {MAX_LINE_BYTES + 1} bytes"):
        parse_line(b" " * (MAX_LINE_BYTES + 1))


@fuzzed(st.text(alphabet=string.printable + "\x00\x1b\x07\u202e", max_size=80))
def test_no_control_character_of_a_device_reaches_a_terminal(text):
    event = understood_or_refused(parse_line, json.dumps({**HELLO, "version": text}).encode())
    if event is not None:
        assert all(c.isprintable() or c in "\n\t" for c in event["version"])


# --- facts ------------------------------------------------------------------------------------------------
def facts_of(answer):
    return read_facts(answer, scheme="ssh", address="ssh://board")


def test_the_facts_that_are_changed_below_are_good_ones():
    assert facts_of(FACTS).libc == "glibc 2.36"


@fuzzed(st.binary(max_size=2000))
def test_bytes_are_no_facts(data):
    understood_or_refused(facts_of, data)


@fuzzed(st.data())
def test_facts_with_bytes_changed_are_understood_or_refused(data):
    answer = bytearray(FACTS)
    for _ in range(data.draw(st.integers(1, 6))):
        answer[data.draw(st.integers(0, len(answer) - 1))] = data.draw(st.integers(0, 255))
    understood_or_refused(facts_of, bytes(answer))


@fuzzed(
    st.text(max_size=300),
    st.sampled_from(["machine", "python", "libc", "cpuinfo", "max_khz", "free_kib", "exe"]),
)
def test_a_value_of_any_text_is_understood_or_refused(value, key):
    line = f"{key}\t{value}\n".encode()
    found = understood_or_refused(facts_of, FACTS.replace(b"end\n", line + b"end\n"))
    if found is not None:
        assert found.machine.isprintable()
        assert len(found.cpus) <= 4 * 1024


# --- answers to commands ----------------------------------------------------------------------------------
@pytest.fixture
def answering(tmp_path, monkeypatch):
    """This machine as a device whose commands answer what the test says."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with open_transport(Device.parse("local://")) as transport:

        def answer(stdout):
            result = CommandResult(argv=("sh",), exit_code=0, stdout=stdout, stderr=b"", duration_s=0.0)
            monkeypatch.setattr(transport, "run", lambda *_, **__: result)
            return transport

        yield answer


@fuzzed(st.binary(max_size=300) | st.text(max_size=80).map(lambda text: f"busy 1 2 {text}".encode()))
def test_an_answer_about_the_lease_is_understood_or_refused(answering, data):
    lease = Lease(answering(data))
    try:
        lease.take(10)
        told = ""
    except EdgeKitError as error:
        told = str(error)
    assert "\x1b" not in told
    assert lease.held == (data.strip() == b"taken")


@fuzzed(st.binary(max_size=300))
def test_an_answer_about_what_lies_there_is_understood_or_refused(answering, data):
    depot = Depot(answering(data))
    told = understood_or_refused(depot.listing)
    assert told is None or all(size >= 0 for _, size in told)
