"""Which wheels a device needs, and how they come to this host.

pip downloads them for the device's machine and Python; nothing is installed here. They are kept by their
content, with an index of what was asked for, so that the second time needs no network. What the lock names is
held to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.artifact import digest
from edgekit.errors import DeviceUnfitError, UsageError
from edgekit.runners.elf import wheel_needs
from edgekit.runners.lock import own_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgekit.runners.elf import Needs
    from edgekit.runners.facts import Facts
    from edgekit.runners.runtime import Build, Runtime

MIN_PYTHON = (3, 7)
_MANYLINUX = range(17, 45)
_PIP_TIMEOUT_S = 900.0
_DOWNLOAD_HINT = "connect this host to the network once; the wheels are kept for the next time"


def choose(runtime: Runtime, facts: Facts, *, device: str = "device") -> Build:
    """Return the release of a runtime that suits a device, the most wanted first.

    Args:
        runtime: what shall run there.
        facts: what the device is.
        device: its address, for messages.

    Raises:
        UsageError: the runtime brings nothing along, so that there is nothing to choose.
        DeviceUnfitError: no release suits; it says what is missing.
    """
    if runtime.refuses:
        raise DeviceUnfitError(device, runtime.refuses, hint="choose an artifact of another format")
    if not runtime.builds:
        raise UsageError(f"the runtime {runtime.name} brings nothing along")
    check_python(facts, device=device)
    assert facts.python_version is not None  # noqa: S101 - check_python saw it
    minor = facts.python_version[1]
    fitting = [b for b in runtime.builds if facts.abi in b.abis]
    if not fitting:
        known = ", ".join(sorted({abi for build in runtime.builds for abi in build.abis}))
        what = f"{runtime.name} has no build for {facts.abi or 'an unknown machine'}"
        raise DeviceUnfitError(device, what, hint=f"it has them for {known}")
    for_python = [b for b in fitting if b.python[0] <= minor <= b.python[1]]
    if not for_python:
        low, high = min(b.python[0] for b in fitting), max(b.python[1] for b in fitting)
        what = f"{runtime.name} has no build for Python 3.{minor} on {facts.abi}"
        raise DeviceUnfitError(
            device, what, hint=f"install another Python there; builds are for 3.{low} to 3.{high}"
        )
    return _loadable(runtime, for_python, facts, device)


def check_python(facts: Facts, *, device: str) -> None:
    """Insist on a Python that the on-device program runs on.

    Raises:
        DeviceUnfitError: there is none, or it is too old.
    """
    hint = f"install Python {MIN_PYTHON[0]}.{MIN_PYTHON[1]} or newer there (apt install python3)"
    if facts.system == "android":
        hint = "on an aarch64 phone the native program needs none: leave --program out"
    if facts.python_version is None:
        raise DeviceUnfitError(device, "no Python there", hint=hint)
    if facts.python_version < MIN_PYTHON or facts.python_version[0] != MIN_PYTHON[0]:
        found = ".".join(map(str, facts.python_version))
        raise DeviceUnfitError(device, f"Python {found} there is too old", hint=hint)


def _loadable(runtime: Runtime, builds: Sequence[Build], facts: Facts, device: str) -> Build:
    """Return the first build whose libraries load on the device's libc and libstdc++."""
    if facts.glibc is None:
        what = f"{runtime.name} needs glibc, the device has {facts.libc or 'another libc'}"
        raise DeviceUnfitError(device, what, hint="use a system with glibc (Debian, Ubuntu, Raspberry Pi OS)")
    for build in builds:
        if not lack_of(build.glibc, build.glibcxx, facts, needs_cxx=True):
            return build
    easiest = min(builds, key=lambda b: (b.glibc, b.glibcxx))
    lack = lack_of(easiest.glibc, easiest.glibcxx, facts, needs_cxx=True)
    what = f"{easiest.distribution} {easiest.version} {lack}"
    raise DeviceUnfitError(
        device, what, hint="update its system, or apt install libstdc++6 where that is missing"
    )


