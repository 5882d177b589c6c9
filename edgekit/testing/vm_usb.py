"""A USB-to-I2C adapter for the virtual board, plugged in through QEMU's usbredir protocol.

The board's kernel knows the adapter (i2c-tiny-usb) and the chips behind it; the test holds the other end, so
that what stock drivers read is what the test has set. Two protocols meet here, both simple:

    usbredir (usbredir-protocol.txt 0.7): packets of type, length and id; only control transfers are needed
    i2c-tiny-usb: vendor requests. 0 echo, 1 functions, 2 delay, 3 status, 4 to 7 a transfer (the address in
    wIndex, reading where bmRequestType says so)
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgekit.testing.vm_chips import Chip
    from edgekit.testing.vm_machine import Monitor

_HELLO, _CONNECT, _INTERFACES, _ENDPOINTS = 0, 1, 4, 5
_SET_CONFIG, _GET_CONFIG, _CONFIG, _SET_ALT, _GET_ALT, _ALT, _CONTROL = 6, 7, 8, 9, 10, 11, 100
_CAPABILITIES = 1 << 4 | 1 << 5 | 1 << 6  # packet sizes, 64-bit ids, 32-bit lengths: what xHCI insists on
_FULL_SPEED, _VENDOR_CLASS = 1, 0xFF
_ID_VENDOR, _ID_PRODUCT = 0x0403, 0xC631
_STALLED = 4
_FUNCTIONS = 0x0EFF0001  # plain I2C, and the SMBus transfers that the kernel makes of it
_ACKNOWLEDGED, _NOBODY = 1, 2
_DEVICE = struct.pack(
    "<BBHBBBBHHHBBBB", 18, 1, 0x0110, _VENDOR_CLASS, 0, 0, 8, _ID_VENDOR, _ID_PRODUCT, 0x0205, 1, 2, 0, 1
)
_CONFIGURATION = struct.pack("<BBHBBBBB", 9, 2, 18, 1, 1, 0, 0x80, 50)
_CONFIGURATION += struct.pack("<BBBBBBBBB", 9, 4, 0, 0, 0, _VENDOR_CLASS, 0, 0, 0)
_STRINGS = ("", "EdgeKit", "virtual i2c-tiny-usb")


class I2cAdapter:
    """An adapter with chips on its bus; from `plug_in` on a thread serves it until `close`.

    Args:
        chips: by 7-bit address.
        folder: where its socket goes.
    """

    def __init__(self, chips: Mapping[int, Chip], folder: Path) -> None:
        self._chips = chips
        self._path = folder / "usb-i2c"
        self._status = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(1)
        self._link: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="usb-i2c", daemon=True)
        self._wide = False

    def plug_in(self, monitor: Monitor) -> None:
        """Plug it into the board's xHCI."""
        self._thread.start()
        where = {"type": "unix", "data": {"path": str(self._path)}}
        monitor.ask(
            "chardev-add",
            id="usb-i2c",
            backend={"type": "socket", "data": {"addr": where, "server": False}},
        )
        monitor.ask("device_add", driver="usb-redir", id="usb-i2c", chardev="usb-i2c", bus="usb.0")

    def close(self) -> None:
        """Unplug it; twice is fine."""
        for end in (self._link, self._listener):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        if self._thread.ident is not None:
            self._thread.join()

    # --- usbredir ------------------------------------------------------------------------------------
    def _serve(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._link = self._listener.accept()[0]
            self._send(_HELLO, 0, b"EdgeKit".ljust(64, b"\0") + struct.pack("<I", _CAPABILITIES))
            while True:
                header = self._receive(16 if self._wide else 12)
                kind, length, number = struct.unpack("<IIQ" if self._wide else "<III", header)
                self._answer(kind, number, self._receive(length))

    def _answer(self, kind: int, number: int, body: bytes) -> None:
        if kind == _HELLO:
            self._wide = True
            self._describe(0)
            told = (_FULL_SPEED, _VENDOR_CLASS, 0, 0, _ID_VENDOR, _ID_PRODUCT)
            self._send(_CONNECT, 0, struct.pack("<BBBBHH", *told))
        elif kind == _SET_CONFIG:
            self._describe(number)
            self._send(_CONFIG, number, bytes((0, body[0])))
        elif kind == _GET_CONFIG:
            self._send(_CONFIG, number, bytes((0, 1)))
        elif kind == _SET_ALT:
            self._send(_ALT, number, bytes((0, body[0], body[1])))
        elif kind == _GET_ALT:
            self._send(_ALT, number, bytes((0, body[0], 0)))
        elif kind == _CONTROL:
            self._control(number, body)

    def _describe(self, number: int) -> None:
        """Tell of the one interface, without endpoints but the two for control."""
        self._send(_INTERFACES, number, struct.pack("<I", 1) + bytes(128))
        kinds = bytearray(b"\xff" * 32)  # 255 is "no such endpoint"
        kinds[0] = kinds[16] = 0
        sizes = [8 if n in {0, 16} else 0 for n in range(32)]
        self._send(_ENDPOINTS, number, bytes(kinds) + bytes(64) + struct.pack("<32H", *sizes))

    def _control(self, number: int, body: bytes) -> None:
        endpoint, request, kind, _, value, index, length = struct.unpack_from("<BBBBHHH", body)
        answer = self._request(body)
        status = _STALLED if answer is None else 0
        data = (answer or b"") if kind & 0x80 else b""
        told = len(data) if kind & 0x80 else length
        head = struct.pack("<BBBBHHH", endpoint, request, kind, status, value, index, told)
        self._send(_CONTROL, number, head + data)

    def _send(self, kind: int, number: int, body: bytes) -> None:
        assert self._link is not None
        head = struct.pack("<IIQ" if self._wide else "<III", kind, len(body), number)
        self._link.sendall(head + body)

    def _receive(self, count: int) -> bytes:
        assert self._link is not None
        data = b""
        while len(data) < count:
            part = self._link.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    # --- USB, and i2c-tiny-usb upon it ---------------------------------------------------------------
    def _request(self, body: bytes) -> bytes | None:
        """Return what a control transfer reads, b"" when it writes, or None when it is not known."""
        _, request, kind, _, value, index, length = struct.unpack_from("<BBBBHHH", body)
        if kind == 0x80:
            return _standard(request, value, length)
        if kind & 0x60 != 0x40:
            return None if kind & 0x80 else b""
        if 4 <= request <= 7:
            return self._transfer(index, length, body[10:], reading=bool(kind & 0x80))
        answers = {0: struct.pack("<H", value), 1: struct.pack("<I", _FUNCTIONS), 3: bytes((self._status,))}
        return answers.get(request, b"")[:length]

    def _transfer(self, address: int, length: int, data: bytes, *, reading: bool) -> bytes:
        chip = self._chips.get(address)
        self._status = _NOBODY if chip is None else _ACKNOWLEDGED
        if reading:
            return bytes(length) if chip is None else chip.read(length)
        if chip is not None:
            chip.write(data)
        return b""


def _standard(request: int, value: int, length: int) -> bytes | None:
    """Return the answer to a standard request of the device: its status or a descriptor."""
    if request == 0:
        return bytes(2)
    kind, number = value >> 8, value & 0xFF
    if request != 6 or (kind == 3 and number >= len(_STRINGS)):
        return None
    text = _STRINGS[number].encode("utf-16le") if kind == 3 and number else b"\x09\x04"
    return {1: _DEVICE, 2: _CONFIGURATION, 3: bytes((2 + len(text), 3)) + text}.get(kind, b"")[
        :length
    ] or None


def bind(chips: Mapping[str, int], *, bus: str = "/sys/bus/i2c/devices/i2c-0") -> str:
    """Return the shell script that waits for the adapter and tells the kernel what is on its bus.

    Args:
        chips: the kernel's name of each chip, and its address.
        bus: the adapter's folder.
    """
    lines = [f"until [ -e {bus}/new_device ]; do sleep 0.1; done"]
    lines += [f"echo {name} {address:#x} > {bus}/new_device" for name, address in chips.items()]
    return "\n".join(lines)
