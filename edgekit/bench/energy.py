"""Energy of windows out of readings: pure arithmetic, each number with what makes it uncertain.

A window's mean power is the integral of the readings' straight-line interpolation over its length. Standard
uncertainties are combined as the GUM says (JCGM 100:2008): a bound +-a without more knowledge is a/sqrt(3)
(4.3.7), independent ones add as squares (5.1.2), and 1.96 of them make the 95 % interval.

    noise     of the readings, from successive differences (J. von Neumann and others, "The mean square
              successive difference", 1941): a slow change or a step is not noise
    gaps      a step lies anywhere between two readings: difference x gap / sqrt(12) each
    sensor    gain and offset as its data sheet bounds them; half a step of its register
    drift     the idle power during the run lies between that before and that after
    clock     where the host's clock had to be aligned with the device's
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Z95 = 1.959964
NS = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Mean power over one or several windows.

    Attributes:
        watts: the mean.
        u_w: its standard uncertainty from noise and gaps, in watts.
        seconds: how long the windows are together.
        count: readings in them.
        fresh: how many of those told something new, as far as can be seen.
    """

    watts: float
    u_w: float
    seconds: float
    count: int
    fresh: float


def power_level(
    times: Sequence[float], watts: Sequence[float], windows: Sequence[tuple[float, float]], interval: float
) -> Level | None:
    """Return the mean of a power over windows, or None where no reading lies in them.

    Args:
        times: of the middle of what each reading is the mean of, in nanoseconds, ascending.
        watts: the readings.
        windows: (begin, end) in nanoseconds.
        interval: nanoseconds in which the sensor has a new value; a reading is their mean.
    """
    parts = [_window(times, watts, window, interval) for window in windows]
    used = [part for part in parts if part is not None]
    if not used:
        return None
    total = sum(part.seconds for part in used)
    joules = sum(part.watts * part.seconds for part in used)
    spread = math.sqrt(sum((part.u_w * part.seconds) ** 2 for part in used))
    return Level(
        watts=joules / total,
        u_w=spread / total,
        seconds=total,
        count=sum(part.count for part in used),
        fresh=sum(part.fresh for part in used),
    )


def _window(
    times: Sequence[float], watts: Sequence[float], window: tuple[float, float], interval: float
) -> Level | None:
    begin, end = window
    # What a reading is the mean of has to lie within the window whole.
    inside = [
        (t, w) for t, w in zip(times, watts, strict=True) if begin + interval / 2 <= t <= end - interval / 2
    ]
    if not inside or end <= begin:
        return None
    edges = [begin, *(t for t, _ in inside), end]
    values = [inside[0][1], *(w for _, w in inside), inside[-1][1]]
    gaps = [(b - a) / NS for a, b in itertools.pairwise(edges)]
    joules = sum(gap * (p + q) / 2 for gap, (p, q) in zip(gaps, itertools.pairwise(values), strict=True))
    steps = [q - p for p, q in itertools.pairwise(values[1:-1])]
    seconds, noise = (end - begin) / NS, _noise(steps)
    # Before the first reading and after the last one the power is not known: as uneven as the readings are.
    open_ends = (gaps[0] ** 2 + gaps[-1] ** 2) * _typical(steps) ** 2
    unseen = math.fsum((step * gap) ** 2 for step, gap in zip(steps, gaps[1:-1], strict=True)) + open_ends
    fresh = min(float(len(inside)), (end - begin) / interval) if interval > 0 else float(changes(inside))
    return Level(
        watts=joules / seconds,
        u_w=math.sqrt(noise**2 / max(1.0, fresh) + unseen / 12.0 / seconds**2),
        seconds=seconds,
        count=len(inside),
        fresh=fresh,
    )


def changes(readings: Sequence[tuple[float, float]]) -> int:
    """Return how often a reading differs from the one before."""
    return sum(a[1] != b[1] for a, b in itertools.pairwise(readings))


