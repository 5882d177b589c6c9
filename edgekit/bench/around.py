"""The host's part around a run: let the device cool, ask its system before and after, watch its state."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from edgekit.bench.cooldown import cool_down
from edgekit.errors import DeviceError
from edgekit.runners.conditions import host_conditions
from edgekit.runners.cores import cores_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.bench.plan import Item
    from edgekit.bench.run import Run
    from edgekit.bench.state import DeviceState
    from edgekit.runners.conditions import Zone
    from edgekit.runners.runner import Runner
    from edgekit.runners.state import Guard
    from edgekit.runners.transport import Transport


def cpus_used(runner: Runner, items: Sequence[Item]) -> tuple[int, ...]:
    """Return the CPUs that items keep to, or () when one of them may use all.

    Raises:
        UsageError: the device has no such cores.
    """
    if not all(item.placement.cores for item in items):
        return ()
    cpus = runner.facts.cpus
    kinds = runner.facts.clusters
    return tuple(
        sorted({cpu for item in items for cpu in cores_of(cpus, item.placement.cores, clusters=kinds)})
    )


class Around:
    """The host's part around one run.

    Args:
        transport: an open way to the device.
        state: what was asked of its state.
        guard: of the state that is changed, or None.
    """

    def __init__(self, transport: Transport, state: DeviceState, guard: Guard | None) -> None:
        self._transport = transport
        self._state = state
        self._guard = guard
        self._before: dict[str, Any] = {}

    def begin(self, on_hot: Callable[[Zone], None]) -> None:
        """Wait until the device is cool, where that was asked for, and ask its system how it is.

        Args:
            on_hot: told the hottest zone at each look.

        Raises:
            DeviceUnfitError: it tells no temperature.
            StableDeviceError: it did not cool down in time, or its state is no longer what was asked for.
            DeviceError: it does not answer.
        """
        wanted = self._state.cooldown
        cooled = cool_down(self._transport, wanted, on_progress=on_hot) if wanted is not None else None
        if self._guard is not None:
            self._guard.need_held()
        self._before = host_conditions(self._transport)
        if cooled is not None:
            self._before["cooldown"] = asdict(cooled)

    def told(self, run: Run | None) -> Run | None:
        """Return a run with what the device's system told before and after it."""
        if run is None:
            return None
        after: dict[str, Any] = {}
        if self._transport.is_open:
            with contextlib.suppress(DeviceError):  # the run is what counts; what can't be asked is left out
                after = host_conditions(self._transport, before=self._before)
        if self._guard is not None and self._guard.lost:
            after["state_lost"] = self._guard.lost
        first = {"when": "before", "pass": "host", **next(iter(run.conditions), {}), **self._before}
        last = ({"when": "after", "pass": "host", **after},) if after else ()
        return replace(run, conditions=(first, *run.conditions[1:], *last))
