"""EdgeKit's folder on a device: content under its sha256, runtimes under the hash of their wheels.

    ROOT/store/SHA256/NAME     what was pushed, named by what it is
    ROOT/site/HASH/            the unpacked wheels of one runtime, or only the word that a set of files works
    ROOT/runs/ID/              one run's job, spool and log, while it runs
    ROOT/lease/                who benches there

The folder is its owner's alone (0700). Nothing is written outside of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
import zipfile
from typing import TYPE_CHECKING

from edgekit.artifact import digest
from edgekit.errors import DeviceFullError, DeviceUnfitError, EdgeKitError, ProtocolError, UsageError
from edgekit.runners.elf import BROKEN_ARCHIVE
from edgekit.runners.transport.base import TRANSFER_TIMEOUT_S
from edgekit.runners.transport.command import DIGEST
from edgekit.runners.wheels import site_name
from edgekit.units import bytes_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgekit.runners.transport import CommandResult, Transport

_RESERVE_BYTES = 4 << 20
_UNPACK_TIMEOUT_S = 900.0
_SETTLED_NS = 2_000_000_000
_DIGESTS: dict[tuple[str, int, int, int, int, int], tuple[str, int]] = {}
_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")
_LISTED = re.compile(r"([0-9]{1,15})\s+((?:store|site|runs)/[A-Za-z0-9._+-]{1,200})")
_NAME = re.compile(r"[A-Za-z0-9._+-]{1,150}")
_ROOM = f"""{DIGEST}
umask 077
mkdir -p -- "$1" && chmod 700 "$1" || exit 1
echo "free $(df -Pk "$1" | tail -n 1 | while read -r _ _ _ free _; do echo "$free"; done)"
version=
[ -z "$2" ] || [ ! -f "$2/.edgekit" ] || read -r version <"$2/.edgekit"
echo "works $version"
shift 2
for f; do
  if [ -f "$f" ]; then digest "$(wc -c <"$f")" <"$f"
  elif [ -e "${{f%/*}}" ]; then echo begun
  else echo absent; fi
