"""The gate: is B slower than A, judged by runs and not by samples. Pure.

The unit is the run: samples of one run share its temperature, its cores and its memory layout, and say
nothing of what the next run does. Runs are made in ABBA blocks; a block's effect is the mean log latency of
its two B less that of its two A, so that a linear drift cancels (D. Cox, "Planning of Experiments", 1958).
Blocks are looked at again and again; the error allowed is spent linearly over the looks of a fixed schedule
(K. Kim, D. DeMets, "Design and analysis of group sequential tests based on the type I error spending rate
function", 1987, rho = 1), each look taking its own share by Bonferroni's inequality, which needs nothing of
how looks depend on each other. An alarm must be confirmed by fresh blocks alone, which can only lower its
error.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.bench.summary import Estimate
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOKS = (3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 96)
"""Blocks after which a decision may be taken; below three there is no variance to speak of."""
ALARM = 0.01
"""Probability of an alarm without a change, spent over all looks."""
PASS = 0.025
"""Probability of "not slower" where B is slower by the gate, spent over all looks."""
CONFIRM = 0.05
"""One-sided level of the confirmation, by fresh blocks alone."""
INTERVAL = 0.05
"""One minus the confidence of the shown interval, spent over the looks too: it holds at every one of them."""
ROUNDS = 40
"""The limit of blocks by default: 160 runs; most comparisons end long before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the gate says.

    Attributes:
        word: "slower", "not slower" or "no decision".
        effect: B over A minus 1, with its 95 % interval; None without any variance to make it from.
        blocks: how many it was made from; runs of the smaller side where nothing was interleaved.
        why: one clause.
        final: whether no further block would be asked for.
    """

    word: str
    effect: Estimate | None
    blocks: int
    why: str
    final: bool = True


def block_effect(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the log-ratio of an ABBA block, from the latencies of its runs (any one unit, above 0)."""
    return (math.log(b[0]) + math.log(b[1]) - math.log(a[0]) - math.log(a[1])) / 2


def looks_of(rounds: int) -> tuple[int, ...]:
    """Return the looks within a limit of blocks; the last is the limit itself.

    Raises:
        UsageError: fewer blocks than the first look needs.
    """
    if rounds < LOOKS[0]:
        raise UsageError(f"{rounds} rounds tell nothing", hint=f"give {LOOKS[0]} or more")
    return (*(look for look in LOOKS if look < rounds), rounds)


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
    looks, before, fresh_from = looks_of(rounds), 0, 0
    for look in looks:
        if look > len(blocks):
            break
        share, before = (look - before) / rounds, look
        if fresh_from:  # an alarm waits: fresh blocks alone confirm it
            fresh = blocks[fresh_from:look]
            sure = len(fresh) >= LOOKS[0] and _lower(fresh, CONFIRM) > 0 and _mean(fresh) >= _half(gate)
            if sure and _mean(blocks[:look]) >= _half(gate):
                return _told("slower", blocks[:look], share, f"confirmed by {len(fresh)} fresh rounds")
        seen = blocks[:look]
        if not fresh_from and _lower(seen, ALARM * share) > 0 and _mean(seen) >= _half(gate):
            fresh_from = look
        elif _upper(seen, PASS * share) < math.log1p(gate):
            return _told("not slower", seen, share, f"a slow-down of {gate:.1%} is ruled out")
    final = len(blocks) >= rounds
    why = "the noise between runs is too large for this gate within the rounds" if final else "not enough yet"
    if final and fresh_from:
        why = "an alarm was not confirmed by fresh rounds"
    if not final and fresh_from:
        why = "an alarm waits for its confirmation"
    return _told("no decision", blocks, 1 / len(looks), why, final=final)


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
    middle = statistics.fmean(logs[1]) - statistics.fmean(logs[0])
    parts = [statistics.variance(side) / len(side) for side in logs]
    error = math.sqrt(sum(parts))
    spare = sum(part**2 / (len(side) - 1) for part, side in zip(parts, logs, strict=True))
    free = max(1, math.floor(sum(parts) ** 2 / spare)) if spare > 0 else least - 1

    def reach(level: float) -> float:
        return student_quantile(level, free) * error

    effect = _estimate(middle, reach(INTERVAL / 2), len(a) + len(b))
    word, why = "no decision", "the noise between runs is too large for this gate: make more runs"
    if middle - reach(ALARM) > 0 and middle >= _half(gate):
        word, why = "slower", "beyond what differs between runs of one side"
    elif middle + reach(PASS) < math.log1p(gate):
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


def _mean(blocks: Sequence[float]) -> float:
    return statistics.fmean(blocks)


def _reach(blocks: Sequence[float], level: float) -> float:
    error = statistics.stdev(blocks) / math.sqrt(len(blocks))
    return student_quantile(level, len(blocks) - 1) * error


def _lower(blocks: Sequence[float], level: float) -> float:
    return _mean(blocks) - _reach(blocks, level)


def _upper(blocks: Sequence[float], level: float) -> float:
    return _mean(blocks) + _reach(blocks, level)


def _estimate(middle: float, reach: float, count: int) -> Estimate:
    value, low, high = (math.expm1(min(x, 50.0)) for x in (middle, middle - reach, middle + reach))
    return Estimate(value=value, low=low, high=high, n=count)


def _told(word: str, blocks: Sequence[float], share: float, why: str, *, final: bool = True) -> Decision:
    effect = None
    if len(blocks) > 1:
        effect = _estimate(_mean(blocks), _reach(blocks, INTERVAL / 2 * share), len(blocks))
    return Decision(word=word, effect=effect, blocks=len(blocks), why=why, final=final)
