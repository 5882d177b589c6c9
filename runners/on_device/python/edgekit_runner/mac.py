"""What a Mac tells of itself without a /proc, and without a root.

There is no temperature, no clock and no memory that counts shared pages by share that a user may read there:
what is not told is left out. Sources: <sys/resource.h> of macOS (proc_pid_rusage, rusage_info_v0), pmset(1).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import struct
import subprocess
import sys
from typing import Any

from .spool import Trouble

HERE = sys.platform == "darwin"
SYSTEM = "/usr/lib/libSystem.B.dylib"
RUSAGE_INFO_V0, RUSAGE_BYTES, FOOTPRINT = 0, 96, 72
PMSET_TIMEOUT_S, WHOLE = 5, 100
LIMIT = re.compile(r"CPU_Speed_Limit\s*=\s*([0-9]{1,3})\b")
WARNING = re.compile(r"(?i)(thermal|performance) warning level[^\n=:0-9]{0,40}[=:]?\s*([0-9]{1,3})\b")


def footprint() -> int:
    """Return this process's physical footprint in bytes: its dirty and its compressed pages."""
    told = ctypes.create_string_buffer(RUSAGE_BYTES)
    try:
        code = ctypes.CDLL(SYSTEM).proc_pid_rusage(os.getpid(), RUSAGE_INFO_V0, told)
    except (AttributeError, OSError) as error:
        raise Trouble("memory", f"proc_pid_rusage can't be called: {error}") from error
    if code:
        raise Trouble("memory", f"proc_pid_rusage returned {code}")
    return int(struct.unpack_from("<Q", told, FOOTPRINT)[0])


def memory() -> dict[str, Any]:
    """Return the memory line's fields; the footprint stands where Linux tells PSS, and says so."""
    size = footprint()
    return {"pss_bytes": size, "private_dirty_bytes": size, "swap_bytes": 0, "measure": "footprint"}


def throttling() -> dict[str, str | None]:
    """Return {"throttled": what pmset says holds it back, or None}, {} where pmset does not answer."""
    told = ""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        argv = ["pmset", "-g", "therm"]
        done = subprocess.run(argv, stdout=subprocess.PIPE, timeout=PMSET_TIMEOUT_S, check=True)
        told = done.stdout.decode("utf-8", "replace")
    if not told.strip():
        return {}
    limit = LIMIT.search(told)
    held = [f"CPU speed limited to {limit[1]} %"] if limit and int(limit[1]) < WHOLE else []
    held += [f"{kind.lower()} warning level {level}" for kind, level in WARNING.findall(told) if int(level)]
    return {"throttled": ", ".join(held) or None}


def load1() -> float | None:
    """Return the load average of the last minute."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None
