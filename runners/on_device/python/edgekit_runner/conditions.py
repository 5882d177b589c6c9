"""What the device was like: clocks, temperatures, throttling, load, and how fast a fixed piece of work is."""

from __future__ import annotations

import glob
import hashlib
import os
import time
from typing import Any

from . import mac
from .files import field_of, known, number_of, text_of
from .spool import NOW

THROTTLED = ((0, "under-voltage"), (1, "frequency capped"), (2, "throttled"), (3, "soft temperature limit"))
CANARY_TIMES, CANARY = 5, bytes(64 << 10)


def cluster(policy: str) -> dict[str, Any]:
    """Return governor and clock (kHz) of a group of cores that shares them."""
    told: dict[str, Any] = {"cpus": text_of(policy + "/affected_cpus")}
    told.update(
        governor=text_of(policy + "/scaling_governor"), cur_khz=number_of(policy + "/scaling_cur_freq")
    )
    return known(dict(told, max_khz=number_of(policy + "/cpuinfo_max_freq")))


def temperatures() -> dict[str, float]:
    """Return degrees Celsius by thermal zone; a second zone of one name gets its number."""
    told = [(name, number_of(zone + "/temp")) for zone, name in zones()]
    return {name: value / 1000.0 for name, value in told if value is not None}


def zones() -> list[tuple[str, str]]:
    """Return (folder, name) of the thermal zones that tell a temperature."""
    found: dict[str, str] = {}
    for zone in sorted(glob.glob("/sys/class/thermal/thermal_zone*"))[:64]:
        if number_of(zone + "/temp") is not None:
            name = (text_of(zone + "/type") or "zone")[:60]
            found[name + "#" + zone.rpartition("zone")[2] if name in found else name] = zone
    return [(zone, name) for name, zone in found.items()]


def trips() -> dict[str, dict[str, float]]:
    """Return the lowest degrees Celsius of each kind of trip point, by thermal zone."""
    found: dict[str, dict[str, float]] = {}
    for zone, name in zones():
        kinds: dict[str, float] = {}
        for path in glob.glob(zone + "/trip_point_*_type"):
            value, kind = number_of(path[:-4] + "temp"), (text_of(path) or "")[:60]
            if value is not None and kind:
                kinds[kind] = min(value / 1000.0, kinds.get(kind, float("inf")))
        found[name] = kinds
    return {name: kinds for name, kinds in found.items() if kinds}


def throttling(seen: dict[str, int]) -> dict[str, str | None]:
    """Return {"throttled": what holds the clock back, or did since `seen` was begun}, {} if nothing tells."""
    told = []
    mask = number_of("/sys/devices/platform/soc/soc:firmware/get_throttled")
    if mask is not None:
        new = (mask >> 16) & ~(seen.setdefault("mask", mask) >> 16)
        told += [name for bit, name in THROTTLED if (mask | new) >> bit & 1]
    coolers = sorted(glob.glob("/sys/class/thermal/cooling_device*"))
    for cooler in coolers:
        kind, state = text_of(cooler + "/type") or "", number_of(cooler + "/cur_state")
        if state and kind.startswith(("cpufreq", "thermal-cpufreq", "cpu-cluster", "Processor")):
            told.append(f"{kind[:60]} at step {state}")
    return {"throttled": ", ".join(told) or None} if coolers or mask is not None else {}


def conditions(when: str, seen: dict[str, int]) -> dict[str, object]:
    """Return the conditions line's fields; what can't be read is left out."""
    load, free = (text_of("/proc/loadavg") or "").split(), field_of("/proc/meminfo", "MemAvailable")
    told = {
        "when": when,
        "wall_ns": int(time.time() * 1e9),
        "canary_ns": canary(),
        "load1": float(load[0]) if load else None,
        "mem_available_bytes": int(free.split()[0]) * 1024 if free else None,
        "cpus_allowed": field_of("/proc/self/status", "Cpus_allowed_list"),
        "clusters": [cluster(path) for path in sorted(glob.glob("/sys/devices/system/cpu/cpufreq/policy*"))],
        "temperatures": temperatures(),
        "trips": trips() if when == "before" else None,
    }
    if mac.HERE:
        return dict(known(dict(told, load1=mac.load1())), **mac.throttling())
    return dict(known(told), **throttling(seen))


def canary() -> int:
    """Return how long a fixed piece of work takes, in nanoseconds: the median of a few."""
    told = []
    for _ in range(CANARY_TIMES):
        start = NOW()
        hashlib.sha256(CANARY).digest()
        told.append(NOW() - start)
    return sorted(told)[CANARY_TIMES // 2]


def pin(cpus: list[int]) -> None:
    """Keep this process, and all threads that it starts, to these CPUs; an empty list leaves it free."""
    if cpus:
        os.sched_setaffinity(0, cpus)


def threads_now() -> int:
    """Return how many threads this process has."""
    return int(field_of("/proc/self/status", "Threads") or 0)


def placed(before: int) -> dict[str, object]:
    """Return where this process may run and how many threads were started since there were `before`."""
    told = {"threads_before": before, "threads_after": threads_now()}
    return dict(told, cpus_allowed=field_of("/proc/self/status", "Cpus_allowed_list"))
