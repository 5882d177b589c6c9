"""The slow link of the measurements: what goes in comes out, in order, no sooner than it says."""

import socket
import threading
import time
from contextlib import closing

import pytest

from edgekit.testing.link import SlowLink

SENT = bytes(range(256)) * 4096  # 1 MiB


class Echo:
    """A server that gives one client everything back when its input has ended."""

    def __init__(self, listener):
        self._listener, self.port = listener, listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        near, _ = self._listener.accept()
        with near:
            data = b"".join(iter(lambda: near.recv(1 << 16), b""))
            near.sendall(data)

    def has_ended(self):
        self._thread.join(60)
        return not self._thread.is_alive()


@pytest.fixture
def echo():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Echo(listener)
        yield server
        assert server.has_ended()


def answer(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as way:
        way.sendall(b"-")
        way.shutdown(socket.SHUT_WR)
        return way.recv(1)


@pytest.mark.parametrize(
    ("slowness", "least_s"), [({}, 0.0), ({"delay_s": 0.05}, 0.2), ({"rate": 4 << 20}, 0.25)]
)
def test_bytes_come_through_whole_and_not_too_soon(echo, slowness, least_s):
    with closing(SlowLink(echo.port, **slowness)) as link:
        begin = time.monotonic()
        with socket.create_connection(("127.0.0.1", link.port), timeout=60) as way:
            way.sendall(SENT)
            way.shutdown(socket.SHUT_WR)
            got = b"".join(iter(lambda: way.recv(1 << 16), b""))
        assert got == SENT
        assert time.monotonic() - begin >= least_s  # there, back, and TCP's own greeting


def test_one_that_is_closed_takes_nobody(echo):
    link = SlowLink(echo.port)
    link.close()
    with pytest.raises(OSError):
        answer(link.port)
    assert answer(echo.port) == b"-"


def test_who_hangs_up_ends_the_other_side_too(echo):
    with closing(SlowLink(echo.port, delay_s=0.01)) as link:
        way = socket.create_connection(("127.0.0.1", link.port), timeout=60)
        way.sendall(SENT)
        way.close()
        assert echo.has_ended()
