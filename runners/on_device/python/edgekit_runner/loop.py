"""The timed loop: the invocation alone is timed, and every duration is kept."""

from __future__ import annotations

import gc
import time
from typing import Any

from .spool import NOW

CHUNK_NS = 500000000  # samples are told twice a second
OVERHEAD_RUNS, OVERHEAD_NS = 1000, 100000000
STOP: list[int] = []


def timed(invoke: Any, runs: int, limit_ns: int, give: Any, period_ns: int = 0) -> int:
    """Invoke up to `runs` times within `limit_ns`, every `period_ns` where that is not 0; return how many.

    Every duration is handed over in chunks; when `give` returns something true, the loop ends.
    """
    now, chunk, count = NOW, [], 0
    gc.collect()
    gc.disable()
    begun = flushed = now()
    try:
        while count < runs:
            if period_ns:
                time.sleep(max(0, begun + count * period_ns - now()) / 1e9)
            start = now()
            invoke()
            end = now()
            chunk.append(end - start)
            count += 1
            if end - flushed >= CHUNK_NS or not count & 0xFFFF:
                enough = give(chunk)
                chunk, flushed = [], now()
                if enough:
                    break
            if STOP or end - begun >= limit_ns:
                break
    finally:
        gc.enable()
        if chunk:
            give(chunk)
    return count


def overhead() -> list[int]:
    """Return what the loop itself costs: its durations around a call that does nothing."""
    told: list[int] = []
    timed(nothing, OVERHEAD_RUNS, OVERHEAD_NS, told.extend)
    return told


def nothing() -> None:
    """Do nothing."""
