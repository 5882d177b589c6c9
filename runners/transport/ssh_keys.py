"""Who is who on an SSH link: the host proves itself first, then the user does.

Known hosts are read, and written only where the configuration says StrictHostKeyChecking accept-new: then the
key of a host of which none is known is added. No password is asked for or taken, and messages name key files,
never what is in them.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import os
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgekit.errors import DeviceRefusedError
from edgekit.runners.transport.ssh_authority import certificate_types, flaw, read_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgekit.runners.transport.ssh_config import Hop


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """One line of a file of known hosts that speaks of the host in question.

    Attributes:
        marker: "", "@revoked" or "@cert-authority".
        kind: the key's type, "ssh-ed25519".
        blob: the public key.
        where: file and line.
    """

    marker: str
    kind: str
    blob: bytes
    where: str


def known_keys(hop: Hop) -> list[KnownKey]:
    """Return what the files of known hosts have under a host's name; unreadable lines speak of nobody."""
    return [key for path in hop.known_hosts if path.is_file() for key in _keys_in(path, hop.lookup_name)]


def _keys_in(path: Path, name: str) -> Iterator[KnownKey]:
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#") or not _names(fields[0], name):  # noqa: PLR2004
            continue
        try:
            blob = base64.b64decode(fields[2], validate=True)
        except binascii.Error:
            continue
        yield KnownKey(marker=marker, kind=fields[1], blob=blob, where=f"{path}:{number}")


