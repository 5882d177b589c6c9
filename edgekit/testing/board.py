"""An aarch64 board on this machine: a Debian 12 arm64 userland under qemu-user with a real OpenSSH server.

    python -m edgekit.testing.board build     make its file system (once; 20 to 60 s, 180 MB in the cache)
    python -m edgekit.testing.board up        start one that stays; prints how to reach it
    python -m edgekit.testing.board where     say where it is and whether it runs
    python -m edgekit.testing.board down      stop it

or in a test:

    with Board() as board:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(board.ssh_config))
        transport = open_transport(Device.parse(board.address))

It needs Linux, root, and the packages mmdebstrap, qemu-user-static and openssh-client; `unavailable()` says
what is missing. It listens on 127.0.0.1 only. Each start has new keys and a clean file system: the root
lies read-only below an overlay in memory. (Copying the root for each start would do without overlayfs, but
cost seconds and 180 MB of disk each time; every kernel that has the rest has overlayfs.) Since Linux 6.7
qemu is registered for the board alone, in a user namespace; before, for the whole machine.

It has its own processes, mounts and host name, and this machine's kernel: /sys is this machine's,
/proc/cpuinfo is made up, floating point is emulated in software. So it proves that things work on aarch64,
never how fast.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from edgekit.errors import UsageError
from edgekit.testing import board_root
from edgekit.testing.ports import free_port
from edgekit.testing.ssh_files import SshFiles, answers

USERS = ("root", "pi")
CPU = "cortex-a72"
_HANDLER = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_OWN_BINFMT = (6, 7)  # since this kernel a user namespace has handlers of its own
_ADMIN = 21  # CAP_SYS_ADMIN's bit
_READY_S = 30.0
_STATE = "up.json"
_SSHD = """Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/host_ed25519
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxStartups 50
SetEnv QEMU_CPU={cpu}
Subsystem sftp internal-sftp
"""


class Board:
    """One running board; use it in a `with` statement, or start and stop it.

    Args:
        user: who logs in at `address`, one of USERS.
        detached: it outlives this process; otherwise it ends with it, however that ends.
        cpu: qemu's word for the processor it plays. The default is the one that /proc/cpuinfo tells of;
            "max" has all that qemu 7.2 can do, and there LiteRT 2.3's int8 kernels for SVE go wrong.

    Attributes:
        files: keys, known hosts and configuration of its client.
        process: the process that holds it up, when it runs.
    """

    def __init__(self, *, user: str = "root", detached: bool = False, cpu: str = CPU) -> None:
        self._user = user
        self._cpu = cpu
        self._detached = detached
        self.process: subprocess.Popen[bytes] | None = None
        self.files = SshFiles(folder=Path(), alias="", port=0, user=user)

    @property
    def address(self) -> str:
        """The device's address, for a client that reads `ssh_config`."""
        return self.files.address

    @property
    def ssh_config(self) -> Path:
        """The client's configuration file, for EDGEKIT_SSH_CONFIG or `ssh -F`."""
        return self.files.config

    @property
    def identity(self) -> Path:
        """The client's private key."""
        return self.files.identity

    @property
    def port(self) -> int:
        """Its sshd's port on 127.0.0.1."""
        return self.files.port

    @property
    def log(self) -> Path:
        """What its sshd says."""
        return self.files.folder / "sshd.log"

    def address_of(self, user: str) -> str:
        """Return the address for another user."""
        return self.files.address_of(user)

    def start(self) -> None:
        """Start it and wait until its sshd answers; its root is built first where it is not there.

        Raises:
            UsageError: it can't be used here, or does not come up; the log is the evidence.
        """
        if reason := unavailable():
            raise UsageError("no board can run here", hint=reason)
        root = board_root.build()
        folder = Path(tempfile.mkdtemp(prefix="edgekit-board-"))
        port = free_port()
        self.files = SshFiles(folder=folder, alias=f"edgekit-board-{port}", port=port, user=self._user)
        self.files.write()
        spec = json.dumps(self._spec(root))
        program = Path(__file__).with_name("board_init.py")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", str(program), spec],
                stdin=subprocess.DEVNULL if self._detached else subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_ready()

    def stop(self) -> None:
        """Stop it and remove its files; stopping twice is fine."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=_READY_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
        shutil.rmtree(self.files.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _spec(self, root: Path) -> dict[str, Any]:
        """Return what board_init needs to know."""
        own_users = not _registered() and _kernel() >= _OWN_BINFMT
        if not own_users and not _registered():
            _register_globally()
        public = self.files.identity.with_suffix(".pub").read_text()
        return {
            "root": str(root),
            "folder": str(self.files.folder),
            "cpuinfo": str(Path(__file__).with_name("cortex-a72.cpuinfo")),
            "hostname": "edgekit-board",
            "own_users": own_users,
            "handler": _HANDLER.read_text().strip() if own_users else "",
            "detached": self._detached,
            "files": {
                "etc/hostname": "edgekit-board\n",
                "etc/ssh/sshd_board": _SSHD.format(port=self.files.port, cpu=self._cpu),
                "etc/ssh/host_ed25519": self.files.host_key.read_text(),
                "root/.ssh/authorized_keys": public,
                "home/pi/.ssh/authorized_keys": public,
            },
            "owners": {"root/.ssh": 0, "home/pi/.ssh": 1000, "home/pi/.ssh/authorized_keys": 1000},
        }

    def _wait_ready(self) -> None:
        end = time.monotonic() + _READY_S
        while not answers(self.files.port):
            if self.process is None or self.process.poll() is not None or time.monotonic() > end:
                said = self.log.read_text(errors="replace")
                self.stop()
                last = (said.strip().splitlines() or ["no output"])[-1]
                raise UsageError(f"the board does not come up: {last}", evidence=said)
            time.sleep(0.05)


def unavailable() -> str:
    """Return why no board can run here, or "" when one can."""
    if sys.platform != "linux":
        return "the board needs Linux"
    filesystems = Path("/proc/filesystems").read_text().split()
    built = board_root.root_folder().exists()
    doubts = {
        "the board needs root, with the right to mount": os.geteuid() == 0 and _may_mount(),
        "the board needs a kernel with overlayfs": "overlay" in filesystems,
        "the board needs a kernel with binfmt_misc": _BINFMT.exists(),
        f"apt has no source for Debian's {board_root.SUITE} here": built or bool(board_root.mirror()),
    }
    packages = {
        "qemu-user-static": _HANDLER.exists(),
        "openssh-client": bool(shutil.which("ssh-keygen")),
        "mmdebstrap": built or bool(shutil.which("mmdebstrap")),
    }
    if missing := [name for name, there in packages.items() if not there]:
        doubts[f"not installed: apt-get install --no-install-recommends {' '.join(missing)}"] = False
    return next((reason for reason, fine in doubts.items() if not fine), "")


def _may_mount() -> bool:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> _ADMIN & 1)


def _registered() -> bool:
    return platform.machine() == "aarch64" or (_BINFMT / "qemu-aarch64").exists()


def _kernel() -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])


def _register_globally() -> None:
    """Register qemu for the whole machine, as the package does where systemd runs; it stays."""
    if not (_BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(_BINFMT)], check=True)
    (_BINFMT / "register").write_text(_HANDLER.read_text())


# --- the program -------------------------------------------------------------------------------------
def up() -> str:
    """Start a board that stays; return how to reach it."""
    state = _state()
    if state:
        return f"it runs already\n{state['text']}"
    board = Board(detached=True)
    board.start()
    assert board.process is not None
    pid = board.process.pid
    text = (
        f"address: {board.address}\nconfig:  {board.ssh_config}\nport:    {board.port}\npid:     {pid}\n"
        f"shell:   ssh -F {board.ssh_config} {board.files.alias}\n"
        f"edgekit: EDGEKIT_SSH_CONFIG={board.ssh_config} edgekit ... --device {board.address}"
    )
    state = {"pid": pid, "began": _began(pid), "folder": str(board.files.folder), "text": text}
    path = board_root.cache_folder() / _STATE
    path.write_text(json.dumps(state))
    board.process.returncode = 0  # it is not ours to wait for any more
    return text


def down() -> str:
    """Stop the board that `up` started; return what was done."""
    state = _state()
    if not state:
        return "no board runs"
    os.kill(state["pid"], signal.SIGTERM)
    end = time.monotonic() + _READY_S
    while _began(state["pid"]) == state["began"] and time.monotonic() < end:
        time.sleep(0.05)
    shutil.rmtree(state["folder"], ignore_errors=True)
    (board_root.cache_folder() / _STATE).unlink()
    return f"stopped {state['pid']}"


def where() -> str:
    """Return where the root lies and how the board that `up` started is reached."""
    root = board_root.root_folder()
    state = _state()
    built = "" if root.exists() else " (not built)"
    return f"root:    {root}{built}\n" + (state["text"] if state else "no board runs")


def _state() -> dict[str, Any]:
    """Return what `up` wrote, when that very process still runs: its id may be another's by now."""
    path = board_root.cache_folder() / _STATE
    state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return state if state and _began(state["pid"]) == state["began"] else {}


def _began(pid: int) -> str:
    """Return when a process began, in the kernel's ticks, or "" when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def main(arguments: list[str]) -> int:
    """Do what the command line says; return its exit code."""
    commands = {"build": lambda: str(board_root.build()), "up": up, "down": down, "where": where}
    if len(arguments) != 1 or arguments[0] not in commands:
        sys.stderr.write(f"usage: python -m edgekit.testing.board {'|'.join(commands)}\n")
        return 2
    if arguments[0] == "build" and (reason := unavailable()):
        sys.stderr.write(f"no board can run here: {reason}\n")
        return 1
    try:
        sys.stdout.write(commands[arguments[0]]() + "\n")
    except UsageError as error:
        sys.stderr.write(f"{error}\n{error.evidence}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
