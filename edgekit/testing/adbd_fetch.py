"""Android's own adb daemon for plain Linux, with Android's shell and tools, fetched from Debian.

Debian 13 builds AOSP's adbd, mksh and toybox. They are downloaded once with apt (checked against Debian's
keys, nothing is installed) into $XDG_CACHE_HOME/edgekit/adbd/, with a libc of their own beside them. The
daemon binds every address there is; a small library loaded before it keeps it to the loopback.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import UsageError

SUITE = "trixie"
USERLAND = ("mksh", "toybox", "busybox-static")
PACKAGES = ("adbd", "patchelf", *USERLAND)
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Settled at import: a test that runs an adb server has another HOME later.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekit" / "adbd"
_TOOLS = ("apt-get", "dpkg", "gcc")
_FETCH_TIMEOUT_S = 300.0
_LOADERS = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

LOOPBACK_SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* No vsock at all; what would be bound to every address is bound to the loopback. */
int socket(int domain, int type, int protocol) {
  if (domain == AF_VSOCK) { errno = EAFNOSUPPORT; return -1; }
  return syscall(SYS_socket, domain, type, protocol);
}

int bind(int fd, const struct sockaddr *where, socklen_t size) {
  static const unsigned char mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
  struct sockaddr_in6 six;
  struct sockaddr_in four;
  if (where->sa_family == AF_INET6 && size >= sizeof six) {
    memcpy(&six, where, sizeof six);
    if (IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr)) memcpy(&six.sin6_addr, mapped, sizeof mapped);
    return syscall(SYS_bind, fd, &six, sizeof six);
  }
  if (where->sa_family == AF_INET && size >= sizeof four) {
    memcpy(&four, where, sizeof four);
    if (four.sin_addr.s_addr == htonl(INADDR_ANY)) four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return syscall(SYS_bind, fd, &four, sizeof four);
  }
  return syscall(SYS_bind, fd, where, size);
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """The fetched programs.

    Attributes:
        folder: the packages' files, as they would lie under /.
        triplet: the machine's name in Debian's library paths, without the libc ("x86_64-linux").
        loader_name: file name of the dynamic loader.
    """

    folder: Path
    triplet: str
    loader_name: str

    @property
    def libraries(self) -> Path:
        """The folder of the packages' own libraries."""
        return self.folder / "usr/lib" / f"{self.triplet}-gnu"

    @property
    def loader(self) -> Path:
        """The dynamic loader that goes with them."""
        return self.libraries / self.loader_name

    @property
    def adbd(self) -> Path:
        """The daemon; it runs by the loader alone."""
        return self.folder / "usr/lib/android-sdk/platform-tools/adbd"

    @property
    def shell(self) -> Path:
        """Android's shell, linked statically."""
        return self.folder / "usr/lib" / f"{self.triplet}-musl/bin/mksh"

    @property
    def toybox(self) -> Path:
        """Android's command line tools; needs `libcrypt`, `libm` and `libc`."""
        return self.folder / "usr/bin/toybox"

    @property
    def busybox(self) -> Path:
        """The tools that Android's toybox has and Debian's lacks; linked statically."""
        return self.folder / "usr/bin/busybox"

    @property
    def loopback(self) -> Path:
        """The library that keeps the daemon to the loopback."""
        return self.folder / "loopback.so"

    def command(self, program: Path, *arguments: str, preload: str = "") -> list[str]:
        """Return what runs one of the programs on this machine with its own libraries."""
        paths = f"{self.libraries}:{self.libraries / 'android'}"
        before = ["--preload", preload] if preload else []
        return [str(self.loader), "--library-path", paths, *before, str(program), *arguments]


def unavailable(machine: str = "") -> str:
    """Return why the kit can't be had on this machine, or "" when nothing speaks against it.

    Args:
        machine: whose programs are wanted; empty for this machine's.
    """
    machine = machine or platform.machine()
    if machine not in _LOADERS:
        return f"Debian's adbd is taken for {' and '.join(_LOADERS)} only"
    if _kit(machine).folder.exists():
        return ""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"a real adbd takes {', '.join(missing)} to fetch"
    if not KEYRING.is_file():
        return "a real adbd takes Debian's keys to fetch: apt install debian-archive-keyring"
    return "" if _mirror() else "there is no Debian mirror among apt's sources"


def fetch(machine: str = "") -> Kit:
    """Return the kit, downloaded first where the cache has none.

    Args:
        machine: whose programs are wanted ("aarch64"); empty for this machine's. Of another machine there
            are the shell and the tools alone.

    Raises:
        UsageError: it can't be had on this machine, or the download failed.
    """
    machine = machine or platform.machine()
    reason = unavailable(machine)
    if reason:
        raise UsageError(reason)
    kit = _kit(machine)
    if not kit.folder.exists():
        kit.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kit.folder.parent) as work:
            _build(Path(work), machine)
            # Somebody else may have been faster with the same thing.
            if not kit.folder.exists():
                (Path(work) / "tree").rename(kit.folder)
    return kit


def _packages(machine: str) -> tuple[str, ...]:
    return PACKAGES if machine == platform.machine() else USERLAND


def _kit(machine: str) -> Kit:
    recipe = "\n".join((SUITE, *_packages(machine), machine, LOOPBACK_SOURCE))
    folder = CACHE / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    return Kit(folder=folder, triplet=f"{machine}-linux", loader_name=_LOADERS[machine])


def _build(work: Path, machine: str) -> None:
    tree = work / "tree"
    tree.mkdir()
    config = _apt_config(work, _ARCHITECTURES[machine])
    _run(["apt-get", "update"], config)
    _run(["apt-get", "install", "--yes", "--download-only", *_packages(machine)], config)
    for package in sorted((work / "cache/archives").glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(tree)], config)
    if machine == platform.machine():
        (work / "loopback.c").write_text(LOOPBACK_SOURCE, encoding="utf-8")
        output = str(tree / "loopback.so")
        _run(["gcc", "-shared", "-fPIC", "-O1", "-o", output, str(work / "loopback.c")], config)


def _apt_config(work: Path, architecture: str) -> Path:
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources.list").write_text(
        f"deb [signed-by={KEYRING}] {_mirror()} {SUITE} main\n", encoding="utf-8"
    )
    config = work / "apt.conf"
    config.write_text(
        f'APT::Architecture "{architecture}"; APT::Architectures "{architecture}";\n'
        f'Dir::Etc::sourcelist "{work}/sources.list"; Dir::Etc::sourceparts "-";\n'
        f'Dir::State::lists "{work}/lists"; Dir::State::status "{work}/status"; Dir::Cache "{work}/cache";\n'
        'APT::Install-Recommends "false"; APT::Sandbox::User ""; Acquire::Languages "none";\n'
        'Acquire::Retries "1"; Debug::NoLocking "true";\n',
        encoding="utf-8",
    )
    return config


def _run(argv: list[str], config: Path) -> str:
    done = subprocess.run(
        argv,
        env={**os.environ, "APT_CONFIG": str(config), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_FETCH_TIMEOUT_S,
        check=False,
        text=True,
    )
    if done.returncode != 0:
        last = done.stdout.strip().splitlines()[-1:] or ["no output"]
        raise UsageError(f"a real adbd can't be fetched: {argv[0]}: {last[0]}", evidence=done.stdout)
    return done.stdout


@functools.cache
def _mirror() -> str:
    """Return the machine's own Debian mirror, "" when apt knows none."""
    query = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    return next((uri for uri in listed if uri.rstrip("/").endswith("/debian")), "")
