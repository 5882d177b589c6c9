"""The device's side of adb's wire: packets, one link, its streams, and what can go wrong on them.

Written after AOSP's `protocol.txt` of the adb module: 24-byte little-endian headers (command, arg0, arg1,
length, checksum, magic), one write in flight for each direction of a stream until its OKAY.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Literal

VERSION = 0x01000001  # from here on the checksum is not looked at
MAX_PAYLOAD = 1 << 20
_HEADER = struct.Struct("<4sIII2I")
_READ = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One message.

    Attributes:
        command: CNXN, AUTH, OPEN, OKAY, WRTE, CLSE or another four letters.
        arg0: the sender's stream id, or what the command says.
        arg1: the receiver's stream id, or what the command says.
        data: the payload.
    """

    command: bytes
    arg0: int = 0
    arg1: int = 0
    data: bytes = b""

    def encode(self) -> bytes:
        """Return the message as it goes over the wire."""
        magic = int.from_bytes(self.command, "little") ^ 0xFFFFFFFF
        checksum = sum(self.data) & 0xFFFFFFFF if self.command in (b"CNXN", b"AUTH") else 0
        head = _HEADER.pack(self.command, self.arg0, self.arg1, len(self.data), checksum, magic)
        return head + self.data


@dataclass(slots=True, kw_only=True)
class Fault:
    """What is wrong with a link; the plain one is right.

    Attributes:
        chunk: bytes sent at a time; 0 for whole messages.
        after: bytes in either direction until `action`, counted from when the fault is set; None for never.
        action: "die" closes the link, "stall" keeps it open and moves nothing more.
    """

    chunk: int = 0
    after: int | None = None
    action: Literal["die", "stall"] = "die"


class Wire:
    """One TCP link to an adb server, with its fault.

    Args:
        link: a connected socket; it is closed with the wire.
        fault: what goes wrong on it.
    """

    def __init__(self, link: socket.socket, fault: Fault) -> None:
        self.fault = fault
        self._link = link
        self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writing = threading.Lock()
        self._closed = threading.Event()

    def read(self) -> Packet:
        """Return the next message.

        Raises:
            EOFError: the link is closed, or broke.
        """
        command, arg0, arg1, length, _, _ = _HEADER.unpack(self._take(_HEADER.size))
        return Packet(command=command, arg0=arg0, arg1=arg1, data=self._take(length))

    def write(self, packet: Packet) -> None:
        """Send a message.

        Raises:
            EOFError: the link is closed, or broke.
        """
        data = packet.encode()
        step = self.fault.chunk or len(data)
        with self._writing:
            for start in range(0, len(data), step):
                self._spend(step)
                try:
                    self._link.sendall(data[start : start + step])
                except OSError:
                    raise EOFError from None

    def close(self) -> None:
        """Cut the link; a stall ends with it."""
        self._closed.set()
        with contextlib.suppress(OSError):  # the other side was faster
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()

    def _take(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                part = self._link.recv(min(size - len(data), _READ))
            except OSError:
                raise EOFError from None
            if not part:
                raise EOFError
            self._spend(len(part))
            data += part
        return bytes(data)

    def _spend(self, size: int) -> None:
        fault = self.fault
        if fault.after is None:
            return
        fault.after -= size
        if fault.after > 0:
            return
        fault.after = 0
        if fault.action == "stall":
            self._closed.wait()
        else:
            self.close()
        raise EOFError


class Stream:
    """One service's two-way stream of bytes.

    Args:
        wire: the link it runs on.
        local: its id on the device.
        remote: its id on the host.
    """

    def __init__(self, wire: Wire, *, local: int, remote: int) -> None:
        self.local = local
        self.remote = remote
        self._wire = wire
        self._inbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._left = b""
        self._ready = threading.Semaphore(0)
        self._over = False
        self._sending = threading.Lock()

    def write(self, data: bytes) -> None:
        """Send bytes and wait until the host has taken them.

        Raises:
            EOFError: the host closed the stream, or the link is gone.
        """
        with self._sending:
            for start in range(0, len(data), MAX_PAYLOAD):
                if self._over:
                    raise EOFError
                part = data[start : start + MAX_PAYLOAD]
                self._wire.write(Packet(command=b"WRTE", arg0=self.local, arg1=self.remote, data=part))
                self._ready.acquire()
        if self._over:
            raise EOFError

    def read_some(self) -> bytes:
        """Return the next bytes as they came, at least one.

        Raises:
            EOFError: the stream is over.
        """
        if self._left:
            data, self._left = self._left, b""
            return data
        data_or_end = self._inbox.get()
        if data_or_end is None:
            self._inbox.put(None)
            raise EOFError
        self._wire.write(Packet(command=b"OKAY", arg0=self.local, arg1=self.remote))
        return data_or_end

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes.

        Raises:
            EOFError: the stream is over before.
        """
        while len(self._left) < size:
            kept, self._left = self._left, b""
            self._left = kept + self.read_some()
        data, self._left = self._left[:size], self._left[size:]
        return data

    def close(self) -> None:
        """Tell the host that the stream is over."""
        if not self._over:
            self.end()
            with contextlib.suppress(EOFError):  # nobody is left to be told
                self._wire.write(Packet(command=b"CLSE", arg0=self.local, arg1=self.remote))

    # --- what the link's reader calls ----------------------------------------------------------
    def deliver(self, data: bytes) -> None:
        """Take a WRTE of the host."""
        self._inbox.put(data)

    def acknowledge(self) -> None:
        """Take an OKAY of the host."""
        self._ready.release()

    def end(self) -> None:
        """Take the host's CLSE, or the end of the link."""
        self._over = True
        self._inbox.put(None)
        self._ready.release()

    @property
    def over(self) -> bool:
        """Whether the stream was closed by either side."""
        return self._over
