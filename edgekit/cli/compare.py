"""`edgekit compare`: is B slower than A, by runs that took turns or by stored ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.cli.output import INTERRUPTED, out, print_json
from edgekit.cli.parser import add_command
from edgekit.cli.progress import Progress
from edgekit.cli.settings import add_runtime, add_state, state_of, wished
from edgekit.errors import UsageError
from edgekit.units import parse_share

if TYPE_CHECKING:
    from argparse import Namespace

    from edgekit.bench.compare import Comparison
    from edgekit.bench.run import Run
    from edgekit.bench.summary import Estimate

_EPILOG = """\
examples:
  edgekit compare old.tflite new.tflite --device ssh://pi@10.0.0.7 --gate 5%
  edgekit compare 4f2a,77b0 9c01,a1d2 --gate 5%
  edgekit compare "recipe=tflite-fp32 last=5" "recipe=tflite-int8 last=5" --across
With --device A and B are artifacts that take turns until there is a decision: rounds of A B B A or B A A B,
by the toss of a coin, 7 or more; an alarm is confirmed by fresh rounds. Without it they are stored runs: ids
joined by commas, a query, or the file of `edgekit runs export`; runs are the unit, so a decision takes two or
more of each side.
The answer is "slower", "not slower" or "no decision": the noise between runs is too large for the gate.
"slower": certainly above nothing, and at least half the gate. "not slower": a slow-down by the gate is
ruled out. Exit codes: 0; 3 when B is slower, and with --strict when there is no decision too."""
_NO = 3
_THERE = (
    "rounds", "runs", "runtime", "runtime_binary", "compute_units", "remote_device", "allow_fallback",
    "cores", "governor", "frequency", "screen", "fixed_performance", "cooldown",
)  # fmt: skip
"""Options that say how artifacts run on a device."""


def add_commands(commands: Any) -> None:
    """Add the commands of this file."""
    parser = add_command(commands, "compare", "say whether B is slower than A", compare, epilog=_EPILOG)
    parser.add_argument("a", metavar="A", help="an artifact (with --device), or stored runs")
    parser.add_argument("b", metavar="B", help="the same, of the other side")
    parser.add_argument("--gate", type=parse_share, default=0.05, help="what has to be caught (default 5%%)")
    parser.add_argument("--device", metavar="D", help="run both there, in turns")
    parser.add_argument("--rounds", type=int, metavar="N", help="at most N rounds of four runs (default 64)")
    parser.add_argument("--max-s", type=float, default=3600.0, metavar="S", help="begin no run after S s")
    parser.add_argument("--runs", type=int, metavar="N", help="timed invocations of a run (default 200)")
    add_runtime(parser)
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the runtime (default 1)")
    parser.add_argument("--cores", default="", metavar="C", help="big, little or numbers (0-3); default: all")
    add_state(parser)
    parser.add_argument("--p95", action="store_true", help="compare P95 instead of P50")
    parser.add_argument("--across", action="store_true", help="compare runs whose conditions differ")
    parser.add_argument("--strict", action="store_true", help='exit with 3 on "no decision" too')
    parser.add_argument("--store", metavar="FILE|URL", help="where runs are kept (default: your data folder)")


def compare(args: Namespace) -> int:
    """Compare two sides."""
    from edgekit.bench.compare import compare_runs
    from edgekit.store import Store

    idle = [name for name in _THERE if not args.device and getattr(args, name) not in {None, "", False}]
    if idle:
        raise UsageError(
            f"--{idle[0].replace('_', '-')} says how artifacts run, and stored runs have run",
            hint="name the device on which A and B shall take turns: --device D",
        )
    with Store.open(args.store) as store:
        if args.device:
            found = _on_device(args, store)
        else:
            a, b = (_runs(store, text) for text in (args.a, args.b))
            percentile = "P95" if args.p95 else "P50"
            found = compare_runs(a, b, gate=args.gate, percentile=percentile, across=args.across)
    if args.json:
        print_json(comparison_json(found))
    else:
        _print(found)
    if found.interrupted:
        return INTERRUPTED
    word = found.decision.word
    return _NO if word == "slower" or (args.strict and word == "no decision") else 0


def comparison_json(found: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON's types."""
    decision = found.decision
    return {
        "decision": decision.word,
        "why": decision.why,
        "gate": found.gate,
        "percentile": found.percentile,
        "effect": _estimate(decision.effect),
        "rounds": decision.blocks if found.interleaved else None,
        "rounds_needed": decision.needed,
        "interleaved": found.interleaved,
        "interrupted": found.interrupted,
        "across": list(found.differ),
        "within_run_effect": _estimate(found.within),
        "notes": list(found.notes),
        "a": [run.id for run in found.a],
        "b": [run.id for run in found.b],
    }


def _on_device(args: Namespace, store: Any) -> Comparison:
    from edgekit.bench.compare import compare_on_device
    from edgekit.bench.gate import ROUNDS
    from edgekit.bench.journal import Journal
    from edgekit.bench.metering import PowerWish
    from edgekit.bench.plan import make_plan

    runtime, wish = wished(args)
    plan_a, plan_b = (
        make_plan(
            [Path(side)], [args.device], runs=args.runs, runtime=runtime, threads=args.threads,
            cores=(args.cores,), passes=("latency",), power=PowerWish(mode="never"),
            program=args.program, state=state_of(args), wish=wish,
        )
        for side in (args.a, args.b)
    )  # fmt: skip
    plan_a = replace(plan_a, allow_fallback=args.allow_fallback)
    with Progress(quiet=args.json) as progress:
        return compare_on_device(
            (plan_a, plan_b), store, gate=args.gate, percentile="P95" if args.p95 else "P50",
            rounds=ROUNDS if args.rounds is None else args.rounds, max_s=args.max_s, across=args.across,
            on_progress=lambda p: progress.step(str(p), done=p.done, total=p.total), journal=Journal(store),
        )  # fmt: skip


def _runs(store: Any, text: str) -> list[Run]:
    from edgekit.store.exported import SUFFIXES, read_runs

    path = Path(text)
    if path.suffix in SUFFIXES:
        return read_runs(path)
    if "=" in text:
        return list(store.query(text))
    return [store.get(id_) for id_ in text.split(",")]


def _print(found: Comparison) -> None:
    console, decision = out(), found.decision
    console.print(f"{decision.word}: {decision.why}", style="bold", markup=False)
    if decision.needed is not None:
        console.print(f"about {decision.needed} rounds would decide (--rounds, --max-s)", markup=False)
    if decision.effect is not None:
        console.print(f"B against A, {found.percentile}: {_text(decision.effect)}", markup=False)
    rounds = f", {decision.blocks} rounds of two and two" if found.interleaved else ""
    counted = f"gate {found.gate:.1%}; {len(found.a)} runs of A, {len(found.b)} of B{rounds}"
    console.print(counted, markup=False)
    if found.within is not None:
        console.print(f"within these runs alone: {_text(found.within)}; decides nothing", markup=False)
    for line in (*(f"conditions differ: {d}" for d in found.differ), *found.notes):
        console.print(f"note: {line}", markup=False)


def _text(effect: Estimate) -> str:
    return f"{effect.value:+.1%}, 95 % interval {effect.low:+.1%} to {effect.high:+.1%}"


def _estimate(effect: Estimate | None) -> dict[str, float] | None:
    return None if effect is None else {"value": effect.value, "low": effect.low, "high": effect.high}
