"""The double's file service: adb's sync protocol, version 1 and 2, uncompressed.

Requests are `id4 length path`. As adbd does, SEND unlinks the old file first, makes the folders, copies the
owner's bits to group and others, and removes a half-pushed file when the stream ends too early.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.testing.adb_wire import Stream

CHUNK = 1 << 16
_PATH_LIMIT = 1024
_WORD = struct.Struct("<4sI")
_STAT1 = struct.Struct("<4sIII")
_STAT2 = struct.Struct("<4sIQQIIIIQqqq")
_NAME = struct.Struct("<I")


class SyncService:
    """One `sync:` stream.

    Args:
        stream: where requests come from.
        room: bytes that may still be written before the disk is full; None for no limit.
    """

    def __init__(self, stream: Stream, *, room: int | None = None) -> None:
        self._stream = stream
        self._room = room
        self._requests: dict[bytes, Callable[[str], None]] = {
            b"STAT": self._stat1,
            b"STA2": lambda path: self._stat2(b"STA2", path, follow=True),
            b"LST2": lambda path: self._stat2(b"LST2", path, follow=False),
            b"LIST": lambda path: self._list(path, second=False),
            b"LIS2": lambda path: self._list(path, second=True),
            b"RECV": self._receive,
            b"RCV2": self._receive2,
            b"SEND": self._send1,
            b"SND2": self._send2,
        }

    def serve(self) -> None:
        """Answer requests until QUIT or the end of the stream."""
        try:
            while True:
                name, length = _WORD.unpack(self._stream.read(_WORD.size))
                if name == b"QUIT":
                    return
                if name not in self._requests or length > _PATH_LIMIT:
                    self._fail(f"unknown command {name!r}")
                    return
                path = os.fsdecode(self._stream.read(length))
                try:
                    self._requests[name](path)
                except OSError as error:
                    self._fail(f"{os.strerror(error.errno or 0)}")
        except EOFError:
            return

    # --- looking -------------------------------------------------------------------------------
    def _stat1(self, path: str) -> None:
        try:
            found = os.lstat(path)
        except OSError:
            self._stream.write(_STAT1.pack(b"STAT", 0, 0, 0))
            return
        self._stream.write(
            _STAT1.pack(b"STAT", found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime))
        )

    def _stat2(self, name: bytes, path: str, *, follow: bool) -> None:
        self._stream.write(_stat_record(name, path, follow=follow))

    def _list(self, path: str, *, second: bool) -> None:
        folder = Path(path)
        for name in (".", "..", *sorted(entry.name for entry in folder.iterdir())) if folder.is_dir() else ():
            if second:
                record = _stat_record(b"DNT2", f"{path}/{name}", follow=False)
            else:
                found = os.lstat(f"{path}/{name}")
                record = _STAT1.pack(b"DENT", found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime))
            encoded = os.fsencode(name)
            self._stream.write(record + _NAME.pack(len(encoded)) + encoded)
        blank = (_STAT2 if second else _STAT1).size - _WORD.size + _NAME.size
        self._stream.write(b"DONE" + bytes(blank + 4))

    # --- moving --------------------------------------------------------------------------------
    def _receive2(self, path: str) -> None:
        _, flags = _WORD.unpack(self._stream.read(_WORD.size))
        if flags:
            self._fail(f"compression {flags:#x} is not spoken here")
            return
        self._receive(path)

    def _receive(self, path: str) -> None:
        with Path(path).open("rb") as source:
            while part := source.read(CHUNK):
                self._stream.write(_WORD.pack(b"DATA", len(part)) + part)
        self._stream.write(_WORD.pack(b"DONE", 0))

    def _send1(self, spec: str) -> None:
        path, _, mode = spec.rpartition(",")
        self._write(path, int(mode))

    def _send2(self, path: str) -> None:
        _, mode = _WORD.unpack(self._stream.read(_WORD.size))
        (flags,) = _NAME.unpack(self._stream.read(_NAME.size))
        if flags:
            self._fail(f"compression {flags:#x} is not spoken here")
            return
        self._write(path, mode)

    def _write(self, path: str, mode: int) -> None:
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            sink = target.open("wb", buffering=0)
        except OSError as error:
            self._refuse(f"couldn't create file: {os.strerror(error.errno or 0)}")
            return
        try:
            with sink:
                self._take(sink.write)
        except EOFError:
            target.unlink(missing_ok=True)
            raise
        except OSError as error:
            target.unlink(missing_ok=True)
            self._refuse(f"write failed: {os.strerror(error.errno or 0)}")
            return
        owner = stat.S_IMODE(mode) & stat.S_IRWXU
        target.chmod(owner | owner >> 3 | owner >> 6)
        self._stream.write(_WORD.pack(b"OKAY", 0))

    def _take(self, write: Callable[[bytes], int]) -> None:
        while True:
            name, size = _WORD.unpack(self._stream.read(_WORD.size))
            if name == b"DONE":
                return
            data = self._stream.read(size)
            if self._room is not None:
                self._room -= size
                if self._room < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(data)

    def _refuse(self, message: str) -> None:
        """Say no, then read the rest of the file away, as old clients do not listen before its end."""
        self._fail(message)
        self._take_away()

    def _take_away(self) -> None:
        while True:
            name, size = _WORD.unpack(self._stream.read(_WORD.size))
            if name != b"DATA":
                return
            self._stream.read(size)

    def _fail(self, message: str) -> None:
        text = message.encode()
        self._stream.write(_WORD.pack(b"FAIL", len(text)) + text)


def _stat_record(name: bytes, path: str, *, follow: bool) -> bytes:
    try:
        found = Path(path).stat(follow_symlinks=follow)
    except OSError as error:
        return _STAT2.pack(name, error.errno or 0, *([0] * 10))
    return _STAT2.pack(
        name,
        0,
        found.st_dev,
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        found.st_uid,
        found.st_gid,
        found.st_size,
        int(found.st_atime),
        int(found.st_mtime),
        int(found.st_ctime),
    )
