"""Doubts: reasons to mistrust a run, each with its number, its limit and what to do about it.

Pure: a run goes in, doubts come out. What they add up to is the verdict: one invalidating doubt makes a
run invalid, any other makes it suspect, none leaves it valid. Those of the samples are in `checks_samples`,
those of the device's conditions in `checks_device`; here is what concerns the run as a whole.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from edgekit.bench import checks_device, checks_heat, checks_samples, checks_state, profile
from edgekit.bench.binomial import least_samples
from edgekit.bench.power import doubts_of_power, figures
from edgekit.bench.summary import Doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgekit.bench.run import Run

DONE = ("done", "limit", "enough")
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
        way = "bench with EdgeKit's own runtime too" if run.told else "bench the artifact from its bundle"
        hint = f"No golden input ran, so nothing proves the outputs: {way}."
        yield Doubt(code="unproven", value=0, limit=1, hint=hint)
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
        least, count = least_samples(0.5), len(run.samples_ns)
        yield Doubt(
            code="broken-off",
            value=count,
            limit=run.plan.get("runs", least),
            hint=f"It ended early ({run.ended}): run it again.",
            verdict="invalid" if count < least else "suspect",
        )


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
    if run.told:
        return
    phases = {reading.phase for reading in run.memory} & {"baseline", "peak"}
    if "memory" in run.plan.get("passes", ("memory",)) and not {"baseline", "peak"} <= phases:
        hint = "Memory could not be read there (smaps_rollup), so its figures are missing."
        yield Doubt(code="memory-missing", value=len(phases), limit=2, hint=hint)


def _power(run: Run) -> Iterator[Doubt]:
    yield from doubts_of_power(figures(run.power))


CHECKS: tuple[Callable[[Run], Iterator[Doubt]], ...] = (
    _outputs,
    _broken_off,
    profile.fallback,
    checks_device.placement,
    checks_samples.few_samples,
    _not_hardware,
    checks_state.state_lost,
    checks_state.governed,
    checks_state.fixed_clock,
    checks_state.hidden_throttling,
    checks_device.throttled,
    checks_device.canary,
    checks_device.frequency,
    checks_heat.hot,
    checks_device.load,
    checks_device.free_memory,
    checks_device.clock,
    checks_samples.never_steady,
    checks_samples.drift,
    checks_samples.spread,
    checks_samples.two_modes,
    checks_samples.outliers,
    checks_samples.overhead,
    _memory,
    _power,
)
"""Every check, in the order in which their doubts are shown."""
