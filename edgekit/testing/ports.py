"""Ports of the loopback for test servers."""

from __future__ import annotations

import socket

_ADB_PORTS = range(5555, 5586)


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now and that no adb server takes for an emulator's."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        if port not in _ADB_PORTS:
            return port


def listens(port: int) -> bool:
    """Whether somebody listens on a port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
