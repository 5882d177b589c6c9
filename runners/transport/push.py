"""A file's way to a device: looked for, gone on with, held against its sha256 there, then renamed.

It comes in as `.SHA256.NONCE.part` beside its name, hashed there while it is written. A part that an earlier
push left is taken over when its bytes have the sha256 that ours have up to there; its length alone proves
nothing. Each pusher has a part of its own, so that two of them never write to the same one: what a process
there may still write to is copied, not taken.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import CommandFailedError, DeviceError, DeviceLostError, UsageError
from edgekit.runners.transport.command import DIGEST

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.runners.transport.base import Transport
    from edgekit.runners.transport.command import CommandResult

_CHUNK = 1 << 20
_STEM = 32
_PART = re.compile(
    r"part (?P<size>[0-9]{1,15}) \.[0-9a-f]{32}\.(?P<nonce>[0-9a-f]{16})\.part (?P<sha256>[0-9a-f]{64}) .*"
)
_MOST = 4  # so many parts are looked at, the longest first

# $1 folder, $2 the file's name, $3 the parts' stem, $4 our nonce. What can be refused is refused here: adb
# may lose the words of a command that ends before it has read its input.
_LOOK = f"""{DIGEST}
umask 077
mkdir -p -- "$1" && cd -- "$1" || exit 1
[ ! -d "./$2" ] || {{ echo folder; exit; }}
for f in "$3".*.part; do
  [ ! -s "$f" ] || {{ size=$(wc -c <"$f"); echo "part $((size)) $f $(digest "$size" <"$f")"; }}
done
touch -- "$3.$4.part\""""

