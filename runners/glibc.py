"""The glibc for devices that have none: out of Debian's cross packages, each held to the lock.

This host's own apt fetches them, so that the address is the one that the host is set up with and the
archives are checked against Debian's keys too. They are for any host; nothing is installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.bundle import write_atomic
from edgekit.errors import UsageError
from edgekit.runners.deb import read_deb
from edgekit.runners.lock import own_lock, refuse_other
from edgekit.runners.wheels import cache_folder

if TYPE_CHECKING:
    from edgekit.runners.lock import Lock, Package

FOLDER = "EDGEKIT_GLIBC"
_TIMEOUT_S = 300.0
_HINT = (
    "run `edgekit runtimes fetch glibc` on Debian 12, give it the folder with the packages (--from),"
    f" or name a folder with a board's glibc in {FOLDER}"
)


def place(cache: Path | None = None, lock: Lock | None = None) -> Path:
    """Return the folder where the glibc of the lock is kept on this host, or will be.

    Args:
        cache: where wheels are kept; None for the user's own.
        lock: None for EdgeKit's.
    """
    lock = lock or own_lock()
    name = f"{lock.glibc[0]}.{lock.glibc[1]}-{lock.parts[0].sha256[:12]}"
    return (cache or cache_folder()).parent / "glibc" / name


def kept(cache: Path | None = None, lock: Lock | None = None) -> tuple[Path, ...]:
    """Return the parts, the loader first; empty unless all are kept and are what the lock says."""
    lock = lock or own_lock()
    found = tuple(place(cache, lock) / part.name for part in lock.parts)
    whole = all(path.is_file() for path in found) and all(
        hashlib.sha256(path.read_bytes()).hexdigest() == part.sha256
        for path, part in zip(found, lock.parts, strict=True)
    )
    return found if whole else ()


def fetch(
    cache: Path | None = None, lock: Lock | None = None, *, source: Path | None = None
) -> tuple[Path, ...]:
    """Return the parts, fetched first where they are not kept.

    Args:
        cache: where wheels are kept; None for the user's own.
        lock: None for EdgeKit's.
        source: a folder that the packages are taken from instead of apt.

    Raises:
        UsageError: they can't be had, or are not what the lock says; nothing of them was used.
    """
    lock = lock or own_lock()
    found = kept(cache, lock)
    if found:
        return found
    contents: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        for package in lock.packages:
            contents.update(_contents(package, lock, _archive(package, source, Path(scratch))))
    folder = place(cache, lock)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_atomic(folder / name, content)
    except OSError as error:
        hint = "free some space, or set XDG_CACHE_HOME to another folder"
        raise UsageError(f"{folder} can't be written: {error.strerror}", hint=hint) from error
    return tuple(folder / part.name for part in lock.parts)


def _contents(package: Package, lock: Lock, archive: bytes) -> dict[str, bytes]:
    """Return the parts of one package by name; archive and parts are what the lock says."""
    refuse_other(f"the package {package.name}", hashlib.sha256(archive).hexdigest(), package.sha256)
    parts = [part for part in lock.parts if part.package == package.name]
    found = read_deb(archive, {part.member: part.bytes for part in parts})
    for part in parts:
        refuse_other(part.name, hashlib.sha256(found[part.member]).hexdigest(), part.sha256)
    return {part.name: found[part.member] for part in parts}


def _archive(package: Package, source: Path | None, scratch: Path) -> bytes:
    """Return a package's bytes: from a folder of the user's, or by apt."""
    if source is None:
        _download(package, scratch)
    folder = source or scratch
    names = sorted(folder.glob(f"{package.name}_*.deb"))
    fitting = [path for path in names if path.stat().st_size == package.bytes]
    if not fitting:
        what = f"{folder} has no {package.name} {package.version} of {package.bytes} bytes"
        if source is None:
            what = f"apt brought another {package.name} than {package.version}"
        raise UsageError(what, hint=_HINT)
    return fitting[0].read_bytes()


def _download(package: Package, folder: Path) -> None:
    apt = shutil.which("apt-get")
    if apt is None:
        raise UsageError("this host has no apt to fetch a glibc with", hint=_HINT)
    wanted = f"{package.name}={package.version}"
    try:
        done = subprocess.run(
            [apt, "--quiet", "download", wanted],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"apt did not download {wanted} within {_TIMEOUT_S:g} s", hint=_HINT) from error
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        told = (errors or ["apt said nothing"])[-1][:200]
        raise UsageError(
            f"apt can't download {wanted}: {told.removeprefix('E: ')}",
            hint=f"run `apt-get update` first; else {_HINT}",
            evidence=done.stderr[-4000:],
        )
