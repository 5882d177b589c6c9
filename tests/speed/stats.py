"""How often the intervals hold the truth: 95 of 100 times, by simulation; printed as a table.

    python tests/speed/stats.py [--draws 10000] [--only P95] [--seed 4]

Independent samples of three distributions, and first-order autoregressive ones whose neighbours correlate by
rho. An interval that is withheld is counted apart: it is no miss, for nothing was said.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.bench import stats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.bench.summary import Estimate

    Array = np.ndarray[Any, np.dtype[np.float64]]
    Make = Callable[[np.random.Generator, tuple[int, int]], Array]

LOW, HIGH = 0.94, 0.96
SEED = 2026
"""Of the independent samples that the tests draw too; correlated ones are drawn with the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is drawn.

    Attributes:
        name: of the distribution.
        count: samples a draw.
        rho: correlation of neighbours.
        make: draws rows of samples.
    """

    name: str
    count: int
    rho: float
    make: Make


def bimodal(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Return samples of two modes, as of two classes of cores."""
    return np.where(rng.random(shape) < 0.3, rng.normal(14, 0.4, shape), rng.normal(10, 0.3, shape))


def correlated(rho: float) -> Make:
    """Return what draws rows of first-order autoregressive noise of deviation 1."""

    def make(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
        steps = rng.normal(size=shape)
        rows: Array = np.empty(shape)
        rows[:, 0] = steps[:, 0]
        for i in range(1, shape[1]):
            rows[:, i] = rho * rows[:, i - 1] + np.sqrt(1 - rho * rho) * steps[:, i]
        return rows

    return make


SCENARIOS = (
    Scenario(name="normal", count=200, rho=0.0, make=lambda rng, shape: rng.normal(10, 1, shape)),
    Scenario(name="log-normal", count=200, rho=0.0, make=lambda rng, shape: rng.lognormal(0, 0.5, shape)),
    Scenario(name="two modes", count=200, rho=0.0, make=bimodal),
    *(
        Scenario(name="correlated", count=count, rho=rho, make=correlated(rho))
        for rho, count in ((0.3, 400), (0.6, 1000), (0.9, 1000), (0.9, 2000), (0.9, 4000))
    ),
)
ESTIMATES: dict[str, tuple[Callable[[Array], Estimate | None], Callable[[Array], float]]] = {
    "P50": (lambda x: stats.percentile(list(x), 0.5), lambda x: float(np.quantile(x, 0.5))),
    "P90": (lambda x: stats.percentile(list(x), 0.9), lambda x: float(np.quantile(x, 0.9))),
    "P95": (lambda x: stats.percentile(list(x), 0.95), lambda x: float(np.quantile(x, 0.95))),
    "mean": (lambda x: stats.mean(list(x)), lambda x: float(np.mean(x))),
    "MAD": (lambda x: stats.mad_estimate(list(x)), lambda x: float(np.median(np.abs(x - np.median(x))))),
}


def truth_of(scenario: Scenario, name: str) -> float:
    """Return the true value: a correlated series is spread like a normal one."""
    if scenario.rho:
        normal = statistics.NormalDist()
        return {"mean": 0.0, "MAD": normal.inv_cdf(0.75)}.get(name) or normal.inv_cdf(
            float(name[1:]) / 100 if name.startswith("P") else 0.5
        )
    drawn = scenario.make(np.random.default_rng(1), (2000, 2000)).ravel()
    return ESTIMATES[name][1](drawn)


def coverage(scenario: Scenario, name: str, draws: int, seed: int) -> tuple[float, float]:
    """Return which share of the intervals held the truth, and which share was withheld.

    Args:
        scenario: what is drawn.
        name: of the estimate.
        draws: how often.
        seed: of the random numbers.
    """
    truth, found = truth_of(scenario, name), []
    for rows in _chunks(scenario, draws, seed):
        found += [ESTIMATES[name][0](row) for row in rows]
    told = [estimate for estimate in found if estimate is not None]
    held = statistics.fmean(e.low <= truth <= e.high for e in told) if told else float("nan")
    return held, 1 - len(told) / len(found)


def _chunks(scenario: Scenario, draws: int, seed: int) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    while draws > 0:
        size = min(draws, 500)
        yield scenario.make(rng, (size, scenario.count))
        draws -= size


def main(argv: list[str]) -> int:
    """Print the table; return 1 when the interval of independent samples misses 94 to 96 %."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--only", choices=ESTIMATES)
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args(argv)
    missed = 0
    _say(f"{'samples':12} {'n':>5} {'rho':>4} {'of':>5} {'held':>7} {'withheld':>9}   ({args.draws} draws)")
    for scenario in SCENARIOS:
        for name in [args.only] if args.only else ESTIMATES:
            held, withheld = coverage(scenario, name, args.draws, args.seed + bool(scenario.rho))
            outside = not LOW <= held <= HIGH
            missed += outside and not scenario.rho
            what = f"{scenario.name:12} {scenario.count:5} {scenario.rho:4} {name:>5}"
            _say(f"{what} {held:7.1%} {withheld:9.1%}{'   outside 94 to 96 %' if outside else ''}")
    return int(missed > 0)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
