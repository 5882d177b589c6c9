"""Finding the sensor that a device's power is measured with, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgekit.errors import UnknownNameError
from edgekit.plugins import Registry
from edgekit.probes.ask import ask
from edgekit.probes.base import NOT_HERE, Probe, Refusal, Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgekit.runners.transport import Transport
    from edgekit.targets import Target

PROBES: Registry[type[Probe]] = Registry("probe", refuse=UnknownNameError, group="edgekit.probes")
"""Families by name; an entry is a class whose instances are probes, or the import path of one."""
PROBES.add("hwmon", "edgekit.probes.hwmon:Hwmon")
PROBES.add("iio", "edgekit.probes.iio:Iio")
PROBES.add("jetson", "edgekit.probes.jetson:Jetson")
PROBES.add("odpm", "edgekit.probes.odpm:Odpm")
PROBES.add("pmic", "edgekit.probes.pmic:Pmic")
PROBES.add("power_supply", "edgekit.probes.power_supply:PowerSupply")
PROBES.add("rapl", "edgekit.probes.rapl:Rapl")

_RANK = ("board", "unknown", "parts", "battery")
"""What is preferred: the whole input, then what may be it; a gauge is slow, and sees the screen too."""
_NOT_ITS_OWN = {
    "fake": "there is no device",
    "qemu-user": "an emulated device (qemu-user) draws no power of its own: its sensors are its host's",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The sensors of a device.

    Attributes:
        watch: the one to measure with.
        others: the others that would do, the best first.
        refused: what is there and can't be used, and why.
    """

    watch: Watch
    others: tuple[Watch, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """Why power can't be measured on a device: one line that begins with "not measurable here"."""

    reason: str


def find(
    transport: Transport,
    facts: Mapping[str, Any],
    target: Target | None = None,
    *,
    sensor: str = "",
    probes: Iterable[Probe] | None = None,
) -> Found | Unavailable:
    """Look for power sensors on a device; it is asked once, and nothing is changed there.

    Args:
        transport: an open way to the device.
        facts: what the device said of itself; `emulated` says what pretends to be it, or is empty.
        target: its recognized kind, whose file lists the sensors that such devices have.
        sensor: a part of the wanted sensor's source ("hwmon2", "VDD_IN"); "" takes the best.
        probes: the families to ask for; None for all that are registered.

    Raises:
        DeviceError: the device does not answer.
    """
    emulated = str(facts.get("emulated") or "")
    if emulated in _NOT_ITS_OWN:
        return Unavailable(reason=f"{NOT_HERE}: {_NOT_ITS_OWN[emulated]}")
    families = [PROBES.get(name)() for name in PROBES] if probes is None else list(probes)
    told = ask(transport, families)
    watches: list[Watch] = []
    refused: list[str] = []
    for family in families:
        for found in family.find(told, target):
            if isinstance(found, Refusal):
                refused.append(found.reason)
            else:
                watches.append(_rooted(found, str(getattr(family, "root", ""))))
    watches.sort(key=lambda watch: _RANK.index(watch.covers))
    wanted = [w for w in watches if sensor.lower() in w.source.lower()]
    if wanted:
        others = tuple(w for w in watches if w is not wanted[0])
        return Found(watch=wanted[0], others=others, refused=tuple(refused))
    return Unavailable(reason=_reason(emulated, target, watches, refused, sensor))


def _rooted(watch: Watch, root: str) -> Watch:
    """Return the watch with its paths where they really lie."""
    return replace(watch, reads={n: f"{root}{p}" for n, p in watch.reads.items()}) if root else watch


def _reason(
    emulated: str, target: Target | None, watches: list[Watch], refused: list[str], sensor: str
) -> str:
    if sensor and watches:
        return f"{NOT_HERE}: no sensor is called {sensor!r}; there are {'; '.join(w.source for w in watches)}"
    if refused:
        return f"{NOT_HERE}: {'; '.join(dict.fromkeys(refused))[:600]}"
    if emulated:
        return f"{NOT_HERE}: an emulated device ({emulated}) draws no power of its own"
    sensors = [s.source for s in target.sensors if s.measures == "power"] if target else []
    if sensors:
        return f"{NOT_HERE}: no sensor that EdgeKit can read (such a device may have {sensors[0]})"
    return f"{NOT_HERE}: no sensor that EdgeKit can read"
