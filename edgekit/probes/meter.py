"""Meters outside the device, read by the host: an interface, a registry, and the thread that listens.

An address names the kind of meter before the "+": `scpi+tcp://10.0.0.5:5025`. Other packages add kinds with
the entry-point group `edgekit.meters`: a callable that takes the address and returns an open `Meter`.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, Self

from edgekit.errors import ResultError, UnknownNameError, UsageError
from edgekit.plugins import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from edgekit.probes.base import Watch

_RAW = getattr(time, "CLOCK_MONOTONIC_RAW", None)
_JOIN_S = 10.0


class Meter(Protocol):
    """An open meter."""

    def watch(self) -> Watch:
        """Return what it is, what its texts mean and how wrong they may be."""

    def read(self) -> Mapping[str, str]:
        """Return the raw texts of one reading.

        Raises:
            ResultError: it did not answer, or what it said is no answer.
        """

    def close(self) -> None:
        """Let go of it; twice is fine."""


METERS: Registry[Callable[[str], Meter]] = Registry("meter", refuse=UnknownNameError, group="edgekit.meters")
METERS.add("scpi", "edgekit.probes.scpi:open_scpi")


def open_meter(address: str) -> Meter:
    """Return an open meter.

    Args:
        address: KIND+WAY://PLACE?OPTIONS, as the kind's own file says.

    Raises:
        UsageError: the address is none, its kind is not known, or nothing there answers.
    """
    kind, plus, _ = address.partition("+")
    if not plus or "://" not in address:
        raise UsageError(f"{address!r} is no meter's address", hint="give one: scpi+tcp://10.0.0.5:5025")
    return METERS.get(kind)(address)


def host_now() -> int:
    """Return the host's clock in nanoseconds: monotonic, and not slewed where there is such a clock."""
    return time.monotonic_ns() if _RAW is None else time.clock_gettime_ns(_RAW)


class Listener:
    """A thread that reads a meter over and over; use it in a `with` statement.

    Args:
        meter: an open one; nobody else reads it meanwhile.
        period_s: from one reading to the next.

    Attributes:
        readings: {t, took_ns, raw} or {t, took_ns, raw, errors} each, in the host's nanoseconds.
    """

    def __init__(self, meter: Meter, period_s: float) -> None:
        self.readings: list[dict[str, Any]] = []
        self._meter, self._period_s = meter, period_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="edgekit-meter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(_JOIN_S)

    def _listen(self) -> None:
        while not self._done.is_set():
            begin = host_now()
            told: dict[str, Any] = {"t": begin, "raw": {}}
            try:
                told["raw"] = dict(self._meter.read())
            except (ResultError, OSError) as error:
                told["errors"] = {"meter": str(error)[:200]}
            told["took_ns"] = host_now() - begin
            self.readings.append(told)
            self._done.wait(max(0.0, self._period_s - told["took_ns"] / 1e9))