def _noise(steps: Sequence[float]) -> float:
    """Return the standard deviation of the readings' noise, by their successive differences."""
    if not steps:
        return 0.0
    return math.sqrt(math.fsum(step * step for step in steps) / (2.0 * len(steps)))


def _typical(steps: Sequence[float]) -> float:
    return math.sqrt(math.fsum(step * step for step in steps) / len(steps)) if steps else 0.0


def counter_level(
    times: Sequence[float], joules: Sequence[float], windows: Sequence[tuple[float, float]], interval: float
) -> Level | None:
    """Return the mean power over windows by a running total, or None where none holds two of its values.

    Only the moments at which the total changed are known; each lies between the reading that shows it and
    the one before, or within the counter's own interval where that is shorter.

    Args:
        times: of the readings, in nanoseconds, ascending.
        joules: the running total, wraps undone.
        windows: (begin, end) in nanoseconds.
        interval: nanoseconds in which the counter changes; 0 where nobody knows.
    """
    total, span, square, fresh, count = 0.0, 0.0, 0.0, 0, 0
    for begin, end in windows:
        inside = [(t, e) for t, e in zip(times, joules, strict=True) if begin <= t <= end]
        marks = [b for a, b in itertools.pairwise(inside) if b[1] != a[1]]
        count += len(inside)
        if len(marks) < 2:  # noqa: PLR2004 - a difference takes two
            continue
        seconds = (marks[-1][0] - marks[0][0]) / NS
        gap = (inside[-1][0] - inside[0][0]) / NS / max(1, len(inside) - 1)
        late = min(gap, interval / NS) if interval > 0 else gap
        power = (marks[-1][1] - marks[0][1]) / seconds
        total, span = total + power * seconds, span + seconds
        square += 2.0 * (power * late) ** 2 / 12.0
        fresh += len(marks)
    if span <= 0:
        return None
    u_w = math.sqrt(square) / span
    return Level(watts=total / span, u_w=u_w, seconds=span, count=count, fresh=float(fresh))


def unwrapped(values: Sequence[float], wrap: float) -> list[float]:
    """Return a counter that begins anew at `wrap` as one that does not; with wrap 0 as it is."""
    told, carried = [], 0.0
    for index, value in enumerate(values):
        if wrap > 0 and index and value < values[index - 1]:
            carried += wrap
        told.append(value + carried)
    return told


def half_width(standard: Sequence[float], bounds: Sequence[float]) -> float:
    """Return half of the 95 % interval of a sum.

    Args:
        standard: standard uncertainties.
        bounds: largest errors, nothing more being known of them.
    """
    squares = [u * u for u in standard] + [a * a / 3.0 for a in bounds]
    return Z95 * math.sqrt(math.fsum(squares))


def signed_rank_interval(values: Sequence[float]) -> tuple[float, float, float] | None:
    """Return median and 95 % interval of paired differences; None below six, which can't back one.

    The Hodges-Lehmann estimate with the interval of Wilcoxon's signed-rank test (M. Hollander, D. A. Wolfe,
    "Nonparametric Statistical Methods", sections 3.2 and 3.3): one disturbed pair does not carry it away.
    """
    averages = sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])
    ways = [1]  # ways[s]: how many subsets of the ranks 1..n have the sum s
    for rank in range(1, len(values) + 1):
        ways = [
            (ways[s] if s < len(ways) else 0) + (ways[s - rank] if 0 <= s - rank < len(ways) else 0)
            for s in range(len(ways) + rank)
        ]
    below, skip = 0.0, 0
    for way in ways:
        below += way / 2.0 ** len(values)
        if below > 0.025:  # noqa: PLR2004 - each tail of 95 %
            break
        skip += 1
    if skip == 0:
        return None
    middle = len(averages) // 2
    point = averages[middle] if len(averages) % 2 else (averages[middle - 1] + averages[middle]) / 2
    return point, averages[skip - 1], averages[-skip]
