"""A convert-and-deploy script: one source in, one artifact out that is fast enough and right on the device.

python examples/ship_or_not.py SOURCE --calibrate DATA --device ssh://board --p95-ms 20 -o shipped

Exit code 0 and the artifact's path when one will do; 1 and the reasons when none does.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from edgekit.bench.execute import execute
from edgekit.bench.plan import make_plan
from edgekit.bench.summarize import summarize
from edgekit.convert import convert, preprocessing_of, read_data
from edgekit.errors import EdgeKitError
from edgekit.recipe import parse_recipes
from edgekit.source import load_source
from edgekit.store import Store

# The most wanted first: the smaller, the better, as long as it is right and fast enough.
CANDIDATES = ("tflite-int8", "onnx-int8", "tflite-fp16", "tflite-fp32", "onnx-fp32")


def main() -> int:
    """Convert, bench, decide."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--preprocess")
    parser.add_argument("--device", required=True)
    parser.add_argument("--p95-ms", type=float, required=True)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--store")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()

    source = load_source(args.source)
    preprocessing = preprocessing_of(source, args.preprocess)
    data = read_data(args.calibrate, source.inputs[0], preprocessing, limit=100)
    made = convert(
        source, parse_recipes(CANDIDATES), args.out / "bundle", calibration=data, preprocessing=preprocessing
    )
    for failure in made.failed:
        print(f"{failure.recipe}: {failure.error}")
    plan = make_plan([args.out / "bundle"], [args.device], runs=args.runs)
    with Store.open(args.store) as store:
        result = execute(plan, store)
    for failed in result.failed:
        print(f"{failed.recipe}: {failed.error}")
    runs = {run.artifact.recipe: run for run in result.runs}
    for recipe in (name for name in CANDIDATES if name in runs):
        summary = summarize(runs[recipe])
        p95 = summary.latency.p95_ms
        if summary.verdict == "invalid":
            print(f"{recipe}: invalid: {', '.join(d.code for d in summary.doubts)}")
        elif p95 is None or p95.high > args.p95_ms:
            print(f"{recipe}: P95 {'withheld' if p95 is None else f'up to {p95.high:.2f} ms'}")
        else:
            artifact = made.bundle.artifact(recipe)
            chosen = shutil.copy2(made.bundle.path_of(artifact), args.out)
            print(f"{recipe}: P95 at most {p95.high:.2f} ms, {summary.verdict}, sha256 {artifact.sha256}")
            print(chosen)
            return 0
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeKitError as error:
        sys.exit(f"{error}")
