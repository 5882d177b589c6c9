"""The long lane: every fuzzed test over and over, each time with other inputs, for FUZZ_S seconds (600).

    FUZZ_S=600 python tests/hostile/long.py [SEED]

What fails is printed with its input and how to have it again; SEED begins with the round of that number.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = 5
MEMORY = 8 << 30
"""An input that fills the memory fails by it, and is printed, instead of ending the round without a word."""
BODIES = ("tests/hostile", "tests/runners/test_job_fuzz.py")


def say(text):
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def round_of(seed):
    """Run all bodies once; return whether all passed, and how many inputs they had."""
    limit = ["prlimit", f"--as={MEMORY}"] if shutil.which("prlimit") else []
    argv = [*limit, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    argv += ["-k", "not planted and not whole_bench", f"--hypothesis-seed={seed}", *BODIES]
    env = {**os.environ, "FUZZ_EXAMPLES": str(EXAMPLES)}
    with tempfile.TemporaryDirectory() as own:
        argv.append(f"--basetemp={own}/base")
        done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    counted = re.search(r"inputs tried: (\d+)", done.stdout)
    if done.returncode:
        say(f"{done.stdout[-20_000:]}\n{done.stderr[-2000:]}")
        say(f"again: FUZZ_EXAMPLES={EXAMPLES} python -m pytest --hypothesis-seed={seed} {' '.join(BODIES)}")
    return done.returncode == 0, int(counted[1]) if counted else 0


def main():
    """Run rounds until the time is over; exit with 1 where one failed."""
    end = time.monotonic() + float(os.environ.get("FUZZ_S", "600"))
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else secrets.randbelow(1 << 32)
    rounds = inputs = failed = 0
    while rounds == 0 or time.monotonic() < end:
        passed, count = round_of(seed)
        rounds, inputs, failed = rounds + 1, inputs + count, failed + (not passed)
        say(f"round {rounds}, seed {seed}: {count} inputs, {'passed' if passed else 'FAILED'}")
        seed = (seed + 1) % (1 << 32)
    say(f"{inputs} inputs in {rounds} rounds; {failed} of them failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
