"""Why is int8 not faster? One line for each int8 run of a store, against the float run that goes with it.

edgekit bench mine --device ssh://board --profile --store runs.sqlite
python examples/why_int8.py runs.sqlite

A float run goes with an int8 one when source, device, format and threads are the same; the newest is taken.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgekit.bench.explain.explain import explain
from edgekit.bench.explain.side import FLOAT, side_of
from edgekit.store import Store

if TYPE_CHECKING:
    from edgekit.bench.run import Run


def main() -> int:
    """Explain all pairs of a store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("store")
    args = parser.parse_args()
    with Store.open(args.store) as store:
        profiled = [run for run in store.query() if run.ops]
    floats = {key(run): run for run in reversed(profiled) if side_of(run).kind == FLOAT}
    for run in profiled:
        if side_of(run).kind != FLOAT and key(run) in floats:
            print(f"{run.device} {run.artifact.recipe}: {explain(floats[key(run)], run).line}")
    return 0


def key(run: Run) -> tuple[object, ...]:
    """Return what two runs have to share to be compared."""
    return run.artifact.source, run.device, run.artifact.format, run.runtime.threads


if __name__ == "__main__":
    raise SystemExit(main())
