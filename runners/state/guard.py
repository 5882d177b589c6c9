"""Changing a device's state for a while: checked, journalled, guarded by a watchdog there, and given back."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import secrets
import threading
import time
from typing import TYPE_CHECKING, NoReturn

from edgekit.errors import (
    DeviceBusyError,
    DeviceError,
    DeviceUnfitError,
    EdgeKitError,
    ProtocolError,
    StableDeviceError,
    UsageError,
)
from edgekit.runners.state.change import plain
from edgekit.runners.state.scripts import BEAT, BEGIN, CHECK, END
from edgekit.runners.state.told import ask, need_restored, of_words
from edgekit.runners.transport import open_transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgekit.runners.state.change import Change
    from edgekit.runners.state.told import Told
    from edgekit.runners.transport import Transport

HEARTBEAT_S = 15.0
"""How often the host says that it is there."""
_SILENCES = 4
"""So many heartbeats may be missed: a link that is opened again takes three of the default ones at most."""
_LEAST_SILENCE_S = 3
_JOIN_S = 10.0


def check(transport: Transport, changes: Sequence[Change]) -> None:
    """Hold that changes can be made, without making any.

    Raises:
        UsageError: one thing shall have two values, or what is there now can't be journalled.
        DeviceUnfitError: the device has no such thing.
        StableDeviceError: this login may not write it.
        ProtocolError: its answer can't be read.
    """
    seen: set[tuple[str, str]] = set()
    for change in changes:
        if (change.kind, change.name) in seen:
            raise UsageError(f"{change.label} shall have two values", hint="ask for one")
        seen.add((change.kind, change.name))
    told = ask(transport, CHECK, *_triples(changes)) if changes else []
    if len(told) != len(changes):
        what = f"{transport.device.address}: it told of {len(told)} values, {len(changes)} were asked for"
        raise ProtocolError(what, hint="look whether its login prints something")
    for change, line in zip(changes, told, strict=True):
        _check_one(transport, change, line)


def _check_one(transport: Transport, change: Change, line: Told) -> None:
    address, android = transport.device.address, change.kind != "file"
    if line.word == "unreadable":
        hint = "that is for Android" if android else "leave it out: this device has no such value"
        what = f"{change.label} can't be read there: {line.now or line.what}"
        raise DeviceUnfitError(address, what, hint=hint, evidence=line.now)
    if line.word == "unwritable":
        what = f"{change.label} can't be changed by this login: {change.name} is not writable for it"
        raise StableDeviceError(address, what, hint=_permission(transport, change))
    if not plain(line.value):
        what = f"{address}: {change.label} is {line.value[:60]!r}, which can't be journalled"
        raise UsageError(what, hint="set it to plain text first")


def _permission(transport: Transport, change: Change) -> str:
    if transport.device.scheme == "adb":
        return "run adb root where the phone's build allows it, or ask for --fixed-performance"
    who = "sudo" if transport.device.scheme == "local" else "ssh://root@..., or there: sudo"
    return f"log in as root ({who} chmod o+w {change.name} would do too, until the next boot)"


def _triples(changes: Sequence[Change]) -> list[str]:
    return [text for change in changes for text in (change.kind, change.name, change.value)]


class Guard:
    """State that is changed right now, and the thread that tells the device so, over a link of its own.

    Args:
        transport: the way to the device.
        nonce: whose journal it is.
        heartbeat_s: seconds between two heartbeats.
        link: opens another way to the device.
    """

    def __init__(
        self, transport: Transport, nonce: str, heartbeat_s: float, link: Callable[[], Transport]
    ) -> None:
        self._transport = transport
        self._nonce = nonce
        self._pause_s = heartbeat_s
        self._link = link
        self._begun, self._over = threading.Event(), threading.Event()
        self._lost = ""
        self._thread = threading.Thread(target=self._beat, name="edgekit-heartbeat", daemon=True)

    def start(self) -> None:
        """Open the other way to the device, which takes a while, beside what is done meanwhile."""
        self._thread.start()

    def begin(self) -> None:
        """Begin to tell the device that the host is there."""
        self._begun.set()

    def stop(self) -> None:
        """Stop telling it."""
        self._over.set()
        self._begun.set()
        self._thread.join(_JOIN_S)

    @property
    def lost(self) -> str:
        """Why the state is no longer what was asked for, or ""."""
        return self._lost

    def need_held(self) -> None:
        """Hold that the device still has the state that was asked for, as far as its heartbeat tells.

        Raises:
            StableDeviceError: it was given back meanwhile.
        """
        if self._lost:
            what = f"its state was given back in the middle: {self._lost}"
            raise StableDeviceError(
                self._transport.device.address, what, hint="mend the link, then run it again"
            )

    def _beat(self) -> None:
        """Beat until told to stop; a link that is lost is opened again for the next beat."""
        link: Transport | None = None
        try:
            while not self._over.is_set():
                try:
                    if link is None:
                        link = self._link()
                    elif not link.is_open:
                        link.open()
                    self._begun.wait()
                    if not self._over.is_set():
                        self._hear(ask(link, BEAT, self._nonce))
                except EdgeKitError:  # the next beat tries again; what is given back meanwhile is told then
                    if link is not None:
                        link.close()
                self._over.wait(self._pause_s)
        finally:
            if link is not None:
                link.close()

    def _hear(self, told: Sequence[Told]) -> None:
        if of_words(told, "gone"):
            self._lost = "the host was silent for too long"
            self._over.set()


@contextlib.contextmanager
def changed(
    transport: Transport,
    changes: Sequence[Change],
    *,
    heartbeat_s: float = HEARTBEAT_S,
    link: Callable[[], Transport] | None = None,
) -> Iterator[Guard]:
    """Change a device's state for as long as the `with` statement lasts.

    The device restores it by itself when the host has been silent for four heartbeats, 3 s at least.

    Args:
        transport: an open way to the device.
        changes: what to change, in this order; restored in reverse. Nothing is done when there is nothing.
        heartbeat_s: seconds between two heartbeats, above 0.
        link: opens another way to the device, for the heartbeat; None for its address.

    Raises:
        UsageError: changes that contradict each other.
        DeviceUnfitError: the device has no such thing.
        DeviceBusyError: somebody else has changed its state.
        StableDeviceError: this login may not change it, a value did not take, it did not hold to the end,
            or could not be restored; the message says which.
    """
    if not 0 < heartbeat_s < 1e6:  # noqa: PLR2004
        raise UsageError(f"a heartbeat every {heartbeat_s!r} s is none", hint="give seconds, more than 0")
    nonce = secrets.token_hex(8)
    guard = Guard(transport, nonce, heartbeat_s, link or (lambda: open_transport(transport.device)))
    if not changes:
        yield guard
        return
    check(transport, changes)
    silence_s = max(_LEAST_SILENCE_S, round(_SILENCES * heartbeat_s))
    guard.start()
    try:
        _begin(transport, changes, nonce, silence_s)
        guard.begin()
        yield guard
    except BaseException as error:
        guard.stop()
        left = _end_quietly(transport, nonce)
        if left:
            error.add_note(left)
        if left and isinstance(error, EdgeKitError):
            error.hint = "; and then ".join(filter(None, (error.hint, left)))
        raise
    guard.stop()
    _end(transport, changes, nonce)


def _begin(transport: Transport, changes: Sequence[Change], nonce: str, silence_s: int) -> None:
    told = ask(transport, BEGIN, nonce, str(silence_s), _who(), *_triples(changes))
    address = transport.device.address
    if of_words(told, "taken"):
        what = "its state is changed by somebody else already, or was left changed"
        raise DeviceBusyError(address, what, hint=f"wait a minute, or: edgekit devices restore {address}")
    if of_words(told, "no-watchdog"):
        what = "no watchdog could be started there, so that nothing was changed"
        raise StableDeviceError(
            address, what, hint="look whether its shell can start a process in the background"
        )
    labels = {(change.kind, change.name): change.label for change in changes}
    for line in of_words(told, "refused", "mismatch"):
        need_restored(transport, told)
        _raise_not_taken(address, labels.get((line.kind, line.name), line.what), line)


def _raise_not_taken(address: str, label: str, line: Told) -> NoReturn:
    why = f"it answered {line.now!r}" if line.word == "refused" else f"it is {line.now!r} after that"
    what = f"{label} could not be set to {line.value!r}: {why}; all is as it was"
    raise StableDeviceError(address, what, hint="choose a value that the device takes", evidence=line.now)


def _end(transport: Transport, changes: Sequence[Change], nonce: str) -> None:
    """Restore; say what did not hold, and what could not be restored."""
    deadline = time.monotonic() + _JOIN_S
    while True:
        try:
            told = ask(transport, END, nonce)
            break
        except DeviceError:
            if time.monotonic() > deadline:
                raise
            transport.reopen()
    need_restored(transport, told)
    address = transport.device.address
    if of_words(told, "gone"):
        what = "its state was given back in the middle: the host was silent for too long"
        raise StableDeviceError(address, what, hint="mend the link, then run it again")
    labels = {(change.kind, change.name): change.label for change in changes}
    for line in of_words(told, "moved"):
        label = labels.get((line.kind, line.name), line.what)
        what = f"{label} did not stay {line.value!r}: it was {line.now!r} at the end"
        raise StableDeviceError(address, what, hint="find what else sets it there")


def _end_quietly(transport: Transport, nonce: str) -> str:
    """Restore as far as the link allows (the watchdog is there); return what could not be, or ""."""
    try:
        if not transport.is_open:
            transport.open()
        need_restored(transport, ask(transport, END, nonce))
    except StableDeviceError as error:
        return str(error)
    except EdgeKitError:  # an error is on its way already, and says more
        return ""
    return ""


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    who = f"{user}@{platform.node() or 'a host'}, process {os.getpid()}"
    return "".join(c if plain(c) or c == "-" else "?" for c in who)[:200]
