"""What a plan asks of a device's state: nothing by default, and changed only for as long as its runs last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.errors import UnknownNameError, UsageError
from edgekit.runners.state import Change, check, fixed_performance, frequency, governor, policies, screen
from edgekit.runners.state.clocks import refuse_capped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.cooldown import Cooldown
    from edgekit.runners.transport import Transport

_SCREENS = ("on", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """What is asked for.

    Attributes:
        governor: of all groups of cores that are used, or "".
        khz: the one frequency that these groups shall have, or None.
        screen: "on", "off", or "" to leave it.
        fixed_performance: whether Android's fixed performance mode is set.
        cooldown: what is waited for before each run, or None.
    """

    governor: str = ""
    khz: int | None = None
    screen: str = ""
    fixed_performance: bool = False
    cooldown: Cooldown | None = None

    def __post_init__(self) -> None:
        if self.screen and self.screen not in _SCREENS:
            raise UnknownNameError("state of a screen", self.screen, _SCREENS)

    @property
    def changes_something(self) -> bool:
        """Whether anything is to be changed."""
        return bool(self.governor or self.khz is not None or self.screen or self.fixed_performance)

    def asked(self) -> dict[str, Any]:
        """Return what was asked for, as a run records it; what was not asked for is left out."""
        cooled = self.cooldown.celsius if self.cooldown else None
        told = {
            "governor": self.governor,
            "frequency_khz": self.khz,
            "screen": self.screen,
            "fixed_performance": self.fixed_performance,
            "cooldown_c": cooled,
        }
        return {key: value for key, value in told.items() if value}

    def changes(self, transport: Transport, cpus: Sequence[int] = ()) -> tuple[Change, ...]:
        """Return the changes that make a device so, each held against what the device has and allows.

        Nothing is changed there yet.

        Args:
            transport: an open way to the device.
            cpus: the CPUs that are used; empty for all.

        Raises:
            UsageError: the device has no such governor or frequency, or is none.
            DeviceUnfitError: it has no such thing.
            StableDeviceError: this login may not change it.
        """
        if not self.changes_something:
            return ()
        if transport.device.scheme == "fake":
            what = f"{transport.device.address}: a fake device has no state of its own to change"
            raise UsageError(what, hint="leave --governor, --frequency, --screen and --fixed-performance out")
        wanted = (*self._clocks(transport, cpus), *self._android())
        check(transport, wanted)
        return wanted

    def _clocks(self, transport: Transport, cpus: Sequence[int]) -> tuple[Change, ...]:
        if not self.governor and self.khz is None:
            return ()
        found = policies(transport)
        wanted = governor(found, self.governor, cpus=cpus) if self.governor else ()
        if self.khz is None:
            return wanted
        refuse_capped(found, transport.device.address)
        return (*wanted, *frequency(found, self.khz, cpus=cpus))

    def _android(self) -> tuple[Change, ...]:
        fixed = fixed_performance() if self.fixed_performance else ()
        return (*fixed, *(screen(self.screen) if self.screen else ()))
