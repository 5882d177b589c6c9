"""An SSH link to a device: reached hop by hop, each host checked, each stage bounded in time."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from edgekit.errors import DeviceError, DeviceLostError, DeviceRefusedError, DeviceTimeoutError, UsageError
from edgekit.runners.transport.ssh_keys import check_host, known_keys, log_in, prefer_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.runners.transport.ssh_config import Hop

_KEEPALIVE_S = 10
_SILENCE_MS = 30_000  # so long may what was sent stay unanswered before the link counts as dead
_LOG = "edgekit.ssh"


def reach(address: str, hops: Sequence[Hop], stack: ExitStack) -> Any:
    """Return a logged-in paramiko Transport to the last hop; the stack closes it and all before it.

    Raises:
        UsageError: a ProxyCommand can't be run.
        DeviceRefusedError: an unknown or changed host key, or no key of the user's was taken.
        DeviceTimeoutError: a stage took longer than its hop allows.
        DeviceLostError: a host can't be reached, or hung up.
    """
    _quiet()
    wire: Any = None
    for hop in hops:
        wire = _step(address, hop, wire, stack)
    return wire


def _step(address: str, hop: Hop, before: Any, stack: ExitStack) -> Any:
    import paramiko

    start = time.monotonic()
    try:
        sock = _socket(hop, before, stack)
        wire = paramiko.Transport(sock)
        stack.callback(_hang_up, wire, sock)
        _shake_hands(address, hop, wire)
        log_in(address, hop, wire)
    except DeviceError:
        raise
    except paramiko.ssh_exception.IncompatiblePeer as error:
        what = f"{hop.host} and we have no algorithm in common: {error}"
        raise DeviceRefusedError(address, what, hint="update its SSH server") from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise _unreached(address, hop, error, time.monotonic() - start) from error
    wire.set_keepalive(_KEEPALIVE_S)
    return wire


def _shake_hands(address: str, hop: Hop, wire: Any) -> None:
    wire.set_log_channel(_LOG)
    wire.banner_timeout = wire.handshake_timeout = wire.auth_timeout = hop.timeout_s
    known = known_keys(hop)
    prefer_known(wire, known)
    wire.start_client(timeout=hop.timeout_s)
    check_host(address, hop, wire.get_remote_server_key(), known)


def _socket(hop: Hop, before: Any, stack: ExitStack) -> Any:
    """Return what carries the link: a channel of the hop before, a program's pipes, or a TCP connection."""
    if before is not None:
        return before.open_channel(
            "direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=hop.timeout_s
        )
    if hop.proxy_command:
        return _program(hop.proxy_command, stack)
    sock = socket.create_connection((hop.host, hop.port), timeout=hop.timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_MS)
    return sock


def _program(command: str, stack: ExitStack) -> socket.socket:
    """Run a ProxyCommand with a socket pair for its standard input and output, so that its end is seen."""
    ours, theirs = socket.socketpair()
    shell = os.environ.get("SHELL") or "/bin/sh"
    try:
        process = subprocess.Popen(
            [shell, "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        ours.close()
        raise UsageError(
            f"the ProxyCommand can't be run: {error}", hint=f"check {shutil.which(shell)}"
        ) from error
    finally:
        theirs.close()
    stack.callback(_end_program, process)
    return ours


def _end_program(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()


def _hang_up(wire: Any, sock: Any) -> None:
    import paramiko

    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # a link over a dead hop
        wire.close()
        sock.close()
    if wire.is_alive():
        wire.join(timeout=5.0)


def _unreached(address: str, hop: Hop, error: Exception, elapsed_s: float) -> DeviceError:
    """Return the error for a host that could not be reached: late, or gone."""
    at = f"{hop.host}:{hop.port}"
    if isinstance(error, TimeoutError) or elapsed_s >= hop.timeout_s:
        what = f"no answer from {at} within {hop.timeout_s:g} s"
        hint = "check power and network; raise ConnectTimeout in ~/.ssh/config for a slow board"
        return DeviceTimeoutError(address, what, hint=hint, evidence=repr(error))
    if isinstance(error, socket.gaierror):
        what, hint = f"{hop.host} is no known host name", "check the name, or use its number"
    elif isinstance(error, ConnectionRefusedError):
        what, hint = f"nothing listens on {at}", "start its SSH server, or name its port: ssh://HOST:PORT"
    else:
        what, hint = f"no SSH link to {at}: {str(error) or type(error).__name__}", f"try: ssh -v {hop.name}"
    return DeviceLostError(address, what, hint=hint, evidence=repr(error))


def _quiet() -> None:
    """Keep paramiko's own log, which tells each error a second time, out of the user's terminal."""
    log = logging.getLogger(_LOG)
    if log.level == logging.NOTSET:
        log.setLevel(logging.CRITICAL)
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
