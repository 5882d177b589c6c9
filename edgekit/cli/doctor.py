"""`edgekit doctor`: what this host has, and what installs the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.cli.output import out, print_json
from edgekit.cli.parser import add_command

if TYPE_CHECKING:
    from argparse import Namespace


def add_commands(commands: Any) -> None:
    """Add the commands of this file."""
    add_command(commands, "doctor", "what this host has, and what installs the rest", doctor)


def doctor(args: Namespace) -> int:
    """Print one line for each thing that EdgeKit can use on the host."""
    from edgekit.runners.check import examine_host

    found = examine_host()
    if args.json:
        print_json({"checks": found})
        return 0
    from edgekit.report.table import print_table

    rows = [(c["what"], "yes" if c["ok"] else "no", c["detail"]) for c in found]
    print_table(out(), "This host", ("what", "there", "version, or how to get it"), rows, notes=[])
    return 0
