"""Runs out of a file that `edgekit runs export` wrote, or somebody else: read as data, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.bench.run import READABLE, Run
from edgekit.bench.summarize import summarize
from edgekit.errors import UsageError
from edgekit.json_types import read_json

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".json", ".jsonl")
MAX_BYTES = 1 << 30
_HINT = "write it with: edgekit runs export"


def read_runs(path: Path) -> list[Run]:
    """Return the runs of a file: one a line, or where its name ends with .json those of its key "runs".

    Raises:
        UsageError: it can't be read, or holds something else.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UsageError(f"{path} has {size} bytes", hint=f"{MAX_BYTES} at most: export fewer runs")
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            document = read_json(text)
            found = document.get("runs") if isinstance(document, dict) else None
        else:
            found = [read_json(line) for line in text.splitlines()]
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} holds no exported runs ({error})", hint=_HINT) from None
    if not isinstance(found, list):
        raise UsageError(f"{path} holds no exported runs (no list of them)", hint=_HINT)
    return [_run(one, path) for one in found]


def _run(data: object, path: Path) -> Run:
    if not isinstance(data, dict):
        raise UsageError(f"{path} holds a run that is no table", hint=_HINT)
    if data.get("schema") not in READABLE:
        what = f"{path} holds a run of schema {str(data.get('schema'))[:40]!r}"
        raise UsageError(what, hint=f"this EdgeKit reads {READABLE[0]} to {READABLE[-1]}")
    run = Run.from_json(data)
    try:
        summarize(run)  # what a device told of its conditions has no types of its own
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UsageError(f"{path} holds a run that makes no sense ({error!r})", hint=_HINT) from error
    return run
