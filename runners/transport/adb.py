"""Phones and boards through the adb program: `adb://SERIAL`.

adb 29 returns 0 when the cable is pulled in the middle of a command, adb 36 returns 255, and both say
"1 file pushed" of half a file. So a command counts as ended when a mark with its exit code has arrived,
and a file as pushed when its sha256, computed on the device, is right.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import IO, TYPE_CHECKING

from edgekit.errors import (
    CommandFailedError,
    DeviceError,
    DeviceRefusedError,
    DeviceTimeoutError,
    UsageError,
)
from edgekit.runners.transport.adb_client import COMING, SETTLING, AdbClient, Reply, find_adb
from edgekit.runners.transport.base import Transport
from edgekit.runners.transport.command import encoded

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.targets import Device

LINE_LIMIT = 3000
_POLL_S = 0.1
_MAX_PATH = 4096
_DENIED = r"remote .*?(Permission denied|Read-only file system|Is a directory|Not a directory|No such file)"
_ROOT = (
    'd=/data/local/tmp; if [ -n "$EDGEKIT_HOME" ]; then echo "$EDGEKIT_HOME"; '
    "elif [ -d $d ] && [ -w $d ]; then echo $d/edgekit; "
    'elif [ -n "${HOME#/}" ] && [ -w "$HOME" ]; then echo "$HOME/.edgekit"; '
    'else echo "${TMPDIR:-/tmp}/edgekit"; fi'
)


class AdbTransport(Transport):
    """One device behind the user's own adb server.

    The program is $EDGEKIT_ADB, the `adb` on PATH, or the one the adbutils package brings; its server port
    is $ANDROID_ADB_SERVER_PORT as for adb itself.

    Attributes:
        settle_s: how long a device may take to come up, in seconds.
        probe_s: the deadline of the smallest command; a link that misses it is dead, whatever adb says.
    """

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self.settle_s = 5.0
        self.probe_s = 5.0
        self._adb: AdbClient | None = None
        self._root = ""
        self._silent = False

    def root(self) -> str:
        """Return EdgeKit's folder: $EDGEKIT_HOME there, else in /data/local/tmp, or in the home.

        Raises:
            UsageError: the transport was never open.
        """
        if not self._root:
            raise UsageError(f"{self.device.address}: the transport was never open")
        return self._root

    def kill_marked(self, mark: str) -> bool:
        """Kill every process there that carries this mark, after a look whether the link lives.

        Returns:
            Whether nothing with the mark was left.

        Raises:
            DeviceLostError: no command comes back, whatever adb says of the link.
        """
        self._silent = not self._answers()
        if self._silent:
            raise self._client.state_error("device")
        return super().kill_marked(mark)

    # --- the primitives ------------------------------------------------------------------------
    def _connect(self) -> None:
        self._silent = False
        self._adb = AdbClient(find_adb(), serial=self.device.host, address=self.device.address)
        self._adb.check_server()
        self._settle(self._adb)

    def _disconnect(self) -> None:
        self._adb = None

    def _execute(self, command: str, *, stdin: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        mark = secrets.token_hex(8)
        line, feed = shell_line(command, mark)
        return self._shell(line, mark, feed + stdin, timeout_s)

    def _feed(self, command: str, local: Path, *, offset: int, timeout_s: float) -> tuple[int, bytes, bytes]:
        # `adb push` can't go on where another one stopped; a shell's input is as fast.
        mark = secrets.token_hex(8)
        line, feed = shell_line(command, mark)
        if feed:
            raise UsageError(f"{self.device.address}: the path is too long", hint="choose a shorter one")
        with local.open("rb", buffering=0) as file:
            file.seek(offset)
            return self._shell(line, mark, file, timeout_s)

    def _shell(
        self, line: str, mark: str, stdin: bytes | IO[bytes], timeout_s: float
    ) -> tuple[int, bytes, bytes]:
        if self._silent:
            raise self._client.state_error("device")
        reply = self._client.call("shell", "-T", line, stdin=stdin, timeout_s=timeout_s)
        ends = list(re.finditer(rb"%s:(\d{1,3})\n" % mark.encode(), reply.stdout))
        if not ends:
            raise self._client.lost(reply)
        end = ends[-1]
        return int(end[1]), reply.stdout[: end.start()] + reply.stdout[end.end() :], reply.stderr

    def _receive(self, remote: str, local: Path, *, timeout_s: float) -> None:
        reply = self._copy("pull", remote, str(local.resolve()), timeout_s=timeout_s)
        if "cannot create" in reply.text or "cannot write" in reply.text:
            raise UsageError(
                f"{local} can't be written", hint="check its folder and its disk", evidence=reply.text
            )
        if reply.exit_code != 0:
            raise self._copy_error(f"pull of {remote}", reply)

    # --- its own -------------------------------------------------------------------------------
    @property
    def _client(self) -> AdbClient:
        if self._adb is None:
            raise UsageError(f"{self.device.address}: the transport is closed")
        return self._adb

    def _copy(self, *words: str, timeout_s: float) -> Reply:
        try:
            return self._client.call(*words, timeout_s=timeout_s)
        except DeviceTimeoutError:
            self._silent = not self._answers()  # what cleans up after us shall not wait in vain
            raise

    def _settle(self, adb: AdbClient) -> None:
        """Wait until a command answers; make a dead link anew once on the way."""
        deadline = time.monotonic() + self.settle_s
        said: str | None = None
        while True:
            state = adb.state()
            if state == "device":
                self._check_shell(adb)
                if self._answers():
                    return
            absent = not state and not (adb.networked and said is None)
            redial = said is None and state not in COMING
            late = not redial and time.monotonic() > deadline
            if absent or late or state not in SETTLING:
                raise adb.state_error(state, evidence=said or "")
            if redial:
                said = adb.redial()
                deadline = time.monotonic() + self.settle_s
            else:
                time.sleep(_POLL_S)

    def _check_shell(self, adb: AdbClient) -> None:
        features = adb.features()
        if features is not None and "shell_v2" not in features:
            raise DeviceRefusedError(
                self.device.address,
                "the device speaks only the old shell protocol, which tells no exit codes",
                hint="it takes Android 7 or later",
            )

    def _answers(self) -> bool:
        """Whether a small command comes back: adb calls a stalled device `device` for ever.

        It asks where EdgeKit's folder is, which is to be known anyway.
        """
        try:
            _, out, _ = self._execute(_ROOT, stdin=b"", timeout_s=self.probe_s)
        except DeviceRefusedError:
            raise
        except DeviceError:
            return False
        self._root = out.decode("utf-8", "replace").strip()[:_MAX_PATH]
        return True

    def _copy_error(self, what: str, reply: Reply) -> DeviceError:
        text = reply.text
        if "No space left" in text and "remote" in text:
            return self.full(text)
        denied = re.search(_DENIED, text)
        if denied:
            return CommandFailedError(self.device.address, f"{what} failed: {denied[1]}", evidence=text)
        return self._client.lost(reply)


def shell_line(command: str, mark: str) -> tuple[str, bytes]:
    """Return the line for `adb shell` that runs a command and prints `MARK:CODE` then, and its input's head.

    The command runs in the background, so that the shell can take the hang-up that adbd sends when its
    client is gone, and end the whole process group; like any background job it ignores SIGINT and SIGQUIT. A
    command longer than a request may be is read from the input's first lines instead.

    Args:
        command: what a POSIX sh runs.
        mark: hexadecimal digits that occur nowhere else.
    """
    body, feed = f"({command}\n)", b""
    reader = ""
    if len(encoded(command)) > LINE_LIMIT:
        reader = (
            f'c=; while IFS= read -r l && [ "$l" != {mark} ]; do c="$c$l\n"; done; '  # up to the mark's line
        )
        body, feed = '(eval "$c")', encoded(f"{command}\n{mark}\n")
    return (
        f"{reader}exec 3<&0 </dev/null; trap 'kill -9 0' HUP; {body} <&3 3<&- & wait $!; echo {mark}:$?",
        feed,
    )
