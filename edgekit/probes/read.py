"""From raw texts to watts and joules: pure, and never a number out of garbage.

Android's batteries tell microamperes or milliamperes, microvolts or millivolts, and a discharging current
with either sign. Unit and sign are settled once, from the readings under load: no device that computes
draws less than 10 mA, so a median below 10,000 is milliamperes; and since only readings count that say
"Discharging", their common sign is that of discharging.
"""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING

from edgekit.probes.ask import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edgekit.probes.base import Term, Watch

MICROAMPERES = 10_000.0
MICROVOLTS = 100_000.0
_NO_CURRENT = {0.0, -22.0, -2147483648.0, 2147483647.0}
_MOST_MICROAMPERES = 20e6
_PMIC = re.compile(
    r"^[ \t]{0,40}([A-Za-z0-9_]{1,40})[ \t]{1,40}(?:current|volt)\(\d+\)=([-+0-9.eE]{1,20})([AV])\s{0,9}$",
    re.MULTILINE,
)
_ODPM_HAL = re.compile(r"\[([^\]\s]{1,60})\]\S{0,60}[ \t]{1,60}([0-9.]{1,20})[ \t]{0,9}mWs\b")
_ODPM_FILE = re.compile(
    r"^[ \t]{0,40}CH\d{1,4}\(T=\d{1,20}\)\[([^\]\s]{1,60})\],[ \t]{0,40}(\d{1,18})[ \t\r]{0,40}$",
    re.MULTILINE,
)


def pmic_numbers(text: str) -> dict[str, float]:
    """Return what `vcgencmd pmic_read_adc` tells: VDD_CORE_A -> amperes, VDD_CORE_V -> volts."""
    found = ((m[1], number_of(m[2]), m[3]) for m in _PMIC.finditer(text))
    return {name: value for name, value, unit in found if value is not None and name.endswith(f"_{unit}")}


def odpm_numbers(text: str) -> dict[str, float]:
    """Return the energy of each rail: milliwatt-seconds of the HAL's words, microwatt-seconds of sysfs'."""
    found = (_ODPM_FILE if "(T=" in text else _ODPM_HAL).findall(text)
    numbers = ((name, number_of(value)) for name, value in found)
    return {name: value for name, value in numbers if value is not None}


def _each(raw: Mapping[str, str]) -> dict[str, float]:
    numbers = ((name, number_of(text)) for name, text in raw.items())
    return {name: value for name, value in numbers if value is not None}


def _merged(parse: Callable[[str], dict[str, float]]) -> Callable[[Mapping[str, str]], dict[str, float]]:
    return lambda raw: {name: value for text in raw.values() for name, value in parse(text).items()}


READERS: dict[str, Callable[[Mapping[str, str]], dict[str, float]]] = {
    "number": _each,
    "pmic": _merged(pmic_numbers),
    "odpm": _merged(odpm_numbers),
}


def fits(watch: Watch, raw: Mapping[str, str]) -> bool:
    """Return whether a reading says all that it needs to say to count."""
    return all(raw.get(name, "").strip() in texts for name, texts in watch.needs.items())


def numbers_of(watch: Watch, raw: Mapping[str, str]) -> dict[str, float]:
    """Return the numbers of a reading; what is none is not there."""
    found = READERS[watch.reader](raw)
    current = found.get("current")
    if watch.settle and (current in _NO_CURRENT or abs(current or 0.0) > _MOST_MICROAMPERES):
        found.pop("current", None)
    return found


def products(terms: Sequence[Term], numbers: Mapping[str, float]) -> list[float] | None:
    """Return each term's product, before its scale; None where a number is missing."""
    if not all(name in numbers for term in terms for name in term.factors):
        return None
    values = [math.prod(numbers[name] for name in term.factors) for term in terms]
    return values if all(map(math.isfinite, values)) else None


def settled(watch: Watch, loaded: Iterable[Mapping[str, float]]) -> Watch | str:
    """Return the watch with the unit and sign that its readings under load show, or why they show none.

    Args:
        watch: of a battery.
        loaded: the numbers of all readings under load that count.
    """
    loaded = list(loaded)
    currents = [n["current"] for n in loaded if "current" in n]
    volts = [n["voltage"] for n in loaded if n.get("voltage", 0.0) > 0]
    if not currents or not volts:
        return "the battery told no current and voltage that could be one"
    negative = sum(c < 0 for c in currents)
    if negative not in {0, len(currents)}:
        return "the battery's current changed its sign under load, so nobody knows which is discharging"
    amps = 1e-3 if statistics.median(map(abs, currents)) < MICROAMPERES else 1e-6
    unit = 1e-3 if statistics.median(volts) < MICROVOLTS else 1e-6
    term = replace(watch.terms[0], scale=(-1.0 if negative else 1.0) * amps * unit)
    how = f"{'mA' if amps == 1e-3 else 'uA'}, {'negative' if negative else 'positive'} when discharging"  # noqa: PLR2004
    return replace(watch, terms=(term,), settle=False, source=f"{watch.source} ({how})")
