"""The test board's first process: makes its namespaces and mounts, then becomes its sshd.

Run as a program of its own (`python board_init.py SPEC`, SPEC a JSON object) because namespaces are entered
by processes, not by functions. What it makes is gone with it: the mounts live in its own mount namespace,
the writable layer in memory. Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

_NEWNS, _NEWUTS, _NEWUSER, _NEWPID = 0x20000, 0x4000000, 0x10000000, 0x20000000
_NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_MOUNT_SETATTR, _ATTR_RDONLY, _AT_RECURSIVE = 442, 1, 0x8000
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_EVERYBODY = "0 0 4294967295"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def mount(source: str, target: str | Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount, or say what could not be mounted.

    Raises:
        OSError: the kernel's reason.
    """
    words = [word.encode() if word else None for word in (source, str(target), kind)]
    if _LIBC.mount(*words, ctypes.c_ulong(flags), options.encode() or None):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {kind or source} on {target}: {os.strerror(number)}")


def enter(*, own_users: bool) -> None:
    """Leave the machine's namespaces for mounts, processes and the host name, and for users where asked.

    In a user namespace of its own the process may register qemu for itself alone.
    """
    reader, writer = os.pipe()
    helper = os.fork() if own_users else 0
    if helper == 0 and own_users:
        _map_users(os.getppid(), reader, writer)
    flags = _NEWNS | _NEWPID | _NEWUTS | (_NEWUSER if own_users else 0)
    if _LIBC.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")
    os.close(writer)
    if helper and os.waitpid(helper, 0)[1]:
        raise OSError("the user namespace got no users")


def _map_users(pid: int, reader: int, writer: int) -> None:
    """Give the parent's new user namespace all ids, as only a process outside of it can."""
    os.close(writer)
    os.read(reader, 1)
    for table in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{table}").write_text(_EVERYBODY)
    os._exit(0)


def assemble(spec: dict[str, Any]) -> Path:
    """Mount the board's file systems; return its root."""
    work = Path(spec["folder"]) / "mnt"
    work.mkdir(exist_ok=True)
    mount("", "/", flags=_REC | _PRIVATE)
    mount("tmpfs", work, "tmpfs", options="mode=755")
    upper, scratch, root = work / "upper", work / "scratch", work / "root"
    for folder in (upper, scratch, root):
        folder.mkdir()
    layers = f"lowerdir={spec['root']},upperdir={upper},workdir={scratch}"
    mount("overlay", root, "overlay", options=layers + (",userxattr" if spec["own_users"] else ""))
    mount("proc", root / "proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    mount(spec["cpuinfo"], root / "proc/cpuinfo", flags=_BIND)
    mount("/sys", root / "sys", flags=_BIND | _REC)
    _read_only(root / "sys")
    _devices(root / "dev")
    return root


def _read_only(target: Path) -> None:
    """Make a mount and all below it read-only: the machine's own /sys is no board's to change."""
    wanted = struct.pack("4Q", _ATTR_RDONLY, 0, 0, 0)
    path, flags = str(target).encode(), ctypes.c_uint(_AT_RECURSIVE)
    if _LIBC.syscall(_MOUNT_SETATTR, -1, path, flags, wanted, ctypes.c_size_t(len(wanted))):
        number = ctypes.get_errno()
        raise OSError(number, f"mount_setattr on {target}: {os.strerror(number)}")


def _devices(dev: Path) -> None:
    mount("tmpfs", dev, "tmpfs", options="mode=755")
    for name in _DEVICES:
        (dev / name).touch()
        mount(f"/dev/{name}", dev / name, flags=_BIND)
    (dev / "pts").mkdir()
    mount("devpts", dev / "pts", "devpts", options="newinstance,ptmxmode=0666,mode=620")
    (dev / "shm").mkdir(mode=0o1777)
    for name, target in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
    ):
        (dev / name).symlink_to(target)


def register(handler: str) -> None:
    """Register qemu for the binaries of the board, in this user namespace alone."""
    folder = "/proc/sys/fs/binfmt_misc"
    mount("binfmt_misc", folder, "binfmt_misc")
    Path(folder, "register").write_text(handler)


def furnish(root: Path, spec: dict[str, Any]) -> None:
    """Write what belongs to this start alone: host name, keys, sshd's configuration."""
    for name, text in spec["files"].items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
    for name, uid in spec["owners"].items():
        os.chown(root / name, uid, uid)
        (root / name).chmod(0o700 if (root / name).is_dir() else 0o600)
    (root / "run/sshd").mkdir(mode=0o755, parents=True, exist_ok=True)
    socket.sethostname(spec["hostname"])


def first_process(spec: dict[str, Any]) -> None:
    """Be the board's process 1: mount, go in, become sshd."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if spec["handler"]:
        register(spec["handler"])
    root = assemble(spec)
    furnish(root, spec)
    os.chroot(root)
    os.chdir("/")
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    sshd = "/usr/sbin/sshd"
    os.execve(sshd, [sshd, "-D", "-e", "-f", "/etc/ssh/sshd_board"], environment)  # noqa: S606  no shell is wanted


def main() -> None:
    """Start the board's first process and stay as its parent: when this one goes, the board goes."""
    spec = json.loads(sys.argv[1])
    enter(own_users=spec["own_users"])
    child = os.fork()
    if child == 0:
        first_process(spec)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: _end(child))
    if spec["detached"]:
        signal.pause()
    os.read(0, 1)  # ends when the other end of the pipe is closed, also by the death of who holds it
    _end(child)


def _end(child: int) -> None:
    """Kill the board's first process, and with it all its processes; return when they are gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os._exit(0)


if __name__ == "__main__":
    main()
