"""Readings of a power pass, sorted out: which count, what they mean, and why they may mean nothing."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.bench import energy
from edgekit.probes.read import fits, numbers_of, products, settled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgekit.probes import Watch

FAILED_LIMIT = 0.2
"""Share of readings that may fail or not count. A sensor that is often away is away at special moments."""
_HELD = 4.0
"""A value that stays so many times longer than the sensor says it should is not a new one."""
_NEAR_NS = 300e6
_FEW = 3

Window = tuple[float, float]


class NothingToTell(Exception):  # noqa: N818
    """Why there is no figure, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What the sensor told, as numbers.

    Attributes:
        watch: the sensor, unit and sign settled.
        times: of the middle of what a reading is the mean of, or of a total's end, in device nanoseconds.
        values: watts, or joules for a running total.
        interval_ns: in which the sensor has a new value; 0 where nobody knows.
        failed: how many readings did not count.
    """

    watch: Watch
    times: tuple[float, ...]
    values: tuple[float, ...]
    interval_ns: float
    failed: int

    def level(self, windows: Sequence[Window]) -> energy.Level | None:
        """Return the mean power over windows."""
        if self.watch.quantity == "energy":
            return energy.counter_level(self.times, self.values, windows, self.interval_ns)
        return energy.power_level(self.times, self.values, windows, self.interval_ns)


def sort_out(
    watch: Watch, told: Sequence[Mapping[str, Any]], busy: Sequence[Window], offset_ns: float = 0.0
) -> Readings:
    """Return the readings that count, in the order of time.

    Args:
        watch: the sensor.
        told: {t, took_ns, raw, errors} each.
        busy: windows under load.
        offset_ns: added to t, where another clock took it.

    Raises:
        NothingToTell: too many failed or do not count, or the sensor does not move.
    """
    ordered = sorted(told, key=lambda one: one["t"])
    counting = [one for one in ordered if not one.get("errors") and fits(watch, one["raw"])]
    if len(counting) < len(ordered) * (1 - FAILED_LIMIT):
        raise NothingToTell(_why_failed(watch, ordered, counting, len(ordered) - len(counting)))
    kept = [(one, numbers_of(watch, one["raw"])) for one in counting]
    if watch.settle:
        loaded = (n for one, n in kept if any(b <= one["t"] + offset_ns <= e for b, e in busy))
        found = settled(watch, loaded)
        if isinstance(found, str):
            raise NothingToTell(found)
        watch = found
    pairs = [(one, products(watch.terms, numbers)) for one, numbers in kept]
    whole = [(one, values) for one, values in pairs if values is not None]
    failed = len(ordered) - len(whole)
    if not whole or failed > FAILED_LIMIT * len(ordered):
        raise NothingToTell(_why_failed(watch, ordered, counting, failed))
    shift = -watch.interval_s * 1e9 / 2 if watch.quantity == "power" else 0.0
    middle = 0.5 if watch.quantity == "power" else 1.0
    times = tuple(one["t"] + middle * one["took_ns"] + offset_ns + shift for one, _ in whole)
    values = _values(watch, [values for _, values in whole])
    interval = _moving(watch, times, values, busy)
    return Readings(watch=watch, times=times, values=values, interval_ns=interval, failed=failed)


def _values(watch: Watch, rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the sum of the terms of each reading, counters' wraps undone."""
    columns = list(zip(*rows, strict=True))
    if watch.quantity == "energy":
        columns = [
            tuple(energy.unwrapped(column, term.wrap))
            for column, term in zip(columns, watch.terms, strict=True)
        ]
    scaled = [[v * term.scale for v in column] for column, term in zip(columns, watch.terms, strict=True)]
    return tuple(sum(row) for row in zip(*scaled, strict=True))


def _why_failed(
    watch: Watch, told: Sequence[Mapping[str, Any]], counting: Sequence[Mapping[str, Any]], failed: int
) -> str:
    if not told:
        return f"{watch.source} was never read"
    errors = [why for one in told for why in (one.get("errors") or {}).values()]
    if errors:
        return f"{len(errors)} of {len(told)} readings of {watch.source} failed ({errors[0][:120]})"
    if len(counting) < len(told) * (1 - FAILED_LIMIT) and watch.refusal:
        return watch.refusal
    sample = " ".join(f"{name}: {text}" for name, text in told[-1]["raw"].items())[:80]
    return f"{failed} of {len(told)} readings of {watch.source} are no numbers ({sample})"


def _moving(watch: Watch, times: Sequence[float], values: Sequence[float], busy: Sequence[Window]) -> float:
    """Return nanoseconds in which the sensor really has a new value.

    A sensor may be slower than it says. It is, where its values stay for long and then move by more than its
    own step. Where they move once or twice in all, they should do so when the load begins and ends.
    """
    told = watch.interval_s * 1e9
    at = [i for i in range(1, len(values)) if values[i] != values[i - 1]]
    if not at:
        span = (times[-1] - times[0]) / 1e9
        raise NothingToTell(
            f"{watch.source} said the same {len(values)} times in {span:.1f} s, at rest and under load: "
            "it is frozen, or too coarse"
        )
    moved = max(abs(values[i] - values[i - 1]) for i in at)
    if watch.quantity == "energy" or (told > 0 and moved <= 2.5 * watch.error.lsb_w):
        return told
    pause = statistics.median(b - a for a, b in itertools.pairwise(times))
    if len(at) < _FEW:
        edges = [busy[0][0], busy[-1][1]] if busy else []
        late = [
            i for i in at if all(abs(times[i] - edge) > _NEAR_NS + 3 * max(told, pause) for edge in edges)
        ]
        return float(times[-1] - times[0]) if late else told
    held = statistics.median(times[b] - times[a] for a, b in itertools.pairwise(at))
    return held if held > _HELD * max(told, pause) else told