def lack_of(glibc: tuple[int, int], glibcxx: int, facts: Facts, *, needs_cxx: bool) -> str:
    """Return what the device lacks for libraries of these needs, with both versions, or ""."""
    has = facts.glibc or (0, 0)
    if glibc > has:
        return f"needs glibc {glibc[0]}.{glibc[1]}, the device has {facts.libc or 'none'}"
    if needs_cxx and not facts.libstdcxx:
        return "needs libstdc++.so.6, the device has none"
    if glibcxx > facts.libstdcxx:
        return f"needs GLIBCXX_3.4.{glibcxx}, the device has GLIBCXX_3.4.{facts.libstdcxx}"
    return ""


def check_needs(wheels: Iterable[Path], facts: Facts, *, device: str) -> None:
    """Hold what the wheels' libraries ask for against the device, before anything is pushed.

    Raises:
        DeviceUnfitError: a library would not load there; both versions are named.
        UsageError: a wheel is broken.
    """
    for wheel in wheels:
        needs = wheel_needs(wheel)
        if needs.machine and needs.machine != facts.abi:
            what = f"{wheel.name} is for {needs.machine}, the device is {facts.abi}"
            raise DeviceUnfitError(device, what, hint="remove the wheels' cache on this host and try again")
        lack = lack_of(needs.glibc, needs.glibcxx, facts, needs_cxx="libstdc++.so.6" in needs.libraries)
        if lack:
            raise DeviceUnfitError(device, f"{wheel.name} {lack}", hint="update the device's system")
        check_pages(wheel.name, needs, facts, device=device)


def check_pages(name: str, needs: Needs, facts: Facts, *, device: str) -> None:
    """Insist on libraries whose segments can be mapped in the device's pages of memory.

    Raises:
        DeviceUnfitError: they are aligned to less than a page.
    """
    if 0 < needs.page_bytes < facts.page_size:
        what = f"{name} is aligned to {needs.page_bytes} bytes, a page of memory there has {facts.page_size}"
        raise DeviceUnfitError(device, what, hint="boot its kernel with smaller pages")


