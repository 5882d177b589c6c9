"""Hand memory back that big temporary graphs leave behind."""

from __future__ import annotations

import ctypes
import functools
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MMAP_THRESHOLD, _MMAP_BYTES = -3, 32 << 20
_TRIM_THRESHOLD, _TRIM_BYTES = -1, 512 << 20
"""glibc's numbers of the settings; the first has 32 MB as its largest."""


def give_back(*, cycles: bool = False) -> None:
    """Return freed memory to the system, where the C library can.

    The C library keeps what was freed in small pieces: after the conversion of a network with 14 MB of
    weights that were 900 MB.

    Args:
        cycles: free what refers to itself first, as graphs of frameworks do; this takes 0.1 s and more.
    """
    if cycles:
        gc.collect()
    _trim()(0)


def hold_on() -> None:
    """Let the C library keep what is freed in big pieces, for the process's next arrays of that size.

    As it is, it returns each piece of more than 128 KB at once, and the system fills the next one with zeros
    again, page by page: a fifth of the time that the system spends on a conversion. `give_back` still returns
    what is free. Nothing happens where the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)
    mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)


@functools.cache
def _trim() -> Callable[[int], object]:
    """Return malloc_trim (glibc), or what does nothing where there is none."""
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda _: None
    return found
