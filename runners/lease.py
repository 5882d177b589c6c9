"""A lease: one bench at a time on a device.

A folder `lease` in EdgeKit's folder there, made by mkdir, which only one can do; in it who holds it and
until when, by the device's own clock. An expired one is taken over.
"""

from __future__ import annotations

import getpass
import os
import platform
import secrets
from typing import TYPE_CHECKING

from edgekit.errors import DeviceBusyError, DeviceError, ProtocolError

if TYPE_CHECKING:
    from edgekit.runners.transport import Transport

_FIELDS = 4
# $1 EdgeKit's folder, $2 our token, $3 seconds, $4 who we are. The holder's file: until, since, token, who.
_TAKE = r"""
umask 077
mkdir -p -- "$1" || exit 1
now=$(date +%s)
write() { echo "$((now + $3)) $now $2 $4" >"$1/lease/new.$2" && mv -f "$1/lease/new.$2" "$1/lease/holder"; }
look() { until=0 since=0 token= who=; read -r until since token who <"$1/lease/holder"; } 2>/dev/null
mkdir "$1/lease" 2>/dev/null && { write "$@" && echo taken; exit; }
look "$@" || { sleep 1; look "$@"; }
[ "$token" = "$2" ] && { write "$@" && echo taken; exit; }
[ "$until" -gt "$now" ] && { echo "busy $((now - since)) $((until - now)) $who"; exit; }
mkdir "$1/lease.take" 2>/dev/null || { echo "busy 0 0 somebody who takes it over"; exit; }
look "$@"
if [ "$until" -gt "$now" ]; then echo "busy $((now - since)) $((until - now)) $who"
else write "$@" && echo taken; fi
rmdir "$1/lease.take"
"""
_GIVE = r"""
read -r until since token who <"$1/lease/holder" || exit 0
[ "$token" = "$2" ] && rm -rf -- "$1/lease"
true
"""


class Lease:
    """The right to bench on one device for a while.

    Args:
        transport: an open way to the device.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._token = secrets.token_hex(8)
        self.held = False

    def take(self, seconds: float) -> None:
        """Take the lease, or hold it for longer.

        Args:
            seconds: for how long from now, by the device's clock.

        Raises:
            DeviceBusyError: somebody else holds it; it says who and since when.
            ProtocolError: the device's answer can't be read.
        """
        transport, root = self._transport, self._transport.root()
        who = f"{_user()}@{platform.node() or 'a host'}, process {os.getpid()}"
        argv = ["sh", "-c", _TAKE, "sh", root, self._token, str(int(seconds) + 1), who]
        words = transport.check(argv).text.strip().split(" ", _FIELDS - 1)
        if words == ["taken"]:
            self.held = True
            return
        if (
            len(words) != _FIELDS
            or words[0] != "busy"
            or not all(w.lstrip("-").isdigit() for w in words[1:3])
        ):
            raise ProtocolError(
                f"{transport.device.address}: the answer about its lease can't be read: {words}"
            )
        holder = "".join(c for c in words[3][:200] if c.isprintable())
        raise DeviceBusyError(
            transport.device.address,
            f"{holder} has been benching there for {words[1]} s",
            hint=f"wait; that lease ends in {words[2]} s unless it is renewed",
        )

    def give_back(self) -> None:
        """Give the lease back, as far as the link allows; what stays there expires."""
        if not self.held:
            return
        self.held = False
        try:
            self._transport.run(["sh", "-c", _GIVE, "sh", self._transport.root(), self._token])
        except DeviceError:
            return


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
