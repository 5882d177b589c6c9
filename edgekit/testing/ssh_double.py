"""An SSH server inside the test's own process that speaks the real protocol, and can be nasty.

Commands run on this machine, in a home that goes. It is paramiko's server side under the transport's client
side: what both get wrong alike it can't show, so the same contract also runs over OpenSSH.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import paramiko

from edgekit.errors import UnknownNameError
from edgekit.testing.ssh_files import SshFiles, make_key

if TYPE_CHECKING:
    from collections.abc import Callable

STALLS = ("", "banner", "auth", "session", "exec")
_LOG = "edgekit.ssh.double"
_CHUNK = 1 << 15
_SMALL_WINDOW = 1 << 15


@dataclass(frozen=True, slots=True, kw_only=True)
class SshFaults:
    """What is wrong with the double; by default nothing.

    Attributes:
        slow_bytes: so many bytes of each stream go one at a time; the windows are small, too.
        dies_after_bytes: the link is cut when one command's streams get past so many bytes.
        stalls: the stage at which it falls silent, one of STALLS.
        refuses: no key is taken.
        other_key: it shows another host key than the one that is known of it.
    """

    slow_bytes: int = 0
    dies_after_bytes: int | None = None
    stalls: str = ""
    refuses: bool = False
    other_key: bool = False

    def __post_init__(self) -> None:
        if self.stalls not in STALLS:
            raise UnknownNameError("stage to stall at", self.stalls, STALLS)


class SshDouble:
    """One running server; use it in a `with` statement.

    Args:
        faults: what shall go wrong; may be replaced while it runs.

    Attributes:
        files: keys, known hosts and configuration of its client.
        offered: the public keys that clients offered.
    """

    def __init__(self, *, faults: SshFaults | None = None) -> None:
        self.faults = faults or SshFaults()
        self.offered: list[bytes] = []
        self.files = SshFiles(folder=Path(), alias="", port=0, user="")
        self._over = threading.Event()
        self._links: list[tuple[Any, socket.socket]] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def home(self) -> Path:
        """The login's home."""
        return self.files.folder / "home"

    @property
    def over(self) -> threading.Event:
        """Set when it is stopped; what stalls waits for it."""
        return self._over

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        logging.getLogger(_LOG).setLevel(logging.CRITICAL + 1)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        folder = Path(tempfile.mkdtemp(prefix="edgekit-ssh-"))
        self.files = SshFiles(
            folder=folder, alias=f"edgekit-double-{port}", port=port, user=getpass.getuser()
        )
        self.files.write()
        make_key(folder / "other_ed25519")
        self.home.mkdir()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Make it dead without a word: no link, no listener."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        for wire, sock in self._links:
            wire.close()
            sock.close()

    def stop(self) -> None:
        """Stop it and what it runs; stopping twice is fine."""
        self._over.set()
        self.cut()
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.files.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            window = _SMALL_WINDOW if self.faults.slow_bytes else paramiko.common.DEFAULT_WINDOW_SIZE
            wire = paramiko.Transport(sock, default_window_size=window)
            self._links.append((wire, sock))
            if self.faults.stalls == "banner":
                continue
            wire.set_log_channel(_LOG)
            key = self.files.folder / "other_ed25519" if self.faults.other_key else self.files.host_key
            wire.add_server_key(paramiko.Ed25519Key.from_private_key_file(str(key)))
            wire.start_server(event=threading.Event(), server=_Login(self, wire))

    def execute(self, wire: Any, channel: Any, command: bytes) -> None:
        """Run one command over a channel, to its end."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [b"/bin/sh", b"-c", command],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            cwd=self.home,
            env=os.environ | {"HOME": str(self.home)},
            start_new_session=True,
        )
        self._processes.append(process)
        meter = _Meter(self.faults, wire)
        out, err = _take(process.stdout), _take(process.stderr)
        pumps = [
            threading.Thread(target=meter.pump, args=(channel.recv, _give(process.stdin)), daemon=True),
            threading.Thread(target=meter.pump, args=(out, channel.sendall), daemon=True),
            threading.Thread(target=meter.pump, args=(err, channel.sendall_stderr), daemon=True),
        ]
        for pump in pumps:
            pump.start()
        for pump in pumps[1:]:
            pump.join()
        code = process.wait()
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            if code >= 0:  # like OpenSSH, no exit status for what a signal ended
                channel.send_exit_status(code)
            channel.close()
        pumps[0].join(timeout=1.0)
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()


class _Login(paramiko.ServerInterface):  # type: ignore[misc]  # paramiko is untyped
    """What paramiko asks about one link."""

    def __init__(self, double: SshDouble, wire: Any) -> None:
        self._double = double
        self._wire = wire
        self._stall = double.faults.stalls

    def get_allowed_auths(self, username: str) -> str:
        del username
        return "publickey"

    def check_auth_publickey(self, username: str, key: Any) -> int:
        del username
        self._wait("auth")
        self._double.offered.append(key.asbytes())
        public = self._double.files.identity.with_suffix(".pub").read_text().split()[1]
        known = key.get_base64() == public and not self._double.faults.refuses
        answer: int = paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED
        return answer

    def check_channel_request(self, kind: str, chanid: int) -> int:
        del chanid
        self._wait("session")
        fine: int = paramiko.OPEN_SUCCEEDED
        wrong: int = paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        return fine if kind == "session" else wrong

    def check_channel_exec_request(self, channel: Any, command: bytes) -> bool:
        if self._stall != "exec":
            work = (self._wire, channel, command)
            threading.Thread(target=self._double.execute, args=work, daemon=True).start()
        return True

    def _wait(self, stage: str) -> None:
        if self._stall == stage:
            self._double.over.wait()


class _Meter:
    """Moves one command's bytes, slowly or up to a limit where that was asked for."""

    def __init__(self, faults: SshFaults, wire: Any) -> None:
        self._slow = faults.slow_bytes
        self._limit = faults.dies_after_bytes
        self._wire = wire
        self._moved = 0

    def pump(self, take: Callable[[int], bytes], give: Callable[[bytes], object]) -> None:
        """Move bytes until there are none, then say so with an empty chunk; a broken end is an end."""
        slow = self._slow
        try:
            while chunk := take(1 if slow > 0 else _CHUNK):
                give(chunk)
                slow -= len(chunk)
                self._moved += len(chunk)
                if self._limit is not None and self._moved > self._limit:
                    self._wire.close()
                    return
            give(b"")
        except (OSError, EOFError, ValueError, paramiko.SSHException):
            return


def _take(stream: Any) -> Callable[[int], bytes]:
    return lambda size: os.read(stream.fileno(), size)


def _give(stream: Any) -> Callable[[bytes], object]:
    """Return what writes to a command's input, and closes it at the end of what there is."""

    def give(chunk: bytes) -> None:
        if chunk:
            stream.write(chunk)
            stream.flush()
        else:
            stream.close()

    return give
