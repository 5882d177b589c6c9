"""What the scripts on the device tell, line by line: WORD|KIND|NAME|VALUE|NOW."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import ProtocolError, StableDeviceError
from edgekit.runners.state.change import by_hand

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgekit.runners.transport import CommandResult, Transport

STATE_TIMEOUT_S = 90.0
_PARTS = 5
_MAX_TEXT = 300
_WORDS = (
    *("beating", "changed", "empty", "failed", "gone", "journal", "left", "mismatch", "moved", "no-watchdog"),
    *("none", "refused", "restored", "taken", "there", "torn", "unread", "unreadable", "unwritable"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line.

    Attributes:
        word: what happened: "changed", "mismatch", "restored", "failed" ...
        kind: of the change it is about, or "".
        name: of the change.
        value: what was written, or is there.
        now: what was read instead, or the device's own words.
    """

    word: str
    kind: str
    name: str
    value: str
    now: str

    @property
    def what(self) -> str:
        """The thing it is about, in the device's words."""
        return self.name or {"screen": "the screen", "fixed": "fixed performance"}.get(self.kind, self.kind)

    @property
    def hand(self) -> str:
        """The command that sets the value on the device by hand."""
        return by_hand(self.kind, self.name, self.value)


def folder(transport: Transport) -> str:
    """Return where the journal lies on a device."""
    return f"{transport.root()}/state"


def ask(transport: Transport, script: str, *arguments: str) -> list[Told]:
    """Run one of the scripts on the folder of a device's state and return what it told.

    Raises:
        ProtocolError: it told something else.
        DeviceError: the device's trouble.
    """
    argv = ["sh", "-c", script, "sh", folder(transport), *arguments]
    return heard(transport, transport.check(argv, timeout_s=STATE_TIMEOUT_S))


def heard(transport: Transport, result: CommandResult) -> list[Told]:
    """Return what one of the scripts told.

    Raises:
        ProtocolError: it told something else.
    """
    return [_read(line, transport) for line in result.text.splitlines()]


def _read(line: str, transport: Transport) -> Told:
    word, *rest = line[: 4 * _MAX_TEXT].split("|", _PARTS - 1)
    if word not in _WORDS or len(rest) != _PARTS - 1:
        what = f"{transport.device.address}: what it told of its state can't be read: {line[:80]!r}"
        raise ProtocolError(what, hint="look whether its login prints something", evidence=line)
    kind, name, value, now = ("".join(c for c in part if c.isprintable())[:_MAX_TEXT] for part in rest)
    return Told(word=word, kind=kind, name=name, value=value, now=now.strip())


def of_words(told: Iterable[Told], *words: str) -> list[Told]:
    """Return the lines that begin with one of these words."""
    return [line for line in told if line.word in words]


def need_restored(transport: Transport, told: Sequence[Told]) -> None:
    """Hold that everything was restored.

    Raises:
        StableDeviceError: something was not; it names the value and the command that sets it.
    """
    failed = of_words(told, "failed", "torn")
    if not failed:
        return
    first = failed[0]
    if first.word == "torn":
        what = f"the journal of its state was cut off in the entry for {first.what}"
        hint = "look at that value there; what the journal held before it is restored"
        raise StableDeviceError(transport.device.address, what, hint=hint)
    values = "; ".join(f"{line.what} is {line.now or 'unreadable'}, it was {line.value}" for line in failed)
    commands = " && ".join(line.hand for line in failed)
    raise StableDeviceError(
        transport.device.address,
        f"its state could not be restored: {values}",
        hint=f"run there: {commands}; then: edgekit devices restore {shlex.quote(transport.device.address)}",
    )
