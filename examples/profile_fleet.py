"""Fleet profiling: the same bundle on many devices, as a CSV of what differs between them.

python examples/profile_fleet.py BUNDLE ssh://a ssh://b adb://SERIAL --store fleet.sqlite > fleet.csv

One row a run, with the interval, the memory, the verdict and the doubts; a device that can't be reached is
a line on stderr and the others go on.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from edgekit.bench.execute import execute
from edgekit.bench.plan import make_plan
from edgekit.bench.summarize import summarize
from edgekit.errors import EdgeKitError
from edgekit.store import Store

COLUMNS = (
    "device", "target", "soc", "recipe", "runtime", "count", "p50_ms", "p50_low_ms", "p50_high_ms",
    "p95_ms", "p95_high_ms", "peak_over_baseline_bytes", "verdict", "doubts", "labels", "run",
)  # fmt: skip


def main() -> int:
    """Bench the bundle everywhere and print the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("devices", nargs="+")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--store")
    args = parser.parse_args()
    plan = make_plan([args.bundle], args.devices, runs=args.runs)
    with Store.open(args.store) as store:
        result = execute(plan, store)
    table = csv.DictWriter(sys.stdout, COLUMNS)
    table.writeheader()
    for run in result.runs:
        summary = summarize(run)
        p50, p95, memory = summary.latency.p50_ms, summary.latency.p95_ms, summary.memory
        table.writerow(
            {
                "device": run.device,
                "target": run.target,
                "soc": run.facts.get("soc", ""),
                "recipe": run.artifact.recipe,
                "runtime": f"{run.runtime.name} {run.runtime.version}",
                "count": summary.latency.count,
                "p50_ms": p50 and f"{p50.value:.4f}",
                "p50_low_ms": p50 and f"{p50.low:.4f}",
                "p50_high_ms": p50 and f"{p50.high:.4f}",
                "p95_ms": p95 and f"{p95.value:.4f}",
                "p95_high_ms": p95 and f"{p95.high:.4f}",
                "peak_over_baseline_bytes": memory and memory.peak_over_baseline_bytes,
                "verdict": summary.verdict,
                "doubts": " ".join(doubt.code for doubt in summary.doubts),
                "labels": ", ".join(summary.labels),
                "run": run.id,
            }
        )
    for failure in result.failed:
        print(f"{failure.device}: {failure.error}", file=sys.stderr)
    return 1 if result.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeKitError as error:
        sys.exit(f"{error}")
