"""A device that is no device: a throw-away folder on this machine, for trying EdgeKit out and for its tests.

It is used when somebody writes fake:// and never chosen otherwise. Its commands really run, with HOME in the
folder and EDGEKIT_FAKE=1 in their environment; faults can be asked for.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import DeviceLostError, DeviceTimeoutError
from edgekit.runners.transport.local import LocalTransport

if TYPE_CHECKING:
    from edgekit.targets import Device

_CHUNK = 1 << 16
_STALL_S = 0.2  # a stall is told at once: nobody wants to wait for a fake


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is wrong with a fake device; by default nothing.

    Attributes:
        dies_after_calls: so many commands and transfers work, the next one finds the link dead.
        dies_after_bytes: the link dies when a transfer, or a command's output, gets past so many bytes.
        stays_dead: opening it again does not help.
        stalls_after_calls: so many commands and transfers work, later ones meet their deadline.
        read_limit: so many bytes at most come back from one `read_from`; None for all of them.
        lies_about_sha256: each sha256 that it tells is another file's.
    """

    dies_after_calls: int | None = None
    dies_after_bytes: int | None = None
    stays_dead: bool = False
    stalls_after_calls: int | None = None
    read_limit: int | None = None
    lies_about_sha256: bool = False


class FakeTransport(LocalTransport):
    """A way to no device.

    Args:
        device: one with the address fake://.
        faults: what shall go wrong.
    """

    def __init__(self, device: Device, *, faults: Faults | None = None) -> None:
        super().__init__(device)
        self.faults = faults or Faults()
        self.calls = 0
        self._dead = False
        self._folder = ""

    def root(self) -> str:
        """Return a folder that lives as long as this object does, over closing and opening."""
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix="edgekit-fake-")
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return f"{self._folder}/.edgekit"

    def sha256(self, remote: str) -> str:
        """Return the sha256 of a file, or a lie where that was asked for."""
        self._need_open()
        self._count(_STALL_S)
        told = super().sha256(remote)
        return told[::-1] if self.faults.lies_about_sha256 else told

    def read_from(self, remote: str, offset: int, *, limit: int) -> bytes:
        """Return bytes from an offset on, as few at a time as was asked for."""
        most = limit if self.faults.read_limit is None else min(limit, self.faults.read_limit)
        return super().read_from(remote, offset, limit=most)

    def _connect(self) -> None:
        if self._dead and self.faults.stays_dead:
            raise self._lost()
        if self._dead:
            self._dead = False
            self.faults = Faults(read_limit=self.faults.read_limit)

    def _home(self) -> str:
        return str(Path(self.root()).parent)

    def _environment(self) -> dict[str, str]:
        own = {"HOME": self._home(), "EDGEKIT_FAKE": "1"}
        if self.faults.lies_about_sha256:
            own["PATH"] = f"{self._liar()}:{os.environ.get('PATH', os.defpath)}"
        return super()._environment() | own

    def _liar(self) -> Path:
        """Return a folder with programs that tell a wrong sha256."""
        folder = Path(self._home()) / "bin"
        for name in ("sha256sum", "openssl"):
            program = folder / name
            if not program.exists():
                folder.mkdir(exist_ok=True)
                program.write_text(f"#!/bin/sh\ncat >/dev/null\necho {'0' * 64} -\n")
                program.chmod(0o700)
        return folder

    def _execute(self, command: str, *, stdin: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        self._count(timeout_s)
        code, out, err = super()._execute(command, stdin=stdin, timeout_s=timeout_s)
        most = self.faults.dies_after_bytes
        if most is not None and len(out) + len(err) > most:
            self._dead = True
            raise self._lost()
        return code, out, err

    def _feed(self, command: str, local: Path, *, offset: int, timeout_s: float) -> tuple[int, bytes, bytes]:
        """Feed a command, and only the first bytes of the file where the link dies on the way."""
        self._count(timeout_s)
        most = self.faults.dies_after_bytes
        if most is None or local.stat().st_size - offset <= most:
            return super()._feed(command, local, offset=offset, timeout_s=timeout_s)
        with local.open("rb") as file:
            file.seek(offset)
            super()._execute(command, stdin=file.read(most), timeout_s=timeout_s)
        self._dead = True
        raise self._lost()

    def _receive(self, remote: str, local: Path, *, timeout_s: float) -> None:
        """Copy, and leave half a file behind where the link dies on the way."""
        self._count(timeout_s)
        left = self.faults.dies_after_bytes
        with Path(remote).open("rb") as reader, local.open("wb") as writer:
            while chunk := reader.read(_CHUNK):
                writer.write(chunk if left is None else chunk[:left])
                if left is not None and len(chunk) > left:
                    self._dead = True
                    raise self._lost()
                left = None if left is None else left - len(chunk)

    def _count(self, timeout_s: float) -> None:
        limit, stall = self.faults.dies_after_calls, self.faults.stalls_after_calls
        if self._dead or (limit is not None and self.calls >= limit):
            self._dead = True
            raise self._lost()
        self.calls += 1
        if stall is not None and self.calls > stall:
            time.sleep(min(timeout_s, _STALL_S))
            raise DeviceTimeoutError(self.device.address, f"no end within {timeout_s:g} s")

    def _lost(self) -> DeviceLostError:
        return DeviceLostError(self.device.address, "the link is gone", hint="open the device again")
