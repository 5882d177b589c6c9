"""Doubts that a device's conditions raise. Pure: a run goes in, doubts come out."""

from __future__ import annotations

import itertools
import re
import statistics
from typing import TYPE_CHECKING, Any

from edgekit.bench.summary import Doubt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgekit.bench.run import Run

    Condition = Mapping[str, Any]

LOAD_LIMIT = 0.25
"""Load average a CPU that is not ours, before the run: on four cores, one is busy with other work."""
FREQUENCY_LIMIT = 0.10
"""How far the fastest cluster's clock may move within the run: latency follows it one to one."""
CLOCK_LEAST = 0.90
"""Share of its highest clock that the fastest cluster should reach during the run."""
CANARY_LIMIT = 0.10
"""How much slower a fixed piece of work may be after the run than before: AndroidX Benchmark's limit too."""
STEP_LIMIT = 0.25
"""Seconds between the wall clock and the monotonic one. Slewing moves it by 0.5 ms in a second at most; what
is read between the two readings takes less than that even on a slow device."""
MEMORY_LEAST = 0.05
"""Share of main memory that should stay free. Below, the kernel drops pages of files, the network's among
them."""
SWAP_LIMIT = 0.10
"""Share of the process's memory that went to swap during the run: it has to be read back while it is
timed."""
_NS = 1e9


def throttled(run: Run) -> Iterator[Doubt]:
    """The device said that it was held back."""
    told = [str(c["throttled"]) for c in run.conditions if c.get("throttled")]
    if told:
        hint = f"It was held back ({told[-1]}): mend its supply or its cooling."
        yield Doubt(code="throttled", value=len(told), limit=0, hint=hint)


def canary(run: Run) -> Iterator[Doubt]:
    """A fixed piece of work became slower: what throttling looks like where no flag tells of it."""
    times: dict[str, list[float]] = {}
    for condition in _timed(run):
        if condition.get("canary_ns"):
            times.setdefault(str(condition["when"]), []).append(float(condition["canary_ns"]))
    if not {"before", "after"} <= set(times):
        return
    base = min(statistics.median(times[when]) for when in ("before", "during") if when in times)
    value = statistics.median(times["after"]) / base - 1.0
    if value > CANARY_LIMIT:
        hint = "A fixed piece of work was slower after the run: the device held itself back, or was busy."
        yield Doubt(code="canary", value=value, limit=CANARY_LIMIT, hint=hint)


def frequency(run: Run) -> Iterator[Doubt]:
    """The clock moved, or stayed below its highest."""
    clocks = [c for c in map(_fastest, _timed(run)) if c is not None]
    if not clocks:
        return
    speeds = [khz for khz, _, _ in clocks]
    moved = 1.0 - min(speeds) / max(speeds)
    if moved > FREQUENCY_LIMIT:
        hint = "The clock moved within the run: fix it, or let the device cool."
        yield Doubt(code="frequency-moved", value=moved, limit=FREQUENCY_LIMIT, hint=hint)
    khz, highest, governor = max(clocks)
    highest = int(run.plan.get("frequency_khz") or highest)  # a clock that was asked for is no doubt
    if governor != "performance" and khz / highest < CLOCK_LEAST:
        hint = f"The governor {governor or '(not told)'} kept the clock below its highest."
        yield Doubt(code="governor", value=khz / highest, limit=CLOCK_LEAST, hint=hint)


def load(run: Run) -> Iterator[Doubt]:
    """The device was busy with other work before the run."""
    before = next((c for c in run.conditions if c.get("when") == "before" and "load1" in c), None)
    if before is None:
        return
    own = max((float(c.get("own_load1", 0.0)) for c in run.conditions), default=0.0)
    value = max(0.0, float(before["load1"]) - own) / max(1, len(cpu_set(str(before.get("cpus_allowed", "")))))
    if value > LOAD_LIMIT:
        hint = "The device was busy before the run: stop what runs there, or wait."
        yield Doubt(code="load", value=value, limit=LOAD_LIMIT, hint=hint)


