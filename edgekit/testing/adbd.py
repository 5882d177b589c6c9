"""A real adbd, run as a fake device: this machine as a Linux board, or a folder as a phone.

    with linux_board(tmp_path) as board:     # the host's programs; EdgeKit's folder is in tmp_path
        ...                                  # adb connect {board.serial}
    with phone(tmp_path) as fake:            # mksh, toybox, uid 2000, /data/local/tmp; no Python, no glibc
        ...

Both listen on the loopback only, on a port far from those that every adb server scans.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edgekit.errors import UsageError
from edgekit.testing import adbd_fetch
from edgekit.testing.adb_server import free_port, listens
from edgekit.testing.adbd_phone import build_phone, daemon_command, enter_script

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

MARK = "EDGEKIT_ADBD"
_START_S = 10.0
_POLL_S = 0.02


class Adbd:
    """One daemon.

    Args:
        argv: what runs it.
        env: its environment, which its commands get too.
        folder: EdgeKit's own folder may lie in there; the log does.
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._argv = list(argv)
        self._mark = secrets.token_hex(8)
        self._env = {**env, "ADBD_PORT": str(self.port), MARK: self._mark}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def serial(self) -> str:
        """Its name for `adb connect` and `adb -s`."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start the daemon, on the port it had before if it ran already.

        Raises:
            RuntimeError: it does not listen; its log's tail is in the message.
        """
        log = self.folder / "adbd.log"
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                self._argv, env=self._env, cwd="/", stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
            )
        end = time.monotonic() + _START_S
        while not listens(self.port):
            if time.monotonic() > end or self._process.poll() is not None:
                self.stop()
                raise RuntimeError(f"adbd does not come up: {log.read_text(errors='replace')[-500:]}")
            time.sleep(_POLL_S)
        return self

    @property
    def running(self) -> bool:
        """Whether the daemon is there."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill the daemon and nothing else, as a cable that is pulled; its commands run on."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Kill the daemon and everything it ever started."""
        self.kill()
        for pid in marked_processes(f"{MARK}={self._mark}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def linux_board(folder: Path) -> Adbd:
    """Return a daemon whose commands run on this machine, as this user, with the machine's programs.

    Args:
        folder: an empty folder; EdgeKit's own folder on the device is in there.

    Raises:
        UsageError: a real adbd can't be had here.
    """
    kit = adbd_fetch.fetch()
    env = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "EDGEKIT_HOME": str(folder / "edgekit"),
    }
    return Adbd(kit.command(kit.adbd, preload=str(kit.loopback)), env=env, folder=folder)


def phone(folder: Path) -> Adbd:
    """Return a daemon in a root of its own with a phone's shell and tools, as the user `shell`.

    Args:
        folder: an empty folder; the phone's root is `folder/root`.

    Raises:
        UsageError: a real adbd can't be had here, or this is not root.
    """
    reason = unavailable(as_phone=True)
    if reason:
        raise UsageError(reason)
    kit = adbd_fetch.fetch()
    root = folder / "root"
    root.mkdir()
    build_phone(root, kit)
    argv = ["unshare", "--mount", "sh", "-c", enter_script(), "sh", str(root), *daemon_command(kit)]
    env = {"PATH": os.environ.get("PATH", os.defpath), "ANDROID_ROOT": "/system", "ANDROID_DATA": "/data"}
    return Adbd(argv, env=env, folder=folder)


def unavailable(*, as_phone: bool = False) -> str:
    """Return why there is no real adbd here, or "" when nothing speaks against it.

    Args:
        as_phone: whether it is wanted as a phone, which takes root.
    """
    if as_phone and os.geteuid() != 0:
        return "a fake phone needs root, for chroot and mount"
    return adbd_fetch.unavailable()


def marked_processes(mark: str) -> Iterator[int]:
    """Yield the ids of the processes that have NAME=VALUE in their environment.

    Args:
        mark: "NAME=VALUE".
    """
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)
