"""What this host keeps for devices, and what it could: the wheels and the glibc of the lock.

A name is a runtime ("onnxruntime", "litert"), one release of it ("litert==2.1.0"), or "glibc".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgekit.errors import UnknownNameError, UsageError
from edgekit.runners import glibc
from edgekit.runners.lock import own_lock
from edgekit.runners.phone import ABI
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.wheels import fetch_pins, kept, requirements

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from edgekit.runners.lock import Wheel
    from edgekit.runners.runtime import Runtime

GLIBC = "glibc"
ABIS = ("aarch64", "armv7l", "x86_64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that may be brought to devices.

    Attributes:
        name: of the distribution, or "glibc".
        version: of it.
        abi: the machine that it is for.
        python: the minor version of the Python 3 that a wheel is for; 0 for the glibc.
        source: what fetches it, "pip" or "apt".
        sha256: of the wheel; of the glibc's loader.
        bytes: what it takes here; 0 when it is not kept.
    """

    name: str
    version: str
    abi: str
    python: int
    source: str
    sha256: str
    bytes: int

    @property
    def pin(self) -> str:
        """Its requirement."""
        return f"{self.name}=={self.version}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON's types."""
        return {**asdict(self), "kept": self.bytes > 0}


def stock(cache: Path | None = None) -> tuple[Item, ...]:
    """Return all that the lock names, with what of it is kept here and whole.

    Args:
        cache: where wheels are kept; None for the user's own.
    """
    wheels = {(w.pin, w.python, w.abi): w for w in own_lock().wheels}
    return (_glibc_item(cache), *(_wheel_item(wheel, cache) for wheel in wheels.values()))


def select(
    names: Sequence[str] = (), *, abis: Iterable[str] = ABIS, pythons: Iterable[int] = (), phones: bool = True
) -> tuple[tuple[str, int, str], ...]:
    """Return what devices need, each as (requirement, minor version of Python, machine); see `bring`.

    The glibc is ("glibc", 0, "aarch64"). Without a Python it is what the native program opens.

    Args:
        names: of runtimes or releases, or "glibc"; empty for all.
        abis: the devices' machines.
        pythons: minor versions of Python 3 on the devices, for what runs by one.
        phones: whether some of them have no glibc.

    Raises:
        UsageError: a name is not known, or nothing would be fetched for it.
    """
    abis, pythons = tuple(abis), tuple(pythons)
    known = [name for name in RUNTIMES if RUNTIMES.get(name).builds]
    found: list[tuple[str, int, str]] = []
    if phones and ABI in abis and (not names or GLIBC in names):
        found.append((GLIBC, 0, ABI))
    for name in [name for name in names if name != GLIBC] or ([] if names else known):
        runtime, _, version = name.partition("==")
        if runtime not in known:
            raise UnknownNameError("runtime", runtime, [*known, GLIBC])
        found += _of_runtime(RUNTIMES.get(runtime), version, abis, pythons)
    if not found:
        what = f"nothing of {', '.join(names) or 'the runtimes'} for {', '.join(abis)} runs without a Python"
        raise UsageError(what, hint="say which Python the devices have: --python 3.11")
    return tuple(dict.fromkeys(found))


def everything() -> tuple[tuple[str, int, str], ...]:
    """Return all that the lock names, as `select` does."""
    return tuple((GLIBC if item.name == GLIBC else item.pin, item.python, item.abi) for item in stock())


def bring(
    wanted: tuple[str, int, str], cache: Path | None = None, *, source: Path | None = None
) -> tuple[Item, bool]:
    """Return one thing as it is kept here, fetched first if it was not, and whether it had to be.

    Args:
        wanted: as `select` returned it.
        cache: where wheels are kept; None for the user's own.
        source: a folder that it is taken from instead of a network.

    Raises:
        UsageError: it can't be had, or is not what the lock says.
    """
    pin, minor, abi = wanted
    if pin == GLIBC:
        fresh = not glibc.kept(cache)
        glibc.fetch(cache, source=source)
        return _glibc_item(cache), fresh
    fresh = kept(pin, minor, abi, cache) is None
    fetch_pins((pin,), minor, abi, None, cache, source=source)
    wheel = next(w for w in own_lock().wheels_of(pin) if (w.python, w.abi) == (minor, abi))
    return _wheel_item(wheel, cache), fresh


def _of_runtime(
    runtime: Runtime, version: str, abis: Sequence[str], pythons: Sequence[int]
) -> list[tuple[str, int, str]]:
    runtime = runtime.released(version)
    found = [
        (f"{one.distribution}=={one.version}", one.python, abi)
        for one in runtime.libraries
        for abi in one.abis
        if abi in abis
    ]
    for minor in pythons:
        for build in runtime.builds:
            if build.python[0] <= minor <= build.python[1]:
                pins = requirements(build, minor)
                found += [(pin, minor, abi) for abi in build.abis if abi in abis for pin in pins]
    return found


def _glibc_item(cache: Path | None) -> Item:
    lock = own_lock()
    return Item(
        name=GLIBC,
        version=f"{lock.glibc[0]}.{lock.glibc[1]}",
        abi=ABI,
        python=0,
        source="apt",
        sha256=lock.parts[0].sha256,
        bytes=sum(path.stat().st_size for path in glibc.kept(cache)),
    )


def _wheel_item(wheel: Wheel, cache: Path | None) -> Item:
    name, _, version = wheel.pin.partition("==")
    path = kept(wheel.pin, wheel.python, wheel.abi, cache)
    return Item(
        name=name,
        version=version,
        abi=wheel.abi,
        python=wheel.python,
        source="pip",
        sha256=path.parent.name if path else wheel.sha256,
        bytes=path.stat().st_size if path else 0,
    )
