"""`edgekit runs list | show | export | recover`: what the store holds, and what it lacks yet."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from edgekit.cli.output import out, print_json, say
from edgekit.cli.parser import add_command, add_group

if TYPE_CHECKING:
    from argparse import Namespace

QUERY_HELP = "key=value words: device= recipe= source= since=2026-01-31 id= last=20; all runs when left out"


def add_commands(commands: Any) -> None:
    """Add the commands of this file."""
    runs = add_group(commands, "runs", "the stored runs")
    listing = add_command(runs, "list", "one line a run, the newest first", runs_list)
    show = add_command(runs, "show", "one run with all its doubts", runs_show)
    show.add_argument("id", metavar="ID", help="a run's id, or its first letters")
    export = add_command(runs, "export", "raw runs with all samples, one JSON document a line", runs_export)
    for parser in (listing, export):
        parser.add_argument("query", nargs="*", metavar="QUERY", help=QUERY_HELP)
    recover = add_command(
        runs, "recover", "fetch from a device what runs measured whose host died", runs_recover
    )
    recover.add_argument("device", metavar="D", help="as it was given to edgekit bench")
    recover.add_argument(
        "--wait", type=float, default=0.0, metavar="S",
        help="let a run that still goes on there end by itself, for S seconds at most (default: end it now)",
    )  # fmt: skip
    for parser in (listing, show, export, recover):
        parser.add_argument("--store", metavar="FILE|URL", help="where runs are kept")


def runs_list(args: Namespace) -> int:
    """List stored runs."""
    from edgekit.bench.document import run_json
    from edgekit.bench.summarize import summarize
    from edgekit.report.table import print_run_list
    from edgekit.store import Store

    with Store.open(args.store) as store:
        pairs = [(run, summarize(run)) for run in store.query(" ".join(args.query))]
    if args.json:
        print_json({"runs": [run_json(run, summary) for run, summary in pairs]})
    else:
        print_run_list(out(), pairs)
    return 0


def runs_show(args: Namespace) -> int:
    """Show one stored run."""
    from edgekit.bench.summarize import summarize
    from edgekit.report.table import print_runs
    from edgekit.store import Store

    with Store.open(args.store) as store:
        run = store.get(args.id)
    if args.json:
        print_json({"run": run.to_json()})
    else:
        print_runs(out(), [(run, summarize(run))])
    return 0


def runs_export(args: Namespace) -> int:
    """Print raw runs as JSON lines, or as one document with --json."""
    from edgekit.store import Store

    with Store.open(args.store) as store:
        runs = store.query(" ".join(args.query))
        if args.json:
            print_json({"runs": [run.to_json() for run in runs]})
            return 0
        for line in store.export([run.id for run in runs]):
            sys.stdout.write(line + "\n")
    return 0


def runs_recover(args: Namespace) -> int:
    """Fetch what runs left on a device that this host began and did not end."""
    from dataclasses import asdict

    from edgekit.bench.journal import Journal
    from edgekit.bench.recover import recover_device
    from edgekit.cli.progress import Progress
    from edgekit.runners.transport import open_transport
    from edgekit.store import Store
    from edgekit.targets import Device

    device, progress = Device.parse(args.device), Progress(quiet=args.json)
    with Store.open(args.store) as store, open_transport(device) as transport, progress:
        found = recover_device(
            transport,
            Journal(store),
            wait_s=args.wait,
            on_look=lambda name: progress.step(f"{device.address}: its {name} pass goes on"),
        )
    if args.json:
        print_json({"recovered": [{**asdict(one), "run": one.run and one.run.id} for one in found]})
        return 0
    for one in found:
        say(f"{one.device}: run {one.id}: {one.note}")
    if not found:
        say(f"{args.device}: no run that was begun from here waits to be fetched")
    return 0
