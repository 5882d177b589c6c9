"""This machine's own OpenSSH server as a private instance: loopback, own keys and configuration, own home."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from edgekit.errors import UsageError
from edgekit.testing import processes
from edgekit.testing.ports import free_port
from edgekit.testing.ssh_files import SshFiles, answers

_READY_S = 15.0
_CONFIG = """Port {port}
ListenAddress 127.0.0.1
HostKey "{files.host_key}"
AuthorizedKeysFile "{keys}"
PidFile none
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxStartups 50
SetEnv HOME="{home}"
Subsystem sftp internal-sftp
{more}
"""


def sshd_program() -> str:
    """Return the path of the machine's sshd, or "" where there is none."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") or ""


class Sshd:
    """One running sshd; use it in a `with` statement. The login is the user who runs it.

    Args:
        more: further lines of its configuration.
        knows_key: whether the client's key opens; else it takes what `more` names.

    Attributes:
        files: keys, known hosts and configuration of its client.
    """

    def __init__(self, *, more: str = "", knows_key: bool = True) -> None:
        self._more = more
        self._knows_key = knows_key
        self._process: subprocess.Popen[bytes] | None = None
        self.files = SshFiles(folder=Path(), alias="", port=0, user="")

    @property
    def home(self) -> Path:
        """The login's home."""
        return self.files.folder / "home"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            UsageError: there is none here, or it does not come up.
        """
        program = sshd_program()
        if not program:
            raise UsageError("sshd is not installed", hint="apt-get install openssh-server")
        if os.geteuid() == 0:  # its privilege separation wants this folder, which its service makes at boot
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        folder, port = Path(tempfile.mkdtemp(prefix="edgekit-sshd-")), free_port()
        self.files = SshFiles(folder=folder, alias=f"edgekit-sshd-{port}", port=port, user=getpass.getuser())
        self.files.write()
        self.home.mkdir()
        keys = f"{self.files.identity}.pub" if self._knows_key else "none"
        config = _CONFIG.format(port=port, files=self.files, keys=keys, home=self.home, more=self._more)
        (folder / "sshd_config").write_text(config)
        self._serve(program)

    def restart(self) -> None:
        """Let it be there again, at the same address, after `cut`."""
        self._serve(sshd_program())

    def _serve(self, program: str) -> None:
        folder, port = self.files.folder, self.files.port
        with (folder / "log").open("ab") as log:
            command = [program, "-D", "-e", "-f", str(folder / "sshd_config")]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + _READY_S
        while not answers(port):
            if self._process.poll() is not None or time.monotonic() > end:
                said = (folder / "log").read_text(errors="replace")
                self.stop()
                raise UsageError(f"sshd does not come up: {said}", evidence=said)
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it, its sessions included; stopping twice is fine."""
        process, self._process = self._process, None
        if process is None:
            return
        for pid in [*_children(process.pid), process.pid]:
            _kill(pid)
        process.wait()
        shutil.rmtree(self.files.folder, ignore_errors=True)

    def cut(self) -> None:
        """Make it dead without a word: no session, no listener."""
        assert self._process is not None
        for pid in [self._process.pid, *_children(self._process.pid)]:
            _kill(pid)
        self._process.wait()

    def cut_sessions(self) -> None:
        """Kill its sessions; it takes new ones. What they ran may run on."""
        assert self._process is not None
        for pid in _children(self._process.pid):
            with contextlib.suppress(OSError):  # it is gone already
                if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                    _kill(pid)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _children(pid: int) -> list[int]:
    """Return the processes below one, the deepest first."""
    found = []
    for child, stat in processes.told("stat"):
        if int(stat.rpartition(b")")[2].split()[1]) == pid:
            found += [*_children(child), child]
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return
