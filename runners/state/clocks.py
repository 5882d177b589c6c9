"""A device's clocks: which groups of cores share one, and the changes that set its governor and frequency."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import DeviceUnfitError, ProtocolError, StableDeviceError, UnknownNameError, UsageError
from edgekit.runners.state.change import Change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.runners.transport import Transport

_FIELDS = 9
_UNITS = {"": 1.0, "khz": 1.0, "mhz": 1e3, "ghz": 1e6}
# $1 is /sys or what stands in for it. A cooler at work caps scaling_max_freq, which then is not the user's.
_ASK = r"""
for p in "$1"/devices/system/cpu/cpufreq/policy*; do
  [ -d "$p" ] || continue
  line=$p
  for f in affected_cpus scaling_available_governors scaling_governor scaling_available_frequencies \
    scaling_boost_frequencies scaling_min_freq scaling_max_freq cpuinfo_max_freq; do
    line="$line|$(cat "$p/$f" 2>/dev/null)"
  done
  echo "$line"
done
for c in "$1"/class/thermal/cooling_device*; do
  case $(cat "$c/type" 2>/dev/null) in cpufreq*|thermal-cpufreq*|cpu-cluster*|Processor) ;; *) continue ;;
  esac
  s=$(cat "$c/cur_state" 2>/dev/null)
  [ "${s:-0}" = 0 ] || echo "cooling $(cat "$c/type") at step $s"
done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A group of cores that share a clock.

    Attributes:
        path: its folder in the device's sysfs.
        cpus: the cores' numbers.
        governors: those that can be had.
        governor: the one that rules now.
        khz: the frequencies that can be set, rising; empty where the driver takes any.
        min_khz: the lowest that is allowed now.
        max_khz: the highest that is allowed now.
        top_khz: the highest that the hardware has.
        cooling: what caps the clocks right now, or "".
    """

    path: str
    cpus: tuple[int, ...]
    governors: tuple[str, ...]
    governor: str
    khz: tuple[int, ...]
    min_khz: int
    max_khz: int
    top_khz: int
    cooling: str = ""

    @property
    def label(self) -> str:
        """Its cores in words: "the CPUs 0, 1"."""
        return f"the CPUs {', '.join(map(str, self.cpus))}"


def policies(transport: Transport, *, sysfs: str = "/sys") -> tuple[Policy, ...]:
    """Return the groups of cores of a device, in the order of their numbers.

    Args:
        transport: an open way to it.
        sysfs: where its sysfs is.

    Raises:
        DeviceUnfitError: it has no clock that can be set.
        ProtocolError: its answer can't be read.
    """
    address = transport.device.address
    lines = transport.check(["sh", "-c", _ASK, "sh", sysfs]).text.splitlines()
    cooling = next((line.removeprefix("cooling ") for line in lines if line.startswith("cooling ")), "")
    found = [_policy(line, cooling[:80], address) for line in lines if not line.startswith("cooling ")]
    if not found:
        what = f"its clocks can't be set: there is no {sysfs}/devices/system/cpu/cpufreq/policy*"
        raise DeviceUnfitError(address, what, hint="leave --governor and --frequency out")
    return tuple(sorted(found, key=lambda policy: policy.cpus))


def _policy(line: str, cooling: str, address: str) -> Policy:
    parts = [part.strip() for part in line.split("|")]
    if len(parts) != _FIELDS:
        raise ProtocolError(
            f"{address}: what its clocks are can't be read: {line[:60]!r}",
            hint="does its login print something?",
        )
    path, cpus, governors, governor, khz, boost, low, high, top = parts
    return Policy(
        path=path,
        cpus=_numbers(cpus),
        governors=tuple(governors.split()),
        governor=governor,
        khz=tuple(sorted({*_numbers(khz), *_numbers(boost)})),
        min_khz=_number(low),
        max_khz=_number(high),
        top_khz=_number(top),
        cooling=cooling,
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split() if word.isascii() and word.isdigit() and len(word) < 16)  # noqa: PLR2004


def _number(text: str) -> int:
    return next(iter(_numbers(text)), 0)


def governor(found: Sequence[Policy], name: str, *, cpus: Sequence[int] = ()) -> tuple[Change, ...]:
    """Return what sets the governor.

    Args:
        found: what `policies` returned.
        name: the governor's.
        cpus: only the groups that one of these belongs to; empty for all.

    Raises:
        UnknownNameError: a group has no such governor.
    """
    chosen = _of(found, cpus)
    for policy in chosen:
        if name not in policy.governors:
            raise UnknownNameError("governor", name, policy.governors)
    return tuple(_file(policy, "scaling_governor", name, "the governor") for policy in chosen)


def frequency(found: Sequence[Policy], khz: int, *, cpus: Sequence[int] = ()) -> tuple[Change, ...]:
    """Return what fixes the clock: its lowest and its highest allowed frequency are made the same.

    Each step leaves the lowest at or below the highest, and so does each step back in reverse: kernels refuse
    anything else.

    Args:
        found: what `policies` returned.
        khz: the frequency.
        cpus: only the groups that one of these belongs to; empty for all.

    Raises:
        UsageError: a group can't have it.
    """
    return tuple(change for policy in _of(found, cpus) for change in _fixed(policy, khz))


def _fixed(policy: Policy, khz: int) -> tuple[Change, ...]:
    if (policy.khz and khz not in policy.khz) or not 0 < khz <= max(policy.top_khz, *policy.khz, 0):
        can = ", ".join(f"{k / 1000:g}" for k in policy.khz) or f"up to {policy.top_khz / 1000:g}"
        what = f"{policy.label} can't run at {khz / 1000:g} MHz"
        raise UsageError(what, hint=f"choose one of: {can} MHz")
    low = _file(policy, "scaling_min_freq", str(khz), "the lowest clock")
    high = _file(policy, "scaling_max_freq", str(khz), "the highest clock")
    return (high, low) if khz >= policy.max_khz else (low, high)


def _file(policy: Policy, name: str, value: str, label: str) -> Change:
    return Change(kind="file", name=f"{policy.path}/{name}", value=value, label=f"{label} of {policy.label}")


def refuse_capped(found: Sequence[Policy], address: str) -> None:
    """Refuse to fix a clock that is capped right now: its cap would be taken for the user's own and put back.

    Raises:
        StableDeviceError: a cooler is at work.
    """
    if found and found[0].cooling:
        what = f"its clock is capped right now ({found[0].cooling}), so that its own limits can't be read"
        raise StableDeviceError(address, what, hint="let it cool first, with --cooldown")


def _of(found: Sequence[Policy], cpus: Sequence[int]) -> list[Policy]:
    return [policy for policy in found if not cpus or set(cpus) & set(policy.cpus)]


def parse_khz(text: str) -> int:
    """Return a frequency in kHz: "1400000", "1400MHz", "1.4 GHz".

    Raises:
        UsageError: it reads as none.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]hz)?\s*", text.lower())
    if match is None or not 0 < float(match[1]) * _UNITS[match[2] or ""] < 1e9:  # noqa: PLR2004
        raise UsageError(f"{text!r} is no frequency", hint="write 1400MHz, 1.4GHz, or 1400000 for kHz")
    return round(float(match[1]) * _UNITS[match[2] or ""])
