"""A lease: one bench at a time on a device.

A folder `lease` in EdgeKit's folder there, made by mkdir, which only one can do; in it who holds it and
until when, by the device's own clock since it was started, which nobody sets. It is short, and renewed while
the bench goes on, so that a host that is gone holds nothing up for long. An expired one, one from before the
device was started again, and one of a process of this very host that is no more, is taken over, and what that
one left running there is ended; the token tells its holder that it was.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import re
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import DeviceBusyError, DeviceError, ProtocolError
from edgekit.runners.follow import END_OF_IT

if TYPE_CHECKING:
    from typing import Self

    from edgekit.runners.transport import CommandResult, Transport

LEASE_S = 90.0
"""How long a host may be silent while it benches: longer than its link needs to be opened again."""
_RENEW_S = 20.0
_FIELDS = 4
_BEGAN = 19
_GIVEN_UP: set[str] = set()
# $1 EdgeKit's folder (empty for the one in $HOME), $2 our token, $3 seconds, $4 who we are, $5 a holder that
# is known to be dead, $6 tokens between blanks that this process could not give back.
# The holder's file: until, since, token, the device's start, who.
_TAKE = (
    END_OF_IT
    + r"""
umask 077
[ -n "$1" ] || { shift; set -- "${HOME%/}/.edgekit" "$@"; }
mkdir -p -- "$1" || exit 1
{ read -r now _ </proc/uptime && now=${now%%.*}; } 2>/dev/null || now=$(date +%s)
read -r start </proc/sys/kernel/random/boot_id || start=-
write() {
  echo "$((now + $3)) $now $2 $start $4" >"$1/lease/new.$2" && mv -f "$1/lease/new.$2" "$1/lease/holder"
}
look() { until=0 since=0 token= from= who=; read -r until since token from who <"$1/lease/holder"; }
# Who has just made the folder says a moment later who that is.
find_out() { look "$@" || { sleep 1; look "$@"; }; }
held() {
  case " $6 " in *" $token "*) return 1 ;; esac
  [ "$from" = "$start" ] && [ "$until" -gt "$now" ] && [ "$who" != "$5" ]
}
# What the holder before left running: passes that have begun and not ended.
end_passes() {
  for f in "$1"/runs/*/*.pid; do
    [ ! -e "$f" ] || [ -s "${f%.pid}.rc" ] || stop_pass "${f%.pid}"
  done
}
mkdir "$1/lease" && { write "$@" && { end_passes "$@"; echo taken; }; exit; }
find_out "$@"
[ "$token" = "$2" ] && { write "$@" && echo taken; exit; }
held "$@" && { echo "busy $((now - since)) $((until - now)) $who"; exit; }
if ! mkdir "$1/lease.take"; then
  read -r since <"$1/lease.take/since" && [ "$((now - since))" -gt 30 ] && rm -rf -- "$1/lease.take"
  echo "busy 0 1 somebody who takes it over"; exit
fi
echo "$now" >"$1/lease.take/since"
if mkdir "$1/lease"; then until=0 from=-  # it was given back meanwhile
else find_out "$@"; fi
if held "$@"; then echo "busy $((now - since)) $((until - now)) $who"
else write "$@" && { end_passes "$@"; echo taken; }; fi
rm -rf -- "$1/lease.take"
"""
)
_GIVE = r"""
read -r until since token from who <"$1/lease/holder" || exit 0
[ "$token" = "$2" ] && rm -rf -- "$1/lease"
true
"""


class Lease:
    """The right to bench on one device for a while; as a context manager it is given back at the end.

    Args:
        transport: an open way to the device.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._token = secrets.token_hex(8)
        self._taken = 0.0
        self.held = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def take(self, seconds: float) -> None:
        """Take the lease, or hold it for longer.

        Args:
            seconds: for how long from now, by the device's clock.

        Raises:
            DeviceBusyError: somebody else holds it; it says who and since when.
            ProtocolError: the device's answer can't be read.
        """
        self.accept(self._transport.check(self.argv(seconds)), seconds)

    def argv(self, seconds: float, *, dead: str = "") -> list[str]:
        """Return the command that reaches for the lease, for who sends it along with others.

        Args:
            seconds: as in `take`.
            dead: a holder that is known to be dead.
        """
        words = [self._transport.known_root(), self._token, str(int(seconds) + 1), host(), dead]
        return ["sh", "-c", _TAKE, "sh", *words, " ".join(sorted(_GIVEN_UP))]

    def accept(self, result: CommandResult, seconds: float) -> None:
        """Hear what that command told; take over at once what a process of this host held that is dead.

        Raises:
            DeviceBusyError: as `take`.
            ProtocolError: as `take`.
        """
        holder, since, left = self._heard(result)
        if is_dead(holder):
            again = self._transport.check(self.argv(seconds, dead=holder))
            holder, since, left = self._heard(again)
        if holder:
            raise DeviceBusyError(
                self._transport.device.address,
                f"{holder.partition(' [')[0]} has been benching there for {since} s",
                hint=f"wait; that lease ends in {left} s unless it is renewed",
            )
        self.held, self._taken = True, time.monotonic()

    def _heard(self, result: CommandResult) -> tuple[str, str, str]:
        """Return who holds the lease, since when and for how long, or "" where that is us."""
        words = result.text.strip().split(" ", _FIELDS - 1)
        if words == ["taken"]:
            return "", "", ""
        numbers = all(re.fullmatch(r"-?[0-9]{1,15}", word) for word in words[1:3])
        if len(words) != _FIELDS or words[0] != "busy" or not numbers:
            raise ProtocolError(
                f"{self._transport.device.address}: the answer about its lease can't be read: {words}"
            )
        return "".join(c for c in words[3][:200] if c.isprintable()) or "somebody", words[1], words[2]

    def keep(self) -> None:
        """Renew the lease when that is due; call it often while a bench goes on.

        Raises:
            DeviceBusyError: it ran out meanwhile, and somebody else holds it now.
        """
        if time.monotonic() > self._taken + _RENEW_S:
            self.take(LEASE_S)

    def leave(self) -> None:
        """Hold it no longer, and leave it there: it expires, or our next lease takes it over."""
        if self.held:
            _GIVEN_UP.add(self._token)
        self.held = False

    def give_back(self) -> None:
        """Give the lease back, as far as the link allows; else leave it."""
        if not self.held:
            return
        self.leave()
        with contextlib.suppress(DeviceError):
            if self._transport.is_open:
                self._transport.run(["sh", "-c", _GIVE, "sh", self._transport.root(), self._token])
                _GIVEN_UP.discard(self._token)


def host() -> str:
    """Return who we are: for people, and in brackets what tells this process from any later one."""
    pid = os.getpid()
    shown = f"{_user()}@{platform.node() or 'a host'}, process {pid}"
    return f"{shown} [{_boot()} {_began(pid)}]"


def is_dead(holder: str) -> bool:
    """Return whether `holder`, as `host` told it, was a process of this very host that is no more.

    Of another host's process nobody here can say; False is returned.
    """
    match = re.search(r"process ([0-9]{1,9}) \[([0-9a-f]{8}) ([0-9]+)\]$", holder)
    return match is not None and match[2] == _boot() and match[3] != _began(int(match[1]))


def _boot() -> str:
    """Return what tells this start of this host from all others, or "" where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:
        return ""


def _began(pid: int) -> str:
    """Return when a process of this host began, in the kernel's ticks, or "" where there is none."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return told.rpartition(")")[2].split()[_BEGAN]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
