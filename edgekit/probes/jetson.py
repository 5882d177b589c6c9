"""Jetson rails as JetPack 4's own driver tells them: ina3221x, iio paths, milliwatts.

Later kernels have hwmon's ina3221, which the hwmon family reads. A rail's name says what it is: POM_5V_IN or
VDD_IN is the whole input; the others are parts, summed where no rail is the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.probes.base import Refusal, Term, Watch
from edgekit.probes.chips import chip_error, covers, limit_w

if TYPE_CHECKING:
    from edgekit.probes.ask import Told
    from edgekit.targets import Target

_SCRIPT = r"""
for d in "$r"/sys/bus/i2c/drivers/ina3221x/*/iio:device*; do
  f "$d"/in_power*_input "$d"/rail_name_* "$d"/in_voltage*_input
done
"""
_INTERVAL_S = 0.0066


@dataclass(frozen=True, slots=True, kw_only=True)
class Jetson:
    """The family.

    Attributes:
        root: where the device's / is; "" but in tests.
        name: the family's.
    """

    root: str = ""
    name: str = "jetson"

    def script(self) -> str:
        """Return the lines of shell."""
        return _SCRIPT

    def find(self, told: Told, target: Target | None) -> list[Watch | Refusal]:
        """Return the whole input's rail, or the sum of all rails; and every rail by itself."""
        pattern = "/sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_power*_input"
        rails = {_rail(told, p): p for p in told.match(pattern) if told.number(p) is not None}
        supply_w = target.supply_w if target else None
        found: list[Watch | Refusal] = [_watch(told, {rail: path}, supply_w) for rail, path in rails.items()]
        if len(rails) > 1 and not any(covers(rail) == "board" for rail in rails):
            found.insert(0, _watch(told, rails, supply_w))
        for path, why in told.refused.items():
            if path.startswith("/sys/bus/i2c/drivers/ina3221x/") and path.endswith("_input"):
                found.append(Refusal(family=self.name, reason=f"{path} can't be read ({why.strip()})"))
        return found


def _rail(told: Told, path: str) -> str:
    folder, _, file = path.rpartition("/")
    number = file.removeprefix("in_power").removesuffix("_input")
    return told.text(f"{folder}/rail_name_{number}") or f"{folder.rpartition('/')[2]} {file}"


def _watch(told: Told, rails: dict[str, str], supply_w: float | None) -> Watch:
    names = tuple(rails)
    volts = (told.number(rails[names[0]].replace("in_power", "in_voltage")) or 0.0) / 1000
    whole = len(rails) == 1 and covers(names[0]) == "board"
    return Watch(
        family="jetson",
        source=f"ina3221x {' + '.join(names)}",
        covers="board" if whole else "parts",
        reads=rails,
        terms=tuple(Term(factors=(name,), scale=1e-3) for name in names),
        error=chip_error("ina3221", 0.0, volts),
        interval_s=_INTERVAL_S,
        volts=volts,
        limit_w=limit_w(0.0, supply_w),
    )
