"""The native program on a device: whether it can run there, and which of a runtime's libraries it opens."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.bundle import write_atomic
from edgekit.errors import UsageError
from edgekit.runners.elf import BROKEN_ARCHIVE
from edgekit.runners.program import native_program
from edgekit.runners.wheels import cache_folder, fetch_pins, lack_of

if TYPE_CHECKING:
    from edgekit.runners.facts import Facts
    from edgekit.runners.runtime import Library, Runtime

PROGRAM_GLIBC = (2, 17)
"""What the program is linked for."""


def unfit(runtime: Runtime, facts: Facts) -> str:
    """Return why the native program can't run a runtime on a device, or ""."""
    if facts.system != "linux" or facts.glibc is None or facts.glibc < PROGRAM_GLIBC:
        return f"it needs Linux with glibc 2.17, and the device has {facts.libc or 'another libc'}"
    if native_program(facts.abi) is None:
        return f"it is not built for {facts.abi or 'an unknown machine'}"
    if runtime.refuses or not runtime.libraries:
        return runtime.refuses or ("it can't open that runtime" if runtime.builds else "")
    fitting = [library for library in runtime.libraries if facts.abi in library.abis]
    if not fitting:
        return f"no release of it has a library with a C API for {facts.abi}"
    lacks = [lack_of(one.glibc, one.glibcxx, facts, needs_cxx=True) for one in fitting]
    return "" if "" in lacks else f"its library {lacks[0]}"


def program_for(facts: Facts) -> Path:
    """Return the program for a device that `unfit` found nothing against."""
    found = native_program(facts.abi)
    assert found is not None  # noqa: S101 - unfit saw it
    return found


def library_for(runtime: Runtime, facts: Facts) -> Library | None:
    """Return the library that the program opens there, the most wanted that loads; None without one."""
    for library in runtime.libraries:
        if facts.abi in library.abis and not lack_of(library.glibc, library.glibcxx, facts, needs_cxx=True):
            return library
    return None


def fetch_library(library: Library, facts: Facts, cache: Path | None = None) -> Path:
    """Return a runtime's library on this host, taken out of its wheel; its name ends with its release.

    Args:
        library: which one.
        facts: what the device is.
        cache: where wheels are kept; None for the user's own.

    Raises:
        UsageError: the wheel is not kept and can't be downloaded, or does not hold it.
    """
    cache = cache or cache_folder()
    pin = f"{library.distribution}=={library.version}"
    (wheel,) = fetch_pins((pin,), library.python, facts.abi, facts.glibc, cache)
    base = Path(library.path).name.partition(".so")[0]
    place = cache.parent / "libraries" / wheel.parent.name[:32] / f"{base}.so.{library.version}"
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(library.path)
            if place.is_file() and zlib.crc32(place.read_bytes()) == info.CRC:
                return place
            content = archive.read(info)
    except (KeyError, *BROKEN_ARCHIVE) as error:
        raise UsageError(f"{wheel.name} does not hold {library.path}", hint="download it again") from error
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(place, content)
    return place
