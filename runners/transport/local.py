"""This machine as a device: commands in a session of their own, files copied."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.artifact import digest
from edgekit.errors import CommandFailedError, DeviceTimeoutError, UsageError
from edgekit.runners.transport.base import Transport
from edgekit.runners.transport.bounded import FloodError, communicate, flood
from edgekit.runners.transport.command import encoded

if TYPE_CHECKING:
    from edgekit.errors import DeviceError

_REAP_S = 5.0


class LocalTransport(Transport):
    """A way to the machine that EdgeKit runs on."""

    def _connect(self) -> None:
        """Nothing has to be reached."""

    def _disconnect(self) -> None:
        """Nothing is held."""

    def root(self) -> str:
        """Return the folder `edgekit/device` in the user's cache."""
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        return str(Path(cache) / "edgekit" / "device")

    def sha256(self, remote: str) -> str:
        """Return the sha256 of a file, without the help of a program that not every system has."""
        self._need_open()
        try:
            return digest(Path(remote))[0]
        except OSError as error:
            raise self._file_error(error, remote) from error

    def kill_marked(self, mark: str) -> bool:
        """Kill what carries the mark; where there is no /proc, the group that was killed already is all."""
        return super().kill_marked(mark) if Path("/proc/self/environ").exists() else True

    def _home(self) -> str:
        return str(Path.home())

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _execute(self, command: str, *, stdin: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        return self._finish(self._spawn(command, subprocess.PIPE), stdin, timeout_s)

    def _feed(self, command: str, local: Path, *, offset: int, timeout_s: float) -> tuple[int, bytes, bytes]:
        with local.open("rb", buffering=0) as file:
            file.seek(offset)
            return self._finish(self._spawn(command, file.fileno()), None, timeout_s)

    def _finish(
        self, process: subprocess.Popen[bytes], stdin: bytes | None, timeout_s: float
    ) -> tuple[int, bytes, bytes]:
        try:
            out, err = communicate(process, stdin, timeout_s)
        except BaseException as error:
            _put_down(process)
            if isinstance(error, FloodError):
                raise flood(self.device.address) from None
            if isinstance(error, subprocess.TimeoutExpired):
                what = f"no end within {timeout_s:g} s"
                raise DeviceTimeoutError(self.device.address, what, hint="allow it more time") from None
            raise
        code = process.returncode
        return (128 - code if code < 0 else code), out, err

    def _spawn(self, command: str, stdin: int) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(
                [b"/bin/sh", b"-c", encoded(command)],
                stdin=stdin,
                stdout=pipe,
                stderr=pipe,
                cwd=self._home(),
                env=self._environment(),
                start_new_session=True,
            )
        except OSError as error:
            if error.errno == errno.E2BIG:
                what = f"{self.device.address}: the command is too long"
                raise UsageError(what, hint="pass large data through standard input or a file") from error
            raise self._file_error(error, "/bin/sh") from error

    def _receive(self, remote: str, local: Path, *, timeout_s: float) -> None:
        del timeout_s
        shutil.copyfile(remote, local)

    def _file_error(self, error: OSError, remote: str) -> DeviceError:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return self.full(str(error))
        what = f"{remote}: {error.strerror}"
        return CommandFailedError(self.device.address, what, evidence=str(error))


def _put_down(process: subprocess.Popen[bytes]) -> None:
    """Kill a command's group and let go of it, whoever still holds its pipes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what stdin still buffers has nowhere to go
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_REAP_S)
