"""Doubts: reasons to mistrust a run, each with its number, its limit and what to do about it.

Pure: a run goes in, doubts come out. What they add up to is the verdict: one invalidating doubt makes a
run invalid, any other makes it suspect, none leaves it valid.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from edgekit.bench import stats
from edgekit.bench.power import doubts_of_power, figures
from edgekit.bench.summary import Doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgekit.bench.run import Run

SPREAD_LIMIT = 0.05
"""MAD / median. MLPerf Mobile asks that results repeat within 5 %; a run that scatters more can't show it."""
DRIFT_LIMIT = 0.05
"""Last third against first third: the same 5 %, and only where the medians' intervals are apart."""
LOAD_LIMIT = 0.25
"""Load average a CPU that is not ours, before the run: on four cores, one is busy with other work."""
OUTLIER_LIMIT = 0.05
"""Share of far-out samples. From 5 % on the P95 is itself one of them, and says nothing of the network."""
FREQUENCY_LIMIT = 0.10
"""How far the fastest cluster's clock may move within the run: latency follows it one to one."""
CLOCK_LEAST = 0.90
"""Share of its highest clock that the fastest cluster should reach during the run."""
DONE = ("done", "limit")
"""What `Run.ended` says of a run that came to its end."""

_NULL = "null"
"""The runtime that computes nothing; of it only that is doubted."""
_FAKE = "fake"
"""What a fake device says that it is emulated by."""
_ICOUNT = "qemu-icount"
"""What an emulated device says whose clock counts instructions."""


def doubts_of(run: Run) -> tuple[Doubt, ...]:
    """Return all doubts about a run, the invalidating ones first."""
    found = list(itertools.chain.from_iterable(check(run) for check in CHECKS))
    return tuple(sorted(found, key=lambda doubt: doubt.verdict != "invalid"))


def verdict_of(doubts: Sequence[Doubt]) -> str:
    """Return what doubts add up to: "valid", "suspect" or "invalid"."""
    verdicts = {doubt.verdict for doubt in doubts}
    return "invalid" if "invalid" in verdicts else "suspect" if verdicts else "valid"


def labels_of(run: Run) -> tuple[str, ...]:
    """Return what a run must never be shown without."""
    labels = []
    emulated = run.facts.get("emulated")
    if emulated and emulated != _FAKE:
        labels.append(f"{'instruction time' if emulated == _ICOUNT else 'emulated'}: {emulated}")
    if emulated == _FAKE or run.device.startswith("fake://"):
        labels.append("fake device")
    if run.runtime.name == _NULL:
        labels.append("null runtime: nothing was computed")
    return tuple(labels)


def _outputs(run: Run) -> Iterator[Doubt]:
    parity = run.parity
    if run.runtime.name == _NULL:
        return
    if parity is None:
        yield Doubt(
            code="unproven",
            value=0,
            limit=1,
            hint="No golden input ran, so nothing proves the outputs: bench the artifact from its bundle.",
        )
    elif parity.max_abs_error is None:
        hint = f"The outputs can't be compared ({parity.tolerance}): don't use this artifact there."
        yield Doubt(code="outputs-unusable", value=1, limit=0, hint=hint, verdict="invalid")
    elif not parity.ok:
        value, limit = parity.max_abs_error, parity.limit
        if value <= limit and parity.rms_error is not None and parity.rms_limit is not None:
            value, limit = parity.rms_error, parity.rms_limit
        yield Doubt(
            code="outputs-wrong",
            value=value,
            limit=limit,
            hint=f"The outputs are not the source's ({parity.tolerance}): don't use this artifact there.",
            verdict="invalid",
        )
    elif parity.blind:
        yield Doubt(
            code="blind",
            value=parity.limit,
            limit=parity.limit,
            hint="Outputs that ignore the input would pass too: calibrate the conversion with real images.",
        )


def _broken_off(run: Run) -> Iterator[Doubt]:
    if run.ended not in DONE:
        least, count = stats.least_samples(0.5), len(run.samples_ns)
        yield Doubt(
            code="broken-off",
            value=count,
            limit=run.plan.get("runs", least),
            hint=f"It ended early ({run.ended}): run it again.",
            verdict="invalid" if count < least else "suspect",
        )


def _few_samples(run: Run) -> Iterator[Doubt]:
    least, count = stats.least_samples(0.95), len(run.samples_ns)
    if count < least:
        yield Doubt(
            code="few-samples",
            value=count,
            limit=least,
            hint=f"P95 is withheld below {least} samples: raise --runs or the time limit.",
            verdict="invalid" if count == 0 else "suspect",
        )


def _spread(run: Run) -> Iterator[Doubt]:
    value = stats.spread(run.samples_ns)
    if value > SPREAD_LIMIT:
        hint = "The samples scatter: stop other work there, let it cool, fix the clock."
        yield Doubt(code="spread", value=value, limit=SPREAD_LIMIT, hint=hint)


