"""A runtime: what executes an artifact on a device, and what has to be brought there for it.

This is data, not behaviour: the on-device runner holds the code that loads and invokes. Adding a
runtime is one file here, one line in the registry and one class in the on-device runner.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from edgekit.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COMPUTE_UNITS = ("ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE")
"""What Core ML may be told to compute with, in coremltools' words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One release of a runtime that can be brought to a device.

    Attributes:
        distribution: its name on the package index.
        version: the pinned version.
        python: the (lowest, highest) CPython minor versions that have wheels, 3.x.
        glibc: the lowest glibc its libraries load on, as read from the libraries themselves.
        glibcxx: the lowest N of GLIBCXX_3.4.N that they load on, read there too; libstdc++.so.6.0.N has it.
        abis: the machines it has wheels for, in uname's words.
        requires: what it needs beside itself, each as a pinned requirement by Python minor version:
            ((lowest, highest), "numpy==...").
    """

    distribution: str
    version: str
    python: tuple[int, int]
    glibc: tuple[int, int]
    abis: tuple[str, ...]
    requires: tuple[tuple[tuple[int, int], str], ...] = ()
    glibcxx: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A runtime's own library, which the native program opens: one file out of a wheel.

    Attributes:
        distribution: the wheel's name on the package index.
        version: the pinned version.
        path: of the library in the wheel.
        glibc: the lowest glibc that it loads on, as read from it.
        glibcxx: the lowest N of GLIBCXX_3.4.N that it loads on, read there too.
        abis: the machines whose wheels have a library with the C API that the program calls.
        python: the minor version of the wheel that it is taken from; no Python is needed to open it.
    """

    distribution: str
    version: str
    path: str
    glibc: tuple[int, int]
    glibcxx: int
    abis: tuple[str, ...]
    python: int = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeWish:
    """What is asked of a runtime itself; "" leaves it to the runtime.

    Attributes:
        binary: the program to use: a file on this host, or "device:PATH" for one that is there.
        compute_units: one of COMPUTE_UNITS.
        remote_device: name or identifier of what is connected to the device and shall run the artifact.
        release: the one of its releases that shall be brought; the others stay as they are on a device.

    Raises:
        UsageError: no such compute units.
    """

    binary: str = ""
    compute_units: str = ""
    remote_device: str = ""
    release: str = ""

    def __post_init__(self) -> None:
        if self.compute_units and self.compute_units not in COMPUTE_UNITS:
            what = f"there are no compute units {self.compute_units!r}"
            raise UsageError(what, hint=f"choose among {', '.join(COMPUTE_UNITS)}")

    def env(self) -> tuple[tuple[str, str], ...]:
        """Return what the program on the device has to know, as variables for it."""
        told = {"COMPUTE_UNITS": self.compute_units, "REMOTE_DEVICE": self.remote_device}
        return tuple((f"EDGEKIT_{name}", value) for name, value in told.items() if value)

    def asked(self) -> dict[str, str]:
        """Return what is asked for, by name."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolJob:
    """What a tool is asked to do.

    Attributes:
        artifact: absolute path on the device.
        result: absolute path there of the file that it may write.
        threads: how many it shall use.
        warmup: invocations between the first and the timed ones.
        runs: timed invocations at most.
        max_s: seconds that the timed loop may last, where the tool can be told.
        period_s: from the beginning of an invocation to that of the next one; 0 is back to back.
    """

    artifact: str
    result: str
    threads: int
    warmup: int
    runs: int
    max_s: float
    period_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a tool's own output says; nothing in it is computed from anything else.

    Attributes:
        threads: how many it says that it used.
        load_ns: opening the artifact; None when it does not say.
        first_ns: the first invocation; None when it does not say, or not finely enough.
        warmup_ns: invocations after that and before the timed ones, where it tells each.
        samples_ns: the timed ones, where it tells each.
        count: how many timed ones it says there were.
        figures: whatever else it says, by name with the unit.
    """

    threads: int
    load_ns: int | None
    first_ns: int | None
    warmup_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]
    count: int
    figures: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that a user has, and that loads, times and tells by itself.

    Attributes:
        argv: its arguments for a job.
        read: takes its output, its result file (both text) and the job; returns what they say; raises
            ValueError when they can't be read.
        paced: whether it can be told to begin an invocation every so often.
    """

    argv: Callable[[ToolJob], tuple[str, ...]]
    read: Callable[[str, str, ToolJob], Told]
    paced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What executes artifacts of some formats.

    Attributes:
        name: the user's word for it, also the on-device runner's.
        formats: the artifact formats that it takes.
        builds: releases that can be brought along, the most wanted first; empty when none is needed.
        libraries: what the native program opens instead, the most wanted first.
        env: variables set for it on the device.
        refuses: why none but a Mac can run it, or "".
        takes: the parts of a RuntimeWish that mean something to it.
        tool: how a program of the user's is run and read, where it is one.
    """

    name: str
    formats: tuple[str, ...]
    builds: tuple[Build, ...] = ()
    libraries: tuple[Library, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    refuses: str = ""
    takes: tuple[str, ...] = ()
    tool: Tool | None = None

    def released(self, version: str) -> Runtime:
        """Return the runtime with one release alone to bring; itself when none is named.

        Raises:
            UnknownNameError: it has no such release.
        """
        if not version:
            return self
        builds = tuple(build for build in self.builds if build.version == version)
        libraries = tuple(library for library in self.libraries if library.version == version)
        if not builds and not libraries:
            known = {*(build.version for build in self.builds), *(one.version for one in self.libraries)}
            raise UnknownNameError(f"release of {self.name}", version, known)
        return replace(self, builds=builds, libraries=libraries)
