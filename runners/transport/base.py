"""What every transport does, written once over five primitives.

A transport runs commands and moves files. `argv` is a sequence everywhere and quoted here alone; a push is
held against its sha256 there before it gets its name (see push); a timeout leaves nothing running.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
import shutil
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self, TypeVar

from edgekit.artifact import digest
from edgekit.errors import (
    CommandFailedError,
    DeviceError,
    DeviceFullError,
    DeviceLostError,
    DeviceTimeoutError,
    ProtocolError,
    UsageError,
)
from edgekit.runners.transport.command import (
    DIGEST,
    MARK,
    READ,
    CommandResult,
    command_line,
    kill_line,
    marked,
    results_of,
    start_argv,
    together,
)
from edgekit.runners.transport.push import Push

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from edgekit.targets import Device

DEFAULT_TIMEOUT_S = 30.0
TRANSFER_TIMEOUT_S = 600.0
T = TypeVar("T")
_SHA256 = re.compile(r"\b[0-9a-fA-F]{64}\b")
_PID = re.compile(r"[1-9][0-9]{0,8}")

__all__ = ["DEFAULT_TIMEOUT_S", "MARK", "TRANSFER_TIMEOUT_S", "CommandResult", "Transport", "command_line"]


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
    def _feed(self, command: str, local: Path, *, offset: int, timeout_s: float) -> tuple[int, bytes, bytes]:
        """Run one line as `_execute` does, a file's bytes from an offset on being its standard input."""

    @abstractmethod
    def _receive(self, remote: str, local: Path, *, timeout_s: float) -> None:
        """Copy a file from `remote`, which exists."""

    @abstractmethod
    def root(self) -> str:
        """Return EdgeKit's own folder on the device, an absolute path; it need not exist yet."""

    def known_root(self) -> str:
        """Return `root()`, or "" where it takes a round trip to know: it is `.edgekit` in $HOME then."""
        return self.root()

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

    @property
    def is_open(self) -> bool:
        """Whether it was opened and not closed since."""
        return self._open

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
        return self._timed(argv, line, lambda whole: self._execute(whole, stdin=stdin, timeout_s=timeout_s))

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

    def check_all(
        self, commands: Sequence[Sequence[str]], *, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[CommandResult]:
        """Run several commands in turn in one round trip, each as `check` does; the first that fails ends it.

        Args:
            commands: argv of each.
            stdin: one standard input for all: what one has not read is there for the next.
            timeout_s: the deadline for all together, in seconds.

        Raises:
            DeviceFullError: one failed for want of space.
            CommandFailedError: one ended with another code than 0.
            ProtocolError: what came back is not what these commands tell.
        """
        mark, start = secrets.token_hex(8), time.monotonic()
        line = together([command_line(argv) for argv in commands], mark)
        self._need_open()
        _, *told = self._guarded(line, lambda all_: self._execute(all_, stdin=stdin, timeout_s=timeout_s))
        try:
            results = results_of(commands, told, mark, time.monotonic() - start)
        except ValueError as error:
            what = f"{self.device.address}: {error}"
            raise ProtocolError(what, hint="try again", evidence=repr(told)[-500:]) from error
        if results[-1].exit_code != 0:
            raise self.failure(results[-1])
        return results

    def feed(
        self, argv: Sequence[str], local: Path, *, offset: int = 0, timeout_s: float = TRANSFER_TIMEOUT_S
    ) -> CommandResult:
        """Run a command as `run` does, with a host's file from byte `offset` on as its standard input."""
        line = command_line(argv)
        return self._timed(
            argv, line, lambda whole: self._feed(whole, local, offset=offset, timeout_s=timeout_s)
        )

    def failure(self, result: CommandResult) -> DeviceError:
        """Return the error that a failed command stands for, with its tail as evidence."""
        if "No space left on device" in result.tail:
            return self.full(result.tail)
        last = result.tail.splitlines()[-1] if result.tail else "no output"
        what = f"{shlex.join(result.argv)[:120]} ended with {result.exit_code}: {last}"
        return CommandFailedError(self.device.address, what, evidence=result.tail)

    def full(self, evidence: str = "") -> DeviceFullError:
        """Return the error for want of space."""
        address, what = self.device.address, "no space left on the device"
        return DeviceFullError(address, what, hint="free some space there", evidence=evidence)

    def start(
        self, argv: Sequence[str], *, log: str, env: Mapping[str, str] | None = None, cwd: str = ""
    ) -> int:
        """Start a command that outlives the link; return its process id there (it leads its own group).

        Args:
            argv: program and arguments.
            log: remote file for its standard output and error; its folder exists.
            env: variables added to its environment.
            cwd: the folder it starts in.

        Raises:
            CommandFailedError: the log can't be written.
            ProtocolError: the device told no process id.
        """
        told = self.check(start_argv(argv, log=log, env=env, cwd=cwd)).text.split()
        if not told or not _PID.fullmatch(told[-1]):
            what = f"{self.device.address}: no process id came back, but {' '.join(told)[-80:]!r}"
            raise ProtocolError(what, hint="look whether its login prints something")
        return int(told[-1])

    def kill_group(self, pid: int) -> None:
        """Kill a command that `start` started, with all its children; gone already is fine."""
        self.run(["sh", "-c", f"kill -9 -{int(pid)} 2>/dev/null; true"])

    def kill_marked(self, mark: str) -> bool:
        """Kill every process there that carries this mark, their children included.

        A process that empties its own environment, or changes its user, gets away.

        Returns:
            Whether nothing with the mark was left.

        Raises:
            DeviceError: the device does not answer.
        """
        code, _, _ = self._execute(kill_line(mark), stdin=b"", timeout_s=DEFAULT_TIMEOUT_S)
        return code == 0

    def _timed(
        self, argv: Sequence[str], line: str, call: Callable[[str], tuple[int, bytes, bytes]]
    ) -> CommandResult:
        self._need_open()
        start = time.monotonic()
        code, out, err = self._guarded(line, call)
        spent = time.monotonic() - start
        return CommandResult(argv=tuple(argv), exit_code=code, stdout=out, stderr=err, duration_s=spent)

    def _guarded(self, line: str, call: Callable[[str], T]) -> T:
        """Call with the line marked; at the deadline and on ctrl-C kill what carries the mark first."""
        mark = secrets.token_hex(8)
        try:
            return call(marked(line, mark))
        except DeviceTimeoutError as late:
            self._end(mark, late)
            raise
        except KeyboardInterrupt:
            with contextlib.suppress(DeviceError):
                self.kill_marked(mark)
            raise

    def _end(self, mark: str, late: DeviceTimeoutError) -> None:
        try:
            gone = self.kill_marked(mark)
        except DeviceError as error:
            what = "a deadline passed, and then the device did not answer: the command may still run there"
            hint, evidence = "check the link and the power, then try again", f"{late}\n{error}"
            raise DeviceLostError(self.device.address, what, hint=hint, evidence=evidence) from late
        if not gone:
            late.hint = f"something of it would not die there: look for {MARK}={mark} in /proc/*/environ"

    def _need_open(self) -> None:
        if not self._open:
            what = f"{self.device.address}: the transport is closed"
            raise UsageError(what, hint="open it, or use it in a with statement")

    # --- files ---------------------------------------------------------------------------------
    def push(
        self,
        local: Path,
        remote: str,
        *,
        sha256: str | None = None,
        timeout_s: float = TRANSFER_TIMEOUT_S,
        fresh: bool = False,
    ) -> str:
        """Copy a file to the device, whole or not at all; return its sha256, as computed there.

        A push that was interrupted goes on where it stopped.

        Args:
            local: a file on the host.
            remote: an absolute path; its folder is made, a file of that name is replaced.
            sha256: of the file, where it was computed already.
            timeout_s: the deadline for the transfer, in seconds.
            fresh: whether it is known that its folder is not there, so that nobody has begun with it.

        Raises:
            UsageError: there is no such file on the host, or `remote` is a folder or no absolute path.
            DeviceFullError: no space left there; nothing of the file stays behind.
            DeviceError: what arrived is not what was sent.
        """
        self._need_open()
        if not local.is_file():
            raise UsageError(f"{local} is no file", hint="give a file that exists")
        sha, size = (sha256, local.stat().st_size) if sha256 else digest(local)
        Push(
            transport=self,
            local=local,
            remote=remote,
            sha256=sha,
            size=size,
            timeout_s=timeout_s,
            fresh=fresh,
        ).go()
        return sha

    def pull(self, remote: str, local: Path, *, timeout_s: float = TRANSFER_TIMEOUT_S) -> None:
        """Copy a file from the device, whole or not at all.

        Args:
            remote: a file there.
            local: where it goes; its folder exists, a file of that name is replaced.
            timeout_s: the deadline for the transfer, in seconds.

        Raises:
            UsageError: the host's file can't be written.
            CommandFailedError: there is no such file on the device.
            DeviceLostError: the link died, or what arrived is not what lies there.
        """
        sha256 = self.sha256(remote)
        part = local.with_name(f"{local.name}.part")
        try:
            self._receive(remote, part, timeout_s=timeout_s)
            if part.is_symlink() or not part.is_file() or digest(part)[0] != sha256:
                raise DeviceLostError(self.device.address, f"{remote} arrived changed", hint="try again")
            part.replace(local)
        except OSError as error:
            what = f"{local} can't be written: {error.strerror}"
            raise UsageError(what, hint="choose another place") from error
        finally:
            if part.is_dir() and not part.is_symlink():  # what a device may send for a file
                shutil.rmtree(part, ignore_errors=True)
            part.unlink(missing_ok=True)

    def sha256(self, remote: str) -> str:
        """Return the sha256 of a file on the device, computed there.

        Raises:
            CommandFailedError: there is no such file.
        """
        # Through standard input: a name with a backslash or a newline in it changes what sha256sum prints.
        script = f'{DIGEST}\nsize=$(wc -c <"$1") && digest "$size" <"$1"'
        result = self.run(["sh", "-c", script, "sh", remote], timeout_s=TRANSFER_TIMEOUT_S)
        found = _SHA256.search(result.text)
        if result.exit_code or found is None:
            last = result.tail.splitlines()[-1] if result.tail else "no output"
            what = f"{remote} can't be read there: {last}"
            raise CommandFailedError(self.device.address, what, evidence=result.tail)
        return found[0].lower()

    def read_from(self, remote: str, offset: int, *, limit: int) -> bytes:
        """Return at most `limit` bytes of a remote file from byte `offset` on; empty when there are none.

        A file that is not there yet reads as empty.

        Raises:
            CommandFailedError: it is there and can't be read.
        """
        return self.check(["sh", "-c", READ, "sh", remote, str(int(offset) + 1), str(int(limit))]).stdout
