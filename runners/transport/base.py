"""What every transport does, written once over five primitives.

A transport runs commands and moves files. `argv` is a sequence everywhere and quoted here alone;
a push goes to `NAME.part`, is held against its sha256 on the device and only then renamed; after a
timeout nothing of ours still runs there.
"""

from __future__ import annotations

import secrets
import shlex
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from edgekit.artifact import digest
from edgekit.errors import (
    CommandFailedError,
    DeviceError,
    DeviceFullError,
    DeviceLostError,
    DeviceTimeoutError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from edgekit.targets import Device

DEFAULT_TIMEOUT_S = 30.0
TRANSFER_TIMEOUT_S = 600.0
MARK = "EDGEKIT_MARK"
_TAIL_LINES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What a command on a device came to.

    Attributes:
        argv: what was run.
        exit_code: 0 to 255; 128 + N when signal N ended it.
        stdout: its standard output, byte for byte.
        stderr: its standard error, byte for byte.
        duration_s: as the host saw it, the link included.
    """

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes
    duration_s: float

    @property
    def text(self) -> str:
        """Standard output as text; what is no UTF-8 is replaced."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def tail(self) -> str:
        """The last ten lines of standard error, or of standard output where there is none."""
        shown = (self.stderr.strip() or self.stdout.strip()).decode("utf-8", "replace")
        return "\n".join(shown.splitlines()[-_TAIL_LINES:])


class Transport(ABC):
    """A way to one device; open it, or use it in a `with` statement.

    A new transport fills the primitives that begin with an underscore; everything else is here.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._open = False

    # --- the primitives ------------------------------------------------------------------------
    @abstractmethod
    def _connect(self) -> None:
        """Reach the device; raise DeviceRefusedError or DeviceLostError."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Let go of the device; never raises because the link is gone."""

    @abstractmethod
    def _execute(self, command: str, *, stdin: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        """Run one line in the device's sh; return (exit code 0..255, stdout, stderr).

        Raises DeviceLostError when the link dies first and DeviceTimeoutError when the deadline does.
        """

    @abstractmethod
    def _send(self, local: Path, remote: str, *, timeout_s: float) -> None:
        """Copy a file to `remote`, whose folder exists."""

    @abstractmethod
    def _receive(self, remote: str, local: Path, *, timeout_s: float) -> None:
        """Copy a file from `remote`, which exists."""

    @abstractmethod
    def root(self) -> str:
        """Return EdgeKit's own folder on the device, an absolute path; it need not exist yet."""

    # --- life ----------------------------------------------------------------------------------
    def open(self) -> None:
        """Reach the device. Opening twice is a UsageError."""
        if self._open:
            raise UsageError(f"{self.device.address}: the transport is open already")
        self._connect()
        self._open = True

    def close(self) -> None:
        """Let go of the device. Closing twice is fine."""
        if self._open:
            self._open = False
            self._disconnect()

    def reopen(self) -> None:
        """Reach the device again after a lost link."""
        self.close()
        self.open()

    def __enter__(self) -> Self:
        if not self._open:
            self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- commands ------------------------------------------------------------------------------
    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
    ) -> CommandResult:
        """Run a command to its end and return what it came to, whatever its exit code.

        Args:
            argv: program and arguments; they arrive as they are, no shell reads them.
            stdin: bytes for its standard input.
            timeout_s: the deadline, in seconds; then it and all its children are killed.
            env: variables added to its environment.
            cwd: the folder it starts in; empty for the login's own.

        Raises:
            DeviceLostError: the link died.
            DeviceTimeoutError: the deadline passed; nothing of the command still runs.
            UsageError: the transport is not open, or `argv` is empty or a string.
        """
        line = command_line(argv, env=env, cwd=cwd)
        mark = secrets.token_hex(8)
        start = time.monotonic()
        try:
            code, out, err = self._run_line(f"{MARK}={mark}; export {MARK}; {line}", stdin, timeout_s)
        except DeviceTimeoutError:
            self.kill_marked(mark)
            raise
        return CommandResult(
            argv=tuple(argv), exit_code=code, stdout=out, stderr=err, duration_s=time.monotonic() - start
        )

    def check(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
    ) -> CommandResult:
        """Run a command as `run` does and insist on exit code 0.

        Raises:
            DeviceFullError: it failed for want of space.
            CommandFailedError: it ended with another code; the tail of its output is the evidence.
        """
        result = self.run(argv, stdin=stdin, timeout_s=timeout_s, env=env, cwd=cwd)
        if result.exit_code != 0:
            raise self.failure(result)
        return result

    def failure(self, result: CommandResult) -> DeviceError:
        """Return the error that a failed command stands for, with its tail as evidence."""
        if "No space left on device" in result.tail:
            return DeviceFullError(
                self.device.address,
                "no space left on the device",
                hint=f"free some, or remove {self.root()}",
                evidence=result.tail,
            )
        last = result.tail.splitlines()[-1] if result.tail else "no output"
        return CommandFailedError(
            self.device.address,
            f"{shlex.join(result.argv)[:120]} ended with {result.exit_code}: {last}",
            evidence=result.tail,
        )

    def start(self, argv: Sequence[str], *, log: str, env: Mapping[str, str] | None = None, cwd: str = "") -> int:
        """Start a command that outlives the link; return its process id there (it leads its own group).

        Args:
            argv: program and arguments.
            log: remote file for its standard output and error.
            env: variables added to its environment.
            cwd: the folder it starts in.
        """
        inner = command_line(argv, env=env, cwd=cwd)
        script = f"setsid nohup sh -c {shlex.quote(inner)} >{shlex.quote(log)} 2>&1 </dev/null & echo $!"
        return int(self.check(["sh", "-c", script]).text.split()[-1])

    def kill_group(self, pid: int) -> None:
        """Kill a command that `start` started, with all its children; gone already is fine."""
        self.run(["sh", "-c", f"kill -9 -{int(pid)} 2>/dev/null; kill -9 {int(pid)} 2>/dev/null; true"])

    def kill_marked(self, mark: str) -> None:
        """Kill every process there that carries this mark in its environment, as far as the link allows."""
        script = (
            f"for p in /proc/[0-9]*; do grep -qs {MARK}={mark} $p/environ && kill -9 ${{p#/proc/}}; done; true"
        )
        try:
            self._run_line(script, b"", DEFAULT_TIMEOUT_S)
        except DeviceError:
            self.close()

    def _run_line(self, line: str, stdin: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        if not self._open:
            raise UsageError(f"{self.device.address}: the transport is closed")
        return self._execute(line, stdin=stdin, timeout_s=timeout_s)

    # --- files ---------------------------------------------------------------------------------
    def push(self, local: Path, remote: str, *, timeout_s: float = TRANSFER_TIMEOUT_S) -> str:
        """Copy a file to the device, whole or not at all; return its sha256, as read back there.

        Args:
            local: a file on the host.
            remote: an absolute path; its folder is made.
            timeout_s: the deadline for the transfer, in seconds.

        Raises:
            UsageError: there is no such file on the host.
            DeviceFullError: no space left there; nothing of the file stays behind.
            DeviceError: what arrived is not what was sent.
        """
        if not local.is_file():
            raise UsageError(f"{local} is no file", hint="give a file that exists")
        if not self._open:
            raise UsageError(f"{self.device.address}: the transport is closed")
        sha256, _ = digest(local)
        part = f"{remote}.part"
        self.check(["mkdir", "-p", "--", remote.rpartition("/")[0] or "/"])
        try:
            self._send(local, part, timeout_s=timeout_s)
            arrived = self.sha256(part)
        except DeviceFullError:
            self.run(["rm", "-f", "--", part])
            raise
        if arrived != sha256:
            self.run(["rm", "-f", "--", part])
            raise DeviceLostError(
                self.device.address,
                f"{local.name} arrived changed (sha256 {arrived[:12]}, sent {sha256[:12]})",
                hint="try again; if it stays, check the link and the storage",
            )
        self.check(["mv", "-f", "--", part, remote])
        return sha256

    def pull(self, remote: str, local: Path, *, timeout_s: float = TRANSFER_TIMEOUT_S) -> None:
        """Copy a file from the device, whole or not at all.

        Raises:
            CommandFailedError: there is no such file on the device.
            DeviceLostError: the link died, or what arrived is not what lies there.
        """
        sha256 = self.sha256(remote)
        part = local.with_name(f"{local.name}.part")
        try:
            self._receive(remote, part, timeout_s=timeout_s)
            if digest(part)[0] != sha256:
                raise DeviceLostError(self.device.address, f"{remote} arrived changed", hint="try again")
            part.replace(local)
        finally:
            part.unlink(missing_ok=True)

    def sha256(self, remote: str) -> str:
        """Return the sha256 of a file on the device, computed there.

        Raises:
            CommandFailedError: there is no such file.
        """
        return self.check(["sha256sum", "--", remote], timeout_s=TRANSFER_TIMEOUT_S).text[:64].lower()

    def read_from(self, remote: str, offset: int, *, limit: int) -> bytes:
        """Return at most `limit` bytes of a remote file from byte `offset` on; empty when there are none.

        A file that is not there yet reads as empty.
        """
        script = f"tail -c +{int(offset) + 1} -- {shlex.quote(remote)} 2>/dev/null | head -c {int(limit)}"
        return self.run(["sh", "-c", script]).stdout


def command_line(argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str = "") -> str:
    """Return the line that makes any POSIX sh run this command and nothing else.

    Raises:
        UsageError: `argv` is a string or empty, or holds a NUL byte.
    """
    if isinstance(argv, str) or not argv:
        raise UsageError("a command is a sequence of arguments", hint="pass ['program', 'argument']")
    if any("\0" in part for part in argv):
        raise UsageError("an argument holds a NUL byte")
    words = [f"{name}={shlex.quote(value)}" for name, value in (env or {}).items()]
    prefix = f"cd {shlex.quote(cwd)} && " if cwd else ""
    exported = f"export {' '.join(words)}; " if words else ""
    return f"{prefix}{exported}exec {shlex.join(argv)}"
