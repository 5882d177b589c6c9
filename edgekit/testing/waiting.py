"""Waiting in tests: for a state, never for a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_S = 0.02


def until(true: Callable[[], object], *, patience_s: float = 20.0) -> None:
    """Wait until something holds.

    Args:
        true: returns something true when it does.
        patience_s: when to give up, in seconds; long, because it decides about failure alone.

    Raises:
        AssertionError: it did not come to hold.
    """
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(_POLL_S)
