"""Numbers become text here and nowhere else; everything inside carries its unit in its name."""

from __future__ import annotations

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024.0


def bytes_text(count: float) -> str:
    """Return a size as text: 512 -> '512 B', 1572864 -> '1.5 MiB'."""
    value, unit = float(count), 0
    while abs(value) >= _STEP and unit < len(_BINARY) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{value:.0f} {_BINARY[unit]}" if unit == 0 else f"{value:.1f} {_BINARY[unit]}"


def ms_text(milliseconds: float) -> str:
    """Return a time with three significant digits: 0.01234 -> '0.0123 ms', 1234.5 -> '1234 ms'."""
    if milliseconds >= 100:  # noqa: PLR2004
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds:#.3g} ms"


def count_text(count: float) -> str:
    """Return a count as engineers write it: 3504872 -> '3.50 M', 569000000 -> '569 M'."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= limit:
            return f"{count / limit:#.3g} {unit}".replace(". ", " ")
    return f"{count:.0f}"


def ns_to_ms(nanoseconds: float) -> float:
    """Return nanoseconds as milliseconds."""
    return nanoseconds / 1e6
