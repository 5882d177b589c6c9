"""The double's dialog: adb's AUTH, with real keys and signatures.

The device sends 20 random bytes; the host signs them as if they were a SHA-1 digest (PKCS #1 v1.5), once a
key it has; when none is known it sends its public key and the user is asked.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import struct
from typing import TYPE_CHECKING, Literal

from edgekit.testing.adb_wire import Packet

if TYPE_CHECKING:
    from edgekit.testing.adb_wire import Wire

Auth = Literal["none", "accept", "deny"]
Key = tuple[int, int]

TOKEN, SIGNATURE, PUBLIC_KEY = 1, 2, 3
_MODULUS_BYTES = 256
_SHA1_PREFIX = bytes.fromhex("3021300906052b0e03021a05000414")


def authorize(wire: Wire, auth: Auth, keys: set[Key]) -> None:
    """Let a host in, or wait for ever, as a phone does whose dialog nobody accepts.

    Args:
        wire: a link whose CNXN has come.
        auth: "none" asks nothing, "accept" is a user who accepts, "deny" one who never does.
        keys: (modulus, exponent) of the hosts that were accepted before; an accepted one is added.

    Raises:
        EOFError: the host is gone.
    """
    if auth == "none":
        return
    while True:
        token = secrets.token_bytes(20)
        wire.write(Packet(command=b"AUTH", arg0=TOKEN, data=token))
        packet = wire.read()
        if packet.arg0 == SIGNATURE and any(signed(token, packet.data, key) for key in keys):
            return
        if packet.arg0 == PUBLIC_KEY and auth == "accept":
            keys.add(parse_key(packet.data))
            return
        if packet.arg0 == PUBLIC_KEY:
            while True:  # the dialog stays on the screen
                wire.read()


def signed(token: bytes, signature: bytes, key: Key) -> bool:
    """Whether a signature over a token was made with the private half of a key."""
    modulus, exponent = key
    block = pow(int.from_bytes(signature, "big"), exponent, modulus).to_bytes(_MODULUS_BYTES, "big")
    tail = b"\0" + _SHA1_PREFIX + token
    return block == b"\0\1" + b"\xff" * (_MODULUS_BYTES - 2 - len(tail)) + tail


def parse_key(data: bytes) -> Key:
    """Read a public key as adb sends it: base64 of (words, n0inv, modulus, rr, exponent), a space, a name.

    Raises:
        ValueError: it is none.
    """
    try:
        raw = base64.b64decode(data.split(b" ", 1)[0].rstrip(b"\0"), validate=True)
        words, _, modulus, _, exponent = struct.unpack(f"<II{_MODULUS_BYTES}s{_MODULUS_BYTES}sI", raw)
    except (binascii.Error, struct.error) as error:
        raise ValueError("no adb public key") from error
    if words * 4 != _MODULUS_BYTES:
        raise ValueError("no adb public key of 2048 bits")
    return int.from_bytes(modulus, "little"), exponent
