"""hwmon: INA219, INA226, INA260, INA3221, PMBus and whatever else tells watts, or volts and amperes.

The kernel's units are microwatts, milliamperes, millivolts and microjoules
(Documentation/hwmon/sysfs-interface.rst). An ina2xx tells its shunt in microohms in `shunt_resistor`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.probes.base import Refusal, Term, Watch
from edgekit.probes.chips import CHIPS, chip_error, covers, limit_w, shunt_doubt, shunt_hint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.probes.ask import Told
    from edgekit.targets import Target

# power_supply's shadows have a `type` below `device`; they are power_supply's business.
_SCRIPT = r"""
for d in "$r"/sys/class/hwmon/hwmon*; do
  set -- "$d"/power*_input "$d"/power*_average "$d"/curr*_input "$d"/energy*_input
  for p; do [ -e "$p" ] && break; done
  [ -e "$p" ] || continue
  f "$d"/name "$d"/device/name "$d"/device/type "$d"/update_interval "$d"/shunt*_resistor "$d"/power*_input \
    "$d"/power*_average "$d"/power*_label "$d"/curr*_input "$d"/curr*_label "$d"/in[0-9]_input \
    "$d"/in[0-9]_label "$d"/energy*_input "$d"/energy*_label
  [ -e "$d"/device/of_node/shunt-resistor ] && printf 'ok\t%s/declared\t1\n' "${d#"$r"}"
done
"""
_PARTS = ("amdgpu", "radeon", "nouveau", "i915", "xe", "zenpower", "fam15h_power", "amd_energy", "nvme")
"""Drivers of what is a part of a computer, with labels that do not say so."""
_METER = "power_meter"
"""ACPI's own meter: the whole machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hwmon:
    """The family.

    Attributes:
        root: where the device's / is; "" but in tests.
        name: the family's.
    """

    root: str = ""
    name: str = "hwmon"

    def script(self) -> str:
        """Return the lines of shell."""
        return _SCRIPT

    def find(self, told: Told, target: Target | None) -> list[Watch | Refusal]:
        """Return every channel that tells power or energy."""
        folders = [path.rpartition("/")[0] for path in told.match("/sys/class/hwmon/hwmon*/name")]
        supply_w = target.supply_w if target else None
        found: list[Watch | Refusal] = [
            watch
            for folder in folders
            if not told.text(f"{folder}/device/type")
            for watch in _Monitor(told, folder, supply_w).watches()
        ]
        for path, why in told.refused.items():
            if re.fullmatch(r"/sys/class/hwmon/hwmon\d+/(power|curr|energy)\d+_input", path):
                found.append(Refusal(family=self.name, reason=f"{path} can't be read ({why.strip()})"))
        return found


class _Monitor:
    """One hwmon device."""

    def __init__(self, told: Told, folder: str, supply_w: float | None) -> None:
        self.told, self.folder, self.supply_w = told, folder, supply_w
        self.name = told.text(f"{folder}/name")
        self.short = folder.rpartition("/")[2]

    def watches(self) -> Iterator[Watch]:
        """Yield its channels: power first; current times voltage where a channel tells no power."""
        told, powers = self.told, False
        for pattern, quantity in (
            ("power*_input", "power"),
            ("power*_average", "power"),
            ("energy*_input", "energy"),
        ):
            for path in [] if powers else told.match(f"{self.folder}/{pattern}"):
                if told.number(path) is not None:
                    yield self._direct(path, quantity)
                    powers = True
        if not powers:
            yield from self._products()

    def _direct(self, path: str, quantity: str) -> Watch:
        channel = path.rpartition("/")[2].rpartition("_")[0]
        return self._watch(channel, {channel: path}, Term(factors=(channel,), scale=1e-6), quantity)

    def _products(self) -> Iterator[Watch]:
        for path in self.told.match(f"{self.folder}/curr*_input"):
            number = path.rpartition("/curr")[2].rpartition("_")[0]
            volts = f"{self.folder}/in{number}_input"
            if self.told.number(volts) is None or self.told.number(path) is None:
                continue
            reads = {f"curr{number}": path, f"in{number}": volts}
            term = Term(factors=tuple(reads), scale=1e-6)
            yield self._watch(f"in{number}", reads, term, "power")

    def _watch(self, channel: str, reads: dict[str, str], term: Term, quantity: str) -> Watch:
        number = re.sub(r"\D", "", channel)
        label = self.told.text(f"{self.folder}/{channel}_label")
        volts = self._volts(number)
        path, ohm = self._shunt(number)
        hint = shunt_hint(path, ohm, self.name) if path else ""
        declared = f"{self.folder}/declared" in self.told.files
        return Watch(
            family="hwmon",
            source=" ".join(
                part for part in (self.name, self.short, channel, label and f"({label})") if part
            ),
            covers=self._covers(label),
            quantity=quantity,
            reads=reads,
            terms=(term,),
            error=chip_error(self.name, ohm, volts),
            interval_s=self._interval(),
            volts=volts,
            limit_w=limit_w(volts, self.supply_w),
            hint=hint,
            doubts=(*shunt_doubt(self.name, ohm, hint, declared=declared), *self._mismatch(reads, volts)),
        )

    def _covers(self, label: str) -> str:
        if self.name == _METER:
            return "board"
        return "parts" if self.name in _PARTS else covers(label)

    def _volts(self, number: str) -> float:
        """Return the bus voltage: in1 of an ina2xx (its in0 is the shunt's), the channel's own elsewhere."""
        told = self.told.number(f"{self.folder}/in{number}_input")
        return told / 1000 if told and told > 0 else 0.0

    def _shunt(self, number: str) -> tuple[str, float]:
        for name in ("shunt_resistor", f"shunt{number}_resistor"):
            path = f"{self.folder}/{name}"
            value = self.told.number(path)
            if value and value > 0:
                return path, value * 1e-6
        return "", 0.0

    def _interval(self) -> float:
        told = self.told.number(f"{self.folder}/update_interval")
        if told and told > 0:
            return told / 1000
        return CHIPS[self.name].interval_s if self.name in CHIPS else 0.0

    def _mismatch(self, reads: dict[str, str], volts: float) -> tuple[tuple[str, float, float, str], ...]:
        """Return the doubt that power is not current times voltage, where one channel tells all three."""
        power = self.told.number(reads.get("power1", ""))
        amps = self.told.number(f"{self.folder}/curr1_input")
        if not power or not amps or not volts or self.name not in CHIPS:
            return ()
        ratio = power * 1e-6 / (abs(amps) / 1000 * volts)
        if (
            abs(ratio - 1) <= MISMATCH_LIMIT
            or abs(power * 1e-6 - abs(amps) / 1000 * volts) < MISMATCH_LEAST_W
        ):
            return ()
        hint = "Its power is not its current times its voltage: the driver's calibration is wrong."
        return (("power-mismatch", ratio - 1, MISMATCH_LIMIT, hint),)


MISMATCH_LIMIT = 0.3
"""Power against current times voltage. They are read one after the other, and a load may step meanwhile."""
MISMATCH_LEAST_W = 0.2
