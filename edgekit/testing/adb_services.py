"""What the double offers on its streams: `shell:`, `shell,v2:`, `exec:` and `sync:`.

Like adbd it hangs up (SIGHUP) on the one shell it started when its stream ends, and leaves that shell's
children alone; a service is over when both outputs are at their end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import threading
from typing import IO, TYPE_CHECKING

from edgekit.testing.adb_sync import SyncService

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgekit.testing.adb_wire import Stream

STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
KINDS = ("shell", "exec", "sync")
_FRAME = struct.Struct("<BI")
_READ = 1 << 16


class Shell:
    """One command in the device's shell.

    Args:
        stream: where its bytes go.
        argv: the shell and its arguments.
        home: the folder it starts in.
        env: its environment.
        framed: whether the stream speaks shell v2; else both outputs are one and no exit code is told.
    """

    def __init__(
        self, stream: Stream, argv: Sequence[str], *, home: Path, env: Mapping[str, str], framed: bool
    ) -> None:
        self._stream = stream
        self._framed = framed
        self._process = subprocess.Popen(
            argv,
            cwd=home,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if framed else subprocess.STDOUT,
            start_new_session=True,
        )

    def serve(self) -> None:
        """Carry its bytes until it ends or the host closes the stream."""
        pumps = [self._pump(self._process.stdout, STDOUT), self._pump(self._process.stderr, STDERR)]
        feeder = threading.Thread(target=self._feed, daemon=True)
        feeder.start()
        for pump in pumps:
            pump.join()
        code = self._process.wait()
        if self._framed and not self._stream.over:
            self._write(EXIT, bytes([code if code >= 0 else 0x80 | -code]))
        self._stream.close()
        feeder.join()

    def _pump(self, source: IO[bytes] | None, kind: int) -> threading.Thread:
        thread = threading.Thread(target=self._carry, args=(source, kind), daemon=True)
        thread.start()
        return thread

    def _carry(self, source: IO[bytes] | None, kind: int) -> None:
        if source is None:
            return
        with source:
            # What nobody reads any more is still drained, as by a daemon that closes its end.
            while data := os.read(source.fileno(), _READ):
                if not self._write(kind, data):
                    break

    def _write(self, kind: int, data: bytes) -> bool:
        try:
            self._stream.write((_FRAME.pack(kind, len(data)) if self._framed else b"") + data)
        except EOFError:
            return False
        return True

    def _feed(self) -> None:
        sink = self._process.stdin
        try:
            while True:
                kind, data = self._next()
                if kind == CLOSE_STDIN and sink:
                    sink.close()
                elif kind == STDIN and sink and not sink.closed:
                    _put(sink, data)
        except EOFError:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGHUP)
        finally:
            if sink:
                _close(sink)

    def _next(self) -> tuple[int, bytes]:
        if not self._framed:
            return STDIN, self._stream.read_some()
        kind, size = _FRAME.unpack(self._stream.read(_FRAME.size))
        return kind, self._stream.read(size)


def serve(
    stream: Stream,
    service: str,
    *,
    home: Path,
    env: Mapping[str, str],
    shell: Sequence[str],
    room: int | None,
) -> None:
    """Serve one stream to its end.

    Args:
        stream: just opened and acknowledged.
        service: as the host asked for it ("shell,v2,raw:id"), one of KINDS.
        home: the folder of the device.
        env: the environment of its commands.
        shell: the shell and the option before a command.
        room: bytes that a sync may still write before the disk is full; None for no limit.
    """
    name, _, command = service.partition(":")
    kind, *options = name.split(",")
    if kind == "sync":
        SyncService(stream, room=room).serve()
    else:
        Shell(stream, [*shell, command], home=home, env=env, framed="v2" in options).serve()
    stream.close()


def _put(sink: IO[bytes], data: bytes) -> None:
    try:
        sink.write(data)
        sink.flush()
    except BrokenPipeError:
        _close(sink)


def _close(sink: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):  # it closed its end with bytes of ours unread
        sink.close()
