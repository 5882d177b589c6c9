"""Linux without glibc, such as a phone: whether a glibc of the user's can be brought along, and which parts.

The parts are copied from any board of that machine into one folder, named by the variable EDGEKIT_GLIBC. The
program is started through their loader, as `ld.so --library-path`; nothing of the device's own is changed.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import DeviceUnfitError, UsageError
from edgekit.runners.elf import read_needs

if TYPE_CHECKING:
    from edgekit.runners.facts import Facts
    from edgekit.runners.transport import Transport

FOLDER = "EDGEKIT_GLIBC"
LOADER = "ld-linux-aarch64.so.1"
PARTS = (
    LOADER, "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1",
    "libgcc_s.so.1", "libstdc++.so.6",
)  # fmt: skip
# Android forbids some of glibc's calls by a filter; what runs from adb's shell has none.
_PROBE = r"""
umask 077
echo "seccomp $(grep '^Seccomp:' /proc/self/status | tr -dc 0-9)"
had=1; [ -d "$1" ] || { had=; mkdir -p -- "$1"; }
f="$1/exec-$$"
printf '#!%s\nexit 0\n' "$(command -v sh)" >"$f" && chmod 700 "$f" && "$f" && echo exec
rm -f -- "$f"; [ -n "$had" ] || rmdir -- "$1"
"""


def parts() -> tuple[Path, ...]:
    """Return the glibc's parts, the loader first; empty when the user named no folder.

    Raises:
        UsageError: one is missing there, or is no library for aarch64.
    """
    named = os.environ.get(FOLDER)
    if not named:
        return ()
    found = tuple(Path(named) / name for name in PARTS)
    for path in found:
        if not path.is_file():
            raise UsageError(f"{FOLDER} names {named}, which lacks {path.name}", hint="copy it from a board")
        if read_needs(path.read_bytes()).machine != "aarch64":
            raise UsageError(f"{path} is not for aarch64", hint="copy it from an aarch64 board")
    return found


def with_glibc(facts: Facts, brought: tuple[Path, ...]) -> Facts:
    """Return the facts as they are for a program that is started by the loader of these parts.

    Raises:
        UsageError: the parts do not tell their version.
    """
    libc, cxx = ((brought[PARTS.index(name)]).read_bytes() for name in ("libc.so.6", "libstdc++.so.6"))
    version = re.search(rb"release version (\d+\.\d+)", libc)
    if version is None:
        raise UsageError(f"{brought[1]} does not tell which glibc it is", hint="copy it from a board")
    newest = max((int(n) for n in re.findall(rb"GLIBCXX_3\.4\.(\d+)\0", cxx)), default=0)
    return replace(facts, system="linux", libc=f"glibc {version[1].decode()}", libstdcxx=newest)


def check_ground(transport: Transport) -> None:
    """Insist that a pushed program may run there and that no filter stops its calls; leaves nothing.

    Raises:
        DeviceUnfitError: it may not.
    """
    told = transport.run(["sh", "-c", _PROBE, "sh", transport.root()])
    lines = told.text.splitlines()
    address, hint = transport.device.address, "look at the evidence; an adb shell normally may"
    if "seccomp 0" not in lines:
        what = f"a filter of system calls (seccomp) is on there, or unknown: {lines[:1]}"
        raise DeviceUnfitError(address, what, hint=hint, evidence=told.tail)
    if "exec" not in lines:
        what = f"nothing may be executed in {transport.root()}"
        raise DeviceUnfitError(address, what, hint=hint, evidence=told.tail)
