"""What commands print: one JSON document or tables on stdout; progress and messages on stderr."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.errors import EdgeKitError

SCHEMA = 1
INTERRUPTED = 130
_FILE_WIDTH = 160


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document with its schema version; NaN and infinity are refused."""
    text = json.dumps({"schema": SCHEMA, **document}, indent=1, allow_nan=False, default=str)
    sys.stdout.write(text + "\n")


def print_error(error: EdgeKitError, *, as_json: bool) -> None:
    """Print an error as one line on stderr and, where JSON was asked for, as a document on stdout."""
    if as_json:
        print_json({"error": {"kind": type(error).__name__, "what": error.what, "hint": error.hint}})
    sys.stderr.write(f"edgekit: {error}\n")


def out() -> Console:
    """Return the console on stdout; wide where it is no terminal, so that rows stay rows in a file."""
    from rich.console import Console

    narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, width=None if narrow else _FILE_WIDTH)


def say(text: str) -> None:
    """Print one line on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