def _names(patterns: str, name: str) -> bool:
    """Return whether a list of patterns, or a hashed name, means a host."""
    if patterns.startswith("|1|"):
        salt, _, digest = patterns[3:].partition("|")
        try:
            wanted = base64.b64decode(digest)
            made = hmac.digest(base64.b64decode(salt), name.lower().encode(), "sha1")
        except binascii.Error:
            return False
        return hmac.compare_digest(made, wanted)
    found = False
    for pattern in patterns.split(","):
        if fnmatch.fnmatchcase(name.lower(), pattern.lstrip("!").lower().replace("[", "[[]")):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def fingerprint(blob: bytes) -> str:
    """Return a public key's fingerprint as `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def prefer_known(wire: Any, known: list[KnownKey]) -> None:
    """Ask the host for a key of a type that is known of it, before any other; for a certificate first."""
    kinds = {key.kind for key in known if not key.marker}
    if "ssh-rsa" in kinds:
        kinds |= {"rsa-sha2-512", "rsa-sha2-256"}
    options = wire.get_security_options()
    types = tuple(sorted(options.key_types, key=lambda kind: kind not in kinds))
    authority = any(key.marker == "@cert-authority" for key in known)
    options.key_types = (*certificate_types(types), *types) if authority else types


def check_host(address: str, hop: Hop, key: Any, known: list[KnownKey]) -> None:
    """Hold the host's key against the known ones; write it down where that was asked for.

    Raises:
        DeviceRefusedError: it is not known, another one is, or it was revoked; or it can't be written down.
    """
    blob, kind = key.asbytes(), key.get_name()
    shown = f"{kind} {fingerprint(blob)}"
    same = [one for one in known if one.blob == blob]
    if revoked := [one for one in same if one.marker == "@revoked"]:
        what = f"{hop.lookup_name} has the host key {shown}, which {revoked[0].where} revokes"
        raise DeviceRefusedError(address, what, hint="do not trust this host before you know why")
    if _is_certified(address, hop, key, known) or any(not one.marker for one in same):
        return
    if others := [one for one in known if not one.marker]:
        where = ", ".join(dict.fromkeys(one.where for one in others))
        what = f"the host key of {hop.lookup_name} has changed: it is {shown}, and {where} has another one"
        hint = f"find out why; if it was set up anew: ssh-keygen -R '{hop.lookup_name}', then ssh to it once"
        raise DeviceRefusedError(address, what, hint=hint)
    if hop.unknown_accepted:
        return
    if hop.remember is not None:
        _write_down(address, hop, hop.remember, f"{kind} {base64.b64encode(blob).decode()}")
        return
    what = f"the host key of {hop.lookup_name} is not known: {shown}"
    if authorities := [one.where for one in known if one.marker == "@cert-authority"]:
        what += f", without a certificate of the authority of {', '.join(dict.fromkeys(authorities))}"
    port = "" if hop.port == 22 else f" -p {hop.port}"  # noqa: PLR2004  SSH's own port
    hint = (
        f"compare it with the device's own (ssh-keygen -lf /etc/ssh/ssh_host_*.pub), then ssh to it once, "
        f"or: ssh-keyscan{port} {hop.host} >> ~/.ssh/known_hosts"
    )
    raise DeviceRefusedError(address, what, hint=hint)


def _is_certified(address: str, hop: Hop, key: Any, known: list[KnownKey]) -> bool:
    """Return whether an authority that is known vouches for the host; nobody else's word counts.

    Raises:
        DeviceRefusedError: it did, but its certificate does not hold, or the authority was revoked.
    """
    if key.public_blob is None:
        return False
    try:
        certificate = read_certificate(key.public_blob.key_blob)
    except ValueError:
        return False
    theirs = [one for one in known if one.blob == certificate.authority]
    revoked = next((one.where for one in theirs if one.marker == "@revoked"), "")
    trusted = next((one.where for one in theirs if one.marker == "@cert-authority"), "")
    why = f"{revoked} revokes its authority" if revoked else flaw(certificate, hop.lookup_name)
    if why and (revoked or trusted):
        what = f"the host certificate of {hop.lookup_name} does not hold: {why}"
        hint = f"have its key signed anew: ssh-keygen -s AUTHORITY -I NAME -h -n {hop.host} KEY.pub"
        raise DeviceRefusedError(address, what, hint=hint)
    return bool(trusted)


def _write_down(address: str, hop: Hop, path: Path, key: str) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a+", encoding="utf-8") as file:
            file.seek(0)
            gap = "" if file.read()[-1:] in {"", "\n"} else "\n"
            file.write(f"{gap}{hop.lookup_name} {key}\n")
    except (OSError, UnicodeDecodeError) as error:
        what = f"the host key of {hop.lookup_name} can't be added to {path}: {error}"
        raise DeviceRefusedError(address, what, hint="add it yourself: ssh to it once") from error


@dataclass(slots=True)
class _Attempts:
    """What was tried, for the message."""

    tried: list[str] = field(default_factory=list)
    locked: list[Path] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)


def log_in(address: str, hop: Hop, wire: Any) -> None:
    """Prove who the user is: by the key files that were named, the agent's keys, the usual key files.

    Raises:
        DeviceRefusedError: none was taken; the message names what was tried.
    """
    attempts = _Attempts()
    if _ask_without(hop, wire, attempts):
        return
    with _agent(hop) as agent_keys:
        named = _file_keys(hop, attempts) if hop.chosen else []
        usual = [] if hop.chosen else _file_keys(hop, attempts)
        agents = [("the agent", key) for key in agent_keys if _wanted(hop, key)]
        for source, key in (*named, *agents, *usual):
            if key.asbytes() in attempts.seen:
                continue
            if not wire.is_active():
                attempts.tried.append("(it hung up before more could be tried)")
                break
            attempts.seen.add(key.asbytes())
            attempts.tried.append(source)
            if _offer(hop, wire, key, attempts):
                break
    if not wire.is_authenticated():
        raise _refusal(address, hop, attempts)


def _ask_without(hop: Hop, wire: Any, attempts: _Attempts) -> bool:
    """Log in with nothing, which seldom works, but tells what would."""
    import paramiko

    try:
        wire.auth_none(hop.user)
    except paramiko.BadAuthenticationType as error:
        attempts.allowed = list(error.allowed_types)
    except paramiko.AuthenticationException:
        pass
    return bool(wire.is_authenticated())


def _offer(hop: Hop, wire: Any, key: Any, attempts: _Attempts) -> bool:
    """Offer one key; return whether no other need be."""
    import paramiko

    try:
        further = wire.auth_publickey(hop.user, key)
    except paramiko.BadAuthenticationType as error:
        attempts.allowed = list(error.allowed_types)
        return True
    except paramiko.SSHException as error:
        if "timeout" in str(error).lower():
            raise TimeoutError("no answer to a key") from error
        return False
    attempts.allowed = list(further) or attempts.allowed
    return True


def _file_keys(hop: Hop, attempts: _Attempts) -> list[tuple[str, Any]]:
    keys = []
    for path in hop.keys:
        if not path.is_file():
            if hop.chosen:
                attempts.tried.append(f"{path} (there is no such file)")
            continue
        key = _load(path, attempts)
        if key is not None:
            keys.append((str(path), key))
    return keys


def _load(path: Path, attempts: _Attempts) -> Any:
    import paramiko

    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            key = kind.from_private_key_file(str(path))
        except paramiko.PasswordRequiredException:
            attempts.locked.append(path)
            return None
        except (paramiko.SSHException, ValueError):
            continue
        except OSError as error:
            attempts.tried.append(f"{path} ({error.strerror})")
            return None
        certificate = path.with_name(f"{path.name}-cert.pub")
        if certificate.is_file():
            key.load_certificate(str(certificate))
        return key
    attempts.tried.append(f"{path} (no private key that can be read)")
    return None


@contextmanager
def _agent(hop: Hop) -> Iterator[tuple[Any, ...]]:
    """Give the agent's keys; none where there is no agent, or it does not speak."""
    import paramiko

    if not hop.agent or not _agent_listens():
        yield ()
        return
    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError):
        yield ()
        return
    try:
        yield agent.get_keys()
    finally:
        agent.close()