def _drift(run: Run) -> Iterator[Doubt]:
    found = stats.drift(run.samples_ns)
    if found and found.clear and abs(found.ratio) > DRIFT_LIMIT:
        slower = "It got slower towards the end: let it cool, or find what else ran."
        hint = slower if found.ratio > 0 else "It was still warming up: raise --warmup."
        yield Doubt(code="drift", value=found.ratio, limit=DRIFT_LIMIT, hint=hint)


def _outliers(run: Run) -> Iterator[Doubt]:
    share = stats.outlier_share(run.samples_ns)
    if share > OUTLIER_LIMIT:
        hint = "Many samples are far out: something else ran there now and then."
        yield Doubt(code="outliers", value=share, limit=OUTLIER_LIMIT, hint=hint)


def _load(run: Run) -> Iterator[Doubt]:
    before = next((c for c in run.conditions if c.get("when") == "before" and "load1" in c), None)
    if before is None:
        return
    own = max((float(c.get("own_load1", 0.0)) for c in run.conditions), default=0.0)
    value = max(0.0, float(before["load1"]) - own) / _cpus(str(before.get("cpus_allowed", "")))
    if value > LOAD_LIMIT:
        hint = "The device was busy before the run: stop what runs there, or wait."
        yield Doubt(code="load", value=value, limit=LOAD_LIMIT, hint=hint)


def _throttled(run: Run) -> Iterator[Doubt]:
    told = [str(c["throttled"]) for c in run.conditions if c.get("throttled")]
    if told:
        hint = f"It was held back ({told[-1]}): mend its supply or its cooling."
        yield Doubt(code="throttled", value=len(told), limit=0, hint=hint)


def _frequency(run: Run) -> Iterator[Doubt]:
    clocks = [c for c in map(_fastest, run.conditions) if c is not None]
    if not clocks:
        return
    speeds = [khz for khz, _, _ in clocks]
    moved = 1.0 - min(speeds) / max(speeds)
    if moved > FREQUENCY_LIMIT:
        hint = "The clock moved within the run: fix it, or let the device cool."
        yield Doubt(code="frequency-moved", value=moved, limit=FREQUENCY_LIMIT, hint=hint)
    khz, highest, governor = max(clocks)
    if governor != "performance" and khz / highest < CLOCK_LEAST:
        hint = f"The governor {governor or '(not told)'} kept the clock below its highest."
        yield Doubt(code="governor", value=khz / highest, limit=CLOCK_LEAST, hint=hint)


def _not_hardware(run: Run) -> Iterator[Doubt]:
    emulated = run.facts.get("emulated")
    if emulated and emulated != _FAKE:
        times = "these times count instructions, and" if emulated == _ICOUNT else "these times"
        hint = f"Emulated by {emulated}: {times} say nothing of a device."
        yield Doubt(code="emulated", value=1, limit=0, hint=hint)
    if emulated == _FAKE or run.device.startswith("fake://") or run.runtime.name == _NULL:
        hint = "Nothing was computed: bench a real device with a real runtime."
        yield Doubt(code="fake", value=1, limit=0, hint=hint)


def _memory(run: Run) -> Iterator[Doubt]:
    phases = {reading.phase for reading in run.memory} & {"baseline", "peak"}
    if "memory" in run.plan.get("passes", ("memory",)) and not {"baseline", "peak"} <= phases:
        hint = "Memory could not be read there (smaps_rollup), so its figures are missing."
        yield Doubt(code="memory-missing", value=len(phases), limit=2, hint=hint)


def _threads(run: Run) -> Iterator[Doubt]:
    asked = run.plan.get("threads")
    if asked is not None and run.runtime.threads != asked:
        hint = "The runtime honoured another number of threads than asked for."
        yield Doubt(code="threads", value=run.runtime.threads, limit=asked, hint=hint)


def _power(run: Run) -> Iterator[Doubt]:
    yield from doubts_of_power(figures(run.power))


CHECKS: tuple[Callable[[Run], Iterator[Doubt]], ...] = (
    _outputs,
    _broken_off,
    _few_samples,
    _not_hardware,
    _throttled,
    _frequency,
    _load,
    _drift,
    _spread,
    _outliers,
    _threads,
    _memory,
    _power,
)
"""Every check, in the order in which their doubts are shown."""


def _cpus(ranges: str) -> int:
    """Return how many CPUs "0-3,6" names; 1 when it names none."""
    count = 0
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", ranges):
        count += int(last or first) - int(first) + 1
    return max(1, count)


def _fastest(condition: Any) -> tuple[int, int, str] | None:
    """Return the fastest cluster's clock during the timed loop: (kHz, its highest kHz, its governor)."""
    if condition.get("when") != "during" or condition.get("pass") == "memory":
        return None
    clocks = [
        (int(c["cur_khz"]), int(c["max_khz"]), str(c.get("governor", "")))
        for c in condition.get("clusters", ())
        if c.get("cur_khz") and c.get("max_khz")
    ]
    return max(clocks, default=None)
