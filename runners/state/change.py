"""A change of a device's state: what is set, how it is read, and how it is put back by hand."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.errors import UnknownNameError, UsageError

KINDS = ("file", "setting", "screen", "fixed")
_MAX_TEXT = 256
_FORBIDDEN = frozenset("|\\")
_NEVER_MS = str((1 << 31) - 1)
"""The longest screen timeout that Android keeps, in milliseconds: 24 days."""
_ANY_PLUG = "7"
"""Stay on while plugged in, whichever plug it is: 1 the charger, 2 USB, 4 wireless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One value that a device shall have for a while.

    Attributes:
        kind: how it is read and written: "file" (sysfs), "setting" (Android's `settings`), "screen"
            (`dumpsys power` and key events), "fixed" (Android's fixed performance mode, which can't be
            read: it is taken for off before, and for what the command accepted after).
        name: the file's absolute path, or the setting as "global/NAME"; "" for the others.
        value: what it shall be.
        label: what a user calls it: "the governor of the CPUs 0-3".
    """

    kind: str
    name: str
    value: str
    label: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError("kind of change", self.kind, KINDS)
        for text in (self.name, self.value):
            if not plain(text):
                raise UsageError(f"{text[:60]!r} can't be set on a device", hint="use plain text, one line")
        if not self.value or (self.kind == "file") != self.name.startswith("/"):
            raise UsageError(
                f"{self.label} can't be set to {self.value!r}", hint="name a file by its whole path"
            )


def plain(text: str) -> bool:
    """Return whether a text can stand in the journal and be written by any shell's `echo`."""
    return len(text) <= _MAX_TEXT and text.isprintable() and not _FORBIDDEN & set(text) and text[:1] != "-"


def by_hand(kind: str, name: str, value: str) -> str:
    """Return the command that sets a value on the device by hand."""
    if kind == "setting":
        where = name.replace("/", " ", 1)
        return f"settings delete {where}" if value == "null" else f"settings put {where} {value}"
    if kind == "screen":
        return f"input keyevent {224 if value == 'on' else 223}"
    if kind == "fixed":
        return f"cmd power set-fixed-performance-mode-enabled {value}"
    return f"echo {value} > {name}"


def screen(state: str) -> tuple[Change, ...]:
    """Return what keeps an Android device's screen on, or turns it off.

    Args:
        state: "on" or "off".

    Raises:
        UnknownNameError: it is neither.
    """
    if state not in ("on", "off"):
        raise UnknownNameError("state of a screen", state, ("on", "off"))
    now = Change(kind="screen", name="", value=state, label="the screen")
    if state == "off":
        return (now,)
    stay = Change(
        kind="setting",
        name="global/stay_on_while_plugged_in",
        value=_ANY_PLUG,
        label="staying awake when plugged in",
    )
    never = Change(
        kind="setting", name="system/screen_off_timeout", value=_NEVER_MS, label="the screen's timeout"
    )
    return stay, never, now


def fixed_performance() -> tuple[Change, ...]:
    """Return what puts an Android device (11 or later) into its fixed performance mode."""
    return (Change(kind="fixed", name="", value="true", label="fixed performance"),)
