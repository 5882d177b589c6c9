"""The virtual board's disk: Debian 12 for arm64 with its own kernel, EdgeKit's runtimes, an initramfs.

The kernel is the generic one: Debian's cloud kernels have none of the sensors. Its modules are thinned out to
those that a test needs; on this kernel even the disk and its file system are modules, hence the initramfs.
The runtimes lie where EdgeKit's own installation would have put them, because unpacking them on the board
takes a minute of emulated time.
"""

from __future__ import annotations

import compileall
import gzip
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

from edgekit.errors import UsageError
from edgekit.runners.facts import Facts, read_facts
from edgekit.runners.runtime import runtime_for
from edgekit.runners.wheels import choose, fetch, requirements, site_name
from edgekit.testing import board_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

PACKAGES = (*board_root.PACKAGES, "busybox-static", "iproute2", "kmod", "linux-image-arm64")
FORMATS = ("tflite", "onnx")
_FOR_ROOT = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
_FOR_BOARD = (
    *("virtio_net", "cpufreq-dt", "cpufreq_powersave", "cpufreq_userspace", "cpufreq_ondemand"),
    *("cpufreq_conservative", "sch_netem", "xhci-pci", "i2c-dev", "i2c-tiny-usb", "ina2xx-adc", "tmp102"),
    *("ltc4215", "lm75"),
)
_DISK = "2G"
_MODE_FILE, _MODE_FOLDER = 0o100755, 0o40755
_SSHD = """HostKey /etc/ssh/host_ed25519
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
MaxStartups 50
Subsystem sftp internal-sftp
"""
_INITTAB = """::sysinit:/etc/start-board
::respawn:/usr/sbin/sshd -D -e
::ctrlaltdel:/bin/busybox reboot
"""
_START = """#!/bin/sh
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/sshd /dev/pts /dev/shm
mount -t devpts none /dev/pts
for folder in /tmp /dev/shm; do mount -t tmpfs -o mode=1777 none $folder; done
modprobe -a {modules}
hostname edgekit-virtual
ip link set lo up
until [ -e /sys/class/net/eth0 ]; do sleep 0.1; done
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
"""
_INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
for module in {modules}; do /bin/busybox insmod /modules/$module; done
until [ -b /dev/vda ]; do /bin/busybox sleep 0.05; done
/bin/busybox mount -t ext4 -o noatime /dev/vda /root
for folder in proc sys dev; do /bin/busybox mount --move /$folder /root/$folder; done
exec /bin/busybox switch_root /root /sbin/init
"""
_FACTS = b"""edgekit-facts 1
machine\taarch64
system\tLinux
bits\t64
libc\tglibc 2.36
libstdcxx\t/usr/lib/aarch64-linux-gnu/libstdc++.so.6.0.30
python\t/usr/bin/python3\t3.11\t64\tok
end
"""


def pins() -> tuple[str, ...]:
    """Return what is brought along of each runtime, pinned: a part of the image's recipe."""
    facts = board_facts()
    return tuple(pin for name in FORMATS for pin in requirements(choose(runtime_for(name), facts), 11))


def board_facts() -> Facts:
    """Return what the board will say of itself, as far as the choice of wheels needs it."""
    return read_facts(_FACTS, scheme="ssh", address="ssh://edgekit-virtual")


def make_disk(work: Path, *, public_key: str, host_key: Path) -> None:
    """Make `vmlinuz`, `initrd` and `root.ext4` in a folder (30 to 60 s, most of it the download).

    Args:
        work: an empty folder.
        public_key: the client's, for root and pi.
        host_key: the server's private key.

    Raises:
        UsageError: a package or a wheel can't be had here.
    """
    root = work / "root"
    facts = board_facts()
    wheels = [fetch(choose(runtime_for(name), facts), facts) for name in FORMATS]
    board_root.extract(root, PACKAGES)
    board_root.dress(root)
    _furnish(root, public_key, host_key)
    for paths in wheels:
        _unpack(root, paths)
    modules = next((root / "lib/modules").iterdir())
    _thin(root, modules)
    (work / "initrd").write_bytes(_initramfs(root, modules))
    shutil.move(root / f"boot/vmlinuz-{modules.name}", work / "vmlinuz")
    shutil.rmtree(root / "boot")
    options = ["-O", "^metadata_csum", "-E", "root_owner=0:0", "-d", str(root)]
    _call(["mke2fs", "-q", "-t", "ext4", *options, str(work / "root.ext4"), _DISK])
    shutil.rmtree(root)


