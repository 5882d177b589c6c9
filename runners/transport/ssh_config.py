"""What ~/.ssh/config says about a host, as the chain of hops that leads to it.

Read by paramiko's parser, for these words: HostName, User, Port, IdentityFile, IdentitiesOnly,
IdentityAgent (none), UserKnownHostsFile, GlobalKnownHostsFile, HostKeyAlias, StrictHostKeyChecking (no,
accept-new), ProxyJump, ProxyCommand, ConnectTimeout, Include, Host and Match. EDGEKIT_SSH_CONFIG names
another file, which then is the only one, as `ssh -F` has it.
"""

from __future__ import annotations

import getpass
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgekit.targets import Device

CONFIG_VARIABLE = "EDGEKIT_SSH_CONFIG"
_SYSTEM_CONFIG = "/etc/ssh/ssh_config"
_USER_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_GLOBAL_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
_DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_TIMEOUT_S = 15.0
_MOST = 16  # as deep as files may include files, and as long as a chain of jump hosts may be


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One host on the way, the device itself being the last.

    Attributes:
        name: as the user wrote it.
        host: the name or number that is called.
        port: TCP port.
        user: who logs in.
        keys: private key files, the first one tried first.
        chosen: the key files were named in the configuration; else they are the usual ones.
        only_chosen: the agent's other keys are not tried (IdentitiesOnly).
        agent: the agent may be asked.
        key_name: under which name known hosts are looked up (HostKeyAlias), or "" for host and port.
        known_hosts: the files of known hosts.
        unknown_accepted: a host without a known key is taken (StrictHostKeyChecking no).
        remember: where such a host's key is written down (StrictHostKeyChecking accept-new), or None.
        proxy_command: the program whose standard input and output are the link, or "".
        timeout_s: for each stage of the connection.
    """

    name: str
    host: str
    port: int
    user: str
    keys: tuple[Path, ...]
    chosen: bool
    only_chosen: bool
    agent: bool
    key_name: str
    known_hosts: tuple[Path, ...]
    unknown_accepted: bool
    remember: Path | None
    proxy_command: str
    timeout_s: float

    @property
    def lookup_name(self) -> str:
        """The name that files of known hosts have this host under."""
        if self.key_name:
            return self.key_name
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"  # noqa: PLR2004  SSH's own port


def hops(device: Device, config: Path | None = None) -> tuple[Hop, ...]:
    """Return the way to a device, the device last.

    Args:
        device: one with an ssh address.
        config: the only configuration file to read; None for the variable's, or the user's and the system's.

    Raises:
        UsageError: a configuration file is missing or can't be read.
    """
    named = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    if named is not None and not named.is_file():
        raise UsageError(f"{named} is no file", hint=f"mend or unset {CONFIG_VARIABLE}")
    files = (named,) if named else (Path("~/.ssh/config").expanduser(), Path(_SYSTEM_CONFIG))
    parsed = _parse(files)
    port = "" if device.port is None else str(device.port)
    return tuple(_chain(parsed, device.host, {"user": device.user, "port": port}, depth=0))


def _parse(files: tuple[Path, ...]) -> Any:
    import paramiko

    text = "\n".join(line for path in files if path.is_file() for line in ["Host *", *_lines(path, depth=0)])
    try:
        return paramiko.SSHConfig.from_text(text)
    except (paramiko.SSHException, ValueError) as error:
        shown = ", ".join(str(path) for path in files)
        raise UsageError(f"{shown} can't be read: {error}", hint="compare: ssh -G HOST") from error


def _lines(path: Path, *, depth: int) -> Iterator[str]:
    """Yield a file's lines with those of the files it includes in their place."""
    if depth > _MOST:
        raise UsageError(f"{path} is included in a circle", hint="mend its Include lines")
    block = "Host *"
    for line in path.read_text(errors="replace").splitlines():
        word, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if word.lower() in {"host", "match"}:
            block = line
        if word.lower() != "include":
            yield line
            continue
        for included in (found for pattern in shlex.split(rest) for found in _matching(pattern)):
            yield from _lines(included, depth=depth + 1)
        yield block  # a block that the included file opened ends with it


def _matching(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    if not path.is_absolute():
        path = Path("~/.ssh").expanduser() / path
    return sorted(
        found for found in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if found.is_file()
    )


def _chain(
    parsed: Any, name: str, given: Mapping[str, str], *, depth: int, jumps: bool = True
) -> Iterator[Hop]:
    """Yield the hops to a host; what the address gives goes before what the configuration says."""
    if depth > _MOST:
        raise UsageError(f"the ProxyJump of {name} leads in a circle", hint="mend ~/.ssh/config")
    options = _options(parsed, name)
    jump = options.get("proxyjump", "none")
    if jumps and jump.lower() != "none":
        for index, spec in enumerate(jump.split(",")):
            parts = urlsplit(spec.strip() if "://" in spec else f"ssh://{spec.strip()}")
            over = {"user": parts.username or "", "port": str(parts.port or "")}
            yield from _chain(parsed, parts.hostname or "", over, depth=depth + 1, jumps=index == 0)
        options.pop("proxycommand", None)
    yield _hop(name, {**options, **{key: value for key, value in given.items() if value}})


def _options(parsed: Any, name: str) -> dict[str, Any]:
    import paramiko

    try:
        return dict(parsed.lookup(name))
    except (paramiko.SSHException, ImportError, KeyError, ValueError) as error:
        raise UsageError(f"the SSH configuration of {name} can't be read: {error}") from error


def _hop(name: str, options: Mapping[str, Any]) -> Hop:
    chosen = [key for key in options.get("identityfile", ()) if key.lower() != "none"]
    own_hosts = _paths(options.get("userknownhostsfile", _USER_HOSTS))
    hosts = (*own_hosts, *_paths(options.get("globalknownhostsfile", _GLOBAL_HOSTS)))
    checking = options.get("stricthostkeychecking", "ask").lower()
    return Hop(
        name=name,
        host=options["hostname"],
        port=int(_number(name, options, "port", 22)),
        user=options.get("user") or getpass.getuser(),
        keys=tuple(Path(key).expanduser() for key in chosen or _DEFAULT_KEYS),
        chosen=bool(chosen),
        only_chosen=options.get("identitiesonly", "no").lower() == "yes",
        agent=options.get("identityagent", "").lower() != "none",
        key_name=options.get("hostkeyalias", ""),
        known_hosts=hosts,
        unknown_accepted=checking in {"no", "off"},
        remember=own_hosts[0] if checking == "accept-new" and own_hosts else None,
        proxy_command=options.get("proxycommand") or "",
        timeout_s=_number(name, options, "connecttimeout", _TIMEOUT_S),
    )


def _number(name: str, options: Mapping[str, Any], key: str, default: float) -> float:
    try:
        return float(options.get(key, default))
    except ValueError:
        raise UsageError(f"the SSH configuration of {name} has the {key} {options[key]!r}") from None


def _paths(value: str) -> list[Path]:
    # The parser takes the quotes off a value that is quoted as a whole: then it is one path, spaces and all.
    words = [value] if Path(value).expanduser().is_file() else shlex.split(value)
    return [Path(word).expanduser() for word in words if word.lower() != "none"]
