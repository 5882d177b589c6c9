"""An aarch64 board that is a virtual machine: its own Linux kernel, clock, drivers and power switch.

    python -m edgekit.testing.vm build      make its image and its snapshots (once; a minute or two)

or in a test:

    with VirtualBoard() as board:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(board.ssh_config))
        transport = open_transport(Device.parse(board.address))

It goes on from a snapshot in seconds. It needs QEMU's qemu-system-aarch64 and some packages; `unavailable()`
says what is missing. It listens on 127.0.0.1 only, and reaches nothing.

QEMU translates the instructions (TCG), floating point in software, so that its times say nothing of a device.
With `icount=True` an instruction is a nanosecond of the board's time, whatever the host does meanwhile: then
medians repeat, and times can be asserted. Caches, memory, the pipeline and threads are not modelled.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from edgekit.errors import UsageError
from edgekit.testing import board_root, vm_machine, vm_root, vm_tree
from edgekit.testing.ports import free_port
from edgekit.testing.ssh_files import SshFiles, answers, make_key
from edgekit.testing.vm_machine import Machine

_SNAPSHOT = "ready"
_BOOT_S = 180.0
_KEYS = ("id_ed25519", "id_ed25519.pub", "host_ed25519", "host_ed25519.pub")
_PACKAGES = {
    vm_machine.PROGRAM: "qemu-system-arm",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "dtc": "device-tree-compiler",
    "depmod": "kmod",
    "mke2fs": "e2fsprogs",
    "ssh": "openssh-client",
}


class VirtualBoard:
    """One running virtual board; use it in a `with` statement, or start and stop it.

    Args:
        icount: its time is counted in instructions.
        user: who logs in at `address`.

    Attributes:
        files: keys, known hosts and configuration of its client.
    """

    def __init__(self, *, icount: bool = False, user: str = "root") -> None:
        self._icount = icount
        self._machine: Machine | None = None
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
    def machine(self) -> Machine:
        """The QEMU process."""
        if self._machine is None:
            raise UsageError("the virtual board does not run")
        return self._machine

    def start(self) -> None:
        """Start it from its snapshot, made first where it is not there; return when its sshd answers.

        Raises:
            UsageError: it can't be used here, or does not come up; its console is the evidence.
        """
        if reason := unavailable():
            raise UsageError("no virtual board can run here", hint=reason)
        kept = build(icount=self._icount)
        self._start(kept.parent, kept, _SNAPSHOT)
        self.run(f"date -s @{time.time() + 0.3:.3f}")  # its clock stands where the snapshot was made

    def stop(self) -> None:
        """Stop it and remove its files; twice is fine."""
        machine, self._machine = self._machine, None
        if machine is not None:
            machine.stop()
            shutil.rmtree(self.files.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, script: str, *, timeout_s: float = 120.0) -> str:
        """Return what a shell script says on the board, as root.

        Raises:
            UsageError: it fails, or takes longer.
        """
        argv = ["ssh", "-F", str(self.ssh_config), "-l", "root", self.files.alias, script]
        try:
            done = subprocess.run(
                argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout_s
            )
        except subprocess.TimeoutExpired as error:
            raise UsageError(
                f"no answer from the virtual board to {script[:60]!r}", evidence=self.machine.evidence()
            ) from error
        if done.returncode:
            raise UsageError(f"{script[:60]!r} ended with {done.returncode} there", evidence=done.stderr)
        return done.stdout

    def freeze(self) -> None:
        """Stop its processors; its clock stands."""
        self.machine.monitor.ask("stop")

    def go_on(self) -> None:
        """Let its processors run again."""
        self.machine.monitor.ask("cont")

    def plug_network(self, *, plugged: bool) -> None:
        """Pull the network cable, or plug it in again."""
        self.machine.monitor.ask("set_link", name="nic", up=plugged)

    def _start(self, image: Path, disk: Path, snapshot: str) -> None:
        folder = Path(tempfile.mkdtemp(prefix="edgekit-vm-"))
        port = free_port()
        self.files = SshFiles(folder=folder, alias=f"edgekit-vm-{port}", port=port, user=self.files.user)
        for name in _KEYS:
            shutil.copy(image / name, folder / name)
        self.files.write()
        own = folder / "disk.qcow2"
        shutil.copyfile(disk, own)
        self._machine = Machine(
            image=image, disk=own, folder=folder, port=port, icount=self._icount, snapshot=snapshot
        )
        end = time.monotonic() + _BOOT_S
        while not answers(port):
            if not self._machine.alive() or time.monotonic() > end:
                said = self._machine.evidence()
                self.stop()
                raise UsageError("the virtual board does not come up", evidence=said)
            time.sleep(0.05)

    def keep(self, target: Path) -> None:
        """Write a snapshot into its disk, and move that to where the next ones go on from; it stops."""
        self.run("sync; echo 3 > /proc/sys/vm/drop_caches", timeout_s=_BOOT_S)
        if said := self.machine.monitor.say(f"savevm {_SNAPSHOT}"):
            raise UsageError(f"QEMU keeps no snapshot: {said.strip()}")
        self.machine.stop()
        (self.files.folder / "disk.qcow2").rename(target)
        self.stop()


def unavailable() -> str:
    """Return why no virtual board can run here, or "" when one can."""
    if sys.platform != "linux":
        return "the virtual board needs Linux"
    built = (image_folder() / "root.ext4").exists()
    if not built and os.geteuid() != 0:
        return "the virtual board's disk is made by root"
    if not built and not board_root.mirror():
        return f"apt has no source for Debian's {board_root.SUITE} here"
    missing = [package for program, package in _PACKAGES.items() if not shutil.which(program)]
    return f"not installed: apt-get install --no-install-recommends {' '.join(missing)}" if missing else ""


def image_folder() -> Path:
    """Return where the image of this recipe lies, or will lie: what makes it names it."""
    recipe = hashlib.sha256()
    for module in (board_root, vm_machine, vm_root, vm_tree):
        recipe.update(Path(str(module.__file__)).read_bytes())
    recipe.update(repr(vm_root.pins()).encode())
    return board_root.cache_folder().parent / "vm" / recipe.hexdigest()[:16]


def build(*, icount: bool = False) -> Path:
    """Return the disk with the snapshot, made first where it is not there.

    Args:
        icount: the one whose time is counted in instructions.

    Raises:
        UsageError: a package or a wheel can't be had here, or the board does not come up.
    """
    folder = image_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with board_root.alone(folder / "lock"):
        if not (folder / "board.dtb").exists():
            _make_image(folder)
        disk = folder / f"{'icount' if icount else 'plain'}-{_qemu()}.qcow2"
        if not disk.exists():
            _make_snapshot(folder, disk, icount=icount)
    return disk


def _make_image(folder: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix="building-", dir=folder))
    try:
        for name in ("id_ed25519", "host_ed25519"):
            make_key(work / name)
        public = (work / "id_ed25519.pub").read_text()
        vm_root.make_disk(work, public_key=public, host_key=work / "host_ed25519")
        vm_tree.make_tree(vm_machine.HARDWARE, work)
        for name in ("vmlinuz", "initrd", "root.ext4", *_KEYS, "board.dtb"):
            (work / name).rename(folder / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _make_snapshot(folder: Path, disk: Path, *, icount: bool) -> None:
    """Boot once, and keep the state in which the board waits for its first command."""
    fresh = folder / f"fresh-{disk.name}"
    argv = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        str(folder / "root.ext4"),
        str(fresh),
    ]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    board = VirtualBoard(icount=icount)
    try:
        board._start(folder, fresh, "")  # noqa: SLF001  its own class
        board.keep(disk)
    finally:
        board.stop()
        fresh.unlink(missing_ok=True)


def _qemu() -> str:
    """Return QEMU's version: a snapshot is read by the QEMU that wrote it."""
    said = subprocess.run([vm_machine.PROGRAM, "--version"], check=True, capture_output=True, text=True)
    return hashlib.sha256(said.stdout.encode()).hexdigest()[:8]


def main(arguments: list[str]) -> int:
    """Do what the command line says; return its exit code."""
    if arguments != ["build"]:
        sys.stderr.write("usage: python -m edgekit.testing.vm build\n")
        return 2
    if reason := unavailable():
        sys.stderr.write(f"no virtual board can run here: {reason}\n")
        return 1
    for icount in (False, True):
        began = time.monotonic()
        sys.stdout.write(f"{build(icount=icount)} ({time.monotonic() - began:.0f} s)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
