"""Which CPUs of a device are meant: by class or by number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.runners.facts import Cluster

CLASSES = ("little", "mid", "big")
_TWO = 2


def check_cores(text: str) -> None:
    """Raise UsageError unless a text names a class of cores, CPU numbers, or ("") nothing.

    Raises:
        UsageError: it is none of these.
    """
    if text and text not in CLASSES and not re.fullmatch(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", text):
        raise UsageError(f"{text!r} names no cores", hint=f"give {', '.join(CLASSES)}, or numbers: 0-3,6")


def cores_of(
    cpus: Sequence[tuple[str, int | None]], text: str, *, clusters: Sequence[Cluster] = ()
) -> tuple[int, ...]:
    """Return the numbers of the CPUs that a text means on a device; empty when it names none.

    Cores of one name and one highest clock make a class. With two classes the slower is "little", the
    faster "big"; with more of them whatever lies between is "mid".

    Args:
        cpus: (name, highest clock in MHz or None) of every core, as the device's facts tell.
        text: "big", "mid", "little", CPU numbers ("0-3,6"), or "".
        clusters: the cores by kind, the slowest first, where the facts tell; they know what the kernel says
            of each kind's capacity, which names and clocks do not.

    Raises:
        UsageError: the device has no such class, or no such CPU.
    """
    check_cores(text)
    if not text:
        return ()
    if text not in CLASSES:
        return _numbers(text, len(cpus))
    kinds_of = [(one.name, one.cpus) for one in clusters] or _kinds(cpus)
    ordered = [numbers for _, numbers in kinds_of]
    if len(ordered) < _TWO or (text == "mid" and len(ordered) == _TWO):
        kinds = ", ".join(f"{len(numbers)} x {name or 'unnamed'}" for name, numbers in kinds_of)
        raise UsageError(f"the device has no {text} cores (it has {kinds or 'none that it names'})",
                         hint="leave --cores out, or give CPU numbers")  # fmt: skip
    between = tuple(sorted(number for group in ordered[1:-1] for number in group))
    return {"little": ordered[0], "mid": between, "big": ordered[-1]}[text]


def _kinds(cpus: Sequence[tuple[str, int | None]]) -> list[tuple[str, tuple[int, ...]]]:
    """Return name and CPU numbers of each kind of core, the slowest clock first."""
    groups: dict[tuple[int, str], list[int]] = {}
    for number, (name, mhz) in enumerate(cpus):
        groups.setdefault((mhz or 0, name), []).append(number)
    return [(key[1], tuple(groups[key])) for key in sorted(groups)]


def _numbers(text: str, count: int) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    if not found or (count and max(found) >= count):
        raise UsageError(f"the device has no such CPUs: {text}", hint=f"its CPUs are 0 to {count - 1}")
    return tuple(sorted(found))
