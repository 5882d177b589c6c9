"""Makes a Python believe that it runs on a Mac: its platform, its release, and proc_pid_rusage."""

import ctypes
import os
import platform
import struct
import sys

if os.environ.get("STANDIN_MAC"):
    sys.platform = "darwin"
    platform.mac_ver = lambda *_: ("15.1", ("", "", ""), "arm64")
    REAL = ctypes.CDLL
    CALLS = []

    class System:
        """Writes what rusage_info_v0 holds: a UUID, then 64-bit numbers; the 8th is the footprint."""

        @staticmethod
        def proc_pid_rusage(pid, flavor, told):
            assert (pid, flavor) == (os.getpid(), 0)
            CALLS.append(pid)
            told[16:96] = struct.pack("<10Q", 1, 2, 3, 4, 5, 6, 7, (50 << 20) + len(CALLS), 9, 10)
            return int(os.environ.get("STANDIN_RUSAGE", "0"))

    ctypes.CDLL = lambda name, *rest, **more: (
        System if name == "/usr/lib/libSystem.B.dylib" else REAL(name, *rest, **more)
    )