def clock(run: Run) -> Iterator[Doubt]:
    """The wall clock was set. The samples do not hang on it, but what is aligned by it does."""
    told = [(int(c["t"]), int(c["wall_ns"])) for c in run.conditions if "t" in c and "wall_ns" in c]
    offsets = [wall - t for t, wall in sorted(told)]
    steps = [abs(after - before) / _NS for before, after in itertools.pairwise(offsets)]
    if steps and max(steps) > STEP_LIMIT:
        hint = "The wall clock was set there, or it slept, within the run: samples hold, times of day do not."
        yield Doubt(code="clock-stepped", value=max(steps), limit=STEP_LIMIT, hint=hint)


def free_memory(run: Run) -> Iterator[Doubt]:
    """There was little free memory, or the process was swapped out."""
    total = float(run.facts.get("memory_bytes") or 0)
    told = [float(c["mem_available_bytes"]) for c in run.conditions if "mem_available_bytes" in c]
    if total > 0 and told and min(told) / total < MEMORY_LEAST:
        hint = "Memory was nearly used up there: stop what runs there, or take a smaller network."
        yield Doubt(code="memory-low", value=min(told) / total, limit=MEMORY_LEAST, hint=hint)
    by_phase = {reading.phase: reading for reading in run.memory}
    if {"baseline", "peak"} <= set(by_phase):
        peak = by_phase["peak"]
        swapped = peak.swap_bytes - by_phase["baseline"].swap_bytes
        share = swapped / max(1, peak.pss_bytes + peak.swap_bytes)
        if share > SWAP_LIMIT:
            hint = "Part of the process went to swap: free memory there, or take a smaller network."
            yield Doubt(code="swapped", value=share, limit=SWAP_LIMIT, hint=hint)


def placement(run: Run) -> Iterator[Doubt]:
    """It ran with other threads, or on other cores, than it was asked to."""
    asked = run.plan.get("threads")
    if asked is None or run.runtime.name == "coreml":
        return
    hint = "The runtime honoured another number of threads than asked for."
    if run.runtime.threads != asked:
        yield Doubt(code="threads", value=run.runtime.threads, limit=asked, hint=hint)
    if {"threads_before", "threads_after"} <= set(run.placed):
        working = 1 + int(run.placed["threads_after"]) - int(run.placed["threads_before"])
        if working < asked:
            hint = "It started fewer threads than it was asked for: its times are another setting's."
            yield Doubt(code="threads-started", value=working, limit=asked, hint=hint, verdict="invalid")
    cores, allowed = str(run.plan.get("cores") or ""), str(run.placed.get("cpus_allowed") or "")
    wanted = cpu_set(cores)
    strange = cpu_set(allowed) - wanted
    if wanted and allowed and strange:
        hint = f"It was to keep to the CPUs {cores} and could run on {allowed}: another setting's times."
        yield Doubt(code="cores", value=len(strange), limit=0, hint=hint, verdict="invalid")


MOST_CPUS = 8192
"""Linux has no more on any machine; a device that names more must not fill the host's memory."""
_MOST_TEXT = 4000


def cpu_set(ranges: str) -> frozenset[int]:
    """Return the CPUs below MOST_CPUS that "0-3,6" names; none for a class of cores or nothing."""
    found: set[int] = set()
    for first, last in re.findall(r"([0-9]+)(?:-([0-9]+))?", ranges[:_MOST_TEXT]):
        found.update(range(int(first), min(int(last or first) + 1, MOST_CPUS)))
    return frozenset(found)


def _timed(run: Run) -> list[Condition]:
    """Return the conditions of the latency pass, in order."""
    return [c for c in run.conditions if c.get("pass", "latency") == "latency"]


def _fastest(condition: Condition) -> tuple[int, int, str] | None:
    """Return the fastest cluster's clock during the timed loop: (kHz, its highest kHz, its governor)."""
    if condition.get("when") != "during":
        return None
    clocks = [
        (int(c["cur_khz"]), int(c["max_khz"]), str(c.get("governor", "")))
        for c in condition.get("clusters", ())
        if c.get("cur_khz") and c.get("max_khz")
    ]
    return max(clocks, default=None)
