"""What is told: lines of JSON, appended to a file, handed to the kernel at once, on the disk in a second."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import time
from typing import Any

SPOOL_PATIENCE_S = 10
SYNC_EVERY_NS = 1_000_000_000  # so much a power cut may cost, where nobody has fetched it
RAW = getattr(time, "CLOCK_MONOTONIC_RAW", None)
NOW = functools.partial(time.clock_gettime_ns, RAW) if RAW is not None else time.perf_counter_ns


class Trouble(Exception):  # noqa: N818
    """What the host is told in an error line: kind and message."""

    def told(self) -> dict[str, str]:
        """Return the error line's fields."""
        return {"e": "error", "kind": self.args[0], "message": self.args[1]}


@contextlib.contextmanager
def blame(kind: str) -> Any:
    """Turn whatever a library raises inside into a Trouble of this kind."""
    try:
        yield
    except Trouble:
        raise
    except Exception as error:
        raise Trouble(kind, f"{type(error).__name__}: {error}"[:2000]) from error


class Spool:
    """The file that every line is appended to. A full disk keeps lines waiting; it loses none."""

    def __init__(self, path: str, name: str) -> None:
        self.name, self.pending = name, b""
        self.handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.synced = NOW()

    def tell(self, e: str, **fields: object) -> None:
        """Append one line and hand it to the kernel, with all that waits."""
        line = dict({"e": e, "pass": self.name, "t": NOW()}, **fields)
        self.pending += json.dumps(line, separators=(",", ":")).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Write what waits; whatever finds no space goes on waiting."""
        try:
            while self.pending:
                self.pending = self.pending[os.write(self.handle, self.pending) :]
            if NOW() > self.synced + SYNC_EVERY_NS:
                os.fsync(self.handle)
                self.synced = NOW()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise

    def close(self) -> None:
        """Write what waits, patiently, and make it last."""
        for pause in [1] * SPOOL_PATIENCE_S:
            self.flush()
            time.sleep(pause if self.pending else 0)
        os.fsync(self.handle)
        if self.pending:
            raise OSError(errno.ENOSPC, "No space left on device for the spool")
