"""The client's side of a test device that is reached over SSH: keys, known hosts and a configuration file.

All lies in one folder, so that host keys are checked as always and nothing in ~/.ssh is read or written.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SshFiles:
    """A folder with what an SSH client needs for one host, and the server's own key.

    Attributes:
        folder: where it all lies.
        alias: the host's name in the configuration.
        port: on 127.0.0.1.
        user: who logs in where nobody is named.
    """

    folder: Path
    alias: str
    port: int
    user: str

    @property
    def identity(self) -> Path:
        """The client's private key; `.pub` beside it."""
        return self.folder / "id_ed25519"

    @property
    def host_key(self) -> Path:
        """The server's private key; `.pub` beside it."""
        return self.folder / "host_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The file in which the server's key is expected."""
        return self.folder / "known_hosts"

    @property
    def config(self) -> Path:
        """The configuration file, for EDGEKIT_SSH_CONFIG or `ssh -F`."""
        return self.folder / "config"

    @property
    def address(self) -> str:
        """The device's address."""
        return self.address_of("")

    def address_of(self, user: str) -> str:
        """Return the device's address for another user."""
        return f"ssh://{user}@{self.alias}" if user else f"ssh://{self.alias}"

    def write(self) -> None:
        """Make the keys that are not there yet, and write the other files.

        Raises:
            UsageError: ssh-keygen is not installed.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.identity, self.host_key):
            if not path.exists():
                make_key(path)
        public = self.host_key.with_suffix(".pub").read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n")
        lines = {
            "HostName": "127.0.0.1",
            "Port": self.port,
            "User": self.user,
            "IdentityFile": f'"{self.identity}"',
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": f'"{self.known_hosts}"',
            "GlobalKnownHostsFile": "/dev/null",
        }
        body = "".join(f"    {key} {value}\n" for key, value in lines.items())
        self.config.write_text(f"Host {self.alias}\n{body}")


def make_key(path: Path) -> None:
    """Make an Ed25519 key pair without a passphrase, `path` and `path.pub`.

    Raises:
        UsageError: ssh-keygen is not installed.
    """
    program = shutil.which("ssh-keygen")
    if program is None:
        raise UsageError("ssh-keygen is not installed", hint="apt-get install openssh-client")
    command = [program, "-q", "-t", "ed25519", "-N", "", "-C", "edgekit-test", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def answers(port: int) -> bool:
    """Return whether an SSH server says its name on this port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as link:
            return link.recv(8).startswith(b"SSH-2.0")
    except OSError:
        return False
