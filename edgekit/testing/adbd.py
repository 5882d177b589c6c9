"""A real adbd, run as a fake device: this machine as a Linux board, or a folder as a phone.

    with linux_board(tmp_path) as board:     # the host's programs; EdgeKit's folder is in tmp_path
        ...                                  # adb connect {board.serial}
    with phone(tmp_path) as fake:            # mksh, toybox, uid 2000, /data/local/tmp; no Python, no glibc
        ...
    with phone(tmp_path, machine="aarch64") as fake:   # the same with an ARM's programs, run by qemu-user
        ...

They listen on the loopback only, on a port far from those that every adb server scans.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edgekit.errors import UsageError
from edgekit.testing import adbd_fetch, processes
from edgekit.testing.adbd_phone import QEMU, build_phone, enter_command
from edgekit.testing.ports import free_port, listens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

MARK = "EDGEKIT_ADBD"
_START_S = 10.0
_POLL_S = 0.02
_OWN_BINFMT = (6, 7)


class Adbd:
    """One daemon.

    Args:
        argv: what runs it.
        env: its environment, which its commands get too.
        folder: EdgeKit's own folder may lie in there; the log does.
        own_users: whether it makes a user namespace and waits for a line when its users are mapped.
    """

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], folder: Path, own_users: bool = False
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self._argv = list(argv)
        self._own_users = own_users
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
                self._argv, env=self._env, cwd="/", stdin=subprocess.PIPE, stdout=sink, stderr=sink
            )
        if self._process.stdin:
            if self._own_users:
                map_users(self._process.pid)
                self._process.stdin.write(b"mapped\n")
            self._process.stdin.close()
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


def phone(folder: Path, *, machine: str = "") -> Adbd:
    """Return a daemon in a root of its own with a phone's shell and tools, as the user `shell`.

    Args:
        folder: an empty folder; the phone's root is `folder/root`.
        machine: "aarch64" for an ARM's programs, run by qemu-user where this machine is none; empty for
            this machine's. Of speed an emulated one says nothing.

    Raises:
        UsageError: a real adbd can't be had here, or this is not root.
    """
    reason = unavailable(as_phone=True, machine=machine)
    if reason:
        raise UsageError(reason)
    emulated = machine not in ("", platform.machine())
    kit = adbd_fetch.fetch()
    root = folder / "root"
    root.mkdir()
    build_phone(root, kit, adbd_fetch.fetch(machine) if emulated else None)
    argv = enter_command(root, kit, emulated=emulated)
    env = {"PATH": os.environ.get("PATH", os.defpath), "ANDROID_ROOT": "/system", "ANDROID_DATA": "/data"}
    return Adbd(argv, env=env, folder=folder, own_users=emulated)


def unavailable(*, as_phone: bool = False, machine: str = "") -> str:
    """Return why there is no real adbd here, or "" when nothing speaks against it.

    Args:
        as_phone: whether it is wanted as a phone, which takes root.
        machine: whose programs the phone has; empty for this machine's.
    """
    if as_phone and os.geteuid() != 0:
        return "a fake phone needs root, for chroot and mount"
    if machine not in ("", platform.machine()):
        if not QEMU.is_file():
            return "a phone of another machine needs qemu: apt install qemu-user-static"
        if tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2]) < _OWN_BINFMT:
            return "a phone of another machine needs Linux 6.7, where qemu is registered for it alone"
    return adbd_fetch.unavailable() or adbd_fetch.unavailable(machine)


def map_users(pid: int) -> None:
    """Wait until a process has a user namespace of its own, then give it all users there are.

    Raises:
        TimeoutError: it does not make one.
    """
    ours = Path("/proc/self/ns/user").readlink()
    end = time.monotonic() + _START_S
    while Path(f"/proc/{pid}/ns/user").readlink() == ours:
        if time.monotonic() > end:
            raise TimeoutError(f"process {pid} makes no user namespace")
        time.sleep(_POLL_S)
    for table in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{table}").write_text("0 0 4294967295", encoding="ascii")


def marked_processes(mark: str) -> Iterator[int]:
    """Yield the ids of the processes that have NAME=VALUE in their environment.

    Args:
        mark: "NAME=VALUE".
    """
    for pid, words in processes.told("environ"):
        if mark.encode() in words.split(b"\0"):
            yield pid
