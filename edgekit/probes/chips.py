"""Sensor chips: how wrong their makers say they may be, and what names of rails mean.

Gains and offsets are the data sheets' maxima over temperature: TI SBOS547 (INA226), SBOS448 (INA219, grade
A), SBOS656 (INA260), SBOS576 (INA3221). A shunt beside the chip adds its own tolerance, which nobody tells;
1 % is what such boards carry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.probes.base import SensorError

SHUNT_TOLERANCE = 0.01
ASSUMED_GAIN = 0.05
"""Taken where a maker tells no error."""

_WHOLE = re.compile(r"(?i)(vdd_in|pom_5v_in|vin|input|board|total|supply|psys|pin)\Z")
USB_VOLTS = (4.4, 5.6)
USB_WATTS = 28.0
"""A 5 V supply through USB-C gives 5 A at most (USB Type-C, release 2.0); 12 % more is no reading of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A current and power monitor.

    Attributes:
        gain: of current and bus voltage together.
        shunt_offset_v: of the voltage over the shunt.
        shunt_lsb_v: the step of that voltage.
        power_lsbs: how many steps of current make one of the power register, in volts.
        interval_s: how often it has a new value as its driver sets it up.
        offset_a: of the current, for a chip with a shunt of its own.
        usual_ohm: of the shunt on the common modules; 0 where there is no such thing.
    """

    gain: float
    shunt_offset_v: float = 0.0
    shunt_lsb_v: float = 0.0
    power_lsbs: float = 0.0
    interval_s: float = 0.0
    offset_a: float = 0.0
    usual_ohm: float = 0.0


CHIPS = {
    "ina219": Chip(
        gain=0.02, shunt_offset_v=100e-6, shunt_lsb_v=10e-6, power_lsbs=20, interval_s=0.0011, usual_ohm=0.1
    ),
    "ina226": Chip(
        gain=0.002, shunt_offset_v=10e-6, shunt_lsb_v=2.5e-6, power_lsbs=25, interval_s=0.0352
    ),
    "ina260": Chip(gain=0.005, offset_a=5e-3, interval_s=0.0022),
    "ina3221": Chip(gain=0.005, shunt_offset_v=80e-6, shunt_lsb_v=40e-6, interval_s=0.0066),
}  # fmt: skip
DRIVER_OHM = 0.01
"""What the ina2xx drivers take when nobody tells them the shunt (drivers/hwmon/ina2xx.c: 10000 uOhm)."""


def chip_error(name: str, ohm: float, volts: float) -> SensorError:
    """Return how wrong a power reading of this chip may be.

    Args:
        name: the chip's, as its driver says.
        ohm: its shunt; 0 where it is not known.
        volts: on its bus; 0 where it is not known.
    """
    chip = CHIPS.get(name)
    if chip is None:
        return SensorError(gain=ASSUMED_GAIN, origin=f"5 % taken: no data sheet of {name or 'it'} is at hand")
    if chip.offset_a:
        return SensorError(gain=chip.gain, offset_w=chip.offset_a * volts, lsb_w=0.01, origin=_sheet(name))
    if ohm <= 0:
        return SensorError(gain=ASSUMED_GAIN, origin=f"5 % taken: the shunt of the {name} is not told")
    step = chip.shunt_lsb_v / ohm
    return SensorError(
        gain=chip.gain + SHUNT_TOLERANCE,
        offset_w=chip.shunt_offset_v / ohm * volts,
        lsb_w=step * (chip.power_lsbs or volts),
        origin=f"{_sheet(name)}, 1 % for its shunt",
    )


def covers(label: str, *, default: str = "unknown") -> str:
    """Return what a sensor of this label sees: "board" for an input, "parts" for any other named rail."""
    if not label:
        return default
    return "board" if _WHOLE.match(label) else "parts"


def limit_w(volts: float, supply_w: float | None) -> float:
    """Return more than a device can draw: its supply's power, else USB's on a 5 V bus, else 0 (not known)."""
    if supply_w:
        return supply_w * 1.1
    return USB_WATTS if USB_VOLTS[0] <= volts <= USB_VOLTS[1] else 0.0


def shunt_hint(path: str, ohm: float, chip: str, *, per_ohm: float = 1e6) -> str:
    """Return what to do about a shunt's value that can't be right.

    Args:
        path: the driver's file of it.
        ohm: what that file says, in ohms.
        chip: its name.
        per_ohm: what that file says for one ohm.
    """
    usual = CHIPS[chip].usual_ohm if chip in CHIPS else 0.0
    told = f"its driver reckons with a shunt of {ohm * 1000:g} mOhm"
    if usual and abs(usual - ohm) > usual / 100:
        return f"{told}, {chip} modules carry {usual * 1000:g} mOhm: echo {usual * per_ohm:g} >{path}"
    return f"{told}: read the shunt's true value on the board, and write it to {path}"


def shunt_doubt(
    chip: str, ohm: float, hint: str, *, declared: bool
) -> tuple[tuple[str, float, float, str], ...]:
    """Return the doubt that nobody told the driver which shunt there is, or nothing."""
    usual = CHIPS[chip].usual_ohm if chip in CHIPS else 0.0
    if declared or not usual or abs(ohm - DRIVER_OHM) > DRIVER_OHM / 100:
        return ()
    return (("shunt-default", ohm * 1000, usual * 1000, f"Nobody told the driver the shunt: {hint}."),)


def _sheet(name: str) -> str:
    return f"the {name.upper()}'s data sheet"
