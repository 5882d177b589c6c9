"""A device over SSH, by paramiko: one connection that is kept, a channel for each command.

The device needs an SSH server and a POSIX login shell; no SFTP server, because files go through `cat`, which
says what went wrong. ~/.ssh/config is heeded (see ssh_config) and host keys are checked.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any, Self

from edgekit.errors import DeviceLostError, DeviceRefusedError, DeviceTimeoutError, DeviceUnfitError
from edgekit.runners.transport.base import DEFAULT_TIMEOUT_S, CommandResult, Transport
from edgekit.runners.transport.bounded import MAX_OUTPUT_BYTES, FloodError, Output, flood
from edgekit.runners.transport.command import command_line, encoded
from edgekit.runners.transport.ssh_config import hops
from edgekit.runners.transport.ssh_link import reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from edgekit.targets import Device

_CHUNK = 1 << 18
_PACKET = 32_000  # what fits into one packet of the protocol
_MAX_PATH = 4096
_TICK_S = 0.2
_JOIN_S = 5.0


class SshTransport(Transport):
    """A way to a device over SSH.

    Args:
        device: one with an ssh address.
        config: the only SSH configuration to read; None for $EDGEKIT_SSH_CONFIG, or else the usual ones.
    """

    def __init__(self, device: Device, *, config: Path | None = None) -> None:
        super().__init__(device)
        self._config = config
        self._stack = ExitStack()
        self._wire: Any = None
        self._home: str | None = None

    def root(self) -> str:
        """Return the folder `.edgekit` in the login's home.

        Raises:
            DeviceUnfitError: the login has no home there.
        """
        if self._home is None:
            self.check(["true"])
        if not self._home:
            what = "the login has no home there that is an absolute path"
            raise DeviceUnfitError(self.device.address, what, hint="give the user a home folder")
        return f"{self._home}/.edgekit"

    def known_root(self) -> str:
        """Return the folder, or "" as long as no command ran: its script goes by $HOME then."""
        return self.root() if self._home is not None else ""

    def _connect(self) -> None:
        way = hops(self.device, self._config)
        with ExitStack() as stack:
            self._wire = reach(self.device.address, way, stack)
            self._stack = stack.pop_all()

    def _disconnect(self) -> None:
        self._wire = None
        self._stack.close()

    def _execute(self, command: str, *, stdin: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        out = Output()
        source = (stdin[start : start + _PACKET] for start in range(0, len(stdin), _PACKET))
        code, err = self._stream(command, source, out.take, timeout_s)
        return code, out.whole(), err

    def _feed(self, command: str, local: Path, *, offset: int, timeout_s: float) -> tuple[int, bytes, bytes]:
        out = Output()
        with local.open("rb") as file:
            file.seek(offset)
            code, err = self._stream(command, _chunks(file), out.take, timeout_s)
        return code, out.whole(), err

    def _receive(self, remote: str, local: Path, *, timeout_s: float) -> None:
        argv = ["sh", "-c", 'exec cat <"$1"', "sh", remote]
        start = time.monotonic()
        with local.open("wb") as file:
            code, err = self._guarded(
                command_line(argv), lambda line: self._stream(line, (), file.write, timeout_s)
            )
        if code:
            spent = time.monotonic() - start
            raise self.failure(
                CommandResult(argv=tuple(argv), exit_code=code, stdout=b"", stderr=err, duration_s=spent)
            )

    def _stream(
        self, command: str, source: Iterable[bytes], sink: Callable[[bytes], object], timeout_s: float
    ) -> tuple[int, bytes]:
        """Run a line with streams; return its exit code and standard error.

        The line stands in a subshell, whose parent turns the signal that ended it into an exit code: paramiko
        would drop it. What the login's own start-up files print comes before our word and is left out.
        """
        end = time.monotonic() + timeout_s
        greeting = _Greeting(secrets.token_hex(8), sink)
        hello = f'EDGEKIT_SAYS={greeting.word}; printf "%s%s\\n" "$EDGEKIT_SAYS" "$HOME"'
        whole = encoded(f"{hello}; ({command}\n); exit $?")
        with _Session(self._channel(timeout_s), whole, source) as session:
            try:
                code, err = session.finish(greeting.take, end)
            except TimeoutError:
                what = f"no end within {timeout_s:g} s"
                raise DeviceTimeoutError(self.device.address, what, hint="allow it more time") from None
            except FloodError:
                raise flood(self.device.address) from None
        if code < 0:
            self._wire.join(timeout=_TICK_S)  # a dying link ends its channels a moment before itself
            alive = self._wire.is_active()
            raise self._lost(
                "the device gave no exit code" if alive else "the link died before the command's end"
            )
        if not greeting.heard:
            raise self._no_shell(code, greeting.before + err)
        self._home = greeting.home
        return code, err

    def _no_shell(self, code: int, said: bytes) -> DeviceUnfitError:
        text = said.decode("utf-8", "replace").strip() or "it said nothing"
        return DeviceUnfitError(
            self.device.address,
            f"the login there runs no commands (exit code {code}): {text.splitlines()[-1]}",
            hint="give the user a POSIX shell: chsh -s /bin/sh",
            evidence=text,
        )

    def _channel(self, timeout_s: float) -> Any:
        import paramiko

        try:
            return self._wire.open_session(timeout=min(timeout_s, DEFAULT_TIMEOUT_S))
        except paramiko.ChannelException as error:
            what = f"the device refuses another session: {error.text}"
            hint = "raise MaxSessions in its sshd_config, or use fewer at once"
            raise DeviceRefusedError(self.device.address, what, hint=hint) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            if self._wire.is_active() and "Timeout" in str(error):
                what = "no answer to the request for a session"
                raise DeviceTimeoutError(self.device.address, what, hint="is the device frozen?") from error
            raise self._lost("the link is gone") from error

    def _lost(self, what: str) -> DeviceLostError:
        cause = self._wire.get_exception() if self._wire is not None else None
        return DeviceLostError(
            self.device.address,
            what,
            hint="check power and network, then open it again",
            evidence=repr(cause),
        )


class _Greeting:
    """Hands on a command's output from behind a word that only a POSIX shell that reads our line can say.

    The rest of the word's line is the login's home: so it is known after the first command, whichever it is.
    """

    def __init__(self, word: str, sink: Callable[[bytes], object]) -> None:
        self.word = word
        self.before = b""
        self.heard = False
        self._sink = sink

    @property
    def home(self) -> str:
        """The login's home without a slash at its end, or "" where it is no absolute path."""
        home = self.before.rpartition(self.word.encode())[2].decode("utf-8", "surrogateescape")
        return home.rstrip("/") if home.startswith("/") and len(home) < _MAX_PATH else ""

    def take(self, chunk: bytes) -> None:
        """Take the next bytes of standard output."""
        if len(self.before) > MAX_OUTPUT_BYTES >> 6:
            raise FloodError
        if not self.heard:
            head, found, tail = (self.before + chunk).partition(self.word.encode())
            home, ended, chunk = tail.partition(b"\n")
            self.heard = bool(ended)
            self.before = head + found + (home if found else b"")
        if self.heard and chunk:
            self._sink(chunk)