# $1 to $4 as above, then: the whole's bytes and sha256, where to go on, the sha256 up to there and from
# there, and the two halves of the old part's nonce: whole, it would find our own command line.
_STREAM = f"""{DIGEST}
umask 077
# Who ends before its input does may be cut short of its last words by adb.
refuse() {{ cat >/dev/null; exit 1; }}
mkdir -p -- "$1" && cd -- "$1" || refuse
[ ! -d "./$2" ] || {{ echo "$2 is a folder" >&2; refuse; }}
name=./$2 stem=$3 part=$3.$4.part total=$5 whole=$6 offset=$7 head=$8 rest=$9
shift 9
written() {{
  [ ! -e /proc/self/cmdline ] || [ "$(grep -ls "$1[${{2%${{2#?}}}}]${{2#?}}" /proc/[0-9]*/cmdline)" ]
}}
is() {{ [ "${{got%% *}}" = "$1" ]; }}
if [ "$offset" -gt 0 ]; then
  old=$stem.$1$2.part
  if written "$1" "$2" || [ "$(wc -c <"$old")" -ne "$offset" ] || ! mv -- "$old" "$part"; then
    head -c "$offset" <"$old" >"$part"
  fi
  got=$(digest "$offset" <"$part")
  is "$head" || {{ rm -f -- "$part"; cat >/dev/null; echo other; exit 0; }}
fi
touch -- "$part" || refuse
got=$(tee -a "$part" | digest "$((total - offset))")
size=$(wc -c <"$part")
if is "$rest" && [ "$((size))" -eq "$total" ] && mv -f -- "$part" "$name"; then
  rm -f -- "$stem".*.part
  echo whole
else
  # Toybox's tee keeps it to itself when a write failed: the next one says why.
  if is "$rest" && [ "$((size))" -lt "$total" ]; then head -c 65536 /dev/zero >>"$part"; fi
  echo "part $((size)) $got"
  got=$([ ! -f "$name" ] || digest "$total" <"$name")
  if is "$whole"; then rm -f -- "$part"; echo whole; fi  # another host was quicker
fi"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What an earlier push left there, and the sha256 of the file's bytes up to its end and from there."""

    nonce: str
    size: int
    head: str
    rest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One file on its way.

    Attributes:
        transport: an open way to the device.
        local: the file on the host.
        remote: its absolute path there.
        sha256: its content's.
        size: its bytes.
        timeout_s: for all of it, in seconds.
        fresh: whether somebody has looked already, and not even its folder is there.
    """

    transport: Transport
    local: Path
    remote: str
    sha256: str
    size: int
    timeout_s: float
    fresh: bool = False

    def __post_init__(self) -> None:
        if not self.remote.startswith("/") or self.remote.endswith("/"):
            what = f"{self.remote!r} is no absolute path of a file"
            raise UsageError(what, hint="begin it with /, end it in a name")

    @property
    def _words(self) -> tuple[str, str, str]:
        folder, _, name = self.remote.rpartition("/")
        return folder or "/", name, f".{self.sha256[:_STEM]}"

    def go(self) -> None:
        """Bring the file there, from where an earlier push stopped.

        Raises:
            UsageError: a folder of that name is there.
            DeviceFullError: there is no room; nothing of the file stays.
            CommandFailedError: it can't be written.
            DeviceLostError: the link died, and the part stays; or what arrived is not what was sent.
            DeviceTimeoutError: it took too long; the part stays.
        """
        end = time.monotonic() + self.timeout_s
        nonce = secrets.token_hex(8)
        left = None if self.fresh else self._look(nonce)
        if left is None or not self._send(nonce, left, end):
            self._send(nonce, None, end)

    def _look(self, nonce: str) -> _Part | None:
        """Return the longest part that is a beginning of the file; what is there is data, and checked."""
        told = self.transport.check(
            ["sh", "-c", _LOOK, "sh", *self._words, nonce], timeout_s=self.timeout_s
        ).text.splitlines()
        if "folder" in told:
            what = f"{self.transport.device.address}: {self.remote} is a folder"
            raise UsageError(what, hint="name the file in it")
        found = (match for line in told if (match := _PART.fullmatch(line)))
        sizes = sorted(
            ((int(match["size"]), match["nonce"], match["sha256"]) for match in found), reverse=True
        )
        for size, old, sha256 in sizes[:_MOST]:
            if 0 < size <= self.size:
                head, rest = _sums(self.local, size)
                if head == sha256:
                    return _Part(nonce=old, size=size, head=head, rest=rest)
        return None

    def _send(self, nonce: str, left: _Part | None, end: float) -> bool:
        """Send what is missing; return False where what was there is no beginning of the file any more."""
        start = left or _Part(nonce="", size=0, head="", rest=self.sha256)
        numbers = [str(self.size), self.sha256, str(start.size), start.head, start.rest]
        result = self.transport.feed(
            ["sh", "-c", _STREAM, "sh", *self._words, nonce, *numbers, start.nonce[:8], start.nonce[8:]],
            self.local,
            offset=start.size,
            timeout_s=max(1.0, end - time.monotonic()),
        )
        told = result.text.split()
        if "whole" in told or (left is not None and told == ["other"]):
            return "whole" in told
        folder, _, stem = self._words
        with contextlib.suppress(DeviceError):  # the error that is on its way says more
            self.transport.run(["rm", "-f", "--", f"{folder}/{stem}.{nonce}.part"])
        raise self._failure(result, told, start.rest)

    def _failure(self, result: CommandResult, told: list[str], sent: str) -> DeviceError:
        address, tail = self.transport.device.address, result.tail
        if "No space left on device" in tail or "quota exceeded" in tail:
            return self.transport.full(tail)
        if result.exit_code or result.stderr.strip() or told[:1] != ["part"]:
            last = tail.splitlines()[-1] if tail else "it did not say why"
            return CommandFailedError(address, f"{self.remote} can't be written: {last}", evidence=tail)
        arrived = told[2] if len(told) > 2 else "none"  # noqa: PLR2004
        what = f"{self.local.name} arrived changed (sha256 {arrived[:12]}, sent {sent[:12]})"
        return DeviceLostError(address, what, hint="try again; if it stays, check the link and the storage")


def _sums(local: Path, offset: int) -> tuple[str, str]:
    """Return the sha256 of a file's bytes up to an offset, and from there."""
    head, rest = hashlib.sha256(), hashlib.sha256()
    with local.open("rb") as file:
        left = offset
        while left and (chunk := file.read(min(left, _CHUNK))):
            head.update(chunk)
            left -= len(chunk)
        while chunk := file.read(_CHUNK):
            rest.update(chunk)
    return head.hexdigest(), rest.hexdigest()
