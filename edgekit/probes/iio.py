"""IIO: INA219 and INA226 by the ina2xx-adc driver, and other converters that tell power.

By the kernel's ABI, (raw + offset) x scale is milliwatts, `_input` is milliwatts already, and energy is
joules (Documentation/ABI/testing/sysfs-bus-iio). ina2xx-adc tells its shunt in ohms.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.probes.base import Refusal, Term, Watch
from edgekit.probes.chips import CHIPS, chip_error, covers, limit_w, shunt_doubt, shunt_hint

if TYPE_CHECKING:
    from edgekit.probes.ask import Told
    from edgekit.targets import Target

_SCRIPT = r"""
for d in "$r"/sys/bus/iio/devices/iio:device*; do
  set -- "$d"/in_power*
  [ -e "$1" ] || continue
  f "$d"/name "$d"/in_power* "$d"/in_voltage*_raw "$d"/in_voltage*_scale "$d"/in_voltage*_integration_time \
    "$d"/in_oversampling_ratio "$d"/in_shunt_resistor
  [ -e "$d"/of_node/shunt-resistor ] && printf 'ok\t%s/declared\t1\n' "${d#"$r"}"
done
"""
_BASE = "/sys/bus/iio/devices/iio:device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Iio:
    """The family.

    Attributes:
        root: where the device's / is; "" but in tests.
        name: the family's.
    """

    root: str = ""
    name: str = "iio"

    def script(self) -> str:
        """Return the lines of shell."""
        return _SCRIPT

    def find(self, told: Told, target: Target | None) -> list[Watch | Refusal]:
        """Return every power channel."""
        supply_w = target.supply_w if target else None
        found: list[Watch | Refusal] = []
        for path in told.match(f"{_BASE}*/in_power*"):
            if re.search(r"/in_power\d*_(raw|input)\Z", path) and told.number(path) is not None:
                watch = _watch(told, path, supply_w)
                found += [watch] if watch else []
        for path, why in told.refused.items():
            if path.startswith(_BASE) and re.search(r"/in_power\d*_(raw|input)\Z", path):
                found.append(Refusal(family=self.name, reason=f"{path} can't be read ({why.strip()})"))
        return found


def _watch(told: Told, path: str, supply_w: float | None) -> Watch | None:
    folder, _, file = path.rpartition("/")
    channel, _, kind = file.rpartition("_")
    terms = _terms(told, f"{folder}/{channel}", channel, kind)
    if terms is None:
        return None
    name, label = told.text(f"{folder}/name"), told.text(f"{folder}/{channel}_label")
    ohm, volts = told.number(f"{folder}/in_shunt_resistor") or 0.0, _volts(told, folder)
    shunt = f"{folder}/in_shunt_resistor"
    hint = shunt_hint(shunt, ohm, name, per_ohm=1.0) if ohm else ""
    return Watch(
        family="iio",
        source=f"{name} {folder.rpartition('/')[2]} {channel}",
        covers=covers(label),
        reads={channel: path},
        terms=terms,
        error=chip_error(name, ohm, volts),
        interval_s=_interval(told, folder, name),
        volts=volts,
        limit_w=limit_w(volts, supply_w),
        hint=hint,
        doubts=shunt_doubt(name, ohm, hint, declared=f"{folder}/declared" in told.files),
    )


def _terms(told: Told, stem: str, channel: str, kind: str) -> tuple[Term, ...] | None:
    """Return what turns the reading into watts; None for a raw value without a scale."""
    if kind == "input":
        return (Term(factors=(channel,), scale=1e-3),)
    scale = told.number(f"{stem}_scale")
    if not scale:
        return None
    offset = told.number(f"{stem}_offset") or 0.0
    fixed = (Term(factors=(), scale=offset * scale * 1e-3),) if offset else ()
    return (Term(factors=(channel,), scale=scale * 1e-3), *fixed)


def _volts(told: Told, folder: str) -> float:
    """Return the bus voltage: ina2xx-adc's voltage1 (its voltage0 is the shunt's)."""
    raw, scale = (told.number(f"{folder}/in_voltage1_{kind}") for kind in ("raw", "scale"))
    return raw * scale / 1000 if raw and scale and raw * scale > 0 else 0.0


def _interval(told: Told, folder: str, name: str) -> float:
    """Return how often it converts: both conversions, as often as it averages."""
    times = [told.number(f"{folder}/in_voltage{n}_integration_time") for n in (0, 1)]
    ratio = told.number(f"{folder}/in_oversampling_ratio") or 1.0
    total = sum(t for t in times if t and t > 0) * ratio
    return total or (CHIPS[name].interval_s if name in CHIPS else 0.0)