class _Session:
    """One command's channel: a thread feeds its input, one reads its standard error, the caller its output.

    paramiko has no call that waits for all three, and its own waits for the reply to `exec` know no deadline:
    closing the channel ends them.
    """

    def __init__(self, channel: Any, command: bytes, source: Iterable[bytes]) -> None:
        self._channel = channel
        self._command = command
        self._source = source
        self._err = Output()
        self._flooded = False
        self._troubles: list[OSError] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._feed, self._read_err)]

    def __enter__(self) -> Self:
        self._channel.settimeout(_TICK_S)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        import paramiko

        with contextlib.suppress(
            OSError, EOFError, paramiko.SSHException
        ):  # the goodbye of a link that is gone
            self._channel.close()
        for thread in self._threads:
            thread.join(timeout=_JOIN_S)

    def finish(self, sink: Callable[[bytes], object], end: float) -> tuple[int, bytes]:
        """Read to the end; return the exit code, or -1 for none, and standard error.

        Raises:
            TimeoutError: the deadline passed.
            FloodError: it says too much.
            OSError: the file that feeds it can't be read.
        """
        for chunk in self._read(self._channel.recv, end):
            sink(chunk)
        self._threads[1].join(timeout=max(0.0, end - time.monotonic()))
        if self._flooded:
            raise FloodError
        if self._threads[1].is_alive() or not self._channel.status_event.wait(
            max(0.0, end - time.monotonic())
        ):
            raise TimeoutError
        if self._troubles:
            raise self._troubles[0]
        return self._channel.exit_status, self._err.whole()

    def _read(self, receive: Callable[[int], bytes], end: float) -> Iterator[bytes]:
        import paramiko

        while True:
            chunk: bytes | None = None
            try:
                chunk = receive(_CHUNK)
            except TimeoutError:
                pass  # nothing came in a tick
            except (OSError, EOFError, paramiko.SSHException):
                return  # the link died while a receipt was sent; there will be no exit code
            if chunk == b"":
                return
            if time.monotonic() > end:
                raise TimeoutError
            if chunk is not None:
                yield chunk

    def _read_err(self) -> None:
        try:
            for chunk in self._read(self._channel.recv_stderr, float("inf")):
                self._err.take(chunk)
        except FloodError:
            self._flooded = True
            self._channel.close()  # who reads the other stream comes to its end

    def _feed(self) -> None:
        import paramiko

        chunks = iter(self._source)
        try:
            self._channel.exec_command(self._command)
            while chunk := self._next(chunks):
                self._send(chunk)
            self._channel.shutdown_write()
        except (paramiko.SSHException, OSError, EOFError):
            return  # the channel is closed: who reads it learns why

    def _next(self, chunks: Iterator[bytes]) -> bytes:
        try:
            return next(chunks, b"")
        except OSError as error:
            self._troubles.append(error)
            return b""

    def _send(self, chunk: bytes) -> None:
        while chunk:
            try:
                sent = self._channel.send(chunk)
            except TimeoutError:
                continue  # the device's window is full; the reader keeps the deadline and closes the channel
            if sent == 0:
                raise EOFError
            chunk = chunk[sent:]


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_PACKET):
        yield chunk
