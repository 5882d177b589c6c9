"""What a host that is gone left on a device: found by its run's id, waited for or ended, read, removed.

A run's passes are processes of their own there, and each tells into its own spool; both are found by the
run's id, which is in the folder's name, in the process's command line and in the spool's first line. What is
read is a device's answer like any other: bounded, and held against the protocol and that id.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.errors import DeviceTimeoutError, ProtocolError
from edgekit.runners.follow import Pass
from edgekit.runners.lines import PASS_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.runners.transport import Transport

_FIRST_POLL_S, _LAST_POLL_S, _POLL_GROWTH = 0.1, 2.0, 1.4
_ON = {"alive"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a run left on a device.

    Attributes:
        there: whether its folder was there at all.
        events: what its passes told, in the order of the passes.
        broken: what was wrong with the first line that is none of the protocol's, or "".
    """

    there: bool
    events: tuple[dict[str, Any], ...] = ()
    broken: str = ""


class LeftRun:
    """One run that nobody follows any more, on one device.

    Args:
        transport: an open way to the device.
        run_id: the run's id.
        passes: those that it asked for.
        runs: how many samples each may tell at most.
    """

    def __init__(self, transport: Transport, run_id: str, passes: Sequence[str], runs: int) -> None:
        self._transport = transport
        self._folder = f"{transport.root()}/runs/{run_id}"
        self._run_id = run_id
        self._names = [name for name in PASS_NAMES if name in passes]
        self._runs = runs

    def _pass(self, name: str) -> Pass:
        return Pass(
            transport=self._transport,
            path=f"{self._folder}/{name}",
            name=name,
            run_id=self._run_id,
            runs=self._runs,
            deadline_s=0.0,
        )

    def alive(self) -> str:
        """Return the name of its pass that runs there, or "" when none does."""
        return next((name for name in self._names if self._pass(name).state() in _ON), "")

    def wait(self, deadline_s: float, *, on_look: Callable[[str], None] = lambda _: None) -> None:
        """Wait until no pass of it runs any more.

        Args:
            deadline_s: for so long at most.
            on_look: told the name of the pass that still runs, at each look.

        Raises:
            DeviceTimeoutError: one still runs then; it goes on.
            TransientDeviceError: the link was lost and did not come back.
        """
        end, pause = time.monotonic() + deadline_s, _FIRST_POLL_S
        while name := self.alive():
            on_look(name)
            if time.monotonic() > end:
                what = f"the {name} pass of the run {self._run_id} still runs after {deadline_s:g} s"
                raise DeviceTimeoutError(
                    self._transport.device.address, what, hint="wait on, or recover it without --wait"
                )
            time.sleep(pause)
            pause = min(pause * _POLL_GROWTH, _LAST_POLL_S)

    def read(self) -> Left:
        """Return what it told, up to the first line that is none of the protocol's.

        Raises:
            TransientDeviceError: the link was lost and did not come back.
        """
        if self._transport.run(["test", "-d", self._folder]).exit_code:
            return Left(there=False)
        events: list[dict[str, Any]] = []
        for name in self._names:
            try:
                for event in self._pass(name).left():
                    events.append(event)  # noqa: PERF402 - what came before a bad line is kept
            except ProtocolError as error:
                return Left(
                    there=True,
                    events=tuple(events),
                    broken=error.what.removeprefix(f"{self._transport.device.address}: "),
                )
        return Left(there=True, events=tuple(events))

    def remove(self) -> None:
        """Remove its folder there."""
        self._transport.check(["rm", "-rf", "--", self._folder])
