"""What a device's conditions are by its own account, asked for by the host between the passes.

The program on the device tells clocks and zones while it runs; here is what needs a program of the system to
be asked: Android's thermal status and battery, a Raspberry Pi's firmware, what charges.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgekit.runners.transport import Transport

_MAX_LINES = 2000
_MAX_TEXT = 60
_THROTTLED = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
_STICKY = 16
"""A firmware's bit N says that N is so now; bit N + 16 that it was so since boot."""
_THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
_HELD_BACK = 2
"""From Android's "moderate" on the system may throttle; "light" is a warning to programs."""
_STATUS = {"2": "charging", "3": "discharging", "4": "not charging", "5": "full"}
_COLDEST, _HOTTEST, _MILLI = -40.0, 150.0, 2000.0
_CPU_ZONE = re.compile(r"cpu|soc|core|pkg|cluster|k10temp|tctl|\b(big|mid|little)\b", re.IGNORECASE)
_NO_CPU = re.compile(r"gpu|npu|batt|charg|skin|modem|wifi|ddr|pmic", re.IGNORECASE)

# $1 is /sys or what stands in for it.
_ASK = r"""
if command -v vcgencmd >/dev/null 2>&1; then echo "pi|$(vcgencmd get_throttled 2>&1 </dev/null)"; fi
if command -v getprop >/dev/null 2>&1; then
  dumpsys thermalservice 2>/dev/null </dev/null | sed 's/^/thermal|/'
  dumpsys battery 2>/dev/null </dev/null | sed 's/^/battery|/'
fi
for p in "$1"/class/power_supply/*; do
  [ -d "$p" ] || continue
  line=
  for f in type scope status online capacity; do line="$line|$(cat "$p/$f" 2>/dev/null)"; done
  echo "supply|${p##*/}$line"
done
"""
_ASK_ZONES = r"""
for z in "$1"/class/thermal/thermal_zone*; do
  t=$(cat "$z/temp" 2>/dev/null) && echo "zone|$(cat "$z/type" 2>/dev/null)|$t"
done
for h in "$1"/class/hwmon/hwmon*; do
  for f in "$h"/temp*_input; do
    t=$(cat "$f" 2>/dev/null) || continue
    n=${f%_input}; echo "zone|$(cat "$h/name" 2>/dev/null) $(cat "${n}_label" 2>/dev/null)|$t"
  done
done
if command -v getprop >/dev/null 2>&1; then
  dumpsys thermalservice 2>/dev/null </dev/null | sed 's/^/thermal|/'
fi
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A place whose temperature a device tells.

    Attributes:
        name: in the device's words.
        celsius: how hot it is.
        cpu: whether it is one of its CPU's.
    """

    name: str
    celsius: float
    cpu: bool


def host_conditions(
    transport: Transport, *, before: Mapping[str, Any] | None = None, sysfs: str = "/sys"
) -> dict[str, Any]:
    """Ask a device for what only its system's own programs tell.

    Args:
        transport: an open way to it.
        before: what this returned before the passes, so that what came and went between is told too.
        sysfs: where its sysfs is.

    Returns:
        What it tells, of these: thermal_status (0 to 6, Android's), thermal_override, temperatures
        {name: degrees C}, trips {name: {status: degrees C from which on it holds}}, throttle_mask (a Pi's),
        throttled (text, None when it is not), power_status ("charging", "discharging",
        "not charging", "full"), plugged, battery_percent, battery_faked.

    Raises:
        DeviceError: it does not answer.
    """
    told = _sections(transport, _ASK, sysfs)
    found = {**_supplies(told["supply"]), **_battery(told["battery"])}
    thermal = _thermal(told["thermal"])
    mask = _mask(told["pi"])
    if mask is not None:
        thermal["throttle_mask"] = mask
    if mask is not None or "thermal_status" in thermal:
        thermal["throttled"] = _throttled(thermal, before or {})
    return {**found, **thermal}


def zones(transport: Transport, *, sysfs: str = "/sys") -> tuple[Zone, ...]:
    """Return the temperatures that a device tells, in its own order; what is not fitted is left out.

    Args:
        transport: an open way to it.
        sysfs: where its sysfs is.

    Raises:
        DeviceError: it does not answer.
    """
    told = _sections(transport, _ASK_ZONES, sysfs)
    found = [zone for line in told["zone"] if (zone := _zone(*line.rpartition("|")[::2])) is not None]
    return (*found, *(zone for line in told["thermal"] if (zone := _hal_zone(line)) is not None))


def _sections(transport: Transport, script: str, sysfs: str) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {key: [] for key in ("pi", "thermal", "battery", "supply", "zone")}
    answer = transport.run(["sh", "-c", script, "sh", sysfs]).text
    for line in answer.splitlines()[:_MAX_LINES]:
        key, _, rest = line.partition("|")
        if key in sections:
            sections[key].append("".join(c for c in rest.replace("\t", " ") if c.isprintable()))
    sections["thermal"] = list(_current(sections["thermal"]))
    return sections


