"""Which program runs a runtime on a device, decided from what the device is, before anything is pushed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import DeviceUnfitError
from edgekit.runners import glibc, native, phone
from edgekit.runners.runtime import Build, Library
from edgekit.runners.wheels import check_python, choose, kept, requirements

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.runners.facts import Facts
    from edgekit.runners.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How a runtime will run there.

    Attributes:
        program: "native" or "python".
        through_glibc: whether the native program is started through a glibc that is brought along.
        brings: the release of the runtime; None for the null runtime.
        facts: the device's as they are for that program.
        not_native: why it is not the native program, or "".
    """

    program: str
    through_glibc: bool
    brings: Build | Library | None
    facts: Facts
    not_native: str = ""


def decide(runtime: Runtime, facts: Facts, *, program: str = "auto", device: str = "device") -> Choice:
    """Return how a runtime will run on a device; nothing is asked of it or fetched.

    Args:
        runtime: what shall run there.
        facts: what the device is.
        program: "native", "python", or "auto": the native one where it can run.
        device: its address, for messages.

    Raises:
        UsageError: the user's own glibc is not one.
        DeviceUnfitError: no program can run it; it says what the device lacks.
    """
    unfit = "another program was asked for"
    if program != "python":
        through = phone.needs_glibc(runtime, facts)
        seen = phone.with_glibc(facts) if through else facts
        unfit = native.unfit(runtime, seen)
        if not unfit:
            library = native.library_for(runtime, seen)
            return Choice(program="native", through_glibc=through, brings=library, facts=seen)
    if program == "native":
        what = f"the native program can't run {runtime.name} there: {unfit}"
        raise DeviceUnfitError(device, what, hint="leave --program out, or ask for python")
    if not runtime.builds and not runtime.refuses:
        check_python(facts, device=device)
        return Choice(program="python", through_glibc=False, brings=None, facts=facts, not_native=unfit)
    build = choose(runtime, facts, device=device)
    return Choice(program="python", through_glibc=False, brings=build, facts=facts, not_native=unfit)


def is_kept(choice: Choice, cache: Path | None = None) -> bool:
    """Return whether all that a choice brings is kept on this host, so that no network is needed.

    Args:
        choice: as `decide` returned it.
        cache: where wheels are kept; None for the user's own.
    """
    if choice.through_glibc and not (os.environ.get(glibc.FOLDER) or glibc.kept(cache)):
        return False
    facts, brings = choice.facts, choice.brings
    if isinstance(brings, Library):
        pin = f"{brings.distribution}=={brings.version}"
        return kept(pin, brings.python, facts.abi, cache) is not None
    minor = facts.python_version[1] if facts.python_version else 0
    pins = requirements(brings, minor) if isinstance(brings, Build) else ()
    return all(kept(pin, minor, facts.abi, cache) for pin in pins)
