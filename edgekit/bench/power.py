"""Power: what the power pass is asked to sample, what a run keeps of it, and the figures that follow.

A run keeps raw things alone: the sensor as it was found, every reading as text with its time, the windows
at rest and under load. The figures are made anew each time:

    mean_mw                           mean power under load, with its interval beside it
    energy_per_inference_uj           above the idle power, {value, low, high}
    gross_energy_per_inference_uj     all that was drawn
    sampling_cost                     how much longer an inference takes while sensors are read
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from edgekit.bench import energy
from edgekit.bench.readings import NothingToTell, Readings, sort_out
from edgekit.bench.summary import Doubt
from edgekit.probes.base import NOT_HERE, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgekit.bench.energy import Level

    Event = Mapping[str, Any]

PAIRS = 8
"""Segments with the sampler and without, each; from six on, their differences back a 95 % interval."""
SEGMENT_READINGS, SEGMENT_LEAST_S = 20, 1.0
IDLE_S = 3.0
LEAST_FRESH = 8
"""New values under load below which nothing is told: a mean of fewer hangs on when they came."""
LEAST_IDLE = 3
COST_LIMIT = 0.02
"""What reading the sensors may cost an inference; beyond it the measuring is part of what is measured."""
DRIFT_LIMIT = 0.10
"""Idle power after against before, as a share of what the load adds: the baseline is then a guess."""
_KEPT = {
    "idle": ("when", "begin_ns", "end_ns"),
    "segment": ("sampling", "begin_ns", "end_ns", "count", "ns"),
    "reading": ("t", "took_ns", "raw", "errors"),
}
_PARTS = {"idle": "idle", "segment": "segments", "reading": "readings"}


def watch_job(watch: Watch, max_s: float) -> dict[str, Any]:
    """Return what the job of a power pass says of sampling.

    Args:
        watch: the sensor.
        max_s: seconds that all segments together may last.
    """
    segment_s = min(max(SEGMENT_LEAST_S, SEGMENT_READINGS * watch.period_s), max_s / (2 * PAIRS))
    idle_s = min(max(IDLE_S, SEGMENT_READINGS * watch.period_s), max(max_s / 4, 4 * segment_s))
    return {
        "reads": dict(watch.reads) if not watch.meter else {},
        "commands": {name: list(argv) for name, argv in watch.commands.items()},
        "period_ns": round(watch.period_s * energy.NS),
        "idle_ns": round(idle_s * energy.NS),
        "segment_ns": round(segment_s * energy.NS),
        "pairs": PAIRS,
    }


def raw_power(
    events: Sequence[Event],
    watch: Watch | None,
    reason: str = "",
    *,
    readings: Sequence[Event] = (),
    clock: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return what a run keeps of its power pass.

    Args:
        events: all events of the run.
        watch: the sensor; None when there is none.
        reason: why there is none, or why the pass did not take place.
        readings: those that the host took, of an external meter.
        clock: {offset_ns, error_ns}, what makes the host's times the device's; None where it took none.
    """
    if watch is None:
        return {"unavailable": reason}
    told: dict[str, Any] = {"watch": watch.to_json(), "idle": [], "segments": [], "readings": list(readings)}
    for event in events:
        if event.get("pass") == "power" and event["e"] in _KEPT:
            kept = {key: event[key] for key in _KEPT[event["e"]] if key in event}
            told[_PARTS[event["e"]]].append(kept)
    if not told["segments"]:
        return {"unavailable": f"{NOT_HERE}: {reason or 'the power pass told of no segment'}"}
    return {**told, "clock": dict(clock) if clock else None}