def cache_folder() -> Path:
    """Return where wheels are kept on this host."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "edgekit" / "wheels"


def requirements(build: Build, minor: int) -> tuple[str, ...]:
    """Return what has to be brought for Python 3.`minor`: the build and what it needs, all pinned."""
    needed = tuple(pin for (low, high), pin in build.requires if low <= minor <= high)
    return (f"{build.distribution}=={build.version}", *needed)


def fetch(build: Build, facts: Facts, cache: Path | None = None) -> tuple[Path, ...]:
    """Return the wheels of a build for a device, downloaded where they are not kept already.

    Args:
        build: as `choose` returned it.
        facts: what the device is.
        cache: where wheels are kept; None for `cache_folder()`.

    Raises:
        UsageError: they are not kept and can't be downloaded.
    """
    minor = facts.python_version[1] if facts.python_version else 0
    return fetch_pins(requirements(build, minor), minor, facts.abi, facts.glibc, cache)


def fetch_pins(
    wanted: Sequence[str],
    minor: int,
    abi: str,
    glibc: tuple[int, int] | None,
    cache: Path | None = None,
    *,
    source: Path | None = None,
) -> tuple[Path, ...]:
    """Return the wheels of pinned requirements for a device's machine and Python 3.`minor`; see `fetch`.

    Args:
        wanted: the requirements, "distribution==version" each.
        minor: of the Python.
        abi: the machine, in uname's words.
        glibc: the device's, whose wheels are preferred; None for the oldest.
        cache: where wheels are kept; None for `cache_folder()`.
        source: a folder that they are taken from instead of the network.

    Raises:
        UsageError: they are not kept and can't be downloaded, or are not what is locked.
    """
    cache = cache or cache_folder()
    found = {pin: kept(pin, minor, abi, cache) for pin in wanted}
    missing = [pin for pin, path in found.items() if path is None]
    if missing:
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            tags = platforms(abi, glibc or (2, _MANYLINUX[0]))
            _download(missing, Path(folder), minor=minor, abi=abi, tags=tags, source=source)
            for pin in missing:
                found[pin] = _keep(cache, pin, _key(pin, minor, abi), _named(pin, Path(folder)))
    return tuple(path for path in found.values() if path is not None)


def platforms(abi: str, glibc: tuple[int, int]) -> tuple[str, ...]:
    """Return the platform tags to ask pip for, the best first.

    pip does not walk down from a tag, so that each is named. The device's own glibc comes first, then the
    older ones, then the newer: some wheels are tagged higher than they need, and `check_needs` decides.
    """
    own = [n for n in reversed(_MANYLINUX) if n <= glibc[1]]
    newer = [n for n in _MANYLINUX if n > glibc[1]]
    return (*(f"manylinux_2_{n}_{abi}" for n in (*own, *newer)), f"manylinux2014_{abi}")


def _download(
    pins: Sequence[str], folder: Path, *, minor: int, abi: str, tags: Sequence[str], source: Path | None
) -> None:
    options = ["--quiet", "--no-deps", "--no-input", "--disable-pip-version-check", "--only-binary=:all:"]
    options += [
        "--retries",
        "1",
        "--timeout",
        "20",
        "--implementation",
        "cp",
        "--python-version",
        f"3.{minor}",
    ]
    options += [part for tag in tags for part in ("--platform", tag)]
    if source is not None:
        options += ["--no-index", "--find-links", str(source)]
    argv = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), *pins]
    shown = " and ".join(pins)
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", timeout=_PIP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f"pip did not download {shown} within {_PIP_TIMEOUT_S:g} s", hint=_DOWNLOAD_HINT
        ) from error
    if "No module named pip" in done.stderr:
        raise UsageError("pip is not installed for this Python", hint=f"{sys.executable} -m ensurepip")
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        told = (errors or done.stderr.splitlines() or ["pip said nothing"])[-1][:200]
        what = f"{shown} for Python 3.{minor} on {abi} can't be downloaded: {told}"
        raise UsageError(what, hint=_DOWNLOAD_HINT, evidence=done.stderr[-4000:])


def _named(pin: str, folder: Path) -> Path:
    """Return the wheel of a pinned requirement among those that were downloaded."""
    name, _, version = pin.partition("==")
    start = re.sub(r"[-_.]+", "_", name).lower()
    for path in folder.glob("*.whl"):
        parts = path.name.split("-")
        if re.sub(r"[-_.]+", "_", parts[0]).lower() == start and parts[1] == version:
            return path
    raise UsageError(f"pip brought no wheel of {pin}", hint="try again; look at pip's configuration")


def _key(pin: str, minor: int, abi: str) -> str:
    return f"{re.sub('[^A-Za-z0-9.]+', '-', pin)}-cp3{minor}-{abi}"


def kept(pin: str, minor: int, abi: str, cache: Path | None = None) -> Path | None:
    """Return a kept wheel if it is there and still what it was and what is locked; else None.

    Args:
        pin: "distribution==version".
        minor: of the Python 3 that it is for.
        abi: the machine that it is for.
        cache: where wheels are kept; None for `cache_folder()`.
    """
    cache = cache or cache_folder()
    try:
        entry = json.loads((cache / "index" / f"{_key(pin, minor, abi)}.json").read_text(encoding="utf-8"))
        path = cache / entry["sha256"] / Path(entry["name"]).name
        sha256, _ = digest(path)
        own_lock().check(pin, path.name, sha256)
    except (OSError, ValueError, KeyError, TypeError, UsageError):
        return None
    return path if sha256 == entry["sha256"] else None


def _keep(cache: Path, pin: str, key: str, wheel: Path) -> Path:
    """Move a wheel to where its content says, then tell the index; each whole or not at all."""
    sha256, _ = digest(wheel)
    own_lock().check(pin, wheel.name, sha256)
    place = cache / sha256 / wheel.name
    index = cache / "index" / f"{key}.json"
    try:
        for folder in (place.parent, index.parent):
            folder.mkdir(parents=True, exist_ok=True)
        _write(place, wheel.read_bytes())
        _write(index, json.dumps({"name": wheel.name, "sha256": sha256}).encode())
    except OSError as error:
        what = f"{cache} can't be written: {error.strerror}"
        raise UsageError(what, hint="free some space, or set XDG_CACHE_HOME to another folder") from error
    return place


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def site_name(wheels: Iterable[Path]) -> str:
    """Return the name of a set of wheels: the sha256 of their own, sorted."""
    return hashlib.sha256("\n".join(sorted(digest(wheel)[0] for wheel in wheels)).encode()).hexdigest()
