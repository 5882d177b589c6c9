"""Print how often the gate cries wolf, and how often it catches a true slow-down, in simulated noise.

    python tests/speed/gate.py [--times 2000] [--gate 0.05] [--rounds 40]

Exits with 1 when any noise has more than 1 % false alarms, or one of DECIDABLE less than 95 % caught.
Those were chosen after a first run, and the seeds are the same: what the exit status says of them is no
validation. The others miss 95 %, and the table shows by how much.
"""

from __future__ import annotations

import argparse
import math
import sys


def interval(hits, times):
    """Return Wilson's 95 % interval of a share."""
    z, p = 1.959964, hits / times
    middle, reach = p + z * z / 2 / times, z * math.sqrt(p * (1 - p) / times + (z / 2 / times) ** 2)
    return tuple(max(0.0, (middle + sign * reach) / (1 + z * z / times)) for sign in (-1, 1))


def tried(name, slower, options):
    """Return the decisions of simulated comparisons in one noise, seeded by its name."""
    import numpy as np

    from edgekit.bench.gate_noise import SCENARIOS, simulate

    rng = np.random.default_rng([*name.encode(), round(slower * 1000)])
    noise = SCENARIOS[name]
    return [
        simulate(noise, slower, gate=options.gate, rng=rng, rounds=options.rounds)
        for _ in range(options.times)
    ]


def row(decisions):
    """Return the share of alarms with its interval, that of no decision, and the mean rounds."""
    times = len(decisions)
    alarms = sum(d.word == "slower" for d in decisions)
    open_ = sum(d.word == "no decision" for d in decisions) / times
    return alarms / times, interval(alarms, times), open_, sum(d.blocks for d in decisions) / times


def main():
    """Print both numbers for each noise."""
    from edgekit.bench.gate_noise import DECIDABLE, SCENARIOS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=2000)
    parser.add_argument("--gate", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    missed = False
    for name, noise in SCENARIOS.items():
        sys.stdout.write(f"{name}: {noise.about}\n")
        for words, slower in (("no change", 0.0), ("true slow-down", options.gate)):
            share, (low, high), open_, rounds = row(tried(name, slower, options))
            sys.stdout.write(
                f"  {words} {slower:.1%}: alarms {share:.2%} [{low:.2%}, {high:.2%}],"
                f" no decision {open_:.2%}, {rounds:.1f} rounds of 4 runs\n"
            )
            goal = share >= 0.95 if slower else share <= 0.01
            missed |= not goal and (not slower or name in DECIDABLE)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
