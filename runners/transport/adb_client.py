"""The adb program: which one, one call with a deadline, and what its states and texts stand for.

adb's exit codes and its "connected to" are not believed anywhere: the state is asked for, and a device
counts as reached when a command has answered. The server is the user's own and is never killed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgekit.errors import DeviceError, DeviceLostError, DeviceRefusedError, DeviceTimeoutError, UsageError
from edgekit.runners.transport.bounded import FloodError, communicate, flood

CALL_TIMEOUT_S = 15.0
SERVER_PORT = 5037
_GRACE_S = 2.0
COMING = ("connecting", "authorizing", "unauthorized")
SETTLING = (*COMING, "", "offline", "device")

_STATES: dict[str, tuple[type[DeviceError], str, str]] = {
    "": (
        DeviceLostError,
        "adb lists no such device",
        "plug it in, allow USB debugging; adb lists {others}",
    ),
    "offline": (DeviceLostError, "the device is offline", "plug it in again, or: adb reconnect offline"),
    "connecting": (DeviceLostError, "the device does not come up", "try again in a moment"),
    "authorizing": (DeviceLostError, "the device does not come up", "try again in a moment"),
    "device": (DeviceLostError, "the link is up and no command answers", "plug the device in again"),
    "unauthorized": (
        DeviceRefusedError,
        "the device has not authorized this computer",
        "unlock it and accept the dialog on the phone (Allow USB debugging?)",
    ),
    "no permissions": (
        DeviceRefusedError,
        "this user may not open the USB device",
        "apt install android-sdk-platform-tools-common, join the group plugdev, and plug it in again",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one call of the adb program came to.

    Attributes:
        exit_code: the program's own, good as a hint only.
        stdout: its standard output.
        stderr: its standard error.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Both outputs as text, the server's start-up lines left out."""
        lines = (self.stdout + b"\n" + self.stderr).decode("utf-8", "replace").splitlines()
        return "\n".join(line for line in lines if line.strip() and not line.startswith("* daemon"))


def find_adb() -> str:
    """Return the adb program to use: $EDGEKIT_ADB, the one on PATH, or the one adbutils brings.

    Raises:
        UsageError: there is none, or $EDGEKIT_ADB names no program.
    """
    chosen = os.environ.get("EDGEKIT_ADB", "")
    if chosen:
        if not os.access(chosen, os.X_OK) or not Path(chosen).is_file():
            raise UsageError(f"EDGEKIT_ADB={chosen} is no program", hint="give the path of adb, or unset it")
        return chosen
    found = shutil.which("adb") or bundled_adb()
    if not found:
        raise UsageError("there is no adb program", hint="apt install adb, or pip install 'edgekit-sdk[adb]'")
    return found


def bundled_adb() -> str:
    """Return the adb program inside the adbutils package, or "" where there is none."""
    spec = importlib.util.find_spec("adbutils")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in ("adb", "adb.exe"):
            program = Path(folder) / "binaries" / name
            if os.access(program, os.X_OK):
                return str(program)
    return ""


