"""The passes: what is done in which order, and what is told of it."""

from __future__ import annotations

import base64
import gc
import os
from typing import Any

from . import mac
from .conditions import conditions, placed, threads_now
from .loop import STOP, overhead, timed
from .memory import Watch
from .runtimes import Feed, taken_by
from .spool import NOW, Spool, Trouble, blame

CONDITIONS_EVERY = 4  # chunks: every other second
MEMORY_RUNS, MAX_OUTPUT_BYTES = 20, 8 << 20


def load_and_first(job: dict[str, Any], runtime: Any, spool: Spool, loaded: Any) -> Feed:
    """Load, feed the first input, invoke once; tell both times."""
    with blame("load"):
        start = NOW()
        runtime.load(job["artifact"], job["threads"])
        spool.tell("load", ns=took(runtime, [NOW() - start])[0])
    loaded()
    feed = Feed(job["golden"], runtime.shape)
    with blame("invoke"):
        runtime.feed(feed[0])
        start = NOW()
        runtime.invoke()
        spool.tell("first", ns=took(runtime, [NOW() - start])[0])
    return feed


def took(runtime: Any, ns: list[int]) -> list[int]:
    """Return durations as the runtime itself told them, where it does; else as they were taken here."""
    return list(getattr(runtime, "own", list)(ns))


def memory_pass(job: dict[str, Any], runtime: Any, spool: Spool) -> int:
    """Tell the process's memory before the load, after it, after the first invocation, and its peak."""
    watch = Watch()
    watch.start()
    spool.tell("memory", phase="baseline", **watch.take())
    load_and_first(job, runtime, spool, lambda: spool.tell("memory", phase="loaded", **watch.take()))
    spool.tell("memory", phase="first", **watch.take())
    runs, count = min(job["runs"], MEMORY_RUNS), 0
    limit = NOW() + int(job["max_s"] * 1e9)
    while count < runs and not STOP and NOW() < limit:
        with blame("invoke"):
            runtime.invoke()
        count += 1
        watch.take()
    watch.done.set()
    spool.tell("memory", phase="peak", **watch.peak)
    return count


def latency_pass(job: dict[str, Any], runtime: Any, spool: Spool) -> int:
    """Tell load, first, warm-up and timed invocations, then the golden outputs."""
    seen: dict[str, int] = {}
    limit_ns, chunks, threads = int(job["max_s"] * 1e9), [0], threads_now()

    def give(chunk: list[int]) -> bool:
        spool.tell("samples", ns=took(runtime, chunk))
        chunks[0] += 1
        if chunks[0] % CONDITIONS_EVERY == 0:
            spool.tell("conditions", **conditions("during", seen))
        return os.path.exists(enough)

    enough = os.path.splitext(job["spool"])[0] + ".enough"
    spool.tell("conditions", **conditions("before", seen))
    feed = load_and_first(job, runtime, spool, gc.collect)
    warm: list[int] = []
    with blame("invoke"):
        timed(runtime.invoke, job["warmup"], limit_ns, lambda chunk: warm.extend(took(runtime, chunk)))
        spool.tell("warmup", ns=warm)
        if not mac.HERE:
            spool.tell("placed", **placed(threads), **taken_by(runtime))
        spool.tell("conditions", **conditions("during", seen))
        count = 0 if STOP else timed(runtime.invoke, job["runs"], limit_ns, give, job["period_ns"])
        spool.tell("conditions", **conditions("after", seen))
        spool.tell("overhead", ns=overhead())
        for index in range(0 if STOP else feed.count):
            tell_outputs(index, feed, runtime, spool)
    return count


def tell_outputs(index: int, feed: Feed, runtime: Any, spool: Spool) -> None:
    """Run one golden input and tell every output."""
    runtime.feed(feed[index])
    runtime.invoke()
    for number, tensor in enumerate(runtime.outputs()):
        if tensor.nbytes > MAX_OUTPUT_BYTES:
            raise Trouble("invoke", f"output {number} has {tensor.nbytes} bytes: over {MAX_OUTPUT_BYTES}")
        data = base64.b64encode(tensor.tobytes()).decode("ascii")
        spool.tell("output", golden=index, output=number, shape=list(tensor.shape), data=data)
