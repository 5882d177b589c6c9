"""The gate: is B slower than A, judged by runs and not by samples. Pure.

The unit is the run: samples of one run share its temperature, its cores and its memory layout, and say
nothing of what the next run does. Runs are made in blocks A B B A or B A A B, each by the toss of a coin; a
block's effect is the mean log latency of its two B less that of its two A, so that a linear drift cancels
(D. Cox, "Planning of Experiments", 1958). The coin makes the signs of what is left of the noise coins too:
signed ranks then keep their error whatever the noise is, drifting, clustered or with outliers (ranks.py).

Blocks are looked at again and again; the error allowed is spent over the looks, the k-th taking 1 / k(k + 1)
of it, by Bonferroni's inequality, which needs nothing of how looks depend on each other. An alarm must be
confirmed by fresh blocks alone: their coins know nothing of the alarm, so that the two errors multiply.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.bench.ranks import bounds, middle, rather_above, surely_above, surely_below
from edgekit.bench.summary import Estimate
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST = 7
"""Blocks before the first look: fewer leave no sign test a chance at these levels."""
FRESH = 5
"""Fresh blocks before an alarm is first confirmed."""
GROWTH = 1.35
"""Each look has about so many times the blocks of the last."""
SUSPICION = 0.1
"""Probability that an alarm is raised without a change, spent over all looks."""
CONFIRM = 0.1
"""Probability that fresh blocks confirm it without one; false alarms are the product, 1 % at most."""
ALARM = SUSPICION * CONFIRM
"""Probability of "slower" without a change."""
PASS = 0.025
"""Probability of "not slower" where B is slower by the gate, spent over all looks."""
INTERVAL = 0.05
"""One minus the confidence of the shown interval, spent over the looks too: it holds at every one of them."""
ROUNDS = 64
"""The limit of blocks by default: 256 runs; most comparisons end after 7 to 12 blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the gate says.

    Attributes:
        word: "slower", "not slower" or "no decision".
        effect: B over A minus 1, with its 95 % interval, as of the last look; None before the first.
        blocks: how many it was made from; runs of the smaller side where nothing was interleaved.
        why: one clause.
        final: whether no further block would be asked for.
        needed: about how many blocks would have decided, where these did not.
    """

    word: str
    effect: Estimate | None
    blocks: int
    why: str
    final: bool = True
    needed: int | None = None


def side_of(place: int, *, turned: bool) -> int:
    """Return whose turn a place of a block is, 0 for A and 1 for B: A B B A, or turned B A A B."""
    return (0, 1, 1, 0)[place] ^ turned


def block_effect(block: Sequence[float], *, turned: bool) -> float:
    """Return the log-ratio of B to A in a block, from the latencies of its four runs (any unit, above 0)."""
    first, second, third, fourth = (math.log(value) for value in block)
    effect = (second + third - first - fourth) / 2
    return -effect if turned else effect


def looks_of(rounds: int, first: int = FIRST) -> tuple[int, ...]:
    """Return the looks within a limit of blocks; the last is the limit itself.

    Raises:
        UsageError: fewer blocks than the first look needs.
    """
    if rounds < first:
        raise UsageError(f"{rounds} rounds tell nothing", hint=f"give {first} or more")
    looks = [first]
    while (after := math.ceil(looks[-1] * GROWTH)) < rounds:
        looks.append(after)
    return (*looks, rounds) if looks[-1] < rounds else tuple(looks)


def decide(blocks: Sequence[float], *, gate: float, rounds: int = ROUNDS) -> Decision:
    """Go through the looks as they come and return the decision after these blocks.

    Args:
        blocks: effects of blocks (log-ratios) in the order in which they were made.
        gate: the slow-down that has to be caught, 0.05 for 5 %.
        rounds: the limit of blocks that was set before the first of them.

    Raises:
        UsageError: the gate or the rounds are no such thing.
    """
    if not 0 < gate < 1:
        raise UsageError(f"a gate of {gate:g} is none", hint="write --gate 5%")
    looks = looks_of(rounds)
    alarm = 0
    confirming: tuple[int, ...] = ()
    for count in range(FIRST, min(len(blocks), rounds) + 1):
        seen = blocks[:count]
        if count - alarm in confirming:
            level = CONFIRM * _share(confirming.index(count - alarm))
            if surely_above(seen[alarm:], 0.0, level) and _large(seen[alarm:], gate) and _large(seen, gate):
                return _told("slower", seen, looks, gate, f"confirmed by {count - alarm} fresh rounds")
        if count not in looks:
            continue
        share = _share(looks.index(count))
        if not alarm and surely_above(seen, 0.0, SUSPICION * share) and _large(seen, gate):
            alarm = count
            confirming = looks_of(rounds - count, FRESH) if rounds - count >= FRESH else ()
        elif surely_below(seen, math.log1p(gate), PASS * share):
            return _told("not slower", seen, looks, gate, f"a slow-down of {gate:.1%} is ruled out")
    final = len(blocks) >= rounds
    why = "the noise between runs is too large for this gate within the rounds" if final else "not enough yet"
    if alarm:
        why = "an alarm was not confirmed" if final else "an alarm waits for its confirmation"
    return _told("no decision", blocks, looks, gate, why, final=final)


def decide_sides(a: Sequence[float], b: Sequence[float], *, gate: float) -> Decision:
    """Decide from runs that were not interleaved: Welch's test on logs, looked at once.

    Args:
        a: a latency of each run of A, in any one unit.
        b: of each run of B.
        gate: the slow-down that has to be caught.

    Source: B. Welch, "The generalization of Student's problem", 1947; degrees of freedom rounded down.
    """
    least = min(len(a), len(b))
    if least < 2:  # noqa: PLR2004 - one run has no variance
        why = "one run a side says nothing of the next run: make two or more of each"
        return Decision(word="no decision", effect=None, blocks=least, why=why)
    logs = [[math.log(value) for value in side] for side in (a, b)]
    center = statistics.fmean(logs[1]) - statistics.fmean(logs[0])
    parts = [statistics.variance(side) / len(side) for side in logs]
    error = math.sqrt(sum(parts))
    spare = sum(part**2 / (len(side) - 1) for part, side in zip(parts, logs, strict=True))
    free = max(1, math.floor(sum(parts) ** 2 / spare)) if spare > 0 else least - 1

    def reach(level: float) -> float:
        return student_quantile(level, free) * error

    effect = _estimate(center, center - reach(INTERVAL / 2), center + reach(INTERVAL / 2), len(a) + len(b))
    word, why = "no decision", "the noise between runs is too large for this gate: make more runs"
    if center - reach(ALARM) > 0 and center >= _half(gate):
        word, why = "slower", "beyond what differs between runs of one side"
    elif center + reach(PASS) < math.log1p(gate):
        word, why = "not slower", f"a slow-down of {gate:.1%} is ruled out"
    return Decision(word=word, effect=effect, blocks=least, why=why)


def student_quantile(level: float, free: int) -> float:
    """Return t with P(T > t) = level for whole degrees of freedom, by bisection of the closed form.

    Source: M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions", 1964, 26.7.3 and 26.7.4.
    """
    low, high = 0.0, 1.0
    while _tail(high, free) > level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _tail(middle, free) > level else (low, middle)
    return high


def _tail(t: float, free: int) -> float:
    angle = math.atan(t / math.sqrt(free))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = free % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for number in range(1 + odd, free, 2):
        total += term
        term *= cosine**2 * number / (number + 1)
    inside = (angle + sine * total) * 2 / math.pi if odd else sine * total
    return (1 - inside) / 2


def _half(gate: float) -> float:
    """Return the least effect that alarms: below it, the effect is nearer to none than to the gate."""
    return math.log1p(gate) / 2


def _large(blocks: Sequence[float], gate: float) -> bool:
    return rather_above(blocks, _half(gate))


def _share(look: int) -> float:
    """Return what the look of this number, from 0 on, takes of an error; all that may come take 1."""
    return 1 / ((look + 1) * (look + 2))


def _estimate(value: float, low: float, high: float, count: int) -> Estimate:
    value, low, high = (math.expm1(min(x, 50.0)) for x in (value, low, high))
    return Estimate(value=value, low=low, high=high, n=count)


def _told(
    word: str, blocks: Sequence[float], looks: Sequence[int], gate: float, why: str, *, final: bool = True
) -> Decision:
    number = max((n for n, look in enumerate(looks) if look <= len(blocks)), default=None)
    seen = blocks[: looks[number]] if number is not None else ()
    reach = bounds(seen, INTERVAL * _share(number)) if number is not None else None
    if reach is None:
        return Decision(word=word, effect=None, blocks=len(blocks), why=why, final=final)
    low, high = reach
    effect = _estimate(middle(seen), low, high, len(seen))
    needed = None
    if word == "no decision":  # an interval half as wide as the gate would lie on one side or the other
        needed = max(len(blocks) + 1, math.ceil(len(seen) * ((high - low) / math.log1p(gate)) ** 2))
    return Decision(word=word, effect=effect, blocks=len(blocks), why=why, final=final, needed=needed)
