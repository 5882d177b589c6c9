"""Doubts about how hot a device was, by the limits that it tells itself where it does. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.bench.summary import Doubt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgekit.bench.run import Run

    Condition = Mapping[str, Any]

HOT_LIMIT = 80.0
"""Degrees Celsius of a zone that tells no limit of its own. A Raspberry Pi is held back from 80 on, most
other chips soon after."""
RISE_LIMIT = 20.0
"""Degrees that a zone may gain within the run: the clock's ceiling and the leakage are other ones then."""
HELD_BACK = ("passive", "hot", "moderate", "severe")
"""Limits from which on a device is held back: the kernel slows the CPU at a trip point that it calls passive
and warns at a hot one (Documentation/driver-api/thermal/sysfs-api.rst); Android's framework throttles from
its status "moderate" on."""
SHUT_DOWN = ("critical", "emergency", "shutdown")
"""Limits at which a device goes off. It is held back well below, so they count only below HOT_LIMIT."""
_TRUSTED = (30.0, 130.0)
"""Degrees Celsius of a limit that is believed; trip points that are not in use tell 0, -274 or 200."""
_PLAUSIBLE = (-40.0, 150.0)
"""Degrees Celsius; zones without a sensor tell 0 K, 255 or worse."""
_PASSES = ("latency", "host")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """From which temperature on a zone counts as hot.

    Attributes:
        celsius: from here on.
        kind: what the device calls it ("passive", "severe"); "" when it tells none and HOT_LIMIT holds.
    """

    celsius: float
    kind: str = ""

    def __str__(self) -> str:
        return (
            f"its own limit {self.kind!r}" if self.kind else "the usual limit, for it tells none of its own"
        )


def limit_of(told: Mapping[str, float]) -> Limit:
    """Return the limit of a zone that tells these (degrees Celsius by kind): the lowest that counts."""
    known = [
        Limit(celsius=value, kind=kind)
        for kind, value in told.items()
        if kind in (*HELD_BACK, *SHUT_DOWN) and _TRUSTED[0] <= value <= _TRUSTED[1]
    ]
    held = [limit for limit in known if limit.kind in HELD_BACK]
    low = [limit for limit in known if limit.kind in SHUT_DOWN and limit.celsius < HOT_LIMIT]
    return min(held or low or [Limit(celsius=HOT_LIMIT)], key=lambda limit: limit.celsius)


def hot(run: Run) -> Iterator[Doubt]:
    """A zone reached its limit, or became much hotter."""
    first: dict[str, float] = {}
    highest: dict[str, float] = {}
    limits: dict[str, Mapping[str, float]] = {}
    for condition in run.conditions:
        if condition.get("pass", "latency") not in _PASSES:
            continue
        limits.update(condition.get("trips", {}))
        for zone, celsius in condition.get("temperatures", {}).items():
            if _PLAUSIBLE[0] < celsius < _PLAUSIBLE[1]:
                first.setdefault(zone, celsius)
                highest[zone] = max(celsius, highest.get(zone, celsius))
    if highest:
        yield from _reached(highest, {zone: limit_of(limits.get(zone, {})) for zone in highest})
        yield from _risen(first, highest)


def _reached(highest: Mapping[str, float], limits: Mapping[str, Limit]) -> Iterator[Doubt]:
    zone = max(highest, key=lambda name: highest[name] - limits[name].celsius)
    limit = limits[zone]
    if highest[zone] >= limit.celsius:
        hint = f"The zone {zone} reached {limit.celsius:g} C ({limit}): let it cool (--cooldown)."
        yield Doubt(code="hot", value=highest[zone], limit=limit.celsius, hint=hint)


def _risen(first: Mapping[str, float], highest: Mapping[str, float]) -> Iterator[Doubt]:
    zone = max(highest, key=lambda name: highest[name] - first[name])
    if highest[zone] - first[zone] > RISE_LIMIT:
        hint = f"The zone {zone} became much hotter within the run: cool the device, or use --sustained."
        yield Doubt(code="heated", value=highest[zone] - first[zone], limit=RISE_LIMIT, hint=hint)
