"""What the device tells is data: every line is one of the protocol's, or refused."""

import base64
import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import ProtocolError
from edgekit.runners.lines import MAX_LINE_BYTES, output_array, parse_line

HELLO = {"e": "hello", "pass": "latency", "t": 1, "protocol": 2, "run": "r", "pid": 7, "program": "python",
         "runtime": "null", "version": "3.11.7", "threads": 1}  # fmt: skip
DATA = base64.b64encode(np.arange(6, dtype="<f4").tobytes()).decode()
GOOD = [
    HELLO,
    {"e": "conditions", "pass": "latency", "t": 1, "when": "before"},
    {"e": "conditions", "pass": "latency", "t": 1, "when": "during", "load1": 0.5, "mem_available_bytes": 1,
     "cpus_allowed": "0-3",
     "clusters": [{"cpus": "0-3", "governor": "performance", "cur_khz": 1, "max_khz": 2}],
     "temperatures": {"cpu-thermal": 51.2},
     "trips": {"cpu-thermal": {"passive": 85.0}}, "throttled": None},
    {"e": "memory", "pass": "memory", "t": 1, "phase": "peak", "pss_bytes": 3, "private_dirty_bytes": 2,
     "swap_bytes": 0, "file_bytes": 1},
    {"e": "memory", "pass": "memory", "t": 1, "phase": "loaded", "pss_bytes": 3, "private_dirty_bytes": 2,
     "swap_bytes": 0},
    {"e": "load", "pass": "latency", "t": 1, "ns": 5},
    {"e": "first", "pass": "latency", "t": 1, "ns": 5},
    {"e": "warmup", "pass": "latency", "t": 1, "ns": []},
    {"e": "samples", "pass": "latency", "t": 1, "ns": [1, 2, 3]},
    {"e": "output", "pass": "latency", "t": 1, "golden": 0, "output": 0, "shape": [1, 6], "data": DATA},
    {"e": "end", "pass": "latency", "t": 1, "reason": "limit", "count": 3},
    {"e": "error", "pass": "latency", "t": 1, "kind": "load", "message": "no"},
]  # fmt: skip
EVERY_EVENT = {
    "hello",
    "conditions",
    "memory",
    "load",
    "first",
    "warmup",
    "samples",
    "output",
    "end",
    "error",
}


def line(example, /, **changes):
    return json.dumps({**example, **changes}).encode() + b"\n"


def test_the_examples_are_of_every_event():
    assert {example["e"] for example in GOOD} == EVERY_EVENT


@pytest.mark.parametrize("example", GOOD, ids=lambda e: e["e"])
def test_a_line_of_the_protocol_comes_back(example):
    assert parse_line(line(example)) == example


@pytest.mark.parametrize("example", GOOD, ids=lambda e: e["e"])
def test_an_unknown_key_is_refused(example):
    with pytest.raises(ProtocolError, match="unknown key 'extra'"):
        parse_line(line(example, extra=1))


@pytest.mark.parametrize(
    ("example", "key"), [(e, k) for e in GOOD if e["e"] != "conditions" for k in e if k != "file_bytes"]
)
def test_a_missing_key_is_refused(example, key):
    with pytest.raises(ProtocolError):
        parse_line(line({k: v for k, v in example.items() if k != key}))


@pytest.mark.parametrize("example", GOOD, ids=lambda e: e["e"])
@given(junk=st.sampled_from([True, -1, 1.5, "x" * 5000, {}, [[]], float("nan"), 10**30, [-1], ["a"], [True]]))
def test_a_field_of_another_type_is_refused(example, junk):
    for key in set(example) - {"load1", "temperatures", "trips"}:
        with pytest.raises(ProtocolError):
            parse_line(line(example, **{key: junk}))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\n", b"{", b"null", b"[]", b'"e"', b"nonsense", b"\xff\xfe{}", b'{"e": "hello"}',
        b"[" * 100_000,
        b'{"e": "load", "pass": "latency", "t": 1, "ns": NaN}',
        b'{"e": "load", "pass": "latency", "t": 1, "ns": 1e400}',
        b'{"e": "load", "e": "first", "pass": "latency", "t": 1, "ns": 1}', b"1" * 10_000, line(GOOD[5])[:-5],
        b'{"e": ["load"]}', b'{"e": {}}', line(GOOD[5], e="launch"), '{"e": "load"}'.encode("utf-16"),
    ],
)  # fmt: skip
def test_what_is_no_line_is_refused_with_its_tail(text):
    with pytest.raises(ProtocolError) as caught:
        parse_line(text)
    assert caught.value.evidence == "".join(
        c if c.isprintable() else "?" for c in text[-200:].decode("utf-8", "replace")
    )


def test_a_line_beyond_all_bounds_is_refused():
    with pytest.raises(ProtocolError, match="bytes"):
        parse_line(line(GOOD[-1], message="x" * MAX_LINE_BYTES))


def test_outputs_have_the_bytes_of_their_shape():
    with pytest.raises(ProtocolError, match="24 bytes"):
        parse_line(line(GOOD[9], shape=[1, 7]))
    with pytest.raises(ProtocolError):
        parse_line(line(GOOD[9], data="AAA*"))
    with pytest.raises(ProtocolError):
        parse_line(line(GOOD[9], shape=[1 << 40, 1 << 40]))
    np.testing.assert_array_equal(output_array(parse_line(line(GOOD[9]))), np.arange(6.0).reshape(1, 6))


def test_a_message_can_not_steer_a_terminal():
    event = parse_line(line(GOOD[-1], message="a\x1b[2Jb\u202ec\nd"))
    assert event["message"] == "a?[2Jb?c\nd"


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_else(data):
    with contextlib.suppress(ProtocolError):
        assert parse_line(data)["e"] in EVERY_EVENT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(GOOD), st.dictionaries(st.sampled_from(sorted({k for e in GOOD for k in e})), JSON))
def test_no_field_does_anything_else(example, changes):
    try:
        event = parse_line(line(example, **changes))
    except ProtocolError:
        return
    assert event["e"] in EVERY_EVENT
    assert json.loads(json.dumps(event, allow_nan=False)) == event


PLACED = {
    "e": "placed",
    "pass": "latency",
    "t": 1,
    "threads_before": 1,
    "threads_after": 2,
    "cpus_allowed": "0",
}
NODE = {"index": 0, "kind": "CONV_2D", "inputs": [0], "outputs": [1]}


@pytest.mark.parametrize(
    ("told", "fits"),
    [
        ({"nodes": [NODE]}, True),
        ({"providers": ["CPUExecutionProvider"]}, True),
        ({"delegated": {"nodes": 3, "taken": 2, "left": [25]}}, True),
        ({"nodes": [{**NODE, "where": "XNNPACK"}]}, False),
        ({"providers": [1]}, False),
        ({"delegated": {"nodes": 3, "taken": -1, "left": []}}, False),
        ({"delegated": {"nodes": 3}}, False),
    ],
)
def test_who_executes_the_network_may_be_told(told, fits):
    if fits:
        assert parse_line(line(PLACED, **told)) == {**PLACED, **told}
    else:
        with pytest.raises(ProtocolError):
            parse_line(line(PLACED, **told))