def _furnish(root: Path, public_key: str, host_key: Path) -> None:
    """Give the board its keys, its first process and what that starts."""
    files = {
        "etc/hostname": ("edgekit-virtual\n", 0o644),
        "etc/inittab": (_INITTAB, 0o644),
        "etc/start-board": (_START.format(modules=" ".join(_FOR_BOARD)), 0o755),
        "etc/ssh/sshd_config": (_SSHD, 0o644),
        "etc/ssh/host_ed25519": (host_key.read_text(), 0o600),
        "root/.ssh/authorized_keys": (public_key, 0o600),
        "home/pi/.ssh/authorized_keys": (public_key, 0o600),
    }
    for name, (text, mode) in files.items():
        path = root / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    for path in (root / "home/pi/.ssh", root / "home/pi/.ssh/authorized_keys"):
        shutil.chown(path, 1000, 1000)
    init = root / "sbin/init"
    init.unlink(missing_ok=True)
    init.symlink_to("/bin/busybox")


def _unpack(root: Path, wheels: Sequence[Path]) -> None:
    """Leave a runtime as EdgeKit's installation leaves it: unpacked, compiled, its version beside it."""
    site = root / "root/.edgekit/site" / site_name(wheels)[:32]
    site.mkdir(mode=0o700, parents=True)
    (root / "root/.edgekit").chmod(0o700)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    (site / ".edgekit").write_text(wheels[0].name.split("-")[1] + "\n")
    if sys.version_info[:2] == (3, 11):  # another Python's byte code would not be read there
        compileall.compile_dir(site, quiet=2, stripdir=str(root), workers=0)


def _thin(root: Path, modules: Path) -> None:
    """Keep the modules that the board needs, and those that they need."""
    _call(["depmod", "-b", str(root), modules.name])
    kept = set(_needed(modules, (*_FOR_ROOT, *_FOR_BOARD)))
    for path in modules.rglob("*.ko"):
        if path not in kept:
            path.unlink()
    _call(["depmod", "-b", str(root), modules.name])


def _needed(modules: Path, names: Iterable[str]) -> list[Path]:
    """Return the files of modules and of those that they need, each after what it needs.

    Raises:
        UsageError: the kernel has no such module.
    """
    table = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, before = line.partition(":")
        table[_plain(path)] = [path, *before.split()]
    built_in = {_plain(path) for path in (modules / "modules.builtin").read_text().split()}
    found: dict[Path, None] = {}
    for name in names:
        if _plain(name) in built_in:
            continue
        if _plain(name) not in table:
            raise UsageError(f"the kernel {modules.name} has no module {name}")
        found.update(dict.fromkeys(modules / path for path in reversed(table[_plain(name)])))
    return list(found)


def _plain(path: str) -> str:
    """Return a module's name: the kernel takes - and _ for the same."""
    return path.rpartition("/")[2].removesuffix(".ko").replace("-", "_")


def _initramfs(root: Path, modules: Path) -> bytes:
    """Return a compressed archive that loads the disk's modules and goes over to the disk."""
    needed = _needed(modules, _FOR_ROOT)
    files = {
        "init": _INIT.format(modules=" ".join(path.name for path in needed)).encode(),
        "bin/busybox": (root / "bin/busybox").read_bytes(),
        **{f"modules/{path.name}": path.read_bytes() for path in needed},
    }
    folders = ("bin", "modules", "dev", "proc", "sys", "root")
    return gzip.compress(b"".join(_archive(folders, files)), compresslevel=1, mtime=0)


def _archive(folders: Iterable[str], files: dict[str, bytes]) -> Iterator[bytes]:
    """Yield a cpio archive ("newc"): a header of hexadecimal numbers, name and content, each padded."""
    entries = [(name, _MODE_FOLDER, b"") for name in folders]
    entries += [(name, _MODE_FILE, content) for name, content in files.items()]
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        for part in (header, content):
            yield part + b"\0" * (-len(part) % 4)


def _call(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise UsageError(f"{argv[0]} ended with {done.returncode}: {last}", evidence=done.stderr)
