"""onnxruntime_perf_test, ONNX Runtime's own tool, where the user has it.

It tells every timed run, in seconds, in its result file. Its rows, by its source (onnxruntime/test/perftest,
PerformanceResult::DumpToFile), and since October 2025 with the time of submission before the whole one:

    name,0.0123457,158171136,68,0           name, seconds, peak working set, CPU usage, number from 0 on
    name,0.0000421,0.0123457,158171136,68,0

and its output, as printed by PerformanceRunner::Run and OnnxRuntimeTestSession; early releases left out
the space behind the colon:

    Setting intra_op_num_threads to 4
    Session creation time cost: 0.133189 s
    First inference time cost: 84 ms
    Total inference requests: 200
    Average inference time cost: 83.8059 ms
    Avg CPU usage: 68 %
    Peak working set size: 158171136 bytes

It makes one invocation before the timed ones and tells it in whole milliseconds: too coarse for a time, so
that it stays a figure of the tool's. More warm-up can't be asked of it: so many timed runs more are asked
for, and the first ones counted as warm-up. Its inputs are random numbers (-I -S 1). What it calls the peak
working set is ru_maxrss: it is kept under its own name, never as PSS.
"""

from __future__ import annotations

import math
import re

from edgekit.runners.runtime.base import Runtime, Told, Tool, ToolJob

_ENDLESS = 1_000_000
"""As many runs as this stand for "until the time is over", which it can be told instead."""
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,12})?(?:e[+-]?[0-9]{1,2})?"
_ROW = re.compile(
    rf"[^\n]{{0,300}}?,(?:{_NUMBER},)?({_NUMBER}),([0-9]{{1,18}}),(-?[0-9]{{1,6}}),([0-9]{{1,9}})"
)
_THREADS = re.compile(r"^Setting intra_op_num_threads to ([0-9]{1,6})\s*$", re.MULTILINE)
_FIGURES = {
    "session_creation_s": re.compile(rf"^Session creation time cost: ?({_NUMBER}) s", re.MULTILINE),
    "first_inference_ms": re.compile(rf"^First inference time cost: ?({_NUMBER}) ms", re.MULTILINE),
    "requests": re.compile(r"^Total inference requests: ?([0-9]{1,9})\s*$", re.MULTILINE),
    "average_ms": re.compile(rf"^Average inference time cost: ?({_NUMBER}) ms", re.MULTILINE),
    "cpu_percent": re.compile(r"^Avg CPU usage: ?(-?[0-9]{1,6}) %", re.MULTILINE),
    "peak_working_set_bytes": re.compile(r"^Peak working set size: ?([0-9]{1,18}) bytes", re.MULTILINE),
}
_AGREE = 0.01
"""How far its own average may be from that of its rows, which have six digits."""


def _argv(job: ToolJob) -> tuple[str, ...]:
    many = job.runs >= _ENDLESS
    long = ("-m", "duration", "-t", str(math.ceil(job.max_s))) if many else ("-m", "times")
    times = () if many else ("-r", str(job.warmup + job.runs))
    return ("-I", "-S", "1", *long, *times, "-x", str(job.threads), "-y", "1", job.artifact, job.result)


def _read(output: str, result: str, job: ToolJob) -> Told:
    """Return what its output and its result file say."""
    threads = _THREADS.findall(output)
    if not threads:
        raise ValueError("it did not say how many threads it used")
    found = {name: pattern.search(output) for name, pattern in _FIGURES.items()}
    figures = {name: float(match[1]) for name, match in found.items() if match}
    seconds = _rows(result)
    if not seconds or figures.get("requests", len(seconds)) != len(seconds):
        raise ValueError(f"it told {len(seconds)} times of {figures.get('requests', 0):g} runs")
    average = figures.get("average_ms")
    mean_ms = 1e3 * math.fsum(seconds) / len(seconds)
    if average is not None and abs(average - mean_ms) > _AGREE * mean_ms:
        raise ValueError(f"its average is {average:g} ms, and that of its times {mean_ms:g} ms")
    ns = tuple(round(1e9 * value) for value in seconds)
    if len(ns) <= job.warmup or len(ns) > job.warmup + job.runs:
        raise ValueError(f"it told {len(ns)} times, {job.warmup} + {job.runs} were asked for")
    created = figures.get("session_creation_s")
    return Told(
        threads=next((int(n) for n in threads if int(n) != job.threads), job.threads),
        load_ns=None if created is None else round(1e9 * created),
        first_ns=None,
        warmup_ns=ns[: job.warmup],
        samples_ns=ns[job.warmup :],
        count=len(ns) - job.warmup,
        figures=figures,
    )


def _rows(result: str) -> list[float]:
    """Return the seconds of all rows, which are numbered; its statistics may follow after an empty line."""
    told = result.split("\n\n", 1)[0].splitlines()
    seconds = []
    for number, line in enumerate(told):
        match = _ROW.fullmatch(line)
        if match is None or int(match[4]) != number:
            raise ValueError(f"row {number} of its result is {line[:60]!r}")
        seconds.append(float(match[1]))
    return seconds


ONNXRUNTIME_PERF_TEST = Runtime(
    name="onnxruntime_perf_test",
    formats=("onnx",),
    takes=("binary",),
    tool=Tool(argv=_argv, read=_read),
)
