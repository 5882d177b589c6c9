"""A double of a phone's adb daemon, in this process: real adb programs connect to it.

Its commands run in this machine's sh with a folder as their home, so a transport's paths lie in there. It
listens on the loopback only, on a free port far from those that every adb server scans (5555 to 5585).

    with AdbDouble(tmp_path) as phone:
        ...                    # adb connect {phone.serial}
        phone.cut()            # the cable is pulled; adb connects anew by itself
"""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from edgekit.testing.adb_auth import Auth, Key, authorize
from edgekit.testing.adb_services import KINDS, serve
from edgekit.testing.adb_wire import MAX_PAYLOAD, VERSION, Fault, Packet, Stream, Wire

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

FEATURES = ("shell_v2", "cmd", "stat_v2", "ls_v2", "fixed_push_mkdir", "sendrecv_v2")
_BANNER = "device::ro.product.name=double;ro.product.model=Double;ro.product.device=double;features="
_JOIN_S = 5.0


class AdbDouble:
    """One device that speaks adb's protocol.

    Args:
        root: its folder; it is its home, its `bin` comes first in the path of its commands.
        features: what it says it can; without "shell_v2" it is a phone before Android 7.
        auth: "none", "accept" or "deny": see `adb_auth.authorize`.
        shell: its shell and the option before a command.
        fault: what is wrong with its links.
        room: bytes that each push may write before the disk is full; None for no limit.

    Attributes:
        asked: every service that a host has asked for, also those that it does not have ("tcpip:5555").
    """

    def __init__(
        self,
        root: Path,
        *,
        features: Sequence[str] = FEATURES,
        auth: Auth = "none",
        shell: Sequence[str] = ("sh", "-c"),
        fault: Fault | None = None,
        room: int | None = None,
    ) -> None:
        self.root = root
        self.features = tuple(features)
        self.auth: Auth = auth
        self.shell = tuple(shell)
        self.fault = fault or Fault()
        self.room = room
        self.port = 0
        self.asked: list[str] = []
        self.keys: set[Key] = set()
        self._listener: socket.socket | None = None
        self._sessions: list[_Session] = []
        self._threads: list[threading.Thread] = []

    @property
    def serial(self) -> str:
        """Its name for `adb connect` and `adb -s`."""
        return f"127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """The environment of its commands."""
        home = str(self.root)
        path = f"{self.root / 'bin'}:{os.environ.get('PATH', os.defpath)}"
        return {"HOME": home, "TMPDIR": home, "PATH": path, "EDGEKIT_HOME": f"{home}/edgekit"}

    def start(self) -> Self:
        """Listen, on the port it had before if it ran already."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        thread.start()
        self._threads.append(thread)
        return self

    def stop(self) -> None:
        """Go away as a daemon that dies; its commands run on."""
        if self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()
        for thread in self._threads:
            thread.join(_JOIN_S)
        self._threads.clear()

    def cut(self) -> None:
        """Pull the cable: every link is closed, new ones are taken."""
        for session in self._sessions:
            session.wire.close()
        self._sessions.clear()

    def spoil(self, fault: Fault) -> None:
        """Let something go wrong from now on, on the links there are and on the next one."""
        self.fault = fault
        for session in self._sessions:
            session.wire.fault = replace(fault)

    def shim(self, name: str, script: str) -> None:
        """Put a command of this name before the machine's own.

        Args:
            name: "sha256sum".
            script: what sh runs for it.
        """
        folder = self.root / "bin"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (folder / name).chmod(0o755)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            session = _Session(self, Wire(link, replace(self.fault)))
            self._sessions.append(session)
            thread = threading.Thread(target=session.serve, daemon=True)
            thread.start()
            self._threads.append(thread)


class _Session:
    """One link: the handshake, then streams until it ends."""

    def __init__(self, double: AdbDouble, wire: Wire) -> None:
        self.wire = wire
        self._double = double
        self._streams: dict[int, Stream] = {}
        self._count = 0

    def serve(self) -> None:
        """Serve the link until either side closes it."""
        try:
            self._greet()
            while True:
                self._take(self.wire.read())
        except EOFError:
            for stream in list(self._streams.values()):
                stream.end()
        finally:
            self.wire.close()

    def _greet(self) -> None:
        if self.wire.read().command != b"CNXN":
            raise EOFError
        authorize(self.wire, self._double.auth, self._double.keys)
        banner = (_BANNER + ",".join(self._double.features)).encode()
        self.wire.write(Packet(command=b"CNXN", arg0=VERSION, arg1=MAX_PAYLOAD, data=banner))

    def _take(self, packet: Packet) -> None:
        if packet.command == b"OPEN":
            self._open(packet.arg0, packet.data.rstrip(b"\0").decode("utf-8", "surrogateescape"))
            return
        stream = self._streams.get(packet.arg1)
        if stream is None:
            return
        if packet.command == b"WRTE":
            stream.deliver(packet.data)
        elif packet.command == b"OKAY":
            stream.acknowledge()
        elif packet.command == b"CLSE":
            del self._streams[packet.arg1]
            stream.close()

    def _open(self, remote: int, service: str) -> None:
        self._double.asked.append(service)
        if service.partition(":")[0].split(",")[0] not in KINDS:
            self.wire.write(Packet(command=b"CLSE", arg1=remote))
            return
        self._count += 1
        stream = Stream(self.wire, local=self._count, remote=remote)
        self._streams[stream.local] = stream
        self.wire.write(Packet(command=b"OKAY", arg0=stream.local, arg1=remote))
        threading.Thread(target=self._run, args=(stream, service), daemon=True).start()

    def _run(self, stream: Stream, service: str) -> None:
        double = self._double
        serve(stream, service, home=double.root, env=double.env, shell=double.shell, room=double.room)
