"""What EdgeKit brings to devices, held to one version and one content each: `runtimes.lock` beside this file.

Whatever comes from a network is compared with it before anything of it is used.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

from edgekit.errors import UsageError

LOCK = Path(__file__).with_name("runtimes.lock")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,150}")
_VERSION = re.compile(r"\d+(\.\d+)+")
_ANOTHER = "what is served is not what was locked; nothing of it was used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One wheel that may be brought to a device.

    Attributes:
        file: its name, which tells distribution, version, Python and machine.
        sha256: of its content.
        glibc: the lowest that its libraries load on, as read from them; None where that was not read.
        glibcxx: the lowest N of GLIBCXX_3.4.N, read there too.
    """

    file: str
    sha256: str
    glibc: tuple[int, int] | None = None
    glibcxx: int = 0

    @property
    def pin(self) -> str:
        """Its requirement: "distribution==version"."""
        name, version = self.file.split("-")[:2]
        return f"{_plain(name)}=={version}"

    @property
    def abi(self) -> str:
        """The machine that it is for, in uname's words."""
        return next(word for word in ("aarch64", "armv7l", "x86_64") if word in self.file)

    @property
    def python(self) -> int:
        """The minor version of the Python 3 that it is for."""
        return int(self.file.split("-")[2].removeprefix("cp3"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of the glibc.

    Attributes:
        name: by which the loader looks for it.
        package: the archive that it is in.
        member: its path there.
        bytes: its size.
        sha256: of its content.
    """

    name: str
    package: str
    member: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One of Debian's archives that the glibc is taken from.

    Attributes:
        name: of the package.
        version: the pinned one.
        bytes: the archive's size.
        sha256: of its content.
    """

    name: str
    version: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The whole file.

    Attributes:
        glibc: the version of the glibc for devices that have none.
        glibcxx: the N of the libstdc++.so.6.0.N that goes with it.
        packages: where its parts are taken from.
        parts: the loader first.
        wheels: the runtimes, and what those need.
    """

    glibc: tuple[int, int]
    glibcxx: int
    packages: tuple[Package, ...]
    parts: tuple[Part, ...]
    wheels: tuple[Wheel, ...]

    @classmethod
    def read(cls, text: str) -> Self:
        """Read the file's text.

        Raises:
            UsageError: it is not a lock file, or names something that no lock may name.
        """
        try:
            data = tomllib.loads(text)
            return cls(
                glibc=_version(data["glibc"]["version"]),
                glibcxx=int(data["glibc"]["glibcxx"]),
                packages=tuple(Package(**_checked(row)) for row in data["glibc"]["packages"]),
                parts=tuple(Part(**_checked(row)) for row in data["glibc"]["parts"]),
                wheels=tuple(_wheel(row) for row in data["wheels"]),
            )
        except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{LOCK.name} can't be read: {error}", hint="install EdgeKit again") from error

    def wheels_of(self, pin: str) -> tuple[Wheel, ...]:
        """Return the wheels of a requirement, one for each machine and Python; empty when there are none."""
        name, _, version = pin.partition("==")
        return tuple(wheel for wheel in self.wheels if wheel.pin == f"{_plain(name)}=={version}")

    def check(self, pin: str, file: str, sha256: str) -> None:
        """Hold a wheel that came for a requirement against what is locked for that.

        A requirement that is not locked is somebody's own runtime, and theirs to vouch for.

        Raises:
            UsageError: it is another than what is locked.
        """
        locked = self.wheels_of(pin)
        if not locked or any((wheel.file, wheel.sha256) == (file, sha256) for wheel in locked):
            return
        wanted = next((wheel.sha256[:12] for wheel in locked if wheel.file == file), "no such file")
        raise UsageError(f"{file} has the sha256 {sha256[:12]}, the lock has {wanted}", hint=_ANOTHER)


@cache
def own_lock() -> Lock:
    """Return the lock that EdgeKit was built with."""
    return Lock.read(LOCK.read_text(encoding="utf-8"))


def refuse_other(name: str, sha256: str, wanted: str) -> None:
    """Insist on a content.

    Raises:
        UsageError: it is another one.
    """
    if sha256 != wanted:
        raise UsageError(f"{name} has the sha256 {sha256[:12]}, the lock has {wanted[:12]}", hint=_ANOTHER)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _version(text: str) -> tuple[int, int]:
    if not _VERSION.fullmatch(text):
        raise ValueError(f"{text!r} is no version")
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose names can't lead anywhere else and whose hash is one."""
    for key in {"name", "file", "package"} & set(row):
        if not _NAME.fullmatch(row[key]):
            raise ValueError(f"{row[key]!r} is no name")
    if not _SHA256.fullmatch(row["sha256"]):
        raise ValueError(f"{row['sha256']!r} is no sha256")
    return row


def _wheel(row: dict[str, Any]) -> Wheel:
    row = _checked(row)
    glibc = _version(row["glibc"]) if "glibc" in row else None
    return Wheel(**{**row, "glibc": glibc})
