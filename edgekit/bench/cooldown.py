"""Waiting for a device to cool down, with a deadline: a hot one throttles, and then measures its cooling."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import DeviceUnfitError, StableDeviceError, UnknownNameError, UsageError
from edgekit.runners.conditions import zones

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.runners.conditions import Zone
    from edgekit.runners.transport import Transport

TIMEOUT_S = 600.0
"""How long a cooldown may last by default: a small board's heat sink has a time constant of a few minutes."""
_POLL_S = 2.0
_LOWEST_C, _HIGHEST_C = 0.0, 110.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooldown:
    """What is waited for.

    Attributes:
        celsius: the hottest zone of the CPU shall be at or below this.
        timeout_s: how long that may take.
        zone: the one zone to go by instead; "" for the hottest of the CPU's.
    """

    celsius: float
    timeout_s: float = TIMEOUT_S
    zone: str = ""

    def __post_init__(self) -> None:
        if not _LOWEST_C < self.celsius < _HIGHEST_C:
            raise UsageError(
                f"a cooldown to {self.celsius!r} C is none", hint="give degrees Celsius, as in 45"
            )
        if not 0 < self.timeout_s < float("inf"):
            raise UsageError(
                f"{self.timeout_s!r} s is no limit for a cooldown", hint="give seconds, more than 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooled:
    """How a cooldown went: the zone that was hottest in the end, from what to what it fell, in how long."""

    zone: str
    from_c: float
    to_c: float
    waited_s: float


def cool_down(
    transport: Transport,
    wanted: Cooldown,
    *,
    sysfs: str = "/sys",
    on_progress: Callable[[Zone], None] | None = None,
    poll_s: float = _POLL_S,
) -> Cooled:
    """Wait until a device is cool.

    Args:
        transport: an open way to it.
        wanted: how cool, and for how long at most.
        sysfs: where its sysfs is.
        on_progress: told the hottest zone at each look.
        poll_s: seconds between two looks.

    Returns:
        How it went; at once where the device is cool already.

    Raises:
        DeviceUnfitError: it tells no temperature of its CPU.
        UnknownNameError: it has no zone of that name.
        StableDeviceError: it was not cool at the deadline.
    """
    begin = time.monotonic()
    first: Zone | None = None
    while True:
        now = hottest(transport, zone=wanted.zone, sysfs=sysfs)
        first = first or now
        waited = time.monotonic() - begin
        if on_progress is not None:
            on_progress(now)
        if now.celsius <= wanted.celsius:
            return Cooled(zone=now.name, from_c=first.celsius, to_c=now.celsius, waited_s=waited)
        if waited + poll_s > wanted.timeout_s:
            raise _still_hot(transport, wanted, first, now)
        time.sleep(poll_s)


def hottest(transport: Transport, *, zone: str = "", sysfs: str = "/sys") -> Zone:
    """Return the hottest zone of a device's CPU, or the one that is named.

    Raises:
        DeviceUnfitError: it tells no temperature of its CPU.
        UnknownNameError: it has no zone of that name.
    """
    found = zones(transport, sysfs=sysfs)
    named = sorted({one.name for one in found})
    chosen = [one for one in found if (one.name == zone if zone else one.cpu)]
    if zone and not chosen:
        raise UnknownNameError(f"zone of {transport.device.address}", zone, named)
    if not chosen:
        what = "it tells no temperature of its CPU"
        hint = (
            f"name the zone to go by with --cooldown-zone: {', '.join(named)}"
            if named
            else "leave --cooldown out"
        )
        raise DeviceUnfitError(transport.device.address, what, hint=hint)
    return max(chosen, key=lambda one: one.celsius)


def _still_hot(transport: Transport, wanted: Cooldown, first: Zone, now: Zone) -> StableDeviceError:
    return StableDeviceError(
        transport.device.address,
        f"{now.name} is at {now.celsius:.1f} C after {wanted.timeout_s:g} s, not at {wanted.celsius:g} C"
        f" (it began at {first.celsius:.1f} C)",
        hint="cool it, ask for a higher temperature, or raise --cooldown-timeout",
    )
