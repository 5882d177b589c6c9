"""What a command may say: so much and no more, so that no device can fill the host's memory."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from typing import Any

from edgekit.errors import ProtocolError

MAX_OUTPUT_BYTES = 64 << 20
"""Of one command's standard output, and of its standard error; what EdgeKit asks for is a part of it."""
_CHUNK = 1 << 16
_PIPE_BUF = 512


class FloodError(Exception):
    """A command has said more than MAX_OUTPUT_BYTES."""


def flood(address: str) -> ProtocolError:
    """Return the error for a device that says too much."""
    what = f"{address}: a command there said more than {MAX_OUTPUT_BYTES >> 20} MiB"
    return ProtocolError(what, hint="look at what answers there: no command of EdgeKit's says as much")


class Output:
    """One stream of a command, so far."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0

    def take(self, chunk: bytes) -> None:
        """Keep the next bytes; raise FloodError when they are too many."""
        self._size += len(chunk)
        if self._size > MAX_OUTPUT_BYTES:
            raise FloodError
        self._chunks.append(chunk)

    def whole(self) -> bytes:
        """Return all bytes."""
        return b"".join(self._chunks)


def communicate(
    process: subprocess.Popen[bytes], data: bytes | None, timeout_s: float
) -> tuple[bytes, bytes]:
    """Return a process's standard output and error, as its own `communicate` does.

    Args:
        process: one with pipes for both outputs, and for its input where there are data.
        data: its standard input.
        timeout_s: the deadline, in seconds.

    Raises:
        FloodError: it says more than MAX_OUTPUT_BYTES.
        TimeoutExpired: the deadline passed.
    """
    end, left = time.monotonic() + timeout_s, memoryview(data or b"")
    outputs: dict[Any, Output] = {process.stdout: Output(), process.stderr: Output()}
    with selectors.DefaultSelector() as ready:
        for pipe in outputs:
            ready.register(pipe, selectors.EVENT_READ)
        if process.stdin is not None:
            ready.register(process.stdin, selectors.EVENT_WRITE)
        while ready.get_map():
            for key, _ in ready.select(max(0.0, end - time.monotonic())):
                stream: Any = key.fileobj
                if stream is process.stdin:
                    left = _feed(key.fd, left)
                    over = not left
                else:
                    chunk = os.read(key.fd, _CHUNK)
                    outputs[stream].take(chunk)
                    over = not chunk
                if over:
                    ready.unregister(stream)
                    _close(stream)
                    if stream is process.stdin:
                        process.stdin = None  # else the process's own communicate would flush it
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(process.args, timeout_s)
    process.wait(timeout=max(0.0, end - time.monotonic()))
    out, err = outputs.values()
    return out.whole(), err.whole()


def _feed(number: int, data: memoryview) -> memoryview:
    """Write as much as a pipe that is ready takes without waiting; nothing is left where nobody reads."""
    try:
        return data[os.write(number, data[:_PIPE_BUF]) :]
    except BrokenPipeError:
        return data[:0]


def _close(stream: Any) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        return