class AdbClient:
    """Calls of one adb program about one device.

    Args:
        program: path of the adb program.
        serial: as `adb devices` prints it.
        address: the device's address, for messages.
    """

    def __init__(self, program: str, *, serial: str, address: str) -> None:
        self.program = program
        self.serial = serial
        self.address = address
        self._others: list[str] = []

    def call(self, *words: str, stdin: bytes | IO[bytes] = b"", timeout_s: float = CALL_TIMEOUT_S) -> Reply:
        """Run `adb -s SERIAL WORDS...` to its end.

        Args:
            words: the subcommand and its arguments.
            stdin: its standard input, bytes or an open file; nothing is read otherwise.
            timeout_s: the deadline, in seconds; then the program is killed.

        Raises:
            DeviceTimeoutError: the deadline passed.
            ProtocolError: it says too much.
        """
        data: bytes | None = None
        source: IO[bytes] | int = subprocess.DEVNULL
        if not isinstance(stdin, bytes):
            source = stdin
        elif stdin:
            data, source = stdin, subprocess.PIPE
        with subprocess.Popen(
            [self.program, "-s", self.serial, *words],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A push is as large as its file, so that its rate means something.
            env={**os.environ, "ADB_COMPRESSION": "0"},
            # ctrl-C ends our wait, not a transfer half way.
            start_new_session=True,
        ) as process:
            try:
                out, err = communicate(process, data, timeout_s)
            except FloodError:
                raise flood(self.address) from None
            except subprocess.TimeoutExpired:
                raise DeviceTimeoutError(
                    self.address,
                    f"no answer to adb {words[0]} within {timeout_s:g} s",
                    hint="a longer timeout_s, or plug the device in again",
                ) from None
            finally:
                if process.returncode is None:
                    _kill(process)
        return Reply(exit_code=process.returncode, stdout=out, stderr=err)

    def state(self) -> str:
        """Return the device's state as `adb devices` prints it, "" when it is not listed.

        A server that does not run yet is started by adb itself.
        """
        rows = {}
        for line in self.call("devices").stdout.decode("utf-8", "replace").splitlines():
            serial, tab, state = line.partition("\t")
            if tab:
                rows[serial] = "no permissions" if state.startswith("no permissions") else state.strip()
        self._others = sorted(set(rows) - {self.serial})
        return rows.get(self.serial, "")

    def features(self) -> frozenset[str] | None:
        """Return the features that the device and this adb both know, None when adb can't tell."""
        reply = self.call("features")
        return None if reply.exit_code else frozenset(reply.stdout.decode("utf-8", "replace").split())

    def redial(self) -> str:
        """Drop the link and make it anew; return what adb said, which proves nothing."""
        if not self.networked:
            return self.call("reconnect").text
        self.call("disconnect", self.serial)
        return self.call("connect", self.serial).text

    @property
    def networked(self) -> bool:
        """Whether the serial is an address that `adb connect` takes."""
        return re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):\d+", self.serial) is not None

    def state_error(self, state: str, *, evidence: str = "") -> DeviceError:
        """Return the error that a state other than a working "device" stands for."""
        kind, what, hint = _STATES.get(
            state, (DeviceRefusedError, f"the device is in {state} mode", "start its system: adb reboot")
        )
        shown = ", ".join(self._others) or "none"
        return kind(self.address, what, hint=hint.format(others=shown), evidence=evidence)

    def lost(self, reply: Reply) -> DeviceError:
        """Return the error for a command whose end never arrived, from what adb said."""
        if "unauthorized" in reply.text:
            return self.state_error("unauthorized", evidence=reply.text)
        if "doesn't match this client" in reply.text:
            what, hint = "two adb programs of different versions fight for the server", _ONE_ADB
        else:
            said = reply.stderr.decode("utf-8", "replace").strip().splitlines()
            what, hint = "the link died before the command's end", "check the cable, then try again"
            what += f" (adb: {said[-1].removeprefix('adb: ')})" if said else ""
        return DeviceLostError(self.address, what, hint=hint, evidence=reply.text)

    def check_server(self) -> None:
        """Make sure that this adb would not kill the running server for its version.

        Raises:
            UsageError: the server speaks another protocol version than this program.
        """
        running = server_version()
        shown = re.search(rb"version \d+\.\d+\.(\d+)", self.call("version").stdout)
        if shown is None:
            raise UsageError(f"{self.program} is no adb program", hint="set EDGEKIT_ADB to one")
        own = int(shown[1])
        if running not in (None, own):
            raise UsageError(
                f"the running adb server speaks version {running}; {self.program}, {own}, would kill it",
                hint=_ONE_ADB,
            )


_ONE_ADB = "set EDGEKIT_ADB to the adb that started the server, or end it yourself: adb kill-server"


def server_version() -> int | None:
    """Ask the adb server of this environment for its protocol version; None when none runs here."""
    if os.environ.get("ADB_SERVER_SOCKET") or os.environ.get("ANDROID_ADB_SERVER_ADDRESS"):
        return None  # a server elsewhere: no client kills that
    port = int(os.environ.get("ANDROID_ADB_SERVER_PORT") or SERVER_PORT)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_GRACE_S) as link:
            link.sendall(b"000chost:version")
            answer = link.makefile("rb").read(12)
    except OSError:
        return None
    return int(answer[8:], 16) if re.fullmatch(rb"OKAY0004[0-9a-fA-F]{4}", answer) else None


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    try:
        process.communicate(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        # A server that this call started may hold the pipes; it is left alone.
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
