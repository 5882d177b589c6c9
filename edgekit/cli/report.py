"""`edgekit report`: stored runs as one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.cli.output import print_json, say
from edgekit.cli.parser import add_command
from edgekit.cli.runs import QUERY_HELP

if TYPE_CHECKING:
    from argparse import Namespace


def add_commands(commands: Any) -> None:
    """Add the commands of this file."""
    parser = add_command(commands, "report", "write stored runs as one self-contained HTML file", report)
    parser.add_argument("query", nargs="*", metavar="QUERY", help=QUERY_HELP)
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="FILE", help="the HTML file to write"
    )
    parser.add_argument("--title", help="the report's title")
    parser.add_argument("--store", metavar="FILE|URL", help="where runs are kept")


def report(args: Namespace) -> int:
    """Write a report."""
    from edgekit.bench.summarize import summarize
    from edgekit.errors import UsageError
    from edgekit.report.html import write_html
    from edgekit.store import Store

    with Store.open(args.store) as store:
        runs = store.query(" ".join(args.query))[::-1]  # as they happened
    if not runs:
        raise UsageError("no stored run fits", hint="see what there is: edgekit runs list")
    write_html([(run, summarize(run)) for run in runs], args.out, title=args.title)
    if args.json:
        print_json({"report": str(args.out), "runs": [run.id for run in runs]})
    else:
        say(f"{len(runs)} runs written to {args.out}")
    return 0
