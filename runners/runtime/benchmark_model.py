"""benchmark_model, TensorFlow Lite's own tool, where the user has it.

It tells no single times: a count, the first, the last, the smallest, the largest, the mean and the standard
deviation, in whole microseconds. So a run of it has no samples, and no percentile is made from it.

What it prints, by its source (tensorflow/lite/tools/benchmark/benchmark_model.cc, with Stat::OutputToStream
of tensorflow/core/util/stats_calculator.h) and by logs of its users; newer releases begin each line with
"INFO: ":

    Num threads: [4]                                      what --num_threads said
    #threads used for CPU inference: [4]                  older releases
    count=9 first=64791 curr=56295 min=54873 max=65831 avg=57758.2 std=4065        the warm-up
    count=50 first=58154 curr=53809 min=53077 max=60727 avg=55043.2 std=1562       the timed runs
    count=3 curr=7 (all same)                             where they did not differ
    Inference timings in us: Init: 18777, First inference: 64791, Warmup (avg): 57758.2, Inference (avg): 5504
    Memory footprint delta from the start of the tool (MB): init=8.97656 overall=18.7227
    Created TensorFlow Lite XNNPACK delegate for CPU.

Its memory is the process's resident set, its own included, and by its own words approximate: it is kept under
its own name, never as PSS.
"""

from __future__ import annotations

import re

from edgekit.runners.runtime.base import Runtime, Told, Tool, ToolJob

_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,9})?(?:e[+-]?[0-9]{1,2})?"
_THREADS = re.compile(r"(?:Num threads|#threads used for CPU inference): \[(-?[0-9]{1,6})\]")
_STATS = re.compile(rf"\bcount=([0-9]{{1,9}})((?: [a-z0-9]{{1,12}}={_NUMBER}){{0,16}})( \(all same\))?")
_PAIR = re.compile(rf" ([a-z0-9]{{1,12}})=({_NUMBER})")
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: ({_NUMBER}), First inference: ({_NUMBER}), "
    rf"Warmup \(avg\): ({_NUMBER}), Inference \(avg\): ({_NUMBER})"
)
_MEMORY = re.compile(
    rf"Memory footprint delta from the start of the tool \(MB\): init=({_NUMBER}) overall=({_NUMBER})"
)
_DELEGATE = re.compile(r"Created TensorFlow Lite ([A-Za-z0-9_]{1,40}) delegate")
_LOOPS = 2


def _argv(job: ToolJob) -> tuple[str, ...]:
    """Return its arguments; its warm-up begins with the first invocation."""
    paced = (f"--run_frequency={1.0 / job.period_s:g}",) if job.period_s else ()
    return (
        f"--graph={job.artifact}",
        f"--num_threads={job.threads}",
        f"--warmup_runs={job.warmup + 1}",
        "--warmup_min_secs=0",
        f"--num_runs={job.runs}",
        "--min_secs=0",
        f"--max_secs={job.max_s:g}",
        "--enable_op_profiling=false",
        *paced,
    )


def _read(output: str, result: str, job: ToolJob) -> Told:
    """Return what its output says."""
    del result
    timings, loops = _TIMINGS.search(output), [_stats(match) for match in _STATS.finditer(output)]
    if timings is None or len(loops) != _LOOPS:
        raise ValueError(f"it told {len(loops)} of two loops and {'' if timings else 'no '}timings")
    threads = [int(n) for n in _THREADS.findall(output)]
    if not threads:
        raise ValueError("it did not say how many threads it used")
    timed = loops[1]
    if not 0 < timed["count"] <= job.runs or not timed["min"] <= timed["avg"] <= timed["max"]:
        raise ValueError(f"its figures contradict each other: {timed}")
    init, first, warm, _ = (float(text) for text in timings.groups())
    figures: dict[str, str | int | float] = {f"{name}_us": value for name, value in timed.items()}
    figures["count"] = int(figures.pop("count_us"))
    memory, delegate = _MEMORY.search(output), _DELEGATE.search(output)
    if memory:
        figures.update(memory_init_mb=float(memory[1]), memory_overall_mb=float(memory[2]))
    if delegate:
        figures["delegate"] = delegate[1]
    return Told(
        threads=next((n for n in threads if n != job.threads), job.threads),
        load_ns=round(init * 1e3),
        first_ns=round(first * 1e3),
        warmup_ns=(),
        samples_ns=(),
        count=int(figures["count"]),
        figures={**figures, "warmup_count": int(loops[0]["count"]), "warmup_avg_us": warm},
    )


def _stats(match: re.Match[str]) -> dict[str, float]:
    """Return one loop's figures, in microseconds but for the count."""
    found = {"count": float(match[1]), **{name: float(text) for name, text in _PAIR.findall(match[2])}}
    if match[3]:
        found.update(dict.fromkeys(("first", "min", "max", "avg"), found.get("curr", 0.0)), std=0.0)
    missing = {"first", "curr", "min", "max", "avg", "std"} - set(found)
    if missing and found["count"]:
        raise ValueError(f"a loop lacks {', '.join(sorted(missing))}")
    return found


BENCHMARK_MODEL = Runtime(
    name="benchmark_model",
    formats=("tflite",),
    takes=("binary",),
    tool=Tool(argv=_argv, read=_read, paced=True),
)
