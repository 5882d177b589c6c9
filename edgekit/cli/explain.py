"""`edgekit explain`: why int8 is not faster than float, in one line with its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.cli.output import out, print_json, say
from edgekit.cli.parser import add_command
from edgekit.cli.progress import Progress
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from argparse import Namespace

    from rich.console import Console

    from edgekit.bench.explain.explain import Explanation
    from edgekit.bench.run import Run

_EPILOG = """\
examples:
  edgekit explain 4f2a 9c01
  edgekit explain mine --device ssh://pi@10.0.0.7 --recipes tflite-fp32,tflite-int8
The runs have to be benched with --profile; with --device both are made so, one after the other."""
_PASSES = ("latency", "profile")
_SIDES = 2
_SHOWN = 40


def add_commands(commands: Any) -> None:
    """Add the commands of this file."""
    parser = add_command(
        commands, "explain", "say why int8 is not faster than float", explain, epilog=_EPILOG
    )
    parser.add_argument(
        "what", nargs="+", metavar="RUN_A RUN_B|BUNDLE", help="two runs' ids; or a bundle, with --device"
    )
    parser.add_argument("--device", metavar="D", help="bench two artifacts of a bundle there first")
    parser.add_argument("--recipes", metavar="A,B", help="which two of the bundle's artifacts")
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="timed invocations (default 200)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the runtime (default 1)")
    parser.add_argument("--cores", default="", metavar="C", help="big, little or numbers (0-3); default: all")
    parser.add_argument("--all", action="store_true", help="show every operator, not the slowest alone")
    parser.add_argument("--store", metavar="FILE|URL", help="where runs are kept (default: your data folder)")


def explain(args: Namespace) -> int:
    """Explain two runs."""
    from edgekit.bench.explain.document import explain_json
    from edgekit.bench.explain.explain import explain as explained
    from edgekit.store import Store

    with Store.open(args.store) as store:
        if args.device:
            first, second = _benched(args, store)
        else:
            first, second = (store.get(name) for name in _two(args.what, "runs"))
    told = explained(first, second)
    if args.json:
        print_json(explain_json(told))
    else:
        print_explanation(out(), told, whole=args.all)
    return 0


def print_explanation(console: Console, told: Explanation, *, whole: bool = False) -> None:
    """Print the cause with its evidence, the operators side by side, and what else there is to know.

    Args:
        console: where to.
        told: what was found.
        whole: whether to show every operator, not the slowest alone.
    """
    from edgekit.bench.explain.table import share_text

    console.print(told.line, style="bold", markup=False)
    for number, cause in enumerate(told.causes):
        if number:
            console.print(f"and: {cause.line}{share_text(cause.share)}", markup=False)
        for evidence in cause.evidence:
            console.print(f"  - {evidence}", markup=False)
    _print_operators(console, told, whole=whole)
    for side, name in ((told.pair.a, "A"), (told.pair.b, "B")):
        cores = ", ".join(f"{cpu} ({count})" for cpu, count in sorted(side.cores.items()))
        console.print(f"{name}: {side.cpu}; seen on CPU {cores or 'not told'}", markup=False)
    for note in told.notes:
        console.print(f"note: {note}", markup=False)


def _benched(args: Namespace, store: Any) -> tuple[Run, Run]:
    """Bench two artifacts of a bundle, one after the other, and return their runs."""
    from edgekit.bench.execute import execute
    from edgekit.bench.journal import Journal
    from edgekit.bench.metering import PowerWish
    from edgekit.bench.plan import make_plan

    (bundle,) = args.what if len(args.what) == 1 else _refuse(args.what)
    recipes = _two((args.recipes or "").split(","), "recipes")
    plan = make_plan(
        [Path(bundle)], [args.device], recipes=recipes, runs=args.runs, threads=args.threads,
        cores=(args.cores,), passes=_PASSES, power=PowerWish(mode="never"),
    )  # fmt: skip
    with Progress(quiet=args.json) as progress:
        result = execute(
            plan, store, on_progress=lambda p: progress.step(str(p), done=p.done, total=p.total),
            journal=Journal(store),
        )  # fmt: skip
    for failure in result.failed:
        say(f"edgekit: {failure.recipe or 'device'}: {failure.error}")
    if len(result.runs) != _SIDES:
        raise UsageError("one of the two artifacts did not run", hint="see what went wrong above")
    return result.runs[0], result.runs[1]


def _two(names: list[str], what: str) -> tuple[str, str]:
    if len(names) != _SIDES or not all(names):
        raise UsageError(f"explain takes two {what}", hint="see edgekit explain --help")
    return names[0], names[1]


def _refuse(what: list[str]) -> list[str]:
    raise UsageError(f"with --device explain takes one bundle, not {len(what)}", hint="leave out the others")


def _print_operators(console: Console, told: Explanation, *, whole: bool) -> None:
    from rich.table import Table

    from edgekit.bench.explain.table import HEADS, NUMBERS, table_of

    table = Table(box=None, pad_edge=False)
    for head in HEADS:
        table.add_column(head, justify="right" if head in NUMBERS else "left", overflow="fold")
    lines, left = table_of(told, most=None if whole else _SHOWN)
    for line in lines:
        table.add_row(*line)
    console.print(table, markup=False)
    if left:
        console.print(f"{left} quicker operators are not shown: --all shows them", markup=False)
