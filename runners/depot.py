"""EdgeKit's folder on a device: content under its sha256, runtimes under the hash of their wheels.

    ROOT/store/SHA256/NAME     what was pushed, named by what it is
    ROOT/site/HASH/            the unpacked wheels of one runtime
    ROOT/runs/ID/              one run's job, spool and log, while it runs
    ROOT/lease/                who benches there

The folder is its owner's alone (0700). Nothing is written outside of it.
"""

from __future__ import annotations

import contextlib
import re
import zipfile
from typing import TYPE_CHECKING

from edgekit.artifact import digest
from edgekit.errors import DeviceFullError, DeviceUnfitError, EdgeKitError, ProtocolError, UsageError
from edgekit.runners.transport.base import TRANSFER_TIMEOUT_S
from edgekit.runners.transport.command import DIGEST
from edgekit.runners.wheels import site_name
from edgekit.units import bytes_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgekit.runners.transport import Transport

_RESERVE_BYTES = 4 << 20
_UNPACK_TIMEOUT_S = 900.0
_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")
_LISTED = re.compile(r"([0-9]{1,15})\s+([A-Za-z0-9._/+-]{1,300})")
_NAME = re.compile(r"[A-Za-z0-9._+-]{1,150}")
_ROOM = f"""{DIGEST}
umask 077
mkdir -p -- "$1" && chmod 700 "$1" || exit 1
echo "free $(df -Pk "$1" | tail -n 1 | while read -r _ _ _ free _; do echo "$free"; done)"
shift
for f; do if [ -f "$f" ]; then digest "$(wc -c <"$f")" <"$f"; else echo absent; fi; done
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

    def put_all(self, files: Sequence[tuple[Path, str | None]]) -> tuple[str, ...]:
        """Bring several files as `put` does; what is there already is found out in one round trip."""
        known = [_identity(local, sha256) for local, sha256 in files]
        remotes = tuple(
            f"{self.root}/store/{sha256}/{_name(local)}"
            for (local, _), (sha256, _) in zip(files, known, strict=True)
        )
        there, free = self._look(remotes)
        for (local, _), (sha256, size), remote, found in zip(files, known, remotes, there, strict=True):
            if found != sha256:
                self._need_room(size, free, local.name)
                self._transport.push(local, remote, sha256=sha256)
                free -= size
        return remotes

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
        _, free = self._look(())
        self._need_room(sum(_unpacked(w) + w.stat().st_size for w in wheels), free, "the runtime")
        stored = self.put_all([(wheel, None) for wheel in wheels])
        new = f"{self.root}/site/new-{site_name(wheels)[:32]}"
        try:
            self._unpack(new, python, stored)
            version = trial(new)
            self._transport.check(["sh", "-c", _SETTLE, "sh", new, site, version])
        except BaseException:
            with contextlib.suppress(EdgeKitError):  # the error that is on its way says more
                self._transport.run(["rm", "-rf", "--", new])
            raise
        self._transport.run(["rm", "-rf", "--", *(path.rpartition("/")[0] for path in stored)])
        return site, version

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

    def _look(self, remotes: Sequence[str]) -> tuple[list[str], int]:
        """Return the files' sha256 there ("" for what is not there) and the free bytes; makes the root."""
        argv = ["sh", "-c", _ROOM, "sh", self.root, *remotes]
        lines = self._transport.check(argv, timeout_s=TRANSFER_TIMEOUT_S).text.splitlines()
        if len(lines) != 1 + len(remotes) or not lines[0].startswith("free "):
            what = f"{self._transport.device.address}: what lies in {self.root} can't be read"
            raise ProtocolError(
                what, hint="look whether its login prints something", evidence="\n".join(lines[:9])
            )
        free = lines[0][5:].strip()
        there = [match[0] if (match := _SHA256.search(line.lower())) else "" for line in lines[1:]]
        return there, int(free) * 1024 if free.isascii() and free.isdigit() else -1

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
    found, size = digest(local)
    if sha256 is not None and found != sha256:
        what = f"{local} has the sha256 {found[:12]}, expected {sha256[:12]}"
        raise UsageError(what, hint="it was changed since it was made; make it again")
    return found, size


def _name(local: Path) -> str:
    return local.name if _NAME.fullmatch(local.name) else "file"


def _unpacked(wheel: Path) -> int:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return sum(info.file_size for info in archive.infolist())
    except zipfile.BadZipFile as error:
        raise UsageError(f"{wheel.name} is no wheel: {error}", hint="download it again") from error
