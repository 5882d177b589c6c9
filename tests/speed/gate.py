"""Print how often the gate cries wolf, and how often it catches a true slow-down, in simulated noise.

    python tests/speed/gate.py [--times 1000] [--gate 0.05] [--seed 20261123]

Each noise gets the rounds that it states; where those are more than the default, a second pair of lines says
what the default comes to, and how many rounds the gate says would decide. "Random devices" are drawn anew for
each comparison. The gate was settled on other seeds than the default one. "Caught" is judged with the rounds
stated, false alarms in every line. Exits with 1 when any of them has certainly more than 1 % false
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


def tried(name, noise, slower, options, rounds=None):
    """Return the decisions of comparisons in one noise; None means random devices, or the noise's rounds."""
    import numpy as np

    from edgekit.bench.gate_noise import random_noise, simulate

    rng = np.random.default_rng(
        [options.seed, *name.encode(), round(slower * 1000), *([rounds] if rounds else [])]
    )
    most = rounds or (noise.rounds if noise else 0)
    return [
        simulate(noise or random_noise(rng), slower, gate=options.gate, rng=rng, rounds=rounds)
        for _ in range(options.times // 5 if most > LONG else options.times)
    ]


def row(decisions, truth):
    """Return the hits, and a line of figures."""
    times, hits = len(decisions), sum(d.word == "slower" for d in decisions)
    low, high = interval(hits, times)
    open_ = sum(d.word == "no decision" for d in decisions) / times
    rounds = sorted(d.blocks for d in decisions)
    held = [d.effect.low <= truth <= d.effect.high for d in decisions if d.effect]
    needed = [d.needed for d in decisions if d.needed]
    more = f", says that about {statistics.median(needed):.0f} would decide" if needed else ""
    return (low, high), (
        f"{hits / times:.2%} alarms [{low:.2%}, {high:.2%}] of {times}, no decision {open_:.2%},"
        f" rounds {statistics.median(rounds):.0f} (95 %: {rounds[int(0.95 * times)]}),"
        f" intervals that held {statistics.fmean(held):.1%}{more}\n"
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
        sys.stdout.write(f"{name}: {about}\n")
        for rounds in (None, ROUNDS) if noise and noise.rounds > ROUNDS else (None,):
            most = rounds or (noise.rounds if noise else ROUNDS)
            sys.stdout.write(f" at most {most} rounds of 4 runs{' (the default)' * (most == ROUNDS)}\n")
            for words, slower in (("no change    ", 0.0), ("true slow-down", options.gate)):
                (low, high), line = row(tried(name, noise, slower, options, rounds), slower)
                missed |= (high < 0.95 and rounds is None) if slower else low > 0.01
                sys.stdout.write(f"  {words} {slower:.1%}: {line}")
                sys.stdout.flush()
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
