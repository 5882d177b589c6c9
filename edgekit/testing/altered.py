"""This machine as a device of another kind: what its kernel tells, and what the program there tells, altered.

    with altered(tmp_path) as device:
        device.kernel("class/thermal/thermal_zone0/temp", 91_000)
        execute(plan, None, opened=device.opened)

Everything in between is the real thing: files are pushed, the program is started, followed and read, and the
run is built from what it told. The kernel's files are a folder of our own that every command finds mounted
over /sys, in a mount namespace of its own; the program's lines pass an alteration before they are written.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import subprocess
import zipfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from edgekit.runners.program import python_program
from edgekit.runners.transport.local import LocalTransport

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from contextlib import AbstractContextManager

    from edgekit.targets import Device

_KEPT = ("possible", "present", "online")
_ENTER = r"""
mount --bind "$1/sys" /sys || exit 99
for name in loadavg meminfo; do
  if [ -f "$1/proc/$name" ]; then mount --bind "$1/proc/$name" "/proc/$name" || exit 99; fi
done
PATH="$1/bin:$PATH"; export PATH
exec /bin/sh -c "$2"
"""
_ALTER = """

import json as _json
_ALTERATIONS = _json.loads({text!r})
_plain = Spool.tell
_taken = {{}}


def _fits(rule, line):
    return all(line.get(key) == value for key, value in rule["where"].items())


def _tell(self, e, **fields):
    line = dict({{"e": e, "pass": self.name, "t": NOW()}}, **fields)
    rules = [rule for rule in _ALTERATIONS if _fits(rule, line)]
    if any(rule.get("drop") for rule in rules):
        return
    for rule in rules:
        line.update(rule.get("put", {{}}))
        for key, much in rule.get("add", {{}}).items():
            line[key] += much
        for key, much in rule.get("times", {{}}).items():
            line[key] = [round(n * much) for n in line[key]]
        if "play" in rule:
            begun = _taken.get(rule["name"], 0)
            _taken[rule["name"]] = begun + len(line["ns"])
            line["ns"] = [rule["play"][i % len(rule["play"])] for i in range(begun, begun + len(line["ns"]))]
    _plain(self, line.pop("e"), **line)
    for rule in rules:
        for more in rule.get("then", []):
            _plain(self, more["e"], **{{key: more[key] for key in more if key != "e"}})


Spool.tell = _tell
"""


class AlteredTransport(LocalTransport):
    """A way to this machine whose commands find another machine's files."""

    def __init__(self, device: Device, folder: Path) -> None:
        super().__init__(device)
        self._folder = folder

    def _spawn(self, command: str, stdin: int) -> subprocess.Popen[bytes]:
        argv = [*_namespace(), "sh", "-c", _ENTER, "sh", str(self._folder), command]
        return super()._spawn(f"exec {shlex.join(argv)}", stdin)


class AlteredDevice:
    """This machine with other files of the kernel's, and another story told.

    Args:
        folder: an empty folder for what is pretended.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rules: list[dict[str, Any]] = []
        for name in ("sys", "proc", "bin"):
            (folder / name).mkdir(parents=True)
        for name in _KEPT:  # runtimes look here for how many threads there can be
            self.kernel(
                f"devices/system/cpu/{name}", Path(f"/sys/devices/system/cpu/{name}").read_text("utf-8")
            )

    def kernel(self, path: str, value: object) -> None:
        """Let a file below /sys tell this; it changes at once, for what runs already too."""
        self._write(self.folder / "sys" / path, f"{str(value).strip()}\n")

    def proc(self, name: str, text: str) -> None:
        """Let /proc/loadavg or /proc/meminfo tell this."""
        self._write(self.folder / "proc" / name, text)

    def answers(self, name: str, script: str) -> None:
        """Let there be a program of this name in the device's path."""
        self._write(self.folder / "bin" / name, f"#!/bin/sh\n{script}\n")
        (self.folder / "bin" / name).chmod(0o755)

    def tells(self, *rules: dict[str, Any]) -> None:
        """Alter what the Python program tells.

        Args:
            rules: each with "where" (fields that a line must have) and what is done with it: "put" (fields),
                "add" (to numbers), "times" (to lists of numbers), "play" (durations in the place of its
                "ns", and "name", by which it is remembered how far they were played), "then" (lines that
                follow it), or "drop".
        """
        self._rules += rules

    @contextmanager
    def opened(self, device: Device) -> Generator[AlteredTransport]:
        """Open the device: what `execute` and others take to open one."""
        with AlteredTransport(device, self.folder) as transport, self._program():
            yield transport

    def _program(self) -> AbstractContextManager[object]:
        """Let the program that is pushed be the altered one."""
        if not self._rules:
            return nullcontext()
        content = io.BytesIO()
        with zipfile.ZipFile(python_program()) as plain, zipfile.ZipFile(content, "w") as made:
            for name in plain.namelist():
                more = _ALTER.format(text=json.dumps(self._rules)) if name.endswith("/spool.py") else ""
                made.writestr(zipfile.ZipInfo(name), plain.read(name) + more.encode())
        return patch("edgekit.runners.program._packed", content.getvalue)

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def why_not() -> str:
    """Return why this machine can't be altered, or ""."""
    if shutil.which("unshare") is None:
        return "needs unshare"
    done = subprocess.run(
        [*_namespace(), "sh", "-c", "mount --bind /tmp /sys"], check=False, capture_output=True, text=True
    )
    return done.stderr.strip() and f"no mount namespace here: {done.stderr.strip()}"


def _namespace() -> Sequence[str]:
    return ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount"]
