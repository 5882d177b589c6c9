"""How much memory this process holds, sampled on the side."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from . import mac
from .files import known
from .spool import Trouble

WATCH_S = 0.005


def memory_now() -> dict[str, Any]:
    """Return this process's share of memory in bytes: smaps_rollup, or the sum over smaps."""
    if mac.HERE:
        return mac.memory()
    for path in ("/proc/self/smaps_rollup", "/proc/self/smaps"):
        sums: dict[str, int] = {}
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, rest = line.partition(":")
                words = rest.split()
                if words[1:] == ["kB"]:
                    sums[key] = sums.get(key, 0) + int(words[0]) * 1024
        if "Pss" in sums and "Private_Dirty" in sums:
            told = {"pss_bytes": sums["Pss"], "private_dirty_bytes": sums["Private_Dirty"]}
            told["swap_bytes"] = sums.get("SwapPss", sums.get("Swap", 0))
            return known(dict(told, file_bytes=sums.get("Pss_File")))
    raise Trouble("memory", "neither /proc/self/smaps_rollup nor /proc/self/smaps can be read")


class Watch(threading.Thread):
    """Samples the process's memory on the side and keeps the largest, for peaks inside a call."""

    def __init__(self) -> None:
        threading.Thread.__init__(self, daemon=True)
        self.done, self.lock, self.peak = threading.Event(), threading.Lock(), memory_now()

    def take(self) -> dict[str, Any]:
        """Sample once."""
        now = memory_now()
        with self.lock:
            self.peak = max(self.peak, now, key=lambda told: told["pss_bytes"] + told["swap_bytes"])
        return now

    def run(self) -> None:
        """Sample until told to stop."""
        while not self.done.wait(WATCH_S):
            self.take()
