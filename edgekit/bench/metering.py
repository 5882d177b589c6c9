"""How a bench measures power: which sensor, whether it was asked for, and what a run then keeps."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgekit.bench.power import raw_power, watch_job
from edgekit.errors import DeviceError, DeviceUnfitError, UsageError
from edgekit.probes import Found, find
from edgekit.probes.base import NOT_HERE
from edgekit.probes.clock import Offset, ask_offset, between
from edgekit.probes.meter import Listener, Meter, open_meter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edgekit.probes import Watch
    from edgekit.runners.runner import Runner

MODES = ("auto", "always", "never")


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerWish:
    """What is wanted of power.

    Attributes:
        mode: "auto" measures where a sensor is found, "always" fails where none is, "never" does not look.
        sensor: a part of the wanted sensor's name; "" takes the best.
        meter: address of a meter outside the device; "" for its own sensors.
    """

    mode: str = "auto"
    sensor: str = ""
    meter: str = ""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"power is {self.mode!r}", hint=f"choose among {', '.join(MODES)}")
        if self.mode == "never" and (self.sensor or self.meter):
            raise UsageError("a sensor is named, and power is not wanted", hint="leave out one of the two")

    @property
    def demanded(self) -> bool:
        """Whether it is an error when power can't be measured."""
        return self.mode == "always" or bool(self.sensor or self.meter)


@dataclass(slots=True, kw_only=True)
class Metering:
    """The power of one run.

    Attributes:
        watch: the sensor; None when there is none.
        reason: why there is none.
        meter: the open meter, where it is one outside.
    """

    watch: Watch | None
    reason: str = ""
    meter: Meter | None = None
    _readings: list[dict[str, Any]] = field(default_factory=list)
    _clock: Offset | None = None

    def passes(self, asked: Sequence[str]) -> tuple[str, ...]:
        """Return the passes of the run: power comes last, and only with a sensor."""
        return (*(n for n in asked if n != "power"), *(("power",) if self.watch else ()))

    def job(self, max_s: float) -> dict[str, Any] | None:
        """Return what the job says of sampling."""
        return watch_job(self.watch, max_s) if self.watch else None

    @contextlib.contextmanager
    def listening(self, runner: Runner) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Read a meter outside while the power pass goes on; give what is to hear every event of the run.

        The device's clock is asked for when the pass begins and when it is over.
        """
        meter, watch = self.meter, self.watch
        if meter is None or watch is None:
            yield lambda _event: None
            return
        prepared = runner.prepare()
        offsets: list[Offset] = []
        clock = [*prepared.command, "--clock"]
        listener = Listener(meter, watch.period_s)
        self._readings = listener.readings
        with contextlib.ExitStack() as stack:

            def hear(event: Mapping[str, Any]) -> None:
                if event.get("pass") == "power" and not offsets:
                    stack.enter_context(listener)
                    offsets.append(ask_offset(runner.transport, clock))

            yield hear
        if offsets:
            self._clock = between(offsets[0], ask_offset(runner.transport, clock))

    def keep(self, events: Sequence[Mapping[str, Any]], trouble: str = "") -> dict[str, Any]:
        """Return what the run keeps of power.

        Args:
            events: all that the device told.
            trouble: what broke the run off, or "".
        """
        clock = self._clock
        told = None if clock is None else {"offset_ns": clock.value_ns, "error_ns": clock.error_ns}
        reason = self.reason or (f"the power pass broke off ({trouble})" if trouble else "")
        return raw_power(events, self.watch, reason, readings=self._readings, clock=told)


@contextlib.contextmanager
def metering(runner: Runner, wish: PowerWish) -> Iterator[Metering]:
    """Find what the power of a run is measured with.

    Raises:
        UsageError: the meter does not answer.
        DeviceUnfitError: power was asked for, and there is no sensor that could be used.
    """
    if wish.mode == "never":
        yield Metering(watch=None, reason=f"{NOT_HERE}: it was left out")
        return
    if runner.runtime.tool is not None:
        yield Metering(watch=None, reason=f"{NOT_HERE}: {runner.runtime.name} runs without EdgeKit's loop")
        return
    if wish.meter:
        with contextlib.closing(open_meter(wish.meter)) as meter:
            yield Metering(watch=meter.watch(), meter=meter)
        return
    yield _own(runner, wish)


def _own(runner: Runner, wish: PowerWish) -> Metering:
    """Return the device's own sensor, or why there is none."""
    facts = runner.facts.to_json()
    try:
        found = find(runner.transport, facts, runner.target, sensor=wish.sensor)
    except DeviceError as error:
        if wish.demanded:
            raise
        return Metering(watch=None, reason=f"{NOT_HERE}: asking the device failed ({error.what})")
    if isinstance(found, Found):
        return Metering(watch=found.watch)
    if wish.demanded:
        why = found.reason.removeprefix(f"{NOT_HERE}: ")
        hint = "leave out --power, or name a meter: --meter scpi+tcp://HOST:PORT"
        raise DeviceUnfitError(runner.transport.device.address, f"power can't be measured: {why}", hint=hint)
    return Metering(watch=None, reason=found.reason)
