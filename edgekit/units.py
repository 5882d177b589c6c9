"""Numbers become text here and nowhere else; everything inside carries its unit in its name.

Three significant digits unless a function says otherwise, never an exponent for what a bench measures,
and nothing but ASCII, so that a log file and a C locale can take it.
"""

from __future__ import annotations

import math

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024.0
_FINEST = 6
"""Decimals at most: a millionth of a millisecond is a nanosecond, the clock's own step."""
_LARGEST = 1e9
_SMALLEST = 1e-6


def number_text(value: float, digits: int = 3) -> str:
    """Return a bare number: 0.31234 -> '0.312', 130.0 -> '130', 0.5 -> '0.5', 2.5e-9 -> '2.50e-09'."""
    if not math.isfinite(value):
        return str(value)
    if value != 0 and not _SMALLEST <= abs(value) < _LARGEST:
        return f"{value:.{digits - 1}e}"
    text = f"{value:.{_decimals(value, digits)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def bytes_text(count: float) -> str:
    """Return a size as text: 512 -> '512 B', 1572864 -> '1.5 MiB'."""
    value, unit = float(count), 0
    while round(abs(value), 1) >= _STEP and unit < len(_BINARY) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{value:.0f} {_BINARY[unit]}" if unit == 0 else f"{value:.1f} {_BINARY[unit]}"


def mib_text(count: float) -> str:
    """Return a size in MiB without its unit, for a column that names it: 1572864 -> '1.5'."""
    return f"{count / _STEP / _STEP:.1f}"


def ms_text(milliseconds: float) -> str:
    """Return a time with three significant digits: 0.01234 -> '0.0123 ms', 1234.5 -> '1234 ms'."""
    return f"{milliseconds:.{_decimals(milliseconds)}f} ms"


def interval_texts(value: float, low: float, high: float) -> tuple[str, str]:
    """Return a number and its interval with as many decimals as both need: ('12.3', '[12.1, 12.6]').

    The value has three significant digits; up to two more are shown where the interval is so narrow that its
    ends would otherwise read the same.
    """
    if not all(map(math.isfinite, (value, low, high))):
        return number_text(value), f"[{number_text(low)}, {number_text(high)}]"
    decimals = _decimals(value)
    for more in range(3):
        places = min(decimals + more, _FINEST)
        texts = [f"{number:.{places}f}" for number in (value, low, high)]
        if texts[1] != texts[2]:
            break
    else:
        texts = [f"{number:.{decimals}f}" for number in (value, low, high)]
    return texts[0], f"[{texts[1]}, {texts[2]}]"


def interval_text(value: float, low: float, high: float, unit: str = "ms") -> str:
    """Return a number with its interval and unit: '12.3 [12.1, 12.6] ms'."""
    number, interval = interval_texts(value, low, high)
    return f"{number} {interval} {unit}"


def count_text(count: float) -> str:
    """Return a count as engineers write it: 3504872 -> '3.50 M', 569000000 -> '569 M'."""
    rounded = float(f"{count:.2e}")
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rounded >= limit:
            return f"{rounded / limit:.{_decimals(rounded / limit)}f} {unit}"
    return f"{count:.0f}"


def percent_text(share: float) -> str:
    """Return a share of 1 as percent: 0.98765 -> '98.8 %', 1.0 -> '100 %', 0.9999 -> '99.99 %'.

    What is not everything never reads 100 %: decimals are added for it, at most four.
    """
    for places in (1, 2, 3, 4):
        text = f"{share * 100:.{places}f}"
        if share >= 1 or text != f"{100:.{places}f}":
            break
    return f"{text.rstrip('0').rstrip('.')} %"


def parse_share(text: str) -> float:
    """Return a share that is written as "2%", "0.5 %" or "0.02".

    Raises:
        ValueError: it is no number.
    """
    number = text.strip()
    return float(number[:-1]) / 100 if number.endswith("%") else float(number)


def mw_text(milliwatts: float) -> str:
    """Return a power: 812.4 -> '812 mW', 4321.0 -> '4.32 W'."""
    if float(f"{milliwatts:.2e}") >= 1000:  # noqa: PLR2004
        return f"{milliwatts / 1000:.{_decimals(milliwatts / 1000)}f} W"
    return f"{milliwatts:.{_decimals(milliwatts)}f} mW"


def uj_text(microjoules: float) -> str:
    """Return an energy in millijoules, the size of one inference: 1234.0 -> '1.23 mJ'."""
    return f"{microjoules / 1000:.{_decimals(microjoules / 1000)}f} mJ"


def khz_text(kilohertz: float) -> str:
    """Return a clock: 1500000 -> '1.50 GHz', 600000 -> '600 MHz'."""
    if kilohertz >= 1e6:  # noqa: PLR2004
        return f"{kilohertz / 1e6:.2f} GHz"
    return f"{kilohertz / 1e3:.0f} MHz"


def celsius_text(degrees: float) -> str:
    """Return a temperature: 48.312 -> '48.3 C'."""
    return f"{degrees:.1f} C"


def db_text(decibels: float) -> str:
    """Return a ratio in decibels: 33.04 -> '33.0 dB'; 200 and more stand for no difference: 'exact'."""
    return "exact" if decibels >= 200 else f"{decibels:.1f} dB"  # noqa: PLR2004


def ns_to_ms(nanoseconds: float) -> float:
    """Return nanoseconds as milliseconds."""
    return nanoseconds / 1e6


def _decimals(value: float, digits: int = 3) -> int:
    """Return how many decimals show `value` with `digits` significant digits, after rounding."""
    if value == 0 or not math.isfinite(value):
        return digits - 1
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    return min(max(0, digits - 1 - exponent), _FINEST)
