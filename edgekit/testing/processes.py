"""This machine's processes, as the kernel tells of them; those that end meanwhile are left out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def told(name: str) -> Iterator[tuple[int, bytes]]:
    """Yield each process's id and what /proc says of it.

    Args:
        name: "cmdline", "environ" or "stat".
    """
    for entry in Path("/proc").iterdir():  # pathlib's glob fails where an entry vanishes under it
        if entry.name.isdigit():
            try:
                text = (entry / name).read_bytes()
            except OSError:
                continue
            yield int(entry.name), text


def running(text: str) -> list[int]:
    """Return the ids of processes that have a text in their command line, this one left out.

    Args:
        text: words are separated by NUL.
    """
    return [pid for pid, line in told("cmdline") if text.encode() in line and pid != os.getpid()]
