"""`edgekit`: the table of contents. Each command parses, calls and prints, and imports what it needs."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from edgekit._version import __version__
from edgekit.cli import (
    bench,
    compare,
    convert,
    devices,
    doctor,
    explain,
    lists,
    report,
    runs,
    runtimes,
    verify,
)
from edgekit.cli.output import INTERRUPTED, print_error
from edgekit.cli.parser import LineParser
from edgekit.errors import EdgeKitError
from edgekit.source.lean import own_process

if TYPE_CHECKING:
    from types import FrameType

_DESCRIPTION = """\
From a compact network to a defended number on your own devices:
convert it, prove it, run it there, and see latency, memory and power with what makes them true."""


def build_parser() -> LineParser:
    """Return the parser of all commands."""
    parser = LineParser(prog="edgekit", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"edgekit {__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=LineParser
    )
    for module in (lists, convert, verify, devices, runtimes, doctor, bench, compare, explain, report, runs):
        module.add_commands(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 usage, 3 a gate said no, 130 ctrl-C."""
    if argv is None:
        own_process()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _interrupt)
    arguments = sys.argv[1:] if argv is None else argv
    as_json = "--json" in arguments
    try:
        parsed = build_parser().parse_args(arguments)
        return int(parsed.call(parsed))
    except EdgeKitError as error:
        print_error(error, as_json=as_json)
        return error.exit_code
    except KeyboardInterrupt:
        print_error(EdgeKitError("interrupted", hint="what was finished is kept"), as_json=as_json)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the reader is gone; exit in peace
        return 0
    except Exception as error:
        if os.environ.get("EDGEKIT_DEBUG"):
            raise
        what = f"internal error: {type(error).__name__}: {error}"
        print_error(EdgeKitError(what, hint="run again with EDGEKIT_DEBUG=1 and report it"), as_json=as_json)
        return 1


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    """End as ctrl-C does, so that what is finished is kept and no device stays as it was left."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
