"""A job of any kind: both programs refuse it or run it, and neither dies of it."""

import json
import subprocess

import pytest
from hypothesis import strategies as st

from edgekit.testing.hostile import VALUES, fuzzed


def run(either, content):
    path = either.folder / "job.json"
    path.write_bytes(content)
    argv = [*either.command(), str(path), "latency"]
    done = subprocess.run(argv, capture_output=True, check=False, timeout=60)
    assert done.returncode in {0, 1, 2}, (done.returncode, content, done.stderr[-500:])
    return done


@fuzzed(st.data(), examples=30)
def test_a_job_with_any_value_is_run_or_refused(either, data):
    key = data.draw(
        st.sampled_from(sorted(set(either.job) - {"spool", "runs", "max_s", "warmup", "period_ns"}))
    )
    job = {**either.job, "runs": 3, "warmup": 0, key: data.draw(VALUES)}
    run(either, json.dumps(job).encode())


@fuzzed(st.data(), examples=30)
def test_a_job_with_a_byte_changed_is_run_or_refused(either, data):
    content = bytearray(json.dumps({**either.job, "runs": 3, "warmup": 0, "max_s": 2}).encode())
    start = content.index(b'"run"')  # before it lies the protocol, after it what follows
    end = content.index(b'"runs"')
    content[data.draw(st.integers(start, end - 1))] = data.draw(st.integers(0, 255))
    run(either, bytes(content))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"{}", b'"text', b'{"a"', b'{"a":', b'{"a":1', b"[" * 10000, b"{" * 10000,
        b'{"protocol":2,}', b"\x00", b"\xff\xfe", b'{"a":"\\u12"}', b'{"a":"\\ud800"}', b"1e99999", b"-",
        b'{"a":1}{"b":2}',
    ],
)  # fmt: skip
def test_what_is_no_job_ends_with_two(either, content):
    done = run(either, content)
    assert done.returncode == 2
    assert json.loads(done.stderr)["kind"] == "job"


def test_texts_of_any_language_come_back_as_they_were(either):
    names = ["plain", "größer", "日本語", "emoji 🙂", 'quote " and \\ backslash', "tab\tin it"]
    for name in names:
        code, events = either.run(run=name, runs=1, warmup=0)
        assert code == 0
        assert events[0]["run"] == name
        either.folder.joinpath("spool.jsonl").unlink()
