"""Linux without glibc, such as a phone: a glibc that is brought along, and which parts.

The parts are those of the lock, or lie in a folder of the user's that the variable EDGEKIT_GLIBC names. The
program is started through their loader, as `ld.so --library-path`; nothing of the device's own is changed.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import UsageError
from edgekit.runners import glibc
from edgekit.runners.elf import read_needs
from edgekit.runners.glibc import FOLDER
from edgekit.runners.lock import own_lock

if TYPE_CHECKING:
    from edgekit.runners.facts import Facts
    from edgekit.runners.runtime import Runtime

ABI = "aarch64"
LOADER = "ld-linux-aarch64.so.1"
PARTS = (
    LOADER, "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1",
    "libgcc_s.so.1", "libstdc++.so.6",
)  # fmt: skip


def needs_glibc(runtime: Runtime, facts: Facts) -> bool:
    """Return whether the native program runs there through a glibc that is brought along, or not at all.

    The null runtime, which brings no library, runs by a Python where there is one.
    """
    lacks = facts.abi == ABI and facts.system in {"linux", "android"} and facts.glibc is None
    return lacks and (bool(runtime.libraries) or facts.python_version is None)


def parts(cache: Path | None = None) -> tuple[Path, ...]:
    """Return the glibc's parts on this host, the loader first; fetched where they are not kept.

    Args:
        cache: where wheels are kept; None for the user's own.

    Raises:
        UsageError: one is missing in the user's folder or is no library for aarch64; or, without such a
            folder, they can't be had.
    """
    named = os.environ.get(FOLDER)
    if not named:
        return glibc.fetch(cache)
    found = tuple(Path(named) / name for name in PARTS)
    for path in found:
        if not path.is_file():
            raise UsageError(f"{FOLDER} names {named}, which lacks {path.name}", hint="copy it from a board")
        if read_needs(path.read_bytes()).machine != ABI:
            raise UsageError(f"{path} is not for aarch64", hint="copy it from an aarch64 board")
    return found


def with_glibc(facts: Facts) -> Facts:
    """Return the facts as they are for a program that is started through the glibc; nothing is fetched.

    Raises:
        UsageError: the user's folder lacks a part, or its libc does not tell its version.
    """
    lock = own_lock()
    version, newest = f"{lock.glibc[0]}.{lock.glibc[1]}", lock.glibcxx
    if os.environ.get(FOLDER):
        brought = parts()
        libc, cxx = ((brought[PARTS.index(name)]).read_bytes() for name in ("libc.so.6", "libstdc++.so.6"))
        told = re.search(rb"release version (\d+\.\d+)", libc)
        if told is None:
            raise UsageError(f"{brought[1]} does not tell which glibc it is", hint="copy it from a board")
        version = told[1].decode()
        newest = max((int(n) for n in re.findall(rb"GLIBCXX_3\.4\.(\d+)\0", cxx)), default=0)
    return replace(facts, system="linux", libc=f"glibc {version}", libstdcxx=newest)