def _agent_listens() -> bool:
    """Return whether somebody is at the agent's socket; finding nobody, paramiko leaves its own open."""
    path = os.environ.get("SSH_AUTH_SOCK", "")
    if not hasattr(socket, "AF_UNIX"):
        return True
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(path)
    except OSError:
        return False
    return True


def _wanted(hop: Hop, key: Any) -> bool:
    """Return whether an agent's key may be tried: with IdentitiesOnly, one whose public half was named."""
    if not hop.only_chosen:
        return True
    halves = [path.with_name(f"{path.name}.pub") for path in hop.keys]
    blob = base64.b64encode(key.asbytes()).decode()
    return any(blob in half.read_text(errors="replace").split() for half in halves if half.is_file())


def _refusal(address: str, hop: Hop, attempts: _Attempts) -> DeviceRefusedError:
    tried = ", ".join(_counted(attempts.tried)) or "nothing, for want of a key"
    what = f"{hop.host} refused the user {hop.user}; tried: {tried}"
    if attempts.locked:
        what += f"; not tried, for want of a passphrase: {', '.join(map(str, attempts.locked))}"
        hint = f"give the key to the agent: ssh-add {attempts.locked[0]}"
        return DeviceRefusedError(address, what, hint=hint)
    if attempts.allowed and "publickey" not in attempts.allowed:
        what += f"; it takes {' or '.join(attempts.allowed)}, and EdgeKit proves itself by keys alone"
    port = "" if hop.port == 22 else f"-p {hop.port} "  # noqa: PLR2004  SSH's own port
    return DeviceRefusedError(
        address, what, hint=f"put your public key there: ssh-copy-id {port}{hop.user}@{hop.host}"
    )


def _counted(words: list[str]) -> list[str]:
    counts = {word: words.count(word) for word in words}
    return [word if count == 1 else f"{word} ({count} keys)" for word, count in counts.items()]