def _current(lines: Iterable[str]) -> Iterable[str]:
    """Yield the lines but for those of the block of cached temperatures, which are stale."""
    wanted = True
    for line in lines:
        if line.rstrip().endswith(":") and not line[:1].isspace():
            wanted = not line.startswith("Cached")
        elif wanted:
            yield line


def _zone(name: str, text: str) -> Zone | None:
    """Return a zone of sysfs; its unit goes by its size: mC by the rules, 0.1 C and C on some phones."""
    if not re.fullmatch(r"-?[0-9]{1,7}", text.strip()):
        return None
    value = float(text)
    celsius = value / (1000 if abs(value) >= _MILLI else 10 if abs(value) > _HOTTEST else 1)
    name = name.strip()[:_MAX_TEXT] or "zone"
    cpu = bool(_CPU_ZONE.search(name)) and not _NO_CPU.search(name)
    return Zone(name=name, celsius=celsius, cpu=cpu) if value and _COLDEST < celsius < _HOTTEST else None


_HAL = re.compile(
    r"Temperature\{mValue=(-?[0-9]{1,9}(?:\.[0-9]{0,9})?), mType=(-?[0-9]{1,9}), "
    r"mName=([^,}]{1,60}), mStatus=[0-9]\}"
)
_PERCENT = re.compile(r"100|[0-9]{1,2}")


def _hal_zone(line: str) -> Zone | None:
    match = _HAL.search(line)
    if match is None:
        return None
    celsius = float(match[1])
    fitted = celsius and _COLDEST < celsius < _HOTTEST
    return Zone(name=match[3], celsius=celsius, cpu=match[2] == "0") if fitted else None


def _thermal(lines: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in lines:
        if match := re.search(r"Thermal Status: ([0-9])\b", line):
            found["thermal_status"] = int(match[1])
        if "IsStatusOverride: true" in line:
            found["thermal_override"] = True
    hot = {zone.name: zone.celsius for line in lines if (zone := _hal_zone(line)) is not None}
    limits = dict(limit for line in lines if (limit := _hal_limits(line)) is not None)
    trips = {name: limits[name] for name in hot if limits.get(name)}
    return {**found, **({"temperatures": hot} if hot else {}), **({"trips": trips} if trips else {})}


_LIMITS = re.compile(
    r"TemperatureThreshold\{mType=-?\d+, mName=([^,}]{1,60}), mHotThrottlingThresholds=\[([^]]{0,200})\]"
)


def _hal_limits(line: str) -> tuple[str, dict[str, float]] | None:
    """Return a zone and from how many degrees on each thermal status holds; NaN is none."""
    match = _LIMITS.search(line)
    if match is None:
        return None
    told = zip(_THERMAL, match[2].split(","), strict=False)
    return match[1], {
        name: float(text) for name, text in told if re.fullmatch(r" ?\d{1,3}(\.\d{1,9})?", text)
    }


def _mask(lines: list[str]) -> int | None:
    match = re.search(r"throttled=0x([0-9a-fA-F]{1,8})\b", "".join(lines[:1]))
    return int(match[1], 16) if match else None


def _throttled(now: Mapping[str, Any], before: Mapping[str, Any]) -> str | None:
    """Return what holds a device back, or did since `before`; None when nothing does."""
    mask, seen = now.get("throttle_mask", 0), before.get("throttle_mask", now.get("throttle_mask", 0))
    bits = mask | ((mask & ~seen) >> _STICKY)
    told = [name for bit, name in enumerate(_THROTTLED) if bits >> bit & 1]
    status = now.get("thermal_status", 0)
    if status >= _HELD_BACK:
        told.append(f"thermal status {_THERMAL[status] if status < len(_THERMAL) else status}")
    return ", ".join(told) or None


def _battery(lines: list[str]) -> dict[str, Any]:
    """Read `dumpsys battery`; after `set` or `unplug` all of it is pretended, and nothing of it is taken."""
    if any("UPDATES STOPPED" in line for line in lines):
        return {"battery_faked": True}
    table = {key: value for key, colon, value in (line.strip().partition(": ") for line in lines) if colon}
    found: dict[str, Any] = {}
    powered = [value for key, value in table.items() if key.endswith(" powered")]
    if powered:
        found["plugged"] = "true" in powered
    if (status := table.get("status", "")) in _STATUS:
        found["power_status"] = _STATUS[status]
    if _PERCENT.fullmatch(level := table.get("level", "")):
        found["battery_percent"] = int(level)
    return found


def _supplies(lines: list[str]) -> dict[str, Any]:
    """Read /sys/class/power_supply: batteries of the device itself, not of its mouse, and its chargers."""
    found: dict[str, Any] = {}
    for line in lines:
        name, kind, scope, status, online, percent, *_ = [*line.split("|"), *[""] * 6]
        if scope == "Device" or not name:
            continue
        if kind == "Battery" and status:
            found["power_status"] = status.lower()[:_MAX_TEXT]
            if _PERCENT.fullmatch(percent):
                found["battery_percent"] = int(percent)
        elif kind and online.isdigit():
            found["plugged"] = found.get("plugged", False) or online != "0"
    return found
