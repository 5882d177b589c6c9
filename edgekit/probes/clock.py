"""The device's clock by the host's: round trips, each of which bounds the offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import ProtocolError
from edgekit.probes.meter import host_now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.runners.transport import Transport

TRIPS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """What to add to the host's clock to get the device's.

    Attributes:
        low_ns: it is at least this.
        high_ns: it is at most this.
    """

    low_ns: float
    high_ns: float

    @property
    def value_ns(self) -> float:
        """The middle."""
        return (self.low_ns + self.high_ns) / 2

    @property
    def error_ns(self) -> float:
        """How far off the middle may be."""
        return (self.high_ns - self.low_ns) / 2


def ask_offset(transport: Transport, clock: Sequence[str], *, trips: int = TRIPS) -> Offset:
    """Return the offset of a device's clock.

    The device reads its clock after the host asked and before the host got the answer. So each trip bounds
    the offset on both sides, and all of them hold (F. Cristian, "Probabilistic clock synchronization", 1989).

    Args:
        transport: an open way to the device.
        clock: the command there that prints its clock, in nanoseconds.
        trips: how often it is asked.

    Raises:
        DeviceError: the device does not answer.
        ProtocolError: it answers with no number, or with times that go backwards.
    """
    low, high = float("-inf"), float("inf")
    for _ in range(trips):
        sent = host_now()
        text = transport.check(clock).text.strip()
        got = host_now()
        if not text.isascii() or not text.isdigit() or len(text) > 20:  # noqa: PLR2004
            raise ProtocolError(f"{transport.device.address}: {text[:40]!r} is no time", hint="try again")
        low, high = max(low, int(text) - got), min(high, int(text) - sent)
    if low > high:
        what = f"{transport.device.address}: its clock does not run as the host's does"
        raise ProtocolError(what, hint="use a sensor of the device itself")
    return Offset(low_ns=low, high_ns=high)


def between(before: Offset, after: Offset) -> Offset:
    """Return the offset that holds between two: clocks drift, so the wider of both bounds are taken."""
    return Offset(low_ns=min(before.low_ns, after.low_ns), high_ns=max(before.high_ns, after.high_ns))
