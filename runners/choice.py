"""Which program runs a runtime on a device, decided from what the device is, before anything is pushed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import DeviceUnfitError
from edgekit.runners import native, phone
from edgekit.runners.wheels import check_python, choose

if TYPE_CHECKING:
    from edgekit.runners.facts import Facts
    from edgekit.runners.runtime import Build, Library, Runtime


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

    @property
    def shown(self) -> str:
        """What a user reads."""
        way = f"{self.program} through {self.facts.libc}" if self.through_glibc else self.program
        return f"{way}: {self.brings.distribution} {self.brings.version}" if self.brings else way


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