done
"""
_UNPACK = r"""
umask 077
new=$1; python=$2; shift 2
rm -rf -- "$new" && mkdir -p -- "$new" || exit 1
for wheel; do "$python" -I -m zipfile -e "$wheel" "$new" || { rm -rf -- "$new"; exit 1; }; done
"""
_SETTLE = r"""
printf '%s\n' "$3" >"$1/.edgekit" || exit 1
[ -d "$2" ] && rm -rf -- "$2"
mv -- "$1" "$2"
"""
_WORKS = r"""
umask 077
mkdir -p -- "$1" && printf '%s\n' "$2" >"$1/new-$$" && mv -f -- "$1/new-$$" "$1/.edgekit"
"""
_LIST = r"""
cd -- "$1" 2>/dev/null || exit 0
for d in store/* site/* runs/*; do [ -e "$d" ] && du -sk "$d"; done
true
"""


class Depot:
    """EdgeKit's folder on one device.

    Args:
        transport: an open way to it.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def root(self) -> str:
        """The folder's absolute path on the device."""
        return self._transport.root()

    def put(self, local: Path, sha256: str | None = None) -> str:
        """Bring a file to the device unless its content is there already; return its path there.

        Args:
            local: a file on the host.
            sha256: what its content has to be, or None.

        Raises:
            UsageError: there is no such file, or its content is another.
            DeviceFullError: there is no room for it; nothing of it stays.
        """
        return self.put_all([(local, sha256)])[0]

    def put_all(
        self,
        files: Sequence[tuple[Path, str | None]],
        *,
        along: tuple[Sequence[str], Callable[[CommandResult], None]] | None = None,
    ) -> tuple[str, ...]:
        """Bring several files as `put` does; what is there already is found out in one round trip.

        Args:
            files: each with what its content has to be, or None.
            along: a command that is sent ahead in that trip, and who hears its result before anything else.
        """
        return self._bring([(local, *_identity(local, sha256)) for local, sha256 in files], "", along)[0]

    def put_working(
        self, files: Sequence[Path], label: str, trial: Callable[[tuple[str, ...]], str]
    ) -> tuple[tuple[str, ...], str]:
        """Bring files that work together, as programs, and try them unless that was done before.

        Args:
            files: on the host.
            label: what they are tried for.
            trial: takes their paths there, returns the version of what works there, or raises.

        Returns:
            The files' paths there, and the version that the trial told.
        """
        known = [(path, *_identity(path, None)) for path in files]
        words = " ".join([label, *(sha256 for _, sha256, _ in known)])
        mark = f"{self.root}/site/{hashlib.sha256(words.encode()).hexdigest()[:32]}"
        remotes, version = self._bring(known, mark, None)
        if not version:
            self._transport.check(["chmod", "700", "--", *remotes])
            version = trial(remotes)
            self._transport.check(["sh", "-c", _WORKS, "sh", mark, version])
        return remotes, version

    def _bring(
        self,
        files: Sequence[tuple[Path, str, int]],
        mark: str,
        along: tuple[Sequence[str], Callable[[CommandResult], None]] | None,
    ) -> tuple[tuple[str, ...], str]:
        """Bring files of known sha256 and size; tell their paths and, if all were there, what `mark` says."""
        remotes = tuple(f"{self.root}/store/{sha256}/{_name(local)}" for local, sha256, _ in files)
        there, free, version = self._look(remotes, mark, along)
        for (local, sha256, size), remote, found in zip(files, remotes, there, strict=True):
            if found != sha256:
                self._need_room(size, free, local.name)
                self._transport.push(local, remote, sha256=sha256, fresh=found == "absent")
                free, version = free - size, ""
        return remotes, version

    def install(self, wheels: Sequence[Path], *, python: str, trial: Callable[[str], str]) -> tuple[str, str]:
        """Unpack a set of wheels on the device unless that was done before.

        The unpacked folder gets its name only after the trial, so that one with a name is known to work.

        Args:
            wheels: files on the host.
            python: the device's Python.
            trial: takes the unpacked folder's path there, returns the runtime's version, or raises.

        Returns:
            The folder on the device and the version that the trial told.

        Raises:
            DeviceFullError: there is no room; nothing stays.
            DeviceUnfitError: unpacking failed there.
        """
        site = f"{self.root}/site/{site_name(wheels)[:32]}"
        known = self._transport.run(["cat", f"{site}/.edgekit"])
        if known.exit_code == 0 and known.text.strip():
            return site, known.text.strip()[:100]
        _, free, _ = self._look(())
        self._need_room(sum(_unpacked(w) + w.stat().st_size for w in wheels), free, "the runtime")
        stored = self.put_all([(wheel, None) for wheel in wheels])
        new = f"{self.root}/site/new-{site_name(wheels)[:32]}"
        with contextlib.ExitStack() as trouble:
            trouble.callback(self._drop, new)
            self._unpack(new, python, stored)
            version = trial(new)
            self._transport.check(["sh", "-c", _SETTLE, "sh", new, site, version])
            trouble.pop_all()
        self._transport.run(["rm", "-rf", "--", *(path.rpartition("/")[0] for path in stored)])
        return site, version

    def _drop(self, folder: str) -> None:
        """Remove a folder as far as the link allows: the error that is on its way says more."""
        with contextlib.suppress(EdgeKitError):
            self._transport.run(["rm", "-rf", "--", folder])

    def listing(self) -> tuple[tuple[str, int], ...]:
        """Return what lies there: (path below the root, bytes on its disk), sorted."""
        lines = self._transport.check(["sh", "-c", _LIST, "sh", self.root]).text.splitlines()
        found = [_LISTED.fullmatch(line) for line in lines]
        return tuple(sorted((match[2], int(match[1]) * 1024) for match in found if match))

    def clean(self) -> None:
        """Remove EdgeKit's folder from the device, with everything in it.

        Raises:
            UsageError: the path does not look like EdgeKit's own folder.
        """
        parts = [part for part in self.root.split("/") if part]
        if not self.root.startswith("/") or ".." in parts or not any("edgekit" in part for part in parts):
            raise UsageError(
                f"{self.root!r} does not look like EdgeKit's own folder", hint="remove it by hand"
            )
        self._transport.check(["rm", "-rf", "--", self.root], timeout_s=_UNPACK_TIMEOUT_S)

    def _look(
        self,
        remotes: Sequence[str],
        mark: str = "",
        along: tuple[Sequence[str], Callable[[CommandResult], None]] | None = None,
    ) -> tuple[list[str], int, str]:
        """Return the files' sha256 there (else "begun" or "absent"), the free bytes, and what `mark` says.

        Makes the root.
        """
        argv = ["sh", "-c", _ROOM, "sh", self.root, mark, *remotes]
        if along is None:
            result = self._transport.check(argv, timeout_s=TRANSFER_TIMEOUT_S)
        else:
            command, hear = along
            first, result = self._transport.check_all([command, argv], timeout_s=TRANSFER_TIMEOUT_S)
            hear(first)
        lines = result.text.splitlines()
        if len(lines) != 2 + len(remotes) or [line.split(" ")[0] for line in lines[:2]] != ["free", "works"]:
            what = f"{self._transport.device.address}: what lies in {self.root} can't be read"
            raise ProtocolError(
                what, hint="look whether its login prints something", evidence="\n".join(lines[:9])
            )
        free, version = (line.partition(" ")[2].strip() for line in lines[:2])
        there = [match[0] if (match := _SHA256.search(line.lower())) else line for line in lines[2:]]
        return there, int(free) * 1024 if free.isascii() and free.isdigit() else -1, version[:100]

    def _need_room(self, size: int, free: int, what: str) -> None:
        if 0 <= free < size + _RESERVE_BYTES:
            raise DeviceFullError(
                self._transport.device.address,
                f"no room for {what}: it takes {bytes_text(size)}, {bytes_text(free)} are free there",
                hint="free some space there",
            )

    def _unpack(self, new: str, python: str, stored: Sequence[str]) -> None:
        argv = ["sh", "-c", _UNPACK, "sh", new, python, *stored]
        result = self._transport.run(argv, timeout_s=_UNPACK_TIMEOUT_S)
        if result.exit_code == 0:
            return
        error = self._transport.failure(result)
        if isinstance(error, DeviceFullError):
            raise error
        raise DeviceUnfitError(
            self._transport.device.address,
            "the runtime's wheels could not be unpacked there",
            hint="look at the evidence; free some space or mend its Python",
            evidence=result.tail,
        )


def _identity(local: Path, sha256: str | None) -> tuple[str, int]:
    """Return a host file's sha256 and size, its content held against what it has to be."""
    if not local.is_file():
        raise UsageError(f"{local} is no file", hint="give a file that exists")
    found, size = _digest(local)
    if sha256 is not None and found != sha256:
        what = f"{local} has the sha256 {found[:12]}, expected {sha256[:12]}"
        raise UsageError(what, hint="it was changed since it was made; make it again")
    return found, size


def _digest(local: Path) -> tuple[str, int]:
    """Return a host file's sha256 and size; a file that has not been touched since is not read again.

    A file that was changed just now may be changed again within one tick of the clock that its time is of.
    """
    now, stat = time.time_ns(), local.stat()
    key = (str(local), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if key in _DIGESTS:
        return _DIGESTS[key]
    told = digest(local)
    if now - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED_NS:
        _DIGESTS[key] = told
    return told


def _name(local: Path) -> str:
    return local.name if _NAME.fullmatch(local.name) else "file"


def _unpacked(wheel: Path) -> int:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return sum(info.file_size for info in archive.infolist())
    except BROKEN_ARCHIVE as error:
        raise UsageError(f"{wheel.name} is no wheel: {error}", hint="download it again") from error
