"""A device: one physical instance of a target, with an address.

local://                    this machine
ssh://[USER@]HOST[:PORT]    HOST may be a name from ~/.ssh/config; an IPv6 address stands in brackets
adb://SERIAL                as `adb devices` prints it
fake://                     no device: the null runtime's home, for trying EdgeKit out
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

from edgekit.errors import UnknownNameError, UsageError

SCHEMES = ("local", "ssh", "adb", "fake")
_MAX_PORT = 65535
_HINT = "write local://, ssh://host or adb://serial"
_SSH = re.compile(
    r"(?:(?P<user>[^@:/\[\]?#-][^@:/\[\]?#]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^@:/\[\]?#-][^@:/\[\]?#]*)"
    r"(?::(?P<port>[^@:/\[\]?#]*))?/?"
)
"""What follows ssh://. Nothing begins with a dash, so that no program can take it for an option."""


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
            UsageError: not an address, or one with a password in it (which is not repeated).
            UnknownNameError: the scheme is none of ours; the nearest is offered.
        """
        scheme, found, rest = address.partition("://")
        if not found or not scheme.isalnum() or not address.isprintable() or " " in address:
            raise UsageError(f"{_shown(address)!r} is no device address", hint=_HINT)
        if scheme not in SCHEMES:
            raise UnknownNameError("device scheme", scheme, SCHEMES)
        if scheme == "ssh":
            return cls._parse_ssh(address, rest, target)
        if scheme == "adb":
            if not rest or "/" in rest or rest.startswith("-"):
                raise UsageError(f"{_shown(address)!r} names no serial", hint="list them with: adb devices")
            return cls(address=address, scheme=scheme, host=rest, target=target)
        if rest:
            raise UsageError(
                f"{_shown(address)!r} has more than {scheme}:// takes", hint=f"write {scheme}://"
            )
        return cls(address=address, scheme=scheme, target=target)

    @classmethod
    def _parse_ssh(cls, address: str, rest: str, target: str | None) -> Self:
        if ":" in rest.rpartition("@")[0]:
            raise UsageError(
                f"{_shown(address)!r} is given with a password",
                hint="use a key or the agent: ssh-copy-id, ssh-add",
            )
        parts = _SSH.fullmatch(rest)
        if not parts:
            hint = "write ssh://[user@]host[:port], an IPv6 address in brackets"
            raise UsageError(f"{address!r} is no ssh address", hint=hint)
        return cls(
            address=address,
            scheme="ssh",
            host=_host(parts["host"], address),
            user=parts["user"] or "",
            port=None if parts["port"] is None else _port(parts["port"], address),
            target=target,
        )


def _host(text: str, address: str) -> str:
    if not text.startswith("["):
        return text
    try:
        ipaddress.IPv6Address(text[1:-1])
    except ValueError:
        raise UsageError(
            f"{address!r} has no IPv6 address in its brackets", hint="write ssh://[::1]"
        ) from None
    return text[1:-1]


def _port(text: str, address: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_PORT:
        return int(text)
    raise UsageError(f"{address!r} has a port that is none: {text!r}", hint=f"a port is 1 to {_MAX_PORT}")


def _shown(address: str) -> str:
    """Return the address without what may be a password: all between the user's name and the last @."""
    before, at, after = address.rpartition("@")
    named = re.match(r"(?:[A-Za-z]+://)?[^:@]*", before)
    return f"{named[0] if named else ''}{at}{after}"
