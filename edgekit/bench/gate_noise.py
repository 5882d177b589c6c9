"""What differs between runs of one artifact on real devices, simulated: to try the gate on. Pure.

A run's log latency is the truth, plus the run's own scatter (independent), plus a state that the next run
inherits (AR(1)), plus a drift (heating up: an exponential approach), plus the slower of two modes (a Markov
chain: the big cores or the little ones), plus rarely an outlier. Figures are of public reports where there
are any, else chosen, and say so. The sampling error of a run's own P50 is in its scatter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.bench.gate import ROUNDS, Decision, block_effect, decide, side_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The noise of a kind of device; all sizes are of the log latency, about relative.

    Attributes:
        about: where the figures come from.
        run: standard deviation from run to run, independent.
        state: standard deviation of what neighbouring runs share.
        keep: how much of that state the next run inherits, 0 to below 1.
        drift: the whole slow-down by heat.
        heats: runs until 63 % of it is there.
        mode: how much slower the second mode is.
        change: probability that a run begins in another mode than the last.
        outlier: probability of an outlier.
        beyond: mean of its size (exponential, only ever slower).
        rounds: the limit of blocks that this noise is given: where the default would end without a
            decision, about what the gate itself says that it needs.
    """

    about: str
    run: float
    state: float = 0.0
    keep: float = 0.0
    drift: float = 0.0
    heats: float = 20.0
    mode: float = 0.0
    change: float = 0.0
    outlier: float = 0.0
    beyond: float = 0.0
    rounds: int = ROUNDS


SCENARIOS = {
    "steady board": Noise(about="chosen: a fixed clock, 1 % between runs", run=0.01),
    "board": Noise(
        about="chosen: 2.5 % between runs, a state shared by neighbours, rare outliers",
        run=0.02, state=0.015, keep=0.7, outlier=0.01, beyond=0.1,
    ),
    "heating phone": Noise(
        about="chosen: 3 % between runs, 30 % slower once hot", run=0.03, state=0.02, keep=0.8, drift=0.3,
    ),
    "noisy phone": Noise(
        about="chosen: 5 % between runs, outliers", run=0.05, outlier=0.02, beyond=0.2,
    ),
    "two modes": Noise(
        about="chosen: one run in ten begins on other cores, 20 % slower", run=0.02, mode=0.2, change=0.1,
    ),
    "web bench": Noise(
        about="15 % between runs (mui-public#1712)", run=0.15, rounds=500,
    ),
    "phone farm": Noise(
        about="55 % between runs (executorch PR #10982, Galaxy S22)", run=0.55, rounds=7000,
    ),
}  # fmt: skip
"""Kinds of noise by name."""


def random_noise(rng: np.random.Generator) -> Noise:
    """Return a device that nobody chose: each parameter evenly from a range that the figures above span."""
    return Noise(
        about="drawn anew for each comparison",
        run=rng.uniform(0.005, 0.05), state=rng.uniform(0, 0.03), keep=rng.uniform(0, 0.95),
        drift=rng.uniform(0, 0.3), heats=rng.uniform(5, 60), mode=rng.uniform(0, 0.2),
        change=rng.uniform(0, 0.1), outlier=rng.uniform(0, 0.02), beyond=rng.uniform(0.05, 0.2),
    )  # fmt: skip


def latencies(noise: Noise, slower: float, turns: Sequence[bool], rng: np.random.Generator) -> list[float]:
    """Return latencies of blocks, in order, without unit; B is slower by `slower` (0.05 for 5 %).

    Args:
        noise: of the device.
        slower: how much longer B takes.
        turns: of each block whether it goes B A A B instead of A B B A.
        rng: chance.
    """
    count = 4 * len(turns)
    independent = rng.normal(0, noise.run, count)
    fresh = rng.normal(0, noise.state * math.sqrt(1 - noise.keep**2), count)
    changes = rng.random(count) < noise.change
    outliers = (rng.random(count) < noise.outlier) * rng.exponential(noise.beyond or 1.0, count)
    state, mode, made = float(rng.normal(0, noise.state)), bool(rng.integers(2)), []
    for number in range(count):
        state = noise.keep * state + float(fresh[number])
        mode = mode != bool(changes[number])
        heat = noise.drift * (1 - math.exp(-number / noise.heats))
        truth = math.log1p(slower) if side_of(number % 4, turned=turns[number // 4]) else 0.0
        log = truth + state + heat + noise.mode * mode + float(independent[number] + outliers[number])
        made.append(math.exp(log))
    return made


def simulate(
    noise: Noise, slower: float, *, gate: float, rng: np.random.Generator, rounds: int | None = None
) -> Decision:
    """Return what the gate decides in one simulated comparison that stops as soon as it can."""
    rounds = noise.rounds if rounds is None else rounds
    turns = [bool(coin) for coin in rng.integers(0, 2, rounds)]
    made = latencies(noise, slower, turns, rng)
    effects = [block_effect(made[4 * n : 4 * n + 4], turned=turned) for n, turned in enumerate(turns)]
    return decide(effects, gate=gate, rounds=rounds)
