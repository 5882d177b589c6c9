"""Every error that EdgeKit raises on purpose.

EdgeKitError                     one line: what happened; then the next step
├── UsageError                   you can fix it: never retried              exit 2
│   ├── UnknownNameError         a name nobody knows; the nearest is offered
│   └── MissingExtraError        a library that one of the extras installs
├── ConversionError              a source could not become an artifact      exit 1
│   └── ParityError              it became one, and its outputs are wrong
├── DeviceError                  the device's trouble, its name in front    exit 1
│   ├── TransientDeviceError     the same call may work a moment later
│   │   ├── DeviceLostError      the link is gone
│   │   ├── DeviceTimeoutError   a deadline passed
│   │   └── DeviceBusyError      somebody else's bench runs there
│   └── StableDeviceError        the same call will fail again
│       ├── DeviceRefusedError   unknown host key, refused key, unauthorized
│       ├── CommandFailedError   a command ended with another code than 0
│       ├── DeviceFullError      no space left there
│       └── DeviceUnfitError     it lacks what a run needs (no Python, no runtime)
└── ResultError                  what came back can't be believed           exit 1
    └── ProtocolError            it is not even readable
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LINE, _QUOTED = 3000, 200


class EdgeKitError(Exception):
    """The root: `what` happened, the `hint` that says what to do next, the `evidence` behind it.

    Args:
        what: one sentence, no newline needed; newlines are folded. Whatever it quotes, it stays short, and no
            control character of it reaches a terminal.
        hint: the next step, as an instruction; likewise.
        evidence: raw text that backs `what` (the tail of a log, a command's output); kept, not printed.
    """

    exit_code = 1

    def __init__(self, what: str, *, hint: str = "", evidence: str = "") -> None:
        self.what = _line(what)
        self.hint = _line(hint)
        self.evidence = evidence
        super().__init__(self.what)

    def __str__(self) -> str:
        """Return the one line that a user sees."""
        return f"{self.what}: {self.hint}" if self.hint else self.what


class UsageError(EdgeKitError):
    """A call, a file or a setting that its author can mend."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not in the list it is looked up in.

    Args:
        kind: what is named ("recipe", "key").
        name: what was given.
        known: the names that would do; the nearest is offered, or all when none is near.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names, name = sorted(known), name[:_QUOTED]
        super().__init__(f"unknown {kind} {name!r}", hint=_offer(name, names))


class MissingExtraError(UsageError):
    """A library that is not installed.

    Args:
        library: the distribution that is missing.
        extra: the extra that brings it.
    """

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed", hint=f"pip install 'edgekit-sdk[{extra}]'")


class ConversionError(EdgeKitError):
    """A source that could not be read, frozen or converted."""


class ParityError(ConversionError):
    """An artifact whose outputs differ from its source's by more than its bar; it was not written."""


class DeviceError(EdgeKitError):
    """Trouble on a device; the message starts with the device's address."""

    def __init__(self, device: str, what: str, *, hint: str = "", evidence: str = "") -> None:
        self.device = device
        super().__init__(f"{device}: {what}", hint=hint, evidence=evidence)


class TransientDeviceError(DeviceError):
    """Trouble that may be gone on the next try."""


class DeviceLostError(TransientDeviceError):
    """The link to the device is gone."""


class DeviceTimeoutError(TransientDeviceError):
    """A deadline passed before the device answered."""


class DeviceBusyError(TransientDeviceError):
    """Another bench holds the device."""


class StableDeviceError(DeviceError):
    """Trouble that the same call meets again."""


class DeviceRefusedError(StableDeviceError):
    """The device, or our own check of it, refused the connection."""


class CommandFailedError(StableDeviceError):
    """A command on the device ended with a code other than 0; `evidence` holds its output's tail."""


class DeviceFullError(StableDeviceError):
    """There is no space left on the device."""


class DeviceUnfitError(StableDeviceError):
    """The device lacks something that the run needs."""


class ResultError(EdgeKitError):
    """A result that can't be believed."""


class ProtocolError(ResultError):
    """An answer that can't be read: foreign, truncated or out of bounds."""


def _line(text: str) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return shown if len(shown) <= _LINE else f"{shown[: _LINE // 2]} ... {shown[-_LINE // 2 :]}"


def _offer(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return "known: " + (", ".join(known) if known else "none")
