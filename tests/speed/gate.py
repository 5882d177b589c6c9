"""Print how often the gate cries wolf, and how often it catches a true slow-down, in simulated noise.

    python tests/speed/gate.py [--times 1000] [--gate 0.05] [--seed 20261123]

Each noise gets the rounds that it states; "random devices" are drawn anew for each comparison. The gate was
settled on other seeds than the default one. Exits with 1 when any of them has certainly more than 1 % false
alarms, or certainly less than 95 % caught: when Wilson's 95 % interval of the share lies wholly beyond.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys

LONG = 1000  # beyond so many rounds a simulation takes its time: a fifth of the comparisons


def interval(hits, times):
    """Return Wilson's 95 % interval of a share."""
    z, p = 1.959964, hits / times
    middle, reach = p + z * z / 2 / times, z * math.sqrt(p * (1 - p) / times + (z / 2 / times) ** 2)
    return tuple(max(0.0, (middle + sign * reach) / (1 + z * z / times)) for sign in (-1, 1))


def tried(name, noise, slower, options):
    """Return the decisions of simulated comparisons in one noise; None means random devices."""
    import numpy as np

    from edgekit.bench.gate_noise import random_noise, simulate

    rng = np.random.default_rng([options.seed, *name.encode(), round(slower * 1000)])
    times = options.times // 5 if noise is not None and noise.rounds > LONG else options.times
    return [simulate(noise or random_noise(rng), slower, gate=options.gate, rng=rng) for _ in range(times)]


def row(decisions, truth):
    """Return the hits, and a line of figures."""
    times, hits = len(decisions), sum(d.word == "slower" for d in decisions)
    low, high = interval(hits, times)
    open_ = sum(d.word == "no decision" for d in decisions) / times
    rounds = sorted(d.blocks for d in decisions)
    held = [d.effect.low <= truth <= d.effect.high for d in decisions if d.effect]
    return (low, high), (
        f"{hits / times:.2%} alarms [{low:.2%}, {high:.2%}] of {times}, no decision {open_:.2%},"
        f" rounds {statistics.median(rounds):.0f} (95 %: {rounds[int(0.95 * times)]}),"
        f" intervals that held {statistics.fmean(held):.1%}\n"
    )


def main():
    """Print both numbers for each noise."""
    from edgekit.bench.gate import ROUNDS
    from edgekit.bench.gate_noise import SCENARIOS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=1000, help="comparisons of a row")
    parser.add_argument("--gate", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=20261123)
    options = parser.parse_args()
    missed = False
    for name, noise in {**SCENARIOS, "random devices": None}.items():
        about = noise.about if noise else "each parameter drawn evenly from its range"
        rounds = noise.rounds if noise else ROUNDS
        sys.stdout.write(f"{name}: {about}; at most {rounds} rounds of 4 runs\n")
        for words, slower in (("no change    ", 0.0), ("true slow-down", options.gate)):
            (low, high), line = row(tried(name, noise, slower, options), slower)
            wrong = high < 0.95 if slower else low > 0.01
            missed |= wrong
            sys.stdout.write(f"  {words} {slower:.1%}: {line}")
            sys.stdout.flush()
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
