"""A runtime: what executes an artifact on a device, and what has to be brought there for it.

This is data, not behaviour: the on-device runner holds the code that loads and invokes. Adding a
runtime is one file here, one line in the registry and one class in the on-device runner.
"""

from __future__ import annotations

from dataclasses import dataclass


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
class Runtime:
    """What executes artifacts of some formats.

    Attributes:
        name: the user's word for it, also the on-device runner's.
        formats: the artifact formats that it takes.
        builds: releases that can be brought along, the most wanted first; empty when none is needed.
        libraries: what the native program opens instead, the most wanted first.
        env: variables set for it on the device.
        refuses: why no device can run it here, or "".
    """

    name: str
    formats: tuple[str, ...]
    builds: tuple[Build, ...] = ()
    libraries: tuple[Library, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    refuses: str = ""
