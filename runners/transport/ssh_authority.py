"""Hosts that prove themselves by a certificate of an authority that known_hosts names: @cert-authority.

The format is OpenSSH's PROTOCOL.certkeys.
"""

from __future__ import annotations

import fnmatch
import time
from dataclasses import dataclass
from typing import Any

_HOST = 2
_NUMBERS = {"ssh-ed25519": 1, "ssh-rsa": 2}
_CURVE_NUMBERS = 2
_RSA = {"rsa-sha2-256", "rsa-sha2-512"}
"""Signatures by RSA that count; those by SHA-1 have two names."""
_SUFFIX = "-cert-v01@openssh.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCertificate:
    """What a host's certificate says; nothing of it holds before `flaw` found none.

    Attributes:
        authority: the public key that signed it.
        kind: 1 is a user's, 2 a host's.
        principals: the names that it is good for.
        after: the second from which it holds, since 1970.
        before: the second from which it holds no more.
        critical: the names of options that whoever does not know them must refuse.
        signed: what was signed.
        signature: of the authority.
    """

    authority: bytes
    kind: int
    principals: tuple[str, ...]
    after: int
    before: int
    critical: tuple[str, ...]
    signed: bytes
    signature: bytes


def certificate_types(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names under which a host proves itself by certificate, for key types; each once."""
    return tuple(dict.fromkeys(f"{kind.removesuffix(_SUFFIX)}{_SUFFIX}" for kind in kinds))


def read_certificate(blob: bytes) -> HostCertificate:
    """Read a certificate, as a host sends it.

    Raises:
        ValueError: it is none.
    """
    from paramiko import Message

    message = Message(blob)
    kind = message.get_text()
    if not kind.endswith(_SUFFIX):
        raise ValueError(f"{kind[:80]!r} is no certificate")
    message.get_binary()  # the nonce
    for _ in range(_NUMBERS.get(kind.removesuffix(_SUFFIX), _CURVE_NUMBERS)):
        message.get_binary()
    message.get_int64()  # the serial number
    role = message.get_int()
    message.get_binary()  # its name
    principals = _strings(message.get_binary())
    after, before = message.get_int64(), message.get_int64()
    critical = _strings(message.get_binary())[::2]
    message.get_binary()  # extensions, of which hosts have none
    message.get_binary()
    authority = message.get_binary()
    signed = message.get_so_far()
    return HostCertificate(
        authority=authority, kind=role, principals=principals, after=after, before=before,
        critical=critical, signed=signed, signature=message.get_binary(),
    )  # fmt: skip


def _strings(packed: bytes) -> tuple[str, ...]:
    from paramiko import Message

    message, found = Message(packed), []
    while message.get_remainder():
        found.append(message.get_binary().decode("utf-8", "replace"))
    return tuple(found)


def flaw(certificate: HostCertificate, name: str, now: float | None = None) -> str:
    """Return why a host's certificate does not hold, "" where it does.

    Args:
        certificate: of the host; whether its authority is trusted is the caller's to know.
        name: of the host, as known_hosts has it; a port does not count.
        now: seconds since 1970.
    """
    host = name[1:].partition("]")[0] if name.startswith("[") else name
    moment = time.time() if now is None else now
    if certificate.kind != _HOST:
        return "it is not a host's"
    if not any(_means(principal, host) for principal in certificate.principals):
        return f"it is for {', '.join(certificate.principals)[:200] or 'no name'}, and not for {host}"
    if moment < certificate.after:
        return f"it holds from {_date(certificate.after)} on"
    if moment >= certificate.before:
        return f"it held until {_date(certificate.before)}"
    if certificate.critical:
        return f"it has options that EdgeKit does not know: {', '.join(certificate.critical)[:200]}"
    return "" if _is_signed(certificate) else "its signature is wrong"


def _means(principal: str, host: str) -> bool:
    return fnmatch.fnmatchcase(host.lower(), principal.lower().replace("[", "[[]"))


def _date(second: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(second))
    except (OverflowError, ValueError, OSError):
        return f"second {second}"


def _is_signed(certificate: HostCertificate) -> bool:
    import paramiko
    from paramiko import Message
    from paramiko.pkey import UnknownKeyType

    kind = Message(certificate.authority).get_text()
    if kind == "ssh-rsa" and Message(certificate.signature).get_text() not in _RSA:
        return False
    try:
        key: Any = paramiko.PKey.from_type_string(kind, certificate.authority)
        return bool(key.verify_ssh_sig(certificate.signed, Message(certificate.signature)))
    except (paramiko.SSHException, UnknownKeyType, ValueError):
        return False