def figures(power: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of what a run keeps of power, or {"unavailable": reason}.

    Pure: the same record gives the same figures.
    """
    if "watch" not in power:
        return dict(power)
    watch = Watch.from_json(power["watch"])
    try:
        return _figures(watch, power)
    except NothingToTell as nothing:
        return {"unavailable": f"{NOT_HERE}: {nothing}", "sensor": watch.source}


def _figures(watch: Watch, power: Mapping[str, Any]) -> dict[str, Any]:
    clock = power.get("clock") or {}
    segments = [s for s in power["segments"] if s["count"] > 0]
    sampled = [s for s in segments if s["sampling"]]
    busy = [(s["begin_ns"], s["end_ns"]) for s in sampled]
    found = sort_out(watch, power["readings"], busy, clock.get("offset_ns", 0.0))
    load = _loaded(found, busy)
    idle = {i["when"]: found.level([(i["begin_ns"], i["end_ns"])]) for i in power["idle"]}
    each_s = sum(e - b for b, e in busy) / energy.NS / sum(s["count"] for s in sampled)
    told = _gross(found.watch, load, each_s)
    edges_s = 2 * len(busy) * clock.get("error_ns", 0.0) / energy.NS
    told |= _above(found.watch, load, idle, each_s, edges_s=edges_s)
    span = (found.times[-1] - found.times[0]) / energy.NS
    return {
        **told,
        "sampling_cost": _cost(segments),
        "inferences": sum(s["count"] for s in sampled),
        "window_s": load.seconds,
        "readings": load.count,
        "rate_hz": (len(found.times) - 1) / span if span > 0 else None,
        "interval_ms": found.interval_ns / 1e6 or None,
        "failed_readings": found.failed,
        "covers": found.watch.covers,
        "family": found.watch.family,
        "error": _error_text(found.watch),
        "sensor_doubts": [list(doubt) for doubt in found.watch.doubts],
    }


def _loaded(found: Readings, busy: Sequence[tuple[float, float]]) -> Level:
    """Return the power under load, if there is enough of it to tell, and if it can be."""
    load, watch = found.level(busy), found.watch
    if load is None or load.fresh < LEAST_FRESH:
        fresh = int(load.fresh) if load else 0
        every = f", one every {found.interval_ns / 1e6:.0f} ms" if found.interval_ns else ""
        raise NothingToTell(
            f"{watch.source} had {fresh} new values while the network ran{every}, and {LEAST_FRESH} are "
            "needed: raise --max-s"
        )
    if watch.limit_w and load.watts > watch.limit_w:
        raise NothingToTell(
            f"{watch.source} says {load.watts:.1f} W, and such a device draws {watch.limit_w:.0f} W at most"
            + (f": {watch.hint}" if watch.hint else "")
        )
    if load.watts <= 0:
        raise NothingToTell(
            f"{watch.source} says {load.watts:.3g} W under load: its sign or its wiring is wrong"
        )
    return load


def _gross(watch: Watch, load: Level, each_s: float) -> dict[str, Any]:
    error = watch.error
    half = energy.half_width([load.u_w], [error.gain * load.watts, error.offset_w, error.lsb_w / 2])
    return {
        "source": watch.source,
        "mean_mw": load.watts * 1e3,
        "mean_low_mw": (load.watts - half) * 1e3,
        "mean_high_mw": (load.watts + half) * 1e3,
        "gross_energy_per_inference_uj": _estimate(load.watts, half, each_s),
    }


def _above(
    watch: Watch,
    load: Level,
    idle: Mapping[str, Level | None],
    each_s: float,
    *,
    edges_s: float,
) -> dict[str, Any]:
    """Return the energy above the idle power; null, with the reason, where that was not seen twice."""
    before, after = idle.get("before"), idle.get("after")
    if before is None or after is None or min(before.fresh, after.fresh) < LEAST_IDLE:
        few = "the sensor told too little while nothing ran, so that only the gross energy is known"
        return {"idle_mw": None, "energy_per_inference_uj": None, "no_energy": few}
    rest, drift = (before.watts + after.watts) / 2, after.watts - before.watts
    above, error = load.watts - rest, watch.error
    # The offset is in both and falls out; each has its own place between two steps of the register.
    bounds = {
        "sensor": error.gain * abs(above),
        "step": error.lsb_w / math.sqrt(2),
        "drift": abs(drift) / 2,
        "clock": abs(above) * edges_s / load.seconds,
    }
    noise = [load.u_w, before.u_w / 2, after.u_w / 2]
    half = energy.half_width(noise, list(bounds.values()))
    shares = {name: bound / math.sqrt(3) for name, bound in bounds.items()}
    return {
        "idle_mw": rest * 1e3,
        "idle_drift_mw": drift * 1e3,
        "energy_per_inference_uj": _estimate(above, half, each_s),
        "uncertainty_mw": {name: u * 1e3 for name, u in {**shares, "sampling": math.hypot(*noise)}.items()},
    }


def _estimate(watts: float, half: float, each_s: float) -> dict[str, float]:
    """Return an energy an inference, in microjoules, with its interval."""
    value, low, high = (w * each_s * 1e6 for w in (watts, watts - half, watts + half))
    return {"value": value, "low": low, "high": high}


def _cost(segments: Sequence[Event]) -> dict[str, float] | None:
    """Return by what share an inference takes longer with the sampler than without; None without pairs."""
    ratios = []
    for one, other in zip(segments[::2], segments[1::2], strict=False):
        if one["sampling"] != other["sampling"]:
            on, off = (one, other) if one["sampling"] else (other, one)
            ratios.append(math.log(_each_ns(on) / _each_ns(off)))
    found = energy.signed_rank_interval(ratios)
    if found is None:
        return None
    value, low, high = (math.expm1(x) for x in found)
    return {"value": value, "low": low, "high": high}


def _each_ns(segment: Event) -> float:
    """Return how long an inference takes: all the time there was, or its own where a paced loop waits."""
    whole = (segment["end_ns"] - segment["begin_ns"]) / segment["count"]
    own = statistics.fmean(segment["ns"])
    return float(own if own < whole / 2 else whole)


def _error_text(watch: Watch) -> str:
    error = watch.error
    offset = f" + {error.offset_w * 1e3:.3g} mW" if error.offset_w else ""
    return f"{error.gain * 100:.3g} %{offset} ({error.origin})"


def doubts_of_power(told: Mapping[str, Any]) -> Iterator[Doubt]:
    """Yield what is doubtful about figures of power."""
    for code, value, limit, hint in told.get("sensor_doubts", ()):
        yield Doubt(code=code, value=value, limit=limit, hint=hint)
    cost = told.get("sampling_cost")
    if cost and cost["value"] > COST_LIMIT:
        hint = "Reading the sensors slows the network down: leave out --power, or use a meter outside."
        yield Doubt(code="sampling-cost", value=cost["value"], limit=COST_LIMIT, hint=hint)
    energy_uj, idle_mw = told.get("energy_per_inference_uj"), told.get("idle_mw")
    if not energy_uj or idle_mw is None:
        return
    above_mw = told["mean_mw"] - idle_mw
    drift = abs(told["idle_drift_mw"]) / above_mw if above_mw > 0 else math.inf
    if drift > DRIFT_LIMIT:
        hint = "The idle power changed over the run: let the device come to rest before, and stop other work."
        yield Doubt(code="idle-drift", value=min(drift, 1e6), limit=DRIFT_LIMIT, hint=hint)
    if energy_uj["low"] <= 0:
        hint = "The load can't be told from rest by this sensor: raise --max-s, or use a finer one."
        yield Doubt(code="energy-lost", value=energy_uj["low"], limit=0, hint=hint)
