"""Round trips to a device, counted: in the field they are what a set-up takes."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.runners.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """One command on an open link, from its beginning to its end.

    Attributes:
        began: in seconds of the monotonic clock.
        took: in seconds.
        command: the line, or the file that was fetched.
    """

    began: float
    took: float
    command: str


class Trips:
    """Counts a transport's round trips while its `with` statement lasts, those of its opening included.

    What adb and SSH themselves say to each other to make the link is none of them.

    Args:
        transport: open or not.

    Attributes:
        made: the round trips, in order.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stack = contextlib.ExitStack()
        self.made: list[Trip] = []

    def __len__(self) -> int:
        return len(self.made)

    def __enter__(self) -> Self:
        for name in ("_execute", "_feed", "_receive"):
            call = getattr(self._transport, name)
            self._stack.enter_context(mock.patch.object(self._transport, name, self._counted(call)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(command: str, *rest: Any, **named: Any) -> Any:
            began = time.monotonic()
            try:
                return call(command, *rest, **named)
            finally:
                self.made.append(Trip(began=began, took=time.monotonic() - began, command=command))

        return counted
