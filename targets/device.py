"""A device: one physical instance of a target, with an address.

    local://                    this machine
    ssh://[USER@]HOST[:PORT]    HOST may be a name from ~/.ssh/config; an IPv6 address stands in brackets
    adb://SERIAL                as `adb devices` prints it
    fake://                     no device: the null runtime's home, for trying EdgeKit out
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from edgekit.errors import UnknownNameError, UsageError

SCHEMES = ("local", "ssh", "adb", "fake")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device.

    Attributes:
        address: as the user wrote it, without a password (one is refused).
        scheme: the transport's name.
        host: host name or serial; empty for local and fake.
        user: login name, or empty for the default.
        port: TCP port, or None for the default.
        target: name of its target, or None to have it recognized.
    """

    address: str
    scheme: str
    host: str = ""
    user: str = ""
    port: int | None = None
    target: str | None = None

    @classmethod
    def parse(cls, address: str, *, target: str | None = None) -> Self:
        """Read an address.

        Args:
            address: see this module's head.
            target: name of its target, where it is known.

        Raises:
            UsageError: not an address, or one with a password in it.
        """
        scheme, found, rest = address.partition("://")
        if not found:
            raise UsageError(f"{address!r} is no device address", hint="write local://, ssh://host or adb://serial")
        if scheme not in SCHEMES:
            raise UnknownNameError("device scheme", scheme, SCHEMES)
        if scheme == "ssh":
            return cls._parse_ssh(address, target)
        if scheme == "adb":
            if not rest or "/" in rest:
                raise UsageError(f"{address!r} names no serial", hint="list them with: adb devices")
            return cls(address=address, scheme=scheme, host=rest, target=target)
        if rest:
            raise UsageError(f"{address!r} has more than {scheme}:// takes", hint=f"write {scheme}://")
        return cls(address=address, scheme=scheme, target=target)

    @classmethod
    def _parse_ssh(cls, address: str, target: str | None) -> Self:
        parts = urlsplit(address)
        if parts.password is not None:
            shown = address.replace(f":{parts.password}@", "@")
            raise UsageError(f"{shown} holds a password", hint="use a key or the agent: ssh-copy-id, ssh-add")
        try:
            port = parts.port
        except ValueError:
            raise UsageError(f"{address!r} has a port that is none", hint=f"1 to {_MAX_PORT}") from None
        if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise UsageError(f"{address!r} is no ssh address", hint="write ssh://[user@]host[:port]")
        host = parts.netloc.rpartition("@")[2]
        host = host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]
        return cls(address=address, scheme="ssh", host=host, user=parts.username or "", port=port, target=target)
