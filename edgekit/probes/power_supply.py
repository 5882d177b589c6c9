"""power_supply: a battery's own gauge, on Linux and on Android.

The kernel's units are microamperes, microvolts and microwatts, and a discharging current is negative
(Documentation/ABI/testing/sysfs-class-power). Phones differ in both unit and sign; so on Android both are
settled from the readings under load (see `read.settled`). While anything charges, a battery's current says
nothing of what the device draws; what may not be read is told as that, and is no zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.probes.base import Refusal, SensorError, Term, Watch

if TYPE_CHECKING:
    from edgekit.probes.ask import Told
    from edgekit.targets import Target

_BASE = "/sys/class/power_supply"
_SCRIPT = rf"""
b="$r"{_BASE}
for d in "$b"/* "$b"/battery; do
  f "$d"/type "$d"/scope "$d"/status "$d"/online "$d"/present "$d"/current_now "$d"/voltage_now "$d"/power_now
done
[ -n "$r" ] || c battery dumpsys battery
"""
DISCHARGING = "Discharging"
_CHARGING = (
    "a battery's current says nothing while it is charged: unplug the device (adb over Wi-Fi works then)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSupply:
    """The family.

    Attributes:
        root: where the device's / is; "" but in tests.
        name: the family's.
    """

    root: str = ""
    name: str = "power_supply"

    def script(self) -> str:
        """Return the lines of shell."""
        return _SCRIPT

    def find(self, told: Told, target: Target | None) -> list[Watch | Refusal]:
        """Return every battery that feeds the device and is not charged now."""
        del target
        folders = dict.fromkeys(
            path.rpartition("/")[0]
            for path in (*told.files, *told.refused)
            if path.startswith(f"{_BASE}/") and not path.endswith("/")
        )
        batteries = [folder for folder in folders if _is_battery(told, folder)]
        chargers = [f for f in folders if f not in batteries and told.number(f"{f}/online") is not None]
        reason = _reason(told, chargers) if batteries else ""
        return [
            Refusal(family=self.name, reason=reason) if reason else _watch(told, folder, chargers)
            for folder in batteries
        ]


def _is_battery(told: Told, folder: str) -> bool:
    """Return whether it is a battery of the device itself, and not of its mouse."""
    kind, scope = told.text(f"{folder}/type"), told.text(f"{folder}/scope")
    named = folder.rpartition("/")[2].lower() == "battery"
    return (kind == "Battery" or (named and not kind)) and scope != "Device"


def _reason(told: Told, chargers: list[str]) -> str:
    """Return why no battery can be used now, or an empty text."""
    dump = told.commands.get("battery", "")
    if "UPDATES STOPPED" in dump:
        return "'dumpsys battery' was told to pretend: say 'dumpsys battery reset' there"
    if "powered: true" in dump or any(told.number(f"{folder}/online") for folder in chargers):
        return _CHARGING
    return ""


def _watch(told: Told, folder: str, chargers: list[str]) -> Watch | Refusal:
    for name in ("status", "current_now", "voltage_now", "power_now"):
        why = told.refused.get(f"{folder}/{name}")
        if why is not None and (name != "power_now" or told.number(f"{folder}/current_now") is None):
            return Refusal(family="power_supply", reason=f"{folder}/{name} can't be read ({why.strip()})")
    status = told.text(f"{folder}/status")
    if status != DISCHARGING:
        said = f"{folder} says {status or 'no status'}"
        return Refusal(family="power_supply", reason=f"{said}: {_CHARGING}")
    reads, terms = _quantities(told, folder)
    if not terms:
        return Refusal(family="power_supply", reason=f"{folder} tells neither current and voltage nor power")
    online = {f"online:{c.rpartition('/')[2]}": f"{c}/online" for c in chargers}
    android = "battery" in told.commands
    return Watch(
        family="power_supply",
        source=f"{folder.rpartition('/')[2]} gauge",
        covers="battery",
        reads={**reads, "status": f"{folder}/status", **online},
        terms=terms,
        error=SensorError(gain=0.05, origin="5 % taken: a gauge's error is not told"),
        needs={"status": (DISCHARGING,), **dict.fromkeys(online, ("0",))},
        refusal=_CHARGING,
        settle=android and "current" in reads,
    )


def _quantities(told: Told, folder: str) -> tuple[dict[str, str], tuple[Term, ...]]:
    """Return what to read and what it sums to: current x voltage, or power where there is no current."""
    current, voltage, power = (f"{folder}/{name}_now" for name in ("current", "voltage", "power"))
    if told.number(current) is not None and told.number(voltage) is not None:
        return {"current": current, "voltage": voltage}, (Term(factors=("current", "voltage"), scale=1e-12),)
    if told.number(power) is not None:
        return {"power": power}, (Term(factors=("power",), scale=1e-6),)
    return {}, ()
