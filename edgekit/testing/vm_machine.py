"""One QEMU process, and the wire to its monitor."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "qemu-system-aarch64"
CPU = "cortex-a72"
HARDWARE = (PROGRAM, "-M", "virt", "-cpu", CPU, "-smp", "2", "-m", "512")
_PATIENCE_S = 60.0
_ENDING_S = 5.0


class Monitor:
    """QEMU's machine protocol over its socket.

    Args:
        path: of the socket.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_PATIENCE_S)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rw", encoding="utf-8")
        self._file.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        """Return QEMU's answer to a command.

        Raises:
            UsageError: QEMU refused it, or hung up.
        """
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        while line := self._file.readline():
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise UsageError(f"QEMU refused {command}: {answer['error']['desc']}")
        raise UsageError(f"QEMU hung up at {command}")

    def say(self, line: str) -> str:
        """Return the answer to a line of the monitor for people; what it can't do it says there."""
        return str(self.ask("human-monitor-command", **{"command-line": line}))

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()


class Machine:
    """A QEMU process that ends with this one.

    Args:
        image: folder with `vmlinuz`, `initrd`, `board.dtb`.
        disk: a qcow2 file of its own.
        folder: where its socket and its console's text go.
        port: of 127.0.0.1, forwarded to its SSH server; the board reaches nothing else.
        icount: count instructions: one is a nanosecond of the board's time.
        snapshot: what to go on from, or "" to boot.
    """

    def __init__(
        self, *, image: Path, disk: Path, folder: Path, port: int, icount: bool, snapshot: str = ""
    ) -> None:
        self.console = folder / "console"
        self._said = folder / "qemu.log"
        argv = [*_dies_with_us(), *_arguments(image, disk, folder, port, icount=icount)]
        argv += ["-loadvm", snapshot] if snapshot else []
        with self._said.open("wb") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.monitor = self._reach(folder / "qmp")

    def evidence(self) -> str:
        """Return the end of what QEMU and the board's console said."""
        texts = [path.read_text(errors="replace") for path in (self._said, self.console) if path.exists()]
        return "\n".join(text[-2000:] for text in texts)

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it at once, as a power cut does; what the board wrote last may be lost."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it and hang up; twice is fine."""
        self.monitor.close()
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(timeout=_ENDING_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def _reach(self, path: Path) -> Monitor:
        end = time.monotonic() + _PATIENCE_S
        while self.alive() and time.monotonic() < end:
            try:
                return Monitor(path)
            except OSError:
                time.sleep(0.02)
        self.kill()
        said = self.evidence()
        last = (said.strip().splitlines() or ["no output"])[-1]
        raise UsageError(f"QEMU does not start: {last}", evidence=said)


def _dies_with_us() -> list[str]:
    """Return what makes a program end with who started it, however that ends."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def _arguments(image: Path, disk: Path, folder: Path, port: int, *, icount: bool) -> list[str]:
    clock = ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=on"]
    return [
        *HARDWARE,
        *(clock if icount else ["-accel", "tcg,thread=multi"]),
        *("-display", "none", "-monitor", "none", "-no-reboot", "-nodefaults"),
        *("-serial", f"file:{folder / 'console'}"),
        *("-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"),
        *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd")),
        *("-dtb", str(image / "board.dtb"), "-append", "console=ttyAMA0 quiet"),
        *("-drive", f"if=none,id=disk,file={disk},format=qcow2,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=disk", "-device", "qemu-xhci,id=usb"),
        *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-pci,netdev=net,id=nic,romfile="),
    ]
