"""Bringing a runtime along: chosen and downloaded here, installed offline in EdgeKit's folder there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import DeviceUnfitError
from edgekit.runners import native, phone
from edgekit.runners.choice import decide
from edgekit.runners.elf import read_needs
from edgekit.runners.follow import how_ended
from edgekit.runners.ground import check_ground, inspect_ground
from edgekit.runners.program import python_program
from edgekit.runners.runtime import Build, Library
from edgekit.runners.wheels import check_needs, check_pages, fetch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgekit.runners.choice import Choice
    from edgekit.runners.depot import Depot
    from edgekit.runners.facts import Facts
    from edgekit.runners.runtime import Runtime
    from edgekit.runners.transport import Transport

_TRIAL_TIMEOUT_S = 300.0
_USUAL_PAGE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A device that is ready to run one runtime.

    Attributes:
        site: folders there with the runtime's libraries.
        version: the runtime's, as it told when it was tried there; "" for the null runtime.
        build: what was brought, or None when nothing is needed.
        command: the on-device program there, with what starts it; a job and a pass follow.
    """

    site: tuple[str, ...]
    version: str
    build: Build | Library | None
    command: tuple[str, ...]


def prepare(
    transport: Transport,
    facts: Facts,
    runtime: Runtime,
    depot: Depot,
    *,
    program: str = "auto",
    cache: Path | None = None,
) -> Prepared:
    """Make a device ready for a runtime; whatever can be known before is checked before a push.

    Args:
        transport: an open way to the device.
        facts: what the device is.
        runtime: what shall run there.
        depot: EdgeKit's folder there.
        program: "native", "python", or "auto": the native one where it can run.
        cache: where wheels are kept on the host; None for the user's.

    Raises:
        UsageError: the wheels are not kept here and can't be downloaded.
        DeviceUnfitError: the device lacks something; it says what.
        DeviceFullError: there is no room.
    """
    address = transport.device.address
    choice = decide(runtime, facts, program=program, device=address)
    if choice.program == "native":
        return _prepare_native(transport, choice, runtime, depot, cache)
    build = choice.brings
    if not isinstance(build, Build):
        return Prepared(site=(), version="", build=None, command=_python(facts, depot))
    if not any(pin.startswith("numpy") for _, pin in build.requires):
        _check_numpy(transport, facts)
    wheels = fetch(build, facts, cache)
    check_needs(wheels, facts, device=address)
    command = _python(facts, depot)

    def trial(site: str) -> str:
        return _try_import(transport, command, runtime, site)

    site, version = depot.install(wheels, python=facts.python, trial=trial)
    return Prepared(site=(site,), version=version, build=build, command=command)


def _python(facts: Facts, depot: Depot) -> tuple[str, ...]:
    return (facts.python, "-I", depot.put(python_program()))


def _prepare_native(
    transport: Transport, choice: Choice, runtime: Runtime, depot: Depot, cache: Path | None
) -> Prepared:
    """Bring the program, the runtime's library and a glibc; each lies under its sha256, to be shared."""
    address = transport.device.address
    glibc: tuple[Path, ...] = ()
    library = choice.brings if isinstance(choice.brings, Library) else None
    files = [native.program_for(choice.facts)]
    if choice.through_glibc:
        check_ground(inspect_ground(transport), choice.facts, address)
        glibc = phone.parts(cache)
    if library is not None:
        files.append(native.fetch_library(library, choice.facts, cache))
    for path in (*glibc, *files) if choice.facts.page_size > _USUAL_PAGE else ():
        check_pages(path.name, read_needs(path.read_bytes()), choice.facts, device=address)

    def line(stored: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what starts the program there, and the folders of the runtime's libraries."""
        parts, (program, *libraries) = stored[: len(glibc)], stored[len(glibc) :]
        command: tuple[str, ...] = (program,)
        if parts:
            folders = ":".join(path.rpartition("/")[0] for path in parts)
            command = (parts[0], "--library-path", folders, program)
        return command, tuple(path.rpartition("/")[0] for path in libraries)

    def trial(stored: Sequence[str]) -> str:
        command, site = line(stored)
        return _try_import(transport, command, runtime, *site)

    stored, version = depot.put_working((*glibc, *files), f"{runtime.name} {runtime.env}", trial)
    command, site = line(stored)
    return Prepared(site=site, version=version, build=library, command=command)


def _check_numpy(transport: Transport, facts: Facts) -> None:
    """Insist on the device's own numpy below 2, where there is no wheel of it to bring."""
    argv = [facts.python, "-I", "-c", "import numpy; print(numpy.__version__)"]
    found = transport.run(argv, timeout_s=_TRIAL_TIMEOUT_S)
    if found.exit_code != 0 or not found.text.startswith("1."):
        has = f"numpy {found.text.strip()[:20]}" if found.exit_code == 0 else "no numpy"
        raise DeviceUnfitError(
            transport.device.address,
            f"it has {has}, and there is no wheel of numpy 1 for {facts.abi} to bring",
            hint="install the system's own there: apt install python3-numpy",
            evidence=found.tail,
        )


def _try_import(transport: Transport, command: Sequence[str], runtime: Runtime, *site: str) -> str:
    """Open the runtime there and return its version; Python also leaves its byte code behind."""
    argv = [*command, "--import", runtime.name, *site]
    result = transport.run(argv, timeout_s=_TRIAL_TIMEOUT_S, env=dict(runtime.env))
    try:
        version = json.loads(result.text.splitlines()[-1])["version"] if result.exit_code == 0 else ""
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        version = ""
    if isinstance(version, str) and version and version.isprintable():
        return version[:100]
    raise DeviceUnfitError(
        transport.device.address,
        f"{runtime.name} does not load there: {_why(result.exit_code, result.tail)}",
        hint="look at the evidence; a library may be missing there",
        evidence=result.tail,
    )


def _why(exit_code: int, tail: str) -> str:
    last = tail.splitlines()[-1] if tail else ""
    try:
        return str(json.loads(last)["message"])[:300]
    except (KeyError, TypeError, ValueError, RecursionError):
        return f"it {how_ended(exit_code)}" if exit_code > 128 or not last else last[:300]  # noqa: PLR2004
