"""Restoring what a host left changed: the watchdog's work where there is no watchdog any more."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import DeviceBusyError, ProtocolError, StableDeviceError
from edgekit.runners.state.scripts import LOOK, RESTORE
from edgekit.runners.state.told import STATE_TIMEOUT_S, ask, folder, heard, need_restored, of_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.runners.state.told import Told
    from edgekit.runners.transport import CommandResult, Transport

_POLL_S = 1.0
_MARGIN_S = 15.0
_EMPTY_S = 5.0
"""A folder without a journal is being filled, which takes less; or its maker died before any change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a host before has left on a device.

    Attributes:
        state: "none", "empty" (begun, nothing changed yet), or "journal".
        same_boot: whether the device was not started anew since.
        watched: whether a watchdog lives.
        age_s: seconds since the host was last heard, or None when the device can't tell.
        silence_s: after which the watchdog restores.
        nonce: whose journal it is.
        who: its host, in words.
    """

    state: str
    same_boot: bool = True
    watched: bool = False
    age_s: int | None = None
    silence_s: int = 0
    nonce: str = ""
    who: str = ""

    @property
    def silent(self) -> bool:
        """Whether its host has been silent for so long that it counts as gone, or the device booted since."""
        return not self.same_boot or self.age_s is None or self.age_s > self.silence_s


def look_argv(transport: Transport) -> list[str]:
    """Return the command that looks what a host before has left, for who sends it along with others."""
    return ["sh", "-c", LOOK, "sh", folder(transport) if transport.known_root() else ""]


def look(transport: Transport) -> Left:
    """Return what a host before has left on a device."""
    return left_of(transport, transport.check(look_argv(transport), timeout_s=STATE_TIMEOUT_S))


def left_of(transport: Transport, result: CommandResult) -> Left:
    """Return what that command told.

    Raises:
        ProtocolError: it told something else.
    """
    told = heard(transport, result)
    if not told:
        what = f"{transport.device.address}: it told nothing of its state"
        raise ProtocolError(what, hint="look whether its login prints something")
    line = told[0]
    if line.word != "journal":
        return Left(state=line.word)
    silence, _, rest = line.now.partition("|")
    nonce, _, who = rest.partition("|")
    age = line.value
    return Left(
        state="journal",
        same_boot=line.kind == "same",
        watched=line.name == "alive",
        age_s=int(age) if re.fullmatch(r"-?[0-9]{1,15}", age) else None,
        silence_s=int(silence) if re.fullmatch(r"[0-9]{1,9}", silence) else 0,
        nonce=nonce,
        who=who,
    )


def recover(
    transport: Transport,
    *,
    force: bool = False,
    wait: bool = True,
    on_wait: Callable[[str], None] | None = None,
    left: Left | None = None,
) -> tuple[Told, ...]:
    """Restore what a host before left changed on a device, if there is anything.

    A host that may still be there is waited for, until its own watchdog has restored or it was silent for
    long enough.

    Args:
        transport: an open way to the device.
        force: restore at once, whoever may still be there.
        wait: for a host that may still be there; else nothing is done then.
        on_wait: told, once, what is waited for.
        left: what was found there, where somebody has looked already.

    Returns:
        One line for each value: "restored", or "left" when a reboot or somebody else has set it since;
        nothing when there was nothing to do, or the watchdog did it.

    Raises:
        DeviceBusyError: its host is there and goes on.
        StableDeviceError: something could not be restored; it names the value and the command that sets it.
    """
    left = left or look(transport)
    if left.state == "none":
        return ()
    if not (force or (left.silent and not left.watched)):
        if not wait:
            return ()
        left = _wait(transport, left, on_wait)
        if left.state == "none":
            return ()
    told = ask(transport, RESTORE, left.nonce)
    need_restored(transport, told)
    unread = of_words(told, "unread")
    if unread:
        what = f"the journal of its state could not be read and was removed: {unread[0].now[:80]!r}"
        hint = "look at its governors, clocks and screen timeout; the next bench goes on"
        raise StableDeviceError(transport.device.address, what, hint=hint)
    return tuple(of_words(told, "restored", "left"))


def _wait(transport: Transport, left: Left, on_wait: Callable[[str], None] | None) -> Left:
    """Wait until the state is given back, or the one who has it can be taken for gone."""
    patience = _EMPTY_S if left.state == "empty" else left.silence_s + _MARGIN_S
    if on_wait is not None:
        on_wait(f"waiting for {left.who or 'another host'} to give the device's state back")
    begin = time.monotonic()
    while True:
        time.sleep(_POLL_S)
        now, waited = look(transport), time.monotonic() - begin
        if now.state == "none" or (now.nonce == left.nonce and now.silent and not now.watched):
            return now
        if now.state == "journal" and not now.silent and (now.age_s or 0) + _POLL_S < waited:
            raise _busy(transport, now)
        if waited > patience:
            return now


def _busy(transport: Transport, left: Left) -> DeviceBusyError:
    """Return the error for a host that has been heard while it was waited for."""
    what = f"its state is changed by {left.who}, who was there {left.age_s} s ago"
    hint = f"wait until that ends, or: edgekit devices restore --force {transport.device.address}"
    return DeviceBusyError(transport.device.address, what, hint=hint)


def forget(transport: Transport) -> None:
    """Remove the journal of a device's state without restoring anything.

    Raises:
        DeviceError: the device's trouble.
    """
    transport.check(["rm", "-rf", "--", folder(transport)])
