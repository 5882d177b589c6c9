"""An adb program with a server of its own, so that a test touches neither the user's server nor keys."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Self

from edgekit.runners.transport.adb_client import bundled_adb
from edgekit.testing.ports import free_port, listens

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_TIMEOUT_S = 20.0
_POLL_S = 0.02
_NO_SCAN = "5553"  # below the first port that a server would look for emulators on

PROGRAMS = ("system", "bundled")
"""The adb on PATH, and the one that the adbutils package brings."""


def program(name: str) -> str:
    """Return the path of an adb program, or "" where it is not installed.

    Args:
        name: one of PROGRAMS.
    """
    return (shutil.which("adb") or "") if name == "system" else bundled_adb()


class PrivateAdb:
    """One adb program and its server on a free port of the loopback.

    Args:
        path: the program.
        home: a folder for its keys and logs.
    """

    def __init__(self, path: str, home: Path) -> None:
        self.path = path
        self.home = home
        self.port = free_port()
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to use this program and this server."""
        return {
            "EDGEKIT_ADB": self.path,
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "ANDROID_ADB_SERVER_PORT": str(self.port),
            "ADB_LOCAL_TRANSPORT_MAX_PORT": _NO_SCAN,
            "ADB_MDNS": "0",
            "ADB_LIBUSB": "0",
            "ADB_USB": "0",
        }

    def run(self, *words: str) -> str:
        """Run an adb command; return what it printed, errors included, whatever its exit code."""
        done = subprocess.run(
            [self.path, *words],
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_S,
            check=False,
        )
        return done.stdout.decode("utf-8", "replace").strip()

    def start(self) -> Self:
        """Start the server and wait until it listens.

        Raises:
            TimeoutError: it does not come up.
        """
        self._server = subprocess.Popen(
            [self.path, "nodaemon", "server"],
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + _TIMEOUT_S
        while not listens(self.port):
            if time.monotonic() > end or self._server.poll() is not None:
                self.stop()
                raise TimeoutError(f"the server of {self.path} does not come up")
            time.sleep(_POLL_S)
        return self

    def stop(self) -> None:
        """End the server, and the one that a client may have started in its place."""
        if listens(self.port):
            self.run("kill-server")
        if self._server:
            self._server.kill()
            self._server.wait()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
