"""Power: what a device could be measured with, and why it is not.

No sensor family is read yet. So the answer is always "not measurable here", with the reason that
holds for this device; a figure is never modelled in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgekit.targets import Target

_NOT_HERE = "not measurable here"


def unavailable(facts: Mapping[str, Any], target: Target | None = None) -> str:
    """Return why power can't be measured on a device.

    Args:
        facts: what the device said of itself; `emulated` says what pretends to be it, or is empty.
        target: its recognized kind, whose file lists the sensors that such devices have.
    """
    emulated = facts.get("emulated")
    if emulated == "fake":
        return f"{_NOT_HERE}: there is no device"
    if emulated:
        return f"{_NOT_HERE}: an emulated device ({emulated}) draws no power of its own"
    sensors = [s.source for s in target.sensors if s.measures == "power"] if target else []
    if sensors:
        return f"{_NOT_HERE}: no sensor that EdgeKit can read yet (such a device may have {sensors[0]})"
    return f"{_NOT_HERE}: no sensor that EdgeKit can read"
