"""The profile pass: how long each operator takes, by the runtime's own profiler, and where it ran."""

from __future__ import annotations

import contextlib
import gc
import glob
import json
import os
from typing import Any

from .files import text_of
from .litert_profiler import Profiled, Unavailable
from .loop import STOP, timed
from .passes import load_and_first
from .runtimes import nodes_of, stored
from .spool import Spool, blame

WARMUP_RUNS, PROFILE_RUNS, MAX_PROFILE_RUNS = 5, 40, 200
BETWEEN_LOOKS = 8  # invocations back to back: looking cools the caches
US = 1000


def profile_pass(job: dict[str, Any], runtime: Any, spool: Spool) -> int:
    """Tell the nodes, the plain invocations, and what the profiler says of each operator."""
    feed = load_and_first(job, runtime, spool, gc.collect)
    asked = (job["profile"] or {}).get("runs", PROFILE_RUNS)
    runs, seen = min(max(1, asked), MAX_PROFILE_RUNS), Cores()
    plain: list[int] = []
    limit_ns = int(job["max_s"] * 1e9)
    with blame("invoke"):
        timed(runtime.invoke, WARMUP_RUNS, limit_ns, noted)
        timed(runtime.invoke, runs, limit_ns, plain.extend)
        spool.tell("nodes", nodes=nodes_of(runtime))
        try:
            ops, profiled = PROFILERS.get(job["runtime"], no_profiler)(job, runtime, feed, len(plain), seen)
        except Unavailable as error:
            spool.tell("profiler", plain_ns=plain, unavailable=str(error))
            return len(plain)
    spool.tell("profiler", plain_ns=plain, profiled_ns=profiled, resolution_ns=US)
    spool.tell("cores", cpus=seen.told())
    for op in ops:
        spool.tell("op", **op)
    return len(plain)


def noted(_chunk: list[int]) -> None:
    """Take note of nothing: these are warm-ups."""


def no_profiler(*_unused: Any) -> Any:
    """Say that there is none."""
    raise Unavailable("this runtime has no profiler")


def litert_ops(job: dict[str, Any], runtime: Any, feed: Any, runs: int, seen: Cores) -> Any:
    """Return what LiteRT's profiler tells of every operator, its delegate's own operators included."""
    if not runtime.version.startswith(("2.3.", "2.4.")):
        raise Unavailable(f"LiteRT {runtime.version} does not let its profiler be reached")
    net = Profiled(job["artifact"], job["threads"])
    net.feed(stored(feed[0], runtime.dtype, *runtime.spec["quantization"]))
    timed(net.invoke, WARMUP_RUNS, int(job["max_s"] * 1e9), noted)
    net.begin()
    profiled = watched(net.invoke, runs, job, seen)
    return by_place(net.events(), len(profiled)), profiled


def by_place(events: list[Any], runs: int) -> list[dict[str, Any]]:
    """Return the operators of alike invocations; a delegate's numbers begin anew in each partition."""
    size = len(events) // max(1, runs)
    once = [event[:3] for event in events[:size]]
    if not size or [event[:3] for event in events] != once * runs:
        raise Unavailable("the profiler's invocations are not alike")
    return [
        {"where": where, "kind": kind, "index": index, "name": "", "ns": [e[3] for e in events[place::size]]}
        for place, (where, kind, index) in enumerate(once)
    ]


def onnxruntime_ops(job: dict[str, Any], runtime: Any, feed: Any, runs: int, seen: Cores) -> Any:
    """Return what ONNX Runtime's profiler tells of every node that it executed."""
    plain = runtime.options

    def options(threads: int) -> Any:
        told = plain(threads)
        told.enable_profiling, told.profile_file_prefix = True, os.path.splitext(job["spool"])[0]
        return told

    runtime.options = options
    runtime.load(job["artifact"], job["threads"])
    runtime.feed(feed[0])
    timed(runtime.invoke, WARMUP_RUNS, int(job["max_s"] * 1e9), noted)
    profiled = watched(runtime.invoke, runs, job, seen)
    path = runtime.net.end_profiling()
    with open(path, encoding="utf-8") as file:
        events = json.load(file)
    os.unlink(path)
    return ort_nodes(events, len(profiled)), profiled


def ort_nodes(events: list[dict[str, Any]], runs: int) -> list[dict[str, Any]]:
    """Return the nodes of a trace in the order in which they ran, with the last `runs` durations of each."""
    found: dict[Any, dict[str, Any]] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        told, name = event["args"], event["name"][: -len("_kernel_time")]
        op = found.setdefault((told["node_index"], name), {"name": name, "ns": []})
        op.update(index=int(told["node_index"]), kind=told["op_name"], where=told["provider"])
        op.update(inputs=types_of(told["input_type_shape"]), outputs=types_of(told["output_type_shape"]))
        op["ns"].append(event["dur"] * US)
    return [dict(op, ns=op["ns"][-runs:]) for op in found.values()]


def types_of(told: Any) -> list[str]:
    """Return the types that a trace tells: [{"uint8": [1, 3]}] -> ["uint8"]."""
    return [next(iter(one), "") for one in told] if isinstance(told, list) else []


PROFILERS: dict[str, Any] = {"litert": litert_ops, "onnxruntime": onnxruntime_ops}


def watched(invoke: Any, runs: int, job: dict[str, Any], seen: Cores) -> list[int]:
    """Invoke until stopped and return the durations; now and then see on which CPUs the threads are."""
    told: list[int] = []
    seen.begin()
    while len(told) < runs and not STOP:
        timed(invoke, min(BETWEEN_LOOKS, runs - len(told)), int(job["max_s"] * 1e9), told.extend)
        seen.look()
    return told


class Cores:
    """On which CPUs this process's threads were seen, those that worked in between alone."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, int]] = {}
        self.before: dict[str, int] = {}

    def begin(self) -> None:
        """Remember how much every thread has worked so far."""
        self.before = {task: ticks for task, ticks, _ in tasks()}

    def look(self) -> None:
        """See where every thread was last."""
        for task, _, cpu in tasks():
            counts = self.seen.setdefault(task, {})
            counts[cpu] = counts.get(cpu, 0) + 1

    def told(self) -> dict[str, int]:
        """Return how often a working thread was seen on each CPU."""
        worked = {task for task, ticks, _ in tasks() if ticks > self.before.get(task, 0)}
        sums: dict[str, int] = {}
        for task in worked or self.seen:
            for cpu, count in self.seen.get(task, {}).items():
                sums[cpu] = sums.get(cpu, 0) + count
        return sums


def tasks() -> list[tuple[str, int, str]]:
    """Return (thread, ticks that it worked, its last CPU) of each thread."""
    found = []
    for path in glob.glob("/proc/self/task/*/stat"):
        words = (text_of(path) or "").rpartition(")")[2].split()
        with contextlib.suppress(IndexError, ValueError):
            found.append((path.split("/")[4], int(words[11]) + int(words[12]), words[36]))
    return found
