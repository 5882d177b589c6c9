"""`edgekit bench`: artifacts on devices, one stored record each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.cli.output import INTERRUPTED, out, print_json, say
from edgekit.cli.parser import add_command
from edgekit.cli.progress import Progress
from edgekit.cli.settings import add_runtime, add_state, state_of, wished
from edgekit.errors import UsageError
from edgekit.runners.cores import CLASSES
from edgekit.units import parse_share

if TYPE_CHECKING:
    from argparse import Namespace

_EPILOG = """\
examples:
  edgekit bench mine --device local://
  edgekit bench mine -r tflite-int8 -r onnx-int8 --device ssh://pi@10.0.0.7 --device adb://R5CT --runs 300
  edgekit bench mine --device ssh://board --threads 1,2,4 --cores big,little --until-precision 2%
  edgekit bench mine/artifacts/tflite-int8.tflite --device ssh://board --json"""


def add_commands(commands: Any) -> None:
    """Add the commands of this file."""
    parser = add_command(
        commands, "bench", "run artifacts on devices and store what they did", bench, epilog=_EPILOG
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="BUNDLE|ARTIFACT", help="what to run")
    parser.add_argument(
        "--device", action="append", required=True, metavar="D",
        help="local://, ssh://[user@]host[:port] or adb://serial; repeat for several",
    )  # fmt: skip
    parser.add_argument("-r", "--recipe", action="append", default=[], help="only these recipes of a bundle")
    add_runtime(parser)
    parser.add_argument("--target", help="the devices' target, where it is not recognized")
    parser.add_argument("--runs", type=int, metavar="N", help="timed invocations at most (default 200)")
    parser.add_argument(
        "--until-precision", type=parse_share, metavar="SHARE",
        help="run until the intervals of P50 and P95 are this narrow (2%%: half the width, relative)",
    )  # fmt: skip
    parser.add_argument("--warmup", type=int, default=10, metavar="N", help="invocations before (default 10)")
    parser.add_argument(
        "--threads", default="1", metavar="N,N", help="of the runtime; several are a run each"
    )
    parser.add_argument(
        "--cores", action="append", default=[], metavar="C",
        help="big,little (a run each) or numbers (0-3); repeat for several; default: all",
    )  # fmt: skip
    parser.add_argument("--period-ms", type=float, default=0.0, metavar="MS", help="begin one every MS ms")
    parser.add_argument(
        "--sustained", type=float, metavar="MIN", help="run for MIN minutes: what the device keeps up"
    )
    parser.add_argument("--max-s", type=float, metavar="S", help="limit of the timed loop (default 30)")
    _add_profile(parser)
    _add_power(parser)
    add_state(parser)
    parser.add_argument("--store", metavar="FILE|URL", help="where runs are kept (default: your data folder)")


def _add_profile(parser: Any) -> None:
    parser.add_argument(
        "--profile", action="store_true", help="measure each operator too, for edgekit explain"
    )


def _add_power(parser: Any) -> None:
    power = parser.add_mutually_exclusive_group()
    power.add_argument(
        "--power", dest="power", action="store_const", const="always", default="auto",
        help="fail where power can't be measured (default: measured where a sensor is found)",
    )  # fmt: skip
    power.add_argument(
        "--no-power", dest="power", action="store_const", const="never", help="do not measure power"
    )
    parser.add_argument("--sensor", default="", metavar="NAME", help="a part of the wanted sensor's name")
    parser.add_argument(
        "--meter", default="", metavar="ADDRESS",
        help="measure with a meter outside: scpi+tcp://HOST:PORT, scpi+serial:///dev/ttyUSB0",
    )  # fmt: skip


def bench(args: Namespace) -> int:
    """Bench artifacts on devices."""
    from edgekit.bench.document import bench_json
    from edgekit.bench.execute import execute
    from edgekit.bench.journal import Journal
    from edgekit.bench.metering import PowerWish
    from edgekit.bench.plan import PASSES, make_plan
    from edgekit.store import Store

    runtime, wish = wished(args)
    plan = make_plan(
        args.paths,
        args.device,
        recipes=args.recipe,
        target=args.target,
        runtime=runtime,
        runs=args.runs,
        warmup=args.warmup,
        power=PowerWish(mode=args.power, sensor=args.sensor, meter=args.meter),
        threads=_counts(args.threads),
        cores=_cores(args.cores),
        max_s=args.max_s if args.sustained is None else 60.0 * args.sustained,
        period_s=args.period_ms / 1000.0,
        precision=args.until_precision,
        sustained=args.sustained is not None,
        program=args.program,
        state=state_of(args),
        wish=wish,
        passes=(*PASSES, "profile") if args.profile else PASSES,
    )
    plan = replace(plan, allow_fallback=args.allow_fallback)
    with Store.open(args.store) as store, Progress(quiet=args.json) as progress:
        result = execute(
            plan,
            store,
            on_progress=lambda p: progress.step(str(p), done=p.done, total=p.total),
            journal=Journal(store),
        )
    for found in result.recovered:
        say(f"found again: {found.device}: run {found.id}: {found.note}")
    if args.json:
        print_json(bench_json(result))
    else:
        from edgekit.bench.summarize import summarize
        from edgekit.report.table import print_runs

        print_runs(out(), [(run, summarize(run)) for run in result.runs])
        for skip in result.skipped:
            say(f"not run: {skip.recipe} on {skip.device}: {skip.reason}")
        if result.runs:
            where = f"--store {args.store} " if args.store else ""
            say(f"stored in {store.url}; see: edgekit report {where}last={len(result.runs)} -o report.html")
    for failure in result.failed:
        say(f"edgekit: {failure.recipe or 'device'}: {failure.error}")
    if result.interrupted:
        say("edgekit: interrupted: what was finished is kept")
        return INTERRUPTED
    return 1 if result.failed or not result.runs else 0


def _counts(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--threads {text}: no numbers", hint="give one or several: 1,2,4") from None


def _cores(given: list[str]) -> list[str]:
    """Return the choices: classes may stand in one text, numbers make one choice."""
    chosen: list[str] = []
    for text in given:
        parts = text.split(",")
        chosen += parts if set(parts) <= set(CLASSES) else [text]
    return chosen or [""]
