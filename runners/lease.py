"""A lease: one bench at a time on a device.

A folder `lease` in EdgeKit's folder there, made by mkdir, which only one can do; in it who holds it and
until when, by the device's own clock since it was started, which nobody sets. It is short, and renewed while
the bench goes on, so that a host that is gone holds nothing up for long. An expired one, and one from before
the device was started again, is taken over; the token tells its holder that it was.
"""

from __future__ import annotations

import getpass
import os
import platform
import secrets
import time
from typing import TYPE_CHECKING

from edgekit.errors import DeviceBusyError, DeviceError, ProtocolError

if TYPE_CHECKING:
    from edgekit.runners.transport import Transport

LEASE_S = 90.0
"""How long a host may be silent while it benches: longer than its link needs to be opened again."""
_RENEW_S = 20.0
_FIELDS = 4
# $1 EdgeKit's folder, $2 our token, $3 seconds, $4 who we are.
# The holder's file: until, since, token, the device's start, who.
_TAKE = r"""
umask 077
mkdir -p -- "$1" || exit 1
{ read -r now _ </proc/uptime && now=${now%%.*}; } 2>/dev/null || now=$(date +%s)
read -r start </proc/sys/kernel/random/boot_id || start=-
write() {
  echo "$((now + $3)) $now $2 $start $4" >"$1/lease/new.$2" && mv -f "$1/lease/new.$2" "$1/lease/holder"
}
look() { until=0 since=0 token= from= who=; read -r until since token from who <"$1/lease/holder"; }
held() { [ "$from" = "$start" ] && [ "$until" -gt "$now" ]; }
mkdir "$1/lease" && { write "$@" && echo taken; exit; }
look "$@" || { sleep 1; look "$@"; }
[ "$token" = "$2" ] && { write "$@" && echo taken; exit; }
held && { echo "busy $((now - since)) $((until - now)) $who"; exit; }
if ! mkdir "$1/lease.take"; then
  read -r since <"$1/lease.take/since" && [ "$((now - since))" -gt 30 ] && rm -rf -- "$1/lease.take"
  echo "busy 0 1 somebody who takes it over"; exit
fi
echo "$now" >"$1/lease.take/since"
look "$@"
if held; then echo "busy $((now - since)) $((until - now)) $who"
else write "$@" && echo taken; fi
rm -rf -- "$1/lease.take"
"""
_GIVE = r"""
read -r until since token from who <"$1/lease/holder" || exit 0
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
        self._taken = 0.0
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
            self.held, self._taken = True, time.monotonic()
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

    def keep(self) -> None:
        """Renew the lease when that is due; call it often while a bench goes on.

        Raises:
            DeviceBusyError: it ran out meanwhile, and somebody else holds it now.
        """
        if time.monotonic() > self._taken + _RENEW_S:
            self.take(LEASE_S)

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
