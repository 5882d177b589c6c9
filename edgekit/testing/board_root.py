"""The file system of the test board: Debian 12 for arm64, extracted and never configured.

No maintainer script runs, because under emulation they take minutes; what they would have done and the
board needs (accounts, /bin/sh, byte code) is done here, by the host.
"""

from __future__ import annotations

import compileall
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUITE = "bookworm"
PACKAGES = (
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils", "diffutils", "findutils"),
    *("grep", "gzip", "hostname", "libc-bin", "mawk", "mount", "procps", "sed", "tar", "util-linux"),
    *("libpython3.11-stdlib", "libstdc++6", "openssh-server", "python3"),
)
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")
_ACCOUNTS = (
    ("sshd", 101, 65534, "/run/sshd", "/usr/sbin/nologin"),
    ("pi", 1000, 1000, "/home/pi", "/bin/bash"),
)
_SHELL_LINKS = (("bin/sh", "dash"), ("usr/bin/awk", "mawk"))
_DRESSED = 1  # count up when `dress` changes


def cache_folder() -> Path:
    """Return where roots are kept: outside of any repository, one folder for each recipe."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return (Path(cache) / "edgekit" / "board").resolve()  # disks and mounts name it for a long time


def root_folder() -> Path:
    """Return where the root of this recipe lies, or will lie."""
    recipe = repr((SUITE, PACKAGES, _LEFT_OUT, _ACCOUNTS, _DRESSED))
    return cache_folder() / hashlib.sha256(recipe.encode()).hexdigest()[:16] / "root"


def mirror(folder: Path = Path("/etc/apt")) -> str:
    """Return the address that this machine's own apt gets the suite from, or "" where it has none."""
    for path in sorted(folder.glob("sources.list.d/*.sources")):
        for stanza in path.read_text().split("\n\n"):
            fields = dict(
                line.split(":", 1) for line in stanza.splitlines() if ":" in line and line[0] != "#"
            )
            if SUITE in fields.get("Suites", "").split():
                return fields["URIs"].split()[0]
    for path in (folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))):
        for line in path.read_text().splitlines() if path.exists() else ():
            words = re.sub(r"\[[^]]*\]", " ", line).split()
            if words[:1] == ["deb"] and SUITE in words[2:3]:
                return words[1]
    return ""


def build() -> Path:
    """Return the root's folder, built first where it is not there (20 to 60 s, most of it the download).

    Raises:
        UsageError: mmdebstrap failed; its output's tail is the evidence.
    """
    root = root_folder()
    root.parent.mkdir(parents=True, exist_ok=True)
    with alone(root.parent / "lock"):
        if not root.exists():
            work = Path(tempfile.mkdtemp(prefix="building-", dir=root.parent))
            try:
                extract(work / "root", PACKAGES)
                dress(work / "root")
                (work / "root").rename(root)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return root


def dress(root: Path) -> None:
    """Do what maintainer scripts would have done, as far as the board needs it."""
    master = root / "usr/share/base-passwd"
    passwd = (master / "passwd.master").read_text().replace(":*:", ":x:").splitlines()
    passwd = [line for line in passwd if not line.startswith("root:")]
    passwd.insert(0, "root:x:0:0:root:/root:/bin/bash")
    passwd += [f"{name}:x:{uid}:{gid}::{home}:{shell}" for name, uid, gid, home, shell in _ACCOUNTS]
    _write(root / "etc/passwd", passwd)
    _write(root / "etc/group", [*(master / "group.master").read_text().splitlines(), "pi:x:1000:"])
    _write(root / "etc/shadow", [f"{line.split(':')[0]}:*:19000:0:99999:7:::" for line in passwd], mode=0o600)
    _write(root / "etc/hosts", ["127.0.0.1 localhost"])
    for folder in ("dev", "proc", "sys", "run/sshd", "tmp", "var/tmp", "root", "home/pi"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("tmp", "var/tmp"):
        (root / folder).chmod(0o1777)
    (root / "root").chmod(0o700)
    os.chown(root / "home/pi", 1000, 1000)
    for name, program in _SHELL_LINKS:
        if not (root / name).exists():
            (root / name).symlink_to(program)
    if sys.version_info[:2] == (3, 11):  # another Python's byte code would not be read there
        compileall.compile_dir(root / "usr/lib/python3.11", quiet=2, stripdir=str(root), workers=0)


def extract(root: Path, packages: Sequence[str]) -> None:
    """Unpack Debian packages for arm64, and what they need, into a new folder; no script of theirs runs.

    Raises:
        UsageError: mmdebstrap failed; its output's tail is the evidence.
    """
    command = [
        *("mmdebstrap", "--quiet", "--mode=root", "--architectures=arm64", "--variant=extract"),
        *("--skip=check/qemu", f"--include={','.join(packages)}", '--aptopt=APT::Install-Recommends "false"'),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
        *(SUITE, str(root), mirror()),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        hint = "check that apt-get update works"
        raise UsageError(f"mmdebstrap ended with {done.returncode}: {last}", hint=hint, evidence=done.stderr)
    for cache in ("var/lib/apt/lists", "var/cache/apt"):
        shutil.rmtree(root / cache, ignore_errors=True)


def _write(path: Path, lines: list[str], *, mode: int = 0o644) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(mode)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock file: two sessions that want the same root build it once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
