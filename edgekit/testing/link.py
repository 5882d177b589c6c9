"""A link on the loopback that is as slow as a network or a cable: for measurements of what goes over it."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time

_PIECE = 1 << 16
_PIECES = 64
"""So many pieces are on their way at once, 4 MiB; then whoever sends has to wait, as on any link."""


class SlowLink:
    """What leads to a port, later or at a limited rate; `port` is its own.

    Args:
        port: where it leads.
        delay_s: seconds each way.
        rate: bytes a second towards the port, 0 for all that the processors carry; back it is not limited.
    """

    def __init__(self, port: int, *, delay_s: float = 0.0, rate: float = 0.0) -> None:
        self._to, self._delay_s, self._rate = port, delay_s, rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no further links."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for one
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            time.sleep(2 * self._delay_s)  # TCP's own greeting
            far = socket.create_connection(("127.0.0.1", self._to))
            over: list[socket.socket] = []
            self._carry(near, far, self._rate, over)
            self._carry(far, near, 0.0, over)

    def _carry(
        self, source: socket.socket, sink: socket.socket, rate: float, over: list[socket.socket]
    ) -> None:
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pieces: _Pieces = queue.Queue(_PIECES)

        def give() -> None:
            _give(pieces, sink)
            over.append(sink)
            if sink is not over[0]:  # both directions have ended
                source.close()
                sink.close()

        threading.Thread(target=_take, args=(source, pieces, rate, self._delay_s), daemon=True).start()
        threading.Thread(target=give, daemon=True).start()


_Pieces = queue.Queue[tuple[float, bytes]]


def _take(source: socket.socket, pieces: _Pieces, rate: float, delay_s: float) -> None:
    """Take what comes in, each piece with the time when it is due at the other end; an empty one ends it."""
    data, due = b"-", 0.0
    while data:
        try:
            data = source.recv(_PIECE)
        except OSError:
            data = b""
        due = max(due, time.monotonic()) + (len(data) / rate if rate else 0.0)
        pieces.put((due + delay_s, data))


def _give(pieces: _Pieces, sink: socket.socket) -> None:
    """Give each piece when it is due; where nobody takes it any more, whoever sends is not kept waiting."""
    open_ = True
    while True:
        due, data = pieces.get()
        time.sleep(max(0.0, due - time.monotonic()))
        if not data:
            break
        try:
            if open_:
                sink.sendall(data)
        except OSError:
            open_ = False
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
